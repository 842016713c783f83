// SPDX-License-Identifier: GPL-2.0-only
/*
 * A strict sidecar and the container's header: it is believed as far as its tokens go (rule T6).
 */
#include "ktap.h"
#include "sidecar_rig.h"
#include "core/rct/ondisk.h"

/* What the container's header has. */
#define NOW	1000

static void write_token(unsigned int slot, u64 commit, u64 sequence, u64 sectors)
{
	struct vhdx_token token = {
		.commit = commit, .sequence = sequence, .sectors[0] = sectors,
	};
	u8 block[VHDX_SIDECAR_BLOCK];

	vhdx_token_encode(&token, block);
	ASSERT_EQ(fake.store.write(&fake.store, (VHDX_SIDECAR_TOKEN_BLOCK + slot) *
				   VHDX_SIDECAR_BLOCK, block, sizeof(block)), 0);
}

/* In use or closed, with a token for @sequence. */
static void make_strict(bool closed, u64 sequence)
{
	make(0, LIMIT);
	sidecar.strict = true;
	sidecar.closed = closed;
	write_token(0, 1, sequence, 0);
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	ASSERT_EQ(reload(), 0);
}

static u32 bind_to(const vhdx_guid *guid, u64 sequence)
{
	memset(&diag, 0, sizeof(diag));
	vhdx_sidecar_bear_out(&sidecar, sequence);
	EXPECT_EQ(vhdx_sidecar_bind(&sidecar, &disk_id, DISK_SIZE, guid, 0, &diag), 0);
	EXPECT_EQ(diag.reason, sidecar.timeline.live.gap_reason);
	return diag.reason;
}

CASE(a_header_that_it_was_told_of_is_borne_out)
{
	u64 told;

	for (told = NOW - 2; told <= NOW + 2; told++) {
		make_strict(false, told);
		EXPECT(sidecar.strict);
		EXPECT(!sidecar.closed);
		EXPECT_EQ(bind_to(&dwg[0], NOW),
			  told < NOW ? VHDX_REASON_CHANGED_OFFLINE : VHDX_REASON_NONE);
		EXPECT_EQ(!strstr(diag.text, "older than the container"), told >= NOW);
		finish();
	}
}

CASE(who_does_not_look_has_a_gap)
{
	make_strict(false, NOW);
	EXPECT_EQ(vhdx_sidecar_bind(&sidecar, &disk_id, DISK_SIZE, &dwg[0], 0, &diag), 0);
	EXPECT_EQ(diag.reason, VHDX_REASON_CHANGED_OFFLINE);
	finish();
}

CASE(no_token_bears_nothing_out)
{
	make(0, LIMIT);
	sidecar.strict = true;
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	ASSERT_EQ(reload(), 0);
	EXPECT_EQ(bind_to(&dwg[0], 1), VHDX_REASON_CHANGED_OFFLINE);
	finish();
}

/* A session begins with another DWG: whatever a closed one was not told of is no write. */
CASE(a_closed_one_need_not_be_told)
{
	make_strict(true, NOW - 5);
	EXPECT(sidecar.closed);
	EXPECT_EQ(bind_to(&dwg[0], NOW), VHDX_REASON_NONE);
	EXPECT_EQ(bind_to(&dwg[1], NOW), VHDX_REASON_CHANGED_OFFLINE);
	EXPECT_HAS(diag.text, "DataWriteGuid");
	finish();
}

/* The tokens are those of a session that ended: later ones wrote none. */
CASE(of_one_that_is_not_strict_tokens_say_nothing)
{
	make_strict(false, NOW - 5);
	sidecar.strict = false;
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	ASSERT_EQ(reload(), 0);
	EXPECT(!sidecar.strict);
	EXPECT_EQ(sidecar.token.sequence, NOW - 5);
	EXPECT_EQ(bind_to(&dwg[0], NOW), VHDX_REASON_NONE);
	finish();
}

CASE(other_gaps_come_first)
{
	make_strict(false, NOW - 1);
	EXPECT_EQ(bind_to(&dwg[1], NOW), VHDX_REASON_CHANGED_OFFLINE);
	EXPECT_HAS(diag.text, "DataWriteGuid");
	finish();
	make_strict(false, NOW - 1);
	sidecar.state = VHDX_SIDECAR_DISABLED;
	EXPECT_EQ(bind_to(&dwg[0], NOW), VHDX_REASON_DISABLED);
	finish();
}

/* What it names was not written: power was lost, and the header that it announced never came. */
CASE(a_token_without_its_sectors_bears_nothing_out)
{
	static const u64 clear[VHDX_COARSE_SECTOR_WORDS];
	u8 sector[VHDX_COARSE_SECTOR];

	make_strict(false, NOW - 1);
	write_token(1, 2, NOW, 1);
	ASSERT_EQ(reload(), 0);
	EXPECT_EQ(sidecar.token.slot, 0);
	/* What comes next is numbered behind it. */
	EXPECT_EQ(sidecar.coarse_commit, 2);
	EXPECT_EQ(bind_to(&dwg[0], NOW - 1), VHDX_REASON_NONE);
	EXPECT_EQ(bind_to(&dwg[0], NOW), VHDX_REASON_CHANGED_OFFLINE);
	vhdx_coarse_encode(0, 1, 2, clear, sector);
	ASSERT_EQ(fake.store.write(&fake.store, VHDX_SIDECAR_COARSE_BLOCK * VHDX_SIDECAR_BLOCK,
				   sector, sizeof(sector)), 0);
	ASSERT_EQ(reload(), 0);
	EXPECT_EQ(sidecar.token.slot, 1);
	EXPECT_EQ(bind_to(&dwg[0], NOW), VHDX_REASON_NONE);
	finish();
}

/* In use, it is no use without one; before the first write, and after the last, it needs none. */
CASE(verifying_finds_that_no_token_is_left)
{
	u8 *slots;
	u32 closed;

	for (closed = 0; closed < 2; closed++) {
		make_strict(closed, NOW);
		write_token(1, 2, NOW + 1, 0);
		slots = fake.bytes + VHDX_SIDECAR_TOKEN_BLOCK * VHDX_SIDECAR_BLOCK;
		slots[VHDX_SIDECAR_BLOCK + 9] ^= 1;
		ASSERT_EQ(reload(), 0);
		EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), 0);
		slots[9] ^= 1;
		ASSERT_EQ(reload(), 0);
		EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), closed ? 0 : -EUCLEAN);
		if (!closed)
			EXPECT_HAS(diag.text, "neither token at offset 8192");
		finish();
	}
}

SUITE("strict")
