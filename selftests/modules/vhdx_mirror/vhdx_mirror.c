// SPDX-License-Identifier: GPL-2.0-only
/*
 * vhdx_mirror: keeps a block device like a VHDX disk. An example of linux/vhdx_api.h.
 *
 *	echo "start /dev/vhdx0 /dev/sdb 1000 0" >/sys/kernel/debug/vhdx_mirror/control
 *	cat /sys/kernel/debug/vhdx_mirror/sdb
 *	echo "round /dev/sdb" >/sys/kernel/debug/vhdx_mirror/control
 *	echo "stop /dev/sdb" >/sys/kernel/debug/vhdx_mirror/control
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
 * A crash anywhere leaves a record with a point that the disk still knows, and everything that is
 * not on the target was written behind it. What is copied may be newer than the point, as the disk
 * is written meanwhile; then it is in the next round, too. Between two rounds of a disk that rests
 * the target is equal to it.
 *
 * A round begins every INTERVAL milliseconds, when it is asked for, and, unless LAG is 0, when so
 * many bytes were written since the last one.
 */
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/crc32c.h>
#include <linux/debugfs.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vhdx_api.h>
#include <linux/wait.h>

#define RECORD		4096U
#define MAGIC		"vhdxmirr"
#define PIECE		(256U << 10)	/* copied at a time */
#define RANGES		256U
#define POINTS		64U
#define LABEL		"vhdx_mirror"

/* The last bytes of the target, little endian. */
struct record {
	u8 magic[8];
	u8 disk_id[16];
	u8 guid[16];
	__le64 sequence;
	__le64 disk_size;
	__le32 kind;
	__le32 crc;		/* of what is in front of it */
};

/**
 * struct mirror - one disk and its target
 * @link:	in mirrors
 * @name:	of the target
 * @source:	the disk; and @target: open block devices
 * @hold:	keeps the disk attached
 * @observer:	counts, and hears that the disk is to go
 * @thread:	does the rounds
 * @wait:	woken for another round
 * @lock:	@error and counters
 * @wanted:	rounds that were asked for; @done: of these
 * @leaving:	the disk is to go
 * @over:	the thread is about to end
 * @lag:	bytes written since the last round began
 */
struct mirror {
	struct list_head link;
	char name[64];
	struct file *source;
	struct file *target;
	struct vhdx_hold *hold;
	struct vhdx_observer observer;
	struct task_struct *thread;
	wait_queue_head_t wait;
	struct dentry *dentry;
	unsigned int interval_ms;
	u64 lag_most;
	atomic_t wanted;
	atomic_t done;
	bool leaving;
	bool over;
	atomic64_t lag;
	struct vhdx_info info;
	struct vhdx_point_id point;
	bool known;
	struct vhdx_range *ranges;
	struct page *pages;
	u64 rounds, full, copied, zeroed;
	int error;
	u32 reason;
};

static LIST_HEAD(mirrors);
static DEFINE_MUTEX(mirrors_lock);
static struct dentry *root;

static struct block_device *bdev_of(struct file *file)
{
	return I_BDEV(file->f_mapping->host);
}

static u64 size_of(struct file *file)
{
	return i_size_read(file->f_mapping->host);
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

static int copy(struct mirror *m, u64 offset, u64 length)
{
	u32 now;
	int err = 0;

	for (; length && !err; offset += now, length -= now) {
		now = min_t(u64, length, PIECE);
		err = transfer(m, m->source, REQ_OP_READ, offset, now);
		if (!err)
			err = transfer(m, m->target, REQ_OP_WRITE, offset, now);
		if (!err)
			m->copied += now;
		if (kthread_should_stop() || READ_ONCE(m->leaving))
			return -EINTR;
		cond_resched();
	}
	return err;
}

static int zero(struct mirror *m, u64 offset, u64 length)
{
	if (!length)
		return 0;
	m->zeroed += length;
	return blkdev_issue_zeroout(bdev_of(m->target), offset >> SECTOR_SHIFT,
				    length >> SECTOR_SHIFT, GFP_KERNEL, 0);
}

/* ---- the record ----------------------------------------------------------------------------- */

static u64 record_at(const struct mirror *m)
{
	return (size_of(m->target) & ~(u64)(RECORD - 1)) - RECORD;
}

static __le32 checksum(const struct record *record)
{
	return cpu_to_le32(crc32c(~0, record, offsetof(struct record, crc)));
}

/* Which point the target has; none, unless it has one of this disk. */
static int read_record(struct mirror *m)
{
	struct record *record = page_address(m->pages);
	int err = transfer(m, m->target, REQ_OP_READ, record_at(m), RECORD);

	m->known = !err && !memcmp(record->magic, MAGIC, sizeof(record->magic)) &&
		   record->crc == checksum(record) &&
		   !memcmp(record->disk_id, m->info.virtual_disk_id, sizeof(record->disk_id)) &&
		   le64_to_cpu(record->disk_size) == m->info.virtual_disk_size;
	if (!m->known)
		return err;
	memcpy(m->point.guid, record->guid, sizeof(record->guid));
	m->point.sequence = le64_to_cpu(record->sequence);
	m->point.kind = le32_to_cpu(record->kind);
	return 0;
}

/* What was copied is durable before the record says so. */
static int write_record(struct mirror *m, const struct vhdx_point_id *point)
{
	struct record *record = page_address(m->pages);

	memset(record, 0, RECORD);
	if (point) {
		memcpy(record->magic, MAGIC, sizeof(record->magic));
		memcpy(record->disk_id, m->info.virtual_disk_id, sizeof(record->disk_id));
		memcpy(record->guid, point->guid, sizeof(record->guid));
		record->sequence = cpu_to_le64(point->sequence);
		record->disk_size = cpu_to_le64(m->info.virtual_disk_size);
		record->kind = cpu_to_le32(point->kind);
		record->crc = checksum(record);
	}
	return transfer(m, m->target, REQ_OP_WRITE | REQ_PREFLUSH | REQ_FUA, record_at(m),
			RECORD);
}

/* ---- a round -------------------------------------------------------------------------------- */

/* All of the disk: what is allocated, and zeroes everywhere else. */
static int copy_all(struct mirror *m)
{
	u64 size = m->info.virtual_disk_size, told = 0;
	struct vhdx_query query = { };
	u32 i, count;
	int err;

	/* Until it is whole it is a copy of nothing. */
	err = write_record(m, NULL);
	m->known = false;
	m->full++;
	while (!err && query.byte_offset < size) {
		query.byte_length = size - query.byte_offset;
		err = vhdx_hold_get_allocated(m->hold, &query, m->ranges, RANGES, &count);
		m->reason = query.reason;
		for (i = 0; i < count && !err; i++) {
			err = zero(m, told, m->ranges[i].byte_offset - told);
			if (!err)
				err = copy(m, m->ranges[i].byte_offset, m->ranges[i].byte_length);
			told = m->ranges[i].byte_offset + m->ranges[i].byte_length;
		}
		query.byte_offset += query.processed_byte_length;
	}
	return err ?: zero(m, told, size - told);
}

static int copy_one(void *context, const struct vhdx_range *range)
{
	return copy(context, range->byte_offset, range->byte_length);
}

static int copy_changes(struct mirror *m, const struct vhdx_point_id *point)
{
	struct vhdx_query query = {
		.limit = m->point, .target = *point,
		.byte_length = m->info.virtual_disk_size,
	};
	int err = vhdx_hold_each_range(m->hold, &query, copy_one, m);

	m->reason = query.reason;
	/* No signal comes, and nothing limits the time: the answer is whole. */
	if (!err && WARN_ON_ONCE(query.processed_byte_length != query.byte_length))
		err = -EIO;
	return err;
}

static bool is_ours(const struct vhdx_point *point)
{
	return point->label_length == sizeof(LABEL) - 1 &&
	       !memcmp(point->label, LABEL, point->label_length);
}

static bool same(const struct vhdx_point_id *a, const struct vhdx_point_id *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* Points of earlier rounds, that a crash left too. One target a disk: all that have our label. */
static void forget_others(struct mirror *m, const struct vhdx_point_id *point)
{
	struct vhdx_point *points = kvcalloc(POINTS, sizeof(*points), GFP_KERNEL);
	struct vhdx_point_id after = { };
	u32 i, count = POINTS;

	while (points && count == POINTS) {
		if (vhdx_hold_get_points(m->hold, &after, points, POINTS, &count, NULL))
			break;
		/* The id to go on behind must stay. */
		for (i = 0; i < count; i++) {
			if (!is_ours(&points[i]) || same(&points[i].id, point) ||
			    vhdx_hold_forget(m->hold, &points[i].id, NULL))
				after = points[i].id;
		}
	}
	kvfree(points);
}

static int do_round(struct mirror *m)
{
	struct vhdx_point_id point;
	int err;

	m->reason = 0;
	atomic64_set(&m->lag, 0);
	err = vhdx_hold_seal(&m->hold, 1, LABEL, &point, NULL, &m->reason);
	if (err)
		return err;
	err = m->known ? copy_changes(m, &point) : -ENODATA;
	/* The point is gone, or there is a gap: from the beginning, and it is counted. */
	if (err == -ENODATA || err == -ESTALE)
		err = copy_all(m);
	if (!err)
		err = write_record(m, &point);
	if (err)
		return err;
	m->point = point;
	m->known = true;
	m->rounds++;
	forget_others(m, &point);
	return 0;
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

static bool is_called(const struct mirror *m)
{
	return kthread_should_stop() || READ_ONCE(m->leaving) ||
	       atomic_read(&m->wanted) != atomic_read(&m->done) ||
	       (m->lag_most && atomic64_read(&m->lag) >= m->lag_most);
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

	m->error = read_record(m);
	while (!kthread_should_stop() && !READ_ONCE(m->leaving)) {
		wanted = atomic_read(&m->wanted);
		m->error = do_round(m);
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

	seq_printf(out, "state %s\nrounds %llu\nfull %llu\ncopied %llu\nzeroed %llu\n",
		   READ_ONCE(m->over) ? "detached" : "on", m->rounds, m->full, m->copied,
		   m->zeroed);
	seq_printf(out, "lag %llu\nerror %d\nreason %u\n", (u64)atomic64_read(&m->lag), m->error,
		   m->reason);
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

static struct file *open_device(const char *path, int flags)
{
	struct file *file = filp_open(path, flags | O_LARGEFILE, 0);

	if (!IS_ERR(file) && !S_ISBLK(file_inode(file)->i_mode)) {
		fput(file);
		return ERR_PTR(-ENOTBLK);
	}
	return file;
}

static void free_mirror(struct mirror *m)
{
	if (m->pages)
		__free_pages(m->pages, get_order(PIECE));
	kvfree(m->ranges);
	kfree(m);
}

static int open_all(struct mirror *m, const char *source, const char *target)
{
	struct vhdx_hold *hold;
	struct file *file;
	int err;

	file = open_device(source, O_RDONLY);
	if (IS_ERR(file))
		return PTR_ERR(file);
	m->source = file;
	file = open_device(target, O_RDWR | O_EXCL);
	if (IS_ERR(file))
		return PTR_ERR(file);
	m->target = file;
	hold = vhdx_hold_get(bdev_of(m->source)->bd_dev, THIS_MODULE);
	if (IS_ERR(hold))
		return PTR_ERR(hold);
	vhdx_hold_get_info(hold, &m->info);
	err = size_of(m->target) < m->info.virtual_disk_size + 2 * RECORD ? -ENOSPC : 0;
	if (!err && size_of(m->source) != m->info.virtual_disk_size)
		err = -EINVAL;
	m->observer = (struct vhdx_observer){ .ops = &observer_ops, .context = m };
	if (!err)
		err = vhdx_observe(hold, &m->observer);
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
	m->interval_ms = interval_ms;
	m->lag_most = lag;
	m->ranges = kvcalloc(RANGES, sizeof(*m->ranges), GFP_KERNEL);
	m->pages = alloc_pages(GFP_KERNEL | __GFP_COMP, get_order(PIECE));
	if (!m->ranges || !m->pages)
		goto fail;
	err = open_all(m, source, target);
	if (err)
		goto fail;
	m->thread = kthread_run(run, m, "vhdx_mirror/%s", m->name);
	if (IS_ERR(m->thread)) {
		err = PTR_ERR(m->thread);
		goto fail;
	}
	m->dentry = debugfs_create_file(m->name, 0444, root, m, &mirror_fops);
	list_add(&m->link, &mirrors);
	return 0;

fail:
	let_go(m);
	free_mirror(m);
	return err;
}

static void stop(struct mirror *m)
{
	list_del(&m->link);
	debugfs_remove(m->dentry);
	kthread_stop(m->thread);
	free_mirror(m);
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
	char *word = strsep(&text, " "), *source, *target, *interval;
	struct mirror *m;
	unsigned int ms;
	u64 lag;

	if (!strcmp(word, "start")) {
		source = strsep(&text, " ");
		target = strsep(&text, " ");
		interval = strsep(&text, " ");
		if (!text || kstrtouint(interval, 0, &ms) || kstrtou64(text, 0, &lag))
			return -EINVAL;
		return start(source, target, ms, lag);
	}
	m = text ? find(text) : NULL;
	if (!m)
		return -ENOENT;
	if (!strcmp(word, "round"))
		return ask_for_round(m);
	if (strcmp(word, "stop"))
		return -EINVAL;
	stop(m);
	return 0;
}

static ssize_t control_write(struct file *file, const char __user *from, size_t length,
			     loff_t *offset)
{
	char *text = memdup_user_nul(from, min_t(size_t, length, PAGE_SIZE));
	int err;

	if (IS_ERR(text))
		return PTR_ERR(text);
	mutex_lock(&mirrors_lock);
	err = command(strim(text));
	mutex_unlock(&mirrors_lock);
	kfree(text);
	return err ?: length;
}

static const struct file_operations control_fops = {
	.owner = THIS_MODULE,
	.write = control_write,
};

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
