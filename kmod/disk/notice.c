// SPDX-License-Identifier: GPL-2.0-only
#include "notice.h"
#include "disk.h"
#include "core/diag.h"

#include <linux/blkdev.h>
#include <linux/kobject.h>

/**
 * vhdx_tracking_to_name() - as sysfs and events have it
 * @state:	VHDX_TRACKING_*
 */
const char *vhdx_tracking_to_name(u32 state)
{
	static const char * const names[] = {
		[VHDX_TRACKING_OFF] = "off",
		[VHDX_TRACKING_ON] = "on",
		[VHDX_TRACKING_DISABLED] = "disabled",
	};

	return names[state];
}

static void tell(struct vhdx_disk *disk, u32 state, u32 reason)
{
	char tracking[32], why[48];
	char *env[3] = { tracking, why };

	snprintf(tracking, sizeof(tracking), "VHDX_TRACKING=%s", vhdx_tracking_to_name(state));
	snprintf(why, sizeof(why), "VHDX_REASON=%s", vhdx_reason_to_name(reason));
	kobject_uevent_env(&disk_to_dev(disk->gd)->kobj, KOBJ_CHANGE, env);
}

/* Returns true if either is not what user space knows. */
static bool look(struct vhdx_disk *disk, u32 *state, u32 *reason)
{
	struct vhdx_notice *notice = &disk->notice;
	bool news;

	lockdep_assert_held(&notice->lock);
	*state = vhdx_tracker_shown(&disk->tracker, reason);
	news = *state != notice->state || *reason != notice->reason;
	notice->state = *state;
	notice->reason = *reason;
	return news;
}

/*
 * Outside of tracker->tree, which the first write of a session waits for: an event takes memory,
 * and a mutex of all senders, who may wait for memory that is written to this disk (rule K3).
 */
static void work(struct work_struct *work)
{
	struct vhdx_notice *notice = container_of(work, struct vhdx_notice, work);
	struct vhdx_disk *disk = container_of(notice, struct vhdx_disk, notice);
	u32 state, reason;
	bool news;

	spin_lock(&notice->lock);
	news = look(disk, &state, &reason);
	spin_unlock(&notice->lock);
	if (news)
		tell(disk, state, reason);
}

/**
 * vhdx_notice_init() - nothing is told yet
 * @notice:	zeroed
 */
void vhdx_notice_init(struct vhdx_notice *notice)
{
	spin_lock_init(&notice->lock);
	INIT_WORK(&notice->work, work);
}

/**
 * vhdx_notice_start() - from here on changes are told
 * @disk:	in sysfs
 *
 * What user space sees as the disk comes it need not be told.
 */
void vhdx_notice_start(struct vhdx_disk *disk)
{
	struct vhdx_notice *notice = &disk->notice;
	u32 state, reason;

	spin_lock(&notice->lock);
	look(disk, &state, &reason);
	notice->shown = true;
	spin_unlock(&notice->lock);
}

/**
 * vhdx_notice_stop() - nothing is told any more
 * @disk:	about to leave sysfs
 *
 * Sleeps.
 */
void vhdx_notice_stop(struct vhdx_disk *disk)
{
	struct vhdx_notice *notice = &disk->notice;

	spin_lock(&notice->lock);
	notice->shown = false;
	spin_unlock(&notice->lock);
	cancel_work_sync(&notice->work);
}

/**
 * vhdx_notice_change() - state or reason of tracking may be others
 * @disk:	whose tracker shows them by now
 *
 * Any process context; waits for nothing.
 */
void vhdx_notice_change(struct vhdx_disk *disk)
{
	struct vhdx_notice *notice = &disk->notice;

	spin_lock(&notice->lock);
	if (notice->shown)
		schedule_work(&notice->work);
	spin_unlock(&notice->lock);
}
