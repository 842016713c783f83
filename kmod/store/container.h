/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A container: the bytes of a VHDX (or of a sidecar), wherever they are kept. Two
 * back ends behind one small table: block device and file.
 *
 * Payload goes through ->submit(), which never waits; metadata through the
 * synchronous struct vhdx_store, which is used by workers only.
 */
#ifndef VHDX_CONTAINER_H
#define VHDX_CONTAINER_H

#include "claim.h"
#include "compat.h"
#include "core/diag.h"
#include "file_queue.h"
#include "request.h"

struct vhdx_container;

/**
 * struct vhdx_container_description - what others may want to know of a container
 * @io:		how it is used: "block", "direct" or "buffered"
 * @dev:	the block device, or the one that the file's file system is on
 * @ino:	of the file; 0: a block device
 * @below:	the block device that bios are sent on to, or NULL
 */
struct vhdx_container_description {
	const char *io;
	dev_t dev;
	u64 ino;
	struct block_device *below;
};

/**
 * struct vhdx_container_ops - what a back end does
 * @can_grow:	its length is ours to change, and so is what is allocated in it: what is written
 *		in place may need room. Otherwise it has all of it
 * @file_system: payload is carried out by a file system, which may wait for memory
 * @open:	take the opened file over; on failure nothing is held
 * @prepare:	memory for payload I/O; container->queue.workqueue is set. vhdx_file_queue_release()
 *		frees it; NULL: needs none
 * @describe:	what it is, to be shown
 * @close:	give up everything but container->file and the claim
 * @rw:		synchronous transfer of a kernel buffer (kmalloc or vmalloc). Reads
 *		at or behind the end give zeroes; one that ends before container->size
 *		sets container->lost. Offset and length are multiples of
 *		container->alignment.
 * @submit:	start request->clone at request->offset and return; request->done() is called
 *		when it is done, perhaps before this returns
 * @flush:	make everything that completed durable
 * @extend:	make the container at least @size bytes long. What is new starts at @from, where
 *		it ended until then, and reads as zeroes. -ENOSPC where it can't grow; -EIO
 *		where it was cut: to make it as long again would hide that
 * @trim:	cut what is behind @size, which is not used; durable afterwards. Only where
 *		the length is what we made it
 * @zero:	overwrite with zeroes, as payload is written; any 512-byte alignment.
 *		@keep: and the space is kept. Allocates nothing
 * @clear:	make a range that is not used read as zeroes, without writing it: a device is told
 *		to. May wait for all other I/O on the container. -EOPNOTSUPP where that is not
 *		possible
 * @discard:	give a range that is not used back to what the container lies on; a file reads as
 *		zeroes there. May wait for all other I/O on the container. -EOPNOTSUPP where that
 *		is not possible
 */
struct vhdx_container_ops {
	bool can_grow;
	bool file_system;
	int (*open)(struct vhdx_container *container, struct vhdx_diag *diag);
	int (*prepare)(struct vhdx_container *container);
	void (*describe)(const struct vhdx_container *container,
			 struct vhdx_container_description *description);
	void (*close)(struct vhdx_container *container, bool now);
	int (*rw)(struct vhdx_container *container, u64 offset, void *buf, size_t length,
		  bool write);
	void (*submit)(struct vhdx_container *container, struct vhdx_request *request);
	int (*flush)(struct vhdx_container *container);
	int (*extend)(struct vhdx_container *container, u64 size, u64 *from);
	int (*trim)(struct vhdx_container *container, u64 size);
	int (*zero)(struct vhdx_container *container, u64 offset, u64 length, bool keep);
	int (*clear)(struct vhdx_container *container, u64 offset, u64 length);
	int (*discard)(struct vhdx_container *container, u64 offset, u64 length);
};

/**
 * struct vhdx_container - one open container
 * @store:	synchronous access, for the code in core/
 * @what:	"container" or "sidecar", for messages
 * @file:	the very file that user space passed: OFD locks live on it
 * @claim:	keeps others of this module away
 * @bdev:	the block device, or NULL; for its back end
 * @bdev_claim:	our own exclusive open of it; the holder is the module, so that disks
 *		of ours can share it for reading
 * @queue:	file: payload I/O on its way to the file system. Its workqueue, also of a block
 *		device, does what a killed task must not cut short
 * @size:	length as we know it: what others cut is not taken off. It grows only, see
 *		vhdx_container_grew(), until a clean close trims the file
 * @lost:	it was cut, or something else was written over it: it is not written any more
 * @alignment:	of synchronous transfers: 512 or 4096, a power of two
 * @direct:	file: direct I/O
 * @stable_writes: memory must not change while it is written, as where there are checksums
 * @dma_alignment: mask that memory of payload I/O must obey
 */
struct vhdx_container {
	struct vhdx_store store;
	const struct vhdx_container_ops *ops;
	const char *what;
	struct file *file;
	struct vhdx_claim claim;
	struct block_device *bdev;
	compat_bdev_claim bdev_claim;
	struct vhdx_file_queue queue;
	u64 size;
	u32 alignment;
	u32 dma_alignment;
	bool read_only;
	bool direct;
	bool stable_writes;
	bool lost;
};

extern const struct vhdx_container_ops vhdx_container_bdev_ops;
extern const struct vhdx_container_ops vhdx_container_file_ops;

int vhdx_container_read_whole(struct vhdx_container *container, u64 offset, void *buf,
			      size_t length);
struct file *vhdx_container_file(int fd, bool read_only, const char *what, struct vhdx_diag *diag);
void vhdx_container_put_file(struct file *file);
int vhdx_container_open(struct vhdx_container *container, struct file *file, bool read_only,
			const char *what, struct vhdx_diag *diag);
int vhdx_container_prepare(struct vhdx_container *container);
void vhdx_container_describe(const struct vhdx_container *container,
			     struct vhdx_container_description *description);
bool vhdx_container_is_unlinked(const struct vhdx_container *container);
int vhdx_container_path(struct file *file, char **path);
int vhdx_container_may_grow(const struct vhdx_container *container, u64 size);
int vhdx_container_suits(struct vhdx_container *container, u32 sector_size,
			 struct vhdx_diag *diag);
void vhdx_container_grew(struct vhdx_container *container, u64 size);
void vhdx_container_close(struct vhdx_container *container);
void vhdx_container_close_now(struct vhdx_container *container);

/* Its length now, in bytes, of a file or a device. Any context. */
static inline u64 vhdx_container_length(const struct vhdx_container *container)
{
	return i_size_read(container->file->f_mapping->host);
}

/*
 * Is everything still there that we know of? Any context.
 *
 * Without a lock, while we change the length ourselves: it grows before we know of it, and is cut
 * after we forgot. So what we know is read first; and if it is more than there is, that counts
 * only if we still know it then.
 */
static inline bool vhdx_container_is_whole(const struct vhdx_container *container)
{
	u64 known;

	if (READ_ONCE(container->lost))
		return false;
	do {
		known = READ_ONCE(container->size);
		/* It has grown before it is known: vhdx_container_grew(). */
		smp_rmb();
		if (likely(vhdx_container_length(container) >= known))
			return true;
		/* It is cut after it was forgotten: file_trim(). */
		smp_rmb();
	} while (known != READ_ONCE(container->size));
	return false;
}

static inline bool vhdx_container_is_open(const struct vhdx_container *container)
{
	return container->file;
}

#endif
