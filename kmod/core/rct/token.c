// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "token.h"
#include "ondisk.h"

/* No disk has more sectors than that: the list is never too long for a token. */
static_assert(DIV_ROUND_UP(VHDX_COARSE_REGIONS_MAX, VHDX_COARSE_BITS) <= VHDX_TOKEN_SECTORS);
static_assert(VHDX_TOKEN_WORDS * 64 == VHDX_TOKEN_SECTORS);

static u32 checksum(const struct vhdx_sidecar_token *raw)
{
	return ~vhdx_crc32c(~0U, raw, offsetof(struct vhdx_sidecar_token, crc));
}

void vhdx_token_encode(const struct vhdx_token *token, void *block)
{
	struct vhdx_sidecar_token *raw = block;
	u32 i;

	memset(raw, 0, sizeof(*raw));
	raw->magic = cpu_to_le32(VHDX_SIDECAR_TOKEN_MAGIC);
	raw->commit = cpu_to_le64(token->commit);
	raw->container_sequence = cpu_to_le64(token->sequence);
	for (i = 0; i < VHDX_TOKEN_WORDS; i++)
		((__le64 *)raw->sectors)[i] = cpu_to_le64(token->sectors[i]);
	raw->crc = cpu_to_le32(checksum(raw));
}

bool vhdx_token_decode(const void *block, struct vhdx_token *token)
{
	const struct vhdx_sidecar_token *raw = block;
	u32 i;

	if (!raw || le32_to_cpu(raw->magic) != VHDX_SIDECAR_TOKEN_MAGIC ||
	    le32_to_cpu(raw->crc) != checksum(raw))
		return false;
	token->commit = le64_to_cpu(raw->commit);
	token->sequence = le64_to_cpu(raw->container_sequence);
	for (i = 0; i < VHDX_TOKEN_WORDS; i++)
		token->sectors[i] = le64_to_cpu(((const __le64 *)raw->sectors)[i]);
	return true;
}

static bool has_sector(const struct vhdx_token *token, u32 number)
{
	return token->sectors[number >> 6] >> (number & 63) & 1;
}

static bool counts(const struct vhdx_token *token, const struct vhdx_coarse_geometry *geo,
		   const void *area)
{
	u64 bits[VHDX_COARSE_SECTOR_WORDS];
	u64 generation, commit;
	u32 i;

	for (i = 0; i < VHDX_TOKEN_SECTORS; i++) {
		if (!has_sector(token, i))
			continue;
		if (i >= geo->sectors)
			return false;
		if (vhdx_coarse_decode(i, area + i * VHDX_COARSE_SECTOR, &generation, &commit,
				       bits) &&
		    commit < token->commit)
			return false;
	}
	return true;
}

void vhdx_token_judge(const void *const slots[VHDX_TOKEN_SLOTS],
		      const struct vhdx_coarse_geometry *geo, const void *area,
		      struct vhdx_token_state *state)
{
	struct vhdx_token token;
	u64 newest = 0;
	unsigned int i;

	memset(state, 0, sizeof(*state));
	for (i = 0; i < VHDX_TOKEN_SLOTS; i++) {
		if (!vhdx_token_decode(slots[i], &token))
			continue;
		state->commit = max(state->commit, token.commit);
		if (token.commit <= newest || !counts(&token, geo, area))
			continue;
		newest = token.commit;
		state->sequence = token.sequence;
		state->slot = i;
	}
}
