/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VHDX_ATTACH_H
#define VHDX_ATTACH_H

#include <linux/types.h>

struct vhdx_attach;
struct vhdx_diag;
struct vhdx_layer;

struct vhdx_layer_files;

int vhdx_attach_init(void);
void vhdx_attach_exit(void);
int vhdx_attach(struct vhdx_attach *args, const struct vhdx_layer_files *files,
		struct vhdx_diag *diag);
int vhdx_detach(int index, u64 disk_seq, struct vhdx_diag *diag);

/* attach_thread.c */
int vhdx_attach_killably(struct vhdx_attach *args, const struct vhdx_layer *layers,
			 struct vhdx_diag *diag);

#endif
