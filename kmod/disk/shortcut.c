// SPDX-License-Identifier: GPL-2.0-only
#include "shortcut.h"
#include "core/vhdx/ondisk.h"

#include <linux/build_bug.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <uapi/linux/vhdx.h>

#define POSITION_BITS	8
static_assert(VHDX_LAYERS_MAX <= 1 << POSITION_BITS);
static_assert(VHDX_DISK_SIZE_MAX / VHDX_MIB >> VHDX_SHORTCUTS_MAX_BITS <= 1 << POSITION_BITS);

/**
 * vhdx_shortcuts_init() - nothing is known
 * @shortcuts:	zeroed
 * @disk_size:	of the leaf
 * @shift:	log2 of the smallest block of the parents
 *
 * Returns 0 or -ENOMEM.
 */
int vhdx_shortcuts_init(struct vhdx_shortcuts *shortcuts, u64 disk_size, unsigned int shift)
{
	unsigned int parts = order_base_2(((disk_size - 1) >> shift) + 1);

	shortcuts->shift = shift;
	shortcuts->bits = min_t(unsigned int, parts, VHDX_SHORTCUTS_MAX_BITS);
	shortcuts->places = kvcalloc(BIT(shortcuts->bits), sizeof(*shortcuts->places), GFP_KERNEL);
	return shortcuts->places ? 0 : -ENOMEM;
}

/**
 * vhdx_shortcuts_destroy() - forget them; harmless where there are none
 * @shortcuts:	of a disk without I/O
 */
void vhdx_shortcuts_destroy(struct vhdx_shortcuts *shortcuts)
{
	kvfree(shortcuts->places);
	shortcuts->places = NULL;
}

static u16 *place_of(const struct vhdx_shortcuts *shortcuts, u64 part)
{
	return &shortcuts->places[part & (BIT(shortcuts->bits) - 1)];
}

/**
 * vhdx_shortcut_find() - which parent is the first to be asked?
 * @shortcuts:	of the disk
 * @offset:	of the disk
 * @length:	in bytes
 *
 * Any context. Returns its position: all parents before it have nothing of these bytes; or 0:
 * that is not known, or they are of more than one part.
 */
unsigned int vhdx_shortcut_find(const struct vhdx_shortcuts *shortcuts, u64 offset, u64 length)
{
	u64 part = offset >> shortcuts->shift;
	unsigned int known;

	if (!shortcuts->places || (offset + length - 1) >> shortcuts->shift != part)
		return 0;
	known = READ_ONCE(*place_of(shortcuts, part));
	if (known >> POSITION_BITS != part >> shortcuts->bits)
		return 0;
	return known & (BIT(POSITION_BITS) - 1);
}

/**
 * vhdx_shortcut_learn() - it is known which one that is
 * @shortcuts:	of the disk
 * @offset:	of the disk, in the part
 * @position:	of the first parent that has something of the part
 *
 * Any context.
 */
void vhdx_shortcut_learn(struct vhdx_shortcuts *shortcuts, u64 offset, unsigned int position)
{
	u64 part = offset >> shortcuts->shift;

	if (shortcuts->places)
		WRITE_ONCE(*place_of(shortcuts, part),
			   (part >> shortcuts->bits) << POSITION_BITS | position);
}
