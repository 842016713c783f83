/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Block mapping: where in the container the bytes of the disk are. VHDX is one
 * implementation; an identity mapping of a raw device can be another.
 */
#ifndef VHDX_MAP_H
#define VHDX_MAP_H

#include <linux/types.h>

struct vhdx_open_layer;

/**
 * enum vhdx_place - what ->lookup() found
 * @VHDX_PLACE_UNKNOWN:	not in memory: ->load(), then look again
 * @VHDX_PLACE_DATA:	in the container
 * @VHDX_PLACE_ZERO:	nowhere: reads as zeroes, a write allocates
 * @VHDX_PLACE_BUSY:	somebody works on the block: wait for him, outside of the gate. Only reads
 *			of what is nowhere need not
 * @VHDX_PLACE_BAD:	the mapping is damaged: an I/O error
 */
enum vhdx_place {
	VHDX_PLACE_UNKNOWN,
	VHDX_PLACE_DATA,
	VHDX_PLACE_ZERO,
	VHDX_PLACE_BUSY,
	VHDX_PLACE_BAD,
};

/**
 * struct vhdx_mapping - answer of ->lookup()
 * @offset:	container offset, for VHDX_PLACE_DATA
 * @durable:	the mapping survives power loss already (rule V4)
 * @zero:	for VHDX_PLACE_BUSY: it is nowhere, until he who works on it has ended
 */
struct vhdx_mapping {
	u64 offset;
	bool durable;
	bool zero;
};

/**
 * struct vhdx_map_ops - one way to map
 * @lookup:	never waits. The answer is true for as long as the gate is not left that was
 *		entered before (rule V1).
 * @load:	make the next lookup of this offset answer; sleeps; 0 or -errno
 * @unload:	undoes @load: the answer may go again
 * @hold:	@load for who has begun an operation on the block (block_op.h), which is busy then
 * @release:	undoes @hold
 * @held:	@lookup for who holds the block: never VHDX_PLACE_UNKNOWN or VHDX_PLACE_BUSY
 * @place:	reserve room for an unmapped block, and for all that @publish and the
 *		commit after it will write: those must not run out of space. Sleeps.
 * @publish:	the block at @offset is complete: map it. Never fails, since it is held
 * @abandon:	give the room of @place back; @err says why
 */
struct vhdx_map_ops {
	enum vhdx_place (*lookup)(struct vhdx_open_layer *layer, u64 offset,
				  struct vhdx_mapping *mapping);
	int (*load)(struct vhdx_open_layer *layer, u64 offset, void **handle);
	void (*unload)(struct vhdx_open_layer *layer, void *handle);
	int (*hold)(struct vhdx_open_layer *layer, u64 offset, void **handle);
	void (*release)(struct vhdx_open_layer *layer, u64 offset, void *handle);
	enum vhdx_place (*held)(struct vhdx_open_layer *layer, u64 offset, void *handle,
				struct vhdx_mapping *mapping);
	int (*place)(struct vhdx_open_layer *layer, void *handle, u64 *where, bool *zeroed);
	void (*publish)(struct vhdx_open_layer *layer, u64 offset, u64 where, void *handle);
	void (*abandon)(struct vhdx_open_layer *layer, u64 where, int err);
};

extern const struct vhdx_map_ops vhdx_map_bat;

#endif
