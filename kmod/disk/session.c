// SPDX-License-Identifier: GPL-2.0-only
#include "session.h"
#include "disk.h"
#include "registry.h"
#include "store/scope.h"

#include <linux/uuid.h>

/**
 * vhdx_session_refused() - is it known that none can begin, and that the one that has is no good?
 * @disk:	attached
 *
 * Any context, and cheap. Returns 0; -EROFS; or -EIO: the container is lost.
 */
int vhdx_session_refused(struct vhdx_disk *disk)
{
	if (vhdx_disk_is_lost(disk))
		return -EIO;
	return disk->read_only ? -EROFS : 0;
}

/**
 * vhdx_session_begin() - before the first visible change
 * @disk:	attached for writing
 *
 * The sidecar says "in use" first, durably; then the header gets the GUIDs that it
 * announced; only then a write may go out. A sidecar that can't be written is
 * invalidated by a GUID that it doesn't know (rule T7), and the disk goes on; or no session
 * begins, if that was asked for.
 *
 * Sleeps. Returns 0; -EROFS if the disk is attached read-only; -EINTR if the caller was killed
 * while another task began the session; or -errno if the container itself can't be written.
 */
int vhdx_session_begin(struct vhdx_disk *disk)
{
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(disk);
	struct vhdx_session *session = &leaf->writer.session;
	vhdx_guid data_write_guid;
	int err = vhdx_session_refused(disk);

	if (err || vhdx_session_has_begun(session))
		return err;
	if (mutex_lock_killable(&session->begin_lock))
		return -EINTR;
	if (session->begun)
		goto out;
	/* An update of the header failed: which header is the newer one is not known any more. */
	err = vhdx_disk_is_poisoned(disk) ? -EIO : 0;
	if (!err && vhdx_registry_is_closing_down())
		err = -EIO;
	if (err)
		goto out;
	err = leaf->mapping->prepare(leaf);
	if (err)
		goto out;

	generate_random_guid(data_write_guid.b);
	err = vhdx_tracker_activate(&disk->tracker, &data_write_guid);
	if (err)
		goto out;
	err = leaf->mapping->begin(leaf, &data_write_guid);
	if (err) {
		vhdx_disk_poison(disk, "header update", err);
		goto out;
	}
	/* After the new headers, for vhdx_session_has_begun() without the lock. */
	smp_store_release(&session->begun, true);
out:
	mutex_unlock(&session->begin_lock);
	return err;
}

static void start_work(struct work_struct *work)
{
	struct vhdx_disk *disk = container_of(work, struct vhdx_disk, start.work);
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(disk);
	struct vhdx_session_start *start = &disk->start;
	unsigned int flags = vhdx_scope_enter();
	int err;

	err = vhdx_session_begin(disk);
	/* If another image was written over ours, it stays as it is. */
	if (!err) {
		err = leaf->mapping->verify(leaf);
		if (err)
			vhdx_layer_failed(leaf, "reading the header back", err);
	}
	vhdx_scope_leave(flags);
	WRITE_ONCE(start->err, err);
	/* Pairs with the acquire in vhdx_session_started(). */
	smp_store_release(&start->ended, start->ended + 1);
	wake_up_all(&start->wait);
}

/**
 * vhdx_session_start_init() - nobody waits for a session
 * @start:	zeroed
 */
void vhdx_session_start_init(struct vhdx_session_start *start)
{
	INIT_WORK(&start->work, start_work);
	init_waitqueue_head(&start->wait);
}

/**
 * vhdx_session_start() - vhdx_session_begin() by a worker, which also looks at the header
 * @disk:	kept from being detached by the caller
 *
 * Any context. Returns what vhdx_session_started() is to be given.
 */
u32 vhdx_session_start(struct vhdx_disk *disk)
{
	u32 ended = READ_ONCE(disk->start.ended);

	queue_work(disk->slow_wq, &disk->start.work);
	return ended;
}

/**
 * vhdx_session_started() - wait for vhdx_session_start()
 * @disk:	the same
 * @start:	from it
 *
 * Sleeps. Returns as vhdx_session_begin(); -EINTR if the caller was killed, and the worker goes on;
 * or -EIO: the container is not the one that was attached.
 */
int vhdx_session_started(struct vhdx_disk *disk, u32 start)
{
	/* Pairs with the release in start_work(). */
	if (wait_event_killable(disk->start.wait, smp_load_acquire(&disk->start.ended) != start))
		return -EINTR;
	return READ_ONCE(disk->start.err);
}

/**
 * vhdx_session_wait() - vhdx_session_begin() for a task that can be killed
 * @disk:	attached for writing, and kept from being detached by the caller
 *
 * Sleeps. Returns as vhdx_session_started().
 */
int vhdx_session_wait(struct vhdx_disk *disk)
{
	int err = vhdx_session_refused(disk);

	if (err || vhdx_session_has_begun(&vhdx_disk_leaf(disk)->writer.session))
		return err;
	return vhdx_session_started(disk, vhdx_session_start(disk));
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
	struct vhdx_container *container = vhdx_disk_container(disk);
	vhdx_guid data_write_guid;
	int err;

	if (disk->read_only)
		return 0;
	/* What was acknowledged is committed also where the header can't be read. */
	leaf->mapping->verify(leaf);
	if (container->lost)
		return -EIO;
	if (!begun)
		return 0;
	err = leaf->mapping->commit(leaf);
	/* What the commit did in place. */
	if (!err)
		err = container->store.flush(&container->store);
	if (err)
		return err;
	generate_random_guid(data_write_guid.b);
	err = vhdx_tracker_save(&disk->tracker, &data_write_guid, gap);
	if (!err)
		err = leaf->mapping->close(leaf, &data_write_guid);
	if (err)
		return err;
	vhdx_tracker_saved(&disk->tracker);
	leaf->mapping->trim(leaf);
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
		leaf->mapping->stop(leaf);
		err = close_cleanly(disk, true, NULL);
	}
	mutex_unlock(&session->begin_lock);
	vhdx_tracker_check_kept(&disk->tracker, NULL);
	vhdx_scope_leave(flags);
	return err;
}
