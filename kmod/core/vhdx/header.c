// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * File identifier and headers, MS-VHDX 2.2.1 and 2.2.2.
 */
#include "private.h"
#include "log.h"

u64 vhdx_header_offset(unsigned int slot)
{
	return slot ? VHDX_HEADER_OFFSET_2 : VHDX_HEADER_OFFSET_1;
}

void vhdx_header_encode(const struct vhdx_header *header, void *buf)
{
	struct vhdx_ondisk_header *raw = buf;

	memset(raw, 0, sizeof(*raw));
	memcpy(raw->signature, VHDX_HEADER_SIGNATURE, sizeof(raw->signature));
	raw->sequence_number = cpu_to_le64(header->sequence);
	raw->file_write_guid = header->file_write_guid;
	raw->data_write_guid = header->data_write_guid;
	raw->log_guid = header->log_guid;
	raw->log_version = cpu_to_le16(VHDX_LOG_VERSION);
	raw->version = cpu_to_le16(VHDX_VERSION);
	raw->log_length = cpu_to_le32(header->log_length);
	raw->log_offset = cpu_to_le64(header->log_offset);
	raw->checksum = cpu_to_le32(vhdx_checksum(raw, sizeof(*raw)));
}

void vhdx_header_copy_decode(struct vhdx_header_copy *copy, const struct vhdx_ondisk_header *raw,
			     unsigned int slot)
{
	struct vhdx_header *header = &copy->header;
	u32 checksum = vhdx_checksum(raw, sizeof(*raw));

	copy->fault[0] = '\0';
	if (!vhdx_has_signature(raw->signature, VHDX_HEADER_SIGNATURE, sizeof(raw->signature)))
		snprintf(copy->fault, sizeof(copy->fault), "no signature 'head'");
	else if (le32_to_cpu(raw->checksum) != checksum)
		snprintf(copy->fault, sizeof(copy->fault), "checksum 0x%08x, should be 0x%08x",
			 le32_to_cpu(raw->checksum), checksum);
	header->sequence = le64_to_cpu(raw->sequence_number);
	header->file_write_guid = raw->file_write_guid;
	header->data_write_guid = raw->data_write_guid;
	header->log_guid = raw->log_guid;
	header->log_length = le32_to_cpu(raw->log_length);
	header->log_offset = le64_to_cpu(raw->log_offset);
	header->slot = slot;
	copy->version = le16_to_cpu(raw->version);
	copy->log_version = le16_to_cpu(raw->log_version);
}

/* Where both claim the same sequence number (disk2vhd writes such), the first. */
static const struct vhdx_header_copy *current_copy(const struct vhdx_header_copy copies[2])
{
	if (copies[0].fault[0])
		return copies[1].fault[0] ? NULL : &copies[1];
	if (copies[1].fault[0] || copies[0].header.sequence >= copies[1].header.sequence)
		return &copies[0];
	return &copies[1];
}

/*
 * An unknown version of the current header is final: to go on with the other copy
 * would be to read an old state, and perhaps to forget a log that has to be replayed.
 */
static int check_versions(const struct vhdx_header_copy *copy, struct vhdx_diag *diag)
{
	unsigned int number = copy->header.slot + 1;
	u64 offset = vhdx_header_offset(copy->header.slot);

	if (copy->version != VHDX_VERSION)
		return vhdx_unsupported(diag, "header %u at 0x%llx: format version %u, only version 1 is known",
					number, offset, copy->version);
	if (copy->log_version != VHDX_LOG_VERSION && !vhdx_guid_is_zero(&copy->header.log_guid))
		return vhdx_unsupported(diag, "header %u at 0x%llx: the log needs to be replayed, but has log version %u and only version 0 is known: open and close the disk with the program that wrote it",
					number, offset, copy->log_version);
	return 0;
}

bool vhdx_header_choose(const void *const copies[2], struct vhdx_header *header)
{
	struct vhdx_header_copy decoded[2];
	const struct vhdx_header_copy *chosen;
	unsigned int slot;

	for (slot = 0; slot < 2; slot++)
		vhdx_header_copy_decode(&decoded[slot], copies[slot], slot);
	chosen = current_copy(decoded);
	if (chosen)
		*header = chosen->header;
	return chosen;
}

bool vhdx_header_equal(const struct vhdx_header *one, const struct vhdx_header *other)
{
	return one->sequence == other->sequence &&
	       vhdx_guid_equal(&one->file_write_guid, &other->file_write_guid) &&
	       vhdx_guid_equal(&one->data_write_guid, &other->data_write_guid) &&
	       vhdx_guid_equal(&one->log_guid, &other->log_guid) &&
	       one->log_length == other->log_length && one->log_offset == other->log_offset;
}

/* The log's own place; whether regions overlap it is the region table's question. */
static int check_log_place(const struct vhdx_header *header, u64 size, struct vhdx_diag *diag)
{
	unsigned int number = header->slot + 1;
	u64 where = vhdx_header_offset(header->slot);

	if (!header->log_length) {
		if (vhdx_guid_is_zero(&header->log_guid))
			return 0;
		return vhdx_damaged(diag, "header %u at 0x%llx: the log has to be replayed, but its length is 0",
				    number, where);
	}
	if (header->log_offset % VHDX_MIB || header->log_offset < VHDX_HEADER_SECTION)
		return vhdx_damaged(diag, "header %u at 0x%llx: log offset 0x%llx is not a multiple of 1 MiB from 1 MiB on",
				    number, where, header->log_offset);
	if (header->log_length % VHDX_MIB)
		return vhdx_damaged(diag, "header %u at 0x%llx: log length 0x%x is not a multiple of 1 MiB",
				    number, where, header->log_length);
	if (header->log_length > VHDX_LOG_LENGTH_MAX)
		return vhdx_unsupported(diag, "header %u at 0x%llx: a log of %u bytes, at most %llu are supported",
					number, where, header->log_length, VHDX_LOG_LENGTH_MAX);
	if (header->log_offset > size || header->log_length > size - header->log_offset)
		return vhdx_damaged(diag, "header %u at 0x%llx: the log at 0x%llx, 0x%x bytes, ends behind the container's end at 0x%llx: truncated",
				    number, where, header->log_offset, header->log_length, size);
	return 0;
}

static int check_identifier(struct vhdx_store *store, void *buf, struct vhdx_diag *diag)
{
	struct vhdx_ondisk_file_identifier *identifier = buf;
	int err;

	err = vhdx_read(store, 0, buf, VHDX_PAGE, "file identifier", diag);
	if (err)
		return err;
	if (!vhdx_has_signature(identifier->signature, VHDX_FILE_SIGNATURE,
				sizeof(identifier->signature)))
		return vhdx_bad_type(diag, "not a VHDX: no signature 'vhdxfile' at offset 0");
	if (store->size < VHDX_HEADER_SECTION)
		return vhdx_damaged(diag, "the container has %llu bytes, its header section alone needs %u: truncated",
				    store->size, VHDX_HEADER_SECTION);
	return 0;
}

int vhdx_header_load(struct vhdx_store *store, struct vhdx_header *header,
		     struct vhdx_diag *diag)
{
	const struct vhdx_header_copy *chosen;
	struct vhdx_header_copy copies[2];
	unsigned int slot;
	void *buf;
	int err;

	buf = vhdx_alloc(VHDX_PAGE);
	if (!buf)
		return vhdx_no_memory(diag);
	err = check_identifier(store, buf, diag);
	if (err)
		goto out;
	for (slot = 0; slot < 2; slot++) {
		err = vhdx_read(store, vhdx_header_offset(slot), buf, VHDX_HEADER_SIZE, "header",
				diag);
		if (err)
			goto out;
		vhdx_header_copy_decode(&copies[slot], buf, slot);
	}

	chosen = current_copy(copies);
	if (!chosen) {
		err = vhdx_damaged(diag, "no valid header: header 1 at 0x%x has %s, header 2 at 0x%x has %s",
				   VHDX_HEADER_OFFSET_1, copies[0].fault, VHDX_HEADER_OFFSET_2,
				   copies[1].fault);
		goto out;
	}
	err = check_versions(chosen, diag);
	if (!err)
		err = check_log_place(&chosen->header, store->size, diag);
	if (!err)
		*header = chosen->header;
out:
	vhdx_free(buf);
	return err;
}
