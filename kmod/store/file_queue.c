// SPDX-License-Identifier: GPL-2.0-only
#include "file_queue.h"
#include "request.h"
#include "scope.h"

#include <linux/blk-cgroup.h>
#include <linux/blkdev.h>
#include <linux/slab.h>

/* How long nothing moves before a bio is let go. */
#define STALL		(HZ / 50 + 1)

static unsigned int bvecs_of(const struct vhdx_request *request)
{
	struct bvec_iter iter;
	struct bio_vec bvec;
	unsigned int count = 0;

	bio_for_each_bvec(bvec, &request->clone, iter)
		count++;
	return count;
}

static u64 end_of(const struct vhdx_request *request)
{
	return request->offset + vhdx_request_length(request);
}

/* Does it go on where the other one ends, for the same purpose and on the same account? */
static bool continues(struct vhdx_request *request, struct vhdx_request *last)
{
	return request->offset == end_of(last) && !request->alone &&
	       request->clone.bi_opf == last->clone.bi_opf &&
	       request->clone.bi_ioprio == last->clone.bi_ioprio &&
	       bio_blkcg_css(&request->clone) == bio_blkcg_css(&last->clone);
}

static struct vhdx_request *find_next(struct vhdx_file_queue *queue, struct vhdx_request *last)
{
	unsigned int looked = 0;
	struct vhdx_request *request;

	list_for_each_entry(request, &queue->waiting, link) {
		if (continues(request, last))
			return request;
		if (++looked == VHDX_FILE_LOOK_AHEAD)
			break;
	}
	return NULL;
}

/* What can go with the first one goes into its list. */
static void join(struct vhdx_file_queue *queue, struct vhdx_request *first)
{
	unsigned int more, count = bvecs_of(first);
	struct vhdx_request *last = first, *request;

	lockdep_assert_held(&queue->lock);
	INIT_LIST_HEAD(&first->file.joined);
	first->file.table = NULL;
	if (first->alone || !queue->table_count)
		return;
	while ((request = find_next(queue, last)) != NULL) {
		more = bvecs_of(request);
		if (count + more > VHDX_FILE_TABLE_BVECS)
			break;
		count += more;
		list_move_tail(&request->link, &first->file.joined);
		last = request;
	}
	if (last != first)
		first->file.table = queue->tables[--queue->table_count];
}

static void watch(struct vhdx_file_queue *queue)
{
	lockdep_assert_held(&queue->lock);
	if (queue->memory && !timer_pending(&queue->stall))
		mod_timer(&queue->stall, jiffies + STALL);
}

/* A file system that needs a bio now waits for one. */
static bool reserve_is_empty(void)
{
	return !READ_ONCE(fs_bio_set.bio_pool.curr_nr);
}

static void stalled(struct timer_list *timer)
{
	struct vhdx_file_queue *queue = container_of(timer, struct vhdx_file_queue, stall);
	struct bio *bio = NULL;
	unsigned long flags;

	spin_lock_irqsave(&queue->lock, flags);
	if (queue->in_flight) {
		if (queue->back == queue->seen && queue->bio_count && reserve_is_empty())
			bio = queue->bios[--queue->bio_count];
		watch(queue);
	}
	queue->seen = queue->back;
	spin_unlock_irqrestore(&queue->lock, flags);
	if (bio)
		bio_put(bio);
}

/* In a worker that has nothing to do: those that were let go are replaced. */
static void refill(struct vhdx_file_queue *queue)
{
	struct bio *bio;

	while (READ_ONCE(queue->bio_count) < VHDX_FILE_BIOS && !READ_ONCE(queue->in_flight)) {
		bio = bio_alloc(NULL, 0, 0, GFP_NOWAIT | __GFP_NOWARN);
		if (!bio)
			return;
		/* Not out of the reserve, which all file systems share. */
		if (READ_ONCE(fs_bio_set.bio_pool.curr_nr) < fs_bio_set.bio_pool.min_nr) {
			bio_put(bio);
			return;
		}
		spin_lock_irq(&queue->lock);
		if (queue->bio_count < VHDX_FILE_BIOS) {
			queue->bios[queue->bio_count++] = bio;
			bio = NULL;
		}
		spin_unlock_irq(&queue->lock);
		if (bio)
			bio_put(bio);
	}
}

static struct vhdx_request *next(struct vhdx_file_worker *worker)
{
	struct vhdx_file_queue *queue = worker->queue;
	struct vhdx_request *request = NULL;

	spin_lock_irq(&queue->lock);
	if (queue->in_flight < VHDX_FILE_IN_FLIGHT)
		request = list_first_entry_or_null(&queue->waiting, struct vhdx_request, link);
	if (request) {
		list_del_init(&request->link);
		join(queue, request);
		queue->in_flight++;
		watch(queue);
	} else {
		/* Under the lock: vhdx_file_queue_add() finds this worker from now on. */
		list_add(&worker->link, &queue->idle);
	}
	spin_unlock_irq(&queue->lock);
	return request;
}

static void drain(struct work_struct *work)
{
	struct vhdx_file_worker *worker = container_of(work, struct vhdx_file_worker, work);
	struct vhdx_file_queue *queue = worker->queue;
	unsigned int flags = vhdx_scope_enter();
	struct blk_plug plug;
	struct vhdx_request *request;

	blk_start_plug(&plug);
	while ((request = next(worker)) != NULL) {
		queue->start(request);
		cond_resched();
	}
	blk_finish_plug(&plug);
	if (queue->memory)
		refill(queue);
	vhdx_scope_leave(flags);
}

static void wake(struct vhdx_file_queue *queue)
{
	struct vhdx_file_worker *worker;

	lockdep_assert_held(&queue->lock);
	if (list_empty(&queue->waiting) || queue->in_flight >= VHDX_FILE_IN_FLIGHT)
		return;
	worker = list_first_entry_or_null(&queue->idle, struct vhdx_file_worker, link);
	if (worker) {
		list_del_init(&worker->link);
		queue_work(queue->workqueue, &worker->work);
	}
}

/**
 * vhdx_file_queue_init() - nothing is waiting
 * @queue:	zeroed
 * @start:	hands one to the file system, in a worker; vhdx_file_queue_back() when it is back
 */
void vhdx_file_queue_init(struct vhdx_file_queue *queue,
			  void (*start)(struct vhdx_request *request))
{
	int i;

	queue->start = start;
	spin_lock_init(&queue->lock);
	INIT_LIST_HEAD(&queue->waiting);
	INIT_LIST_HEAD(&queue->idle);
	timer_setup(&queue->stall, stalled, 0);
	for (i = 0; i < VHDX_FILE_WORKERS; i++) {
		INIT_WORK(&queue->workers[i].work, drain);
		queue->workers[i].queue = queue;
		list_add_tail(&queue->workers[i].link, &queue->idle);
	}
}

/**
 * vhdx_file_queue_prepare() - memory to join requests with
 * @queue:	initialised
 *
 * Returns 0 or -ENOMEM.
 */
int vhdx_file_queue_prepare(struct vhdx_file_queue *queue)
{
	int i;

	queue->memory = kvcalloc(VHDX_FILE_TABLES * VHDX_FILE_TABLE_BVECS,
				 sizeof(*queue->memory), GFP_KERNEL);
	if (!queue->memory)
		return -ENOMEM;
	for (i = 0; i < VHDX_FILE_TABLES; i++)
		queue->tables[i] = queue->memory + i * VHDX_FILE_TABLE_BVECS;
	queue->table_count = VHDX_FILE_TABLES;
	refill(queue);
	return 0;
}

/**
 * vhdx_file_queue_release() - free it
 * @queue:	nothing is waiting or under way
 */
void vhdx_file_queue_release(struct vhdx_file_queue *queue)
{
	if (!queue->memory)
		return;
	timer_delete_sync(&queue->stall);
	while (queue->bio_count)
		bio_put(queue->bios[--queue->bio_count]);
	kvfree(queue->memory);
	queue->memory = NULL;
	queue->table_count = 0;
}

/**
 * vhdx_file_queue_add() - start this when it is its turn
 * @queue:	the container's
 * @request:	on no list
 *
 * Any context.
 */
void vhdx_file_queue_add(struct vhdx_file_queue *queue, struct vhdx_request *request)
{
	unsigned long flags;

	spin_lock_irqsave(&queue->lock, flags);
	list_add_tail(&request->link, &queue->waiting);
	wake(queue);
	spin_unlock_irqrestore(&queue->lock, flags);
}

/**
 * vhdx_file_queue_back() - the file system is done with one
 * @queue:	the container's; not gone before this returns: what came back still holds a
 *		reference of its disk
 * @request:	what @start was called with; its table is free from here on
 *
 * Any context.
 */
void vhdx_file_queue_back(struct vhdx_file_queue *queue, struct vhdx_request *request)
{
	unsigned long flags;

	spin_lock_irqsave(&queue->lock, flags);
	if (request->file.table)
		queue->tables[queue->table_count++] = request->file.table;
	request->file.table = NULL;
	queue->in_flight--;
	queue->back++;
	wake(queue);
	spin_unlock_irqrestore(&queue->lock, flags);
}
