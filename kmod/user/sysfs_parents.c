// SPDX-License-Identifier: GPL-2.0-only
/*
 * /sys/block/vhdxN/parentK/: a file that the disk is made of below its leaf, one value a file.
 * Documentation/ABI/testing/sysfs-block-vhdx
 *
 * They come and go with the block device, so there is one group of attributes for each parent,
 * made for the disk.
 */
#include "sysfs.h"
#include "disk/disk.h"

#include <linux/device.h>
#include <linux/slab.h>
#include <linux/sysfs.h>
#include <uapi/linux/vhdx.h>

static struct vhdx_layer_user *parent_of(struct device_attribute *attr)
{
	return container_of(attr, struct dev_ext_attribute, attr)->var;
}

static ssize_t container_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return vhdx_sysfs_emit_path(parent_of(attr)->container.file, buf);
}

static ssize_t container_dev_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct vhdx_container_description what;

	vhdx_container_describe(&parent_of(attr)->container, &what);
	return sysfs_emit(buf, "%u:%u\n", MAJOR(what.dev), MINOR(what.dev));
}

static ssize_t container_ino_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct vhdx_container_description what;

	vhdx_container_describe(&parent_of(attr)->container, &what);
	return sysfs_emit(buf, "%llu\n", what.ino);
}

static ssize_t container_unlinked_show(struct device *dev, struct device_attribute *attr,
				       char *buf)
{
	return sysfs_emit(buf, "%d\n", vhdx_container_is_unlinked(&parent_of(attr)->container));
}

static ssize_t lost_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct vhdx_layer_user *parent = parent_of(attr);

	return sysfs_emit(buf, "%d\n", vhdx_layer_is_lost(parent->layer, &parent->container));
}

static ssize_t cached_bytes_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", vhdx_page_cache_bytes(&parent_of(attr)->layer->pages));
}

static const struct device_attribute files[] = {
	__ATTR_RO(container),
	__ATTR_RO(container_dev),
	__ATTR_RO(container_ino),
	__ATTR_RO(container_unlinked),
	__ATTR_RO(lost),
	__ATTR_RO(cached_bytes),
};

/**
 * struct parent_group - the attributes of one parent
 * @name:	of its directory
 * @group:	says so
 * @attrs:	ended by NULL
 * @files:	each knows its parent
 */
struct parent_group {
	char name[20];
	struct attribute_group group;
	struct attribute *attrs[ARRAY_SIZE(files) + 1];
	struct dev_ext_attribute files[ARRAY_SIZE(files)];
};

/**
 * struct vhdx_sysfs - what a disk with parents has in sysfs
 * @groups:	of the leaf and of each parent, ended by NULL
 * @parents:	of the parents
 */
struct vhdx_sysfs {
	const struct attribute_group *groups[VHDX_LAYERS_MAX + 1];
	struct parent_group parents[];
};

static void fill_group(struct parent_group *parent, struct vhdx_disk *disk, unsigned int position)
{
	unsigned int i;

	snprintf(parent->name, sizeof(parent->name), "parent%u", position);
	parent->group.name = parent->name;
	parent->group.attrs = parent->attrs;
	for (i = 0; i < ARRAY_SIZE(files); i++) {
		parent->files[i].attr = files[i];
		parent->files[i].var = &disk->layers[position];
		sysfs_attr_init(&parent->files[i].attr.attr);
		parent->attrs[i] = &parent->files[i].attr.attr;
	}
}

/**
 * vhdx_sysfs_make() - what the disk shows in sysfs
 * @disk:	its layers are open; vhdx_sysfs_free() it when it has left sysfs, or never was there
 *
 * Sleeps. Returns an array that is ended by NULL, or NULL without memory.
 */
const struct attribute_group **vhdx_sysfs_make(struct vhdx_disk *disk)
{
	unsigned int i, parents = disk->layer_count - 1;
	struct vhdx_sysfs *sysfs;

	sysfs = kvzalloc(struct_size(sysfs, parents, parents), GFP_KERNEL);
	if (!sysfs)
		return NULL;
	sysfs->groups[0] = &vhdx_sysfs_group;
	for (i = 0; i < parents; i++) {
		fill_group(&sysfs->parents[i], disk, i + 1);
		sysfs->groups[i + 1] = &sysfs->parents[i].group;
	}
	disk->sysfs = sysfs;
	return sysfs->groups;
}

/**
 * vhdx_sysfs_free() - forget it; harmless where there is nothing
 * @disk:	not in sysfs
 */
void vhdx_sysfs_free(struct vhdx_disk *disk)
{
	kvfree(disk->sysfs);
	disk->sysfs = NULL;
}
