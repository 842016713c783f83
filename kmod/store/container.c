// SPDX-License-Identifier: GPL-2.0-only
#include "container.h"
#include "scope.h"

#include <linux/file.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include <uapi/linux/vhdx.h>

/*
 * Errors of a device or a file system that would be told as ours: an id that is not known
 * (-ENODATA, for a medium that can't be read), a gap (-ESTALE, of a file system on a network), and
 * that something is to be asked again.
 */
static int error_of(int err)
{
	return err == -ENODATA || err == -ESTALE || err == -EAGAIN ? -EIO : err;
}

/*
 * The code in core/ transfers multiples of 512 bytes. Where the container wants
 * more (a file system on 4096-byte sectors), small reads go through a bounce
 * buffer. Writes are never smaller: everything that we write is a 4 KiB structure.
 */
static int store_read(struct vhdx_store *store, u64 offset, void *buf, size_t length)
{
	struct vhdx_container *c = container_of(store, struct vhdx_container, store);
	u64 start = round_down(offset, c->alignment);
	size_t span = round_up(offset + length, c->alignment) - start;
	void *bounce;
	int err;

	if (start == offset && span == length)
		return error_of(c->ops->rw(c, offset, buf, length, false));

	bounce = kvmalloc(span, GFP_KERNEL);
	if (!bounce)
		return -ENOMEM;
	err = error_of(c->ops->rw(c, start, bounce, span, false));
	if (!err)
		memcpy(buf, bounce + (offset - start), length);
	kvfree(bounce);
	return err;
}

/* A transfer, or a flush if there is no buffer, that a worker does for a task. */
struct errand {
	struct work_struct work;
	struct vhdx_container *container;
	u64 offset;
	void *buf;
	size_t length;
	bool write;
	int err;
};

static void errand_work(struct work_struct *work)
{
	struct errand *e = container_of(work, struct errand, work);
	struct vhdx_container *c = e->container;
	unsigned int flags = vhdx_scope_enter();

	e->err = error_of(e->buf ? c->ops->rw(c, e->offset, e->buf, e->length, e->write) :
				   c->ops->flush(c));
	vhdx_scope_leave(flags);
}

/*
 * A file system may cut short what a killed task writes or flushes, and half a commit is
 * a disk that takes no more writes, or a sidecar that is not believed any more: because
 * a backup was killed. Workers are not killed; the threads of a seal and of an attach are. At
 * attach the container has no workers yet, and an attach may fail.
 */
static int run_errand(struct errand *e)
{
	struct vhdx_container *c = e->container;

	if (!c->queue.workqueue || current->flags & PF_WQ_WORKER) {
		errand_work(&e->work);
		return e->err;
	}
	INIT_WORK_ONSTACK(&e->work, errand_work);
	queue_work(c->queue.workqueue, &e->work);
	flush_work(&e->work);
	destroy_work_on_stack(&e->work);
	return e->err;
}

static int store_write(struct vhdx_store *store, u64 offset, const void *buf, size_t length)
{
	struct vhdx_container *c = container_of(store, struct vhdx_container, store);
	struct errand errand = {
		.container = c,
		.offset = offset,
		.buf = (void *)buf,
		.length = length,
		.write = true,
	};
	int err;

	if (c->read_only)
		return -EROFS;
	if (!vhdx_container_is_whole(c))
		return -EIO;
	/* Some lock is held that payload waits for: the session's, the journal's, a tracker's. */
	vhdx_scope_assert();
	err = run_errand(&errand);
	if (!err)
		vhdx_container_grew(c, offset + length);
	return err;
}

static int store_flush(struct vhdx_store *store)
{
	struct errand errand = {
		.container = container_of(store, struct vhdx_container, store),
	};

	/* A file system that can only be read may have no ->fsync(). */
	return errand.container->read_only ? 0 : run_errand(&errand);
}

/**
 * vhdx_container_read_whole() - read what a commit depends on
 * @container:	open
 * @offset:	in bytes
 * @buf:	not on the caller's stack
 * @length:	in bytes
 *
 * Like the store's read, but not cut short if the caller is killed, and without memory that
 * I/O has to free: locks that writes wait for may be held. Sleeps. Returns 0 or -errno.
 */
int vhdx_container_read_whole(struct vhdx_container *container, u64 offset, void *buf,
			      size_t length)
{
	struct errand errand = {
		.container = container,
		.offset = offset,
		.buf = buf,
		.length = length,
	};

	return run_errand(&errand);
}

/**
 * vhdx_container_file() - the file that a descriptor of the caller's is for
 * @fd:		regular file or block device
 * @read_only:	it will not be written
 * @what:	"container" or "sidecar", for messages
 * @diag:	what is wrong
 *
 * Asks neither a file system nor a device. vhdx_container_put_file() it. Returns it, or an ERR_PTR:
 * -EBADF; -EACCES it was not opened in the needed mode; -EINVAL neither a file nor a block device,
 * or O_APPEND.
 */
struct file *vhdx_container_file(int fd, bool read_only, const char *what, struct vhdx_diag *diag)
{
	struct file *file = fget(fd);
	umode_t mode;
	int err;

	if (!file) {
		vhdx_fail(diag, -EBADF, VHDX_REASON_ARGUMENT, "%s: descriptor %d is not open", what,
			  fd);
		return ERR_PTR(-EBADF);
	}

	err = -EACCES;
	if (!(file->f_mode & FMODE_READ) || (!read_only && !(file->f_mode & FMODE_WRITE))) {
		vhdx_fail(diag, err, VHDX_REASON_ARGUMENT,
			  "%s: descriptor %d is not open for %s", what, fd,
			  read_only ? "reading" : "reading and writing");
		goto fail;
	}
	err = -EINVAL;
	mode = file_inode(file)->i_mode;
	if (!S_ISREG(mode) && !S_ISBLK(mode)) {
		vhdx_fail(diag, err, VHDX_REASON_ARGUMENT,
			  "%s: descriptor %d is neither a regular file nor a block device",
			  what, fd);
		goto fail;
	}
	if (file->f_flags & O_APPEND) {
		vhdx_fail(diag, err, VHDX_REASON_ARGUMENT,
			  "%s: descriptor %d was opened with O_APPEND, which would redirect every write",
			  what, fd);
		goto fail;
	}
	return file;

fail:
	fput(file);
	return ERR_PTR(err);
}

/**
 * vhdx_container_put_file() - the caller uses it no more
 * @file:	from vhdx_container_file()
 *
 * Sleeps. Where a kernel thread is the last one, the locks on it are gone when this returns (rule
 * K5): a plain fput() would do that some time later.
 */
void vhdx_container_put_file(struct file *file)
{
	if (current->flags & PF_KTHREAD)
		__fput_sync(file);
	else
		fput(file);
}

/**
 * vhdx_container_open() - use a file from now on
 * @container:	zero but for claim.disk; vhdx_container_close() it if this succeeds
 * @file:	from vhdx_container_file(), for reading only, or not. The caller keeps his reference
 * @read_only:	never write
 * @what:	"container" or "sidecar", for messages
 * @diag:	what is wrong
 *
 * Process context. Returns 0; -EBUSY; or what the back end says.
 */
int vhdx_container_open(struct vhdx_container *container, struct file *file, bool read_only,
			const char *what, struct vhdx_diag *diag)
{
	int holder, err;

	err = vhdx_claim_file(&container->claim, file, !read_only, &holder);
	if (err) {
		if (holder == VHDX_CLAIM_LEFT)
			vhdx_fail(diag, err, VHDX_REASON_IN_USE,
				  "%s: a disk gave it up, and what it was asked for has not ended: try again once its device works",
				  what);
		else if (holder == container->claim.disk)
			vhdx_fail(diag, err, VHDX_REASON_IN_USE,
				  "%s: it is this disk's container; name another file", what);
		else
			vhdx_fail(diag, err, VHDX_REASON_IN_USE,
				  "%s: it is in use by /dev/vhdx%d; detach that disk first", what,
				  holder);
		return err;
	}

	container->file = get_file(file);
	container->what = what;
	container->lost = false;
	container->read_only = read_only;
	container->ops = S_ISBLK(file_inode(file)->i_mode) ? &vhdx_container_bdev_ops :
							     &vhdx_container_file_ops;
	container->store.read = store_read;
	container->store.write = store_write;
	container->store.flush = store_flush;
	err = container->ops->open(container, diag);
	if (err)
		goto out_claim;
	container->store.size = container->size;
	return 0;

out_claim:
	vhdx_claim_release(&container->claim);
	container->file = NULL;
	/* Not the last one. */
	fput(file);
	return err;
}

/**
 * vhdx_container_grew() - from now on it must not be shorter than this
 * @container:	open
 * @size:	where something of ours ends
 *
 * Any context. What the file system does not show yet is not asked for.
 */
void vhdx_container_grew(struct vhdx_container *container, u64 size)
{
	u64 known = READ_ONCE(container->size);

	if (likely(size <= known))
		return;
	size = min(size, vhdx_container_length(container));
	while (size > known && !try_cmpxchg64(&container->size, &known, size))
		;
}

/**
 * vhdx_container_close() - let go of everything; harmless where nothing is open
 * @container:	no I/O may be under way
 *
 * Waits for no file system, and for no device: it is called with locks that I/O waits for, about
 * a sidecar that fails. The locks on the file are gone some time later.
 */
void vhdx_container_close(struct vhdx_container *container)
{
	if (!container->file)
		return;
	container->ops->close(container, false);
	vhdx_claim_release(&container->claim);
	fput(container->file);
	container->file = NULL;
}

/**
 * vhdx_container_close_now() - the same, at the end of its disk
 * @container:	no I/O may be under way
 *
 * Sleeps, in a kernel thread; no lock is held. The locks on the file are gone when it returns, and
 * so before the disk's index is free (rule K5).
 */
void vhdx_container_close_now(struct vhdx_container *container)
{
	unsigned int flags;

	if (!container->file)
		return;
	flags = vhdx_scope_enter();
	container->ops->close(container, true);
	vhdx_claim_release(&container->claim);
	vhdx_container_put_file(container->file);
	container->file = NULL;
	vhdx_scope_leave(flags);
}

/**
 * vhdx_container_prepare() - get ready for payload I/O
 * @container:	open, with a workqueue
 *
 * vhdx_file_queue_release() undoes it. Returns 0 or -ENOMEM.
 */
int vhdx_container_prepare(struct vhdx_container *container)
{
	return container->ops->prepare ? container->ops->prepare(container) : 0;
}

/**
 * vhdx_container_describe() - what it is
 * @container:	open
 * @description: filled in
 */
void vhdx_container_describe(const struct vhdx_container *container,
			     struct vhdx_container_description *description)
{
	container->ops->describe(container, description);
}

/**
 * vhdx_container_is_unlinked() - does what is in it go away when it is closed?
 * @container:	open
 *
 * True for a file that was removed, or that another one was renamed over.
 */
bool vhdx_container_is_unlinked(const struct vhdx_container *container)
{
	return S_ISREG(file_inode(container->file)->i_mode) &&
	       !READ_ONCE(file_inode(container->file)->i_nlink);
}

/**
 * vhdx_container_path() - what a file is called at present
 * @file:	of a container or a sidecar
 * @path:	receives the text, to be freed by kfree(); NULL: it is longer than a path can be
 *
 * As the caller's root and mount namespace have it: a kernel thread is in others than who gave the
 * file. Sleeps. Returns 0 or -ENOMEM.
 */
int vhdx_container_path(struct file *file, char **path)
{
	char *buf = kmalloc(PATH_MAX, GFP_KERNEL);
	char *text;
	int err = 0;

	*path = NULL;
	if (!buf)
		return -ENOMEM;
	text = file_path(file, buf, PATH_MAX);
	if (!IS_ERR(text)) {
		*path = kstrdup(text, GFP_KERNEL);
		err = *path ? 0 : -ENOMEM;
	}
	kfree(buf);
	return err;
}

/**
 * vhdx_container_may_grow() - can it have this size, as far as can be told without trying?
 * @container:	open
 * @size:	wanted, in bytes
 *
 * Returns 0, -ENOSPC for a block device, -EFBIG for a file.
 */
int vhdx_container_may_grow(const struct vhdx_container *container, u64 size)
{
	if (size <= container->size)
		return 0;
	if (!container->ops->can_grow)
		return -ENOSPC;
	return inode_newsize_ok(file_inode(container->file), size);
}

/**
 * vhdx_container_suits() - can sectors of this size be written in place (rule V8)?
 * @container:		open, no payload I/O yet
 * @sector_size:	logical sector size of the disk
 * @diag:		why not
 *
 * A file that wants larger direct I/O than that is used buffered as a whole.
 * Returns 0, or -EOPNOTSUPP for a block device with larger sectors.
 */
int vhdx_container_suits(struct vhdx_container *container, u32 sector_size,
			 struct vhdx_diag *diag)
{
	if (container->alignment <= sector_size)
		return 0;
	if (!container->ops->file_system)
		return vhdx_unsupported(diag,
			"container: the block device has sectors of %u bytes, the disk's are %u: it can't be written sector by sector; copy the image to a file",
			container->alignment, sector_size);
	container->direct = false;
	container->alignment = 512;
	return 0;
}
