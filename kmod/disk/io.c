// SPDX-License-Identifier: GPL-2.0-only
/*
 * The path of a bio: what is answered from memory, and the end of all of them.
 */
#include "io.h"
#include "disk.h"
#include "trace.h"

#include <linux/blkdev.h>

/* Announced where the container is a device that has it; nobody else sends such bios. */
static gfp_t gfp_of(const struct bio *bio)
{
	return bio->bi_opf & REQ_NOWAIT ? GFP_NOWAIT : GFP_NOIO;
}

/*
 * Of what a bio holds a reference for as long as it is under way (rule K2). Writes have one of
 * their own: a shutdown ends them, and not the others.
 */
static struct percpu_ref *ref_of(struct vhdx_disk *disk, const struct bio *bio)
{
	return op_is_write(bio_op(bio)) && !(bio->bi_opf & REQ_PREFLUSH) ? &disk->write_ref :
									   &disk->io_ref;
}

static void request_done(struct vhdx_request *request, blk_status_t status)
{
	vhdx_io_done(container_of(request, struct vhdx_io, request), status);
}

/* Apart from those that call them, for which an event that is off is one jump over a call. */
static noinline void map_event(const struct vhdx_io *io, enum vhdx_trace_mapped kind, u64 where)
{
	trace_vhdx_map(io->disk->index, io->disk_offset, io->length, vhdx_io_is_write(io), kind,
		       where);
}

static noinline void slow_event(const struct vhdx_io *io, enum vhdx_trace_slow why)
{
	trace_vhdx_slow(io->disk->index, io->disk_offset, io->length, vhdx_io_is_write(io), why);
}

static inline void trace_map(const struct vhdx_io *io, enum vhdx_trace_mapped kind, u64 where)
{
	if (trace_vhdx_map_enabled())
		map_event(io, kind, where);
}

static inline void trace_slow(const struct vhdx_io *io, enum vhdx_trace_slow why)
{
	if (trace_vhdx_slow_enabled())
		slow_event(io, why);
}

/* NULL only for a bio that does not wait. */
static struct vhdx_io *io_alloc(struct vhdx_disk *disk, struct bio *bio)
{
	struct bio *clone = bio_alloc_clone(bio->bi_bdev, bio, gfp_of(bio), &disk->io_bios);
	struct vhdx_io *io;

	if (!clone)
		return NULL;
	io = container_of(clone, struct vhdx_io, request.clone);
	io->disk = disk;
	io->ref = ref_of(disk, bio);
	io->orig = bio;
	INIT_LIST_HEAD(&io->link);
	io->pass.epoch = NULL;
	io->write.slot = NULL;
	io->disk_offset = (u64)bio->bi_iter.bi_sector << SECTOR_SHIFT;
	io->length = bio->bi_iter.bi_size;
	io->op = NULL;
	io->parked = false;
	io->commit = false;
	io->status = BLK_STS_OK;
	io->swap_out = false;
	io->start_time = 0;
	io->request.container = &vhdx_disk_leaf(disk)->container;
	io->request.done = request_done;
	io->request.offset = 0;
	io->request.alone = false;
	return io;
}

/**
 * vhdx_io_start() - a bio with data sets out
 * @disk:	the disk
 * @bio:	holds a reference of the disk, which goes with it
 * @swap_out:	it has entered disk->swap_out
 *
 * Waits for nothing but memory that earlier ones give back, and not even for that if the bio
 * does not wait.
 */
void vhdx_io_start(struct vhdx_disk *disk, struct bio *bio, bool swap_out)
{
	struct percpu_ref *ref = ref_of(disk, bio);
	struct vhdx_io *io = io_alloc(disk, bio);

	if (io) {
		io->swap_out = swap_out;
		vhdx_io_enter(io);
		return;
	}
	bio_wouldblock_error(bio);
	if (swap_out)
		vhdx_swap_out_leave(disk);
	percpu_ref_put(ref);
}

/**
 * vhdx_submit_bio() - the disk's ->submit_bio
 * @bio:	from the block layer, or resubmitted by us
 */
void vhdx_submit_bio(struct bio *bio)
{
	struct vhdx_disk *disk = bio->bi_bdev->bd_disk->private_data;
	struct percpu_ref *ref = ref_of(disk, bio);
	bool swap_out = false;

	if (!percpu_ref_tryget_live(ref)) {
		bio_io_error(bio);
		return;
	}
	switch (bio_op(bio)) {
	case REQ_OP_READ:
	case REQ_OP_WRITE:
	case REQ_OP_FLUSH:
		break;
	default:
		bio->bi_status = BLK_STS_NOTSUPP;
		goto fail;
	}
	/* The block layer only warns of it, and device mapper does not look: a table that
	 * was loaded for writing sends writes here. A flush without data changes nothing.
	 */
	if (unlikely(disk->read_only) && op_is_write(bio_op(bio)) && bio_sectors(bio)) {
		bio->bi_status = BLK_STS_IOERR;
		goto fail;
	}

	/* A flush is a commit, never sent on by itself (rule V4). What comes with
	 * it starts over once the commit is done.
	 */
	if (bio->bi_opf & REQ_PREFLUSH || bio_op(bio) == REQ_OP_FLUSH) {
		if (bio->bi_opf & REQ_NOWAIT)
			goto would_wait;
		vhdx_io_enter(io_alloc(disk, bio));
		return;
	}

	if (unlikely(vhdx_is_swap_out(bio))) {
		swap_out = true;
		if (!vhdx_swap_out_enter(disk, bio))
			return;
	}
	vhdx_io_start(disk, bio, swap_out);
	return;

would_wait:
	bio->bi_status = BLK_STS_AGAIN;
fail:
	bio_endio(bio);
	percpu_ref_put(ref);
}

/**
 * vhdx_io_shut() - writes that come from now on fail; those under way end as they do
 * @disk:	the disk, which is read on, and flushed
 * @deadline:	in jiffies
 *
 * Sleeps. Returns false if some were still under way at the deadline.
 */
bool vhdx_io_shut(struct vhdx_disk *disk, unsigned long deadline)
{
	percpu_ref_kill(&disk->write_ref);
	return wait_for_completion_timeout(&disk->writes_drained,
					   max_t(long, deadline - jiffies, 1));
}

static void committed(struct vhdx_commit_waiter *waiter, int err)
{
	struct vhdx_io *io = container_of(waiter, struct vhdx_io, waiter);
	struct vhdx_disk *disk = io->disk;
	struct bio *bio = io->orig;

	if (io->parked && !err) {
		io->parked = false;
		vhdx_io_allocate(io);
		return;
	}
	if (err || io->commit || !io->length) {
		vhdx_io_end(io, errno_to_blk_status(err));
		return;
	}
	/* The flush in front of data: the data starts over, without it. */
	bio_put(&io->request.clone);
	bio->bi_opf &= ~REQ_PREFLUSH;
	vhdx_restart_bio(disk, bio);
}

/**
 * vhdx_io_wait_for_commit() - go on once everything that was done so far is durable
 * @io:		outside of the gate, and on no list
 *
 * Any context. A flush, and what is durable by a commit, ends then.
 */
void vhdx_io_wait_for_commit(struct vhdx_io *io)
{
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(io->disk);

	io->waiter.done = committed;
	leaf->map->flush(leaf, &io->waiter);
}

/* To the slow path, unless its submitter would rather hear that it has to wait. */
static void hand_over(struct vhdx_io *io, enum vhdx_trace_slow why,
		      void (*slow)(struct vhdx_io *io))
{
	trace_slow(io, why);
	vhdx_gate_leave(&io->pass);
	if (io->orig->bi_opf & REQ_NOWAIT)
		vhdx_io_end(io, BLK_STS_AGAIN);
	else
		slow(io);
}

/* To the container, at that offset of it. */
static void send(struct vhdx_io *io, u64 offset)
{
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(io->disk);

	/* Structures are replayed in memory for a read-only attach; payload is not:
	 * a log that holds payload is none that MS-VHDX knows.
	 */
	if (unlikely(leaf->overlay) &&
	    vhdx_overlay_touches(leaf->overlay, offset, io->length)) {
		vhdx_io_end(io, BLK_STS_IOERR);
		return;
	}
	/* The commit makes it durable. */
	if (io->commit)
		io->request.clone.bi_opf &= ~REQ_FUA;
	io->request.offset = offset;
	io->request.container->ops->submit(io->request.container, &io->request);
}

static void read_zeroes(struct vhdx_io *io)
{
	trace_map(io, VHDX_MAPPED_ZERO, 0);
	zero_fill_bio(&io->request.clone);
	vhdx_io_end(io, BLK_STS_OK);
}

/* Where it lies is known. It is inside the gate, and admitted if it writes. */
static void map(struct vhdx_io *io, const struct vhdx_mapping *extent)
{
	struct vhdx_disk *disk = io->disk;
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(disk);
	bool write = vhdx_io_is_write(io);

	if (unlikely(vhdx_layer_is_lost(leaf))) {
		vhdx_io_end(io, BLK_STS_IOERR);
		return;
	}
	if (write) {
		if (unlikely(vhdx_disk_is_poisoned(disk))) {
			vhdx_io_end(io, BLK_STS_IOERR);
			return;
		}
		if (unlikely(!vhdx_session_has_begun(&leaf->writer.session))) {
			hand_over(io, VHDX_SLOW_SESSION, vhdx_io_slow);
			return;
		}
	}
	switch (extent->kind) {
	case VHDX_MAPPING_UNKNOWN:
		hand_over(io, VHDX_SLOW_PAGE, vhdx_io_slow);
		return;
	case VHDX_MAPPING_DATA:
		io->commit = (io->orig->bi_opf & REQ_FUA) && !extent->durable;
		trace_map(io, VHDX_MAPPED_DATA, extent->offset);
		send(io, extent->offset);
		return;
	case VHDX_MAPPING_ZERO:
		if (write)
			hand_over(io, VHDX_SLOW_ALLOCATE, vhdx_io_allocate);
		else
			read_zeroes(io);
		return;
	case VHDX_MAPPING_BUSY:
		if (write || !extent->zero)
			hand_over(io, VHDX_SLOW_BUSY, vhdx_io_wait_for_block);
		else
			read_zeroes(io);
		return;
	case VHDX_MAPPING_BAD:
		trace_map(io, VHDX_MAPPED_BAD, 0);
		vhdx_io_end(io, BLK_STS_IOERR);
		return;
	}
}

static unsigned int kind_of(const struct vhdx_io *io)
{
	if (unlikely(io->orig->bi_opf & REQ_PREFLUSH || bio_op(io->orig) == REQ_OP_FLUSH))
		return VHDX_GATE_FLUSHES;
	return vhdx_io_is_write(io) ? VHDX_GATE_WRITES : VHDX_GATE_READS;
}

/*
 * Into the gate, and look up what begins there; in one read side with the first mark, which is
 * of what can be sent as a whole. Returns false if it is parked, and comes again when the gate
 * opens; or if it has ended, because it would have been.
 */
static bool pass_gate(struct vhdx_io *io, unsigned int kind, struct vhdx_mapping *extent)
{
	struct vhdx_disk *disk = io->disk;
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(disk);
	bool nowait = io->orig->bi_opf & REQ_NOWAIT;
	bool inside;

	rcu_read_lock();
	while (unlikely(!(inside = vhdx_gate_enter(&disk->gate, &io->pass, kind)))) {
		trace_slow(io, VHDX_SLOW_GATE);
		if (nowait || vhdx_gate_park(&disk->gate, &io->pass, kind))
			break;
	}
	if (inside && kind != VHDX_GATE_FLUSHES && !io->op)
		leaf->map->lookup(leaf, io->disk_offset, io->length, extent);
	if (inside && kind == VHDX_GATE_WRITES && extent->length >= io->length)
		vhdx_inflight_admit(&disk->tracker.inflight, &io->write, io->disk_offset,
				    io->length);
	rcu_read_unlock();
	if (unlikely(!inside && nowait))
		vhdx_io_end(io, BLK_STS_AGAIN);
	return inside;
}

static struct bio *front_of(struct bio *bio, unsigned int sectors, struct bio_set *set)
{
	struct bio *front;

	if (!(bio->bi_opf & REQ_NOWAIT))
		return compat_submit_split(bio, sectors, set);
	front = bio_split(bio, sectors, GFP_NOWAIT, set);
	if (IS_ERR_OR_NULL(front)) {
		bio_wouldblock_error(bio);
		return NULL;
	}
	bio_chain(front, bio);
	submit_bio_noacct(bio);
	return front;
}

/*
 * Keep so much of it; the rest comes by itself. Outside of the gate: those who have the memory
 * for that may be parked. Returns false if the caller's bio has failed.
 */
static bool cut(struct vhdx_io *io, u64 length)
{
	struct vhdx_disk *disk = io->disk;
	struct percpu_ref *ref = io->ref;

	io->orig = front_of(io->orig, length >> SECTOR_SHIFT, &disk->split_bios);
	if (io->orig) {
		io->length = length;
		io->request.clone.bi_iter.bi_size = length;
		return true;
	}
	vhdx_inflight_leave(&disk->tracker.inflight, &io->write, io->disk_offset, io->length);
	if (io->swap_out)
		vhdx_swap_out_leave(disk);
	bio_put(&io->request.clone);
	percpu_ref_put(ref);
	return false;
}

/* It can be sent as a whole. */
static void go_on(struct vhdx_io *io, unsigned int kind, const struct vhdx_mapping *extent)
{
	if (unlikely(kind == VHDX_GATE_FLUSHES)) {
		vhdx_gate_leave(&io->pass);
		vhdx_io_wait_for_commit(io);
	} else if (unlikely(io->op)) {
		send(io, vhdx_io_new_place(io));
	} else {
		if (!io->start_time)
			io->start_time = bio_start_io_acct(io->orig);
		map(io, extent);
	}
}

/**
 * vhdx_io_enter() - go on with a piece that is outside of the gate: a new one, or one that waited
 * @io:		on no list
 *
 * Waits for nothing but memory that others give back.
 */
void vhdx_io_enter(struct vhdx_io *io)
{
	struct vhdx_mapping extent = { .length = io->length };
	unsigned int kind = kind_of(io);

	while (pass_gate(io, kind, &extent)) {
		if (likely(extent.length >= io->length)) {
			go_on(io, kind, &extent);
			return;
		}
		vhdx_gate_leave(&io->pass);
		if (!cut(io, extent.length))
			return;
	}
}

/**
 * vhdx_io_resume() - vhdx_io_enter() for one that was parked at the gate
 * @pass:	of the piece
 */
void vhdx_io_resume(struct vhdx_pass *pass)
{
	vhdx_io_enter(container_of(pass, struct vhdx_io, pass));
}

/**
 * vhdx_io_done() - the container is done with it
 * @io:		sent
 * @status:	how it went
 *
 * Any context. A new block is mapped before it leaves the gate: who waits for the gate finds
 * everything that has reached the container.
 */
void vhdx_io_done(struct vhdx_io *io, blk_status_t status)
{
	if (io->op) {
		vhdx_io_publish(io, status);
		return;
	}
	vhdx_gate_leave(&io->pass);
	if (io->commit && !status)
		vhdx_io_wait_for_commit(io);
	else
		vhdx_io_end(io, status);
}

/**
 * vhdx_io_end() - the end of every piece
 * @io:		gone afterwards
 * @status:	for the caller's bio
 *
 * Any context. The second mark is made before the caller's bio ends: a query that the caller
 * makes then must find the write. And before an error tells the caller that the container is
 * lost, the sidecar has a gap.
 */
void vhdx_io_end(struct vhdx_io *io, blk_status_t status)
{
	struct vhdx_disk *disk = io->disk;
	struct percpu_ref *ref = io->ref;
	struct bio *bio = io->orig;

	vhdx_gate_leave(&io->pass);
	if (unlikely(status) && vhdx_loss_park(io, status))
		return;
	vhdx_inflight_leave(&disk->tracker.inflight, &io->write, io->disk_offset, io->length);
	if (unlikely(io->swap_out))
		vhdx_swap_out_leave(disk);
	if (io->start_time)
		bio_end_io_acct(bio, io->start_time);
	if (status)
		bio->bi_status = status;
	bio_put(&io->request.clone);
	bio_endio(bio);
	percpu_ref_put(ref);
}
