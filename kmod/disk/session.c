// SPDX-License-Identifier: GPL-2.0-only
#include "session.h"
#include "disk.h"
#include "store/scope.h"

#include <linux/slab.h>
#include <linux/uuid.h>

/**
 * vhdx_session_init() - nothing has begun
 * @session:	zeroed
 *
 * Returns 0 or -ENOMEM.
 */
int vhdx_session_init(struct vhdx_session *session)
{
	mutex_init(&session->begin_lock);
	mutex_init(&session->header_lock);
	spin_lock_init(&session->current_lock);
	session->header = kvzalloc(VHDX_PAGE, GFP_KERNEL);
	return session->header ? 0 : -ENOMEM;
}

/**
 * vhdx_session_destroy() - free its memory
 * @session:	ended, or never begun
 */
void vhdx_session_destroy(struct vhdx_session *session)
{
	kvfree(session->header);
	session->header = NULL;
}

/*
 * Is the header still there that was found at attach, or written last? An image that somebody
 * wrote over ours has another one. session.header_lock is held.
 */
static int read_back(struct vhdx_disk *disk)
{
	const struct vhdx_header *header = &disk->image.header;
	u64 where = vhdx_header_offset(header->slot);
	void *buf = disk->session.header;
	char how[100];
	int err;

	if (vhdx_loss_found(disk))
		return -EIO;
	err = vhdx_container_read_whole(&disk->container, where, buf, VHDX_PAGE);
	if (vhdx_loss_found(disk))
		return -EIO;
	if (!err && !vhdx_header_is_in(header, buf)) {
		snprintf(how, sizeof(how), "was written by somebody else: the header at 0x%llx is not ours",
			 where);
		vhdx_loss_see(disk, how);
		err = -EIO;
	}
	return err;
}

/**
 * vhdx_session_verify() - is the container still the one that was attached?
 * @disk:	the disk
 *
 * Sleeps. Returns 0, or -EIO where it is not, or where the header can't be read.
 */
int vhdx_session_verify(struct vhdx_disk *disk)
{
	int err;

	mutex_lock(&disk->session.header_lock);
	err = read_back(disk);
	mutex_unlock(&disk->session.header_lock);
	return err;
}

static void replace_header(struct vhdx_disk *disk, const struct vhdx_header *header)
{
	spin_lock(&disk->session.current_lock);
	disk->image.header = *header;
	spin_unlock(&disk->session.current_lock);
}

/**
 * vhdx_session_update() - write the header with new GUIDs, durably
 * @disk:		the disk
 * @file_write_guid:	new value, or NULL to keep it
 * @data_write_guid:	likewise
 * @log_guid:		likewise
 *
 * MS-VHDX 2.2.2: the copy that is not current, flush; then the other one as well, so
 * that a header that goes bad later does not bring an old one back. Returns 0 or
 * -errno; after an error either state may be on disk.
 */
int vhdx_session_update(struct vhdx_disk *disk, const vhdx_guid *file_write_guid,
			const vhdx_guid *data_write_guid, const vhdx_guid *log_guid)
{
	struct vhdx_store *store = &disk->container.store;
	void *buf = disk->session.header;
	struct vhdx_header header;
	int round, err;

	mutex_lock(&disk->session.header_lock);
	err = read_back(disk);
	header = disk->image.header;
	if (file_write_guid)
		header.file_write_guid = *file_write_guid;
	if (data_write_guid)
		header.data_write_guid = *data_write_guid;
	if (log_guid)
		header.log_guid = *log_guid;
	for (round = 0; round < 2 && !err; round++) {
		header.sequence++;
		header.slot ^= 1;
		vhdx_header_encode(&header, buf);
		err = store->write(store, vhdx_header_offset(header.slot), buf, VHDX_PAGE);
		if (!err)
			err = store->flush(store);
		/* What comes next goes to the other copy, be it the second round or, if that
		 * failed, another update: the one that is good is never written over.
		 */
		if (!err)
			replace_header(disk, &header);
	}
	mutex_unlock(&disk->session.header_lock);
	return err;
}

/**
 * vhdx_session_renew_data_write_guid() - the binding token becomes one that nobody knows
 * @disk:	the disk
 *
 * Rule T5. A failure poisons the disk: the header may say either. Returns 0 or -errno.
 */
int vhdx_session_renew_data_write_guid(struct vhdx_disk *disk)
{
	vhdx_guid fresh;
	int err;

	generate_random_guid(fresh.b);
	err = vhdx_session_update(disk, NULL, &fresh, NULL);
	if (err)
		vhdx_disk_poison(disk, "header update", err);
	return err;
}

/**
 * vhdx_session_data_write_guid() - the DataWriteGuid that the header has now
 * @disk:	the disk
 * @guid:	receives it
 *
 * Does not wait for a header that is being written.
 */
void vhdx_session_data_write_guid(struct vhdx_disk *disk, vhdx_guid *guid)
{
	spin_lock(&disk->session.current_lock);
	*guid = disk->image.header.data_write_guid;
	spin_unlock(&disk->session.current_lock);
}

/**
 * vhdx_session_begin() - before the first visible change
 * @disk:	attached for writing
 *
 * The sidecar says "in use" first, durably; then the header gets the GUIDs that it
 * announced; only then a write may go out. A sidecar that can't be written is
 * invalidated by a GUID that it doesn't know (rule T7), and the disk goes on.
 *
 * Sleeps. Returns 0; -EROFS where the disk is attached read-only, whoever asks; -EINTR where
 * the caller was killed while another began it; or -errno where the container itself can't be
 * written.
 */
int vhdx_session_begin(struct vhdx_disk *disk)
{
	struct vhdx_session *session = &disk->session;
	vhdx_guid file_write_guid, data_write_guid;
	int err = 0;

	if (vhdx_loss_found(disk))
		return -EIO;
	if (vhdx_session_has_begun(session))
		return 0;
	if (disk->read_only)
		return -EROFS;
	if (mutex_lock_killable(&session->begin_lock))
		return -EINTR;
	if (session->begun)
		goto out;
	/* It was tried: which of the headers is the newer one is not known any more. */
	err = vhdx_disk_is_poisoned(disk) ? -EIO : 0;
	if (!err && vhdx_disk_closing_down())
		err = -EIO;
	if (err)
		goto out;
	err = vhdx_journal_prepare(&disk->journal);
	if (err)
		goto out;

	generate_random_guid(file_write_guid.b);
	generate_random_guid(data_write_guid.b);
	vhdx_tracker_activate(&disk->tracker, &data_write_guid);
	err = vhdx_session_update(disk,
				  session->file_write_guid_renewed ? NULL : &file_write_guid,
				  &data_write_guid, NULL);
	if (err) {
		vhdx_disk_poison(disk, "header update", err);
		goto out;
	}
	/* After the new headers, for those who look without the lock. */
	smp_store_release(&session->begun, true);
out:
	mutex_unlock(&session->begin_lock);
	return err;
}

/*
 * Everything is committed; the live delta is saved; then the header with an empty log
 * and a fresh DataWriteGuid; then the sidecar knows that it happened (rule T5). After a
 * failure the log stays, for the next attach to replay. That the container was cut is seen
 * here at the latest, also where nothing was written.
 */
static int close_cleanly(struct vhdx_disk *disk, bool begun)
{
	static const vhdx_guid empty;
	vhdx_guid data_write_guid;
	int err;

	if (disk->read_only)
		return 0;
	/* What was acknowledged is committed also where the header can't be read. */
	vhdx_session_verify(disk);
	if (disk->container.lost)
		return -EIO;
	if (!begun)
		return 0;
	err = vhdx_journal_commit(&disk->journal);
	/* The pages that the last entry applied. */
	if (!err)
		err = disk->container.store.flush(&disk->container.store);
	if (err)
		return err;
	generate_random_guid(data_write_guid.b);
	vhdx_tracker_save(&disk->tracker, &data_write_guid);
	err = vhdx_session_update(disk, NULL, &data_write_guid, &empty);
	if (err)
		return err;
	vhdx_tracker_saved(&disk->tracker);
	vhdx_allocator_trim(disk);
	return 0;
}

/**
 * vhdx_session_end() - close the container cleanly
 * @disk:	no I/O is under way and none can come
 *
 * Returns 0 or -errno.
 */
int vhdx_session_end(struct vhdx_disk *disk)
{
	unsigned int flags = vhdx_scope_enter();
	int err = close_cleanly(disk, disk->session.begun);

	vhdx_scope_leave(flags);
	return err;
}

/**
 * vhdx_session_shut() - the same for a disk that stays: no session begins after it
 * @disk:	no write is under way and none comes (vhdx_io_shut()); the machine is
 *		closing down
 *
 * A task that seals, forgets and so on may be between vhdx_session_begin() and the tracker's
 * lock. It finds the session gone once it has that lock; if it had the lock first, the live
 * delta is saved after it has let go.
 */
int vhdx_session_shut(struct vhdx_disk *disk)
{
	struct vhdx_session *session = &disk->session;
	unsigned int flags = vhdx_scope_enter();
	bool begun;
	int err = 0;

	mutex_lock(&session->begin_lock);
	begun = session->begun;
	WRITE_ONCE(session->begun, false);
	if (begun) {
		vhdx_allocator_stop(&disk->allocator);
		err = close_cleanly(disk, true);
	}
	mutex_unlock(&session->begin_lock);
	vhdx_scope_leave(flags);
	return err;
}
