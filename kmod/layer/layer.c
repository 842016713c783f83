// SPDX-License-Identifier: GPL-2.0-only
/*
 * A layer is opened: its log is replayed, its structures are read and judged.
 */
#include "layer.h"
#include "store/scope.h"

#include <linux/slab.h>
#include <linux/uuid.h>
#include <uapi/linux/vhdx.h>

/* ---- when things go wrong ------------------------------------------------------------------ */

/**
 * vhdx_layer_failed() - no more writes: what is on disk may not be what was acknowledged
 * @layer:	open for writing
 * @what:	failed
 * @err:	how
 */
void vhdx_layer_failed(struct vhdx_open_layer *layer, const char *what, int err)
{
	layer->ops->failed(layer->user, what, err);
}

/**
 * vhdx_layer_lose() - the container is not what was opened any more
 * @layer:	open
 * @how:	what was found, for the kernel log
 *
 * Any context.
 */
void vhdx_layer_lose(struct vhdx_open_layer *layer, const char *how)
{
	if (xchg(&layer->lost_told, true))
		return;
	WRITE_ONCE(layer->container.lost, true);
	layer->ops->lost(layer->user, how);
}

/**
 * vhdx_layer_is_lost() - look whether the container is still as long as it was
 * @layer:	open
 *
 * Any context, and cheap. A replacement of the same length is for the header to show.
 */
bool vhdx_layer_is_lost(struct vhdx_open_layer *layer)
{
	struct vhdx_container *c = &layer->container;
	char how[80];

	if (likely(vhdx_container_is_whole(c)))
		return false;
	if (!READ_ONCE(layer->lost_told)) {
		snprintf(how, sizeof(how), "was cut by somebody else: it had %llu bytes, and has %llu",
			 READ_ONCE(c->size), vhdx_container_length(c));
		vhdx_layer_lose(layer, how);
	}
	return true;
}

/* ---- the log, and what is behind it --------------------------------------------------------- */

static int no_room_for_replay(const struct vhdx_open_layer *layer, int err, struct vhdx_diag *diag)
{
	return vhdx_fail(diag, err, VHDX_REASON_NO_SPACE,
		"log: the container must grow to %llu bytes to replay it, and can't (error %d)",
		layer->image.log.last_file_offset, err);
}

/*
 * Replay on disk: FileWriteGuid first (MS-VHDX 2.2.2), then what was logged, then the
 * header that says the log is empty. What users see does not change, so DataWriteGuid
 * stays: children and sidecars still know the disk.
 */
static int replay_on_disk(struct vhdx_open_layer *layer, struct vhdx_diag *diag)
{
	static const vhdx_guid empty;
	struct vhdx_container *c = &layer->container;
	struct vhdx_log_scan *log = &layer->image.log;
	vhdx_guid file_write_guid;
	u64 from;
	int err;

	/* Who must be refused is refused before the first byte is written. */
	err = vhdx_container_may_grow(c, log->last_file_offset);
	if (err)
		return no_room_for_replay(layer, err, diag);
	generate_random_guid(file_write_guid.b);
	err = vhdx_layer_update_header(layer, &file_write_guid, NULL, NULL);
	if (err)
		return vhdx_io_failed(diag, err, "header: it can't be written (error %d)", err);
	layer->writer.session.file_write_guid_renewed = true;
	err = c->ops->extend(c, log->last_file_offset, &from);
	if (err)
		return no_room_for_replay(layer, err, diag);
	err = vhdx_log_replay(&c->store, &layer->image.header, log, diag);
	if (!err)
		err = c->ops->flush(c);
	c->store.size = c->size;
	if (!err)
		err = vhdx_layer_update_header(layer, NULL, NULL, &empty);
	if (err)
		vhdx_io_failed(diag, err, "log: replaying it failed (error %d)", err);
	return err;
}

static int replay_in_memory(struct vhdx_open_layer *layer, struct vhdx_diag *diag)
{
	int err;

	layer->overlay = kzalloc(sizeof(*layer->overlay), GFP_KERNEL);
	if (!layer->overlay)
		return -ENOMEM;
	err = vhdx_overlay_init(layer->overlay, &layer->container.store, &layer->image, diag);
	if (!err)
		layer->store = &layer->overlay->store;
	return err;
}

static void drop_overlay(struct vhdx_open_layer *layer)
{
	if (layer->overlay)
		vhdx_overlay_release(layer->overlay);
	kfree(layer->overlay);
	layer->overlay = NULL;
	layer->store = &layer->container.store;
}

static int load_image(struct vhdx_open_layer *layer, struct vhdx_diag *diag)
{
	int err = vhdx_image_load(&layer->image, layer->store, diag);

	if (err)
		return err;
	if (layer->image.geo.has_parent)
		return vhdx_unsupported(diag,
			"metadata: this is a differencing disk (it has a parent), which is not supported yet; make one without of it on its Hyper-V host (Convert-VHD)");
	return vhdx_container_suits(&layer->container, layer->image.geo.logical_sector_size, diag);
}

static int forgive(struct vhdx_diag *diag)
{
	memset(diag, 0, sizeof(*diag));
	return 0;
}

/*
 * A dirty log is looked through in memory first, also for writing: a container that is
 * refused for what its log would make of it stays as it was.
 */
static int open_image(struct vhdx_open_layer *layer, struct vhdx_diag *diag)
{
	unsigned int flags;
	int err;

	layer->store = &layer->container.store;
	err = vhdx_image_open(&layer->image, layer->store, diag);
	if (err || !layer->image.log.dirty)
		return err ?: load_image(layer, diag);

	layer->replayed = true;
	err = replay_in_memory(layer, diag);
	if (!err)
		err = load_image(layer, diag);
	else if (err == -EOPNOTSUPP && !layer->container.read_only)
		err = forgive(diag);	/* too much for memory; not for the disk */
	if (err || layer->container.read_only)
		return err;
	drop_overlay(layer);
	flags = vhdx_scope_enter();
	err = replay_on_disk(layer, diag);
	vhdx_scope_leave(flags);
	return err ?: load_image(layer, diag);
}

static void close_image(struct vhdx_open_layer *layer)
{
	vhdx_image_release(&layer->image);
	drop_overlay(layer);
}

/* ---- metadata pages ----------------------------------------------------------------------- */

static struct vhdx_open_layer *layer_of(struct vhdx_page_cache *pages)
{
	return container_of(pages, struct vhdx_open_layer, pages);
}

/* Whoever cut it, or wrote over it, had better not be believed. */
static int read_page(struct vhdx_page_cache *pages, u64 offset, void *buf)
{
	struct vhdx_open_layer *layer = layer_of(pages);
	int err = layer->store->read(layer->store, offset, buf, VHDX_PAGE);

	return vhdx_layer_is_lost(layer) ? -EIO : err;
}

static int reserve_page(struct vhdx_page_cache *pages, u64 offset, const void *buf)
{
	struct vhdx_store *store = &layer_of(pages)->container.store;

	return store->write(store, offset, buf, VHDX_PAGE);
}

static void hurry(struct vhdx_page_cache *pages)
{
	vhdx_journal_hurry(&layer_of(pages)->writer.journal);
}

static const struct vhdx_page_cache_ops full_size_pages = {
	.read	= read_page,
	.hurry	= hurry,
};

static const struct vhdx_page_cache_ops sparse_pages = {
	.read	 = read_page,
	.reserve = reserve_page,
	.hurry	 = hurry,
};

/**
 * vhdx_layer_prepare() - memory for metadata pages
 * @layer:	open
 *
 * Returns 0 or -ENOMEM.
 */
int vhdx_layer_prepare(struct vhdx_open_layer *layer)
{
	const struct vhdx_container *c = &layer->container;

	return vhdx_page_cache_init(&layer->pages,
				    c->ops->can_grow ? &sparse_pages : &full_size_pages,
				    DIV_ROUND_UP(layer->image.geo.bat_entry_count,
						 VHDX_PAGE_ENTRIES),
				    !c->read_only);
}

/* ---- life ------------------------------------------------------------------------------- */

/**
 * vhdx_layer_alloc() - a layer that is not open yet
 * @disk:	number of the disk, for messages and for who asks who uses it
 * @ops:	what @user wants to be told
 * @user:	for @ops
 *
 * Returns NULL without memory. vhdx_layer_free() it.
 */
struct vhdx_open_layer *vhdx_layer_alloc(int disk, const struct vhdx_layer_ops *ops, void *user)
{
	struct vhdx_open_layer *layer = kzalloc(sizeof(*layer), GFP_KERNEL);

	if (!layer)
		return NULL;
	layer->ops = ops;
	layer->user = user;
	layer->container.claim.disk = disk;
	layer->map = &vhdx_map_bat;
	mutex_init(&layer->writer.session.begin_lock);
	vhdx_journal_init(&layer->writer.journal, layer);
	vhdx_allocator_init(&layer->writer.space);
	if (vhdx_header_copies_init(&layer->writer.header)) {
		vhdx_layer_free(layer);
		return NULL;
	}
	return layer;
}

/**
 * vhdx_layer_open() - take over a container that user space opened
 * @layer:	not open; on failure it is only good for vhdx_layer_free()
 * @fd:		regular file or block device
 * @read_only:	never write
 * @diag:	what is wrong
 *
 * Process context. Returns 0; what vhdx_container_open() says; -EUCLEAN damaged; -EOPNOTSUPP;
 * or -errno.
 */
int vhdx_layer_open(struct vhdx_open_layer *layer, int fd, bool read_only, struct vhdx_diag *diag)
{
	int err = vhdx_container_open(&layer->container, fd, read_only, "container", diag);

	return err ?: open_image(layer, diag);
}

/**
 * vhdx_layer_free() - close it
 * @layer:	or NULL; nobody uses it, and its queues are gone
 */
void vhdx_layer_free(struct vhdx_open_layer *layer)
{
	if (!layer)
		return;
	vhdx_journal_destroy(&layer->writer.journal);
	vhdx_header_copies_destroy(&layer->writer.header);
	vhdx_allocator_destroy(&layer->writer.space);
	vhdx_page_cache_destroy(&layer->pages);
	close_image(layer);
	vhdx_container_close_now(&layer->container);
	kfree(layer);
}
