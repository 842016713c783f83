/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is copied from: a VHDX with all of its parents, or a raw image. It is never written.
 */
#ifndef LIBVHDX_SOURCE_H
#define LIBVHDX_SOURCE_H

#include <core/offline/content.h>
#include "image_file.h"

/**
 * struct source - open, and locked against writers
 * @leaf:	or the raw image
 * @images:	of a VHDX: of all its layers, leaf first; NULL: it is a raw image
 * @raw:	the bytes of a raw image
 * @size:	in bytes; of a raw image it may be any number
 * @logical_sector_size: of a raw image on a device, the device's; of a file 0: nobody can say
 * @physical_sector_size: likewise
 */
struct source {
	struct container leaf;
	struct parents parents;
	struct image_file *images;
	struct vhdx_content content;
	struct file_store raw;
	u64 size;
	u32 logical_sector_size;
	u32 physical_sector_size;
};

#define SOURCE_NONE	{ .leaf = CONTAINER_NONE }

/* close_source() it whatever these return. 0 or -errno, noted. */
int open_vhdx_source(struct source *source, const char *path,
		     const struct vhdx_chain_options *options);
int open_raw_source(struct source *source, const char *path);
void close_source(struct source *source);

/* Is it one of the files or devices that are read, or a loop device on one? */
bool source_has(const struct source *source, const struct stat *st);

/*
 * Before anything is written to the new file @fd, which its owner alone may read: owner, group and
 * mode so that only those may read it who may read all of what it is made of. The umask counts.
 */
void share_as_source(const struct source *source, int fd);

/*
 * Where the bytes from @offset on are, which is below the size, or that they are zeroes, because
 * nobody wrote them: holes of a file are that, too. 0 or -errno, noted.
 */
int source_find(struct source *source, u64 offset, struct vhdx_piece *piece);
/*
 * The first @length bytes of a piece that is in a layer. 0 or -errno, noted: also where the file
 * does not reach so far any more.
 */
int source_read(struct source *source, const struct vhdx_piece *piece, void *buf, size_t length);
/*
 * When all has been read: is every file still what it was when it was opened? Locks keep only
 * those away who ask for them. 0 or -EBUSY, noted.
 */
int source_unchanged(const struct source *source);

#endif
