/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One attached disk: everything that belongs together from attach to detach.
 * Its locks, and their order: Documentation/design.rst.
 */
#ifndef VHDX_DISK_H
#define VHDX_DISK_H

#include "compat.h"
#include "io.h"
#include "layer/gate.h"
#include "loss.h"
#include "restart.h"
#include "layer/layer.h"
#include "session.h"
#include "shutdown.h"
#include "swap_out.h"
#include "track/tracker.h"

#include <linux/completion.h>
#include <linux/percpu-refcount.h>

struct attribute_group;
struct vhdx_handle;
struct vhdx_info;

/**
 * struct vhdx_disk - see the file comment
 * @index:	N of /dev/vhdxN
 * @read_only:	nothing is ever written
 * @poisoned:	a commit or a header update failed, or the container is lost: writes fail
 *		until detach
 * @closing:	detach has begun: it can't be opened any more; under gd->open_mutex
 * @age:	among all disks, the oldest first; under disks_lock (registry.c)
 * @autoclear:	detach at the last close
 * @used:	somebody mounted it, or opened it for writing: a close may be the last; under
 *		gd->open_mutex, as is
 * @closed_at:	when it was closed last, in jiffies
 * @last_close:	called then, with @autoclear; under gd->open_mutex
 * @gd:		the block device
 * @handle:	the change-tracking device, which may outlive the disk
 * @gate:	what I/O holds while it uses the mapping (rule V1)
 * @io_ref:	one reference for each read or flush under way (rule K2); gone: detached
 * @drained:	the last one is gone
 * @write_ref:	one for each write; gone: detached, or closed before a shutdown
 * @writes_drained: the last one is gone
 * @swap_out:	writes of memory that is being swapped out
 * @restart:	data behind flushes
 * @detach_work: detaches it after the last close; nobody else can reach the disk then
 * @shutdown:	for the end of the machine
 * @io_bios:	clones, with struct vhdx_io in front
 * @split_bios:	pieces of the caller's bios
 * @layer_count: how many
 * @layers:	the leaf first, which alone is written
 */
struct vhdx_disk {
	int index;
	bool read_only;
	bool poisoned;
	bool closing;
	struct list_head age;
	bool autoclear;
	bool used;
	unsigned long closed_at;
	void (*last_close)(struct vhdx_disk *disk);
	struct gendisk *gd;
	struct vhdx_handle *handle;
	struct vhdx_tracker tracker;
	struct vhdx_loss loss;
	struct vhdx_gate gate;
	struct percpu_ref io_ref;
	struct completion drained;
	struct percpu_ref write_ref;
	struct completion writes_drained;
	struct vhdx_swap_out swap_out;
	struct vhdx_restart restart;
	struct work_struct detach_work;
	struct vhdx_shutdown shutdown;
	struct bio_set io_bios;
	struct bio_set split_bios;
	struct workqueue_struct *slow_wq;
	struct workqueue_struct *allocate_wq;
	struct workqueue_struct *publish_wq;
	struct workqueue_struct *swap_wq;
	struct workqueue_struct *sidecar_wq;
	unsigned int layer_count;
	struct vhdx_open_layer *layers[];
};

struct vhdx_disk *vhdx_disk_alloc(int index, unsigned int layer_count, bool read_only);
void vhdx_disk_free(struct vhdx_disk *disk);
int vhdx_disk_prepare(struct vhdx_disk *disk);
void vhdx_disk_unprepare(struct vhdx_disk *disk);
int vhdx_disk_add(struct vhdx_disk *disk, const struct attribute_group **groups);
void vhdx_disk_drain(struct vhdx_disk *disk);
void vhdx_disk_stop_work(struct vhdx_disk *disk);
void vhdx_disk_info(struct vhdx_disk *disk, struct vhdx_info *info);
void vhdx_disk_poison(struct vhdx_disk *disk, const char *what, int err);
bool vhdx_disk_is_below(struct vhdx_disk *disk, struct file *file);
unsigned int vhdx_disk_depth(struct vhdx_disk *disk);

/* The layer that is written; it has the disk's geometry. */
static inline struct vhdx_open_layer *vhdx_disk_leaf(const struct vhdx_disk *disk)
{
	return disk->layers[0];
}

static inline struct vhdx_disk *vhdx_disk_of(struct vhdx_tracker *tracker)
{
	return container_of(tracker, struct vhdx_disk, tracker);
}

static inline bool vhdx_disk_is_poisoned(const struct vhdx_disk *disk)
{
	return READ_ONCE(disk->poisoned);
}

#endif
