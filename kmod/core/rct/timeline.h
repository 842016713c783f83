/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * A disk's history: points in order, and before each of them the delta that
 * leads to it from its predecessor. Behind the newest point lies the live delta,
 * whose map is the driver's (changemap.h); the timeline keeps its flags and what
 * was saved of it.
 *
 * The delta before the oldest point is empty and never part of an answer: an
 * answer begins behind a point.
 */
#ifndef VHDX_CORE_TIMELINE_H
#define VHDX_CORE_TIMELINE_H

#include "core/diag.h"
#include "core/guid.h"
#include "changemap.h"

#ifdef __KERNEL__
#include <uapi/linux/vhdx.h>
#else
#include <linux/vhdx.h>
#endif

#define VHDX_POINTS_MAX		4096U

#define VHDX_DELTA_COARSE	(1U << 0)	/* holds regions recovered after a crash */

/**
 * struct vhdx_delta - a change map at rest in the sidecar; immutable once committed
 * @flags:		VHDX_DELTA_*, and what a newer driver has put there that we may ignore
 * @gap_reason:		VHDX_REASON_*: what cuts the line here, or NONE. Of two
 *			deltas that become one the newer gap wins.
 * @gap_time_ns:	when that was noticed, or zero
 * @leaf_count:		leaves that have changes; zero: nothing changed
 * @changed_units:	units in them
 * @index_block:	where the index of its leaves begins, and its checksum (both zero
 *			where there are no leaves); it is read when it is needed
 * @index_crc:
 * @known:		which blocks it has is known to the sidecar
 */
struct vhdx_delta {
	u32 flags;
	u32 gap_reason;
	u64 gap_time_ns;
	u32 leaf_count;
	u32 index_crc;
	u64 index_block;
	u64 changed_units;
	bool known;
};

/**
 * struct vhdx_timeline_point - one point and the delta that leads to it
 * @issued:	its id may have been given out. A point that never was is dropped
 *		at the next attach (rule T5) and is invisible to callers.
 * @flags:	other ones of its record, kept as they are
 * @disk_size:	of the disk when it was sealed
 * @layer:	of a chain that it belongs to; zero: the only one
 */
struct vhdx_timeline_point {
	struct vhdx_point_id id;
	u64 time_ns;
	bool issued;
	u32 flags;
	u64 disk_size;
	u32 layer;
	u32 label_length;
	u8 label[VHDX_LABEL_MAX];
	struct vhdx_delta before;
};

/**
 * struct vhdx_timeline - see the file comment
 * @points:	oldest first
 * @live:	flags and gap of the live delta, and its map as last saved
 */
struct vhdx_timeline {
	u32 count;
	struct vhdx_timeline_point **points;
	struct vhdx_delta live;
	u64 next_sequence;
};

/* All zero: no point; as a target, now. */
bool vhdx_point_id_is_none(const struct vhdx_point_id *id);

/* May it be the id of a point? 0, or -EINVAL with ID_MALFORMED (ARGUMENT for none). */
int vhdx_point_id_check(const struct vhdx_point_id *id, struct vhdx_diag *diag);

/* Position of an issued point, or -1. Kind, GUID and sequence must all match. */
int vhdx_timeline_find(const struct vhdx_timeline *timeline, const struct vhdx_point_id *id);

/* How many points were issued: only those exist for a caller. */
u32 vhdx_timeline_count(const struct vhdx_timeline *timeline);

/* The newest issued point, or NULL. */
const struct vhdx_timeline_point *vhdx_timeline_newest(const struct vhdx_timeline *timeline);

/**
 * struct vhdx_span - the deltas between two points
 * @first:	position of the point that the first delta leads to
 * @end:	behind the last sealed delta
 * @live:	the live delta belongs to it as well
 * @flags:	VHDX_DELTA_* of all of them
 * @gap_time_ns: if a gap lies there, when it was noticed
 */
struct vhdx_span {
	u32 first;
	u32 end;
	bool live;
	u32 flags;
	u64 gap_time_ns;
};

/**
 * vhdx_timeline_span() - which deltas lie between @limit and @target
 * @target:	all zero: now
 * @diag:	what is wrong
 *
 * limit = target is an empty span. -EINVAL limit zero, an id that vhdx_point_id_check()
 * refuses, or target before limit; -ENODATA unknown id; -ESTALE a gap, the reason being
 * the newest one's.
 */
int vhdx_timeline_span(const struct vhdx_timeline *timeline, const struct vhdx_point_id *limit,
		       const struct vhdx_point_id *target, struct vhdx_span *span,
		       struct vhdx_diag *diag);

/* The disk does not know this id: -ENODATA with ID_MISSING. */
int vhdx_timeline_missing(const struct vhdx_point_id *id, struct vhdx_diag *diag);

/* Put a gap into the live delta, noticed at @time_ns (zero: not known); the newest cause wins. */
void vhdx_timeline_gap(struct vhdx_timeline *timeline, u32 reason, u64 time_ns);

#endif
