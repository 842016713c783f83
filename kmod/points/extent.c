// SPDX-License-Identifier: GPL-2.0-only
#include "extent.h"
#include "errand.h"
#include "mapped.h"
#include "disk/disk.h"

#include <linux/slab.h>

/**
 * struct search - for one extent
 * @errand:	keeps all of this
 * @disk:	held by the errand
 * @offset:	see vhdx_extent_find()
 * @wanted:	likewise
 * @extent:	likewise
 * @err:	0 or -errno
 */
struct search {
	struct vhdx_errand errand;
	struct vhdx_disk *disk;
	u64 offset;
	u64 wanted;
	struct vhdx_mapping extent;
	int err;
};

static void run_errand(struct vhdx_errand *errand)
{
	struct search *search = container_of(errand, struct search, errand);

	const struct vhdx_mapped mapped = { .disk = search->disk, .errand = errand };

	search->err = vhdx_mapped_find(&mapped, search->offset, search->wanted, &search->extent);
}

static void free_search(struct vhdx_errand *errand)
{
	kfree(container_of(errand, struct search, errand));
}

/* It has to be read: a worker does that. */
static int load(struct vhdx_cdev *cdev, struct vhdx_disk *disk, u64 offset, u64 wanted,
		struct vhdx_mapping *extent)
{
	struct search *search = kzalloc(sizeof(*search), GFP_KERNEL);
	int err;

	if (!search)
		return -ENOMEM;
	vhdx_errand_init(&search->errand, cdev, run_errand, free_search);
	search->disk = disk;
	search->offset = offset;
	search->wanted = wanted;
	err = vhdx_errand_run(&search->errand, disk->question_wq);
	if (!err) {
		err = search->err;
		*extent = search->extent;
	}
	vhdx_errand_put(&search->errand);
	return err;
}

/**
 * vhdx_extent_find() - what is mapped at an offset of a disk, in any of its layers
 * @cdev:	of the disk
 * @disk:	which is entered (vhdx_cdev_enter())
 * @offset:	of the disk
 * @wanted:	bytes that are asked for, one at least
 * @extent:	receives what is there, at most so much: neither VHDX_MAPPING_PARENT nor
 *		VHDX_MAPPING_UNKNOWN
 *
 * As of any moment of the call: a write that was acknowledged before it is mapped. Sleeps where a
 * page has to be read, killable. Returns 0; -EINTR killed; -ENOMEM; or what reading failed with.
 */
int vhdx_extent_find(struct vhdx_cdev *cdev, struct vhdx_disk *disk, u64 offset, u64 wanted,
		     struct vhdx_mapping *extent)
{
	vhdx_mapped_look(disk, offset, wanted, extent);
	return extent->kind == VHDX_MAPPING_UNKNOWN ? load(cdev, disk, offset, wanted, extent) : 0;
}
