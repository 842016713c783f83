/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * All that can be said against a container, and what can be mended without a guess.
 */
#ifndef VHDX_CORE_CHECK_H
#define VHDX_CORE_CHECK_H

#include "core/vhdx/image.h"

/* In ascending order. */
enum vhdx_severity {
	VHDX_SEVERITY_NOTE,	/* worth knowing */
	VHDX_SEVERITY_WARNING,	/* not as it should be written, and does no harm */
	VHDX_SEVERITY_ERROR,	/* a block can't be read, or none can be written */
	VHDX_SEVERITY_FATAL,	/* it can't be attached */
};

/* @diag: what, and its reason. Returns 0 to go on. */
typedef int (*vhdx_finding_fn_t)(void *context, enum vhdx_severity severity,
				 const struct vhdx_diag *diag);

/* Entries of the BAT that are told of one by one. */
#define VHDX_CHECK_ENTRIES_MAX	100U

/**
 * vhdx_check_store() - find everything that is wrong with a container
 * @store:	its bytes; a dirty log is looked through
 * @fixed_end:	the container has the size of a device: what is behind its blocks says nothing
 *
 * By the code of the attach path: what is fatal here is refused there, for the same reason; an
 * error here is one there when the block is read, or the first one is allocated, or when it is to
 * be written (image->log.unwritten: it can be read). A child is looked
 * at without its parent.
 *
 * Returns 0, whatever was found; what @fn returned; or -EIO/-ENOMEM.
 */
int vhdx_check_store(struct vhdx_store *store, bool fixed_end, vhdx_finding_fn_t fn,
		     void *context, struct vhdx_diag *diag);

enum vhdx_repair {
	VHDX_REPAIR_NOTHING,
	VHDX_REPAIR_REPLAY,	/* the log has to be replayed */
	VHDX_REPAIR_CLOSE,	/* the header names a log of which nothing was written */
};

/**
 * vhdx_repair_plan() - what can be mended?
 * @image:	filled in; vhdx_image_release() it whatever this returns
 *
 * A log of which nothing was written (image->log.unwritten) is closed: nothing was ever changed.
 *
 * Returns 0; or -errno, and the container can't be mended, for what @diag says.
 */
int vhdx_repair_plan(struct vhdx_store *store, struct vhdx_image *image, enum vhdx_repair *repair,
		     struct vhdx_diag *diag);

/**
 * vhdx_header_renew() - write the header, durably: MS-VHDX 2.2.2
 * @header:	with new GUIDs; its sequence and slot become those of what was written last
 *
 * The copy that is not current, then the other one. Returns 0 or -errno.
 */
int vhdx_header_renew(struct vhdx_store *store, struct vhdx_header *header,
		      struct vhdx_diag *diag);

#endif
