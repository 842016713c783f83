// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * The header of a sidecar, in two slots that are written in turn.
 */
#include "sidecar_private.h"

#define DISK_SIZE_MAX	(64ULL << 40)
#define UNIT_SHIFT_MIN	12U
#define UNIT_SHIFT_MAX	20U
static_assert(VHDX_UNIT_MIN == 1U << UNIT_SHIFT_MIN);
static_assert(VHDX_UNIT_MAX == 1U << UNIT_SHIFT_MAX);
/* A full map is at most 128 MiB: vhdx_unit_shift_for(). */
#define LEAVES_MAX	32768U

static_assert(VHDX_SIDECAR_ON == VHDX_SIDECAR_STATE_ON);
static_assert(VHDX_SIDECAR_DISABLED == VHDX_SIDECAR_STATE_DISABLED);

u64 vhdx_sidecar_fixed_blocks(u64 disk_size, u32 unit_shift)
{
	struct vhdx_coarse_geometry geo;

	vhdx_coarse_layout(disk_size, unit_shift, &geo);
	return VHDX_SIDECAR_COARSE_BLOCK + geo.blocks;
}

static void encode_header(const struct vhdx_sidecar *sidecar, u64 sequence,
			  struct vhdx_sidecar_header *header)
{
	const struct vhdx_timeline *timeline = &sidecar->timeline;

	memcpy(header->magic, VHDX_SIDECAR_MAGIC, sizeof(header->magic));
	header->version = cpu_to_le32(VHDX_SIDECAR_VERSION);
	/*
	 * A compatible feature that we don't know goes: we write nothing of what
	 * belongs to it.
	 */
	header->compat_features = cpu_to_le32(sidecar->compat_features & VHDX_SIDECAR_COMPAT);
	header->ro_compat_features = cpu_to_le32(sidecar->ro_compat_features);
	header->incompat_features = cpu_to_le32(sidecar->incompat_features);
	if (sidecar->strict)
		header->incompat_features |= cpu_to_le32(VHDX_SIDECAR_FEATURE_STRICT);
	header->flags = cpu_to_le32(sidecar->closed ? VHDX_SIDECAR_FLAG_CLOSED : 0);
	header->sequence = cpu_to_le64(sequence);
	header->disk_id = sidecar->disk_id;
	header->disk_size = cpu_to_le64(sidecar->disk_size);
	header->unit_shift = cpu_to_le32(sidecar->unit_shift);
	header->state = cpu_to_le32(sidecar->state);
	header->region_shift = cpu_to_le32(sidecar->coarse.region_shift);
	header->current_guid = sidecar->current_guid;
	header->next_guid = sidecar->next_guid;
	header->next_point_sequence = cpu_to_le64(timeline->next_sequence);
	header->block_count = cpu_to_le64(sidecar->space.end);
	header->points.block = cpu_to_le64(sidecar->points.block);
	header->points.crc = cpu_to_le32(sidecar->points.crc);
	header->points.count = cpu_to_le32(timeline->count);
	vhdx_sidecar_encode_delta(&timeline->live, &header->live);
	header->crc = cpu_to_le32(vhdx_sidecar_crc(header, offsetof(struct vhdx_sidecar_header,
								    crc)));
}

int vhdx_sidecar_write_header(struct vhdx_sidecar *sidecar, unsigned int slot, void *header)
{
	int err;

	encode_header(sidecar, sidecar->sequence + 1, header);
	err = vhdx_sidecar_write_blocks(sidecar, slot, header, 1);
	return err ?: sidecar->store->flush(sidecar->store);
}

static bool has_magic(const struct vhdx_sidecar_header *header)
{
	return !memcmp(header->magic, VHDX_SIDECAR_MAGIC, sizeof(header->magic));
}

static bool is_intact(const struct vhdx_sidecar_header *header)
{
	return has_magic(header) &&
	       le32_to_cpu(header->crc) ==
	       vhdx_sidecar_crc(header, offsetof(struct vhdx_sidecar_header, crc));
}

/* Some file systems leave 64 KiB at their beginning to other programs. */
#define LOOKED_AT	(1U << 20)
#define LOOK_STEP	(64U * 1024)

int vhdx_sidecar_look(struct vhdx_store *store, enum vhdx_sidecar_content *content)
{
	struct vhdx_sidecar_header *headers = vhdx_alloc(LOOK_STEP);
	u64 end = min_t(u64, store->size, LOOKED_AT);
	int err = 0;
	u64 at;

	if (!headers)
		return -ENOMEM;
	*content = VHDX_SIDECAR_NOTHING;
	for (at = 0; at < end && *content == VHDX_SIDECAR_NOTHING; at += LOOK_STEP) {
		err = store->read(store, at, headers, LOOK_STEP);
		if (err)
			break;
		if (!at && (has_magic(&headers[0]) || has_magic(&headers[1])))
			*content = VHDX_SIDECAR_SIDECAR;
		else if (memchr_inv(headers, 0, LOOK_STEP))
			*content = VHDX_SIDECAR_STRANGER;
	}
	vhdx_free(headers);
	return err;
}

/*
 * Which slot counts. One that is not intact was being written when the power went;
 * the other one is the state before.
 *
 * But an intact header whose tree is damaged is not a reason to go back to the other
 * slot: that one tells of an older state, in which writes, seals and the loss of a
 * delta have not happened, and what it refers to may have been overwritten since.
 */
static int choose_slot(const struct vhdx_sidecar *sidecar,
		       const struct vhdx_sidecar_header *headers, unsigned int *slot,
		       struct vhdx_diag *diag)
{
	bool first = is_intact(&headers[0]);
	bool second = is_intact(&headers[1]);

	/* A new block device; of a file that would be a loss. */
	if (!sidecar->space.can_grow &&
	    !memchr_inv(headers, 0, VHDX_SIDECAR_SLOTS * sizeof(*headers)))
		return vhdx_sidecar_empty(diag);
	if (!first && !second) {
		if (has_magic(&headers[0]) || has_magic(&headers[1]))
			return vhdx_sidecar_damaged(diag, "no intact header at offset 0 or 4096");
		return vhdx_fail(diag, -EUCLEAN, VHDX_REASON_INCONSISTENT,
				 "sidecar: this is none: no header of one at offset 0 or 4096");
	}
	if (first && second && headers[0].sequence == headers[1].sequence)
		return vhdx_sidecar_damaged(diag, "both headers have sequence number %llu",
					    le64_to_cpu(headers[0].sequence));
	*slot = !first || (second && le64_to_cpu(headers[1].sequence) >
				     le64_to_cpu(headers[0].sequence));
	return 0;
}

static int check_features(const struct vhdx_sidecar_header *header, bool read_only,
			  struct vhdx_diag *diag)
{
	u32 unknown = le32_to_cpu(header->incompat_features) & ~VHDX_SIDECAR_INCOMPAT;
	u32 unknown_ro = le32_to_cpu(header->ro_compat_features) & ~VHDX_SIDECAR_RO_COMPAT;
	u32 flags = le32_to_cpu(header->flags) & VHDX_SIDECAR_FLAGS_NEEDED &
		    ~VHDX_SIDECAR_FLAG_CLOSED;
	u32 version = le32_to_cpu(header->version);

	if (version < VHDX_SIDECAR_VERSION)
		return vhdx_unsupported(diag,
					"sidecar: version %u, of before the first release, is not read any more"
					VHDX_SIDECAR_BEGIN_ANEW, version);
	if (version > VHDX_SIDECAR_VERSION)
		return vhdx_sidecar_newer(diag, "version %u, only %u is known here", version,
					  VHDX_SIDECAR_VERSION);
	if (unknown)
		return vhdx_sidecar_newer(diag, "with features 0x%x", unknown);
	if (flags)
		return vhdx_sidecar_newer(diag, "its header has flags 0x%x", flags);
	if (unknown_ro && !read_only)
		return vhdx_sidecar_newer(diag, "features 0x%x allow reading only", unknown_ro);
	return 0;
}

/*
 * The most blocks that a sidecar of this disk ever has in use: every delta full, the points,
 * and four times that: tables may be half full, and a commit under way adds less than all.
 * Keeps the bit maps small whatever a file claims, long and sparse as it may be.
 */
u64 vhdx_sidecar_most_blocks(u64 disk_size, u32 unit_shift)
{
	u64 leaves = (disk_size >> unit_shift >> VHDX_LEAF_SHIFT) + 1;
	u64 delta = leaves + leaves / vhdx_sidecar_entry_record.per_table + 2;
	u64 points = VHDX_POINTS_MAX / vhdx_sidecar_point_record.per_table + 2;

	return vhdx_sidecar_fixed_blocks(disk_size, unit_shift) +
	       4 * (points + (VHDX_POINTS_MAX + 2) * delta);
}

static int check_geometry(const struct vhdx_sidecar_header *header, struct vhdx_diag *diag)
{
	u64 disk_size = le64_to_cpu(header->disk_size);
	u32 unit_shift = le32_to_cpu(header->unit_shift);
	struct vhdx_coarse_geometry geo;

	if (disk_size > DISK_SIZE_MAX)
		return vhdx_sidecar_damaged(diag, "header: disk of %llu bytes, 64 TiB is the most",
					    disk_size);
	if (unit_shift < UNIT_SHIFT_MIN || unit_shift > UNIT_SHIFT_MAX)
		return vhdx_sidecar_damaged(diag, "header: unit shift %u", unit_shift);
	if (disk_size > (u64)LEAVES_MAX << VHDX_LEAF_SHIFT << unit_shift)
		return vhdx_sidecar_damaged(diag, "header: unit shift %u is too small for the disk",
					    unit_shift);
	vhdx_coarse_layout(disk_size, unit_shift, &geo);
	if (le32_to_cpu(header->region_shift) != geo.region_shift)
		return vhdx_sidecar_damaged(diag, "header: region shift %u, it must be %u",
					    le32_to_cpu(header->region_shift), geo.region_shift);
	return 0;
}

static int check_values(const struct vhdx_sidecar_header *header, u64 block_max,
			struct vhdx_diag *diag)
{
	u64 disk_size = le64_to_cpu(header->disk_size);
	u32 unit_shift = le32_to_cpu(header->unit_shift);
	u64 fixed = vhdx_sidecar_fixed_blocks(disk_size, unit_shift);
	u32 points = le32_to_cpu(header->points.count);
	u32 state = le32_to_cpu(header->state);
	u64 blocks = le64_to_cpu(header->block_count);

	if (!(le32_to_cpu(header->incompat_features) & VHDX_SIDECAR_FEATURE_COARSE))
		return vhdx_sidecar_damaged(diag, "header: without the feature COARSE");
	if (state != VHDX_SIDECAR_STATE_ON && state != VHDX_SIDECAR_STATE_DISABLED)
		return vhdx_sidecar_damaged(diag, "header: state %u", state);
	if (le64_to_cpu(header->sequence) > VHDX_SIDECAR_SEQUENCE_MAX ||
	    le64_to_cpu(header->next_point_sequence) > VHDX_SIDECAR_SEQUENCE_MAX)
		return vhdx_sidecar_damaged(diag, "header: a sequence number beyond 2^63");
	if (points > VHDX_POINTS_MAX)
		return vhdx_sidecar_damaged(diag, "header: %u points, %u is the most", points,
					    VHDX_POINTS_MAX);
	if (blocks < fixed || blocks > block_max ||
	    blocks > vhdx_sidecar_most_blocks(disk_size, unit_shift))
		return vhdx_sidecar_damaged(diag, "header: %llu blocks, the file has %llu", blocks,
					    block_max);
	return 0;
}

static void take_over(struct vhdx_sidecar *sidecar, const struct vhdx_sidecar_header *header)
{
	sidecar->state = le32_to_cpu(header->state);
	sidecar->disk_id = header->disk_id;
	sidecar->disk_size = le64_to_cpu(header->disk_size);
	sidecar->unit_shift = le32_to_cpu(header->unit_shift);
	sidecar->current_guid = header->current_guid;
	sidecar->next_guid = header->next_guid;
	sidecar->sequence = le64_to_cpu(header->sequence);
	sidecar->compat_features = le32_to_cpu(header->compat_features);
	sidecar->ro_compat_features = le32_to_cpu(header->ro_compat_features);
	sidecar->incompat_features = le32_to_cpu(header->incompat_features);
	sidecar->strict = sidecar->incompat_features & VHDX_SIDECAR_FEATURE_STRICT;
	sidecar->incompat_features &= ~VHDX_SIDECAR_FEATURE_STRICT;
	sidecar->closed = le32_to_cpu(header->flags) & VHDX_SIDECAR_FLAG_CLOSED;
	sidecar->block_count = le64_to_cpu(header->block_count);
	vhdx_coarse_layout(sidecar->disk_size, sidecar->unit_shift, &sidecar->coarse);
	sidecar->timeline.next_sequence = le64_to_cpu(header->next_point_sequence);
	sidecar->points.block = le64_to_cpu(header->points.block);
	sidecar->points.crc = le32_to_cpu(header->points.crc);
	vhdx_sidecar_init_space(sidecar, sidecar->space.can_grow ? ~0ULL : sidecar->space.limit,
				sidecar->block_count);
}

int vhdx_sidecar_read_header(struct vhdx_sidecar *sidecar, u64 block_max, bool read_only,
			     u32 *point_count, struct vhdx_diag *diag)
{
	const size_t size = VHDX_SIDECAR_SLOTS * VHDX_SIDECAR_BLOCK;
	struct vhdx_sidecar_header *headers = vhdx_alloc(size);
	const struct vhdx_sidecar_header *header;
	int err;

	if (!headers)
		return vhdx_no_memory(diag);
	err = sidecar->store->read(sidecar->store, 0, headers, size);
	if (err) {
		vhdx_io_failed(diag, err, "sidecar: reading the header failed (%d)", err);
		goto out;
	}
	err = choose_slot(sidecar, headers, &sidecar->slot, diag);
	if (err)
		goto out;
	header = &headers[sidecar->slot];
	err = check_features(header, read_only, diag);
	err = err ?: check_geometry(header, diag);
	err = err ?: check_values(header, block_max, diag);
	if (err)
		goto out;
	take_over(sidecar, header);
	*point_count = le32_to_cpu(header->points.count);
	err = vhdx_sidecar_decode_delta(sidecar, &header->live, &sidecar->timeline.live, diag);
out:
	vhdx_free(headers);
	return err;
}
