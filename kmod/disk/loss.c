// SPDX-License-Identifier: GPL-2.0-only
#include "loss.h"
#include "disk.h"
#include "message.h"
#include "store/scope.h"

/* How long a task waits for the gap, in jiffies: for the sidecar, and for tracker->tree. */
static unsigned long patience(void)
{
	return 2 * vhdx_sidecar_timeout();
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
	char how[VHDX_LOSS_TEXT];

	vhdx_loss_how(disk, how);
	vhdx_say_err(disk->index,
		     "the container %s: all I/O fails, and nothing is written to it any more; detach the disk and restore the container from a copy",
		     how);
	vhdx_tracker_lose(&disk->tracker);
	complete_all(&loss->gap_done);
	let_go(loss);
	vhdx_scope_leave(flags);
}

static void release_work(struct work_struct *work)
{
	let_go(container_of(to_delayed_work(work), struct vhdx_loss, release_work));
}

static void below_work(struct work_struct *work)
{
	struct vhdx_loss *loss = container_of(work, struct vhdx_loss, below_work);
	struct vhdx_disk *disk = container_of(loss, struct vhdx_disk, loss);
	unsigned int i;

	for (i = 1; i < disk->layer_count; i++) {
		if (READ_ONCE(disk->layers[i].container.lost))
			vhdx_say_err(disk->index,
				     "the parent %pD was cut or written over: what it has can't be read any more; detach the disk and restore the parent from a copy",
				     disk->layers[i].container.file);
	}
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
	INIT_WORK(&loss->below_work, below_work);
	init_completion(&loss->gap_done);
}

/* A worker says it, and writes the gap, if there must be one. */
static void tell(struct vhdx_loss *loss)
{
	lockdep_assert_held(&loss->lock);
	if (!loss->gap_wq || !loss->how[0])
		return;
	/* On a queue of the system: items of the disk's queues may all hang in its container. */
	schedule_delayed_work(&loss->release_work, patience());
	queue_work(loss->gap_wq, &loss->gap_work);
}

/**
 * vhdx_loss_start() - from now on there may be I/O and questions
 * @disk:	prepared; another disk that uses its layer may have seen that this is lost
 */
void vhdx_loss_start(struct vhdx_disk *disk)
{
	struct vhdx_loss *loss = &disk->loss;
	unsigned long flags;

	spin_lock_irqsave(&loss->lock, flags);
	loss->gap_wq = disk->commit_wq;
	tell(loss);
	queue_work(loss->gap_wq, &loss->below_work);
	spin_unlock_irqrestore(&loss->lock, flags);
}

/**
 * vhdx_loss_see() - the container is lost
 * @disk:	the disk, that has not been told before
 * @how:	what was found
 *
 * Any context, with the lock of the layer's users: thousands may be told here one after the other,
 * so each says it in its worker, where a slow console holds up no I/O. The gap is written on
 * commit_wq: no task waits for an item of it while it holds tracker->tree. Before
 * vhdx_loss_start() there was no question yet, and after vhdx_loss_stop() none comes.
 */
void vhdx_loss_see(struct vhdx_disk *disk, const char *how)
{
	struct vhdx_loss *loss = &disk->loss;
	unsigned long flags;

	WRITE_ONCE(disk->poisoned, true);
	spin_lock_irqsave(&loss->lock, flags);
	strscpy(loss->how, how, sizeof(loss->how));
	tell(loss);
	spin_unlock_irqrestore(&loss->lock, flags);
}

/**
 * vhdx_loss_see_below() - a parent is lost
 * @disk:	that has not been told of it before
 *
 * Any context, as vhdx_loss_see(). The leaf is what it was: it is written, and read, as before.
 * What is in the parent can't be read.
 */
void vhdx_loss_see_below(struct vhdx_disk *disk)
{
	struct vhdx_loss *loss = &disk->loss;
	unsigned long flags;

	spin_lock_irqsave(&loss->lock, flags);
	if (loss->gap_wq)
		queue_work(loss->gap_wq, &loss->below_work);
	spin_unlock_irqrestore(&loss->lock, flags);
}

/**
 * vhdx_loss_park() - a piece has failed: must its end wait for the gap?
 * @io:		on no list
 * @status:	how it failed
 *
 * Any context. Returns true if it does: vhdx_io_end() is called again when the gap is there.
 */
bool vhdx_loss_park(struct vhdx_io *io, blk_status_t status)
{
	struct vhdx_loss *loss = &io->disk->loss;
	unsigned long flags;
	bool parked;

	if (likely(!vhdx_disk_is_lost(io->disk)))
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
 * @disk:	kept from being detached by the caller, which holds no lock
 *
 * Sleeps, for a bounded time. Returns 0: what the tracker says is true; -EINTR: killed;
 * -EIO: it isn't, the gap could not be noted in time.
 */
int vhdx_loss_settle(struct vhdx_disk *disk)
{
	long left;

	if (likely(!vhdx_disk_is_lost(disk)))
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
	/* vhdx_loss_see() is about to fill it in. */
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

	if ((err != -EIO && !gap) || !vhdx_disk_is_lost(disk))
		return;
	vhdx_loss_how(disk, how);
	snprintf(name, sizeof(name), "%pD", vhdx_disk_container(disk)->file);
	/* The messages of gaps say by themselves that a full backup is needed. */
	scnprintf(diag->text, sizeof(diag->text),
		  "the container %s %s; detach the disk, put the container back from a copy or attach another one%s",
		  name, how, gap ? "" : ", and make a full backup");
}

/**
 * vhdx_loss_stop() - the gap, if there must be one, is as written as it ever will be
 * @disk:	drained, and its queues are still there
 *
 * Other disks that use its layer may see at any time that this is lost; too late for this one.
 */
void vhdx_loss_stop(struct vhdx_disk *disk)
{
	struct vhdx_loss *loss = &disk->loss;
	unsigned long flags;

	spin_lock_irqsave(&loss->lock, flags);
	loss->gap_wq = NULL;
	spin_unlock_irqrestore(&loss->lock, flags);
	flush_work(&loss->gap_work);
	flush_work(&loss->below_work);
	cancel_delayed_work_sync(&loss->release_work);
}
