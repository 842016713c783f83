/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A store in memory that knows what is durable and what is not.
 *
 * Each write and each flush is one step. A test can let a step fail, or cut the power
 * just before a step: from then on everything fails, and fake_store_reboot() makes
 * the store that one would find afterwards, in which of what was written since the
 * last flush each sector of 512 bytes may or may not have arrived.
 *
 * Several that use it at once take turns in its pause(): a write is under way meanwhile, and a
 * flush is for what was answered before it began.
 */
#ifndef VHDX_UNIT_FAKE_STORE_H
#define VHDX_UNIT_FAKE_STORE_H

#include "core/platform.h"

struct fake_write {
	u64 offset;
	size_t length;
	u8 *data;		/* NULL: the file ends at @offset from here on */
	u64 begun;		/* when, by the store's clock */
	u64 done;		/* when it was answered; 0: it was not yet */
	bool over;		/* a later one is durable: it is behind no other any more */
};

struct fake_store {
	struct vhdx_store store;
	bool can_grow;
	bool keeps_size;	/* a write does not make it longer: it is to be resized before */
	u64 limit;		/* writes beyond are -ENOSPC */
	u8 *bytes;		/* what a read sees */
	u8 *durable;
	u64 room;		/* in each of them */
	u64 length;		/* of the file, as a read sees it */
	u64 durable_length;
	struct fake_write *pending;
	u32 pending_count;
	u64 clock;
	void (*pause)(struct fake_store *fake);	/* NULL: nobody else uses it */

	u64 steps;		/* so far */
	u64 fail_step;		/* this one fails, the first is 1; 0: none */
	int fail_error;
	u64 power_step;		/* power is cut before this one; 0: it isn't */
	u64 reads;
	bool read_only;		/* for writes to be noticed */
};

/* @size: of a device; of a file, which is empty, 0. @limit: where the medium ends. */
void fake_store_init(struct fake_store *fake, u64 size, u64 limit);
void fake_store_release(struct fake_store *fake);
/* Open again: no failures planned, the size is what the length has become. */
void fake_store_reopen(struct fake_store *fake);
/* A step of something beside this store that the same power feeds. 0 or -errno. */
int fake_store_step(struct fake_store *fake);
bool fake_store_is_off(const struct fake_store *fake);
/* A write that is durable when it returns, as no other one need be. 0 or -errno. */
int fake_store_write_fua(struct fake_store *fake, u64 offset, const void *buf, size_t length);
/* The file gets another length, durably with the next flush. 0 or -errno. */
int fake_store_resize(struct fake_store *fake, u64 length);
/* What a flush does that fails: some of what it was for is lost, and no later flush is for it. */
void fake_store_lose(struct fake_store *fake);
/* Now the power goes. */
void fake_store_cut(struct fake_store *fake);
/* Make @after from what is durable and a random part of the rest. */
void fake_store_reboot(const struct fake_store *fake, struct fake_store *after);
/* An exact copy of what a read sees, all durable. */
void fake_store_copy(const struct fake_store *fake, struct fake_store *copy);

/* What of the writes that are not durable arrived, of @fake as it is now. */
enum fake_arrival {
	FAKE_NOTHING,
	FAKE_ALL,
	FAKE_WRITES,		/* some of them */
	FAKE_BLOCKS,		/* of 4 KiB */
	FAKE_SECTORS,		/* of 512 bytes */
	FAKE_ARRIVALS,
};

/**
 * struct fake_image - a store as it would be found, to be read in place
 * @fake:	must not change meanwhile
 * @chance:	decides, with @arrival
 * @rotten:	the byte at this offset is not as it was written; ~0: there is none
 */
struct fake_image {
	struct vhdx_store store;
	const struct fake_store *fake;
	enum fake_arrival arrival;
	u64 chance;
	u64 rotten;
};

void fake_image_init(struct fake_image *image, const struct fake_store *fake,
		     enum fake_arrival arrival, u64 chance);
/* Make a store of it; all of that is durable. */
void fake_image_boot(struct fake_image *image, struct fake_store *after);

#endif
