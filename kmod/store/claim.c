// SPDX-License-Identifier: GPL-2.0-only
#include "claim.h"

#include <linux/mutex.h>
#include <linux/pagemap.h>

static LIST_HEAD(claims);
static DEFINE_MUTEX(claims_lock);

/* A file of an overlay is itself, too: its readers see what is written to it. */
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
	/* It was copied up when it was opened for writing: it stays this one. */
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
 * @holder:	where it is in use, receives the number of a disk that uses it, or VHDX_CLAIM_LEFT
 *
 * May sleep. Returns 0, or -EBUSY where a disk writes it, or reads it and @write.
 */
int vhdx_claim_file(struct vhdx_claim *claim, struct file *file, bool write, int *holder)
{
	struct vhdx_claim *other;
	int err = 0;

	mutex_lock(&claims_lock);
	list_for_each_entry(other, &claims, link) {
		if ((other->write || write) && is_same(other->file, file)) {
			*holder = other->left ? VHDX_CLAIM_LEFT : other->disk;
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
 * vhdx_claim_leave() - the disk does not use it any more
 * @claim:	stays until the file is closed
 */
void vhdx_claim_leave(struct vhdx_claim *claim)
{
	mutex_lock(&claims_lock);
	claim->left = true;
	mutex_unlock(&claims_lock);
}

/**
 * vhdx_claim_share() - find what another reader of this very inode has made of it
 * @claim:	for reading; shares nothing yet
 * @mine:	what is shared with others from now on if there is nothing; or NULL
 * @get:	take a reference to what was found for @claim; false: that does not share it.
 *		It must not sleep, or claim anything
 *
 * A file of an overlay and the one below it have different inodes, and share nothing: they part
 * when the file is copied up. May sleep. Returns what is shared by @claim now: what was found, or
 * @mine.
 */
void *vhdx_claim_share(struct vhdx_claim *claim, void *mine,
		       bool (*get)(const struct vhdx_claim *claim, void *shared))
{
	const struct inode *inode = claim->file->f_mapping->host;
	struct vhdx_claim *other;

	mutex_lock(&claims_lock);
	claim->shared = mine;
	list_for_each_entry(other, &claims, link) {
		if (other != claim && other->shared && other->file->f_mapping->host == inode &&
		    get(claim, other->shared)) {
			claim->shared = other->shared;
			break;
		}
	}
	mutex_unlock(&claims_lock);
	return claim->shared;
}

/**
 * vhdx_claim_unshare() - what it shares is not found through this claim any more
 * @claim:	the claim; the reference that it had is the caller's now
 */
void vhdx_claim_unshare(struct vhdx_claim *claim)
{
	mutex_lock(&claims_lock);
	claim->shared = NULL;
	mutex_unlock(&claims_lock);
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
