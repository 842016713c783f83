/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One image under judgement: what the suites of the attach path share.
 */
#ifndef VHDX_UNIT_JUDGE_H
#define VHDX_UNIT_JUDGE_H

#include "ktap.h"
#include "core/vhdx/image.h"
#include "test_image.h"

static struct test_image file;
static struct vhdx_image image;
static struct vhdx_diag diag;

/* Both halves of an attach. Judging never writes. */
static inline int judge(void)
{
	int err;

	vhdx_image_release(&image);
	memset(&diag, 0, sizeof(diag));
	err = vhdx_image_open(&image, &file.memory.store, &diag);
	if (!err)
		err = vhdx_image_load(&image, &file.memory.store, &diag);
	EXPECT_EQ(file.memory.bytes_written, 0);
	return err;
}

/* Refused with this errno and reason, and a message that holds @part and isn't cut. */
static inline void expect_refusal(int err, u32 reason, const char *part)
{
	EXPECT_EQ(judge(), err);
	EXPECT_EQ(diag.reason, reason);
	EXPECT_HAS(diag.text, part);
	EXPECT(strlen(diag.text) < VHDX_DIAG_TEXT - 1);
}

static inline void expect_corrupt(const char *part)
{
	expect_refusal(-EUCLEAN, VHDX_REASON_CORRUPT, part);
}

static inline void expect_unsupported(const char *part)
{
	expect_refusal(-EOPNOTSUPP, VHDX_REASON_UNSUPPORTED, part);
}

static inline void release(void)
{
	vhdx_image_release(&image);
	test_image_free(&file);
}

#endif
