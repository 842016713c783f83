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
 * @disk:	number of the disk that uses it; set by whoever owns the claim
 * @link:	in the list of all claims
 * @file:	kept open by whoever owns the claim. NULL: nothing claimed
 * @write:	for writing
 * @page_cache:	of a file that is written; of one of an overlay that is the one below. Or NULL
 * @gfp_mask:	what it was allocated with before
 */
struct vhdx_claim {
	int disk;
	struct list_head link;
	struct file *file;
	bool write;
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

int vhdx_claim_file(struct vhdx_claim *claim, struct file *file, bool write, int *holder);
void vhdx_claim_release(struct vhdx_claim *claim);

#endif
