/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Payload I/O of a container in a file, on its way to the file system: one list, and a
 * few workers that drain it. However much is asked of a disk, it keeps no more threads
 * than these busy, and no more than VHDX_FILE_IN_FLIGHT requests in the file system.
 *
 * It is never handed over by the task that submits it, not even where the file system is asked not
 * to wait (IOCB_NOWAIT): that task may be in a transaction of its own file system
 * (current->journal_info), hold locks that come behind this one's, and have most of its stack
 * behind it. That is why loop has workers, too.
 *
 * Who submits takes no lock: requests are pushed on a list without one, which a worker takes as a
 * whole. The first that finds that list empty wakes a worker, for all that come before it runs. A
 * worker that leaves something behind wakes the next: whatever one of them waits for in the file
 * system, another is on its way. But one at a time: what is sent together is done by the
 * first, and wakes no four.
 *
 * What lies side by side in the file goes there as one request, as it does where the block
 * layer merges: a page that is swapped out should not cost the file system a bio and an
 * extent of its own while there is no memory for either.
 *
 * Even one bio may be too much. Bios of file systems come from the same reserve as bios of
 * swapping, which wait for this queue by then. So the queue holds some bios of the reserve, and
 * frees them one by one while no request ends and the reserve is empty.
 */
#ifndef VHDX_FILE_QUEUE_H
#define VHDX_FILE_QUEUE_H

#include <linux/atomic.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/workqueue.h>

struct bio;
struct bio_vec;
struct vhdx_request;
struct vhdx_file_queue;

/* Writes that wait for the inode's lock keep a thread each; so there are a few. */
#define VHDX_FILE_WORKERS	4
/* What loop has, whose requests are the block layer's. */
#define VHDX_FILE_IN_FLIGHT	128
/* Requests that are made of several at a time; what each may consist of; and how far away in
 * the list these may be.
 */
#define VHDX_FILE_TABLES	8
#define VHDX_FILE_TABLE_BVECS	256
#define VHDX_FILE_LOOK_AHEAD	64
/* Bios in hand: more than there are tasks that reclaim memory at a time. */
#define VHDX_FILE_BIOS	32

/**
 * struct vhdx_file_worker - one of those that drain the list
 * @work:	it runs, or is about to; or its bit in queue->idle is set
 * @queue:	its queue
 */
struct vhdx_file_worker {
	struct work_struct work;
	struct vhdx_file_queue *queue;
};

/**
 * struct vhdx_file_queue - see the file comment
 * @workqueue:	where the workers run; set by the owner before payload I/O
 * @memory:	of the tables
 * @start:	hands one to the file system; may sleep
 * @added:	not seen by a worker yet, by request->added, the newest first; no lock
 * @idle:	a bit for each worker that found nothing to do; no lock
 * @coming:	bit 0: a worker was woken, and has not looked yet; no lock
 * @full:	a worker left something behind since too much was under way; no lock
 * @ended:	how many came back from the file system; no lock
 * @free_tables: a bit for each; set without a lock, cleared under it
 * @lock:	everything below; of the workers and @stall
 * @waiting:	not handed to the file system yet, by request->link
 * @started:	how many were handed to it
 * @bios:	in hand
 * @bio_count:	how many
 * @seen:	what @ended was when @stall last looked
 * @stall:	looks whether any came back, while some are under way
 */
struct vhdx_file_queue {
	struct workqueue_struct *workqueue;
	struct bio_vec *memory;
	void (*start)(struct vhdx_request *request);
	struct llist_head added;
	unsigned long idle;
	unsigned long coming;
	bool full;
	atomic_t ended;
	unsigned long free_tables;
	spinlock_t lock;
	struct list_head waiting;
	unsigned int started;
	struct bio *bios[VHDX_FILE_BIOS];
	unsigned int bio_count;
	unsigned int seen;
	struct timer_list stall;
	struct vhdx_file_worker workers[VHDX_FILE_WORKERS];
};

void vhdx_file_queue_init(struct vhdx_file_queue *queue,
			  void (*start)(struct vhdx_request *request));
int vhdx_file_queue_prepare(struct vhdx_file_queue *queue);
void vhdx_file_queue_release(struct vhdx_file_queue *queue);
void vhdx_file_queue_add(struct vhdx_file_queue *queue, struct vhdx_request *request);
void vhdx_file_queue_back(struct vhdx_file_queue *queue, struct vhdx_request *request);

#endif
