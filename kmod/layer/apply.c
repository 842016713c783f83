// SPDX-License-Identifier: GPL-2.0-only
#include "apply.h"
#include "store/container.h"

#include <linux/blkdev.h>
#include <linux/slab.h>

/**
 * struct vhdx_apply_page - one page
 * @apply:	of these
 * @bvec:	its memory
 * @request:	how it gets there; last: it ends with a bio
 */
struct vhdx_apply_page {
	struct vhdx_apply *apply;
	struct bio_vec bvec;
	struct vhdx_request request;
};

/**
 * vhdx_apply_destroy() - free the memory; harmless where there is none
 * @apply:	nothing is under way
 */
void vhdx_apply_destroy(struct vhdx_apply *apply)
{
	unsigned int i;

	for (i = 0; apply->pages && i < VHDX_LOG_PAGES_MAX; i++)
		kfree(apply->pages[i]);
	kvfree(apply->pages);
	apply->pages = NULL;
}

/**
 * vhdx_apply_prepare() - memory for all pages of an entry (rule K3)
 * @apply:	zeroed
 *
 * Returns 0 or -ENOMEM.
 */
int vhdx_apply_prepare(struct vhdx_apply *apply)
{
	unsigned int i;

	init_completion(&apply->done);
	apply->pages = kvcalloc(VHDX_LOG_PAGES_MAX, sizeof(*apply->pages), GFP_KERNEL);
	for (i = 0; apply->pages && i < VHDX_LOG_PAGES_MAX; i++) {
		apply->pages[i] = kmalloc(sizeof(*apply->pages[i]), GFP_KERNEL);
		if (!apply->pages[i])
			vhdx_apply_destroy(apply);
	}
	return apply->pages ? 0 : -ENOMEM;
}

static void put(struct vhdx_apply *apply)
{
	/* Orders what each request says of its status before the last one's. */
	if (atomic_dec_and_test(&apply->remaining))
		complete(&apply->done);
}

static void page_done(struct vhdx_request *request, blk_status_t status)
{
	struct vhdx_apply_page *page = container_of(request, struct vhdx_apply_page, request);

	if (status)
		WRITE_ONCE(page->apply->status, status);
	put(page->apply);
}

static void send(struct vhdx_apply *apply, struct vhdx_apply_page *page,
		 struct vhdx_container *container, const struct vhdx_log_page *copy)
{
	struct vhdx_request *request = &page->request;

	memset(page, 0, sizeof(*page));
	page->apply = apply;
	bio_init(&request->clone, NULL, &page->bvec, 1, REQ_OP_WRITE | REQ_SYNC);
	__bio_add_page(&request->clone, vhdx_page_of(copy->sector), VHDX_PAGE,
		       offset_in_page(copy->sector));
	request->container = container;
	request->offset = copy->file_offset;
	request->done = page_done;
	container->ops->submit(container, request);
}

/**
 * vhdx_apply() - write copies of pages in place
 * @apply:	prepared; one call at a time
 * @container:	open for writing
 * @copies:	what is written, and where: a page each of memory that does not change meanwhile
 * @count:	0 … VHDX_LOG_PAGES_MAX
 *
 * Durable after the next flush. Sleeps until all have ended. Returns 0; or -errno: some may not be
 * in place.
 */
int vhdx_apply(struct vhdx_apply *apply, struct vhdx_container *container,
	       const struct vhdx_log_page *copies, unsigned int count)
{
	struct blk_plug plug;
	unsigned int i;

	if (!vhdx_container_is_whole(container))
		return -EIO;
	apply->status = BLK_STS_OK;
	atomic_set(&apply->remaining, count + 1);
	reinit_completion(&apply->done);
	blk_start_plug(&plug);
	for (i = 0; i < count; i++)
		send(apply, apply->pages[i], container, &copies[i]);
	blk_finish_plug(&plug);
	put(apply);
	wait_for_completion_io(&apply->done);
	for (i = 0; i < count; i++)
		bio_uninit(&apply->pages[i]->request.clone);
	return blk_status_to_errno(apply->status);
}
