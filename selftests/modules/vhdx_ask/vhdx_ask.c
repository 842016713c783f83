// SPDX-License-Identifier: GPL-2.0-only
/*
 * vhdx_ask: each call of linux/vhdx_api.h, for tests that compare it with its ioctl.
 *
 *	echo "hold /dev/vhdx0" >/sys/kernel/debug/vhdx_ask/control, and later put
 *	echo info >..., state, "points AFTER CAPACITY", "seal LABEL", "forget ID"
 *	echo "ranges LIMIT TARGET OFFSET LENGTH GRANULARITY GAP CAPACITY" >...;
 *		each, bits, allocated
 *	cat /sys/kernel/debug/vhdx_ask/answer		structures or words, as in memory
 *	cat /sys/kernel/debug/vhdx_ask/told
 *
 * Ids are 80 hex digits, zeroes for none. "seal" is of all disks that are held, "hold" adds one;
 * the rest is about the first. "each" with a capacity of 0 only counts; otherwise it has enough
 * behind that many, and the write returns 1. "twice" observes the disk, and lets it be, twice.
 */
#include <linux/debugfs.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/namei.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/timex.h>
#include <linux/vhdx_api.h>

#include "control.h"

#define ROOM		(8U << 20)
#define HOLDS		4

static struct dentry *root;
static struct vhdx_hold *holds[HOLDS];
static unsigned int held;

/* The last answer. @took: in cycles. */
static void *answer;
static struct debugfs_blob_wrapper blob;
static struct vhdx_query query;
static u32 count, enough, failed, reason;
static u64 took;

static int put_range(void *context, const struct vhdx_range *range)
{
	struct vhdx_range *to = answer;

	if (count == enough)
		return 1;
	to[count++] = *range;
	return 0;
}

static int nothing(void *context, const struct vhdx_range *range)
{
	count++;
	return 0;
}

/* ---- questions ------------------------------------------------------------------------------- */

static int ask_for_ranges(u32 capacity)
{
	return vhdx_hold_get_ranges(holds[0], &query, answer, capacity, &count);
}

static int ask_for_each(u32 capacity)
{
	enough = capacity;
	return vhdx_hold_each_range(holds[0], &query, capacity ? put_range : nothing, NULL);
}

static int ask_for_bits(u32 capacity)
{
	return vhdx_hold_get_bits(holds[0], &query, answer, capacity);
}

static int ask_for_allocated(u32 capacity)
{
	return vhdx_hold_get_allocated(holds[0], &query, answer, capacity, &count);
}

static const struct {
	const char *name;
	int (*ask)(u32 capacity);
	size_t size;
} questions[] = {
	{ "ranges", ask_for_ranges, sizeof(struct vhdx_range) },
	{ "each", ask_for_each, sizeof(struct vhdx_range) },
	{ "bits", ask_for_bits, sizeof(u64) },
	{ "allocated", ask_for_allocated, sizeof(struct vhdx_range) },
};

static int to_id(const char *text, struct vhdx_point_id *id)
{
	u8 *byte = (u8 *)id, *end = byte + sizeof(*id);
	int err = 0;

	/* Not hex2bin(): its header is another one from version to version. */
	for (; byte < end && !err; text += 2) {
		char digits[] = { text[0], text[0] ? text[1] : '\0', '\0' };

		err = kstrtou8(digits, 16, byte++);
	}
	return err;
}

static int question(const char *text)
{
	char word[16], limit[81], target[81];
	u32 capacity, i;
	cycles_t begun;
	int err;

	query = (struct vhdx_query){ };
	if (sscanf(text, "%15s %80s %80s %llu %llu %llu %llu %u", word, limit, target,
		   &query.byte_offset, &query.byte_length, &query.granularity, &query.min_gap,
		   &capacity) != 8)
		return -EINVAL;
	err = to_id(limit, &query.limit) ?: to_id(target, &query.target);
	for (i = 0; !err && i < ARRAY_SIZE(questions); i++) {
		if (strcmp(word, questions[i].name))
			continue;
		if (capacity > ROOM / questions[i].size)
			return -E2BIG;
		begun = get_cycles();
		err = questions[i].ask(capacity);
		took = get_cycles() - begun;
		blob.size = (questions[i].ask == ask_for_bits ? capacity : count) *
			    questions[i].size;
		return err;
	}
	return err ?: -EINVAL;
}

/* ---- the other calls ------------------------------------------------------------------------- */

static int hold_disk(const char *path)
{
	struct vhdx_hold *found;
	struct path found_path;
	dev_t dev;
	int err;

	if (held == HOLDS)
		return -EBUSY;
	err = kern_path(path, LOOKUP_FOLLOW, &found_path);
	if (err)
		return err;
	dev = d_inode(found_path.dentry)->i_rdev;
	path_put(&found_path);
	found = vhdx_hold_get(dev, THIS_MODULE);
	if (!IS_ERR(found))
		holds[held++] = found;
	return PTR_ERR_OR_ZERO(found);
}

static void put_all(void)
{
	while (held)
		vhdx_hold_put(holds[--held]);
}

static int seal(const char *label)
{
	int err = vhdx_hold_seal(holds, held, label, answer, &failed, &reason);

	blob.size = err ? 0 : held * sizeof(struct vhdx_point_id);
	return err;
}

static int get_points(const char *text)
{
	struct vhdx_point_id after;
	char hex[81];
	u32 capacity;
	int err;

	if (sscanf(text, "points %80s %u", hex, &capacity) != 2 || to_id(hex, &after) ||
	    capacity > ROOM / sizeof(struct vhdx_point))
		return -EINVAL;
	err = vhdx_hold_get_points(holds[0], &after, answer, capacity, &count, &reason);
	blob.size = count * sizeof(struct vhdx_point);
	return err;
}

static int forget(const char *hex)
{
	struct vhdx_point_id id;

	if (strlen(hex) != 2 * sizeof(id) || to_id(hex, &id))
		return -EINVAL;
	return vhdx_hold_forget(holds[0], &id, &reason);
}

static int observe_twice(void)
{
	static const struct vhdx_observer_ops ops = { };
	struct vhdx_observer observer = { .ops = &ops };
	int first = vhdx_observe(holds[0], &observer);
	int second = first ?: vhdx_observe(holds[0], &observer);

	if (!first)
		vhdx_unobserve(holds[0], &observer);
	vhdx_unobserve(holds[0], &observer);
	return second;
}

static int command(char *text)
{
	const char *rest = strchrnul(text, ' ');

	rest += *rest == ' ';
	count = 0;
	failed = 0;
	reason = 0;
	took = 0;
	blob.size = 0;
	if (strstarts(text, "hold "))
		return hold_disk(rest);
	if (!held)
		return -ENODEV;
	if (!strcmp(text, "put"))
		put_all();
	else if (!strcmp(text, "info"))
		blob.size = sizeof(struct vhdx_info);
	else if (!strcmp(text, "state"))
		blob.size = sizeof(struct vhdx_tracking_state);
	else if (!strcmp(text, "twice"))
		return observe_twice();
	else if (strstarts(text, "seal"))
		return seal(*rest ? rest : NULL);
	else if (strstarts(text, "forget "))
		return forget(rest);
	else if (strstarts(text, "points "))
		return get_points(text);
	else
		return question(text);
	if (!strcmp(text, "info"))
		return vhdx_hold_get_info(holds[0], answer);
	return strcmp(text, "state") ? 0 : vhdx_hold_get_state(holds[0], answer);
}

/* ---- debugfs --------------------------------------------------------------------------------- */

static int told_show(struct seq_file *out, void *unused)
{
	seq_printf(out, "count %u\nfailed %u\nreason %u\ntook %llu\n", count, failed,
		   reason ?: query.reason, took);
	seq_printf(out, "processed %llu\nsize %llu\nunit %u\nflags %u\n",
		   query.processed_byte_length, query.virtual_disk_size, query.unit,
		   query.answer_flags);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(told);

DEFINE_CONTROL(command);

static int __init ask_init(void)
{
	answer = kvzalloc(ROOM, GFP_KERNEL);
	if (!answer)
		return -ENOMEM;
	blob.data = answer;
	root = debugfs_create_dir("vhdx_ask", NULL);
	debugfs_create_file("control", 0200, root, NULL, &control_fops);
	debugfs_create_file("told", 0444, root, NULL, &told_fops);
	debugfs_create_blob("answer", 0444, root, &blob);
	return 0;
}

static void __exit ask_exit(void)
{
	debugfs_remove(root);
	put_all();
	kvfree(answer);
}

module_init(ask_init);
module_exit(ask_exit);

MODULE_DESCRIPTION("Asks VHDX disks what a test wants to know");
MODULE_LICENSE("GPL");
/* Of Kbuild: a name, or text, as the kernel wants it. */
MODULE_IMPORT_NS(VHDX_NAMESPACE);
