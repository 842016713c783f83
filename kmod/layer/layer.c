// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a layer is made of: its log is replayed, its structures are read and judged.
 */
#include "layer.h"
#include "core/vhdx/bitmap.h"
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
	struct vhdx_layer_user *user;
	unsigned long flags;

	spin_lock_irqsave(&layer->users_lock, flags);
	list_for_each_entry(user, &layer->users, link)
		user->ops->failed(user->disk, what, err);
	spin_unlock_irqrestore(&layer->users_lock, flags);
}

/**
 * vhdx_layer_refused() - no more blocks are allocated
 * @layer:	open for writing: in one that is read none ever is
 * @why:	for the kernel log
 */
void vhdx_layer_refused(struct vhdx_open_layer *layer, const char *why)
{
	struct vhdx_layer_user *user;
	unsigned long flags;

	spin_lock_irqsave(&layer->users_lock, flags);
	list_for_each_entry(user, &layer->users, link)
		user->ops->refused(user->disk, why);
	spin_unlock_irqrestore(&layer->users_lock, flags);
}

/**
 * vhdx_layer_lose() - the container is not what was opened any more
 * @layer:	open
 * @how:	what was found, for the kernel log
 *
 * Any context. It is lost for all its users, whichever of them sees it first.
 */
void vhdx_layer_lose(struct vhdx_open_layer *layer, const char *how)
{
	struct vhdx_layer_user *user;
	unsigned long flags;

	spin_lock_irqsave(&layer->users_lock, flags);
	if (!layer->lost) {
		WRITE_ONCE(layer->lost, true);
		list_for_each_entry(user, &layer->users, link) {
			WRITE_ONCE(user->container.lost, true);
			user->ops->lost(user->disk, how);
		}
	}
	spin_unlock_irqrestore(&layer->users_lock, flags);
}

/* Apart: all I/O looks, and the compiler clears a buffer on the way in. */
static noinline void lose_what_was_cut(struct vhdx_open_layer *layer, struct vhdx_container *c)
{
	char how[80];

	snprintf(how, sizeof(how), "was cut by somebody else: it had %llu bytes, and has %llu",
		 READ_ONCE(c->size), vhdx_container_length(c));
	vhdx_layer_lose(layer, how);
}

/**
 * vhdx_layer_is_lost() - look whether the container is still as long as it was
 * @layer:	open
 * @c:		the descriptor of it that the caller uses
 *
 * Any context, and cheap. A replacement of the same length is for the header to show.
 */
bool vhdx_layer_is_lost(struct vhdx_open_layer *layer, struct vhdx_container *c)
{
	if (likely(vhdx_container_is_whole(c)))
		return false;
	if (!READ_ONCE(layer->lost))
		lose_what_was_cut(layer, c);
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
static int replay_on_disk(struct vhdx_open_layer *layer, struct vhdx_layer_user *user,
			  struct vhdx_diag *diag)
{
	static const vhdx_guid empty;
	struct vhdx_container *c = layer->writer.container;
	struct vhdx_log_scan *log = &layer->image.log;
	vhdx_guid file_write_guid;
	u64 from;
	int err;

	/* A container that must be refused is refused before the first byte is written. */
	err = vhdx_container_may_grow(c, log->last_file_offset);
	if (err)
		return no_room_for_replay(layer, err, diag);
	/* Two updates, of both copies each. */
	err = user->ops->replays(user->disk, layer, layer->image.header.sequence + 4, diag);
	if (err)
		return err;
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

static int replay_in_memory(struct vhdx_open_layer *layer, struct vhdx_container *container,
			    struct vhdx_diag *diag)
{
	layer->overlay = kzalloc(sizeof(*layer->overlay), GFP_KERNEL);
	if (!layer->overlay)
		return -ENOMEM;
	return vhdx_overlay_init(layer->overlay, &container->store, &layer->image, diag);
}

static void drop_overlay(struct vhdx_open_layer *layer)
{
	if (layer->overlay)
		vhdx_overlay_release(layer->overlay);
	kfree(layer->overlay);
	layer->overlay = NULL;
}

static int load_image(struct vhdx_open_layer *layer, struct vhdx_container *container,
		      struct vhdx_store *store, struct vhdx_diag *diag)
{
	int err = vhdx_image_load(&layer->image, store, diag);

	if (err)
		return err;
	layer->span = layer->image.geo.block_size;
	if (layer->image.geo.has_parent)
		layer->span = min_t(u64, layer->span, vhdx_bitmap_page_span(&layer->image.geo));
	return vhdx_container_suits(container, layer->image.geo.logical_sector_size, diag);
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
static int open_image(struct vhdx_open_layer *layer, struct vhdx_layer_user *user,
		      struct vhdx_diag *diag)
{
	struct vhdx_container *container = &user->container;
	struct vhdx_store *store = &container->store;
	unsigned int flags;
	int err;

	err = container->read_only ?
	      vhdx_image_open_to_read(&layer->image, store, NULL, diag) :
	      vhdx_image_open(&layer->image, store, diag);
	layer->found_sequence = layer->image.header.sequence;
	if (err || !layer->image.log.dirty)
		return err ?: load_image(layer, container, store, diag);

	layer->replayed = true;
	err = replay_in_memory(layer, container, diag);
	if (!err)
		err = load_image(layer, container, &layer->overlay->store, diag);
	else if (err == -EOPNOTSUPP && !container->read_only)
		err = forgive(diag);	/* too much for memory; not for the disk */
	if (err || container->read_only)
		return err;
	drop_overlay(layer);
	flags = vhdx_scope_enter();
	err = replay_on_disk(layer, user, diag);
	vhdx_scope_leave(flags);
	return err ?: load_image(layer, container, store, diag);
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

/**
 * vhdx_layer_read_metadata() - read as it is in the container, or as its log says
 * @layer:	open
 * @container:	the caller's own descriptor
 * @offset:	of a page, in the container
 * @buf:	from kvmalloc(), or kmalloc()
 * @length:	of whole pages
 *
 * What was read from a container that is lost meanwhile may be another image's. Sleeps. Returns 0
 * or -errno.
 */
int vhdx_layer_read_metadata(struct vhdx_open_layer *layer, struct vhdx_container *container,
			     u64 offset, void *buf, size_t length)
{
	struct vhdx_store *store = &container->store;
	struct vhdx_overlay view;
	int err;

	if (layer->overlay) {
		vhdx_overlay_through(&view, layer->overlay, store);
		store = &view.store;
	}
	err = store->read(store, offset, buf, length);
	return vhdx_layer_is_lost(layer, container) ? -EIO : err;
}

static int read_page(struct vhdx_page_cache *pages, struct vhdx_container *container, u64 offset,
		     void *buf)
{
	return vhdx_layer_read_metadata(layer_of(pages), container, offset, buf, VHDX_PAGE);
}

static int reserve_page(struct vhdx_page_cache *pages, u64 offset, const void *buf)
{
	struct vhdx_store *store = &layer_of(pages)->writer.container->store;

	return store->write(store, offset, buf, VHDX_PAGE);
}

static void hurry(struct vhdx_page_cache *pages)
{
	vhdx_journal_hurry(&layer_of(pages)->writer.journal);
}

static const struct vhdx_page_cache_ops pages_to_read = {
	.read	= read_page,
};

static const struct vhdx_page_cache_ops full_size_pages = {
	.read	= read_page,
	.hurry	= hurry,
};

static const struct vhdx_page_cache_ops sparse_pages = {
	.read	 = read_page,
	.reserve = reserve_page,
	.hurry	 = hurry,
};

static const struct vhdx_page_cache_ops *kind_of_pages(const struct vhdx_container *writer)
{
	if (!writer)
		return &pages_to_read;
	return writer->ops->can_grow ? &sparse_pages : &full_size_pages;
}

static int prepare_pages(struct vhdx_open_layer *layer)
{
	const struct vhdx_container *writer = layer->writer.container;
	const struct vhdx_geometry *geo = &layer->image.geo;
	u64 most = DIV_ROUND_UP(geo->bat_entry_count, VHDX_PAGE_ENTRIES);

	if (geo->has_parent)
		most += DIV_ROUND_UP_ULL(geo->disk_size, vhdx_bitmap_page_span(geo));
	return vhdx_page_cache_init(&layer->pages, kind_of_pages(writer), most, writer);
}

/* ---- life ------------------------------------------------------------------------------- */

/**
 * vhdx_layer_alloc() - a layer that nothing is known of
 * @container:	open, of the disk that it is for
 *
 * With one reference, for a disk that is not among its users yet. Returns NULL without memory.
 * vhdx_layer_free() it.
 */
struct vhdx_open_layer *vhdx_layer_alloc(struct vhdx_container *container)
{
	struct vhdx_open_layer *layer = kzalloc(sizeof(*layer), GFP_KERNEL);

	if (!layer)
		return NULL;
	refcount_set(&layer->refs, 1);
	spin_lock_init(&layer->users_lock);
	INIT_LIST_HEAD(&layer->users);
	layer->mapping = &vhdx_mapping_bat;
	layer->size = container->size;
	layer->writer.container = container->read_only ? NULL : container;
	mutex_init(&layer->writer.session.begin_lock);
	vhdx_journal_init(&layer->writer.journal, layer);
	vhdx_allocator_init(&layer->writer.space);
	vhdx_bitmaps_init(&layer->writer.bitmaps);
	if (vhdx_header_copies_init(&layer->writer.header)) {
		vhdx_layer_free(layer);
		return NULL;
	}
	return layer;
}

/**
 * vhdx_layer_load() - read and judge what the container says of itself
 * @layer:	nothing is known of it; after a failure it is only good for vhdx_layer_free()
 * @user:	with the container that it was allocated for; not among its users yet
 * @diag:	what is wrong
 *
 * Process context. Returns 0; -EUCLEAN damaged; -EOPNOTSUPP; or -errno.
 */
int vhdx_layer_load(struct vhdx_open_layer *layer, struct vhdx_layer_user *user,
		    struct vhdx_diag *diag)
{
	int err = open_image(layer, user, diag);

	if (!err && prepare_pages(layer))
		err = vhdx_no_memory(diag);
	return err;
}

/**
 * vhdx_layer_free() - forget it
 * @layer:	without a user; the queues of its writer are gone
 */
void vhdx_layer_free(struct vhdx_open_layer *layer)
{
	vhdx_journal_destroy(&layer->writer.journal);
	vhdx_header_copies_destroy(&layer->writer.header);
	vhdx_allocator_destroy(&layer->writer.space);
	vhdx_page_cache_destroy(&layer->pages);
	close_image(layer);
	kfree(layer);
}
