// SPDX-License-Identifier: GPL-2.0-only
#include "gate.h"

static void epoch_drained(struct percpu_ref *ref)
{
	complete(&container_of(ref, struct vhdx_epoch, ref)->drained);
}

/**
 * vhdx_gate_init() - open, and nobody inside
 * @gate:	zeroed
 * @resume:	see struct vhdx_gate
 *
 * Returns 0 or -ENOMEM.
 */
int vhdx_gate_init(struct vhdx_gate *gate, void (*resume)(struct vhdx_pass *pass))
{
	int i, err;

	spin_lock_init(&gate->lock);
	INIT_LIST_HEAD(&gate->parked);
	mutex_init(&gate->flip_lock);
	gate->resume = resume;
	for (i = 0; i < ARRAY_SIZE(gate->epochs); i++) {
		init_completion(&gate->epochs[i].drained);
		err = percpu_ref_init(&gate->epochs[i].ref, epoch_drained,
				      PERCPU_REF_ALLOW_REINIT, GFP_KERNEL);
		if (err)
			goto fail;
	}
	gate->epoch = &gate->epochs[0];
	return 0;
fail:
	while (i--)
		percpu_ref_exit(&gate->epochs[i].ref);
	return err;
}

/**
 * vhdx_gate_destroy() - free its memory; harmless where it was never made
 * @gate:	nobody is inside, or will be
 */
void vhdx_gate_destroy(struct vhdx_gate *gate)
{
	int i;

	if (!gate->epoch)
		return;
	/* Its waiter was killed; nobody is inside, so it ends by itself. */
	if (gate->draining)
		wait_for_completion(&gate->draining->drained);
	for (i = 0; i < ARRAY_SIZE(gate->epochs); i++)
		percpu_ref_exit(&gate->epochs[i].ref);
	gate->epoch = NULL;
}

/**
 * vhdx_gate_park() - wait for the gate to be opened
 * @gate:	did not let it in
 * @pass:	of the piece
 * @kind:	what it came as
 *
 * Any context. Returns false if the gate has been opened meanwhile: try again.
 */
bool vhdx_gate_park(struct vhdx_gate *gate, struct vhdx_pass *pass, unsigned int kind)
{
	unsigned long flags;
	bool closed;

	spin_lock_irqsave(&gate->lock, flags);
	closed = gate->closed & kind;
	if (closed)
		list_add_tail(&pass->link, &gate->parked);
	spin_unlock_irqrestore(&gate->lock, flags);
	return closed;
}

/**
 * vhdx_gate_close() - from now on these are parked
 * @gate:	open. One user at a time closes it: that is for the callers to arrange
 * @kinds:	VHDX_GATE_*
 *
 * Those who found it open may still be on their way in: synchronize_rcu() waits for them, and
 * vhdx_gate_flip() for their I/O as well.
 */
void vhdx_gate_close(struct vhdx_gate *gate, unsigned int kinds)
{
	unsigned long flags;

	spin_lock_irqsave(&gate->lock, flags);
	WRITE_ONCE(gate->closed, kinds);
	spin_unlock_irqrestore(&gate->lock, flags);
}

/**
 * vhdx_gate_open() - let everybody in again, and those who were parked first
 * @gate:	closed
 */
void vhdx_gate_open(struct vhdx_gate *gate)
{
	struct vhdx_pass *pass, *next;
	unsigned long flags;
	LIST_HEAD(parked);

	spin_lock_irqsave(&gate->lock, flags);
	WRITE_ONCE(gate->closed, 0);
	list_splice_init(&gate->parked, &parked);
	spin_unlock_irqrestore(&gate->lock, flags);
	list_for_each_entry_safe(pass, next, &parked, link)
		gate->resume(pass);
}

/* With flip_lock. @left: in jiffies, in and out. */
static int wait_for_drain(struct vhdx_gate *gate, unsigned long *left)
{
	long ret;

	if (!gate->draining)
		return 0;
	ret = wait_for_completion_killable_timeout(&gate->draining->drained, *left);
	if (ret <= 0)
		return ret ? -EINTR : -ETIMEDOUT;
	*left = ret;
	percpu_ref_reinit(&gate->draining->ref);
	gate->draining = NULL;
	return 0;
}

/**
 * vhdx_gate_flip() - wait for everybody who is inside now, and hold nobody up
 * @gate:	the gate; the caller has not entered it, and holds nothing that those who have
 *		may wait for
 * @timeout:	in jiffies
 *
 * Who comes in later sees everything that the caller did before. Sleeps, for a grace period at
 * least. Returns 0; -EINTR killed; -ETIMEDOUT.
 */
int vhdx_gate_flip(struct vhdx_gate *gate, unsigned long timeout)
{
	struct vhdx_epoch *old;
	int err;

	if (mutex_lock_killable(&gate->flip_lock))
		return -EINTR;
	/* Of somebody who did not wait until the end. */
	err = wait_for_drain(gate, &timeout);
	if (err)
		goto out;
	old = gate->epoch;
	reinit_completion(&old->drained);
	/* Pairs with vhdx_gate_enter(). */
	smp_store_release(&gate->epoch, &gate->epochs[old == &gate->epochs[0]]);
	gate->draining = old;
	/* Those who are about to enter the old one are in a read side: it is not drained before
	 * a grace period has passed.
	 */
	percpu_ref_kill(&old->ref);
	err = wait_for_drain(gate, &timeout);
out:
	mutex_unlock(&gate->flip_lock);
	return err;
}
