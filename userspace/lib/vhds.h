/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VHD Set: a small file that names the one that its disk is in now. There is no specification of
 * it; Documentation/vhd-set.rst tells what was seen.
 */
#ifndef LIBVHDX_VHDS_H
#define LIBVHDX_VHDS_H

#include <core/diag.h>
#include <core/platform.h>

/* In UTF-16, that of a file is not longer. */
#define VHDS_NAME_MAX	510

/**
 * struct vhds - what a set says
 * @sequence:	of the header that counts
 * @name:	of the active file, beside the set: UTF-8
 */
struct vhds {
	u64 sequence;
	char name[VHDS_NAME_MAX / 2 * 3 + 1];
};

bool vhds_has_signature(struct vhdx_store *store);
/*
 * 0; -EUCLEAN damaged; -EOPNOTSUPP of a version that is not known here; -EIO. What is read is
 * bounded, whatever is in it.
 */
int vhds_read(struct vhdx_store *store, struct vhds *set, struct vhdx_diag *diag);

#endif
