/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Log entries, put into a test image byte by byte.
 */
#ifndef VHDX_UNIT_TEST_LOG_H
#define VHDX_UNIT_TEST_LOG_H

#include "core/vhdx/log.h"
#include "random.h"
#include "test_image.h"

#define SECTOR	4096U

extern const vhdx_guid test_log_guid;

/**
 * struct log_effect - one descriptor
 * @offset:	where to
 * @zeroes:	length of a zero descriptor; 0: a data descriptor
 * @nothing:	but a zero descriptor of length 0
 * @seed:	of the page of a data descriptor, see page_fill()
 */
struct log_effect {
	u64 offset;
	u64 zeroes;
	bool nothing;
	u32 seed;
};

#define DATA(at, what)		{ .offset = (at), .seed = (what) }
#define ZERO(at, how_much)	{ .offset = (at), .zeroes = (how_much) }
#define NOTHING(at)		{ .offset = (at), .nothing = true }

/* A page that looks the same nowhere else: no byte depends on its neighbours. */
void page_fill(u8 *page, u32 seed);
bool page_is(const u8 *page, u32 seed);

/* Set before the next put_entry(); test_log_begin() gives them sound values. */
struct log_fields {
	vhdx_guid guid;
	u64 flushed;
	u64 last;
};

/* An image whose headers name test_log_guid; @mib of log, the regions behind it. */
void test_log_begin(struct test_image *image, struct log_fields *fields, unsigned int mib);

/* Container offset of a byte of the log; wraps. */
u64 log_at(const struct test_image *image, u64 position);

/* Put an entry at @position, wrapping; returns where the next one goes. */
u32 put_entry(struct test_image *image, const struct log_fields *fields, u32 position, u64 sequence,
	      u32 tail, const struct log_effect *effects, unsigned int count);

/* Make the checksum of the entry at @position right again. */
void seal_entry(struct test_image *image, u32 position, u32 length);

#endif
