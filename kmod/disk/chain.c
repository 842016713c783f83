// SPDX-License-Identifier: GPL-2.0-only
#include "chain.h"
#include "core/vhdx/locator.h"
#include "disk.h"

#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <uapi/linux/vhdx.h>

/* ---- opened --------------------------------------------------------------------------------- */

/* Those who attach a chain want to know which of its files it is. */
static void name_layer(struct vhdx_diag *diag, unsigned int position)
{
	char text[VHDX_DIAG_TEXT];

	strscpy(text, diag->text, sizeof(text));
	scnprintf(diag->text, sizeof(diag->text), "layer %u: %s", position, text);
}

static int get_files(struct vhdx_layer_files *files, const struct vhdx_layer *layer,
		     bool read_only, bool tracked, struct vhdx_diag *diag)
{
	struct file *file = vhdx_container_file(layer->container_fd, read_only, "container", diag);

	if (IS_ERR(file))
		return PTR_ERR(file);
	files->container = file;
	if (layer->sidecar_fd < 0 || !tracked)
		return 0;
	file = vhdx_container_file(layer->sidecar_fd, read_only, "sidecar", diag);
	if (IS_ERR(file))
		return PTR_ERR(file);
	files->sidecar = file;
	return 0;
}

/**
 * vhdx_chain_get_files() - the files that descriptors of the caller's are for
 * @files:	zeroed; vhdx_chain_put_files() them whatever this returns
 * @layers:	as many as @args says, the leaf first
 * @args:	how the disk is to be attached
 * @diag:	what is wrong, and with which of the parents
 *
 * Returns 0 or -errno, as vhdx_container_file().
 */
int vhdx_chain_get_files(struct vhdx_layer_files *files, const struct vhdx_layer *layers,
			 const struct vhdx_attach *args, struct vhdx_diag *diag)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < args->layer_count && !err; i++) {
		err = get_files(&files[i], &layers[i], i || args->flags & VHDX_ATTACH_READ_ONLY,
				i || !(args->flags & VHDX_ATTACH_NO_TRACK), diag);
		if (err && i)
			name_layer(diag, i);
	}
	if (!err && files->sidecar && vhdx_container_path(files->sidecar, &files->sidecar_path))
		err = vhdx_no_memory(diag);
	return err;
}

/**
 * vhdx_chain_put_files() - what uses them has references of its own
 * @files:	vhdx_chain_get_files()
 * @count:	of layers
 */
void vhdx_chain_put_files(struct vhdx_layer_files *files, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (files[i].container)
			vhdx_container_put_file(files[i].container);
		if (files[i].sidecar)
			vhdx_container_put_file(files[i].sidecar);
		kfree(files[i].sidecar_path);
	}
}

/* Of a layer that is opened for reading the registry of claims does not see that it is twice. */
static int check_unique(const struct vhdx_disk *disk, unsigned int position,
			struct vhdx_diag *diag)
{
	struct inode *inode = vhdx_inode_below(disk->layers[position].container.file);
	unsigned int i;

	for (i = position + 1; i < disk->layer_count; i++) {
		if (vhdx_inode_below(disk->layers[i].container.file) == inode)
			return vhdx_bad_argument(diag,
				"the container is layer %u as well: a chain does not lead back to itself",
				i);
	}
	return 0;
}

/**
 * vhdx_chain_judge() - is what follows its parent, and does one follow exactly where it must?
 * @disk:	all layers behind this one are open
 * @position:	of the layer, 0: the leaf
 * @layer:	which is not the disk's yet
 * @diag:	what is wrong
 *
 * Returns 0; -EINVAL a layer too many, or not enough; -EUCLEAN another one's parent.
 */
int vhdx_chain_judge(const struct vhdx_disk *disk, unsigned int position,
		     const struct vhdx_open_layer *layer, struct vhdx_diag *diag)
{
	bool last = position + 1 == disk->layer_count;

	if (last && layer->image.geo.has_parent)
		return vhdx_bad_argument(diag,
			"metadata: this is a differencing disk: its parent must be the next layer, and is not given");
	if (last)
		return 0;
	if (!layer->image.geo.has_parent)
		return vhdx_bad_argument(diag,
			"metadata: this disk has no parent: it must be the last layer");
	return vhdx_parent_check(&layer->image, &disk->layers[position + 1].layer->image, diag);
}

/* A parent tells of the disk's history, too. */
static int open_layer(struct vhdx_disk *disk, unsigned int position,
		      const struct vhdx_layer_files *files, struct vhdx_diag *diag)
{
	struct vhdx_layer_user *user = &disk->layers[position];
	int err;

	if (position + 1 < disk->layer_count)
		user->parent = disk->layers[position + 1].layer;
	err = vhdx_layer_open(user, files->container, disk->read_only || position, diag);
	if (!err)
		err = check_unique(disk, position, diag);
	if (!err)
		err = vhdx_chain_judge(disk, position, user->layer, diag);
	if (!err && position)
		err = vhdx_past_take(&disk->tracker.past, position - 1, user->layer, disk->index,
				     files->sidecar, diag);
	if (err && position)
		name_layer(diag, position);
	return err;
}

/**
 * vhdx_chain_open() - open the layers of a disk, and see that they belong together
 * @disk:	nothing is known of it
 * @files:	of as many layers as it has, the leaf first
 * @diag:	what is wrong, and with which of the parents
 *
 * The leaf is opened last: once its log is replayed on disk, it must not be refused any more.
 * Process context. Returns 0; -EINTR killed; what vhdx_layer_open() says; what vhdx_chain_judge()
 * says; what vhdx_past_take() says.
 */
int vhdx_chain_open(struct vhdx_disk *disk, const struct vhdx_layer_files *files,
		    struct vhdx_diag *diag)
{
	unsigned int i;
	int err = vhdx_past_init(&disk->tracker.past, disk->layer_count - 1);

	if (err)
		return vhdx_no_memory(diag);
	for (i = disk->layer_count; i && !err; i--) {
		/* A hostile file may take a second to be judged, and there may be 256 of them. */
		if (fatal_signal_pending(current))
			return -EINTR;
		err = open_layer(disk, i - 1, &files[i - 1], diag);
	}
	return err;
}

/* ---- ready for I/O ------------------------------------------------------------------------- */

static int prepare_shortcuts(struct vhdx_disk *disk)
{
	unsigned int i, shift = UINT_MAX;

	for (i = 1; i < disk->layer_count; i++)
		shift = min(shift, disk->layers[i].layer->image.geo.block_shift);
	return vhdx_shortcuts_init(&disk->shortcuts, vhdx_disk_leaf(disk)->image.geo.disk_size,
				   shift);
}

/**
 * vhdx_chain_prepare() - memory to read what is in parents
 * @disk:	open, with its queues
 *
 * vhdx_chain_unprepare() undoes it, also after a failure. Returns 0 or -ENOMEM.
 */
int vhdx_chain_prepare(struct vhdx_disk *disk)
{
	unsigned int i, below = disk->layer_count - 1;
	int err;

	if (!below)
		return 0;
	err = mempool_init_kmalloc_pool(&disk->pins, 1, below * sizeof(struct vhdx_pin));
	if (!err)
		err = bioset_init(&disk->run_bios, BIO_POOL_SIZE, 0, 0);
	if (!err && below > 1)
		err = prepare_shortcuts(disk);
	for (i = 1; i <= below && !err; i++) {
		disk->layers[i].container.queue.workqueue =
			vhdx_disk_container(disk)->queue.workqueue;
		err = vhdx_container_prepare(&disk->layers[i].container);
	}
	return err;
}

/**
 * vhdx_chain_unprepare() - give it back; harmless where there is none
 * @disk:	without I/O; its queues are gone
 */
void vhdx_chain_unprepare(struct vhdx_disk *disk)
{
	unsigned int i;

	for (i = 1; i < disk->layer_count; i++) {
		vhdx_file_queue_release(&disk->layers[i].container.queue);
		disk->layers[i].container.queue.workqueue = NULL;
	}
	vhdx_shortcuts_destroy(&disk->shortcuts);
	bioset_exit(&disk->run_bios);
	mempool_exit(&disk->pins);
}

/* ---- shown ----------------------------------------------------------------------------------- */

/**
 * vhdx_chain_flags() - VHDX_DISK_* as they are of one layer
 * @disk:	open
 * @position:	which one, 0: the leaf
 */
u32 vhdx_chain_flags(struct vhdx_disk *disk, unsigned int position)
{
	struct vhdx_layer_user *user = &disk->layers[position];
	struct vhdx_container_description what;

	vhdx_container_describe(&user->container, &what);
	return (user->container.read_only ? VHDX_DISK_READ_ONLY : 0) |
	       (user->layer->image.geo.fixed ? VHDX_DISK_FIXED : 0) |
	       (user->layer->replayed ? VHDX_DISK_REPLAYED : 0) |
	       (user->container.direct ? VHDX_DISK_DIRECT_IO : 0) |
	       (what.below ? VHDX_DISK_BLOCK : 0) |
	       (!position && vhdx_disk_is_poisoned(disk) ? VHDX_DISK_POISONED : 0) |
	       (vhdx_layer_is_lost(user->layer, &user->container) ? VHDX_DISK_LOST : 0) |
	       (user->layer->image.log.unwritten ? VHDX_DISK_LOG_UNWRITTEN : 0);
}

/**
 * vhdx_chain_info() - VHDX_GET_LAYERS
 * @disk:	kept from being detached
 * @layers:	zeroed; filled in, the leaf first
 * @count:	how many, at most as many as it has
 */
void vhdx_chain_info(struct vhdx_disk *disk, struct vhdx_layer_info *layers, u32 count)
{
	struct vhdx_container_description what;
	const struct vhdx_geometry *geo;
	struct vhdx_layer_user *user;
	vhdx_guid guid;
	u32 i;

	for (i = 0; i < count; i++) {
		user = &disk->layers[i];
		vhdx_container_describe(&user->container, &what);
		user->layer->mapping->guid(user->layer, &guid);
		memcpy(layers[i].data_write_guid, &guid, sizeof(guid));
		layers[i].container_size = vhdx_container_length(&user->container);
		layers[i].container_inode = what.ino;
		layers[i].container_major = MAJOR(what.dev);
		layers[i].container_minor = MINOR(what.dev);
		layers[i].disk_flags = vhdx_chain_flags(disk, i);
		geo = &user->layer->image.geo;
		layers[i].virtual_disk_size = geo->disk_size;
		memcpy(layers[i].virtual_disk_id, &geo->disk_id, sizeof(geo->disk_id));
		layers[i].block_size = geo->block_size;
	}
}

/* ---- mapping through layers ----------------------------------------------------------------- */

/* What one parent says of bytes that no layer above it has. Behind its end there are zeroes. */
static void ask(struct vhdx_open_layer *parent, u64 offset, u64 length,
		struct vhdx_mapping *extent)
{
	u64 size = parent->image.geo.disk_size;

	if (offset < size) {
		length = min(length, size - offset);
		parent->mapping->lookup(parent, offset, length, false, extent);
	} else {
		extent->kind = VHDX_MAPPING_ZERO;
		extent->length = length;
	}
	extent->length = min(extent->length, length);
}

/* Does this parent say that it has anything of the part of the disk that the first byte is in? */
static bool has_something(const struct vhdx_mapping *extent)
{
	return extent->kind != VHDX_MAPPING_UNKNOWN &&
	       (extent->kind != VHDX_MAPPING_PARENT || !extent->absent);
}

/**
 * vhdx_chain_look() - where is what the leaf does not have?
 * @disk:	has parents
 * @offset:	of the disk
 * @wanted:	bytes that are asked for
 * @extent:	of the leaf: VHDX_MAPPING_PARENT; receives what is there, which is not that
 * @container:	receives what it is in
 *
 * For a read; in the read side in which the gate was entered. One look-up for each parent, down to
 * the one that has it, but for those that a shortcut leaves out. What is not known in a parent is
 * not cut: what waits for its pages has no memory of a cut.
 */
void vhdx_chain_look(struct vhdx_disk *disk, u64 offset, u64 wanted, struct vhdx_mapping *extent,
		     struct vhdx_container **container)
{
	unsigned int first = vhdx_shortcut_find(&disk->shortcuts, offset, wanted);
	struct vhdx_layer_user *user = &disk->layers[first ?: 1];

	extent->length = min(extent->length, wanted);
	for (;; user++) {
		ask(user->layer, offset, extent->length, extent);
		if (!first && has_something(extent)) {
			first = user - disk->layers;
			vhdx_shortcut_learn(&disk->shortcuts, offset, first);
		}
		if (extent->kind != VHDX_MAPPING_PARENT)
			break;
	}
	if (extent->kind == VHDX_MAPPING_UNKNOWN)
		extent->length = wanted;
	if (unlikely(vhdx_layer_is_lost(user->layer, &user->container)))
		extent->kind = VHDX_MAPPING_BAD;
	*container = &user->container;
}

/*
 * Is it in none of the first layers, @count of them, and so perhaps in the next one? What the last
 * one does not have is nowhere.
 */
static bool goes_on_below(struct vhdx_disk *disk, unsigned int count, u64 offset)
{
	struct vhdx_open_layer *layer = disk->layers[count - 1].layer;
	struct vhdx_mapping extent;

	rcu_read_lock();
	layer->mapping->lookup(layer, offset, 1, false, &extent);
	rcu_read_unlock();
	return extent.kind == VHDX_MAPPING_PARENT &&
	       offset < disk->layers[count].layer->image.geo.disk_size;
}

/* Pages of each parent that the look-up asks; those that are left out have none. */
static int load_parents(struct vhdx_disk *disk, u64 offset, u64 wanted,
			struct vhdx_chain_pins *pins)
{
	unsigned int position = vhdx_shortcut_find(&disk->shortcuts, offset, wanted) ?: 1;
	struct vhdx_layer_user *user;
	int err;

	pins->below = mempool_alloc(&disk->pins, GFP_NOIO);
	pins->count = position - 1;
	memset(pins->below, 0, pins->count * sizeof(*pins->below));
	do {
		user = &disk->layers[position];
		err = user->layer->mapping->load(user->layer, &user->container, offset,
						 &pins->below[position - 1]);
		if (err)
			return err;
		pins->count = position++;
	} while (goes_on_below(disk, position, offset));
	return 0;
}

/**
 * vhdx_chain_load() - make the next look-up of this offset answer
 * @disk:	prepared
 * @offset:	of the disk
 * @wanted:	bytes that will be asked for
 * @write:	it is written: parents are not asked
 * @pins:	receives what vhdx_chain_unload() gives up; nothing after a failure
 *
 * Sleeps. All of it is held at once: without memory, pages that nobody holds do not stay. Tasks ask
 * children before their parents, and all layers are a forest (layer/share.c): none waits for a task
 * that waits for it. If another part takes the place of a shortcut before the look-up, that finds
 * less than it asks for, and all is loaded once more. Returns 0 or -errno.
 */
int vhdx_chain_load(struct vhdx_disk *disk, u64 offset, u64 wanted, bool write,
		    struct vhdx_chain_pins *pins)
{
	struct vhdx_layer_user *leaf = &disk->layers[0];
	int err;

	memset(pins, 0, sizeof(*pins));
	err = leaf->layer->mapping->load(leaf->layer, &leaf->container, offset, &pins->leaf);
	if (err || write || !goes_on_below(disk, 1, offset))
		return err;
	err = load_parents(disk, offset, wanted, pins);
	if (err)
		vhdx_chain_unload(disk, pins);
	return err;
}

/**
 * vhdx_chain_unload() - pages may go again
 * @disk:	the disk
 * @pins:	from vhdx_chain_load()
 */
void vhdx_chain_unload(struct vhdx_disk *disk, struct vhdx_chain_pins *pins)
{
	struct vhdx_open_layer *layer;
	unsigned int i;

	for (i = 0; i < pins->count; i++) {
		layer = disk->layers[i + 1].layer;
		layer->mapping->unload(layer, &pins->below[i]);
	}
	if (pins->below)
		mempool_free(pins->below, &disk->pins);
	layer = vhdx_disk_leaf(disk);
	layer->mapping->unload(layer, &pins->leaf);
}
