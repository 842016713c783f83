/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The layers of a disk: the leaf, which alone is written, and below it the parents of a
 * differencing chain, each of which may be read by many disks (layer/share.c). What a layer does
 * not have is in the next one; the last one has no parent.
 */
#ifndef VHDX_CHAIN_H
#define VHDX_CHAIN_H

#include "layer/mapping.h"

struct file;
struct vhdx_attach;
struct vhdx_container;
struct vhdx_diag;
struct vhdx_disk;
struct vhdx_layer;
struct vhdx_layer_info;
struct vhdx_open_layer;

/**
 * struct vhdx_chain_pins - what keeps in memory where a byte of the disk is
 * @leaf:	of the leaf
 * @below:	of the parents, down to the last one that was asked; NULL: none was
 * @count:	how many of @below
 */
struct vhdx_chain_pins {
	struct vhdx_pin leaf;
	struct vhdx_pin *below;
	unsigned int count;
};

/**
 * struct vhdx_layer_files - of one layer
 * @container:	the bytes of the VHDX
 * @sidecar:	of what it tells; NULL: there is none
 * @sidecar_path: of the leaf: what the caller calls it, or NULL
 */
struct vhdx_layer_files {
	struct file *container;
	struct file *sidecar;
	char *sidecar_path;
};

int vhdx_chain_get_files(struct vhdx_layer_files *files, const struct vhdx_layer *layers,
			 const struct vhdx_attach *args, struct vhdx_diag *diag);
void vhdx_chain_put_files(struct vhdx_layer_files *files, unsigned int count);
int vhdx_chain_open(struct vhdx_disk *disk, const struct vhdx_layer_files *files,
		    struct vhdx_diag *diag);
int vhdx_chain_judge(const struct vhdx_disk *disk, unsigned int position,
		     const struct vhdx_open_layer *layer, struct vhdx_diag *diag);
int vhdx_chain_prepare(struct vhdx_disk *disk);
void vhdx_chain_unprepare(struct vhdx_disk *disk);
void vhdx_chain_info(struct vhdx_disk *disk, struct vhdx_layer_info *layers, u32 count);
u32 vhdx_chain_flags(struct vhdx_disk *disk, unsigned int position);
void vhdx_chain_look(struct vhdx_disk *disk, u64 offset, u64 wanted, struct vhdx_mapping *extent,
		     struct vhdx_container **container);
int vhdx_chain_load(struct vhdx_disk *disk, u64 offset, u64 wanted, bool write,
		    struct vhdx_chain_pins *pins);
void vhdx_chain_unload(struct vhdx_disk *disk, struct vhdx_chain_pins *pins);

#endif
