/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * The parent locator of a new differencing disk; core/vhdx/locator.h reads it.
 */
#ifndef VHDX_CORE_LOCATOR_WRITE_H
#define VHDX_CORE_LOCATOR_WRITE_H

#include "core/vhdx/image.h"

/**
 * struct vhdx_locator_text - what it says
 * @linkage:	DataWriteGuid of the parent
 * @relative:	paths to the parent: UTF-8, in Windows' syntax, not empty
 */
struct vhdx_locator_text {
	vhdx_guid linkage;
	const char *relative;
	const char *absolute;
	const char *volume;
};

/**
 * vhdx_locator_write() - make the metadata item, with all five keys in Windows' order
 * @buf:	zeroed
 * @capacity:	of @buf in bytes
 * @length:	out: how long it is
 *
 * Returns 0, or -EINVAL: a path is no UTF-8, or too long.
 */
int vhdx_locator_write(const struct vhdx_locator_text *text, void *buf, u32 capacity,
		       u32 *length, struct vhdx_diag *diag);

#endif
