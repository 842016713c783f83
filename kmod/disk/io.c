// SPDX-License-Identifier: GPL-2.0-only
/*
 * The path of a bio: the fast one, which takes no lock, and the end of every piece.
 */
#include "io.h"
#include "disk.h"
#include "trace.h"

#include <linux/blkdev.h>

/*
 * REQ_NOWAIT is announced where all devices of the chain have it; otherwise no bio has it.
 */
static gfp_t gfp_of(const struct bio *bio)
{
	return bio->bi_opf & REQ_NOWAIT ? GFP_NOWAIT : GFP_NOIO;
}

/*
 * What a bio holds a reference of for as long as it is under way (rule K2). Writes have one of
 * their own: a shutdown refuses writes, and neither reads nor flushes.
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

/* Not inlined: to a caller an event that is off is one jump over a call. */
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

static enum vhdx_trace_slow why_unknown(const struct vhdx_io *io)
{
	struct vhdx_session *session = &vhdx_disk_leaf(io->disk)->writer.session;

	return vhdx_io_is_write(io) && !vhdx_session_has_begun(session) ? VHDX_SLOW_SESSION :
									   VHDX_SLOW_PAGE;
}

static inline void trace_slow(const struct vhdx_io *io, enum vhdx_trace_slow why)
{
	if (trace_vhdx_slow_enabled())
		slow_event(io, why);
}

/* NULL only for a bio that does not wait. @ref: ref_of(), of which it has a reference. */
static struct vhdx_io *io_alloc(struct vhdx_disk *disk, struct bio *bio, struct percpu_ref *ref)
{
	/* Of no device, and on no account, until it is sent: both are looked up once. */
	struct bio *clone = bio_alloc_clone(NULL, bio, gfp_of(bio), &disk->io_bios);
	struct vhdx_io *io;

	if (!clone)
		return NULL;
	io = container_of(clone, struct vhdx_io, request.clone);
	io->disk = disk;
	io->ref = ref;
	io->orig = bio;
	io->pass.epoch = NULL;
	io->write.slot = NULL;
	io->disk_offset = (u64)bio->bi_iter.bi_sector << SECTOR_SHIFT;
	io->length = bio->bi_iter.bi_size;
	io->op = NULL;
	io->again = NULL;
	io->commit = false;
	io->status = BLK_STS_OK;
	io->swap_out = false;
	io->start_time = 0;
	io->request.done = request_done;
	io->request.offset = 0;
	io->request.alone = false;
	return io;
}

/*
 * A bio with data sets out. The reference goes with it. Waits for nothing but memory that earlier
 * ones give back, and not even for that if the bio does not wait.
 */
static inline void start(struct vhdx_disk *disk, struct bio *bio, struct percpu_ref *ref,
			 bool swap_out)
{
	struct bio *from = bio;
	struct vhdx_io *io = NULL;

	bio = vhdx_observers_see(disk, &disk->observers, bio);
	/* One that was told is under way as a whole. */
	if (unlikely(swap_out) && bio && bio != from) {
		vhdx_observers_caught_swap_out(bio);
		swap_out = false;
	}
	if (likely(bio))
		io = io_alloc(disk, bio, ref);
	if (likely(io)) {
		io->swap_out = swap_out;
		vhdx_io_enter(io);
		return;
	}
	if (bio)
		bio_wouldblock_error(bio);
	if (swap_out)
		vhdx_swap_out_leave(disk);
	percpu_ref_put(ref);
}

/**
 * vhdx_io_start() - a write of swapped memory sets out
 * @disk:	the disk
 * @bio:	has entered disk->swap_out, and holds a reference of the disk, which goes with it
 *
 * Waits for nothing but memory that earlier ones give back.
 */
void vhdx_io_start(struct vhdx_disk *disk, struct bio *bio)
{
	start(disk, bio, ref_of(disk, bio), true);
}

/*
 * Who submits a bio has to know how large sectors are, and the block layer does not look. A part of
 * a sector has no bit in a sector bitmap: it would be written, and not be found again.
 */
static bool is_of_sectors(const struct vhdx_disk *disk, const struct bio *bio)
{
	u32 size = vhdx_disk_leaf(disk)->image.geo.logical_sector_size;

	return !((bio->bi_iter.bi_sector << SECTOR_SHIFT | bio->bi_iter.bi_size) & (size - 1));
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
	case REQ_OP_DISCARD:
	case REQ_OP_WRITE_ZEROES:
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
		bio = vhdx_observers_see(disk, &disk->observers, bio);
		if (likely(bio))
			vhdx_io_enter(io_alloc(disk, bio, ref));
		return;
	}

	if (unlikely(!is_of_sectors(disk, bio))) {
		bio->bi_status = BLK_STS_IOERR;
		goto fail;
	}
	if (unlikely(vhdx_is_swap_out(bio)) && !vhdx_observers_caught(bio)) {
		swap_out = true;
		if (!vhdx_swap_out_enter(disk, bio))
			return;
	}
	start(disk, bio, ref, swap_out);
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
	void (*again)(struct vhdx_io *io) = io->again;
	struct bio *bio = io->orig;

	io->again = NULL;
	if (again && !err) {
		again(io);
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
 * Any context. A flush, and what is durable by a commit, ends then. Of a disk that is only read
 * there is nothing to wait for.
 */
void vhdx_io_wait_for_commit(struct vhdx_io *io)
{
	struct vhdx_disk *disk = io->disk;
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(disk);

	if (disk->read_only) {
		vhdx_io_end(io, vhdx_disk_is_lost(disk) ? BLK_STS_IOERR : BLK_STS_OK);
		return;
	}
	io->waiter.done = committed;
	leaf->mapping->flush(leaf, &io->waiter);
}

/* The piece is about to wait. Returns false if its submitter forbade that: then it has ended. */
static bool may_wait(struct vhdx_io *io)
{
	vhdx_gate_leave(&io->pass);
	if (likely(!(io->orig->bi_opf & REQ_NOWAIT)))
		return true;
	vhdx_io_end(io, BLK_STS_AGAIN);
	return false;
}

static void hand_over(struct vhdx_io *io, enum vhdx_trace_slow why,
		      void (*slow)(struct vhdx_io *io))
{
	trace_slow(io, why);
	if (may_wait(io))
		slow(io);
}

/* To the container, at that offset of it. */
static void send(struct vhdx_io *io, u64 offset)
{
	struct vhdx_container *container = io->request.container;
	struct vhdx_open_layer *layer = container_of(container, struct vhdx_layer_user,
						     container)->layer;

	/* Structures are replayed in memory for a read-only attach; payload is not:
	 * a log that holds payload is none that MS-VHDX knows.
	 */
	if (unlikely(layer->overlay) &&
	    vhdx_overlay_touches(layer->overlay, offset, io->length)) {
		vhdx_io_end(io, BLK_STS_IOERR);
		return;
	}
	/* The commit makes it durable. */
	if (io->commit)
		io->request.clone.bi_opf &= ~REQ_FUA;
	io->request.offset = offset;
	io->request.account = io->orig;
	if (unlikely(vhdx_io_is_unmap(io)))
		vhdx_io_zero(io);
	else
		container->ops->submit(container, &io->request);
}

static void read_zeroes(struct vhdx_io *io)
{
	trace_map(io, VHDX_MAPPED_ZERO, 0);
	zero_fill_bio(&io->request.clone);
	vhdx_io_end(io, BLK_STS_OK);
}

/*
 * Where the piece lies is known. It is inside the gate, and admitted if it writes. Returns true if
 * it has to be looked up again at once: the operation on its block has ended.
 */
static bool map(struct vhdx_io *io, const struct vhdx_mapping *extent)
{
	struct vhdx_disk *disk = io->disk;
	bool write = vhdx_io_is_write(io);

	if (unlikely(vhdx_disk_is_lost(disk)) ||
	    unlikely(write && vhdx_disk_is_poisoned(disk))) {
		vhdx_io_end(io, BLK_STS_IOERR);
		return false;
	}
	switch (extent->kind) {
	case VHDX_MAPPING_UNKNOWN:
		hand_over(io, why_unknown(io), vhdx_io_slow);
		return false;
	case VHDX_MAPPING_DATA:
		io->commit = (io->orig->bi_opf & REQ_FUA) &&
			     (!extent->durable || vhdx_io_is_unmap(io));
		trace_map(io, VHDX_MAPPED_DATA, extent->offset);
		send(io, extent->offset);
		return false;
	case VHDX_MAPPING_ZERO:
	case VHDX_MAPPING_PARENT:
		if (unlikely(vhdx_io_is_unmap(io)) && vhdx_io_needs_no_block(io, extent))
			hand_over(io, VHDX_SLOW_UNMAP, vhdx_io_unmap);
		else if (write && vhdx_io_allocate_now(io))
			send(io, vhdx_io_new_place(io));
		else if (write)
			hand_over(io, VHDX_SLOW_ALLOCATE, vhdx_io_allocate);
		else
			read_zeroes(io);
		return false;
	case VHDX_MAPPING_BUSY:
		trace_slow(io, VHDX_SLOW_BUSY);
		return may_wait(io) && !vhdx_io_wait_for_block(io);
	case VHDX_MAPPING_BAD:
		trace_map(io, VHDX_MAPPED_BAD, 0);
		vhdx_io_end(io, BLK_STS_IOERR);
		return false;
	}
	return false;
}

static unsigned int kind_of(const struct vhdx_io *io)
{
	if (unlikely(io->orig->bi_opf & REQ_PREFLUSH || bio_op(io->orig) == REQ_OP_FLUSH))
		return VHDX_GATE_FLUSHES;
	return vhdx_io_is_write(io) ? VHDX_GATE_WRITES : VHDX_GATE_READS;
}

/* What of it an operation on a block, or one that unmaps blocks, can be about. */
static u64 to_end_of_operation(const struct vhdx_io *io)
{
	u32 span = vhdx_disk_leaf(io->disk)->span;
	u64 whole = vhdx_io_whole_blocks(io);

	return whole ?: span - (io->disk_offset & (span - 1));
}

/* Parts of blocks are discarded by leaving them as they are. */
static bool is_left_alone(const struct vhdx_io *io)
{
	return bio_op(io->orig) == REQ_OP_DISCARD && !vhdx_io_whole_blocks(io);
}

/*
 * What is mapped where the piece begins, and in which container. A write that finds no session has
 * to wait, and so is cut to one block, whatever is mapped there; and so is one that unmaps blocks.
 */
static void look_up(struct vhdx_io *io, unsigned int kind, struct vhdx_mapping *extent)
{
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(io->disk);

	io->request.container = vhdx_disk_container(io->disk);
	if (unlikely(vhdx_io_is_unmap(io)) &&
	    (vhdx_io_whole_blocks(io) || is_left_alone(io))) {
		extent->kind = VHDX_MAPPING_UNKNOWN;
		extent->length = to_end_of_operation(io);
		return;
	}
	leaf->mapping->lookup(leaf, io->disk_offset, io->length, kind == VHDX_GATE_WRITES, extent);
	if (unlikely(extent->kind == VHDX_MAPPING_PARENT) && kind == VHDX_GATE_READS)
		vhdx_chain_look(io->disk, io->disk_offset, io->length, extent,
				&io->request.container);
	if (kind == VHDX_GATE_WRITES && unlikely(!vhdx_session_has_begun(&leaf->writer.session))) {
		extent->kind = VHDX_MAPPING_UNKNOWN;
		extent->length = to_end_of_operation(io);
	}
}

/* What became of a piece at the gate. */
enum entry {
	INSIDE,
	CLOSED,
	UNCOVERED,	/* inside, but regions of it have to be set first (rule T3) */
};

/*
 * The first mark of a write, and what it may write to. What is not known yet is asked again when it
 * is: then the session has begun, before which nothing is set (rule T4).
 */
static enum entry admit(struct vhdx_io *io, const struct vhdx_mapping *extent)
{
	struct vhdx_tracker *tracker = &io->disk->tracker;
	u64 length = min(extent->length, io->length);
	u64 offset = io->disk_offset;

	vhdx_inflight_admit(&tracker->inflight, &io->write, offset, length);
	if (likely(vhdx_tracker_covers(tracker, offset, length)))
		return INSIDE;
	return !io->op && extent->kind == VHDX_MAPPING_UNKNOWN ? INSIDE : UNCOVERED;
}

/*
 * Into the gate, and look up what is mapped; in one read side with the first mark, which is of what
 * can be sent as a whole.
 */
static enum entry pass_gate(struct vhdx_io *io, unsigned int kind, struct vhdx_mapping *extent)
{
	enum entry entry = CLOSED;

	rcu_read_lock();
	if (likely(vhdx_gate_enter(&io->disk->gate, &io->pass, kind))) {
		if (likely(kind != VHDX_GATE_FLUSHES && !io->op))
			look_up(io, kind, extent);
		entry = kind == VHDX_GATE_WRITES && likely(!is_left_alone(io)) ?
			admit(io, extent) : INSIDE;
	}
	rcu_read_unlock();
	return entry;
}

static void keep(struct vhdx_io *io, struct bio *front, u64 length)
{
	io->orig = front;
	io->length = length;
	io->request.clone.bi_iter.bi_size = length;
}

/*
 * Cut the piece to this length, inside the gate, where it must not wait. @rest is to be submitted
 * once the piece has been sent, for that may wait for memory. Returns false without memory: nothing
 * has happened. A worker of the slow path may wait for the memory of pieces that were cut by such a
 * worker: these are on their way to the container.
 */
static bool cut(struct vhdx_io *io, u64 length, bool slowly, struct bio **rest)
{
	struct vhdx_disk *disk = io->disk;
	struct bio *front = bio_split(io->orig, length >> SECTOR_SHIFT,
				      slowly ? GFP_NOIO : GFP_NOWAIT,
				      slowly ? &disk->run_bios : &disk->split_bios);

	if (IS_ERR_OR_NULL(front))
		return false;
	*rest = io->orig;
	bio_chain(front, *rest);
	keep(io, front, length);
	/* For vhdx_restart_bio(). */
	if (slowly)
		percpu_ref_get(&disk->io_ref);
	return true;
}

/* It is as long as it is: a worker cuts it when what it waits for has come. */
static bool must_wait(const struct vhdx_mapping *extent)
{
	return extent->kind == VHDX_MAPPING_UNKNOWN || extent->kind == VHDX_MAPPING_BUSY;
}

/*
 * A read of several layers is what it is: only when all that it needs is in memory is it known what
 * of it is alike. It waits uncut, and a worker cuts it.
 */
static bool is_cut_late(const struct vhdx_io *io)
{
	return io->disk->layer_count > 1 && !vhdx_io_is_write(io);
}

/*
 * Cut the piece to one block at most, or to those that it unmaps at once, before it waits: so it
 * need not be cut when it goes on. One with an operation is what that is about. The
 * worker that lets it go on must not wait for memory that other waiting pieces have; and no piece
 * is cut twice, so that none has the memory of one cut while it waits for that of another. Outside
 * of the gate; the rest is submitted here. Returns false if the caller's bio has failed.
 */
static bool keep_block(struct vhdx_io *io)
{
	u64 length = to_end_of_operation(io);
	struct vhdx_disk *disk = io->disk;
	struct percpu_ref *ref = io->ref;
	struct bio *front;

	if (io->op || io->length <= length || is_cut_late(io))
		return true;
	front = compat_submit_split(io->orig, length >> SECTOR_SHIFT, &disk->split_bios);
	if (front) {
		keep(io, front, length);
		return true;
	}
	if (io->swap_out)
		vhdx_swap_out_leave(disk);
	bio_put(&io->request.clone);
	percpu_ref_put(ref);
	return false;
}

/* Returns true if the gate has been opened meanwhile. */
static bool wait_for_gate(struct vhdx_io *io, unsigned int kind)
{
	trace_slow(io, VHDX_SLOW_GATE);
	return may_wait(io) && (kind == VHDX_GATE_FLUSHES || keep_block(io)) &&
	       !vhdx_gate_park(&io->disk->gate, &io->pass, kind);
}

/*
 * It was admitted, and can't be sent: it is not in flight any more. Returns true if it is cut to
 * one block.
 */
static bool step_back(struct vhdx_io *io)
{
	vhdx_inflight_leave(&io->disk->tracker.inflight, &io->write);
	return may_wait(io) && keep_block(io);
}

/*
 * There was no memory to cut it to what is mapped in one piece. Returns true if it is cut to one
 * block by now, which is.
 */
static bool wait_for_cut(struct vhdx_io *io)
{
	if (!step_back(io))
		return false;
	if (!is_cut_late(io))
		return true;
	vhdx_io_slow(io);
	return false;
}

/* Returns true if its regions are armed by now, and it has to come in again. */
static bool wait_for_regions(struct vhdx_io *io)
{
	trace_slow(io, VHDX_SLOW_REGION);
	return step_back(io) &&
	       !vhdx_tracker_wait(&io->disk->tracker, &io->link, io->disk_offset, io->length);
}

/* The same of a piece without data. */
static bool unmap_or_map(struct vhdx_io *io, const struct vhdx_mapping *extent)
{
	if (vhdx_io_whole_blocks(io))
		hand_over(io, VHDX_SLOW_UNMAP, vhdx_io_unmap);
	else if (is_left_alone(io))
		vhdx_io_end(io, BLK_STS_OK);
	else
		return map(io, extent);
	return false;
}

/* The piece can be sent as a whole. Returns true if it has to come in again. */
static bool go_on(struct vhdx_io *io, unsigned int kind, const struct vhdx_mapping *extent)
{
	if (unlikely(kind == VHDX_GATE_FLUSHES)) {
		vhdx_gate_leave(&io->pass);
		vhdx_io_wait_for_commit(io);
		return false;
	}
	if (unlikely(io->op)) {
		/* It may have waited for a sidecar that failed. */
		if (unlikely(vhdx_disk_is_poisoned(io->disk)))
			vhdx_io_done(io, BLK_STS_IOERR);
		else if (unlikely(io->op->unmaps))
			vhdx_io_done(io, BLK_STS_OK);
		else
			send(io, vhdx_io_new_place(io));
		return false;
	}
	if (!io->start_time)
		io->start_time = bio_start_io_acct(io->orig);
	if (unlikely(vhdx_io_is_unmap(io)))
		return unmap_or_map(io, extent);
	return map(io, extent);
}

static __always_inline void enter(struct vhdx_io *io, bool slowly)
{
	struct vhdx_mapping extent = { .length = io->length };
	unsigned int kind = kind_of(io);
	struct vhdx_disk *disk = io->disk;
	struct bio *rest = NULL;
	enum entry entry;
	bool again;

	do {
		entry = pass_gate(io, kind, &extent);
		if (unlikely(entry == CLOSED))
			again = wait_for_gate(io, kind);
		else if (unlikely(entry == UNCOVERED))
			again = wait_for_regions(io);
		else if (likely(extent.length >= io->length) ||
			 (slowly && must_wait(&extent)) ||
			 cut(io, extent.length, slowly, &rest))
			again = go_on(io, kind, &extent);
		else
			again = wait_for_cut(io);
	} while (unlikely(again));
	if (likely(!rest))
		return;
	if (slowly)
		vhdx_restart_bio(disk, rest);
	else
		submit_bio_noacct(rest);
}

/**
 * vhdx_io_enter() - go on with a piece that is outside of the gate: a new one, or one that waited
 * @io:		on no list
 *
 * A new piece may wait for memory that earlier ones give back; one that waited does not.
 */
void vhdx_io_enter(struct vhdx_io *io)
{
	enter(io, false);
}

/**
 * vhdx_io_enter_slowly() - the same for one whose pages were loaded
 * @io:		on no list
 *
 * In slow_wq. May wait for pieces that are on their way to a container, and starts no other one.
 */
void vhdx_io_enter_slowly(struct vhdx_io *io)
{
	enter(io, true);
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
 * vhdx_io_covered() - vhdx_io_enter() for one that waited until its regions were set
 * @link:	of the piece
 */
void vhdx_io_covered(struct list_head *link)
{
	vhdx_io_enter(container_of(link, struct vhdx_io, link));
}

/**
 * vhdx_io_finish() - the end of a piece that makes no block, or not any more
 * @io:		with no operation
 * @status:	how it went
 *
 * Any context. What is durable by a commit waits for one.
 */
void vhdx_io_finish(struct vhdx_io *io, blk_status_t status)
{
	if (unlikely(io->commit && !status)) {
		vhdx_gate_leave(&io->pass);
		vhdx_io_wait_for_commit(io);
	} else {
		vhdx_io_end(io, status);
	}
}

/**
 * vhdx_io_done() - the container is done with it
 * @io:		sent
 * @status:	how it went
 *
 * Any context. A new block is mapped before its piece leaves the gate: a task that waits for the
 * gate finds everything mapped that has reached the container.
 */
void vhdx_io_done(struct vhdx_io *io, blk_status_t status)
{
	if (unlikely(io->op))
		vhdx_io_publish(io, status);
	else
		vhdx_io_finish(io, status);
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
	vhdx_inflight_leave(&disk->tracker.inflight, &io->write);
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
