// SPDX-License-Identifier: GPL-2.0-only
#include "session.h"
#include "disk.h"
#include "registry.h"
#include "store/scope.h"

#include <linux/uuid.h>

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
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(disk);
	struct vhdx_session *session = &leaf->writer.session;
	vhdx_guid data_write_guid;
	int err = 0;

	if (vhdx_layer_is_lost(leaf))
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
	if (!err && vhdx_registry_is_closing_down())
		err = -EIO;
	if (err)
		goto out;
	err = leaf->map->prepare(leaf);
	if (err)
		goto out;

	generate_random_guid(data_write_guid.b);
	vhdx_tracker_activate(&disk->tracker, &data_write_guid);
	err = leaf->map->begin(leaf, &data_write_guid);
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
static int close_cleanly(struct vhdx_disk *disk, bool begun, struct vhdx_diag *gap)
{
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(disk);
	struct vhdx_store *store = &leaf->container.store;
	static const vhdx_guid empty;
	vhdx_guid data_write_guid;
	int err;

	if (disk->read_only)
		return 0;
	/* What was acknowledged is committed also where the header can't be read. */
	vhdx_layer_verify(leaf);
	if (leaf->container.lost)
		return -EIO;
	if (!begun)
		return 0;
	err = vhdx_journal_commit(&leaf->writer.journal);
	/* The pages that the last entry applied. */
	if (!err)
		err = store->flush(store);
	if (err)
		return err;
	generate_random_guid(data_write_guid.b);
	vhdx_tracker_save(&disk->tracker, &data_write_guid, gap);
	err = vhdx_layer_update_header(leaf, NULL, &data_write_guid, &empty);
	if (err)
		return err;
	vhdx_tracker_saved(&disk->tracker);
	vhdx_allocator_trim(leaf);
	return 0;
}

/**
 * vhdx_session_end() - close the container cleanly
 * @disk:	no I/O is under way and none can come
 * @gap:	what the sidecar does not keep, although the container is closed; or NULL
 *
 * Returns 0 or -errno.
 */
int vhdx_session_end(struct vhdx_disk *disk, struct vhdx_diag *gap)
{
	unsigned int flags = vhdx_scope_enter();
	int err = close_cleanly(disk, vhdx_disk_leaf(disk)->writer.session.begun, gap);

	vhdx_tracker_check_kept(&disk->tracker, gap);
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
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(disk);
	struct vhdx_session *session = &leaf->writer.session;
	unsigned int flags = vhdx_scope_enter();
	bool begun;
	int err = 0;

	mutex_lock(&session->begin_lock);
	begun = session->begun;
	WRITE_ONCE(session->begun, false);
	if (begun) {
		vhdx_allocator_stop(&leaf->writer.space);
		err = close_cleanly(disk, true, NULL);
	}
	mutex_unlock(&session->begin_lock);
	vhdx_scope_leave(flags);
	return err;
}
