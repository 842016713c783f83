// SPDX-License-Identifier: GPL-2.0-only
/*
 * A container on a block device: bios are pointed at it and sent on, without
 * copying, as dm-linear does.
 */
#include "container.h"

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <uapi/linux/vhdx.h>

#define RW_PAGES	16

static int bdev_open(struct vhdx_container *c, struct vhdx_diag *diag)
{
	struct block_device *bdev = I_BDEV(c->file->f_mapping->host);

	if (!c->read_only && bdev_read_only(bdev))
		return vhdx_fail(diag, -EROFS, VHDX_REASON_READ_ONLY,
			"%s: block device %u:%u is read-only: a read-only attach may do, or `blockdev --setrw`",
			c->what, MAJOR(bdev->bd_dev), MINOR(bdev->bd_dev));
	/* One holder for the whole module: conflicts among disks of this module are for
	 * claim.c to find, those with others for the kernel.
	 */
	c->bdev_claim = compat_bdev_claim_dev(bdev->bd_dev, !c->read_only,
					      (void *)&vhdx_container_bdev_ops);
	if (IS_ERR(c->bdev_claim))
		return vhdx_fail(diag, PTR_ERR(c->bdev_claim), VHDX_REASON_IN_USE,
			"%s: block device %u:%u can't be opened exclusively (error %ld): is it mounted, or part of another device?",
			c->what, MAJOR(bdev->bd_dev), MINOR(bdev->bd_dev), PTR_ERR(c->bdev_claim));

	c->bdev = compat_bdev_claimed(c->bdev_claim);
	c->size = bdev_nr_bytes(c->bdev);
	c->alignment = bdev_logical_block_size(c->bdev);
	c->dma_alignment = bdev_dma_alignment(c->bdev);
	c->stable_writes = bdev_stable_writes(c->bdev);
	/* Our bios go past the page cache of the device: what others wrote to it must be on
	 * the device, and what it holds must not be read again after we wrote.
	 */
	sync_blockdev(c->bdev);
	invalidate_bdev(c->bdev);
	return 0;
}

static void bdev_describe(const struct vhdx_container *c, struct vhdx_container_description *d)
{
	d->io = "block";
	d->dev = c->bdev->bd_dev;
	d->ino = 0;
	d->below = c->bdev;
}

static void bdev_close(struct vhdx_container *c, bool now)
{
	invalidate_bdev(c->bdev);
	compat_bdev_unclaim(c->bdev_claim, !c->read_only, now);
	c->bdev = NULL;
}

/*
 * The block layer sends our writes to a device that was made read-only, and warns once: only
 * what comes through its node is refused. What is written is for us to judge.
 */
static bool must_not_write(const struct vhdx_container *c)
{
	return unlikely(bdev_read_only(c->bdev));
}

static int bdev_rw(struct vhdx_container *c, u64 offset, void *buf, size_t length, bool write)
{
	struct bio_vec bvecs[RW_PAGES];
	struct bio bio;
	int err = 0;

	if (write && must_not_write(c))
		return -EROFS;
	if (offset + length > c->size) {
		size_t inside = offset < c->size ? c->size - offset : 0;

		if (write)
			return -ENOSPC;
		memset(buf + inside, 0, length - inside);
		length = inside;
	}
	while (length && !err) {
		bio_init(&bio, c->bdev, bvecs, RW_PAGES,
			 write ? REQ_OP_WRITE | REQ_SYNC : REQ_OP_READ);
		bio.bi_iter.bi_sector = offset >> SECTOR_SHIFT;
		while (length) {
			size_t n = min_t(size_t, length, PAGE_SIZE - offset_in_page(buf));

			if (bio_add_page(&bio, vhdx_page_of(buf), n, offset_in_page(buf)) != n)
				break;
			buf += n;
			offset += n;
			length -= n;
		}
		err = submit_bio_wait(&bio);
		bio_uninit(&bio);
	}
	return err;
}

static void bdev_end_io(struct bio *clone)
{
	struct vhdx_request *request = container_of(clone, struct vhdx_request, clone);

	request->done(request, clone->bi_status);
}

static void bdev_submit(struct vhdx_container *c, struct vhdx_request *request)
{
	if (vhdx_request_is_write(request) && must_not_write(c)) {
		request->done(request, BLK_STS_IOERR);
		return;
	}
	request->clone.bi_bdev = c->bdev;
	/* It is the caller's bio that writeback, say, has put on the account of whom it is for. */
	if (likely(request->account))
		bio_clone_blkg_association(&request->clone, request->account);
	else
		bio_associate_blkg(&request->clone);
	request->clone.bi_iter.bi_sector = request->offset >> SECTOR_SHIFT;
	request->clone.bi_end_io = bdev_end_io;
	submit_bio_noacct(&request->clone);
}

static int bdev_flush(struct vhdx_container *c)
{
	return blkdev_issue_flush(c->bdev);
}

static int bdev_extend(struct vhdx_container *c, u64 size, u64 *from)
{
	*from = vhdx_container_length(c);
	/* A volume may have grown since: its new room is used without a reattach. */
	if (size > *from)
		return -ENOSPC;
	vhdx_container_grew(c, size);
	return 0;
}

static int bdev_trim(struct vhdx_container *c, u64 size)
{
	return 0;
}

static int bdev_zero(struct vhdx_container *c, u64 offset, u64 length, bool keep)
{
	return blkdev_issue_zeroout(c->bdev, offset >> SECTOR_SHIFT, length >> SECTOR_SHIFT,
				    GFP_NOIO, keep ? BLKDEV_ZERO_NOUNMAP : 0);
}

static int bdev_clear(struct vhdx_container *c, u64 offset, u64 length)
{
	if (must_not_write(c))
		return -EROFS;
	if (!bdev_write_zeroes_sectors(c->bdev))
		return -EOPNOTSUPP;
	return blkdev_issue_zeroout(c->bdev, offset >> SECTOR_SHIFT, length >> SECTOR_SHIFT,
				    GFP_NOIO, BLKDEV_ZERO_NOFALLBACK);
}

static int bdev_discard(struct vhdx_container *c, u64 offset, u64 length)
{
	if (must_not_write(c))
		return -EROFS;
	if (!bdev_max_discard_sectors(c->bdev))
		return -EOPNOTSUPP;
	return blkdev_issue_discard(c->bdev, offset >> SECTOR_SHIFT, length >> SECTOR_SHIFT,
				    GFP_NOIO);
}

const struct vhdx_container_ops vhdx_container_bdev_ops = {
	.open		= bdev_open,
	.describe	= bdev_describe,
	.close		= bdev_close,
	.rw		= bdev_rw,
	.submit		= bdev_submit,
	.flush		= bdev_flush,
	.extend		= bdev_extend,
	.trim		= bdev_trim,
	.zero		= bdev_zero,
	.clear		= bdev_clear,
	.discard	= bdev_discard,
};
