// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * The effects of a log, MS-VHDX 2.3.3: walking them, and writing them in place.
 */
#include "log_private.h"
#include "space.h"

/*
 * Zero descriptors are 32 bytes that cost any amount of writing. No structure is
 * longer than 4 GiB; this is more than any sequence needs.
 */
#define ZEROES_MAX	(16ULL << 30)

struct walk {
	struct vhdx_log_ring ring;
	vhdx_log_target_fn fn;
	void *context;
	u64 zeroes;		/* bytes so far */
	u8 *descriptors;	/* the descriptor sector under examination */
	u8 *page;
};

/* The scan has read these very bytes; but a hostile device may answer otherwise now. */
static int changed_meanwhile(const struct walk *walk, u32 position)
{
	return vhdx_corrupt(walk->ring.diag, "log entry at 0x%llx changed while it was read",
			    walk->ring.offset + position);
}

static int copy_sector(struct walk *walk, u32 position, u8 *buf)
{
	const void *sector;
	int err = vhdx_log_ring_sector(&walk->ring, position, &sector);

	if (!err)
		memcpy(buf, sector, VHDX_LOG_SECTOR);
	return err;
}

/* @entry: position of the entry in the log, for the message. */
static int judge_target(const struct walk *walk, u32 entry, u64 offset, u64 length)
{
	const struct vhdx_log_ring *ring = &walk->ring;
	u64 where = ring->offset + entry;

	if (offset < VHDX_REGION_TABLE_OFFSET_1)
		return vhdx_damaged(ring->diag, "log entry at 0x%llx writes to 0x%llx, where the headers are, nothing below 0x%x is allowed",
				    where, offset, VHDX_REGION_TABLE_OFFSET_1);
	if (offset > VHDX_SPACE_MAX || length > VHDX_SPACE_MAX - offset)
		return vhdx_damaged(ring->diag, "log entry at 0x%llx writes 0x%llx bytes to 0x%llx, nothing behind 0x%llx is allowed",
				    where, length, offset, VHDX_SPACE_MAX);
	if (offset < ring->offset + ring->length && offset + length > ring->offset)
		return vhdx_damaged(ring->diag, "log entry at 0x%llx writes 0x%llx bytes to 0x%llx, into the log itself at 0x%llx",
				    where, length, offset, ring->offset);
	return 0;
}

static int walk_zero(struct walk *walk, u32 entry, const struct vhdx_ondisk_log_zero *zero)
{
	u64 offset = le64_to_cpu(zero->file_offset);
	u64 length = le64_to_cpu(zero->zero_length);
	int err;

	if ((offset | length) % VHDX_LOG_SECTOR)
		return changed_meanwhile(walk, entry);
	if (!length)
		return 0;
	err = judge_target(walk, entry, offset, length);
	if (err)
		return err;
	walk->zeroes += length;		/* both are below VHDX_SPACE_MAX */
	if (walk->zeroes > ZEROES_MAX)
		return vhdx_damaged(walk->ring.diag, "log entry at 0x%llx: the log zeroes 0x%llx bytes up to here, at most 0x%llx are allowed",
				    walk->ring.offset + entry, walk->zeroes, ZEROES_MAX);
	return walk->fn ? walk->fn(walk->context, offset, NULL, length, 0) : 0;
}

static int walk_data(struct walk *walk, u32 entry, const struct vhdx_ondisk_log_data *data,
		     u32 position)
{
	u64 offset = le64_to_cpu(data->file_offset);
	int err;

	if (offset % VHDX_LOG_SECTOR)
		return changed_meanwhile(walk, entry);
	err = judge_target(walk, entry, offset, VHDX_LOG_SECTOR);
	if (err || !walk->fn)
		return err;
	err = copy_sector(walk, position, walk->page);
	if (err)
		return err;
	memcpy(walk->page, data->leading, VHDX_LOG_LEADING);
	memcpy(walk->page + VHDX_LOG_SECTOR - VHDX_LOG_TRAILING, data->trailing,
	       VHDX_LOG_TRAILING);
	return walk->fn(walk->context, offset, walk->page, VHDX_LOG_SECTOR,
			walk->ring.offset + position);
}

static int walk_entry(struct walk *walk, const struct vhdx_log_head *head)
{
	const struct vhdx_log_ring *ring = &walk->ring;
	u32 data = vhdx_log_descriptor_sectors(head->descriptor_count) * VHDX_LOG_SECTOR;
	u32 table = 0;
	u32 i;
	int err = 0;

	for (i = 0; i < head->descriptor_count && !err; i++) {
		u32 place = vhdx_log_descriptor_place(i);
		const union vhdx_ondisk_log_descriptor *descriptor =
			(const void *)(walk->descriptors + place);

		if (!i || !place) {
			err = copy_sector(walk, vhdx_log_ring_advance(ring, head->position, table),
					  walk->descriptors);
			if (err)
				break;
			table += VHDX_LOG_SECTOR;
		}
		if (vhdx_log_is_zero(descriptor)) {
			err = walk_zero(walk, head->position, &descriptor->zero);
		} else if (vhdx_log_is_data(descriptor) && data < head->length) {
			err = walk_data(walk, head->position, &descriptor->data,
					vhdx_log_ring_advance(ring, head->position, data));
			data += VHDX_LOG_SECTOR;
		} else {
			err = changed_meanwhile(walk, head->position);
		}
	}
	return err;
}

static int walk_entries(struct walk *walk, const vhdx_guid *guid, const struct vhdx_log_scan *scan)
{
	u32 position = scan->tail;
	struct vhdx_log_head head;
	const void *sector;
	u32 i;
	int err;

	for (i = 0; i < scan->entry_count; i++) {
		err = vhdx_log_ring_sector(&walk->ring, position, &sector);
		if (err)
			return err;
		if (!vhdx_log_head_decode(&head, &walk->ring, position, guid, sector))
			return changed_meanwhile(walk, position);
		err = walk_entry(walk, &head);
		if (err)
			return err;
		position = vhdx_log_ring_advance(&walk->ring, position, head.length);
	}
	return 0;
}

int vhdx_log_walk(struct vhdx_store *store, const struct vhdx_header *header,
		  const struct vhdx_log_scan *scan, vhdx_log_target_fn fn, void *context,
		  struct vhdx_diag *diag)
{
	struct walk walk = { .fn = fn, .context = context };
	int err;

	if (!scan->dirty)
		return 0;
	err = vhdx_log_ring_init(&walk.ring, store, header, diag);
	walk.descriptors = vhdx_alloc(VHDX_LOG_SECTOR);
	walk.page = vhdx_alloc(VHDX_LOG_SECTOR);
	if (!walk.descriptors || !walk.page)
		err = vhdx_no_memory(diag);
	if (!err)
		err = walk_entries(&walk, &header->log_guid, scan);
	vhdx_free(walk.page);
	vhdx_free(walk.descriptors);
	vhdx_log_ring_release(&walk.ring);
	return err;
}

/* Where the effects go on disk. */
struct replay {
	struct vhdx_store *store;
	struct vhdx_diag *diag;
	u64 end;	/* of the container, as far as replay has extended it */
	u8 *zeroes;	/* VHDX_LOG_WINDOW bytes */
};

/* Behind the end there is nothing to zero: what extends the container does it. */
static int write_zeroes(struct replay *replay, u64 offset, u64 length)
{
	u64 end = min(offset + length, replay->end);
	int err;

	while (offset < end) {
		size_t chunk = min_t(u64, end - offset, VHDX_LOG_WINDOW);

		vhdx_breathe();
		if (vhdx_interrupted())
			return -EINTR;
		err = replay->store->write(replay->store, offset, replay->zeroes, chunk);
		if (err)
			return err;
		offset += chunk;
	}
	return 0;
}

static int write_target(void *context, u64 offset, const void *sector, u64 length, u64 log_offset)
{
	struct replay *replay = context;
	int err;

	(void)log_offset;
	if (sector) {
		err = replay->store->write(replay->store, offset, sector, length);
		replay->end = max(replay->end, offset + length);
	} else {
		err = write_zeroes(replay, offset, length);
	}
	if (err && err != -EINTR)
		return vhdx_io_failed(replay->diag, err, "replaying the log: writing 0x%llx bytes at 0x%llx failed (error %d): make room or repair the device, then attach again",
				      length, offset, -err);
	return err;
}

int vhdx_log_replay(struct vhdx_store *store, const struct vhdx_header *header,
		    const struct vhdx_log_scan *scan, struct vhdx_diag *diag)
{
	struct replay replay = { .store = store, .diag = diag, .end = store->size };
	int err;

	replay.zeroes = vhdx_alloc(VHDX_LOG_WINDOW);
	if (!replay.zeroes)
		return vhdx_no_memory(diag);
	err = vhdx_log_walk(store, header, scan, write_target, &replay, diag);
	vhdx_free(replay.zeroes);
	return err;
}
