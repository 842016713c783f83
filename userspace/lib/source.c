// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <core/offline/overlap.h>
#include "source.h"

/* ---- Opening it ---- */

/* One of the blocks would be read with the other's content, and the copy look sound. */
static int refuse_overlaps(struct image_file *image, const struct container *container)
{
	struct vhdx_diag diag = { 0 };
	int err = vhdx_refuse_overlaps(image_store(image), &image->image, &diag);

	if (err != -EUCLEAN)
		return err ? fail_kernel(err, diag.reason, container->path, diag.text) : 0;
	return fail(err, diag.reason, "%s: %s (`vhdxctl check %s` tells of all that is wrong)",
		    container->path, diag.text, container->path);
}

static int add_layer(struct source *source, const struct container *container)
{
	struct image_file *image = &source->images[source->content.count];
	int err = open_image(image, container);

	if (!err)
		err = refuse_overlaps(image, container);
	if (err) {
		close_image(image);
		return err;
	}
	vhdx_content_add(&source->content, &image->image, image_store(image));
	return 0;
}

static int add_layers(struct source *source, const struct vhdx_chain_options *options)
{
	size_t i;
	int err;

	err = add_layer(source, &source->leaf);
	if (err)
		return err;
	err = open_parents(&source->parents, &source->leaf, source->images, options, NULL, NULL);
	for (i = 0; i < source->parents.count && !err; i++)
		err = add_layer(source, &source->parents.layers[i]);
	return err;
}

int open_vhdx_source(struct source *source, const char *path,
		     const struct vhdx_chain_options *options)
{
	struct vhdx_diag diag = { 0 };
	const struct vhdx_geometry *geo;
	int of_set;
	int err;

	of_set = open_disk_file(&source->leaf, path, false);
	if (of_set < 0)
		return of_set;
	source->images = calloc(VHDX_LAYERS_MAX, sizeof(*source->images));
	if (!source->images || vhdx_content_init(&source->content, VHDX_LAYERS_MAX, &diag))
		return fail_errno(-ENOMEM, "%s", path);
	err = add_layers(source, options);
	if (!err && of_set)
		err = refuse_left_behind(&source->leaf, &source->images[0]);
	if (err)
		return err;
	geo = &source->images[0].image.geo;
	source->size = geo->disk_size;
	source->logical_sector_size = geo->logical_sector_size;
	source->physical_sector_size = geo->physical_sector_size;
	return 0;
}

static int ask_sectors(struct source *source)
{
	int logical;
	unsigned int physical;

	if (!is_block(&source->leaf))
		return 0;
	if (ioctl(source->leaf.fd, BLKSSZGET, &logical) ||
	    ioctl(source->leaf.fd, BLKPBSZGET, &physical))
		return fail_errno(-errno, "%s: it does not tell its sector size",
				  source->leaf.path);
	source->logical_sector_size = logical;
	/* A disk has no others than these. */
	source->physical_sector_size = physical == 512 ? 512 : 4096;
	return 0;
}

int open_raw_source(struct source *source, const char *path)
{
	int err;

	err = open_raw(&source->leaf, path);
	if (!err)
		err = ask_sectors(source);
	if (err)
		return err;
	err = file_store_init(&source->raw, source->leaf.fd);
	if (err)
		return fail_errno(err, "%s", path);
	source->size = source->raw.store.size;
	if (source->size)
		return 0;
	return fail(-EINVAL, VHDX_REASON_ARGUMENT,
		    "%s: a size of 0 bytes: there is nothing that a disk could be made of", path);
}

void close_source(struct source *source)
{
	u32 i;

	for (i = 0; i < source->content.count; i++)
		close_image(&source->images[i]);
	vhdx_content_release(&source->content);
	free(source->images);
	release_parents(&source->parents);
	close_container(&source->leaf);
}

static bool is_one(const struct source *source, const struct stat *st)
{
	bool is = is_same_file(&source->leaf, st);
	size_t i;

	for (i = 0; i < source->parents.count; i++)
		is = is || is_same_file(&source->parents.layers[i], st);
	return is;
}

/* A loop device, or a partition of one: what is written to it is written to a file. */
static bool is_above_one(const struct source *source, const struct stat *st)
{
	static const char *const places[] = { "loop", "../loop" };
	char path[64 + sizeof("/sys/dev/block//backing_file")];
	char file[PATH_MAX];
	struct stat below;
	size_t i;

	for (i = 0; S_ISBLK(st->st_mode) && i < ARRAY_SIZE(places); i++) {
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s/backing_file",
			 major(st->st_rdev), minor(st->st_rdev), places[i]);
		if (!sysfs_read_path(path, file, sizeof(file)) && !stat(file, &below))
			return is_one(source, &below);
	}
	return false;
}

bool source_has(const struct source *source, const struct stat *st)
{
	return is_one(source, st) || is_above_one(source, st);
}

/* ---- Who may read it ---- */

#define NOBODY	((uid_t)-1)	/* no file is theirs, and fchown() leaves what there is */

/* What all files have in common: no owner or group, where they differ. */
static void find_access(const struct source *source, struct stat *common)
{
	const struct stat *st;
	size_t i;

	*common = source->leaf.st;
	for (i = 0; i < source->parents.count; i++) {
		st = &source->parents.layers[i].st;
		common->st_mode &= st->st_mode;
		if (st->st_uid != common->st_uid)
			common->st_uid = NOBODY;
		if (st->st_gid != common->st_gid)
			common->st_gid = NOBODY;
	}
}

/* To ask umask() would change it, for other threads as well. */
static mode_t umask_of_caller(void)
{
	static const char name[] = "Umask:";
	FILE *status = fopen("/proc/thread-self/status", "re");
	mode_t mask = 0077;
	char line[256];

	while (status && fgets(line, sizeof(line), status)) {
		if (strncmp(line, name, strlen(name)) != 0)
			continue;
		mask = strtoul(line + strlen(name), NULL, 8);
		break;
	}
	if (status)
		fclose(status);
	return mask;
}

/*
 * Its group may read it if it is the group of all of them; another one as far as everybody may,
 * which those are not who are kept out of one file by its group. A file system that knows
 * no owners or modes shows what it has been told to: failures leave the file to its owner.
 */
void share_as_source(const struct source *source, int fd)
{
	struct stat common, made;
	mode_t everybody;
	mode_t mode;

	find_access(source, &common);
	if (!geteuid() && fchown(fd, common.st_uid, common.st_gid))
		common.st_gid = NOBODY;
	if (fstat(fd, &made))
		return;
	mode = common.st_mode & 0666;
	if (made.st_gid != common.st_gid) {
		everybody = mode & (mode >> 3) & 0006;
		mode = (mode & 0600) | everybody << 3 | everybody;
	}
	fchmod(fd, mode & ~umask_of_caller());
}

/* ---- Reading it ---- */

static const struct container *container_of_layer(const struct source *source, u32 layer)
{
	return layer ? &source->parents.layers[layer - 1] : &source->leaf;
}

/*
 * A file may have a hole there. In whole pages, which sectors are parts of; and not where a log
 * would be replayed, which knows nothing of holes.
 */
static void look_for_hole(const struct source *source, struct vhdx_piece *piece)
{
	const struct container *container = container_of_layer(source, piece->layer);
	const u64 page = VHDX_PAGE - 1;
	off_t data;
	off_t hole;

	if (is_block(container) ||
	    (source->images && source->images[piece->layer].image.log.dirty))
		return;
	data = lseek(container->fd, piece->at, SEEK_DATA);
	if (data < 0 && errno != ENXIO)
		return;
	if (data < 0 || data - piece->at > page) {
		piece->layer = VHDX_NO_LAYER;
		if (data >= 0)
			piece->length = min(piece->length, (data - piece->at) & ~page);
		return;
	}
	hole = lseek(container->fd, data, SEEK_HOLE);
	if (hole > 0)
		piece->length = min(piece->length, (hole - piece->at + page) & ~page);
}

int source_find(struct source *source, u64 offset, struct vhdx_piece *piece)
{
	struct vhdx_diag diag = { 0 };
	int err;

	if (source->images) {
		err = vhdx_content_find(&source->content, offset, piece, &diag);
		if (err)
			return fail_kernel(err, diag.reason,
					   container_of_layer(source, piece->layer)->path,
					   diag.text);
	} else {
		*piece = (struct vhdx_piece) { .length = source->size - offset, .at = offset };
	}
	if (piece->layer != VHDX_NO_LAYER)
		look_for_hole(source, piece);
	return 0;
}

/* A device says nothing but its size; its users were kept away when it was opened. */
static int layer_unchanged(const struct source *source, u32 layer)
{
	const struct container *container = container_of_layer(source, layer);
	const struct file_store *file = source->images ? &source->images[layer].file :
							 &source->raw;
	const struct timespec *before = &container->st.st_mtim;
	struct stat now;
	off_t end = lseek(file->fd, 0, SEEK_END);

	if (end < 0 || fstat(file->fd, &now))
		return fail_errno(-errno, "%s", container->path);
	if ((u64)end == file->store.size &&
	    (is_block(container) || (now.st_mtim.tv_sec == before->tv_sec &&
				     now.st_mtim.tv_nsec == before->tv_nsec)))
		return 0;
	return fail(-EBUSY, VHDX_REASON_IN_USE,
		    "%s: it was changed while it was converted: end what writes it, and convert it again",
		    container->path);
}

int source_unchanged(const struct source *source)
{
	u32 layer;
	int err;

	err = layer_unchanged(source, 0);
	for (layer = 1; layer < source->content.count && !err; layer++)
		err = layer_unchanged(source, layer);
	return err;
}

int source_read(struct source *source, const struct vhdx_piece *piece, void *buf, size_t length)
{
	struct vhdx_store *store = source->images ? image_store(&source->images[piece->layer]) :
						    &source->raw.store;
	int err = store->read(store, piece->at, buf, length);

	/* What is behind the end was read as zeroes. */
	if (!err)
		return layer_unchanged(source, piece->layer);
	return fail(err, VHDX_REASON_IO, "%s: reading 0x%llx bytes at 0x%llx failed: %s",
		    container_of_layer(source, piece->layer)->path, (u64)length, piece->at,
		    strerror(-err));
}
