/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Events of tracefs; Documentation/tracing.rst says how to read them. Every room may trace: a disk
 * is its number here, N of /dev/vhdxN. Offsets and lengths are in bytes, times in nanoseconds.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM vhdx

#if !defined(VHDX_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define VHDX_TRACE_H

#include <linux/tracepoint.h>
#include <linux/types.h>

/* ---- words for numbers ---------------------------------------------------------- */

/* Where the bytes of a piece of a bio are. */
#define VHDX_MAPPED_WORDS					\
	WORD(VHDX_MAPPED_DATA,		"data")			\
	WORD(VHDX_MAPPED_ZERO,		"zero")			\
	LAST(VHDX_MAPPED_BAD,		"bad")

/* What a piece of a bio has to wait for. */
#define VHDX_SLOW_WORDS						\
	WORD(VHDX_SLOW_SESSION,		"session")		\
	WORD(VHDX_SLOW_PAGE,		"page")			\
	WORD(VHDX_SLOW_ALLOCATE,	"allocate")		\
	WORD(VHDX_SLOW_UNMAP,		"unmap")		\
	WORD(VHDX_SLOW_BUSY,		"busy")			\
	WORD(VHDX_SLOW_GATE,		"gate")			\
	LAST(VHDX_SLOW_REGION,		"region")

/* How far a seal is; the steps of Documentation/design.rst. */
#define VHDX_SEAL_WORDS						\
	WORD(VHDX_SEAL_EXCHANGED,	"exchanged")		\
	WORD(VHDX_SEAL_COMMITTED,	"committed")		\
	WORD(VHDX_SEAL_PENDING,		"pending")		\
	WORD(VHDX_SEAL_RENEWED,		"renewed")		\
	WORD(VHDX_SEAL_ISSUED,		"issued")		\
	LAST(VHDX_SEAL_UNDONE,		"undone")

#ifndef VHDX_TRACE_WORDS
#define VHDX_TRACE_WORDS

#define WORD(number, word)	number,
#define LAST(number, word)	number
enum vhdx_trace_mapped { VHDX_MAPPED_WORDS };
enum vhdx_trace_slow { VHDX_SLOW_WORDS };
enum vhdx_trace_seal { VHDX_SEAL_WORDS };
#undef WORD
#undef LAST

#endif

/* For programs that read the events' formats. */
#define WORD(number, word)	TRACE_DEFINE_ENUM(number);
#define LAST(number, word)	TRACE_DEFINE_ENUM(number);
VHDX_MAPPED_WORDS
VHDX_SLOW_WORDS
VHDX_SEAL_WORDS
#undef WORD
#undef LAST

#define WORD(number, word)	{ number, word },
#define LAST(number, word)	{ number, word }

/* ---- the path of a bio ------------------------------------------------------------ */

/**
 * trace_vhdx_map() - a piece of a bio has found its place
 * @disk:	N of /dev/vhdxN
 * @offset:	on the disk
 * @length:	of the piece
 * @write:	or a read
 * @kind:	VHDX_MAPPED_*
 * @where:	offset in the container, of data
 */
TRACE_EVENT(vhdx_map,
	TP_PROTO(int disk, u64 offset, u32 length, bool write, enum vhdx_trace_mapped kind,
		 u64 where),
	TP_ARGS(disk, offset, length, write, kind, where),
	TP_STRUCT__entry(
		__field(u64, offset)
		__field(u64, where)
		__field(int, disk)
		__field(u32, length)
		__field(u32, kind)
		__field(bool, write)
	),
	TP_fast_assign(
		__entry->offset = offset;
		__entry->where = where;
		__entry->disk = disk;
		__entry->length = length;
		__entry->kind = kind;
		__entry->write = write;
	),
	TP_printk("vhdx%d: %s offset=%llu length=%u kind=%s where=%llu", __entry->disk,
		  __entry->write ? "write" : "read", __entry->offset, __entry->length,
		  __print_symbolic(__entry->kind, VHDX_MAPPED_WORDS), __entry->where)
);

/**
 * trace_vhdx_slow() - a piece of a bio can't be answered from memory
 * @disk:	N of /dev/vhdxN
 * @offset:	on the disk
 * @length:	of the piece
 * @write:	or a read
 * @why:	VHDX_SLOW_*
 */
TRACE_EVENT(vhdx_slow,
	TP_PROTO(int disk, u64 offset, u32 length, bool write, enum vhdx_trace_slow why),
	TP_ARGS(disk, offset, length, write, why),
	TP_STRUCT__entry(
		__field(u64, offset)
		__field(int, disk)
		__field(u32, length)
		__field(u32, why)
		__field(bool, write)
	),
	TP_fast_assign(
		__entry->offset = offset;
		__entry->disk = disk;
		__entry->length = length;
		__entry->why = why;
		__entry->write = write;
	),
	TP_printk("vhdx%d: %s offset=%llu length=%u why=%s", __entry->disk,
		  __entry->write ? "write" : "read", __entry->offset, __entry->length,
		  __print_symbolic(__entry->why, VHDX_SLOW_WORDS))
);

/**
 * trace_vhdx_allocate() - a block has got its place in the container
 * @disk:	N of /dev/vhdxN
 * @block:	its number
 * @where:	offset in the container
 * @zeroed:	it is known to be zero: nothing but the data is written
 */
TRACE_EVENT(vhdx_allocate,
	TP_PROTO(int disk, u64 block, u64 where, bool zeroed),
	TP_ARGS(disk, block, where, zeroed),
	TP_STRUCT__entry(
		__field(u64, block)
		__field(u64, where)
		__field(int, disk)
		__field(bool, zeroed)
	),
	TP_fast_assign(
		__entry->block = block;
		__entry->where = where;
		__entry->disk = disk;
		__entry->zeroed = zeroed;
	),
	TP_printk("vhdx%d: block=%llu where=%llu zeroed=%d", __entry->disk, __entry->block,
		  __entry->where, __entry->zeroed)
);

/* ---- commits ------------------------------------------------------------------------ */

/**
 * trace_vhdx_commit() - a commit of the container has ended
 * @disk:	N of /dev/vhdxN
 * @pages:	of metadata that were logged
 * @bytes:	written to the log, and in place
 * @wait:	how long its caller waited, for its turn too
 * @err:	0 or -errno
 */
TRACE_EVENT(vhdx_commit,
	TP_PROTO(int disk, unsigned int pages, u64 bytes, u64 wait, int err),
	TP_ARGS(disk, pages, bytes, wait, err),
	TP_STRUCT__entry(
		__field(u64, bytes)
		__field(u64, wait)
		__field(int, disk)
		__field(unsigned int, pages)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->bytes = bytes;
		__entry->wait = wait;
		__entry->disk = disk;
		__entry->pages = pages;
		__entry->err = err;
	),
	TP_printk("vhdx%d: pages=%u bytes=%llu wait=%llu err=%d", __entry->disk, __entry->pages,
		  __entry->bytes, __entry->wait, __entry->err)
);

/**
 * trace_vhdx_sidecar_commit() - a commit of the sidecar has ended
 * @disk:	N of /dev/vhdxN
 * @time:	how long it took
 * @err:	0 or -errno
 */
TRACE_EVENT(vhdx_sidecar_commit,
	TP_PROTO(int disk, u64 time, int err),
	TP_ARGS(disk, time, err),
	TP_STRUCT__entry(
		__field(u64, time)
		__field(int, disk)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->time = time;
		__entry->disk = disk;
		__entry->err = err;
	),
	TP_printk("vhdx%d: time=%llu err=%d", __entry->disk, __entry->time, __entry->err)
);

/**
 * trace_vhdx_coarse_commit() - regions were set or cleared in the sidecar's coarse area
 * @disk:	N of /dev/vhdxN
 * @set:	writes waited for it; or else some were cleared
 * @blocks:	of the area that were written
 * @time:	how long it took
 * @err:	0 or -errno
 */
TRACE_EVENT(vhdx_coarse_commit,
	TP_PROTO(int disk, bool set, unsigned int blocks, u64 time, int err),
	TP_ARGS(disk, set, blocks, time, err),
	TP_STRUCT__entry(
		__field(u64, time)
		__field(int, disk)
		__field(unsigned int, blocks)
		__field(int, err)
		__field(bool, set)
	),
	TP_fast_assign(
		__entry->time = time;
		__entry->disk = disk;
		__entry->blocks = blocks;
		__entry->err = err;
		__entry->set = set;
	),
	TP_printk("vhdx%d: %s blocks=%u time=%llu err=%d", __entry->disk,
		  __entry->set ? "set" : "clear", __entry->blocks, __entry->time, __entry->err)
);

/**
 * trace_vhdx_checkpoint() - the live delta was saved, or could not be
 * @disk:	N of /dev/vhdxN
 * @regions:	that were chosen to be cleared
 * @time:	how long it took
 * @err:	0 or -errno
 */
TRACE_EVENT(vhdx_checkpoint,
	TP_PROTO(int disk, u32 regions, u64 time, int err),
	TP_ARGS(disk, regions, time, err),
	TP_STRUCT__entry(
		__field(u64, time)
		__field(int, disk)
		__field(u32, regions)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->time = time;
		__entry->disk = disk;
		__entry->regions = regions;
		__entry->err = err;
	),
	TP_printk("vhdx%d: regions=%u time=%llu err=%d", __entry->disk, __entry->regions,
		  __entry->time, __entry->err)
);

/* ---- points and changes --------------------------------------------------------------- */

/**
 * trace_vhdx_seal_step() - a seal has taken a step
 * @disk:	N of /dev/vhdxN
 * @step:	VHDX_SEAL_*
 * @sequence:	of the point
 */
TRACE_EVENT(vhdx_seal_step,
	TP_PROTO(int disk, enum vhdx_trace_seal step, u64 sequence),
	TP_ARGS(disk, step, sequence),
	TP_STRUCT__entry(
		__field(u64, sequence)
		__field(int, disk)
		__field(u32, step)
	),
	TP_fast_assign(
		__entry->sequence = sequence;
		__entry->disk = disk;
		__entry->step = step;
	),
	TP_printk("vhdx%d: step=%s sequence=%llu", __entry->disk,
		  __print_symbolic(__entry->step, VHDX_SEAL_WORDS), __entry->sequence)
);

/**
 * trace_vhdx_gap() - changes since the newest point can't be told any more
 * @disk:	N of /dev/vhdxN
 * @reason:	VHDX_REASON_* of the uapi header
 */
TRACE_EVENT(vhdx_gap,
	TP_PROTO(int disk, u32 reason),
	TP_ARGS(disk, reason),
	TP_STRUCT__entry(
		__field(int, disk)
		__field(u32, reason)
	),
	TP_fast_assign(
		__entry->disk = disk;
		__entry->reason = reason;
	),
	TP_printk("vhdx%d: reason=%u", __entry->disk, __entry->reason)
);

/**
 * trace_vhdx_query() - a query was answered, or has failed
 * @disk:	N of /dev/vhdxN
 * @offset:	where it began, on the disk
 * @length:	how much of it was processed
 * @ranges:	that were given out
 * @leaves:	of the change maps that were read
 * @err:	0 or -errno
 */
TRACE_EVENT(vhdx_query,
	TP_PROTO(int disk, u64 offset, u64 length, u32 ranges, u32 leaves, int err),
	TP_ARGS(disk, offset, length, ranges, leaves, err),
	TP_STRUCT__entry(
		__field(u64, offset)
		__field(u64, length)
		__field(int, disk)
		__field(u32, ranges)
		__field(u32, leaves)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->offset = offset;
		__entry->length = length;
		__entry->disk = disk;
		__entry->ranges = ranges;
		__entry->leaves = leaves;
		__entry->err = err;
	),
	TP_printk("vhdx%d: offset=%llu length=%llu ranges=%u leaves=%u err=%d", __entry->disk,
		  __entry->offset, __entry->length, __entry->ranges, __entry->leaves,
		  __entry->err)
);

#undef WORD
#undef LAST

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH kmod
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
