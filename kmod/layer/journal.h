/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The metadata journal: dirty pages become log entries, then are written in place
 * (rules V3, V5). Group commit: one commit serves all that wait for it.
 *
 * One generation of the log is one LogGuid and runs from the start of the ring
 * towards its end, never across it. When it is full, everything in it was applied
 * and flushed, and the next generation begins at the start.
 */
#ifndef VHDX_JOURNAL_H
#define VHDX_JOURNAL_H

#include "apply.h"
#include "core/guid.h"
#include "core/vhdx/log.h"

#include <linux/mutex.h>
#include <linux/workqueue.h>

struct vhdx_page;
struct vhdx_open_layer;

/**
 * struct vhdx_commit_waiter - what waits for a commit
 * @link:	in journal->waiting
 * @since:	when the wait began, in ns
 * @done:	the transaction that ran when the wait began is logged; it is applied later. In a
 *		worker that the next commit waits for, and with journal->lock: not to sleep. 0, or
 *		-errno: nothing that was not durable before is
 */
struct vhdx_commit_waiter {
	struct list_head link;
	u64 since;
	void (*done)(struct vhdx_commit_waiter *waiter, int err);
};

/**
 * struct vhdx_journal_statistics - what was done so far; read without a lock
 * @commits:	transactions that had pages
 * @bytes:	that they wrote, to the log and in place
 * @waits:	flushes, and writes that are durable by a commit, that waited for one
 * @waited_ns:	how long all of them did
 */
struct vhdx_journal_statistics {
	u64 commits;
	u64 bytes;
	u64 waits;
	u64 waited_ns;
};

/**
 * struct vhdx_journal - the journal of one layer
 * @lock:	one commit at a time; everything below but @waiting
 * @wait_lock:	@waiting
 * @waiting:	waiters that the next commit serves
 * @work:	runs it
 * @timer:	runs it some time after a page became dirty
 * @buffer:	a whole log entry; header sector, then a sector for each page
 * @copies:	the pages of a transaction, within @buffer
 * @pages:	where the copies came from
 * @taken:	how many: logged or not, and not applied
 * @apply:	writes them in place
 * @guid:	of the generation, while @open
 * @open:	LogGuid in the header is @guid
 * @offset:	where in the log the next entry goes
 * @sequence:	of the last entry
 * @stable_size: size of the container that the flush before it made durable
 * @error:	a commit failed: poisoned, until detach (rule V4)
 * @statistics:	what was done so far
 */
struct vhdx_journal {
	struct vhdx_open_layer *layer;
	struct mutex lock;
	spinlock_t wait_lock;
	struct list_head waiting;
	struct work_struct work;
	struct delayed_work timer;
	void *buffer;
	struct vhdx_log_page *copies;
	struct vhdx_page **pages;
	unsigned int taken;
	struct vhdx_apply apply;
	vhdx_guid guid;
	bool open;
	u32 offset;
	u64 sequence;
	u64 stable_size;
	int error;
	struct vhdx_journal_statistics statistics;
};

void vhdx_journal_init(struct vhdx_journal *journal, struct vhdx_open_layer *layer);
int vhdx_journal_prepare(struct vhdx_journal *journal);
void vhdx_journal_destroy(struct vhdx_journal *journal);

int vhdx_journal_commit(struct vhdx_journal *journal);
int vhdx_journal_retire(struct vhdx_journal *journal, const vhdx_guid *data_write_guid);
void vhdx_journal_wait(struct vhdx_journal *journal, struct vhdx_commit_waiter *waiter);
void vhdx_journal_kick(struct vhdx_journal *journal);
u32 vhdx_journal_ring(const struct vhdx_header *header);
void vhdx_journal_hurry(struct vhdx_journal *journal);
void vhdx_journal_stop(struct vhdx_journal *journal);

#endif
