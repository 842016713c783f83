// SPDX-License-Identifier: GPL-2.0-only
/*
 * The users of a layer: one disk that writes, or any number of disks that read the same file or
 * device, and below it the same layers. A disk that is attached later finds the layer through the
 * registry of claims, and takes a reference to it.
 *
 * So all layers in use are a forest, in whatever order the chains of hostile containers name each
 * other. A task that has pages of a layer waits for those of its parents alone, and never for a
 * task that waits for it (rule K3).
 *
 * No attach waits for another one that is under way: of two at once both read the container, and
 * the one that is done later drops what it has read and takes the layer of the other.
 */
#include "layer.h"

#include <linux/sched/signal.h>
#include <linux/slab.h>

/* ---- users ---------------------------------------------------------------------------------- */

static bool add_user(struct vhdx_open_layer *layer, struct vhdx_layer_user *user)
{
	bool lost;

	spin_lock_irq(&layer->users_lock);
	lost = layer->lost;
	if (!lost)
		list_add_tail(&user->link, &layer->users);
	spin_unlock_irq(&layer->users_lock);
	return !lost;
}

/* None of its callbacks is called any more, or under way. */
static void forget_user(struct vhdx_open_layer *layer, struct vhdx_layer_user *user)
{
	spin_lock_irq(&layer->users_lock);
	list_del_init(&user->link);
	spin_unlock_irq(&layer->users_lock);
}

static void put(struct vhdx_open_layer *layer)
{
	if (refcount_dec_and_test(&layer->refs))
		vhdx_layer_free(layer);
}

/* ---- one for all that read ------------------------------------------------------------------ */

/*
 * Under the registry's lock: the claim that it was found through has a reference. Whoever uses it
 * uses its parent as well, which has not given way to another one at its address.
 *
 * Where LogGuid is set, the header does not change while a program writes: it does not show whether
 * BAT and log are as they were, and what its overlay does not hold is read from the log again.
 */
static bool get(const struct vhdx_claim *claim, void *shared)
{
	const struct vhdx_layer_user *user = container_of(claim, struct vhdx_layer_user,
							  container.claim);
	struct vhdx_open_layer *layer = shared;

	if (READ_ONCE(layer->lost) || READ_ONCE(layer->outdated) || layer->replayed ||
	    layer->parent != user->parent || layer->image.log.unwritten)
		return false;
	refcount_inc(&layer->refs);
	return true;
}

/*
 * A program that opened the container for writing since has changed its header. The disks that
 * read it meanwhile are as wrong as each would be alone; the disk that is attached now must not be.
 * Returns 1: it is as it was; 0: it is not; -errno: that can't be told.
 */
static int is_as_opened(const struct vhdx_open_layer *layer, struct vhdx_container *container)
{
	struct vhdx_header now;
	void *pages[2];
	int err;

	if (container->size != layer->size)
		return 0;
	pages[0] = kvmalloc(2 * VHDX_PAGE, GFP_KERNEL);
	if (!pages[0])
		return -ENOMEM;
	pages[1] = pages[0] + VHDX_PAGE;
	err = vhdx_header_copies_read(container, pages);
	if (!err)
		err = vhdx_header_choose((const void *const *)pages, &now) &&
		      vhdx_header_equal(&now, &layer->image.header);
	kvfree(pages[0]);
	return err;
}

/*
 * The layer that others have opened, with a reference, and with @user among its users; or @mine,
 * which others find from now on.
 */
static struct vhdx_open_layer *share(struct vhdx_layer_user *user, struct vhdx_open_layer *mine)
{
	struct vhdx_claim *claim = &user->container.claim;
	struct vhdx_open_layer *layer;
	int same = 1;

	/* Where it can't be told whether it is the same, each keeps what it has opened. */
	while (same >= 0 && (layer = vhdx_claim_share(claim, mine, get)) != mine) {
		same = is_as_opened(layer, &user->container);
		if (same > 0 && add_user(layer, user))
			return layer;
		if (!same)
			WRITE_ONCE(layer->outdated, true);
		vhdx_claim_unshare(claim);
		put(layer);
	}
	return mine;
}

static int was_cut(struct vhdx_diag *diag)
{
	return vhdx_io_failed(diag, -EIO, "container: it was cut while it was opened; put it back from a copy, and attach again");
}

/* What was read for a task that is killed may have been cut short: no disk uses it. */
static int load(struct vhdx_open_layer *layer, struct vhdx_layer_user *user,
		struct vhdx_diag *diag)
{
	int err = vhdx_layer_load(layer, user, diag);

	if (!err && fatal_signal_pending(current))
		err = -EINTR;
	if (!err && !vhdx_container_is_whole(&user->container))
		err = was_cut(diag);
	return err;
}

static int open_own(struct vhdx_layer_user *user, struct vhdx_diag *diag)
{
	struct vhdx_open_layer *mine = vhdx_layer_alloc(&user->container);
	int err;

	if (!mine)
		return vhdx_no_memory(diag);
	mine->parent = user->parent;
	err = load(mine, user, diag);
	if (err) {
		put(mine);
		return err;
	}
	user->layer = user->container.read_only ? share(user, mine) : mine;
	if (user->layer != mine)
		put(mine);
	else if (!add_user(mine, user))
		return was_cut(diag);
	return 0;
}

/**
 * vhdx_layer_open() - open a container for a disk
 * @user:	zeroed but for ops, disk, parent and container.claim.disk; vhdx_layer_close() it
 *		whatever this returns, and before the parent
 * @file:	from vhdx_container_file()
 * @read_only:	never write
 * @diag:	what is wrong
 *
 * Process context. Returns 0; what vhdx_container_open() says; -EUCLEAN damaged; -EOPNOTSUPP;
 * -EINTR killed; or -errno.
 */
int vhdx_layer_open(struct vhdx_layer_user *user, struct file *file, bool read_only,
		    struct vhdx_diag *diag)
{
	int err = vhdx_container_open(&user->container, file, read_only, "container", diag);

	if (err)
		return err;
	INIT_LIST_HEAD(&user->link);
	if (read_only)
		user->layer = share(user, NULL);
	if (!user->layer)
		return open_own(user, diag);
	return vhdx_container_suits(&user->container, user->layer->image.geo.logical_sector_size,
				    diag);
}

/**
 * vhdx_layer_close() - use it no more; harmless where nothing is open
 * @user:	its I/O has ended, and its queues are gone
 *
 * Sleeps; no lock is held. The last one to use a layer frees it. The locks on the file are gone
 * when this returns.
 */
void vhdx_layer_close(struct vhdx_layer_user *user)
{
	struct vhdx_open_layer *layer = user->layer;

	if (layer) {
		forget_user(layer, user);
		vhdx_claim_unshare(&user->container.claim);
		put(layer);
	}
	user->layer = NULL;
	vhdx_container_close_now(&user->container);
}
