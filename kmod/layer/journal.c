// SPDX-License-Identifier: GPL-2.0-only
#include "journal.h"
#include "layer.h"
#include "store/scope.h"
#include "trace.h"

#include <linux/ktime.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/uuid.h>

/* A page is in the log at most this long after it became dirty. */
#define COMMIT_INTERVAL		(5 * HZ)

/* Many times the largest entry. */
#define RING_MAX		(16 * VHDX_MIB)

/**
 * vhdx_journal_ring() - how much of the log entries go round in
 * @header:	the container's
 *
 * From its beginning. A replay looks at all of it; what is behind the ring has the GUID of no
 * generation that this driver wrote. A container may say that its log is a GiB long, all of it a
 * hole that room would have to be made for.
 */
u32 vhdx_journal_ring(const struct vhdx_header *header)
{
	return min_t(u32, header->log_length, RING_MAX);
}

/**
 * struct vhdx_commit - one under way
 * @transaction: its number
 * @pages:	that were logged
 * @bytes:	written to the log, and in place
 */
struct vhdx_commit {
	u64 transaction;
	unsigned int pages;
	u64 bytes;
};

static u32 entry_length(unsigned int pages)
{
	return VHDX_PAGE * (1 + pages);
}

static int write_entry(struct vhdx_journal *j, u32 offset, unsigned int count)
{
	struct vhdx_open_layer *layer = j->layer;
	struct vhdx_store *store = &layer->writer.container->store;
	struct vhdx_log_entry entry = {
		.log_guid = j->guid,
		.sequence = ++j->sequence,
		/* Every earlier entry was applied, and flushed before this one. */
		.tail = offset,
		.flushed_file_offset = j->stable_size,
		.last_file_offset = j->stable_size,
	};
	int err;

	vhdx_log_entry_seal(j->buffer, &entry, j->copies, count);
	err = store->write(store, layer->image.header.log_offset + offset, j->buffer,
			   entry_length(count));
	return err ?: store->flush(store);
}

/*
 * Rule V5. Between the two headers the log is empty for every program that opens the
 * container; LogGuid is never durable before an entry that carries it.
 */
static int new_generation(struct vhdx_journal *j)
{
	static const vhdx_guid none;
	int err;

	if (j->open) {
		err = vhdx_layer_update_header(j->layer, NULL, NULL, &none);
		if (err)
			return err;
		j->open = false;
	}
	generate_random_guid(j->guid.b);
	err = write_entry(j, 0, 0);
	if (err)
		return err;
	err = vhdx_layer_update_header(j->layer, NULL, NULL, &j->guid);
	if (err)
		return err;
	j->open = true;
	j->offset = entry_length(0);
	return 0;
}

/* Are pages of the transaction still to be taken? */
static bool is_owed(struct vhdx_journal *j)
{
	return READ_ONCE(j->layer->pages.owed);
}

/* The pages that were taken. */
static int log_taken(struct vhdx_journal *j, struct vhdx_commit *commit)
{
	u32 ring = vhdx_journal_ring(&j->layer->image.header);
	u32 length = entry_length(j->taken);
	int err = 0;

	lockdep_assert_held(&j->lock);
	if (!j->open || j->offset + length > ring)
		err = new_generation(j);
	if (!err)
		err = write_entry(j, j->offset, j->taken);
	if (err)
		return err;
	j->offset += length;
	commit->pages += j->taken;
	commit->bytes += length + j->taken * VHDX_PAGE;
	return 0;
}

/* Rule V3: what was logged, and the copies stay until it is in place. */
static int apply_taken(struct vhdx_journal *j)
{
	unsigned int count = j->taken;
	int err;

	lockdep_assert_held(&j->lock);
	j->taken = 0;
	if (!count)
		return 0;
	vhdx_log_entry_unseal(j->buffer, j->copies, count);
	err = vhdx_apply(&j->apply, j->layer->writer.container, j->copies, count);
	if (!err)
		vhdx_page_cache_applied(&j->layer->pages, j->pages, count);
	else
		/* If it was cut, it is said that it was. */
		vhdx_writer_is_lost(j->layer);
	return err;
}

/* Some of it; and the last of it unless pages are owed afterwards. */
static int log_some(struct vhdx_journal *j, struct vhdx_commit *commit)
{
	struct vhdx_open_layer *layer = j->layer;
	struct vhdx_store *store = &layer->writer.container->store;
	int err;

	if (j->buffer && is_owed(j))
		j->taken = vhdx_page_cache_take_dirty(&layer->pages, j->copies, j->pages,
						      VHDX_LOG_PAGES_MAX);
	/* Large enough for every block that the copies name, and durable after the flush. A tail
	 * of less than a MiB holds no block.
	 */
	j->stable_size = round_down(READ_ONCE(layer->writer.container->size), VHDX_MIB);
	/* Also makes the pages that the last entry applied durable, which lets the next entry be
	 * its own tail.
	 */
	err = vhdx_writer_is_lost(layer) ? -EIO : store->flush(store);
	if (!err && j->taken)
		err = log_taken(j, commit);
	return err;
}

static void end_waiters(struct vhdx_journal *j, struct list_head *served, int err)
{
	struct vhdx_journal_statistics *statistics = &j->statistics;
	struct vhdx_commit_waiter *waiter, *next;
	u64 now = ktime_get_ns();

	lockdep_assert_held(&j->lock);
	list_for_each_entry_safe(waiter, next, served, link) {
		list_del(&waiter->link);
		WRITE_ONCE(statistics->waits, statistics->waits + 1);
		WRITE_ONCE(statistics->waited_ns, statistics->waited_ns + now - waiter->since);
		waiter->done(waiter, err);
	}
}

static void count(struct vhdx_journal *j, const struct vhdx_commit *commit)
{
	struct vhdx_journal_statistics *statistics = &j->statistics;

	lockdep_assert_held(&j->lock);
	if (!commit->pages)
		return;
	WRITE_ONCE(statistics->commits, statistics->commits + 1);
	WRITE_ONCE(statistics->bytes, statistics->bytes + commit->bytes);
}

/* To log the transaction, and to tell those that it is durable; then to write it in place. */
static int run(struct vhdx_journal *j, struct vhdx_commit *commit, struct list_head *served)
{
	struct vhdx_watermarks *marks = &j->layer->pages.marks;
	int err;

	commit->transaction = vhdx_page_cache_close_transaction(&j->layer->pages);
	do {
		err = log_some(j, commit);
		/* Where nothing was dirty, too. */
		if (!err && !is_owed(j)) {
			WRITE_ONCE(marks->logged, commit->transaction);
			vhdx_freed_logged(j->layer);
			count(j, commit);
			end_waiters(j, served, 0);
		}
		if (!err)
			err = apply_taken(j);
	} while (!err && is_owed(j));
	if (!err)
		WRITE_ONCE(marks->applied, commit->transaction);
	return err;
}

static int serve(struct vhdx_journal *journal, struct list_head *served)
{
	struct vhdx_commit commit = { };
	u64 start = ktime_get_ns();
	int err;

	mutex_lock(&journal->lock);
	err = journal->error;
	if (!err) {
		err = run(journal, &commit, served);
		if (err) {
			journal->error = err;
			vhdx_layer_failed(journal->layer, "commit", err);
		}
	}
	end_waiters(journal, served, err);
	mutex_unlock(&journal->lock);
	trace_vhdx_commit(journal->layer->writer.container->claim.disk, commit.pages, commit.bytes,
			  ktime_get_ns() - start, err);
	return err;
}

/**
 * vhdx_journal_commit() - everything that completed before this call is durable after it
 * @journal:	the journal
 *
 * Payload first, then the pages that point to it; these are in place, too. Sleeps; not from a
 * place that the container's own I/O waits for. Returns 0, or the error that poisoned the journal:
 * a failed commit is never retried into success.
 */
int vhdx_journal_commit(struct vhdx_journal *journal)
{
	LIST_HEAD(none);

	return serve(journal, &none);
}

/**
 * vhdx_journal_retire() - the header gets a new DataWriteGuid, and says that the log is empty
 * @journal:		the journal
 * @data_write_guid:	the new one
 *
 * Everything logged so far was applied; once that is durable it need not be replayed any more
 * (rule V5). Whatever becomes of the header, the next entry begins a new generation: it is
 * not known then which one a replay would look for. Sleeps. Returns 0; -ESTALE: the header has
 * not got this one, since tracking failed (rule T7); or -errno, and the disk is poisoned.
 */
int vhdx_journal_retire(struct vhdx_journal *journal, const vhdx_guid *data_write_guid)
{
	static const vhdx_guid none;
	struct vhdx_open_layer *layer = journal->layer;
	int err;

	mutex_lock(&journal->lock);
	err = journal->error;
	/* Before the log is said to be empty; and again with the header's lock, where it counts. */
	if (!err && !vhdx_layer_is_trusted(layer)) {
		mutex_unlock(&journal->lock);
		return -ESTALE;
	}
	if (!err && journal->open) {
		err = layer->writer.container->store.flush(&layer->writer.container->store);
		journal->error = err;
	}
	if (!err) {
		journal->open = false;
		err = vhdx_layer_update_header(layer, NULL, data_write_guid, &none);
		if (!err && !vhdx_layer_is_trusted(layer))
			err = -ESTALE;
	}
	if (err && err != -ESTALE)
		vhdx_layer_failed(layer, "header update", err);
	mutex_unlock(&journal->lock);
	return err;
}

static void commit_work(struct work_struct *work)
{
	struct vhdx_journal *j = container_of(work, struct vhdx_journal, work);
	unsigned int flags = vhdx_scope_enter();
	LIST_HEAD(served);

	spin_lock_irq(&j->wait_lock);
	list_splice_init(&j->waiting, &served);
	spin_unlock_irq(&j->wait_lock);

	serve(j, &served);
	vhdx_scope_leave(flags);
}

static void timer_work(struct work_struct *work)
{
	struct vhdx_journal *j = container_of(to_delayed_work(work), struct vhdx_journal, timer);
	unsigned int flags = vhdx_scope_enter();

	if (!READ_ONCE(j->error))
		vhdx_journal_commit(j);
	vhdx_scope_leave(flags);
}

/**
 * vhdx_journal_wait() - call @waiter once everything so far is durable
 * @journal:	the journal
 * @waiter:	its done() is called then; not waiting
 *
 * Any context.
 */
void vhdx_journal_wait(struct vhdx_journal *journal, struct vhdx_commit_waiter *waiter)
{
	unsigned long flags;

	waiter->since = ktime_get_ns();
	spin_lock_irqsave(&journal->wait_lock, flags);
	list_add_tail(&waiter->link, &journal->waiting);
	spin_unlock_irqrestore(&journal->wait_lock, flags);
	queue_work(journal->layer->writer.commit_wq, &journal->work);
}

/**
 * vhdx_journal_kick() - a page became dirty: commit it soon, or now if dirty pages pile up
 * @journal:	the journal
 */
void vhdx_journal_kick(struct vhdx_journal *journal)
{
	const struct vhdx_page_cache *cache = &journal->layer->pages;

	/* A task that waits for a page without memory gets one that is clean again. */
	if (READ_ONCE(cache->dirty_count) >= VHDX_LOG_PAGES_MAX || READ_ONCE(cache->starving))
		vhdx_journal_hurry(journal);
	else
		queue_delayed_work(journal->layer->writer.commit_wq, &journal->timer,
				   COMMIT_INTERVAL);
}

/**
 * vhdx_journal_hurry() - commit what is dirty, now
 * @journal:	the journal
 */
void vhdx_journal_hurry(struct vhdx_journal *journal)
{
	mod_delayed_work(journal->layer->writer.commit_wq, &journal->timer, 0);
}

/**
 * vhdx_journal_init() - nothing is allocated yet
 * @journal:	zeroed
 * @layer:	whose
 */
void vhdx_journal_init(struct vhdx_journal *journal, struct vhdx_open_layer *layer)
{
	journal->layer = layer;
	mutex_init(&journal->lock);
	spin_lock_init(&journal->wait_lock);
	INIT_LIST_HEAD(&journal->waiting);
	INIT_WORK(&journal->work, commit_work);
	INIT_DELAYED_WORK(&journal->timer, timer_work);
}

/**
 * vhdx_journal_prepare() - memory for one transaction, before the first write (rule K3)
 * @journal:	the journal
 *
 * Returns 0 or -ENOMEM.
 */
int vhdx_journal_prepare(struct vhdx_journal *journal)
{
	unsigned int i;

	if (journal->buffer)
		return 0;
	journal->copies = kvcalloc(VHDX_LOG_PAGES_MAX, sizeof(*journal->copies), GFP_KERNEL);
	journal->pages = kvcalloc(VHDX_LOG_PAGES_MAX, sizeof(*journal->pages), GFP_KERNEL);
	journal->buffer = kvmalloc(entry_length(VHDX_LOG_PAGES_MAX), GFP_KERNEL);
	if (!journal->copies || !journal->pages || !journal->buffer ||
	    vhdx_apply_prepare(&journal->apply)) {
		vhdx_journal_destroy(journal);
		return -ENOMEM;
	}
	for (i = 0; i < VHDX_LOG_PAGES_MAX; i++)
		journal->copies[i].sector = journal->buffer + entry_length(i);
	/* Windows begins anywhere; what matters is that it grows. */
	journal->sequence = get_random_u32();
	return 0;
}

/**
 * vhdx_journal_stop() - no commit is under way or will begin by itself
 * @journal:	without waiters
 */
void vhdx_journal_stop(struct vhdx_journal *journal)
{
	cancel_delayed_work_sync(&journal->timer);
	flush_work(&journal->work);
}

/**
 * vhdx_journal_destroy() - free the memory
 * @journal:	stopped
 */
void vhdx_journal_destroy(struct vhdx_journal *journal)
{
	vhdx_apply_destroy(&journal->apply);
	kvfree(journal->buffer);
	kvfree(journal->pages);
	kvfree(journal->copies);
	journal->buffer = NULL;
	journal->pages = NULL;
	journal->copies = NULL;
}
