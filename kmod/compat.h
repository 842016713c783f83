/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every difference between kernel versions, and nothing else. The driver is
 * written for the newest kernel; HAVE_* come from kmod/compat/probe.
 */
#ifndef VHDX_COMPAT_H
#define VHDX_COMPAT_H

#include <linux/blkdev.h>
#include <linux/device.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/shrinker.h>

/* ---- an exclusive claim on a block device -------------------------------- */

#ifdef HAVE_BDEV_FILE
typedef struct file *compat_bdev_claim;

static inline compat_bdev_claim compat_bdev_claim_dev(dev_t dev, bool write, void *holder)
{
	return bdev_file_open_by_dev(dev, BLK_OPEN_READ | (write ? BLK_OPEN_WRITE : 0),
				     holder, NULL);
}

/* The claim goes; with @now, in a kernel thread, so does the last reference before it returns. */
static inline void compat_bdev_unclaim(compat_bdev_claim claim, bool write, bool now)
{
#ifdef HAVE_BDEV_FPUT
	if (now)
		get_file(claim);
	bdev_fput(claim);
	if (now)
		__fput_sync(claim);
#else
	if (now)
		__fput_sync(claim);
	else
		fput(claim);
#endif
}

static inline struct block_device *compat_bdev_claimed(compat_bdev_claim claim)
{
	return file_bdev(claim);
}
#else
typedef struct block_device *compat_bdev_claim;

static inline compat_bdev_claim compat_bdev_claim_dev(dev_t dev, bool write, void *holder)
{
	return blkdev_get_by_dev(dev, FMODE_READ | FMODE_EXCL | (write ? FMODE_WRITE : 0),
				 holder);
}

static inline void compat_bdev_unclaim(compat_bdev_claim claim, bool write, bool now)
{
	blkdev_put(claim, FMODE_READ | FMODE_EXCL | (write ? FMODE_WRITE : 0));
}

static inline struct block_device *compat_bdev_claimed(compat_bdev_claim claim)
{
	return claim;
}
#endif

/* ---- the gendisk and its limits ------------------------------------------ */

/**
 * struct compat_limits - the limits that this driver sets, in bytes
 * @logical_block_size:	and physical_block_size: as in struct queue_limits
 * @dma_alignment:	mask
 * @atomic_write_most:	what may be written as a whole or not at all, where the device below
 *			can: larger writes may be cut
 * @discard_granularity: what is discarded as a whole, or not at all
 * @discard_most:	what is discarded, or made zeroes, by one bio; 0: neither can be
 * @stable_writes:	pages must not change while they are written
 * @nowait:		bios that do not wait are welcome
 * @below:		the block device that bios are sent on to, or NULL
 */
struct compat_limits {
	unsigned int logical_block_size;
	unsigned int physical_block_size;
	unsigned int dma_alignment;
	unsigned int atomic_write_most;
	unsigned int discard_granularity;
	unsigned int discard_most;
	bool stable_writes;
	bool nowait;
	struct block_device *below;
};

#ifdef HAVE_QUEUE_LIMITS_FEATURES
/* As dm-linear passes them on: what is below starts at a multiple of atomic_write_most. */
static inline void compat_stack_atomic_writes(struct queue_limits *lim,
					      const struct compat_limits *limits)
{
#ifdef HAVE_ATOMIC_WRITE_LIMITS
	struct request_queue *q = bdev_get_queue(limits->below);
	unsigned int boundary = queue_atomic_write_boundary_bytes(q);

	if (!bdev_can_atomic_write(limits->below))
		return;
	lim->atomic_write_hw_max = min(queue_atomic_write_max_bytes(q),
				       limits->atomic_write_most);
	lim->atomic_write_hw_unit_min = queue_atomic_write_unit_min_bytes(q);
	lim->atomic_write_hw_unit_max = min(queue_atomic_write_unit_max_bytes(q),
					    limits->atomic_write_most);
	/* No write is as large as a larger boundary. */
	lim->atomic_write_hw_boundary = boundary <= limits->atomic_write_most ? boundary : 0;
#ifdef HAVE_FEAT_ATOMIC_WRITES
	lim->features |= BLK_FEAT_ATOMIC_WRITES;
#endif
#endif
}
#endif

/* A bio-based disk with a volatile write cache and FUA. An ERR_PTR on failure. */
static inline struct gendisk *compat_alloc_disk(const struct compat_limits *limits)
{
	unsigned int discard_sectors = limits->discard_most >> SECTOR_SHIFT;
#ifdef HAVE_QUEUE_LIMITS_FEATURES
	struct queue_limits lim = {
		.logical_block_size = limits->logical_block_size,
		.physical_block_size = limits->physical_block_size,
		.io_min = limits->physical_block_size,
		.dma_alignment = limits->dma_alignment,
		.max_hw_sectors = UINT_MAX,
		.max_segments = USHRT_MAX,
		.max_hw_discard_sectors = discard_sectors,
		.discard_granularity = discard_sectors ? limits->discard_granularity : 0,
		.max_write_zeroes_sectors = discard_sectors,
#ifdef HAVE_WZEROES_UNMAP
		.max_hw_wzeroes_unmap_sectors = discard_sectors,
#endif
		.features = BLK_FEAT_WRITE_CACHE | BLK_FEAT_FUA,
	};

	if (limits->stable_writes)
		lim.features |= BLK_FEAT_STABLE_WRITES;
	if (limits->nowait)
		lim.features |= BLK_FEAT_NOWAIT;
	if (limits->below)
		compat_stack_atomic_writes(&lim, limits);
	return blk_alloc_disk(&lim, NUMA_NO_NODE);
#else
	struct gendisk *gd = blk_alloc_disk(NUMA_NO_NODE);

	if (!gd)
		return ERR_PTR(-ENOMEM);
	blk_queue_logical_block_size(gd->queue, limits->logical_block_size);
	blk_queue_physical_block_size(gd->queue, limits->physical_block_size);
	blk_queue_io_min(gd->queue, limits->physical_block_size);
	blk_queue_dma_alignment(gd->queue, limits->dma_alignment);
	blk_queue_max_hw_sectors(gd->queue, UINT_MAX);
	blk_queue_max_discard_sectors(gd->queue, discard_sectors);
	blk_queue_max_write_zeroes_sectors(gd->queue, discard_sectors);
	gd->queue->limits.discard_granularity = discard_sectors ?
						limits->discard_granularity : 0;
	blk_queue_write_cache(gd->queue, true, true);
	blk_queue_flag_set(QUEUE_FLAG_NONROT, gd->queue);
	if (limits->stable_writes)
		blk_queue_flag_set(QUEUE_FLAG_STABLE_WRITES, gd->queue);
	if (limits->nowait)
		blk_queue_flag_set(QUEUE_FLAG_NOWAIT, gd->queue);
	return gd;
#endif
}

#ifdef HAVE_BLK_MODE_T
#define COMPAT_BDOPS_OPEN(name, gd)	int name(struct gendisk *gd, blk_mode_t mode)
#define COMPAT_BDOPS_OPEN_DISK(gd)	(gd)
#define COMPAT_BDOPS_RELEASE(name, gd)	void name(struct gendisk *gd)
#define COMPAT_OPEN_WRITE	BLK_OPEN_WRITE
#define COMPAT_OPEN_EXCL	BLK_OPEN_EXCL
#else
#define COMPAT_BDOPS_OPEN(name, gd)	int name(struct block_device *gd, fmode_t mode)
#define COMPAT_BDOPS_OPEN_DISK(gd)	((gd)->bd_disk)
#define COMPAT_BDOPS_RELEASE(name, gd)	void name(struct gendisk *gd, fmode_t mode)
#define COMPAT_OPEN_WRITE	FMODE_WRITE
#define COMPAT_OPEN_EXCL	FMODE_EXCL
#endif

/* ---- a bio that is cut ------------------------------------------------------ */

/* Returns the front; the rest is submitted. NULL: the bio has failed. May wait for memory. */
static inline struct bio *compat_submit_split(struct bio *bio, unsigned int sectors,
					      struct bio_set *set)
{
#ifdef HAVE_BIO_SUBMIT_SPLIT_BIOSET
	return bio_submit_split_bioset(bio, sectors, set);
#else
	struct bio *front = bio_split(bio, sectors, GFP_NOIO, set);

	if (IS_ERR_OR_NULL(front)) {
		bio_io_error(bio);
		return NULL;
	}
	bio_chain(front, bio);
	submit_bio_noacct(bio);
	return front;
#endif
}

/* ---- the iterator of a bio -------------------------------------------------- */

/* How much of the current vector is done, in bytes. */
static inline unsigned int compat_bvec_iter_done(const struct bvec_iter *iter)
{
#ifdef HAVE_BVEC_ITER_OFFSET
	return iter->bi_offset;
#else
	return iter->bi_bvec_done;
#endif
}

/* ---- files ------------------------------------------------------------------ */

/* With the inode's lock, and write access to the mount. */
static inline int compat_notify_change(struct file *file, struct iattr *attr)
{
#ifdef HAVE_FILE_MNT_IDMAP
	return notify_change(file_mnt_idmap(file), file->f_path.dentry, attr, NULL);
#else
	return notify_change(file_mnt_user_ns(file), file->f_path.dentry, attr, NULL);
#endif
}

/* ---- device model ---------------------------------------------------------- */

#ifdef HAVE_CLASS_DEVNODE_CONST
#define COMPAT_DEVNODE_CONST const
#else
#define COMPAT_DEVNODE_CONST
#endif

#ifdef HAVE_CLASS_OWNER
#define COMPAT_CLASS_OWNER .owner = THIS_MODULE,
#else
#define COMPAT_CLASS_OWNER
#endif

/* ---- shrinkers ------------------------------------------------------------- */

/**
 * struct compat_shrinker - a shrinker and the object that it shrinks
 */
struct compat_shrinker {
#ifdef HAVE_SHRINKER_ALLOC
	struct shrinker *shrinker;
#else
	struct shrinker shrinker;
#endif
	void *object;
};

static inline void *compat_shrinker_object(struct shrinker *shrinker)
{
#ifdef HAVE_SHRINKER_ALLOC
	return shrinker->private_data;
#else
	return container_of(shrinker, struct compat_shrinker, shrinker)->object;
#endif
}

static inline int
compat_shrinker_register(struct compat_shrinker *s, void *object,
			 unsigned long (*count)(struct shrinker *, struct shrink_control *),
			 unsigned long (*scan)(struct shrinker *, struct shrink_control *),
			 const char *name)
{
	s->object = object;
#ifdef HAVE_SHRINKER_ALLOC
	s->shrinker = shrinker_alloc(0, "%s", name);
	if (!s->shrinker)
		return -ENOMEM;
	s->shrinker->count_objects = count;
	s->shrinker->scan_objects = scan;
	s->shrinker->private_data = object;
	shrinker_register(s->shrinker);
	return 0;
#else
	s->shrinker.count_objects = count;
	s->shrinker.scan_objects = scan;
	s->shrinker.seeks = DEFAULT_SEEKS;
	return register_shrinker(&s->shrinker, "%s", name);
#endif
}

static inline void compat_shrinker_unregister(struct compat_shrinker *s)
{
#ifdef HAVE_SHRINKER_ALLOC
	shrinker_free(s->shrinker);
#else
	unregister_shrinker(&s->shrinker);
#endif
}

/* ---- symbols for other modules ------------------------------------------- */

#ifdef HAVE_EXPORT_NS_NAME
#define EXPORT_SYMBOL_VHDX(symbol)	EXPORT_SYMBOL_NS_GPL(symbol, VHDX)
#else
#define EXPORT_SYMBOL_VHDX(symbol)	EXPORT_SYMBOL_NS_GPL(symbol, "VHDX")
#endif

#endif
