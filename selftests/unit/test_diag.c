// SPDX-License-Identifier: GPL-2.0-only
#include "ktap.h"
#include "core/diag.h"

CASE(first_finding_wins)
{
	struct vhdx_diag diag = { 0 };

	EXPECT_EQ(vhdx_corrupt(&diag, "first at %d", 1), -EUCLEAN);
	EXPECT_EQ(vhdx_unsupported(&diag, "second"), -EOPNOTSUPP);
	EXPECT_EQ(diag.reason, VHDX_REASON_CORRUPT);
	EXPECT_STREQ(diag.text, "first at 1");
}

CASE(nobody_has_to_listen)
{
	EXPECT_EQ(vhdx_bad_type(NULL, "x"), -EMEDIUMTYPE);
}

CASE(long_text_is_cut)
{
	struct vhdx_diag diag = { 0 };

	vhdx_corrupt(&diag, "%0500d", 0);
	EXPECT_EQ(strlen(diag.text), VHDX_DIAG_TEXT - 1);
}

SUITE("diag")
