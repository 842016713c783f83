// SPDX-License-Identifier: GPL-2.0-only
#include "claim.h"

#include <linux/mutex.h>
#include <linux/pagemap.h>

static LIST_HEAD(claims);
static DEFINE_MUTEX(claims_lock);

/* A file of an overlay is itself, too: who writes it writes what its readers see from then on. */
static bool is_same(const struct file *one, const struct file *other)
{
	return one->f_mapping->host == other->f_mapping->host ||
	       vhdx_inode_below(one) == vhdx_inode_below(other);
}

/*
 * The mask is a plain store, and file systems have masks of their own (XFS forbids itself
 * __GFP_FS): what was there comes back. Both under the lock, and there is one writer.
 */
static void restrict_page_cache(struct vhdx_claim *claim)
{
	struct inode *inode = vhdx_inode_below(claim->file);

	if (!claim->write || !S_ISREG(inode->i_mode))
		return;
	/* Who opened it for writing had it copied up: it stays this one. */
	claim->page_cache = inode->i_mapping;
	claim->gfp_mask = mapping_gfp_mask(claim->page_cache);
	mapping_set_gfp_mask(claim->page_cache, claim->gfp_mask & ~(__GFP_IO | __GFP_FS));
}

static void restore_page_cache(struct vhdx_claim *claim)
{
	if (claim->page_cache)
		mapping_set_gfp_mask(claim->page_cache, claim->gfp_mask);
	claim->page_cache = NULL;
}

/**
 * vhdx_claim_file() - claim what @file names
 * @claim:	zero but for its disk, or released before; released by vhdx_claim_release()
 * @file:	regular file or block device; the caller keeps it open
 * @write:	for writing
 * @holder:	where it is in use, receives the number of a disk that uses it
 *
 * May sleep. Returns 0, or -EBUSY where somebody writes it, or reads it and @write.
 */
int vhdx_claim_file(struct vhdx_claim *claim, struct file *file, bool write, int *holder)
{
	struct vhdx_claim *other;
	int err = 0;

	mutex_lock(&claims_lock);
	list_for_each_entry(other, &claims, link) {
		if ((other->write || write) && is_same(other->file, file)) {
			*holder = other->disk;
			err = -EBUSY;
		}
	}
	if (!err) {
		claim->file = file;
		claim->write = write;
		list_add(&claim->link, &claims);
		restrict_page_cache(claim);
	}
	mutex_unlock(&claims_lock);
	return err;
}

/**
 * vhdx_claim_release() - give a claim up; harmless where there is none
 * @claim:	the claim
 */
void vhdx_claim_release(struct vhdx_claim *claim)
{
	if (!claim->file)
		return;
	mutex_lock(&claims_lock);
	list_del(&claim->link);
	restore_page_cache(claim);
	mutex_unlock(&claims_lock);
	claim->file = NULL;
}
