// SPDX-License-Identifier: LGPL-2.1-or-later
#include <core/ranges.h>
#include <core/rct/report.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "offline_chain.h"

/* Why the points of a parent are not known: as a disk that is attached would say it. */
static void lose(struct vhdx_frozen_layer *frozen, int err, const char *path, const char *what)
{
	frozen->error = err;
	vhdx_fail(&frozen->lost, err, VHDX_REASON_IO, "%s" SIDECAR_SUFFIX ": %s (%s)", path, what,
		  strerror(-err));
}

/* As the driver says it. */
static void tell_file(struct vhdx_frozen_layer *frozen, const char *path)
{
	const char *name = strrchr(path, '/');
	struct vhdx_diag lost = { 0 };

	vhdx_fail(&lost, frozen->error, frozen->lost.reason, "%.100s" SIDECAR_SUFFIX ": %.300s",
		  name ? name + 1 : path, frozen->lost.text);
	frozen->lost = lost;
}

static int add_sidecar(struct offline_parent *parent, struct vhdx_frozen_layer *frozen, int fd,
		       const char *path)
{
	int err;

	if (fd == -ENOENT)
		return 0;
	err = fd < 0 ? fd : file_store_init(&parent->sidecar_file, fd);
	if (err) {
		lose(frozen, err, path, "it cannot be opened");
		return 0;
	}
	err = vhdx_frozen_load(frozen, &parent->sidecar, &parent->sidecar_file.store,
			       !parent->sidecar_file.direct, &parent->image.image,
			       parent->image.image.header.sequence);
	if (err)
		return fail_errno(err, "%s" SIDECAR_SUFFIX, path);
	if (frozen->error)
		tell_file(frozen, path);
	return 0;
}

static int add_parent(struct offline_chain *chain, const struct container *container,
		      int sidecar_fd)
{
	struct offline_parent *parent = &chain->opened[chain->count];
	struct vhdx_frozen_layer *frozen = &chain->frozen[chain->count];
	const struct vhdx_image *image = &parent->image.image;
	int err;

	err = open_image(&parent->image, container);
	if (err) {
		close_image(&parent->image);
		return err;
	}
	chain->count++;
	vhdx_content_add(&chain->content, image, image_store(&parent->image));
	frozen->guid = image->header.data_write_guid;
	frozen->disk_size = image->geo.disk_size;
	return add_sidecar(parent, frozen, sidecar_fd, container->path);
}

static int add_parents(struct offline_chain *chain)
{
	const struct parents *parents = &chain->parents;
	size_t i;
	int err = 0;

	chain->opened = calloc(parents->count + 1, sizeof(*chain->opened));
	chain->frozen = calloc(parents->count + 1, sizeof(*chain->frozen));
	if (!chain->opened || !chain->frozen)
		return fail_errno(-ENOMEM, "the chain");
	for (i = 0; i < parents->count && !err; i++)
		err = add_parent(chain, &parents->layers[i], parents->sidecars[i]);
	return err;
}

int open_offline_chain(struct offline_chain *chain, const struct container *leaf,
		       struct image_file *image)
{
	struct vhdx_diag diag = { 0 };
	int err;

	if (chain->content.count)
		return 0;
	err = vhdx_content_init(&chain->content, VHDX_LAYERS_MAX, &diag);
	if (err)
		return fail_kernel(err, diag.reason, leaf->path, diag.text);
	vhdx_content_add(&chain->content, &image->image, image_store(image));
	err = open_parents_with_sidecars(&chain->parents, leaf, image, &below_the_child,
					 NULL, NULL);
	if (!err)
		err = add_parents(chain);
	if (err)
		close_offline_chain(chain);
	return err;
}

void close_offline_chain(struct offline_chain *chain)
{
	u32 i;

	for (i = 0; i < chain->count; i++) {
		vhdx_sidecar_release(&chain->opened[i].sidecar);
		close_image(&chain->opened[i].image);
	}
	vhdx_content_release(&chain->content);
	free(chain->frozen);
	free(chain->opened);
	release_parents(&chain->parents);
	memset(chain, 0, sizeof(*chain));
}

/* Of an entry that can't be used the rest of its block is all that is known. */
static int find(struct vhdx_content *content, u64 offset, struct vhdx_piece *piece,
		struct vhdx_diag *diag)
{
	struct vhdx_diag wrong = { };
	int err = vhdx_content_find(content, offset, piece, &wrong);
	u32 block_size;

	if (err == -EUCLEAN) {
		block_size = content->layers[piece->layer].image->geo.block_size;
		piece->length = block_size - (offset & (block_size - 1));
		return 0;
	}
	if (err)
		*diag = wrong;
	return err;
}

int offline_extent(struct offline_chain *chain, u64 offset, u64 *to, bool *zero,
		   struct vhdx_diag *diag)
{
	const u32 sector = chain->content.layers->image->geo.logical_sector_size;
	const u64 start = offset & ~(u64)(sector - 1);
	struct vhdx_piece piece;
	int err;

	err = find(&chain->content, start, &piece, diag);
	if (err)
		return err;
	*to = start + piece.length;
	*zero = piece.layer == VHDX_NO_LAYER;
	return 0;
}

static bool tell(struct vhdx_ranges *ranges, const struct vhdx_get_allocated_ranges *args,
		 u64 offset, u64 to, bool zero)
{
	if (zero && !(args->flags & VHDX_ALLOCATED_ZEROES))
		return true;
	return vhdx_ranges_add(ranges, offset, to, zero ? VHDX_RANGE_ZERO : 0);
}

int offline_allocated(struct offline_chain *chain, struct vhdx_get_allocated_ranges *args,
		      struct vhdx_diag *diag)
{
	const u64 deadline = args->time_limit_ms ? now_ms() + args->time_limit_ms : ~0ULL;
	const u64 end = args->byte_offset + args->byte_length;
	struct vhdx_ranges ranges = {
		.array = (void *)(uintptr_t)args->output,
		.size = args->range_size,
		.capacity = args->output_capacity,
		.min_gap = args->min_gap,
	};
	u64 offset = args->byte_offset;
	bool zero;
	u64 to;
	int err;

	while (offset < end) {
		err = offline_extent(chain, offset, &to, &zero, diag);
		if (err)
			return err;
		to = min(end, to);
		if (!tell(&ranges, args, offset, to, zero))
			break;
		offset = to;
		if (now_ms() >= deadline)
			break;
	}
	args->output_count = ranges.count;
	args->processed_byte_length = offset - args->byte_offset;
	args->allocated_bytes = ranges.sum;
	return 0;
}

static const char *path_of(const struct offline_chain *chain, const struct container *leaf,
			   u32 layer)
{
	return layer ? chain->parents.layers[layer - 1].path : leaf->path;
}

/* @piece begins with the sector that @offset is in. */
static int read_piece(struct offline_chain *chain, const struct container *leaf,
		      const struct vhdx_piece *piece, u64 lead, char *buf, u64 length)
{
	struct vhdx_store *store;
	int err;

	if (piece->layer == VHDX_NO_LAYER) {
		memset(buf, 0, length);
		return 0;
	}
	store = chain->content.layers[piece->layer].store;
	err = store->read(store, piece->at + lead, buf, length);
	return err ? fail(err, VHDX_REASON_IO, "%s: reading 0x%llx bytes at 0x%llx failed: %s",
			  path_of(chain, leaf, piece->layer), length, piece->at + lead,
			  strerror(-err)) : 0;
}

int read_offline_chain(struct offline_chain *chain, const struct container *leaf, u64 offset,
		       char *buf, u64 length)
{
	const u32 sector = chain->content.layers->image->geo.logical_sector_size;
	struct vhdx_piece piece;
	u64 lead, part;
	int err = 0;

	while (length && !err) {
		struct vhdx_diag diag = { };

		lead = offset & (sector - 1);
		err = vhdx_content_find(&chain->content, offset - lead, &piece, &diag);
		if (err)
			return fail_kernel(err, diag.reason, path_of(chain, leaf, piece.layer),
					   diag.text);
		part = min(length, piece.length - lead);
		err = read_piece(chain, leaf, &piece, lead, buf, part);
		buf += part;
		offset += part;
		length -= part;
	}
	return err;
}
