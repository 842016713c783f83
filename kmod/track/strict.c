// SPDX-License-Identifier: GPL-2.0-only
#include "strict.h"
#include "core/rct/ondisk.h"
#include "layer/layer.h"
#include "open_sidecar.h"
#include "store/scope.h"

#include <linux/slab.h>

/* The sectors of the coarse area are written first: one flush makes them durable with the token. */
static void write_work(struct work_struct *work)
{
	struct vhdx_strict *strict = container_of(work, struct vhdx_strict, work);
	struct vhdx_coarse *coarse = strict->coarse;
	unsigned int flags = vhdx_scope_enter();
	int err;

	do {
		err = vhdx_coarse_write(coarse, strict->writing) ?:
		      vhdx_sidecar_write_token(coarse->sidecar, &strict->token, strict->block);
	} while (vhdx_coarse_tries_again(coarse, err));
	strict->err = err;
	vhdx_scope_leave(flags);
	complete(&strict->done);
}

static void name_sectors(const struct vhdx_coarse_geometry *geo, u64 blocks,
			 struct vhdx_token *token)
{
	const u32 per_block = VHDX_SIDECAR_BLOCK / VHDX_COARSE_SECTOR;
	u32 i;

	for (i = 0; i < geo->sectors; i++)
		if (blocks >> (i / per_block) & 1)
			token->sectors[i >> 6] |= 1ULL << (i & 63);
}

/* With @blocks the committer waits for this: nobody else counts sectors meanwhile. */
static void make_token(struct vhdx_strict *strict, u64 sequence, u64 blocks)
{
	struct vhdx_coarse *coarse = strict->coarse;
	struct vhdx_token *token = &strict->token;

	memset(token, 0, sizeof(*token));
	token->sequence = sequence;
	spin_lock_irq(&coarse->lock);
	token->commit = max(coarse->regions.commit, coarse->sidecar->token.commit) + 1;
	if (blocks)
		coarse->regions.commit = token->commit;
	spin_unlock_irq(&coarse->lock);
	name_sectors(&coarse->regions.geo, blocks, token);
	strict->writing = blocks;
}

static int write_in_time(struct vhdx_strict *strict, u64 sequence, u64 blocks)
{
	make_token(strict, sequence, blocks);
	reinit_completion(&strict->done);
	queue_work(strict->wq, &strict->work);
	if (!wait_for_completion_timeout(&strict->done, vhdx_sidecar_timeout()))
		return -ETIMEDOUT;
	return strict->err;
}

/* The header may have to stay as it is, rather than to say that the sidecar can't be believed. */
static int announce(struct vhdx_strict *strict, u64 sequence, u64 blocks)
{
	struct vhdx_coarse *coarse = strict->coarse;
	int err = write_in_time(strict, sequence, blocks);

	if (!err)
		return 0;
	strict->failed = err;
	return coarse->host->insists && !vhdx_open_sidecar_is_removed(coarse->sidecar) ?
	       -ECANCELED : err;
}

/* Whoever updates the header goes on; that the sidecar is given up is for another task. */
static int announce_update(void *context, u64 sequence)
{
	struct vhdx_strict *strict = context;
	int err = announce(strict, sequence, 0);

	if (err)
		queue_work(strict->coarse->host->deadline_wq, &strict->fail_work);
	return err;
}

static int announce_commit(void *context, u64 sequence)
{
	struct vhdx_strict *strict = context;

	return announce(strict, sequence, strict->blocks);
}

static void fail_work(struct work_struct *work)
{
	struct vhdx_strict *strict = container_of(work, struct vhdx_strict, fail_work);
	unsigned int flags = vhdx_scope_enter();

	vhdx_coarse_fail(strict->coarse, strict->failed);
	vhdx_scope_leave(flags);
}

/**
 * vhdx_strict_start() - the sidecar is told of the header as it is, and of all that follow
 * @strict:	new
 *
 * Before a header of the sidecar says that its tokens count. Sleeps, up to the deadline. Returns 0
 * or -errno.
 */
int vhdx_strict_start(struct vhdx_strict *strict)
{
	struct vhdx_open_layer *layer = strict->layer;
	int err = layer->mapping->announce(layer, announce_update, strict);

	return err == -ECANCELED ? strict->failed : err;
}

/**
 * vhdx_strict_commit() - a commit of the coarse area, durably, and known to the container
 * @strict:	of the coarse area
 * @blocks:	to write
 *
 * By the committer. Sleeps, up to the deadline, and as long as the container takes. Returns 0; or
 * -errno, and the sidecar is not to be believed any more.
 */
int vhdx_strict_commit(struct vhdx_strict *strict, u64 blocks)
{
	struct vhdx_open_layer *layer = strict->layer;
	struct vhdx_coarse *coarse = strict->coarse;
	int err;

	spin_lock_irq(&coarse->lock);
	err = coarse->failed;
	strict->stepping = !err;
	spin_unlock_irq(&coarse->lock);
	if (err)
		return err;
	strict->blocks = blocks;
	err = layer->mapping->step(layer, announce_commit, strict);
	if (err == -ECANCELED && strict->failed)
		err = strict->failed;
	WRITE_ONCE(strict->stepping, false);
	wake_up_all(&coarse->idle);
	return err;
}

/**
 * vhdx_strict_stop() - the sidecar is not told of headers any more
 * @strict:	or NULL; of a coarse map that is given up
 *
 * Sleeps, as long as an update of the header takes. After it the layer is not called.
 */
void vhdx_strict_stop(struct vhdx_strict *strict)
{
	if (!strict)
		return;
	wait_event(strict->coarse->idle, !READ_ONCE(strict->stepping));
	strict->layer->mapping->announce(strict->layer, NULL, NULL);
	cancel_work_sync(&strict->fail_work);
}

/**
 * vhdx_strict_free() - free its memory
 * @strict:	stopped, or never started; or NULL
 *
 * Sleeps, as long as a token hangs that is under way.
 */
void vhdx_strict_free(struct vhdx_strict *strict)
{
	if (!strict)
		return;
	destroy_workqueue(strict->wq);
	kfree(strict->block);
	kfree(strict);
}

/**
 * vhdx_strict_new() - nothing is written yet
 * @coarse:	about to be initialised
 * @host:	of it, with a layer whose header the sidecar is to be told of
 *
 * Returns NULL without memory.
 */
struct vhdx_strict *vhdx_strict_new(struct vhdx_coarse *coarse,
				    const struct vhdx_coarse_host *host)
{
	struct vhdx_strict *strict = kzalloc(sizeof(*strict), GFP_KERNEL);

	if (!strict)
		return NULL;
	strict->block = kzalloc(VHDX_SIDECAR_BLOCK, GFP_KERNEL);
	strict->wq = alloc_workqueue("vhdx%d-token", WQ_UNBOUND | WQ_MEM_RECLAIM, 1,
				     host->disk);
	if (!strict->block || !strict->wq)
		goto fail;
	strict->coarse = coarse;
	strict->layer = host->strict_layer;
	INIT_WORK(&strict->work, write_work);
	init_completion(&strict->done);
	INIT_WORK(&strict->fail_work, fail_work);
	return strict;
fail:
	if (strict->wq)
		destroy_workqueue(strict->wq);
	kfree(strict->block);
	kfree(strict);
	return NULL;
}
