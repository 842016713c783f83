/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * The log, MS-VHDX 2.3: finding the active sequence, replaying it, and composing
 * entries.
 */
#ifndef VHDX_CORE_LOG_H
#define VHDX_CORE_LOG_H

#include "image.h"

/* Most descriptors in the first 4 KiB sector of an entry; no entry is written with more. */
#define VHDX_LOG_PAGES_MAX	126
/* A longer log is refused (MS-VHDX has no limit; no known program makes larger ones). */
#define VHDX_LOG_LENGTH_MAX	(1ULL << 30)

/* Find the active sequence of the log that @header names; linear in its length. */
int vhdx_log_scan(struct vhdx_store *store, const struct vhdx_header *header,
		  struct vhdx_log_scan *scan, struct vhdx_diag *diag);

/**
 * vhdx_log_target_fn() - one effect of a replay, in order
 * @sector:	the 4096 bytes to write at @offset, or NULL for zeroes
 * @length:	4096, or the length of the zeroes
 * @log_offset:	container offset of the data sector (@sector not NULL)
 */
typedef int (*vhdx_log_target_fn)(void *context, u64 offset, const void *sector, u64 length,
				  u64 log_offset);

/*
 * Walk the effects of the entries from scan->tail to scan->head in order. Every
 * target is judged before it is told: nothing in the headers, the log, or beyond
 * VHDX_SPACE_MAX. Without @fn that is all.
 */
int vhdx_log_walk(struct vhdx_store *store, const struct vhdx_header *header,
		  const struct vhdx_log_scan *scan, vhdx_log_target_fn fn, void *context,
		  struct vhdx_diag *diag);

/*
 * Write the effects to the store. The caller has renewed FileWriteGuid before
 * and grows the container to scan->last_file_offset, flushes, and zeroes LogGuid
 * after it.
 */
int vhdx_log_replay(struct vhdx_store *store, const struct vhdx_header *header,
		    const struct vhdx_log_scan *scan, struct vhdx_diag *diag);

/**
 * struct vhdx_log_page - one page of a transaction
 * @file_offset:	where it belongs
 * @sector:		4096 bytes: the page; while sealed, the data sector
 */
struct vhdx_log_page {
	u64 file_offset;
	void *sector;
};

/**
 * struct vhdx_log_entry - what the header of a composed entry says
 */
struct vhdx_log_entry {
	vhdx_guid log_guid;
	u64 sequence;
	u32 tail;
	u64 flushed_file_offset;
	u64 last_file_offset;
};

/**
 * vhdx_log_entry_seal() - turn pages into a log entry, in place
 * @first_sector:	4096 bytes that receive header and descriptors
 * @pages:		the pages; each @sector becomes a data sector
 * @count:		0 … VHDX_LOG_PAGES_MAX
 *
 * The entry is @first_sector followed by the sectors in order; its length is
 * 4096 * (1 + count).
 */
void vhdx_log_entry_seal(void *first_sector, const struct vhdx_log_entry *entry,
			 struct vhdx_log_page *pages, unsigned int count);

/* Undo it: each @sector is the page again, ready to be applied (rule V3). */
void vhdx_log_entry_unseal(const void *first_sector, struct vhdx_log_page *pages,
			   unsigned int count);

#endif
