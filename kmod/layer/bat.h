/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Block mapping: where in the container the bytes of the disk are. VHDX is one
 * implementation; an identity mapping of a raw device can be another.
 */
#ifndef VHDX_MAP_H
#define VHDX_MAP_H

#include "core/guid.h"

#include <linux/types.h>

struct vhdx_commit_waiter;
struct vhdx_open_layer;

/**
 * enum vhdx_mapping_kind - where the bytes of an extent are
 * @VHDX_MAPPING_UNKNOWN: not in memory: ->load(), then look again
 * @VHDX_MAPPING_DATA:	in the container
 * @VHDX_MAPPING_ZERO:	nowhere: reads as zeroes, a write allocates
 * @VHDX_MAPPING_BUSY:	somebody works on the block: wait for him, outside of the gate. Only reads
 *			of what is nowhere need not
 * @VHDX_MAPPING_BAD:	the mapping is damaged: an I/O error
 */
enum vhdx_mapping_kind {
	VHDX_MAPPING_UNKNOWN,
	VHDX_MAPPING_DATA,
	VHDX_MAPPING_ZERO,
	VHDX_MAPPING_BUSY,
	VHDX_MAPPING_BAD,
};

/**
 * struct vhdx_mapping - some bytes of the disk, as they are mapped
 * @kind:	where they are
 * @durable:	VHDX_MAPPING_DATA: the mapping survives power loss already (rule V4)
 * @zero:	VHDX_MAPPING_BUSY: they are nowhere, until he who works on them has ended
 * @offset:	VHDX_MAPPING_DATA: of the first one in the container
 * @length:	how many, one at least. Of VHDX_MAPPING_DATA it may be several blocks, as far as
 *		these lie side by side; of all else no more than one
 */
struct vhdx_mapping {
	enum vhdx_mapping_kind kind;
	bool durable;
	bool zero;
	u64 offset;
	u64 length;
};

/**
 * struct vhdx_map_ops - one way to map
 * @lookup:	what is mapped at an offset; of more than @wanted bytes nothing need be said. Never
 *		waits. The answer is true until the gate is left that was entered before (rule V1)
 * @load:	make the next lookup of this offset answer; sleeps; 0 or -errno
 * @unload:	undoes @load: the answer may go again
 * @hold:	@load for who has begun an operation on the block (block_op.h), which is busy then
 * @release:	undoes @hold
 * @held:	@lookup for who holds the block: never VHDX_MAPPING_UNKNOWN or VHDX_MAPPING_BUSY
 * @place:	reserve room for an unmapped block, and for all that @publish and the
 *		commit after it will write: those must not run out of space. Sleeps.
 * @publish:	the block at @offset is complete: map it. Never fails, since it is held
 * @abandon:	give the room of @place back; @err says why
 * @prepare:	memory for all that is written, before the first write of a session (rule K3); once
 *		more does no harm. Sleeps; 0 or -ENOMEM
 * @begin:	say in the container, durably, that it is in use, and that it is @data_write_guid's
 *		from now on. Sleeps. After a failure either may be in it
 * @flush:	waiter->done() once everything that was done so far is durable. Any context
 */
struct vhdx_map_ops {
	void (*lookup)(struct vhdx_open_layer *layer, u64 offset, u64 wanted,
		       struct vhdx_mapping *extent);
	int (*load)(struct vhdx_open_layer *layer, u64 offset, void **handle);
	void (*unload)(struct vhdx_open_layer *layer, void *handle);
	int (*hold)(struct vhdx_open_layer *layer, u64 offset, void **handle);
	void (*release)(struct vhdx_open_layer *layer, u64 offset, void *handle);
	void (*held)(struct vhdx_open_layer *layer, u64 offset, void *handle,
		     struct vhdx_mapping *extent);
	int (*place)(struct vhdx_open_layer *layer, void *handle, u64 *where, bool *zeroed);
	void (*publish)(struct vhdx_open_layer *layer, u64 offset, u64 where, void *handle);
	void (*abandon)(struct vhdx_open_layer *layer, u64 where, int err);
	int (*prepare)(struct vhdx_open_layer *layer);
	int (*begin)(struct vhdx_open_layer *layer, const vhdx_guid *data_write_guid);
	void (*flush)(struct vhdx_open_layer *layer, struct vhdx_commit_waiter *waiter);
};

extern const struct vhdx_map_ops vhdx_map_bat;

#endif
