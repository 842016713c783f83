// SPDX-License-Identifier: GPL-2.0-only
/*
 * vhdx_mirror: keeps a block device like a VHDX disk. An example of linux/vhdx_api.h.
 *
 *	echo "start /dev/vhdx0 /dev/sdb 1000 0" >/sys/kernel/debug/vhdx_mirror/control
 *	cat /sys/kernel/debug/vhdx_mirror/sdb
 *	echo "round /dev/sdb" >/sys/kernel/debug/vhdx_mirror/control
 *	echo "stop /dev/sdb" >/sys/kernel/debug/vhdx_mirror/control
 *
 * After a detach the target's figures stay until it is stopped; then it can be started again.
 *
 * The target ends with a record of its own, in its last 4096 bytes: which disk it has, as of which
 * point. So it is that much larger than the disk, at least. A round is
 *
 *	seal	a new point
 *	copy	what changed from the recorded point to the new one; without such a point, or after
 *		a gap, all that is allocated, with zeroes in between
 *	flush	the target, and then write the new point into the record
 *	forget	the old point
 *
 * A crash anywhere leaves a record with a point that the disk still knows, and what is not on the
 * target was written behind it. What is copied may be newer than the point: then it is in the next
 * round, too. Once a disk rests the target is equal to it after a round.
 *
 * A round begins every INTERVAL milliseconds, when it is asked for, and, unless LAG is 0, when so
 * many bytes were written that no round has. One that failed leaves the record, old or new, and no
 * other point: the next one goes on from there.
 */
#include <linux/blkdev.h>
#include <linux/crc32c.h>
#include <linux/debugfs.h>
#include <linux/file.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/vhdx_api.h>

#include "control.h"

#define RECORD		4096U
#define MAGIC		"vhdxmirr"
#define PIECE		(256U << 10)	/* copied at a time */
#define ZEROES		(64U << 20)
#define RANGES		256U
#define POINTS		64U
#define LABEL		"vhdx_mirror"

/* The last bytes of the target: whose copy it is, and as of when. In the machine's byte order. */
struct record {
	u8 magic[8];
	u8 disk_id[16];
	u64 disk_size;
	struct vhdx_point_id point;
	u32 reserved;
	u32 crc;		/* of what is in front of it */
};

/*
 * struct mirror - one disk and its target
 * @wanted:	rounds that were asked for; @done: of these
 * @leaving:	the disk is to go
 * @lag:	bytes written that no round has
 * @record:	what the target has, or should have
 * @read:	what it has is known: @record, if @known; otherwise a copy of nothing
 */
struct mirror {
	struct list_head link;
	char name[64];
	struct file *source, *target;
	struct vhdx_hold *hold;
	struct vhdx_observer observer;
	struct task_struct *thread;
	wait_queue_head_t wait;
	struct dentry *dentry;
	unsigned int interval_ms;
	u64 lag_most;
	atomic_t wanted, done;
	bool leaving, over;
	atomic64_t lag;
	struct vhdx_info info;
	struct record record;
	bool read, known;
	struct vhdx_range *ranges;
	struct page *pages;
	u64 rounds, full, copied, zeroed;
	int error;
	u32 reason, why;		/* VHDX_REASON_*: @why, of the last full copy */
	const char *phase;
};

/* For tests of crashes: a round that comes to this phase stays there until it is another one. */
static char stop_in[16];
module_param_string(stop_in, stop_in, sizeof(stop_in), 0600);

static LIST_HEAD(mirrors);
static struct dentry *root;

static struct block_device *bdev_of(struct file *file)
{
	return I_BDEV(file->f_mapping->host);
}

/* ---- input and output ----------------------------------------------------------------------- */

static int transfer(struct mirror *m, struct file *file, blk_opf_t opf, u64 offset, u32 length)
{
	struct bio_vec vec;
	struct bio bio;
	int err;

	bio_init(&bio, bdev_of(file), &vec, 1, opf);
	bio.bi_iter.bi_sector = offset >> SECTOR_SHIFT;
	__bio_add_page(&bio, m->pages, length, 0);
	err = submit_bio_wait(&bio);
	bio_uninit(&bio);
	return err;
}

static bool is_to_end(const struct mirror *m)
{
	return kthread_should_stop() || READ_ONCE(m->leaving);
}

static void enter(struct mirror *m, const char *phase)
{
	WRITE_ONCE(m->phase, phase);
	while (sysfs_streq(stop_in, phase) && !is_to_end(m))
		schedule_timeout_interruptible(HZ / 100);
}

static int copy_piece(struct mirror *m, u64 offset, u32 length)
{
	int err = transfer(m, m->source, REQ_OP_READ, offset, length);

	if (!err)
		err = transfer(m, m->target, REQ_OP_WRITE, offset, length);
	if (!err)
		m->copied += length;
	enter(m, "copy");
	return err;
}

static int zero_piece(struct mirror *m, u64 offset, u32 length)
{
	m->zeroed += length;
	return blkdev_issue_zeroout(bdev_of(m->target), offset >> SECTOR_SHIFT,
				    length >> SECTOR_SHIFT, GFP_KERNEL, 0);
}

/* Whoever wants the disk to be let go of does not wait for more than a piece. */
static int copy(struct mirror *m, u64 offset, u64 length, bool zeroes)
{
	u32 now;
	int err = 0;

	for (; length && !err; offset += now, length -= now) {
		if (is_to_end(m))
			return -EINTR;
		now = min_t(u64, length, zeroes ? ZEROES : PIECE);
		err = (zeroes ? zero_piece : copy_piece)(m, offset, now);
		cond_resched();
	}
	return err;
}

/* ---- the record ----------------------------------------------------------------------------- */

static u64 record_at(const struct mirror *m)
{
	return round_down(bdev_nr_bytes(bdev_of(m->target)), RECORD) - RECORD;
}

static u32 checksum(const struct record *record)
{
	return crc32c(~0, record, offsetof(struct record, crc));
}

/* What is read is durable, whatever the last write of it was told. */
static int read_record(struct mirror *m)
{
	struct record *record = page_address(m->pages);
	int err = blkdev_issue_flush(bdev_of(m->target));

	if (!err)
		err = transfer(m, m->target, REQ_OP_READ, record_at(m), RECORD);
	if (err)
		return err;
	m->read = true;
	m->known = !memcmp(record, &m->record, offsetof(struct record, point)) &&
		   record->crc == checksum(record);
	m->record.point = record->point;
	return 0;
}

/* What was copied is durable before the record says so. NULL: it is a copy of nothing. */
static int write_record(struct mirror *m, const struct vhdx_point_id *point)
{
	struct record *record = page_address(m->pages);
	int err;

	memset(record, 0, RECORD);
	if (point) {
		m->record.point = *point;
		m->record.crc = checksum(&m->record);
		*record = m->record;
	}
	err = transfer(m, m->target, REQ_OP_WRITE | REQ_PREFLUSH | REQ_FUA, record_at(m), RECORD);
	m->known = point;
	/* After an error it has the old one, or the new one. */
	m->read = !err;
	return err;
}

/* ---- a round -------------------------------------------------------------------------------- */

static int copy_range(void *context, const struct vhdx_range *range)
{
	return copy(context, range->byte_offset, range->byte_length,
		    range->flags & VHDX_RANGE_ZERO);
}

/* All of the disk: what is allocated, and zeroes everywhere else. */
static int copy_all(struct mirror *m)
{
	u64 size = m->info.virtual_disk_size, told = 0;
	struct vhdx_query query = { };
	u32 i, count;
	int err;

	m->full++;
	m->why = m->reason;
	pr_notice("vhdx_mirror: all of %s is copied, reason %u\n", m->name, m->why);
	err = write_record(m, NULL);
	enter(m, "full");
	while (!err && query.byte_offset < size) {
		query.byte_length = size - query.byte_offset;
		err = vhdx_hold_get_allocated(m->hold, &query, m->ranges, RANGES, &count);
		m->reason = query.reason;
		for (i = 0; i < count && !err; i++) {
			err = copy(m, told, m->ranges[i].byte_offset - told, true);
			if (!err)
				err = copy_range(m, &m->ranges[i]);
			told = m->ranges[i].byte_offset + m->ranges[i].byte_length;
		}
		query.byte_offset += query.processed_byte_length;
	}
	return err ?: copy(m, told, size - told, true);
}

static int copy_changes(struct mirror *m, const struct vhdx_point_id *point)
{
	struct vhdx_query query = {
		.limit = m->record.point, .target = *point,
		.byte_length = m->info.virtual_disk_size,
	};
	int err = vhdx_hold_each_range(m->hold, &query, copy_range, m);

	m->reason = query.reason;
	/* No signal comes, and nothing limits the time: the answer is whole. */
	if (!err && WARN_ON_ONCE(query.processed_byte_length != query.byte_length))
		err = -EIO;
	return err;
}

static bool is_left(const struct mirror *m, const struct vhdx_point *one)
{
	return one->label_length == strlen(LABEL) && !memcmp(one->label, LABEL, strlen(LABEL)) &&
	       !(m->known && !memcmp(&one->id, &m->record.point, sizeof(one->id)));
}

/* Points of earlier rounds, also of those that failed, or that a crash ended. */
static void forget_others(struct mirror *m)
{
	struct vhdx_point *points = kvcalloc(POINTS, sizeof(*points), GFP_KERNEL);
	struct vhdx_point_id after = { };
	u32 i, count = POINTS;

	while (points && count == POINTS) {
		if (vhdx_hold_get_points(m->hold, &after, points, POINTS, &count, NULL))
			break;
		/* The id to go on behind must stay. */
		for (i = 0; i < count; i++) {
			if (!is_left(m, &points[i]) ||
			    vhdx_hold_forget(m->hold, &points[i].id, NULL))
				after = points[i].id;
		}
	}
	kvfree(points);
}

static int copy_until(struct mirror *m, const struct vhdx_point_id *point)
{
	int err = -ENODATA;

	enter(m, "changes");
	m->reason = VHDX_REASON_ID_MISSING;
	if (m->known)
		err = copy_changes(m, point);
	/* The point is gone, or there is a gap; a bad sector of the target is neither. */
	return m->reason && (err == -ENODATA || err == -ESTALE) ? copy_all(m) : err;
}

static int do_round(struct mirror *m)
{
	u64 lag = atomic64_read(&m->lag);
	struct vhdx_point_id point;
	int err = m->read ? 0 : read_record(m);

	m->reason = 0;
	enter(m, "seal");
	if (!err)
		err = vhdx_hold_seal(&m->hold, 1, LABEL, &point, NULL, &m->reason);
	if (err)
		return err;
	err = copy_until(m, &point);
	enter(m, "durable");
	if (!err)
		err = write_record(m, &point);
	if (!err) {
		m->rounds++;
		atomic64_sub(lag, &m->lag);
	}
	enter(m, "forget");
	if (m->read)
		forget_others(m);
	return err;
}

/* ---- the observer --------------------------------------------------------------------------- */

static void count_write(void *context, enum vhdx_write_op op, u64 offset, u64 length, int err)
{
	struct mirror *m = context;

	if (atomic64_add_return(length, &m->lag) >= m->lag_most && m->lag_most)
		wake_up(&m->wait);
}

static void leave(void *context)
{
	struct mirror *m = context;

	WRITE_ONCE(m->leaving, true);
	wake_up(&m->wait);
}

static const struct vhdx_observer_ops observer_ops = {
	.completed = count_write,
	.going_away = leave,
};

/* ---- the thread ----------------------------------------------------------------------------- */

/* Not at once after one that failed, however much there is to copy. */
static bool is_called(const struct mirror *m)
{
	return is_to_end(m) || atomic_read(&m->wanted) != atomic_read(&m->done) ||
	       (m->lag_most && !m->error && atomic64_read(&m->lag) >= m->lag_most);
}

/* At once, not when the thread returns to a user space that it has not. */
static void close_now(struct file **file)
{
	if (*file)
		__fput_sync(*file);
	*file = NULL;
}

static void let_go(struct mirror *m)
{
	if (m->hold)
		vhdx_unobserve(m->hold, &m->observer);
	close_now(&m->source);
	close_now(&m->target);
	vhdx_hold_put(m->hold);
	m->hold = NULL;
}

static int run(void *context)
{
	struct mirror *m = context;
	int wanted;

	while (!is_to_end(m)) {
		wanted = atomic_read(&m->wanted);
		m->error = do_round(m);
		enter(m, "idle");
		atomic_set(&m->done, wanted);
		wake_up_all(&m->wait);
		wait_event_interruptible_timeout(m->wait, is_called(m),
						 msecs_to_jiffies(m->interval_ms));
	}
	let_go(m);
	WRITE_ONCE(m->over, true);
	wake_up_all(&m->wait);
	/* Whoever stops it may come late. */
	wait_event_interruptible(m->wait, kthread_should_stop());
	return 0;
}

/* ---- debugfs -------------------------------------------------------------------------------- */

static int mirror_show(struct seq_file *out, void *unused)
{
	struct mirror *m = out->private;

	seq_printf(out, "state %s\nphase %s\nrounds %llu\nfull %llu\nwhy %u\n",
		   READ_ONCE(m->over) ? "detached" : "on", READ_ONCE(m->phase), m->rounds, m->full,
		   m->why);
	seq_printf(out, "copied %llu\nzeroed %llu\nlag %llu\nerror %d\nreason %u\nthread %d\n",
		   m->copied, m->zeroed, (u64)atomic64_read(&m->lag), m->error, m->reason,
		   m->thread->pid);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(mirror);

static struct mirror *find(const char *name)
{
	struct mirror *m;

	list_for_each_entry(m, &mirrors, link)
		if (!strcmp(m->name, kbasename(name)))
			return m;
	return NULL;
}

static int open_device(const char *path, int flags, struct file **opened)
{
	struct file *file = filp_open(path, flags | O_LARGEFILE, 0);

	if (IS_ERR(file))
		return PTR_ERR(file);
	*opened = file;
	return S_ISBLK(file_inode(file)->i_mode) ? 0 : -ENOTBLK;
}

static void free_mirror(struct mirror *m)
{
	let_go(m);
	if (m->pages)
		__free_pages(m->pages, get_order(PIECE));
	kvfree(m->ranges);
	kfree(m);
}

/* Of the disk, whose target this is to be. Two mirrors would forget each other's points. */
static int check(const struct mirror *m)
{
	const struct mirror *other;

	list_for_each_entry(other, &mirrors, link)
		if (other->info.disk_seq == m->info.disk_seq)
			return -EBUSY;
	if (bdev_nr_bytes(bdev_of(m->source)) != m->info.virtual_disk_size ||
	    bdev_logical_block_size(bdev_of(m->target)) > m->info.logical_sector_size)
		return -EINVAL;
	return bdev_nr_bytes(bdev_of(m->target)) < m->info.virtual_disk_size + 2 * RECORD ?
	       -ENOSPC : 0;
}

static int open_all(struct mirror *m, const char *source, const char *target)
{
	struct vhdx_hold *hold;
	int err = open_device(source, O_RDONLY, &m->source) ?:
		  open_device(target, O_RDWR | O_EXCL, &m->target);

	if (err)
		return err;
	hold = vhdx_hold_get(bdev_of(m->source)->bd_dev, THIS_MODULE);
	if (IS_ERR(hold))
		return PTR_ERR(hold);
	vhdx_hold_get_info(hold, &m->info);
	memcpy(m->record.magic, MAGIC, sizeof(m->record.magic));
	memcpy(m->record.disk_id, m->info.virtual_disk_id, sizeof(m->record.disk_id));
	m->record.disk_size = m->info.virtual_disk_size;
	m->observer = (struct vhdx_observer){ .ops = &observer_ops, .context = m };
	err = check(m) ?: vhdx_observe(hold, &m->observer);
	if (err)
		vhdx_hold_put(hold);
	else
		m->hold = hold;
	return err;
}

static int start(const char *source, const char *target, unsigned int interval_ms, u64 lag)
{
	struct mirror *m;
	int err = -ENOMEM;

	if (find(target))
		return -EEXIST;
	m = kzalloc(sizeof(*m), GFP_KERNEL);
	if (!m)
		return err;
	strscpy(m->name, kbasename(target), sizeof(m->name));
	init_waitqueue_head(&m->wait);
	m->phase = "start";
	m->interval_ms = interval_ms;
	m->lag_most = lag;
	m->ranges = kvcalloc(RANGES, sizeof(*m->ranges), GFP_KERNEL);
	m->pages = alloc_pages(GFP_KERNEL | __GFP_COMP, get_order(PIECE));
	if (m->ranges && m->pages)
		err = open_all(m, source, target);
	if (!err) {
		m->thread = kthread_run(run, m, "vhdx_mirror/%s", m->name);
		err = PTR_ERR_OR_ZERO(m->thread);
	}
	if (err) {
		free_mirror(m);
		return err;
	}
	m->dentry = debugfs_create_file(m->name, 0444, root, m, &mirror_fops);
	list_add(&m->link, &mirrors);
	return 0;
}

static int stop(struct mirror *m)
{
	list_del(&m->link);
	debugfs_remove(m->dentry);
	kthread_stop(m->thread);
	free_mirror(m);
	return 0;
}

/* Returns when a round that began after the call is done. What that ended with. */
static int ask_for_round(struct mirror *m)
{
	int wanted = atomic_inc_return(&m->wanted);
	int err;

	wake_up(&m->wait);
	err = wait_event_killable(m->wait, READ_ONCE(m->over) ||
				  atomic_read(&m->done) - wanted >= 0);
	return err ?: READ_ONCE(m->over) ? -ENODEV : m->error;
}

static int command(char *text)
{
	char source[64], target[64];
	struct mirror *m = NULL;
	unsigned int ms;
	u64 lag;

	if (sscanf(text, "start %63s %63s %u %llu", source, target, &ms, &lag) == 4)
		return start(source, target, ms, lag);
	if (sscanf(text, "%*s %63s", target) == 1)
		m = find(target);
	if (m && strstarts(text, "round "))
		return ask_for_round(m);
	if (m && strstarts(text, "stop "))
		return stop(m);
	return m || strstarts(text, "start ") ? -EINVAL : -ENOENT;
}

DEFINE_CONTROL(command);

static int __init mirror_init(void)
{
	root = debugfs_create_dir("vhdx_mirror", NULL);
	debugfs_create_file("control", 0200, root, NULL, &control_fops);
	return 0;
}

static void __exit mirror_exit(void)
{
	struct mirror *m, *next;

	debugfs_remove(root);
	list_for_each_entry_safe(m, next, &mirrors, link) {
		m->dentry = NULL;
		stop(m);
	}
}

module_init(mirror_init);
module_exit(mirror_exit);

MODULE_DESCRIPTION("Keeps a block device like a VHDX disk");
MODULE_LICENSE("GPL");
/* Of Kbuild: a name, or text, as the kernel wants it. */
MODULE_IMPORT_NS(VHDX_NAMESPACE);
