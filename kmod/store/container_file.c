// SPDX-License-Identifier: GPL-2.0-only
/*
 * A container in a regular file: kiocbs from a workqueue, direct I/O where the file
 * system takes it, as loop does.
 */
#include "container.h"
#include "scope.h"

#include <linux/bio.h>
#include <linux/falloc.h>
#include <linux/mount.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <uapi/linux/vhdx.h>

#define RW_PAGES	32

static void file_start(struct vhdx_request *request);

/*
 * Is direct I/O the file system's own, which keeps to it? Where it is a method of the page
 * cache, the generic code around it turns to the page cache for what is short, and the file
 * system for what was never written in front of a write: a page is dirty then while a direct
 * write to another part of it is under way. That is an error of the file (rule V8), for good.
 */
static bool is_direct_io_pure(const struct inode *below)
{
	const struct address_space_operations *a_ops = below->i_mapping->a_ops;

	return !a_ops->direct_IO || a_ops->direct_IO == noop_direct_IO;
}

/*
 * What direct I/O on this file must be aligned to; 0: it takes none, or not only. A file
 * system that doesn't say is believed to need the sectors of its device.
 */
static u32 direct_alignment(struct file *file, const struct inode *below, u32 *dma_alignment)
{
	struct super_block *sb = below->i_sb;
	struct kstat stat;

	if (!(file->f_mode & FMODE_CAN_ODIRECT) || !is_direct_io_pure(below))
		return 0;
	if (!vfs_getattr(&file->f_path, &stat, STATX_DIOALIGN, 0) &&
	    (stat.result_mask & STATX_DIOALIGN)) {
		if (stat.dio_mem_align)
			*dma_alignment = max(*dma_alignment, stat.dio_mem_align - 1);
		return stat.dio_offset_align;
	}
	return sb->s_bdev ? bdev_logical_block_size(sb->s_bdev) : 0;
}

static ssize_t start(struct vhdx_container *c, struct kiocb *iocb, struct iov_iter *iter,
		     bool write)
{
	ssize_t ret;

	if (!write)
		return c->file->f_op->read_iter(iocb, iter);
	kiocb_start_write(iocb);
	ret = c->file->f_op->write_iter(iocb, iter);
	if (ret != -EIOCBQUEUED)
		kiocb_end_write(iocb);
	return ret;
}

static ssize_t transfer(struct vhdx_container *c, u64 offset, struct iov_iter *iter, bool write)
{
	struct kiocb iocb;

	init_sync_kiocb(&iocb, c->file);
	iocb.ki_flags = c->direct ? IOCB_DIRECT : 0;
	iocb.ki_pos = offset;
	return start(c, &iocb, iter, write);
}

static void set_bvec(struct bio_vec *bvec, void *p, size_t length)
{
	bvec->bv_page = vhdx_page_of(p);
	bvec->bv_offset = offset_in_page(p);
	bvec->bv_len = length;
}

/*
 * An overlay takes direct I/O on whatever is below, and hands it on to a file system that may not.
 * Only that is looked for here: another error is found by the first read of the content.
 */
static int try_direct(struct vhdx_container *c, struct vhdx_diag *diag)
{
	void *buf = kmalloc(VHDX_PAGE, GFP_KERNEL);
	struct bio_vec bvec;
	struct iov_iter iter;

	if (!buf)
		return vhdx_no_memory(diag);
	set_bvec(&bvec, buf, c->alignment);
	iov_iter_bvec(&iter, ITER_DEST, &bvec, 1, c->alignment);
	if (transfer(c, 0, &iter, false) == -EINVAL) {
		c->direct = false;
		c->alignment = 512;
	}
	kfree(buf);
	return 0;
}

static int file_open(struct vhdx_container *c, struct vhdx_diag *diag)
{
	/* An overlay does not say what the file system does that its files are in. */
	struct inode *below = vhdx_inode_below(c->file);
	u32 alignment;
	int err;

	if (!c->file->f_op->read_iter)
		return vhdx_fail(diag, -EOPNOTSUPP, VHDX_REASON_UNSUPPORTED,
			"%s: the file system of this file can't be read from the kernel; copy it to another one",
			c->what);
	if (!c->read_only && !c->file->f_op->write_iter)
		return vhdx_fail(diag, -EOPNOTSUPP, VHDX_REASON_UNSUPPORTED,
			"%s: the file system of this file can't be written from the kernel; attach read-only, or copy it to another one",
			c->what);

	vhdx_file_queue_init(&c->queue, file_start);
	c->size = vhdx_container_length(c);
	c->dma_alignment = 511;
	c->stable_writes = mapping_stable_writes(below->i_mapping) ||
			   below->i_sb->s_iflags & SB_I_STABLE_WRITES;
	alignment = direct_alignment(c->file, below, &c->dma_alignment);
	c->direct = alignment && alignment <= VHDX_PAGE && is_power_of_2(alignment);
	c->alignment = c->direct ? max(alignment, 512U) : 512;

	/* What others wrote through the page cache is on disk before we start. */
	err = c->read_only ? 0 : vfs_fsync(c->file, 0);
	if (err)
		return vhdx_io_failed(diag, err, "%s: the file can't be flushed (error %d)",
				      c->what, err);
	return c->direct ? try_direct(c, diag) : 0;
}

static int file_prepare(struct vhdx_container *c)
{
	return vhdx_file_queue_prepare(&c->queue);
}

static void file_describe(const struct vhdx_container *c, struct vhdx_container_description *d)
{
	const struct inode *inode = file_inode(c->file);

	d->io = c->direct ? "direct" : "buffered";
	d->dev = inode->i_sb->s_dev;
	d->ino = inode->i_ino;
	d->below = NULL;
}

/* The file itself and the claim are the container's. */
static void file_close(struct vhdx_container *c, bool now)
{
}

/* Nothing is behind this offset: that is right only where nothing was. */
static void file_ends_at(struct vhdx_container *c, u64 offset, u64 known)
{
	if (offset < known)
		WRITE_ONCE(c->lost, true);
}

static int file_rw(struct vhdx_container *c, u64 offset, void *buf, size_t length, bool write)
{
	struct bio_vec bvecs[RW_PAGES];
	u64 known = READ_ONCE(c->size);
	struct iov_iter iter;
	unsigned int count;
	size_t chunk, n;
	ssize_t ret;

	while (length) {
		for (chunk = 0, count = 0; chunk < length && count < RW_PAGES; count++) {
			n = min_t(size_t, length - chunk, PAGE_SIZE - offset_in_page(buf + chunk));
			set_bvec(&bvecs[count], buf + chunk, n);
			chunk += n;
		}
		iov_iter_bvec(&iter, write ? ITER_SOURCE : ITER_DEST, bvecs, count, chunk);
		ret = transfer(c, offset, &iter, write);
		if (ret < 0)
			return ret;
		if (!ret) {
			/* The end of the file: zeroes for a reader. */
			if (write)
				return -EIO;
			file_ends_at(c, offset, known);
			memset(buf, 0, length);
			return 0;
		}
		/* A short transfer at an unaligned end of file can't go on with
		 * direct I/O; what follows the end is zero.
		 */
		if (!write && !IS_ALIGNED(ret, c->alignment)) {
			file_ends_at(c, offset + ret, known);
			memset(buf + ret, 0, length - ret);
			return 0;
		}
		buf += ret;
		offset += ret;
		length -= ret;
	}
	return 0;
}

static size_t joined_size(const struct vhdx_request *first)
{
	size_t size = vhdx_request_length(first);
	const struct vhdx_request *request;

	list_for_each_entry(request, &first->file.joined, link)
		size += vhdx_request_length(request);
	return size;
}

/* Whatever is wrong with some of it, each finds out for itself. */
static void end_joined(struct vhdx_request *first, long ret)
{
	struct vhdx_container *c = first->container;
	bool all = ret == joined_size(first);
	struct vhdx_request *request, *next;
	LIST_HEAD(ended);

	list_add_tail(&first->link, &ended);
	list_splice_tail_init(&first->file.joined, &ended);
	vhdx_file_queue_back(&c->queue, first);
	list_for_each_entry_safe(request, next, &ended, link) {
		list_del_init(&request->link);
		if (all) {
			request->done(request, BLK_STS_OK);
		} else {
			request->alone = true;
			vhdx_file_queue_add(&c->queue, request);
		}
	}
}

static unsigned int add_bvecs(struct bio_vec *table, unsigned int count,
			      const struct vhdx_request *request)
{
	struct bvec_iter iter;
	struct bio_vec bvec;

	bio_for_each_bvec(bvec, &request->clone, iter)
		table[count++] = bvec;
	return count;
}

static void joined_iter(struct vhdx_request *first, struct iov_iter *iter, bool write)
{
	unsigned int count = add_bvecs(first->file.table, 0, first);
	const struct vhdx_request *request;

	list_for_each_entry(request, &first->file.joined, link)
		count = add_bvecs(first->file.table, count, request);
	iov_iter_bvec(iter, write ? ITER_SOURCE : ITER_DEST, first->file.table, count,
		      joined_size(first));
}

static void own_iter(struct vhdx_request *request, struct iov_iter *iter, bool write)
{
	struct bio *clone = &request->clone;
	unsigned int count = 0;
	struct bvec_iter biter;
	struct bio_vec bvec;

	bio_for_each_bvec(bvec, clone, biter)
		count++;
	iov_iter_bvec(iter, write ? ITER_SOURCE : ITER_DEST,
		      __bvec_iter_bvec(clone->bi_io_vec, clone->bi_iter), count,
		      clone->bi_iter.bi_size);
	iter->iov_offset = compat_bvec_iter_done(&clone->bi_iter);
}

/*
 * The kiocb, the bvec table and the iterator are in use until the file system has
 * both returned and completed, whichever comes last: two references.
 */
static void file_io_put(struct vhdx_request *request)
{
	struct vhdx_container *c = request->container;
	struct bio *clone = &request->clone;
	bool write = vhdx_request_is_write(request);
	long ret;

	if (!atomic_dec_and_test(&request->file.refs))
		return;
	ret = request->file.result;
	if (request->file.table) {
		end_joined(request, ret);
		return;
	}
	vhdx_file_queue_back(&c->queue, request);

	if (ret < 0) {
		request->done(request, errno_to_blk_status(ret));
		return;
	}
	if (ret == clone->bi_iter.bi_size) {
		request->done(request, BLK_STS_OK);
		return;
	}
	if (write && !ret) {
		request->done(request, BLK_STS_IOERR);
		return;
	}
	/* Short: go on behind it. Behind an image that ended so there are zeroes (rule V8). */
	bio_advance(clone, ret);
	request->offset += ret;
	if (!write && (!ret || !IS_ALIGNED(ret, c->alignment))) {
		file_ends_at(c, request->offset, request->file.known);
		zero_fill_bio(clone);
		request->done(request, READ_ONCE(c->lost) ? BLK_STS_IOERR : BLK_STS_OK);
		return;
	}
	vhdx_file_queue_add(&c->queue, request);
}

static void file_io_complete(struct kiocb *iocb, long ret)
{
	struct vhdx_request *request = container_of(iocb, struct vhdx_request, file.iocb);

	if (vhdx_request_is_write(request))
		kiocb_end_write(iocb);
	request->file.result = ret;
	file_io_put(request);
}

/*
 * At the end of a direct write a file system converts the extents that were filled, in a worker of
 * its own, and with locks of its own: such a worker may reclaim memory by swapping
 * out, and wait for the very writes that wait for its locks. Where a write of swapped memory is
 * waited for, its end comes in our worker, whose scope forbids that (rule K3).
 */
static bool is_waited_for(const struct bio *clone)
{
	return clone->bi_opf & REQ_SWAP && op_is_write(bio_op(clone));
}

/* In a worker of the queue. */
static void file_start(struct vhdx_request *request)
{
	struct vhdx_container *c = request->container;
	struct bio *clone = &request->clone;
	bool write = vhdx_request_is_write(request);
	struct iov_iter iter;
	ssize_t ret;
	int nice = 0;

	/* It may have waited here for long. */
	if (unlikely(!vhdx_container_is_whole(c))) {
		request->file.result = -EIO;
		atomic_set(&request->file.refs, 1);
		file_io_put(request);
		return;
	}
	request->file.known = READ_ONCE(c->size);
	if (request->file.table)
		joined_iter(request, &iter, write);
	else
		own_iter(request, &iter, write);
	memset(&request->file.iocb, 0, sizeof(request->file.iocb));
	request->file.iocb.ki_filp = c->file;
	request->file.iocb.ki_pos = request->offset;
	request->file.iocb.ki_complete = is_waited_for(clone) ? NULL : file_io_complete;
	request->file.iocb.ki_ioprio = clone->bi_ioprio;
	request->file.iocb.ki_flags = (c->direct ? IOCB_DIRECT : 0) |
				      (clone->bi_opf & REQ_FUA ? IOCB_DSYNC : 0);
	atomic_set(&request->file.refs, 2);

	if (is_waited_for(clone))
		nice = vhdx_scope_begin_urgent();
	ret = start(c, &request->file.iocb, &iter, write);
	if (is_waited_for(clone))
		vhdx_scope_end_urgent(nice);
	if (ret != -EIOCBQUEUED) {
		request->file.result = ret;
		file_io_put(request);
	}
	file_io_put(request);
}

static void file_submit(struct vhdx_container *c, struct vhdx_request *request)
{
	vhdx_file_queue_add(&c->queue, request);
}

static int file_flush(struct vhdx_container *c)
{
	return vfs_fsync(c->file, 1);
}

/*
 * To look at the length and to change it is one step, under the lock that a truncation of the file
 * takes as well: one in between would be made good unseen.
 */
static int begin_resize(struct vhdx_container *c)
{
	int err = mnt_want_write_file(c->file);

	if (!err)
		inode_lock(file_inode(c->file));
	return err;
}

static void end_resize(struct vhdx_container *c)
{
	inode_unlock(file_inode(c->file));
	mnt_drop_write_file(c->file);
}

static int resize(struct vhdx_container *c, u64 size)
{
	struct iattr attr = {
		.ia_valid = ATTR_SIZE | ATTR_FILE,
		.ia_size = size,
		.ia_file = c->file,
	};

	return compat_notify_change(c->file, &attr);
}

static int file_extend(struct vhdx_container *c, u64 size, u64 *from)
{
	int err = begin_resize(c);

	if (err)
		return err;
	*from = vhdx_container_length(c);
	if (!vhdx_container_is_whole(c))
		err = -EIO;
	/* Another program may have made it longer than is known: that is not cut off. */
	else if (size > *from)
		err = resize(c, size);
	/* A file system that only says so is not asked again and again. */
	if (!err && vhdx_container_length(c) < size)
		err = -EIO;
	if (!err)
		vhdx_container_grew(c, size);
	end_resize(c);
	return err;
}

static int file_trim(struct vhdx_container *c, u64 size)
{
	int err = begin_resize(c);

	if (err)
		return err;
	if (!READ_ONCE(c->lost) && size < c->size && c->size == vhdx_container_length(c)) {
		/* First: vhdx_container_is_whole() must not find it cut meanwhile. */
		WRITE_ONCE(c->size, size);
		/* Pairs with vhdx_container_is_whole(). */
		smp_wmb();
		err = resize(c, size);
	}
	end_resize(c);
	return err ?: file_flush(c);
}

/*
 * As payload is written: fallocate() would wait for all I/O on the file, and zero what is
 * less than a page through the page cache, beside direct I/O on the same page.
 */
static int file_zero(struct vhdx_container *c, u64 offset, u64 length, bool keep)
{
	struct bio_vec bvecs[RW_PAGES];
	struct iov_iter iter;
	ssize_t ret;
	size_t n;
	int i;

	for (i = 0; i < RW_PAGES; i++)
		bvecs[i] = (struct bio_vec){ .bv_page = ZERO_PAGE(0), .bv_len = PAGE_SIZE };
	for (; length; offset += ret, length -= ret) {
		/* Nor would it become longer again unseen. */
		if (!vhdx_container_is_whole(c))
			return -EIO;
		n = min_t(u64, length, RW_PAGES * PAGE_SIZE);
		iov_iter_bvec(&iter, ITER_SOURCE, bvecs, DIV_ROUND_UP(n, PAGE_SIZE), n);
		ret = transfer(c, offset, &iter, true);
		if (ret <= 0)
			return ret ?: -EIO;
	}
	return 0;
}

/* Whole MiB: no page is zeroed in part. */
static int file_discard(struct vhdx_container *c, u64 offset, u64 length)
{
	/* What is there now is somebody else's. */
	if (!vhdx_container_is_whole(c))
		return -EIO;
	return vfs_fallocate(c->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
			     round_up(length, VHDX_MIB));
}

static int file_clear(struct vhdx_container *c, u64 offset, u64 length)
{
	int err = file_discard(c, offset, length);

	length = round_up(length, VHDX_MIB);
	if (err && err != -EIO)
		err = vfs_fallocate(c->file, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset,
				    length);
	return err;
}

const struct vhdx_container_ops vhdx_container_file_ops = {
	.can_grow	= true,
	.file_system	= true,
	.open		= file_open,
	.prepare	= file_prepare,
	.describe	= file_describe,
	.close		= file_close,
	.rw		= file_rw,
	.submit		= file_submit,
	.flush		= file_flush,
	.extend		= file_extend,
	.trim		= file_trim,
	.zero		= file_zero,
	.clear		= file_clear,
	.discard	= file_discard,
};
