// SPDX-License-Identifier: GPL-2.0-only
/*
 * vhdx_watch: what an observer of a VHDX disk is told, for tests of linux/vhdx_api.h.
 *
 *	echo "hold /dev/vhdx0" >/sys/kernel/debug/vhdx_watch/control
 *	echo observe >..., unobserve, put
 *	cat /sys/kernel/debug/vhdx_watch/told
 *
 * "observe N" has N observers at once, of which the last one is shown; the others count what they
 * are told, and have to be told as much. Whoever is told that the disk goes away does not let go:
 * that is for the test to do.
 */
#include <linux/blk_types.h>
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/namei.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/vhdx_api.h>

#include "control.h"

#define EVENTS		256
#define OBSERVERS	4

enum what { SEALED, FORGOTTEN, GAP, GOING_AWAY };

struct event {
	enum what what;
	struct vhdx_point_id id;
	u32 reason;
};

static struct dentry *root;
static struct vhdx_hold *hold;
static struct vhdx_observer observers[OBSERVERS];
static unsigned int observing;

static atomic64_t submitted[VHDX_OP_FLUSH + 1], completed[VHDX_OP_FLUSH + 1];
static atomic64_t submitted_bytes, completed_bytes, failed;
/* Of (first sector + 1) * sectors: whatever the order, the same writes have the same. */
static atomic64_t submitted_sum, completed_sum;
/* Of all but the last observer. */
static atomic64_t others_submitted, others_completed;
/* A completion that was told more often than its submission at some moment. */
static atomic_t unpaired;
/* No observer is there: nothing may be told. */
static bool quiet = true;
static atomic_t told_while_quiet;

static DEFINE_SPINLOCK(events_lock);
static struct event events[EVENTS];
static unsigned int event_count;

static void check_quiet(void)
{
	if (READ_ONCE(quiet))
		atomic_inc(&told_while_quiet);
}

static u64 sum_of(u64 offset, u64 length)
{
	return ((offset >> SECTOR_SHIFT) + 1) * (length >> SECTOR_SHIFT);
}

static void write_submitted(void *context, enum vhdx_write_op op, u64 offset, u64 length)
{
	check_quiet();
	atomic64_inc(&submitted[op]);
	atomic64_add(length, &submitted_bytes);
	atomic64_add(sum_of(offset, length), &submitted_sum);
}

static void write_completed(void *context, enum vhdx_write_op op, u64 offset, u64 length, int err)
{
	check_quiet();
	if (atomic64_inc_return(&completed[op]) > atomic64_read(&submitted[op]))
		atomic_inc(&unpaired);
	atomic64_add(length, &completed_bytes);
	atomic64_add(sum_of(offset, length), &completed_sum);
	if (err)
		atomic64_inc(&failed);
}

static void note(enum what what, const struct vhdx_point_id *id, u32 reason)
{
	check_quiet();
	might_sleep();
	spin_lock(&events_lock);
	if (event_count < EVENTS) {
		events[event_count] = (struct event){ .what = what, .reason = reason };
		if (id)
			events[event_count].id = *id;
		event_count++;
	}
	spin_unlock(&events_lock);
}

static void point_sealed(void *context, const struct vhdx_point_id *id)
{
	struct vhdx_tracking_state state;

	/* No lock of the disk is held: it can be asked. */
	vhdx_hold_get_state(hold, &state);
	note(SEALED, id, 0);
}

static void point_forgotten(void *context, const struct vhdx_point_id *id)
{
	note(FORGOTTEN, id, 0);
}

static void gap_came(void *context, u32 reason)
{
	note(GAP, NULL, reason);
}

static void goes_away(void *context)
{
	note(GOING_AWAY, NULL, 0);
}

static const struct vhdx_observer_ops shown = {
	.submitted = write_submitted,
	.completed = write_completed,
	.sealed = point_sealed,
	.forgotten = point_forgotten,
	.gap = gap_came,
	.going_away = goes_away,
};

static void other_submitted(void *context, enum vhdx_write_op op, u64 offset, u64 length)
{
	atomic64_inc(&others_submitted);
}

static void other_completed(void *context, enum vhdx_write_op op, u64 offset, u64 length, int err)
{
	atomic64_inc(&others_completed);
}

static const struct vhdx_observer_ops other = {
	.submitted = other_submitted,
	.completed = other_completed,
};

/* ---- debugfs -------------------------------------------------------------------------------- */

static int told_show(struct seq_file *out, void *unused)
{
	static const char * const names[] = { "sealed", "forgotten", "gap", "going_away" };
	unsigned int i;

	seq_printf(out, "submitted %llu\ncompleted %llu\n",
		   (u64)atomic64_read(&submitted[VHDX_OP_WRITE]),
		   (u64)atomic64_read(&completed[VHDX_OP_WRITE]));
	seq_printf(out, "zeroes %llu\nzeroed %llu\n",
		   (u64)atomic64_read(&submitted[VHDX_OP_ZEROES]),
		   (u64)atomic64_read(&completed[VHDX_OP_ZEROES]));
	seq_printf(out, "discards %llu\ndiscarded %llu\n",
		   (u64)atomic64_read(&submitted[VHDX_OP_DISCARD]),
		   (u64)atomic64_read(&completed[VHDX_OP_DISCARD]));
	seq_printf(out, "flushes %llu\nflushed %llu\n",
		   (u64)atomic64_read(&submitted[VHDX_OP_FLUSH]),
		   (u64)atomic64_read(&completed[VHDX_OP_FLUSH]));
	seq_printf(out, "submitted_bytes %llu\ncompleted_bytes %llu\nfailed %llu\n",
		   (u64)atomic64_read(&submitted_bytes), (u64)atomic64_read(&completed_bytes),
		   (u64)atomic64_read(&failed));
	seq_printf(out, "submitted_sum %llu\ncompleted_sum %llu\n",
		   (u64)atomic64_read(&submitted_sum), (u64)atomic64_read(&completed_sum));
	seq_printf(out, "others_submitted %llu\nothers_completed %llu\n",
		   (u64)atomic64_read(&others_submitted), (u64)atomic64_read(&others_completed));
	seq_printf(out, "unpaired %d\ntold_while_quiet %d\n", atomic_read(&unpaired),
		   atomic_read(&told_while_quiet));
	for (i = 0; i < event_count; i++)
		seq_printf(out, "event %s %pUl:%016llx %u\n", names[events[i].what],
			   events[i].id.guid, events[i].id.sequence, events[i].reason);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(told);

static int hold_disk(const char *path)
{
	struct vhdx_hold *found;
	struct path found_path;
	dev_t dev;
	int err;

	if (hold)
		return -EBUSY;
	err = kern_path(path, LOOKUP_FOLLOW, &found_path);
	if (err)
		return err;
	dev = d_inode(found_path.dentry)->i_rdev;
	path_put(&found_path);
	found = vhdx_hold_get(dev, THIS_MODULE);
	if (IS_ERR(found))
		return PTR_ERR(found);
	hold = found;
	return 0;
}

static void forget_all(void)
{
	while (observing)
		vhdx_unobserve(hold, &observers[--observing]);
	WRITE_ONCE(quiet, true);
}

static int observe(unsigned int count)
{
	atomic64_t *figures[] = { &submitted_bytes, &completed_bytes, &failed, &submitted_sum,
				  &completed_sum, &others_submitted, &others_completed };
	unsigned int i;
	int err = 0;

	if (!hold || observing || !count || count > OBSERVERS)
		return -EINVAL;
	memset(submitted, 0, sizeof(submitted));
	memset(completed, 0, sizeof(completed));
	for (i = 0; i < ARRAY_SIZE(figures); i++)
		atomic64_set(figures[i], 0);
	event_count = 0;
	WRITE_ONCE(quiet, false);
	while (!err && observing < count) {
		observers[observing].ops = observing == count - 1 ? &shown : &other;
		err = vhdx_observe(hold, &observers[observing]);
		observing += !err;
	}
	if (err)
		forget_all();
	return err;
}

static int command(char *text)
{
	char *word = strsep(&text, " ");
	unsigned int count = 1;

	if (!strcmp(word, "hold"))
		return text ? hold_disk(text) : -EINVAL;
	if (!strcmp(word, "observe"))
		return text && kstrtouint(text, 0, &count) ? -EINVAL : observe(count);
	if (!strcmp(word, "unobserve")) {
		forget_all();
		return 0;
	}
	if (strcmp(word, "put"))
		return -EINVAL;
	forget_all();
	vhdx_hold_put(hold);
	hold = NULL;
	return 0;
}

DEFINE_CONTROL(command);

static int __init watch_init(void)
{
	root = debugfs_create_dir("vhdx_watch", NULL);
	debugfs_create_file("control", 0200, root, NULL, &control_fops);
	debugfs_create_file("told", 0444, root, NULL, &told_fops);
	return 0;
}

static void __exit watch_exit(void)
{
	debugfs_remove(root);
	forget_all();
	vhdx_hold_put(hold);
}

module_init(watch_init);
module_exit(watch_exit);

MODULE_DESCRIPTION("Shows what observers of VHDX disks are told");
MODULE_LICENSE("GPL");
/* Of Kbuild: a name, or text, as the kernel wants it. */
MODULE_IMPORT_NS(VHDX_NAMESPACE);
