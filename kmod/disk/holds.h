/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Another module holds a disk (linux/vhdx_api.h): while one does it is not detached. Who holds
 * which is the registry's.
 */
#ifndef VHDX_HOLDS_H
#define VHDX_HOLDS_H

#include <linux/list.h>

struct module;
struct vhdx_disk;

/**
 * struct vhdx_hold - one that is held
 * @link:	in disk->holds; under disks_lock (registry.c)
 * @disk:	which one
 * @owner:	who holds it; or NULL
 */
struct vhdx_hold {
	struct list_head link;
	struct vhdx_disk *disk;
	struct module *owner;
};

#endif
