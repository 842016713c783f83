// SPDX-License-Identifier: GPL-2.0-only
#include "file_queue.h"
#include "request.h"
#include "scope.h"

#include <linux/blk-cgroup.h>
#include <linux/blkdev.h>
#include <linux/kthread.h>
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

static struct cgroup_subsys_state *account_of(const struct vhdx_request *request)
{
	return request->account ? bio_blkcg_css(request->account) : NULL;
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
	       account_of(request) == account_of(last);
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

static struct bio_vec *take_table(struct vhdx_file_queue *queue)
{
	unsigned int table = __ffs(queue->free_tables);

	lockdep_assert_held(&queue->lock);
	clear_bit(table, &queue->free_tables);
	return queue->memory + table * VHDX_FILE_TABLE_BVECS;
}

static void give_table(struct vhdx_file_queue *queue, const struct bio_vec *table)
{
	/* Its contents are read no more when it is taken again. */
	smp_mb__before_atomic();
	set_bit((table - queue->memory) / VHDX_FILE_TABLE_BVECS, &queue->free_tables);
}

/* What can go with the first one goes into its list. */
static void join(struct vhdx_file_queue *queue, struct vhdx_request *first)
{
	struct vhdx_request *last = first, *request;
	unsigned int more, count;

	lockdep_assert_held(&queue->lock);
	INIT_LIST_HEAD(&first->file.joined);
	first->file.table = NULL;
	if (first->alone || list_empty(&queue->waiting) || !READ_ONCE(queue->free_tables))
		return;
	request = find_next(queue, last);
	if (!request)
		return;
	for (count = bvecs_of(first); request; request = find_next(queue, last)) {
		more = bvecs_of(request);
		if (count + more > VHDX_FILE_TABLE_BVECS)
			break;
		count += more;
		list_move_tail(&request->link, &first->file.joined);
		last = request;
	}
	if (last != first)
		first->file.table = take_table(queue);
}

/*
 * Without the lock more may have been started, and have ended, since the first of the two was read:
 * then it is none.
 */
static unsigned int in_flight(const struct vhdx_file_queue *queue)
{
	int count = READ_ONCE(queue->started) - (unsigned int)atomic_read(&queue->ended);

	return max(count, 0);
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
	if (in_flight(queue)) {
		if (atomic_read(&queue->ended) == queue->seen && queue->bio_count &&
		    reserve_is_empty())
			bio = queue->bios[--queue->bio_count];
		watch(queue);
	}
	queue->seen = atomic_read(&queue->ended);
	spin_unlock_irqrestore(&queue->lock, flags);
	if (bio)
		bio_put(bio);
}

/* In a worker that has nothing to do: those that were let go are replaced. */
static void refill(struct vhdx_file_queue *queue)
{
	struct bio *bio;

	while (READ_ONCE(queue->bio_count) < VHDX_FILE_BIOS && !in_flight(queue)) {
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

/*
 * Is there something that a worker should look at? Without the lock: all that is seen may be old.
 * Of what is left behind with @full set, whoever comes back wakes one.
 */
static bool has_work(const struct vhdx_file_queue *queue)
{
	return (!llist_empty(&queue->added) || !list_empty(&queue->waiting)) &&
	       !(READ_ONCE(queue->full) && in_flight(queue) >= VHDX_FILE_IN_FLIGHT);
}

static bool wake_one(struct vhdx_file_queue *queue)
{
	unsigned long idle;
	unsigned int i;

	while ((idle = READ_ONCE(queue->idle)) != 0) {
		i = __ffs(idle);
		if (test_and_clear_bit(i, &queue->idle)) {
			queue_work(queue->workqueue, &queue->workers[i].work);
			return true;
		}
	}
	return false;
}

/*
 * There is something to do: a worker is on its way afterwards, or all of them run, and each looks
 * again after its bit in queue->idle is set. Any context, where the queue can't go.
 */
static void wake(struct vhdx_file_queue *queue)
{
	do {
		/* Pairs with drain(): whoever is coming looks after this. */
		if (test_and_set_bit(0, &queue->coming))
			return;
		if (wake_one(queue))
			return;
		clear_bit(0, &queue->coming);
		/* Another may have relied on this one, and a worker have gone to rest meanwhile. */
		smp_mb__after_atomic();
	} while (READ_ONCE(queue->idle) && has_work(queue));
}

/* What was pushed, in the order in which it came. */
static void take_added(struct vhdx_file_queue *queue)
{
	struct llist_node *node = llist_reverse_order(llist_del_all(&queue->added));
	struct vhdx_request *request;

	lockdep_assert_held(&queue->lock);
	while (node) {
		request = llist_entry(node, struct vhdx_request, added);
		node = node->next;
		list_add_tail(&request->link, &queue->waiting);
	}
}

/* What comes back after this has said so wakes a worker. */
static bool is_full(struct vhdx_file_queue *queue)
{
	lockdep_assert_held(&queue->lock);
	if (likely(in_flight(queue) < VHDX_FILE_IN_FLIGHT)) {
		if (unlikely(queue->full))
			WRITE_ONCE(queue->full, false);
		return false;
	}
	WRITE_ONCE(queue->full, true);
	/* Pairs with vhdx_file_queue_back(). */
	smp_mb();
	return in_flight(queue) >= VHDX_FILE_IN_FLIGHT;
}

static struct vhdx_request *next(struct vhdx_file_queue *queue)
{
	struct vhdx_request *request = NULL;
	bool more = false;

	spin_lock_irq(&queue->lock);
	if (!llist_empty(&queue->added))
		take_added(queue);
	if (!list_empty(&queue->waiting) && !is_full(queue)) {
		request = list_first_entry(&queue->waiting, struct vhdx_request, link);
		list_del_init(&request->link);
		join(queue, request);
		WRITE_ONCE(queue->started, queue->started + 1);
		watch(queue);
		more = !list_empty(&queue->waiting);
	}
	spin_unlock_irq(&queue->lock);
	if (more) {
		/* Pairs with rest(): it sees what was left behind, or this sees its bit. */
		smp_mb();
		/* The file system may let this one wait. */
		if (READ_ONCE(queue->idle))
			wake(queue);
	}
	return request;
}

/* Returns false if there is something to do after all, and nobody was woken for it. */
static bool rest(struct vhdx_file_worker *worker)
{
	struct vhdx_file_queue *queue = worker->queue;
	unsigned int i = worker - queue->workers;

	set_bit(i, &queue->idle);
	/* Pairs with wake() and next(): they see the bit, or this sees what there is to do. */
	smp_mb__after_atomic();
	return !has_work(queue) || !test_and_clear_bit(i, &queue->idle);
}

static void drain(struct work_struct *work)
{
	struct vhdx_file_worker *worker = container_of(work, struct vhdx_file_worker, work);
	struct vhdx_file_queue *queue = worker->queue;
	struct cgroup_subsys_state *account, *former = NULL;
	unsigned int flags = vhdx_scope_enter();
	struct vhdx_request *request;
	struct blk_plug plug;

	clear_bit(0, &queue->coming);
	/* Pairs with wake(): what it was called for is seen, or it wakes another. */
	smp_mb__after_atomic();
	do {
		blk_start_plug(&plug);
		while ((request = next(queue)) != NULL) {
			/* On behalf of the control group of whoever sent the bio. */
			account = account_of(request);
			if (account != former)
				kthread_associate_blkcg(account);
			former = account;
			queue->start(request);
			cond_resched();
		}
		blk_finish_plug(&plug);
		if (queue->memory)
			refill(queue);
		/* It may be gone when the next one comes, and another have its place. */
		if (former)
			kthread_associate_blkcg(NULL);
		former = NULL;
	} while (!rest(worker));
	vhdx_scope_leave(flags);
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
	init_llist_head(&queue->added);
	INIT_LIST_HEAD(&queue->waiting);
	queue->idle = GENMASK(VHDX_FILE_WORKERS - 1, 0);
	timer_setup(&queue->stall, stalled, 0);
	for (i = 0; i < VHDX_FILE_WORKERS; i++) {
		INIT_WORK(&queue->workers[i].work, drain);
		queue->workers[i].queue = queue;
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
	queue->memory = kvcalloc(VHDX_FILE_TABLES * VHDX_FILE_TABLE_BVECS,
				 sizeof(*queue->memory), GFP_KERNEL);
	if (!queue->memory)
		return -ENOMEM;
	queue->free_tables = GENMASK(VHDX_FILE_TABLES - 1, 0);
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
	queue->free_tables = 0;
}

/**
 * vhdx_file_queue_add() - start this when it is its turn
 * @queue:	the container's; gone no sooner than a grace period after the last request ended
 * @request:	on no list
 *
 * Any context. Takes no lock.
 */
void vhdx_file_queue_add(struct vhdx_file_queue *queue, struct vhdx_request *request)
{
	/* It may have ended as soon as it is pushed, and with it the disk: a grace period waits for
	 * this. And what others push behind it relies on this to wake a worker.
	 */
	preempt_disable();
	if (llist_add(&request->added, &queue->added))
		wake(queue);
	preempt_enable();
}

/**
 * vhdx_file_queue_back() - the file system is done with one
 * @queue:	the container's; not gone before this returns: what came back still holds a
 *		reference of its disk
 * @request:	what @start was called with; its table is free from here on
 *
 * Any context. Takes no lock.
 */
void vhdx_file_queue_back(struct vhdx_file_queue *queue, struct vhdx_request *request)
{
	if (unlikely(request->file.table)) {
		give_table(queue, request->file.table);
		request->file.table = NULL;
	}
	atomic_inc(&queue->ended);
	/* Pairs with is_full(). */
	smp_mb__after_atomic();
	if (unlikely(READ_ONCE(queue->full)))
		wake(queue);
}
