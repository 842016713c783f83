/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What `vhdxctl info` tells of a container that is not attached.
 */
#ifndef VHDXCTL_LAYOUT_H
#define VHDXCTL_LAYOUT_H

#include "cli.h"

/**
 * struct layout - all that is known of what is where in it
 */
struct layout {
	struct vhdx_layout summary;
	struct vhdx_part *regions;
	size_t region_count;
	struct vhdx_part *items;
	size_t item_count;
};

/* 0 or -errno of the library; layout_release() it whatever this returns. */
int layout_gather(struct vhdx_disk *disk, struct layout *layout);
void layout_release(struct layout *layout);

/* @container: its path, which Windows' files are named after. */
void print_layout(const struct layout *layout, const char *container);
/* An object below @key; null where @layout is NULL. */
void json_layout(struct json_object *object, const char *key, const struct layout *layout,
		 const char *container);

/* A line of what `vhdxctl info` prints; nothing where @text is NULL. */
void print_field(const char *name, const char *text);

#endif
