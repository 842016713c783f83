/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * User space is told when state or reason of a disk's tracking are others: by a change event of the
 * disk, with VHDX_TRACKING and VHDX_REASON as sysfs has them.
 */
#ifndef VHDX_NOTICE_H
#define VHDX_NOTICE_H

#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/workqueue.h>

struct vhdx_disk;

/**
 * struct vhdx_notice - see the file comment
 * @lock:	@shown, @state and @reason; outside of the lock of the tracker's face
 * @shown:	the disk is in sysfs
 * @state:	VHDX_TRACKING_* that was told last, or was there when the disk appeared
 * @reason:	why changes can't be told, likewise
 * @work:	tells it, on a queue of the system: it allocates, and no I/O waits for it
 */
struct vhdx_notice {
	spinlock_t lock;
	bool shown;
	u32 state;
	u32 reason;
	struct work_struct work;
};

void vhdx_notice_init(struct vhdx_notice *notice);
void vhdx_notice_start(struct vhdx_disk *disk);
void vhdx_notice_stop(struct vhdx_disk *disk);
void vhdx_notice_change(struct vhdx_disk *disk);
const char *vhdx_tracking_to_name(u32 state);

#endif
