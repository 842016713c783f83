/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who uses which container and which sidecar (rule K5): one writer, or any number
 * of readers, over all disks of this module.
 *
 * While a file is claimed for writing, its page cache is allocated without starting I/O:
 * a worker that waits for memory must not wait for this very disk (rule K3).
 */
#ifndef VHDX_CLAIM_H
#define VHDX_CLAIM_H

#include <linux/fs.h>
#include <linux/list.h>

/**
 * struct vhdx_claim - one use of a file or a block device
 * @disk:	number of the disk that uses it; set by the owner of the claim
 * @left:	that disk does not use it any more: it is closed once it ends what it was asked for.
 *		Another disk may have the number by then
 * @link:	in the list of all claims
 * @file:	kept open by the owner of the claim. NULL: nothing claimed
 * @shared:	what the owner made of it, and other readers of the inode may use; or NULL. The
 *		claim has a reference to it
 * @write:	for writing
 * @page_cache:	of a file that is written; of one of an overlay that is the one below. Or NULL
 * @gfp_mask:	what it was allocated with before
 */
struct vhdx_claim {
	int disk;
	bool left;
	struct list_head link;
	struct file *file;
	bool write;
	void *shared;
	struct address_space *page_cache;
	gfp_t gfp_mask;
};

/*
 * The inode that the bytes belong to: of a block device its own, which is the same for every
 * node that names it; of a file of an overlay the one below, which changes when the file is
 * copied up. May sleep.
 */
static inline struct inode *vhdx_inode_below(const struct file *file)
{
	struct inode *inode = file->f_mapping->host;

	return S_ISBLK(inode->i_mode) ? inode : d_real_inode(file->f_path.dentry);
}

/* No disk: whoever has the claim is to close the file. */
#define VHDX_CLAIM_LEFT	(-1)

int vhdx_claim_file(struct vhdx_claim *claim, struct file *file, bool write, int *holder);
void vhdx_claim_leave(struct vhdx_claim *claim);
void *vhdx_claim_share(struct vhdx_claim *claim, void *mine,
		       bool (*get)(const struct vhdx_claim *claim, void *shared));
void vhdx_claim_unshare(struct vhdx_claim *claim);
void vhdx_claim_release(struct vhdx_claim *claim);

#endif
