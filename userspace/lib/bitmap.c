// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Changes as a bitmap.
 */
#include <errno.h>
#include <string.h>
#include "internal.h"

/* In one call: a multiple of 8, and of what the driver copies at a time. */
#define BYTES_PER_CALL	(1U << 30)

uint64_t vhdx_bitmap_bytes(uint64_t length, uint64_t granularity)
{
	if (!length || !granularity)
		return 0;
	return ((length - 1) / granularity / 64 + 1) * 8;
}

/* What the question leaves to the disk: how long it is, and the unit between these points. */
static int resolve(struct vhdx_disk *disk, struct vhdx_bitmap *bitmap)
{
	struct vhdx_get_virtual_disk_changes query = {
		.size = sizeof(query),
		.flags = VHDX_CHANGES_COUNT,
		.limit_id = bitmap->limit,
		.target_id = bitmap->target,
	};
	int err;

	err = resolve_length(disk, bitmap->offset, &bitmap->length);
	if (err || bitmap->granularity)
		return err;
	err = vhdx_disk_get_changes_once(disk, &query);
	bitmap->disk_size = query.virtual_disk_size;
	bitmap->granularity = query.unit;
	return err;
}

static int ask(struct vhdx_disk *disk, struct vhdx_bitmap *bitmap, char *bits, uint64_t size,
	       uint64_t *done)
{
	struct vhdx_get_virtual_disk_changes query = {
		.size = sizeof(query),
		.flags = VHDX_CHANGES_BITMAP,
		.limit_id = bitmap->limit,
		.target_id = bitmap->target,
		.byte_offset = bitmap->offset + bitmap->processed,
		.byte_length = bitmap->length - bitmap->processed,
		.granularity = bitmap->granularity,
		.output = (uintptr_t)(bits + *done),
		.output_capacity = size - *done < BYTES_PER_CALL ? size - *done : BYTES_PER_CALL,
	};
	int err = vhdx_disk_get_changes_once(disk, &query);

	bitmap->disk_size = query.virtual_disk_size;
	if (err)
		return err;
	if (!query.processed_byte_length && query.byte_length)
		return fail(-EIO, VHDX_REASON_NONE,
			    "%s: the query makes no progress at offset %llu", disk->name,
			    (unsigned long long)query.byte_offset);
	bitmap->processed += query.processed_byte_length;
	bitmap->answer_flags |= query.answer_flags;
	*done += query.output_count;
	return 0;
}

/* There is nothing to tell: what is wrong the driver says. */
static int ask_for_nothing(struct vhdx_disk *disk, struct vhdx_bitmap *bitmap)
{
	uint64_t word, done = 0;

	return ask(disk, bitmap, (char *)&word, sizeof(word), &done);
}

static int get_bitmap(struct vhdx_disk *disk, struct vhdx_bitmap *bitmap, void *bits, size_t size)
{
	uint64_t needed, done = 0;
	int err;

	bitmap->processed = 0;
	bitmap->answer_flags = 0;
	err = resolve(disk, bitmap);
	if (err)
		return err;
	needed = vhdx_bitmap_bytes(bitmap->length, bitmap->granularity);
	if (!needed)
		return ask_for_nothing(disk, bitmap);
	if (size < needed)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: there is room for %zu bytes of bits, and %llu are needed (vhdx_bitmap_bytes())",
			    disk->name, size, (unsigned long long)needed);
	do {
		err = ask(disk, bitmap, bits, needed, &done);
	} while (!err && bitmap->processed < bitmap->length);
	if (!err)
		memset((char *)bits + done, 0, size - done);
	return err;
}

int vhdx_disk_get_change_bitmap(struct vhdx_disk *disk, struct vhdx_bitmap *bitmap, void *bits,
				size_t bits_size)
{
	struct vhdx_bitmap known;
	int err;

	clear_error();
	err = take_sized(&known, sizeof(known), bitmap, VHDX_BITMAP_SIZE_VER0, "vhdx_bitmap");
	if (err)
		return err;
	err = get_bitmap(disk, &known, bits, bits_size);
	give_sized(bitmap, &known, sizeof(known));
	return err;
}
