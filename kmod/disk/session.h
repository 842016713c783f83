/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One use of a container for writing, and the header that tells others about it.
 *
 * A session begins with the first visible change, not at attach: a disk that is only
 * read leaves its container as it was, byte for byte.
 */
#ifndef VHDX_SESSION_H
#define VHDX_SESSION_H

#include "core/guid.h"

#include <linux/mutex.h>
#include <linux/spinlock.h>

struct vhdx_disk;

/**
 * struct vhdx_session - see the file comment
 * @begin_lock:	beginning; comes before the tracker's lock
 * @header_lock: header updates, and to look at disk->image.header; innermost
 * @current_lock: for it to be replaced, by who holds @header_lock, and to be looked at by
 *		who can't wait for the container
 * @header:	a page to encode it in: an update must not fail for want of memory (rule K3)
 * @begun:	FileWriteGuid and DataWriteGuid are renewed: writes may go out. Who changes the
 *		sidecar looks again with the tracker's lock held: a shutdown ends the session
 * @file_write_guid_renewed: it was, for a replay at attach
 */
struct vhdx_session {
	struct mutex begin_lock;
	struct mutex header_lock;
	spinlock_t current_lock;
	void *header;
	bool begun;
	bool file_write_guid_renewed;
};

int vhdx_session_init(struct vhdx_session *session);
void vhdx_session_destroy(struct vhdx_session *session);
int vhdx_session_verify(struct vhdx_disk *disk);
int vhdx_session_update(struct vhdx_disk *disk, const vhdx_guid *file_write_guid,
			const vhdx_guid *data_write_guid, const vhdx_guid *log_guid);
int vhdx_session_renew_data_write_guid(struct vhdx_disk *disk);
void vhdx_session_data_write_guid(struct vhdx_disk *disk, vhdx_guid *guid);
int vhdx_session_begin(struct vhdx_disk *disk);
int vhdx_session_end(struct vhdx_disk *disk);
int vhdx_session_shut(struct vhdx_disk *disk);

static inline bool vhdx_session_has_begun(const struct vhdx_session *session)
{
	/* Pairs with the release in vhdx_session_begin(). */
	return smp_load_acquire(&session->begun);
}

#endif
