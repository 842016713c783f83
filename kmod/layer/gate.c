// SPDX-License-Identifier: GPL-2.0-only
#include "gate.h"
#include "store/scope.h"

static void epoch_drained(struct percpu_ref *ref)
{
	complete_all(&container_of(ref, struct vhdx_epoch, ref)->drained);
}

/* A piece that finds the gate closed again is parked again, until that one is opened. */
static void resume_work(struct work_struct *work)
{
	struct vhdx_gate *gate = container_of(work, struct vhdx_gate, resume_work);
	void (*resume)(struct vhdx_pass *pass) = gate->resume;
	unsigned int flags = vhdx_scope_enter();
	struct vhdx_pass *pass, *next;
	LIST_HEAD(parked);

	spin_lock_irq(&gate->lock);
	list_splice_init(&gate->parked, &parked);
	spin_unlock_irq(&gate->lock);
	list_for_each_entry_safe(pass, next, &parked, link)
		resume(pass);
	vhdx_scope_leave(flags);
}

/**
 * vhdx_gate_init() - a gate that is open, and has no piece inside
 * @gate:	zeroed
 * @resume:	see struct vhdx_gate
 * @workqueue:	see struct vhdx_gate
 *
 * Returns 0 or -ENOMEM.
 */
int vhdx_gate_init(struct vhdx_gate *gate, void (*resume)(struct vhdx_pass *pass),
		   struct workqueue_struct *workqueue)
{
	int i, err;

	spin_lock_init(&gate->lock);
	INIT_LIST_HEAD(&gate->parked);
	mutex_init(&gate->flip_lock);
	gate->resume = resume;
	gate->workqueue = workqueue;
	INIT_WORK(&gate->resume_work, resume_work);
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

/* The epoch before this one; while there is no flip under way, the next. */
static struct vhdx_epoch *former(struct vhdx_gate *gate)
{
	return &gate->epochs[gate->epoch == &gate->epochs[0]];
}

/**
 * vhdx_gate_destroy() - free its memory; harmless where it was never made
 * @gate:	no piece is inside, and none comes
 */
void vhdx_gate_destroy(struct vhdx_gate *gate)
{
	int i;

	if (!gate->epoch)
		return;
	/* A caller gave up waiting for this flip; no piece is inside, so it ends by itself. */
	if (gate->begun != gate->ended)
		wait_for_completion(&former(gate)->drained);
	for (i = 0; i < ARRAY_SIZE(gate->epochs); i++)
		percpu_ref_exit(&gate->epochs[i].ref);
	gate->epoch = NULL;
}

/**
 * vhdx_gate_park() - wait for the gate to be opened
 * @gate:	did not let the piece in
 * @pass:	of the piece
 * @kind:	one of VHDX_GATE_*: what it came as
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
 * vhdx_gate_close() - from now on I/O of these kinds is parked
 * @gate:	open. One task at a time closes it: the callers see to that
 * @kinds:	VHDX_GATE_*
 *
 * Pieces that found it open may still be on their way in: synchronize_rcu() waits until they are
 * inside, and vhdx_gate_flip() until they have left.
 */
void vhdx_gate_close(struct vhdx_gate *gate, unsigned int kinds)
{
	unsigned long flags;

	spin_lock_irqsave(&gate->lock, flags);
	WRITE_ONCE(gate->closed, kinds);
	spin_unlock_irqrestore(&gate->lock, flags);
}

/**
 * vhdx_gate_open() - let all kinds of I/O in again, and what was parked
 * @gate:	closed
 *
 * Any context. Parked pieces go on in a worker: a task that opens several gates, where I/O of one
 * disk may have to pass the gate of another, starts none of it before all are open (rule T2).
 */
void vhdx_gate_open(struct vhdx_gate *gate)
{
	unsigned long flags;
	bool parked;

	spin_lock_irqsave(&gate->lock, flags);
	WRITE_ONCE(gate->closed, 0);
	parked = !list_empty(&gate->parked);
	spin_unlock_irqrestore(&gate->lock, flags);
	if (parked)
		queue_work(gate->workqueue, &gate->resume_work);
}

static void begin_flip(struct vhdx_gate *gate)
{
	struct vhdx_epoch *old = gate->epoch;

	lockdep_assert_held(&gate->flip_lock);
	gate->begun++;
	reinit_completion(&old->drained);
	/* Pairs with vhdx_gate_enter(). */
	smp_store_release(&gate->epoch, former(gate));
	/* Pieces that are about to enter the old epoch are in a read side: it is not drained
	 * before a grace period has passed.
	 */
	percpu_ref_kill(&old->ref);
}

/* Has the last flip that began ended? Then the next may begin. */
static bool flip_has_ended(struct vhdx_gate *gate)
{
	lockdep_assert_held(&gate->flip_lock);
	if (gate->begun != gate->ended && completion_done(&former(gate)->drained)) {
		percpu_ref_reinit(&former(gate)->ref);
		gate->ended = gate->begun;
	}
	return gate->begun == gate->ended;
}

/*
 * A flip that begins from now on is the caller's. There is one at a time, so all callers that come
 * while one is under way share the next.
 *
 * Returns the epoch that the caller has to wait for before it asks again; NULL: its flip has ended.
 */
static struct vhdx_epoch *join_flip(struct vhdx_gate *gate, u64 *mine)
{
	struct vhdx_epoch *old = NULL;
	bool ended;

	mutex_lock(&gate->flip_lock);
	ended = flip_has_ended(gate);
	if (!*mine)
		*mine = gate->begun + 1;
	if (gate->ended < *mine) {
		if (ended)
			begin_flip(gate);
		old = former(gate);
	}
	mutex_unlock(&gate->flip_lock);
	return old;
}

/* Has the caller's flip ended? Begins none: the caller gives up. */
static bool is_over(struct vhdx_gate *gate, u64 mine)
{
	bool over;

	mutex_lock(&gate->flip_lock);
	flip_has_ended(gate);
	over = gate->ended >= mine;
	mutex_unlock(&gate->flip_lock);
	return over;
}

/**
 * vhdx_gate_flip() - wait until all pieces that are inside now have left; others come and go
 * @gate:	the gate; the caller has not entered it, and holds nothing that a piece inside may
 *		wait for
 * @timeout:	in jiffies
 *
 * A piece that comes in later sees everything that the caller did before. Sleeps, for a grace
 * period at least, which callers that come while others wait share. Returns 0; -EINTR killed;
 * -ETIMEDOUT.
 */
int vhdx_gate_flip(struct vhdx_gate *gate, unsigned long timeout)
{
	struct vhdx_epoch *old;
	long left = timeout;
	u64 mine = 0;

	while ((old = join_flip(gate, &mine)) != NULL) {
		left = wait_for_completion_killable_timeout(&old->drained, left);
		if (left > 0)
			continue;
		/* Not every flip is seen to end: the next but one may use @drained again before
		 * the tasks that waited for this one wake up.
		 */
		if (is_over(gate, mine))
			break;
		return left ? -EINTR : -ETIMEDOUT;
	}
	return 0;
}
