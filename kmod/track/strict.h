/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tokens of a strict sidecar while its disk is written (core/rct/token.h, rule T6).
 *
 * Before the header of the container is written, for whatever reason, the sidecar is told, durably,
 * which number it will have. And for each commit of the coarse area it is written, so that every
 * sidecar from before that commit knows of less than the header has.
 *
 * The lock of the header is held over this, which invalidation needs (rule T7): whoever holds it
 * waits for a worker, and no longer than the deadline. If the token can't be written in time the
 * header gets a DataWriteGuid that the sidecar does not know, in that same update. Or, where writes
 * are to fail then, it is not written, then or later: the number that it keeps is one that the
 * sidecar was told.
 */
#ifndef VHDX_TRACK_STRICT_H
#define VHDX_TRACK_STRICT_H

#include "core/rct/token.h"

#include <linux/completion.h>
#include <linux/workqueue.h>

struct vhdx_coarse;
struct vhdx_coarse_host;
struct vhdx_open_layer;

/**
 * struct vhdx_strict - see the file comment
 * @coarse:	whose sidecar it is
 * @layer:	whose header it is
 * @blocks:	of the coarse area, that the commit under way is to write; the committer's
 * @writing:	those that are written with @token
 * @token:	that is written, or was last
 * @block:	scratch
 * @wq:		for @work alone: holders of the header's lock wait for it
 * @work:	writes
 * @done:	it has
 * @err:	what it ended with
 * @stepping:	the committer is about to have the header written, or does so
 * @fail_work:	gives the sidecar up, once the lock of the header is free
 * @failed:	why a token could not be written
 */
struct vhdx_strict {
	struct vhdx_coarse *coarse;
	struct vhdx_open_layer *layer;
	u64 blocks;
	u64 writing;
	struct vhdx_token token;
	void *block;
	struct workqueue_struct *wq;
	struct work_struct work;
	struct completion done;
	int err;
	bool stepping;
	struct work_struct fail_work;
	int failed;
};

struct vhdx_strict *vhdx_strict_new(struct vhdx_coarse *coarse,
				    const struct vhdx_coarse_host *host);
int vhdx_strict_start(struct vhdx_strict *strict);
int vhdx_strict_commit(struct vhdx_strict *strict, u64 blocks);
void vhdx_strict_stop(struct vhdx_strict *strict);
void vhdx_strict_free(struct vhdx_strict *strict);

static inline bool vhdx_strict_is_busy(struct vhdx_strict *strict)
{
	return strict && work_busy(&strict->work);
}

#endif
