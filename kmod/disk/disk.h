/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One attached disk: everything that belongs together from attach to detach. The order of its
 * locks is in Documentation/design.rst.
 */
#ifndef VHDX_DISK_H
#define VHDX_DISK_H

#include "chain.h"
#include "compat.h"
#include "io.h"
#include "layer/gate.h"
#include "loss.h"
#include "notice.h"
#include "observers.h"
#include "restart.h"
#include "layer/layer.h"
#include "session.h"
#include "shortcut.h"
#include "shutdown.h"
#include "swap_out.h"
#include "track/tracker.h"

#include <linux/completion.h>
#include <linux/percpu-refcount.h>

struct attribute_group;
struct vhdx_cdev;
struct vhdx_detaching;
struct vhdx_info;
struct vhdx_layer;
struct vhdx_sysfs;

/**
 * struct vhdx_disk - see the file comment
 * @index:	N of /dev/vhdxN
 * @read_only:	nothing is ever written
 * @poisoned:	a commit or a header update failed, or the container is lost: writes fail until
 *		the disk is detached
 * @closing:	detach has begun: it can't be opened any more; under gd->open_mutex
 * @age:	among all disks, the oldest first; under disks_lock (registry.c)
 * @holds:	other modules that hold it (holds.h); under disks_lock (registry.c)
 * @autoclear:	detach at the last close
 * @used:	it was mounted, or opened for writing: with @autoclear a close may be the last;
 *		under gd->open_mutex
 * @closed_at:	when it was closed last, in jiffies; under gd->open_mutex
 * @last_close:	called then, with @autoclear; under gd->open_mutex
 * @gd:		the block device
 * @cdev:	the change-tracking device, which may outlive the disk
 * @sysfs:	what is shown of it, beside what every disk shows
 * @gate:	what I/O holds while it uses the mapping (rule V1)
 * @io_ref:	one reference for each read or flush under way (rule K2); gone: detached
 * @drained:	the last one is gone
 * @write_ref:	one for each write; gone: detached, or closed before a shutdown
 * @writes_drained: the last one is gone
 * @swap_out:	writes of memory that is being swapped out
 * @restart:	data behind flushes
 * @detaching:	its detach, of user/attach.c
 * @start:	of a session, by a worker
 * @shutdown:	for the end of the machine
 * @io_bios:	clones, with struct vhdx_io in front
 * @split_bios:	pieces of the caller's bios
 * @run_bios:	several layers: pieces that are sent at once, and wait for nothing
 * @pins:	several layers: what keeps in memory where a byte of the disk is
 * @shortcuts:	several parents: which of them is the first to be asked
 * @commit_wq:	where the journal commits, and where a gap is written
 * @space_wq:	where room for new blocks is made
 * @question_wq: where questions are answered that read something: who asks can be killed
 * @layer_count: how many
 * @layers:	the leaf first, which alone is written
 */
struct vhdx_disk {
	int index;
	bool read_only;
	bool poisoned;
	bool closing;
	struct list_head age;
	struct list_head holds;
	bool autoclear;
	bool used;
	unsigned long closed_at;
	void (*last_close)(struct vhdx_disk *disk);
	struct gendisk *gd;
	struct vhdx_cdev *cdev;
	struct vhdx_sysfs *sysfs;
	struct vhdx_tracker tracker;
	struct vhdx_loss loss;
	struct vhdx_notice notice;
	struct vhdx_observers observers;
	struct vhdx_gate gate;
	struct percpu_ref io_ref;
	struct completion drained;
	struct percpu_ref write_ref;
	struct completion writes_drained;
	struct vhdx_swap_out swap_out;
	struct vhdx_restart restart;
	struct vhdx_detaching *detaching;
	struct vhdx_session_start start;
	struct vhdx_shutdown shutdown;
	struct bio_set io_bios;
	struct bio_set split_bios;
	struct bio_set run_bios;
	mempool_t pins;
	struct vhdx_shortcuts shortcuts;
	struct workqueue_struct *slow_wq;
	struct workqueue_struct *allocate_wq;
	struct workqueue_struct *unmap_wq;
	struct workqueue_struct *publish_wq;
	struct workqueue_struct *swap_wq;
	struct workqueue_struct *commit_wq;
	struct workqueue_struct *space_wq;
	struct workqueue_struct *question_wq;
	unsigned int layer_count;
	struct vhdx_layer_user layers[];
};

struct vhdx_disk *vhdx_disk_alloc(int index, unsigned int layer_count, bool read_only);
void vhdx_disk_free(struct vhdx_disk *disk);
int vhdx_disk_open(struct vhdx_disk *disk, const struct vhdx_layer_files *files,
		   struct vhdx_diag *diag);
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
	return disk->layers[0].layer;
}

/* The disk's own descriptor of the leaf. */
static inline struct vhdx_container *vhdx_disk_container(struct vhdx_disk *disk)
{
	return &disk->layers[0].container;
}

/* Any context, and cheap. */
static inline bool vhdx_disk_is_lost(struct vhdx_disk *disk)
{
	return vhdx_layer_is_lost(vhdx_disk_leaf(disk), vhdx_disk_container(disk));
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
