// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Finding the active sequence of a log, MS-VHDX 2.3.3, in time linear in the length
 * of the log, whatever it holds.
 *
 * The specification tries every sector as the beginning of a run of entries with
 * ascending sequence numbers. Done literally that is quadratic for a log made to
 * that end. Two things make it linear:
 *
 * - Each sector of an entry says by its signature what it is. Signatures are checked
 *   while the entry streams past, before its checksum is known. So whatever length a
 *   header claims, reading stops at the next sector that begins another entry: each
 *   sector is looked at once as a possible beginning and once as the content of what
 *   began before it. (Twice that, where an entry is read as the one that doesn't
 *   continue a run, or where a run wraps around the ring's end, which ends the scan.)
 *   It follows too that entries don't nest: within a run, the sectors that begin with
 *   "loge" are exactly the beginnings of its entries.
 *
 * - A run whose last entry names a tail that is no entry of the run is no sequence,
 *   and neither is what is left of the run without its first entries: it ends with
 *   the same entry, naming the same tail. So the run is skipped as a whole.
 */
#include "log_private.h"
#include "space.h"

int vhdx_log_ring_init(struct vhdx_log_ring *ring, struct vhdx_store *store,
		       const struct vhdx_header *header, struct vhdx_diag *diag)
{
	ring->store = store;
	ring->diag = diag;
	ring->offset = header->log_offset;
	ring->length = header->log_length;
	ring->position = ring->length;
	ring->window = vhdx_alloc(VHDX_LOG_WINDOW);
	return ring->window ? 0 : vhdx_no_memory(diag);
}

void vhdx_log_ring_release(struct vhdx_log_ring *ring)
{
	vhdx_free(ring->window);
	ring->window = NULL;
}

int vhdx_log_ring_sector(struct vhdx_log_ring *ring, u32 position, const void **sector)
{
	u32 wanted = position & ~(VHDX_LOG_WINDOW - 1);
	int err;

	if (wanted != ring->position) {
		vhdx_breathe();
		if (vhdx_interrupted())
			return -EINTR;
		ring->position = ring->length;
		err = vhdx_read(ring->store, ring->offset + wanted, ring->window, VHDX_LOG_WINDOW,
				"log", ring->diag);
		if (err)
			return err;
		ring->position = wanted;
	}
	*sector = ring->window + (position - wanted);
	return 0;
}

bool vhdx_log_head_decode(struct vhdx_log_head *head, const struct vhdx_log_ring *ring,
			  u32 position, const vhdx_guid *guid, const void *sector)
{
	const struct vhdx_ondisk_log_header *raw = sector;

	if (!vhdx_has_signature(raw->signature, VHDX_LOG_ENTRY_SIGNATURE, sizeof(raw->signature)) ||
	    !vhdx_guid_equal(&raw->log_guid, guid))
		return false;
	head->position = position;
	head->length = le32_to_cpu(raw->entry_length);
	head->tail = le32_to_cpu(raw->tail);
	head->descriptor_count = le32_to_cpu(raw->descriptor_count);
	head->sequence = le64_to_cpu(raw->sequence_number);
	head->flushed_file_offset = le64_to_cpu(raw->flushed_file_offset);
	head->last_file_offset = le64_to_cpu(raw->last_file_offset);
	return head->length && head->length % VHDX_LOG_SECTOR == 0 &&
	       head->length <= ring->length &&
	       head->tail % VHDX_LOG_SECTOR == 0 && head->tail < ring->length &&
	       head->sequence &&
	       head->flushed_file_offset % VHDX_MIB == 0 &&
	       head->last_file_offset % VHDX_MIB == 0 &&
	       vhdx_log_descriptor_sectors(head->descriptor_count) <=
	       head->length / VHDX_LOG_SECTOR;
}

/* What was learnt of an entry while it streams past. */
struct entry_stream {
	struct vhdx_log_head head;
	u32 descriptors;	/* seen so far */
	u32 data_descriptors;	/* of these */
	u32 crc;
};

static bool check_descriptor(struct entry_stream *entry,
			     const union vhdx_ondisk_log_descriptor *descriptor)
{
	u64 length = VHDX_LOG_SECTOR;

	if (vhdx_log_is_data(descriptor))
		entry->data_descriptors++;
	else if (vhdx_log_is_zero(descriptor))
		length = le64_to_cpu(descriptor->zero.zero_length);
	else
		return false;
	/* Offset and sequence number lie in the same place in both. */
	return length % VHDX_LOG_SECTOR == 0 &&
	       le64_to_cpu(descriptor->data.file_offset) % VHDX_LOG_SECTOR == 0 &&
	       le64_to_cpu(descriptor->data.sequence_number) == entry->head.sequence;
}

/* Of a descriptor sector, the descriptors from byte @place on. */
static bool check_descriptors(struct entry_stream *entry, const u8 *sector, u32 place)
{
	for (; place < VHDX_LOG_SECTOR && entry->descriptors < entry->head.descriptor_count;
	     place += sizeof(union vhdx_ondisk_log_descriptor)) {
		if (!check_descriptor(entry, (const void *)(sector + place)))
			return false;
		entry->descriptors++;
	}
	return true;
}

static bool check_data_sector(const struct entry_stream *entry,
			      const struct vhdx_ondisk_log_sector *sector)
{
	return vhdx_has_signature(sector->signature, VHDX_LOG_SECTOR_SIGNATURE,
				  sizeof(sector->signature)) &&
	       le32_to_cpu(sector->sequence_high) == entry->head.sequence >> 32 &&
	       le32_to_cpu(sector->sequence_low) == (u32)entry->head.sequence;
}

/* Is there a valid entry at @position? 1: yes, and @head is it; 0: no; or -errno. */
static int read_entry(struct vhdx_log_ring *ring, const vhdx_guid *guid, u32 position,
		      struct vhdx_log_head *head)
{
	struct entry_stream entry = { 0 };
	const void *sector;
	u32 descriptor_sectors;
	u32 checksum;
	u32 sectors;
	u32 i;
	int err;

	err = vhdx_log_ring_sector(ring, position, &sector);
	if (err)
		return err;
	if (!vhdx_log_head_decode(&entry.head, ring, position, guid, sector) ||
	    !check_descriptors(&entry, sector, vhdx_log_descriptor_place(0)))
		return 0;
	checksum = le32_to_cpu(((const struct vhdx_ondisk_log_header *)sector)->checksum);
	entry.crc = vhdx_checksum_begin(sector, VHDX_LOG_SECTOR);

	sectors = entry.head.length / VHDX_LOG_SECTOR;
	descriptor_sectors = vhdx_log_descriptor_sectors(entry.head.descriptor_count);
	for (i = 1; i < sectors; i++) {
		position = vhdx_log_ring_advance(ring, position, VHDX_LOG_SECTOR);
		err = vhdx_log_ring_sector(ring, position, &sector);
		if (err)
			return err;
		if (i < descriptor_sectors ? !check_descriptors(&entry, sector, 0) :
					     !check_data_sector(&entry, sector))
			return 0;
		entry.crc = vhdx_crc32c(entry.crc, sector, VHDX_LOG_SECTOR);
	}
	if (sectors != descriptor_sectors + entry.data_descriptors || checksum != ~entry.crc)
		return 0;
	*head = entry.head;
	return 1;
}

/* Valid entries one behind the other with ascending sequence numbers. */
struct run {
	u32 start;
	u32 length;		/* 0: there is none */
	struct vhdx_log_head last;
};

static int read_run(struct vhdx_log_ring *ring, const vhdx_guid *guid, u32 start, struct run *run)
{
	struct vhdx_log_head head = { 0 };
	int valid;

	memset(run, 0, sizeof(*run));
	run->start = start;
	while (run->length < ring->length) {
		valid = read_entry(ring, guid,
				   vhdx_log_ring_advance(ring, start, run->length), &head);
		if (valid < 0)
			return valid;
		if (!valid || (run->length && head.sequence != run->last.sequence + 1) ||
		    head.length > ring->length - run->length)
			break;
		run->last = head;
		run->length += head.length;
	}
	return 0;
}

/* Is the last entry's tail an entry of the run? @page: scratch. 1, 0, or -errno. */
static int run_is_sequence(struct vhdx_log_ring *ring, const struct run *run, u8 *page)
{
	u32 tail = run->last.tail;
	int err;

	if (vhdx_log_ring_distance(ring, run->start, tail) >= run->length)
		return 0;
	/* Beside the window, which would have to be read again otherwise. */
	err = vhdx_read(ring->store, ring->offset + tail, page, VHDX_LOG_SECTOR, "log", ring->diag);
	if (err)
		return err;
	return vhdx_has_signature(page, VHDX_LOG_ENTRY_SIGNATURE, 4);
}

/* The newest sequence of the ring; best->length is 0 where there is none. */
static int find_sequence(struct vhdx_log_ring *ring, const vhdx_guid *guid, u8 *page,
			 struct run *best)
{
	struct run run;
	u32 position = 0;
	int err;

	memset(best, 0, sizeof(*best));
	/* A run that wraps has seen the rest of the ring: then @position is behind it. */
	for (; position < ring->length; position += run.length ? run.length : VHDX_LOG_SECTOR) {
		err = read_run(ring, guid, position, &run);
		if (err)
			return err;
		/* Where there is no run, its number is 0, which no entry has. */
		if (run.last.sequence <= best->last.sequence)
			continue;
		err = run_is_sequence(ring, &run, page);
		if (err < 0)
			return err;
		if (err)
			*best = run;
	}
	return 0;
}

/* How many entries lie between the tail and the head that the scan found? */
static int count_entries(struct vhdx_log_ring *ring, const vhdx_guid *guid,
			 struct vhdx_log_scan *scan)
{
	struct vhdx_log_head head;
	u32 position = scan->tail;
	const void *sector;
	u32 done = 0;
	int err;

	do {
		err = vhdx_log_ring_sector(ring, position, &sector);
		if (err)
			return err;
		if (!vhdx_log_head_decode(&head, ring, position, guid, sector) ||
		    head.length > ring->length - done)
			return vhdx_corrupt(ring->diag, "log at 0x%llx: the entry at 0x%llx changed while it was read",
					    ring->offset, ring->offset + position);
		scan->entry_count++;
		done += head.length;
		position = vhdx_log_ring_advance(ring, position, head.length);
	} while (position != scan->head && done < ring->length);
	return 0;
}

static int check_sizes(const struct vhdx_log_ring *ring, const struct run *run)
{
	u64 where = ring->offset + run->last.position;
	u64 size = ring->store->size;

	if (run->last.flushed_file_offset > size)
		return vhdx_damaged(ring->diag, "log entry at 0x%llx: the container had at least 0x%llx bytes when it was written and has 0x%llx now: truncated",
				    where, run->last.flushed_file_offset, size);
	if (run->last.last_file_offset > VHDX_SPACE_MAX)
		return vhdx_damaged(ring->diag, "log entry at 0x%llx: LastFileOffset 0x%llx, at most 0x%llx are allowed",
				    where, run->last.last_file_offset, VHDX_SPACE_MAX);
	return 0;
}

/* Does any sector begin an entry of the log, be it torn or damaged? */
static int look_for_entry(struct vhdx_log_ring *ring, const vhdx_guid *guid, bool *found)
{
	const struct vhdx_ondisk_log_header *head;
	const void *sector;
	u32 position;
	int err;

	*found = false;
	for (position = 0; position < ring->length && !*found; position += VHDX_LOG_SECTOR) {
		err = vhdx_log_ring_sector(ring, position, &sector);
		if (err)
			return err;
		head = sector;
		*found = vhdx_guid_equal(&head->log_guid, guid);
	}
	return 0;
}

static int no_sequence(struct vhdx_log_ring *ring, const struct vhdx_header *header,
		       struct vhdx_log_scan *scan)
{
	char guid[VHDX_GUID_TEXT];
	bool found;
	int err;

	err = look_for_entry(ring, &header->log_guid, &found);
	if (err)
		return err;
	vhdx_guid_format(&header->log_guid, guid);
	scan->unwritten = !found;
	if (scan->unwritten)
		return vhdx_corrupt(ring->diag, "log at 0x%llx: header %u says that log %s has to be replayed, but nothing of it was ever written, as where QEMU is killed: run `vhdxctl check --repair` on it first, or attach it read-only",
				    ring->offset, header->slot + 1, guid);
	return vhdx_corrupt(ring->diag, "log at 0x%llx: header %u says that log %s has to be replayed, but no complete sequence of its entries is there: restore the container from a copy",
			    ring->offset, header->slot + 1, guid);
}

static int scan_ring(struct vhdx_log_ring *ring, const struct vhdx_header *header, u8 *page,
		     struct vhdx_log_scan *scan)
{
	struct run run;
	int err;

	err = find_sequence(ring, &header->log_guid, page, &run);
	if (err)
		return err;
	if (!run.length)
		return no_sequence(ring, header, scan);
	err = check_sizes(ring, &run);
	if (err)
		return err;
	scan->dirty = true;
	scan->tail = run.last.tail;
	scan->head = vhdx_log_ring_advance(ring, run.start, run.length);
	scan->sequence = run.last.sequence;
	scan->flushed_file_offset = run.last.flushed_file_offset;
	scan->last_file_offset = run.last.last_file_offset;
	return count_entries(ring, &header->log_guid, scan);
}

int vhdx_log_scan(struct vhdx_store *store, const struct vhdx_header *header,
		  struct vhdx_log_scan *scan, struct vhdx_diag *diag)
{
	struct vhdx_log_ring ring;
	u8 *page;
	int err;

	memset(scan, 0, sizeof(*scan));
	if (vhdx_guid_is_zero(&header->log_guid))
		return 0;
	err = vhdx_log_ring_init(&ring, store, header, diag);
	page = vhdx_alloc(VHDX_LOG_SECTOR);
	if (!page)
		err = vhdx_no_memory(diag);
	if (!err)
		err = scan_ring(&ring, header, page, scan);
	vhdx_free(page);
	vhdx_log_ring_release(&ring);
	/* Judge every target before the caller writes to the first. */
	if (!err)
		err = vhdx_log_walk(store, header, scan, NULL, NULL, diag);
	return err;
}
