// SPDX-License-Identifier: GPL-2.0-only
/*
 * /sys/block/vhdxN/vhdx/: one value a file. Documentation/ABI/testing/sysfs-block-vhdx
 */
#include "sysfs.h"
#include "disk/disk.h"
#include "disk/registry.h"

#include <linux/blkdev.h>
#include <linux/math64.h>
#include <linux/sysfs.h>
#include <uapi/linux/vhdx.h>

static struct vhdx_disk *disk_of(struct device *dev)
{
	return dev_to_disk(dev)->private_data;
}

static struct vhdx_open_layer *leaf_of(struct device *dev)
{
	return vhdx_disk_leaf(disk_of(dev));
}

/**
 * vhdx_sysfs_emit_path() - a path, as the mount namespace of the reader sees it
 * @file:	the file
 * @buf:	a page
 *
 * Returns how many bytes, or -errno.
 */
ssize_t vhdx_sysfs_emit_path(struct file *file, char *buf)
{
	char *path = file_path(file, buf, PAGE_SIZE - 1);
	size_t length;

	if (IS_ERR(path))
		return PTR_ERR(path);
	length = strlen(path);
	memmove(buf, path, length);
	buf[length++] = '\n';
	return length;
}

static ssize_t container_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return vhdx_sysfs_emit_path(vhdx_disk_container(disk_of(dev))->file, buf);
}
static DEVICE_ATTR_RO(container);

static ssize_t sidecar_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct file *file = vhdx_tracker_shown_file(&disk_of(dev)->tracker);
	ssize_t length;

	if (!file)
		return 0;
	length = vhdx_sysfs_emit_path(file, buf);
	fput(file);
	return length;
}
static DEVICE_ATTR_RO(sidecar);

static ssize_t former_sidecar_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	int length = vhdx_tracker_shown_former(&disk_of(dev)->tracker, buf, PAGE_SIZE - 1);

	return length + sysfs_emit_at(buf, length, length ? "\n" : "");
}
static DEVICE_ATTR_RO(former_sidecar);

static ssize_t container_dev_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct vhdx_container_description what;

	vhdx_container_describe(vhdx_disk_container(disk_of(dev)), &what);
	return sysfs_emit(buf, "%u:%u\n", MAJOR(what.dev), MINOR(what.dev));
}
static DEVICE_ATTR_RO(container_dev);

static ssize_t container_ino_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct vhdx_container_description what;

	vhdx_container_describe(vhdx_disk_container(disk_of(dev)), &what);
	return sysfs_emit(buf, "%llu\n", what.ino);
}
static DEVICE_ATTR_RO(container_ino);

static ssize_t container_unlinked_show(struct device *dev, struct device_attribute *attr,
				       char *buf)
{
	return sysfs_emit(buf, "%d\n",
			  vhdx_container_is_unlinked(vhdx_disk_container(disk_of(dev))));
}
static DEVICE_ATTR_RO(container_unlinked);

static ssize_t read_only_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", disk_of(dev)->read_only);
}
static DEVICE_ATTR_RO(read_only);

static ssize_t poisoned_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", vhdx_disk_is_poisoned(disk_of(dev)));
}
static DEVICE_ATTR_RO(poisoned);

static ssize_t io_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct vhdx_container_description what;

	vhdx_container_describe(vhdx_disk_container(disk_of(dev)), &what);
	return sysfs_emit(buf, "%s\n", what.io);
}
static DEVICE_ATTR_RO(io);

static ssize_t scan_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct vhdx_allocator *a = &leaf_of(dev)->writer.space;
	ssize_t length;

	spin_lock(&a->state_lock);
	if (a->scan == VHDX_SCAN_FAILED)
		length = sysfs_emit(buf, "failed: %s\n", a->why);
	else
		length = sysfs_emit(buf, "%s\n", a->scan == VHDX_SCAN_OK ? "ok" : "pending");
	spin_unlock(&a->state_lock);
	return length;
}
static DEVICE_ATTR_RO(scan);

static ssize_t virtual_disk_id_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	char text[VHDX_GUID_TEXT];

	vhdx_guid_format(&leaf_of(dev)->image.geo.disk_id, text);
	return sysfs_emit(buf, "%s\n", text);
}
static DEVICE_ATTR_RO(virtual_disk_id);

static ssize_t copy_of_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	int index = vhdx_registry_original(disk_of(dev));

	return index < 0 ? sysfs_emit(buf, "none\n") : sysfs_emit(buf, "vhdx%d\n", index);
}
static DEVICE_ATTR_RO(copy_of);

static ssize_t holders_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return vhdx_registry_show_holders(disk_of(dev), buf);
}
static DEVICE_ATTR_RO(holders);

static ssize_t block_size_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", leaf_of(dev)->image.geo.block_size);
}
static DEVICE_ATTR_RO(block_size);

static ssize_t tracking_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	u32 state = vhdx_tracker_shown(&disk_of(dev)->tracker, NULL);

	return sysfs_emit(buf, "%s\n", vhdx_tracking_to_name(state));
}
static DEVICE_ATTR_RO(tracking);

static ssize_t tracking_errors_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", disk_of(dev)->tracker.insists ? "fail" : "continue");
}
static DEVICE_ATTR_RO(tracking_errors);

static ssize_t strict_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", !!disk_of(dev)->tracker.coarse_host.strict_layer);
}
static DEVICE_ATTR_RO(strict);

static ssize_t reason_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct vhdx_disk *disk = disk_of(dev);
	int err = vhdx_loss_settle(disk);
	const char *name;
	u32 reason;

	if (err == -EINTR)
		return err;
	if (vhdx_tracker_shown(&disk->tracker, &reason) == VHDX_TRACKING_ON && err)
		reason = VHDX_REASON_CHANGED_OFFLINE;
	name = vhdx_reason_to_name(reason);
	if (!name)
		return sysfs_emit(buf, "%u\n", reason);
	return sysfs_emit(buf, "%s\n", name);
}
static DEVICE_ATTR_RO(reason);

static ssize_t unit_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", vhdx_tracker_unit(&disk_of(dev)->tracker));
}
static DEVICE_ATTR_RO(unit);

#define STATISTIC(name, format)								\
static ssize_t name##_show(struct device *dev, struct device_attribute *attr, char *buf)	\
{												\
	struct vhdx_tracker_statistics statistics;						\
												\
	vhdx_tracker_statistics(&disk_of(dev)->tracker, &statistics);				\
	return sysfs_emit(buf, format "\n", statistics.name);					\
}												\
static DEVICE_ATTR_RO(name)

STATISTIC(coarse_commits, "%llu");
STATISTIC(coarse_regions, "%u");
STATISTIC(checkpoints, "%llu");
STATISTIC(recovered_bytes, "%llu");

#define JOURNAL_STATISTIC(file, value)							\
static ssize_t file##_show(struct device *dev, struct device_attribute *attr, char *buf)	\
{												\
	const struct vhdx_journal_statistics *statistics =					\
		&leaf_of(dev)->writer.journal.statistics;					\
												\
	return sysfs_emit(buf, "%llu\n", value);						\
}												\
static DEVICE_ATTR_RO(file)

JOURNAL_STATISTIC(commits, READ_ONCE(statistics->commits));
JOURNAL_STATISTIC(commit_bytes, READ_ONCE(statistics->bytes));
JOURNAL_STATISTIC(commit_waits, READ_ONCE(statistics->waits));
JOURNAL_STATISTIC(commit_wait_us, div_u64(READ_ONCE(statistics->waited_ns), NSEC_PER_USEC));

static ssize_t cached_bytes_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", vhdx_page_cache_bytes(&leaf_of(dev)->pages));
}
static DEVICE_ATTR_RO(cached_bytes);

static struct attribute *disk_attrs[] = {
	&dev_attr_container.attr,
	&dev_attr_container_dev.attr,
	&dev_attr_container_ino.attr,
	&dev_attr_container_unlinked.attr,
	&dev_attr_sidecar.attr,
	&dev_attr_former_sidecar.attr,
	&dev_attr_read_only.attr,
	&dev_attr_poisoned.attr,
	&dev_attr_io.attr,
	&dev_attr_scan.attr,
	&dev_attr_virtual_disk_id.attr,
	&dev_attr_copy_of.attr,
	&dev_attr_holders.attr,
	&dev_attr_block_size.attr,
	&dev_attr_tracking.attr,
	&dev_attr_tracking_errors.attr,
	&dev_attr_strict.attr,
	&dev_attr_reason.attr,
	&dev_attr_unit.attr,
	&dev_attr_coarse_commits.attr,
	&dev_attr_coarse_regions.attr,
	&dev_attr_checkpoints.attr,
	&dev_attr_recovered_bytes.attr,
	&dev_attr_commits.attr,
	&dev_attr_commit_bytes.attr,
	&dev_attr_commit_waits.attr,
	&dev_attr_commit_wait_us.attr,
	&dev_attr_cached_bytes.attr,
	NULL,
};

const struct attribute_group vhdx_sysfs_group = {
	.name = "vhdx",
	.attrs = disk_attrs,
};
