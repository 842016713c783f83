// SPDX-License-Identifier: GPL-2.0-only
#include "loss.h"
#include "disk.h"
#include "message.h"
#include "store/scope.h"

/* How long anybody waits for the gap: for the sidecar, and for those who hold its lock. */
static unsigned long patience(void)
{
	return 2 * vhdx_tracker_timeout();
}

static void let_go(struct vhdx_loss *loss)
{
	struct vhdx_io *io, *next;
	unsigned long flags;
	LIST_HEAD(parked);

	spin_lock_irqsave(&loss->lock, flags);
	loss->told = true;
	list_splice_init(&loss->parked, &parked);
	spin_unlock_irqrestore(&loss->lock, flags);
	list_for_each_entry_safe(io, next, &parked, link) {
		list_del_init(&io->link);
		vhdx_io_end(io, io->status);
	}
}

static void gap_work(struct work_struct *work)
{
	struct vhdx_loss *loss = container_of(work, struct vhdx_loss, gap_work);
	struct vhdx_disk *disk = container_of(loss, struct vhdx_disk, loss);
	unsigned int flags = vhdx_scope_enter();

	vhdx_tracker_lose(&disk->tracker);
	complete_all(&loss->gap_done);
	let_go(loss);
	vhdx_scope_leave(flags);
}

static void release_work(struct work_struct *work)
{
	let_go(container_of(to_delayed_work(work), struct vhdx_loss, release_work));
}

/**
 * vhdx_loss_init() - the container is what it was
 * @loss:	zeroed
 */
void vhdx_loss_init(struct vhdx_loss *loss)
{
	spin_lock_init(&loss->lock);
	INIT_LIST_HEAD(&loss->parked);
	INIT_WORK(&loss->gap_work, gap_work);
	INIT_DELAYED_WORK(&loss->release_work, release_work);
	init_completion(&loss->gap_done);
}

/**
 * vhdx_loss_see() - the container is lost
 * @disk:	the disk, that has not been told before
 * @how:	what was found
 *
 * Any context. The gap is written on a queue that nobody waits on who holds tracker->lock.
 * A disk without queues is being attached, which fails: nobody has asked it anything.
 */
void vhdx_loss_see(struct vhdx_disk *disk, const char *how)
{
	struct workqueue_struct *commit_wq = vhdx_disk_leaf(disk)->writer.commit_wq;
	struct vhdx_loss *loss = &disk->loss;
	unsigned long flags;

	spin_lock_irqsave(&loss->lock, flags);
	strscpy(loss->how, how, sizeof(loss->how));
	spin_unlock_irqrestore(&loss->lock, flags);
	WRITE_ONCE(disk->poisoned, true);
	vhdx_say_err(disk->index,
		     "the container %s: all I/O fails, and nothing is written to it any more; detach the disk and restore the container from a copy",
		     how);
	if (!commit_wq)
		return;
	/* Not on a queue of the disk's, whose items may all hang in its container. */
	schedule_delayed_work(&loss->release_work, patience());
	queue_work(commit_wq, &loss->gap_work);
}

/**
 * vhdx_loss_park() - a piece has failed: may its submitter hear of it now?
 * @io:		on no list
 * @status:	how it failed
 *
 * Any context. Returns true if it waits for the gap; vhdx_io_end() is called again then.
 */
bool vhdx_loss_park(struct vhdx_io *io, blk_status_t status)
{
	struct vhdx_loss *loss = &io->disk->loss;
	unsigned long flags;
	bool parked;

	if (likely(!vhdx_layer_is_lost(vhdx_disk_leaf(io->disk))))
		return false;
	spin_lock_irqsave(&loss->lock, flags);
	parked = !loss->told;
	if (parked) {
		io->status = status;
		list_add_tail(&io->link, &loss->parked);
	}
	spin_unlock_irqrestore(&loss->lock, flags);
	return parked;
}

/**
 * vhdx_loss_settle() - before a question is answered: is the gap there, if there must be one?
 * @disk:	kept from being detached by the caller, who holds no lock
 *
 * Sleeps, for a bounded time. Returns 0: what the tracker says is true; -EINTR: killed;
 * -EIO: it isn't, the gap could not be noted in time.
 */
int vhdx_loss_settle(struct vhdx_disk *disk)
{
	long left;

	if (likely(!vhdx_layer_is_lost(vhdx_disk_leaf(disk))))
		return 0;
	left = wait_for_completion_killable_timeout(&disk->loss.gap_done, patience());
	if (left > 0)
		return 0;
	return left ? -EINTR : -EIO;
}

/**
 * vhdx_loss_how() - what was found
 * @disk:	its container is lost
 * @how:	receives it: behind "the container"
 *
 * Any context.
 */
void vhdx_loss_how(struct vhdx_disk *disk, char how[VHDX_LOSS_TEXT])
{
	struct vhdx_loss *loss = &disk->loss;
	unsigned long flags;

	spin_lock_irqsave(&loss->lock, flags);
	strscpy(how, loss->how, VHDX_LOSS_TEXT);
	spin_unlock_irqrestore(&loss->lock, flags);
	/* Somebody is about to say it. */
	if (!*how)
		strscpy(how, "was cut or written over", VHDX_LOSS_TEXT);
}

/**
 * vhdx_loss_explain() - if the container is lost, that is why something failed
 * @disk:	the disk
 * @err:	what it failed with
 * @diag:	of the failure; its reason stays
 *
 * Any context. What has another reason than a failed transfer or a gap failed by itself.
 */
void vhdx_loss_explain(struct vhdx_disk *disk, int err, struct vhdx_diag *diag)
{
	bool gap = err && diag->reason == VHDX_REASON_CHANGED_OFFLINE;
	char how[VHDX_LOSS_TEXT];
	char name[36];

	if ((err != -EIO && !gap) || !vhdx_layer_is_lost(vhdx_disk_leaf(disk)))
		return;
	vhdx_loss_how(disk, how);
	snprintf(name, sizeof(name), "%pD", vhdx_disk_leaf(disk)->container.file);
	/* Of a gap everybody is told to make a full backup. */
	scnprintf(diag->text, sizeof(diag->text),
		  "the container %s %s; detach the disk, put the container back from a copy or attach another one%s",
		  name, how, gap ? "" : ", and make a full backup");
}

/**
 * vhdx_loss_stop() - the gap, if there must be one, is as written as it ever will be
 * @disk:	nobody else uses it, and its queues are still there
 */
void vhdx_loss_stop(struct vhdx_disk *disk)
{
	flush_work(&disk->loss.gap_work);
	cancel_delayed_work_sync(&disk->loss.release_work);
}
