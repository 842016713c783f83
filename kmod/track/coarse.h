/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The coarse map of an open sidecar, and its committer: the only one that writes the coarse area.
 *
 * A write marks its units and looks, in the same RCU read side, whether its regions are armed
 * (core/rct/regions.h). If they are not, it leaves the gate and waits here, until a commit has set
 * them durably; one commit serves all that have come before it began. A region is cleared without
 * anybody waiting for it, after a checkpoint has saved what it has (checkpoint.h).
 *
 * The committer allocates nothing, waits for no lock of the tracker, and has a deadline of its own:
 * beyond that, or if the sidecar can't be written, tracking is invalidated, and everything that
 * waits goes on (rule T7).
 */
#ifndef VHDX_TRACK_COARSE_H
#define VHDX_TRACK_COARSE_H

#include "core/rct/regions.h"
#include "core/rct/sidecar.h"
#include "strict.h"

#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

struct vhdx_coarse;

/**
 * struct vhdx_coarse_host - what the committer needs of its disk
 * @disk:	N of /dev/vhdxN
 * @strict_layer: whose header the sidecar is told of (strict.h); NULL: it is not strict
 * @insists:	a header that the sidecar can't be told of is not to be written
 * @deadline_wq: where tracking is invalidated if a commit hangs
 * @resume_wq:	where writes go on that have waited
 * @resume:	goes on with one, and waits for nothing
 * @committed:	regions were set; any context
 * @failed:	the sidecar can't be trusted any more: makes that durable in the container; sleeps.
 *		Nothing that waits goes on before it has returned
 */
struct vhdx_coarse_host {
	int disk;
	struct vhdx_open_layer *strict_layer;
	bool insists;
	struct workqueue_struct *deadline_wq;
	struct workqueue_struct *resume_wq;
	void (*resume)(struct list_head *link);
	void (*committed)(struct vhdx_coarse_host *host, struct vhdx_coarse *coarse);
	void (*failed)(struct vhdx_coarse_host *host, struct vhdx_coarse *coarse, int err);
};

/**
 * struct vhdx_coarse - see the file comment
 * @host:	of the disk; not looked at any more once this is given up
 * @disk:	the same as in @host
 * @commit_wq:	of the sidecar
 * @sidecar:	whose coarse area it is
 * @lock:	@regions, but for what is read without it, the lists and the state; any context
 * @regions:	of the disk
 * @waiting:	writes for the next commit
 * @served:	writes for the commit that is under way
 * @released:	writes that go on
 * @busy:	a commit is under way
 * @deadline:	of that, in jiffies
 * @failed:	it can't be written any more: why. Then all is armed, or is about to be
 * @telling:	the host is told so
 * @commits:	how many have set regions
 * @began:	when a commit that sets regions began last, in ns
 * @ended:	and when it ended
 * @set_since:	regions that were set since a checkpoint began last
 * @first_set:	when the first of these was, in jiffies
 * @last_set:	and the last one
 * @idle:	waits for @busy to end, and for what is to be cleared
 * @buf:	the blocks of the area
 * @strict:	NULL: the sidecar is not strict
 * @commit_work: in @commit_wq
 * @deadline_work: in host->deadline_wq
 * @resume_work: in host->resume_wq
 */
struct vhdx_coarse {
	struct vhdx_coarse_host *host;
	int disk;
	struct workqueue_struct *commit_wq;
	struct vhdx_sidecar *sidecar;
	spinlock_t lock;
	struct vhdx_regions regions;
	struct list_head waiting;
	struct list_head served;
	struct list_head released;
	bool busy;
	unsigned long deadline;
	int failed;
	bool telling;
	u64 commits;
	u64 began;
	u64 ended;
	u32 set_since;
	unsigned long first_set;
	unsigned long last_set;
	wait_queue_head_t idle;
	void *buf;
	struct vhdx_strict *strict;
	struct work_struct commit_work;
	struct delayed_work deadline_work;
	struct work_struct resume_work;
};

int vhdx_coarse_init(struct vhdx_coarse *coarse, struct vhdx_coarse_host *host,
		     struct vhdx_sidecar *sidecar, struct workqueue_struct *commit_wq);
void vhdx_coarse_destroy(struct vhdx_coarse *coarse);
bool vhdx_coarse_wait(struct vhdx_coarse *coarse, struct list_head *link, u64 offset, u64 length);
void vhdx_coarse_give_up(struct vhdx_coarse *coarse);
void vhdx_coarse_leave(struct vhdx_coarse *coarse);
bool vhdx_coarse_is_busy(struct vhdx_coarse *coarse);
void vhdx_coarse_start(struct vhdx_coarse *coarse);

/* For its tokens. */
bool vhdx_coarse_tries_again(struct vhdx_coarse *coarse, int err);
int vhdx_coarse_write(struct vhdx_coarse *coarse, u64 blocks);
void vhdx_coarse_fail(struct vhdx_coarse *coarse, int err);

/* For a checkpoint. */
u32 vhdx_coarse_choose(struct vhdx_coarse *coarse, bool all);
void vhdx_coarse_keep(struct vhdx_coarse *coarse, u64 offset, u64 length);
void vhdx_coarse_clear(struct vhdx_coarse *coarse);
void vhdx_coarse_cancel(struct vhdx_coarse *coarse);
int vhdx_coarse_finish(struct vhdx_coarse *coarse);

/**
 * vhdx_coarse_covers() - may a write go out at once?
 * @coarse:	of its disk
 * @offset:	on the disk
 * @length:	in bytes; zero: it need not wait
 *
 * In the RCU read side of the first mark, after that.
 */
static inline bool vhdx_coarse_covers(const struct vhdx_coarse *coarse, u64 offset, u64 length)
{
	return likely(vhdx_regions_are_armed(&coarse->regions, offset, length));
}

#endif
