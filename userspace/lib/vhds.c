// SPDX-License-Identifier: LGPL-2.1-or-later
#include <core/utf8.h>
#include "vhds.h"

#define SIGNATURE		"vhdsetv1"
#define HEADER_SIGNATURE	"shdr"
#define HEADER_OFFSET_1		0x10000ULL
#define HEADER_OFFSET_2		0x20000ULL
#define HEADER_LENGTH		4096
#define VERSION_1		1

/*
 * As Microsoft's own example has it. Of what is called unknown here it has 0xffffe000 and 7; the
 * rest of the 4 KiB, which the checksum is of, is zero there.
 */
struct vhds_header {
	u8 signature[4];
	__le32 unknown_1;
	__le64 sequence;
	__le32 version;
	__le32 checksum;
	__le32 unknown_2;
	__le32 name_offset;
	__le32 name_length;
};

static_assert(sizeof(struct vhds_header) == 0x28, "struct vhds_header");

bool vhds_has_signature(struct vhdx_store *store)
{
	char start[sizeof(SIGNATURE) - 1];

	return store->size >= sizeof(start) && !store->read(store, 0, start, sizeof(start)) &&
	       !memcmp(start, SIGNATURE, sizeof(start));
}

/* ---- which header ---- */

/* Computed with itself zero. */
static u32 checksum_of(const u8 *page)
{
	const size_t at = offsetof(struct vhds_header, checksum);
	static const u8 zero[4];
	u32 crc = vhdx_crc32c(~0U, page, at);

	crc = vhdx_crc32c(crc, zero, sizeof(zero));
	return ~vhdx_crc32c(crc, page + at + 4, HEADER_LENGTH - at - 4);
}

/* 1: intact; 0: not; -EIO, -ENOMEM. */
static int read_header(struct vhdx_store *store, u64 offset, struct vhds_header *header,
		       struct vhdx_diag *diag)
{
	u8 *page = vhdx_alloc(HEADER_LENGTH);
	int intact;
	int err;

	if (!page)
		return vhdx_no_memory(diag);
	err = store->read(store, offset, page, HEADER_LENGTH);
	memcpy(header, page, sizeof(*header));
	intact = !err && offset + HEADER_LENGTH <= store->size &&
		 !memcmp(header->signature, HEADER_SIGNATURE, sizeof(header->signature)) &&
		 le32_to_cpu(header->checksum) == checksum_of(page);
	vhdx_free(page);
	return err ? vhdx_io_failed(diag, err, "its header at 0x%llx cannot be read", offset) :
		     intact;
}

static int choose_header(struct vhdx_store *store, struct vhds_header *chosen,
			 struct vhdx_diag *diag)
{
	struct vhds_header second = { 0 };
	int has_first;
	int has_second;

	has_first = read_header(store, HEADER_OFFSET_1, chosen, diag);
	if (has_first < 0)
		return has_first;
	has_second = read_header(store, HEADER_OFFSET_2, &second, diag);
	if (has_second < 0)
		return has_second;
	if (!has_first && !has_second)
		return vhdx_corrupt(diag,
				    "a VHD Set, of whose headers at 0x10000 and 0x20000 neither is intact");
	if (has_second && (!has_first ||
			   le64_to_cpu(second.sequence) > le64_to_cpu(chosen->sequence)))
		*chosen = second;
	if (le32_to_cpu(chosen->version) == VERSION_1)
		return 0;
	return vhdx_unsupported(diag,
				"a VHD Set of version %u, and only version 1 is known: name the .avhdx itself that its disk is in",
				le32_to_cpu(chosen->version));
}

/* ---- the name ---- */

/* Beside the set, and of one file: a name that leads elsewhere was not seen. */
static bool is_character_of_name(u32 character)
{
	return character >= ' ' && character != 0x7f && character != '/' && character != '\\' &&
	       character != ':';
}

static int decode_name(const u8 *raw, size_t length, u64 offset, struct vhds *set,
		       struct vhdx_diag *diag)
{
	size_t at, taken;
	size_t room = 0;
	u32 character;

	for (at = 0; at < length; at += taken) {
		taken = vhdx_utf16_decode(raw + at, length - at, &character);
		if (!taken)
			return vhdx_corrupt(diag, "a VHD Set whose name at 0x%llx is no UTF-16",
					    offset);
		if (!is_character_of_name(character))
			return vhdx_corrupt(diag,
					    "a VHD Set whose name at 0x%llx is not that of a file beside it: it has U+%04X at byte %zu",
					    offset, character, at);
		room += vhdx_utf8_encode(character, (u8 *)set->name + room);
	}
	set->name[room] = '\0';
	if (!strcmp(set->name, ".") || !strcmp(set->name, ".."))
		return vhdx_corrupt(diag, "a VHD Set that names a directory, at 0x%llx", offset);
	return 0;
}

static int read_name(struct vhdx_store *store, const struct vhds_header *header,
		     struct vhds *set, struct vhdx_diag *diag)
{
	const u64 offset = le32_to_cpu(header->name_offset);
	const u32 length = le32_to_cpu(header->name_length);
	u8 raw[VHDS_NAME_MAX];
	int err;

	if (!length || length > sizeof(raw) || length % 2 || offset + length > store->size)
		return vhdx_corrupt(diag,
				    "a VHD Set whose name, of %u bytes at 0x%llx, can't be there: the file has %llu bytes",
				    length, offset, store->size);
	err = store->read(store, offset, raw, length);
	if (err)
		return vhdx_io_failed(diag, err, "its name at 0x%llx cannot be read", offset);
	return decode_name(raw, length, offset, set, diag);
}

int vhds_read(struct vhdx_store *store, struct vhds *set, struct vhdx_diag *diag)
{
	struct vhds_header header = { 0 };
	int err;

	err = choose_header(store, &header, diag);
	if (err)
		return err;
	set->sequence = le64_to_cpu(header.sequence);
	return read_name(store, &header, set, diag);
}
