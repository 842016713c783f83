/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One transfer of payload to or from a container. Its owner embeds it, fills in the first
 * five fields and the bio, and gives it to ->submit(); done() is called once, when the container
 * is through with it.
 */
#ifndef VHDX_REQUEST_H
#define VHDX_REQUEST_H

#include <linux/bio.h>
#include <linux/fs.h>
#include <linux/llist.h>
#include <linux/mm.h>

struct vhdx_container;

/**
 * struct vhdx_request - see the file comment
 * @container:	where it goes
 * @done:	its end: any context, perhaps before ->submit() returns. The container does not
 *		touch it any more
 * @offset:	first byte in the container
 * @account:	whose control group it is on behalf of: a bio that ends later; NULL: the caller's
 * @alone:	file: not to be joined with others
 * @added:	file: in the queue, until a worker looks
 * @link:	file: in the queue, or in the list of those that are one with another
 * @file:	file: how it is handed to the file system; of the first one, where several are one.
 *		@known: the container's size when it was sent; @joined: the others, in order;
 *		@table: the memory of all of them
 * @clone:	the data, its length and how it is transferred; last: bios are allocated with
 *		what surrounds this structure in front. It has no device, and no control group
 */
struct vhdx_request {
	struct vhdx_container *container;
	void (*done)(struct vhdx_request *request, blk_status_t status);
	u64 offset;
	struct bio *account;
	bool alone;
	union {
		struct llist_node added;
		struct list_head link;
	};
	struct {
		struct kiocb iocb;
		atomic_t refs;
		long result;
		u64 known;
		struct list_head joined;
		struct bio_vec *table;
	} file;
	struct bio clone;
};

/* Of memory from kmalloc() or vmalloc(), to be transferred. */
static inline struct page *vhdx_page_of(const void *p)
{
	return is_vmalloc_addr(p) ? vmalloc_to_page(p) : virt_to_page(p);
}

static inline u32 vhdx_request_length(const struct vhdx_request *request)
{
	return request->clone.bi_iter.bi_size;
}

static inline bool vhdx_request_is_write(const struct vhdx_request *request)
{
	return op_is_write(bio_op(&request->clone));
}

#endif
