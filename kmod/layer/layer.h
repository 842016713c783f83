/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One VHDX file in use. (struct vhdx_layer of the uapi header is what an attach is given for it.)
 *
 * It knows no disk: whoever uses it hands in what there is to tell (struct vhdx_layer_ops).
 */
#ifndef VHDX_OPEN_LAYER_H
#define VHDX_OPEN_LAYER_H

#include "bat.h"
#include "block_op.h"
#include "core/vhdx/image.h"
#include "core/vhdx/overlay.h"
#include "header.h"
#include "journal.h"
#include "pages.h"
#include "space.h"
#include "store/container.h"

/**
 * struct vhdx_layer_ops - what a layer tells whoever uses it
 * @lost:	somebody cut the container, or wrote something else over it. Once, in any context;
 *		@how: for the kernel log
 * @failed:	@what is on disk may not be what was acknowledged (error @err): no more writes
 */
struct vhdx_layer_ops {
	void (*lost)(void *user, const char *how);
	void (*failed)(void *user, const char *what, int err);
};

/**
 * struct vhdx_session - one use of a layer for writing (disk/session.c)
 * @begin_lock:	beginning; comes before the tracker's lock
 * @begun:	FileWriteGuid and DataWriteGuid are renewed: writes may go out. Who changes the
 *		sidecar looks again with the tracker's lock held: a shutdown ends the session
 * @file_write_guid_renewed: it was, for a replay at attach
 */
struct vhdx_session {
	struct mutex begin_lock;
	bool begun;
	bool file_write_guid_renewed;
};

/**
 * struct vhdx_writer - what a layer has besides where it is written
 * @session:	whether it is
 * @header:	its updates
 * @journal:	of metadata pages
 * @space:	for new blocks
 * @blocks:	operations on blocks; made and freed by the user, with his queues
 * @commit_wq:	where the journal commits, and @space_wq: where room is made; set by the user
 */
struct vhdx_writer {
	struct vhdx_session session;
	struct vhdx_header_copies header;
	struct vhdx_journal journal;
	struct vhdx_allocator space;
	struct vhdx_block_ops blocks;
	struct workqueue_struct *commit_wq;
	struct workqueue_struct *space_wq;
};

/**
 * struct vhdx_open_layer - see the file comment
 * @ops:	what is told to @user
 * @container:	the bytes; its claim has the number of the disk, for messages
 * @map:	where blocks are in it
 * @overlay:	the container seen through its log, for a read-only attach; or NULL
 * @store:	where metadata is read: the container's store or the overlay's
 * @image:	header (writer.header.lock), geometry, extents
 * @pages:	metadata in memory
 * @replayed:	the log was dirty when it was opened
 * @lost_told:	@ops->lost() was called
 * @writer:	where it is written
 */
struct vhdx_open_layer {
	const struct vhdx_layer_ops *ops;
	void *user;
	struct vhdx_container container;
	const struct vhdx_map_ops *map;
	struct vhdx_overlay *overlay;
	struct vhdx_store *store;
	struct vhdx_image image;
	struct vhdx_page_cache pages;
	bool replayed;
	bool lost_told;
	struct vhdx_writer writer;
};

struct vhdx_open_layer *vhdx_layer_alloc(int disk, const struct vhdx_layer_ops *ops, void *user);
int vhdx_layer_open(struct vhdx_open_layer *layer, int fd, bool read_only,
		    struct vhdx_diag *diag);
int vhdx_layer_prepare(struct vhdx_open_layer *layer);
void vhdx_layer_free(struct vhdx_open_layer *layer);
bool vhdx_layer_is_lost(struct vhdx_open_layer *layer);
void vhdx_layer_lose(struct vhdx_open_layer *layer, const char *how);
void vhdx_layer_failed(struct vhdx_open_layer *layer, const char *what, int err);

static inline bool vhdx_session_has_begun(const struct vhdx_session *session)
{
	/* Pairs with the release in vhdx_session_begin(). */
	return smp_load_acquire(&session->begun);
}

#endif
