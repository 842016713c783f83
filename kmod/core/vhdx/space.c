// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Occupancy of a container, a bit per MiB.
 */
#include "private.h"
#include "space.h"

#define WORD_BITS	(8 * sizeof(unsigned long))
#define NOTHING		(~0ULL)

/*
 * Take @count MiB from @first on, a word at a time. Returns the first that was
 * taken before, or NOTHING.
 */
static u64 take(struct vhdx_space *space, u64 first, u64 count)
{
	while (count) {
		unsigned long *word = &space->taken[first / WORD_BITS];
		unsigned int shift = first % WORD_BITS;
		unsigned int bits = min_t(u64, count, WORD_BITS - shift);
		unsigned long mask = (~0UL >> (WORD_BITS - bits)) << shift;

		if (*word & mask) {
			while (!(*word & (1UL << shift)))
				shift++;
			return first - first % WORD_BITS + shift;
		}
		*word |= mask;
		first += bits;
		count -= bits;
	}
	return NOTHING;
}

static u64 take_bytes(struct vhdx_space *space, u64 offset, u64 length)
{
	u64 taken = take(space, offset / VHDX_MIB, length / VHDX_MIB);

	space->end = max(space->end, offset + length);
	return taken;
}

int vhdx_space_init(struct vhdx_space *space, const struct vhdx_image *image, u64 size,
		    struct vhdx_diag *diag)
{
	unsigned int i;
	u64 bits;

	memset(space, 0, sizeof(*space));
	if (size > VHDX_SPACE_MAX)
		return vhdx_unsupported(diag, "the container has %llu bytes: blocks can only be allocated in containers of up to %llu",
					size, VHDX_SPACE_MAX);
	space->size = size;
	space->mib_count = size / VHDX_MIB;
	/* The disk's last block may go on behind the container's end. */
	bits = space->mib_count + 1 + image->geo.block_size / VHDX_MIB;
	space->taken = vhdx_alloc((bits / WORD_BITS + 1) * sizeof(*space->taken));
	if (!space->taken)
		return vhdx_no_memory(diag);
	/* Extents are disjoint and end within the container: the region table was judged. */
	for (i = 0; i < image->extent_count; i++)
		take_bytes(space, image->extents[i].offset, image->extents[i].length);
	return 0;
}

static int add_entry(struct vhdx_space *space, const struct vhdx_image *image, u64 index, u64 raw,
		     struct vhdx_diag *diag)
{
	struct vhdx_bat_slot slot = vhdx_bat_slot(&image->geo, index);
	struct vhdx_bat_entry entry = vhdx_bat_decode(raw);
	u64 taken;

	if (!slot.used || (entry.state != VHDX_BLOCK_FULLY_PRESENT &&
			   entry.state != VHDX_BLOCK_PARTIALLY_PRESENT))
		return 0;
	taken = take_bytes(space, entry.offset, slot.length);
	if (taken == NOTHING)
		return 0;
	return vhdx_damaged(diag, "BAT entry %llu at 0x%llx: the %s block at 0x%llx, 0x%llx bytes, overlaps another block at 0x%llx",
			    index, vhdx_bat_entry_offset(&image->geo, index),
			    slot.bitmap ? "sector bitmap" : "payload", entry.offset, slot.length,
			    taken * VHDX_MIB);
}

/* The entry of a sector bitmap is behind those of its blocks. */
static int check_partial(struct vhdx_space *space, const struct vhdx_image *image, u64 index,
			 u64 raw, struct vhdx_diag *diag)
{
	struct vhdx_bat_slot slot = vhdx_bat_slot(&image->geo, index);
	u32 state = vhdx_bat_decode(raw).state;
	u64 partial = space->partial;

	if (!slot.used)
		return 0;
	if (!slot.bitmap) {
		if (state == VHDX_BLOCK_PARTIALLY_PRESENT)
			space->partial = index + 1;
		return 0;
	}
	space->partial = 0;
	if (!partial || state == VHDX_BLOCK_FULLY_PRESENT)
		return 0;
	return vhdx_damaged(diag, "BAT entry %llu at 0x%llx: the block is partially present, but entry %llu has no sector bitmap for it",
			    partial - 1, vhdx_bat_entry_offset(&image->geo, partial - 1), index);
}

int vhdx_space_add_entry(struct vhdx_space *space, const struct vhdx_image *image, u64 index,
			 u64 raw, u64 size, struct vhdx_diag *diag)
{
	int err = vhdx_bat_check(image, index, raw, min(size, space->size), diag);

	if (!err)
		err = add_entry(space, image, index, raw, diag);
	if (!err)
		err = check_partial(space, image, index, raw, diag);
	return err;
}

int vhdx_space_add_page(struct vhdx_space *space, const struct vhdx_image *image, u64 index,
			const void *entries, u64 size, struct vhdx_diag *diag)
{
	const __le64 *raw = entries;
	unsigned int i;
	int err = 0;

	for (i = 0; i < VHDX_PAGE / VHDX_BAT_ENTRY_SIZE && !err; i++)
		err = vhdx_space_add_entry(space, image, index + i, le64_to_cpu(raw[i]), size,
					   diag);
	return err;
}

void vhdx_space_release(struct vhdx_space *space)
{
	vhdx_free(space->taken);
	space->taken = NULL;
}
