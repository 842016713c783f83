/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One VHDX file in use. (struct vhdx_layer of the uapi header is what an attach is given for it.)
 *
 * It knows no disk: a user hands in what it wants to be told (struct vhdx_layer_ops).
 *
 * A layer that is only read is one for all disks that read it (share.c): image, log and metadata
 * pages are in memory once. Each of them has its own descriptor of the container nevertheless,
 * and reads payload and pages through that one alone (rule K5): none waits for I/O of another
 * when it is detached, and its locks go with it.
 */
#ifndef VHDX_OPEN_LAYER_H
#define VHDX_OPEN_LAYER_H

#include "mapping.h"
#include "bitmap.h"
#include "block_op.h"
#include "core/vhdx/image.h"
#include "core/vhdx/overlay.h"
#include "header.h"
#include "journal.h"
#include "pages.h"
#include "space.h"
#include "store/container.h"

#include <linux/refcount.h>

struct vhdx_open_layer;

/**
 * struct vhdx_layer_ops - what a layer tells each of its users; in any context
 * @lost:	the container was cut, or another image was written over it. Once; @how: for the
 *		kernel log
 * @failed:	@what is on disk may not be what was acknowledged (error @err): no more writes
 * @refused:	it is damaged (@why): no more blocks are allocated
 * @replays:	its log is about to be replayed on disk: headers with numbers up to @sequence are
 *		written. While it is opened, by the task that does; may sleep. Returns 0; or
 *		-errno, with what is wrong: it is not to be
 */
struct vhdx_layer_ops {
	void (*lost)(void *disk, const char *how);
	void (*failed)(void *disk, const char *what, int err);
	void (*refused)(void *disk, const char *why);
	int (*replays)(void *disk, struct vhdx_open_layer *layer, u64 sequence,
		       struct vhdx_diag *diag);
};

/**
 * struct vhdx_layer_user - one disk's use of a layer
 * @ops:	what is told to @disk
 * @parent:	the layer below it in the disk's chain; NULL: it is the last one
 * @layer:	NULL: not open
 * @link:	in layer->users
 * @container:	the disk's own descriptor of the bytes; its claim has the number of the disk
 */
struct vhdx_layer_user {
	const struct vhdx_layer_ops *ops;
	void *disk;
	const struct vhdx_open_layer *parent;
	struct vhdx_open_layer *layer;
	struct list_head link;
	struct vhdx_container container;
};

/**
 * struct vhdx_session - one use of a layer for writing (disk/session.c)
 * @begin_lock:	beginning; comes before tracker->tree
 * @begun:	FileWriteGuid and DataWriteGuid are renewed: writes may go out. A task that changes
 *		the sidecar looks again with tracker->tree held: a shutdown ends the session
 * @file_write_guid_renewed: it was, for a replay at attach
 */
struct vhdx_session {
	struct mutex begin_lock;
	bool begun;
	bool file_write_guid_renewed;
};

/**
 * struct vhdx_writer - what a layer has besides where it is written
 * @container:	of the disk that writes it; NULL: it is only read
 * @session:	whether it is written already
 * @header:	its updates
 * @journal:	of metadata pages
 * @space:	for new blocks
 * @bitmaps:	sector bitmaps that were made lately
 * @blocks:	operations on blocks; made and freed by the disk, with its queues
 * @commit_wq:	where the journal commits, and @space_wq: where room is made; set by the disk
 */
struct vhdx_writer {
	struct vhdx_container *container;
	struct vhdx_session session;
	struct vhdx_header_copies header;
	struct vhdx_journal journal;
	struct vhdx_allocator space;
	struct vhdx_bitmaps bitmaps;
	struct vhdx_block_ops blocks;
	struct workqueue_struct *commit_wq;
	struct workqueue_struct *space_wq;
};

/**
 * struct vhdx_open_layer - see the file comment
 * @refs:	one for each user
 * @users_lock:	@users and @lost; any context, and the callbacks are called under it
 * @users:	are told what happens to it; several only where it is read
 * @parent:	that each of them has below it; only to compare
 * @lost:	the users were told so: it gets no other ones
 * @outdated:	the container is not what it was when it was opened: the layer gets no other users,
 *		and those that it has go on as if each had opened it alone
 * @mapping:	where blocks are in it
 * @span:	what one write may be of that changes the mapping, in bytes of the disk, from a
 *		multiple of that on: a block, or what a page of its sector bitmap has bits of
 * @size:	of the container when it was opened, in bytes
 * @overlay:	what its log says, for a read-only attach; or NULL
 * @image:	header (writer.header.lock), geometry, extents
 * @pages:	metadata in memory
 * @replayed:	the log was dirty when it was opened
 * @found_sequence: SequenceNumber of the header then, before anything was written
 * @writer:	where it is written
 */
struct vhdx_open_layer {
	refcount_t refs;
	spinlock_t users_lock;
	struct list_head users;
	const struct vhdx_open_layer *parent;
	bool lost;
	bool outdated;
	const struct vhdx_mapping_ops *mapping;
	u32 span;
	u64 size;
	struct vhdx_overlay *overlay;
	struct vhdx_image image;
	struct vhdx_page_cache pages;
	bool replayed;
	u64 found_sequence;
	struct vhdx_writer writer;
};

/* share.c: use */
int vhdx_layer_open(struct vhdx_layer_user *user, struct file *file, bool read_only,
		    struct vhdx_diag *diag);
void vhdx_layer_close(struct vhdx_layer_user *user);

/* layer.c: what is opened */
struct vhdx_open_layer *vhdx_layer_alloc(struct vhdx_container *container);
int vhdx_layer_load(struct vhdx_open_layer *layer, struct vhdx_layer_user *user,
		    struct vhdx_diag *diag);
void vhdx_layer_free(struct vhdx_open_layer *layer);
int vhdx_layer_read_metadata(struct vhdx_open_layer *layer, struct vhdx_container *container,
			     u64 offset, void *buf, size_t length);
bool vhdx_layer_is_lost(struct vhdx_open_layer *layer, struct vhdx_container *container);
void vhdx_layer_lose(struct vhdx_open_layer *layer, const char *how);
void vhdx_layer_failed(struct vhdx_open_layer *layer, const char *what, int err);
void vhdx_layer_refused(struct vhdx_open_layer *layer, const char *why);

static inline bool vhdx_layer_is_read_only(const struct vhdx_open_layer *layer)
{
	return !layer->writer.container;
}

static inline bool vhdx_writer_is_lost(struct vhdx_open_layer *layer)
{
	return vhdx_layer_is_lost(layer, layer->writer.container);
}

static inline bool vhdx_session_has_begun(const struct vhdx_session *session)
{
	/* Pairs with the release in vhdx_session_begin(). */
	return smp_load_acquire(&session->begun);
}

#endif
