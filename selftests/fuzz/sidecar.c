// SPDX-License-Identifier: GPL-2.0-only
/*
 * A sidecar: load, verify, bind, read every delta, ask, forget, seal, save, load again.
 * The mutator begins with one that the core wrote, and makes its tree of checksums right.
 */
#include "core/rct/answer.h"
#include "core/rct/sidecar_private.h"
#include "sparse.h"

#define BLOCK		VHDX_SIDECAR_BLOCK
#define SAMPLE_SIZE	(3ULL * VHDX_LEAF_UNITS * 4096)

static const vhdx_guid guid = { "DataWriteGuid 00" };

/* ---- what must hold ---- */

struct source {
	const struct vhdx_sidecar *sidecar;
	const struct vhdx_delta *delta;
	struct vhdx_index_cache *cache;
};

static int read_leaf(void *context, u32 leaf, struct vhdx_leaf_bits *units)
{
	const struct source *source = context;

	return vhdx_sidecar_read_leaf(source->sidecar, source->delta, leaf, units, source->cache);
}

static int find_leaf(void *context, u32 leaf, u32 *end)
{
	const struct source *source = context;

	return vhdx_sidecar_find_leaf(source->sidecar, source->delta, leaf, end, source->cache);
}

static const struct vhdx_leaf_source leaf_source = { .find = find_leaf, .read = read_leaf };

/* Ascending, apart, within the disk. */
static void check_answer(const struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta)
{
	struct source source = { sidecar, delta, vhdx_index_cache_new(1) };
	struct vhdx_range ranges[16];
	struct vhdx_leaf_bits units;
	struct vhdx_answer answer = {
		.end = min_t(u64, sidecar->disk_size, 8ULL << 30),
		.form = &vhdx_answer_ranges,
		.unit_shift = sidecar->unit_shift,
		.granule_shift = sidecar->unit_shift,
		.ranges.array = ranges, .ranges.size = sizeof(ranges[0]),
		.ranges.capacity = ARRAY_SIZE(ranges), .units = &units,
	};
	u64 end = 0;
	int more;

	do {
		more = vhdx_answer_leaf(&answer, &leaf_source, &source);
	} while (more > 0);
	vhdx_index_cache_free(source.cache);
	for (u32 i = 0; i < answer.ranges.count; i++) {
		MUST(ranges[i].byte_length && (!i || ranges[i].byte_offset > end));
		end = ranges[i].byte_offset + ranges[i].byte_length;
		MUST(end <= sidecar->disk_size);
	}
}

static u32 fold_delta(const struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta, u32 crc)
{
	const struct vhdx_delta_leaf *entry;
	struct vhdx_index_iter iter;
	u64 words[VHDX_LEAF_WORDS];
	u8 buf[BLOCK];
	int err;

	crc = vhdx_crc32c(crc, &delta->gap_reason, sizeof(delta->gap_reason));
	err = vhdx_index_iter_init(&iter, sidecar, delta, NULL);
	while (!err && !(err = vhdx_index_iter_peek(&iter, &entry, NULL)) && entry) {
		memset(words, 0, sizeof(words));
		err = vhdx_sidecar_read_entry(sidecar, entry, words, buf, NULL);
		crc = vhdx_crc32c(crc, words, sizeof(words));
		vhdx_index_iter_next(&iter);
	}
	vhdx_index_iter_release(&iter);
	return vhdx_crc32c(crc, &err, sizeof(err));
}

/* All that the sidecar tells, in one number. */
static u32 meaning(const struct vhdx_sidecar *sidecar)
{
	u32 crc = sidecar->state;

	for (u32 i = 0; i < sidecar->timeline.count; i++) {
		const struct vhdx_timeline_point *point = sidecar->timeline.points[i];

		crc = vhdx_crc32c(crc, &point->id, sizeof(point->id));
		crc = vhdx_crc32c(crc, point->label, sizeof(point->label));
		crc = fold_delta(sidecar, &point->before, crc);
	}
	return fold_delta(sidecar, &sidecar->timeline.live, crc);
}

static void seal(struct vhdx_sidecar *sidecar, struct vhdx_changemap *map)
{
	struct vhdx_timeline_point point = {
		.id = { .sequence = sidecar->timeline.next_sequence,
			.kind = VHDX_POINT_REFERENCE },
		.issued = true,
	};
	struct vhdx_delta before;

	if (!vhdx_sidecar_write_delta(sidecar, map, &before) &&
	    vhdx_sidecar_add_point(sidecar, &point, &before))
		vhdx_sidecar_drop_delta(sidecar, &before);
}

/* One of everything that changes it, then what was written must be what is read. */
static void use(struct vhdx_sidecar *sidecar, struct sparse *file, u32 choice)
{
	struct vhdx_diag diag = { 0 };
	struct vhdx_changemap map;
	u32 told;

	if (vhdx_changemap_init(&map, sidecar->disk_size, sidecar->unit_shift))
		return;
	vhdx_sidecar_load_live(sidecar, &map, NULL);
	vhdx_changemap_mark(&map, 0, 1);
	if (choice & 16)
		vhdx_sidecar_walk(sidecar, choice % 5, NULL);
	if (choice & 1 && sidecar->timeline.count)
		vhdx_sidecar_forget_point(sidecar, choice % sidecar->timeline.count, &map);
	if (choice & 2)
		seal(sidecar, &map);
	if (choice & 4)
		vhdx_sidecar_checkpoint(sidecar, &map, choice & 32 ? sidecar->found : NULL);
	vhdx_changemap_release(&map);
	told = meaning(sidecar);
	if (vhdx_sidecar_commit(sidecar))
		return;
	vhdx_sidecar_release(sidecar);
	file->store.size = SPARSE_SIZE;
	MUST(!vhdx_sidecar_load(sidecar, &file->store, true, false, &diag));
	MUST(meaning(sidecar) == told);
}

int LLVMFuzzerTestOneInput(const u8 *input, size_t length)
{
	static struct sparse file;
	struct vhdx_diag diag = { 0 };
	struct vhdx_sidecar sidecar;
	u32 choice = length;
	int err;

	sparse_open(&file, input, length);
	for (size_t i = 0; i < length && i < 4096 + 8; i += 61)
		choice += input[i];
	err = vhdx_sidecar_load(&sidecar, &file.store, true, false, &diag);
	MUST(!err || diag.text[0]);
	if (!err) {
		vhdx_sidecar_verify(&sidecar, &diag);
		MUST(!vhdx_sidecar_bind(&sidecar, &sidecar.disk_id, sidecar.disk_size,
					choice & 8 ? &guid : &sidecar.current_guid, 0, &diag));
		for (u32 i = 0; i < sidecar.timeline.count; i++)
			check_answer(&sidecar, &sidecar.timeline.points[i]->before);
		check_answer(&sidecar, &sidecar.timeline.live);
		use(&sidecar, &file, choice);
	}
	vhdx_sidecar_release(&sidecar);
	sparse_close(&file);
	return 0;
}

/* ---- the mutator ---- */

/* Make right what @ref leads to; returns the checksum to refer to it with. */
static u32 repair_block(struct sparse *file, u64 block, u32 depth);

static void repair_delta(struct sparse *file, struct vhdx_sidecar_delta *delta, u32 depth)
{
	if (delta->index.count)
		delta->index.crc = cpu_to_le32(repair_block(file, le64_to_cpu(delta->index.block),
							    depth));
}

static void repair_records(struct sparse *file, u8 *page, u32 depth)
{
	struct vhdx_sidecar_head *head = (void *)page;
	struct vhdx_sidecar_table *tables = (void *)(head + 1);
	struct vhdx_sidecar_point *points = (void *)(head + 1);
	struct vhdx_sidecar_entry *entries = (void *)(head + 1);
	u32 magic = le32_to_cpu(head->magic);
	u32 count = min_t(u32, le32_to_cpu(head->count), 21);

	for (u32 i = 0; i < count; i++) {
		if (magic == VHDX_SIDECAR_ROOT_MAGIC)
			tables[i].crc = cpu_to_le32(repair_block(file,
								 le64_to_cpu(tables[i].block),
								 depth));
		else if (magic == VHDX_SIDECAR_POINTS_MAGIC)
			repair_delta(file, &points[i].before, depth);
		else if (magic == VHDX_SIDECAR_INDEX_MAGIC &&
			 le64_to_cpu(entries[i].block) != VHDX_DELTA_ALL)
			entries[i].crc =
				cpu_to_le32(repair_block(file, le64_to_cpu(entries[i].block), 0));
	}
}

static u32 repair_block(struct sparse *file, u64 block, u32 depth)
{
	static const u8 zeroes[BLOCK];
	u8 *page = block < SPARSE_PAGES ? file->pages[block] : NULL;

	if (!page)
		return vhdx_sidecar_crc(zeroes, BLOCK);
	if (depth)
		repair_records(file, page, depth - 1);
	return vhdx_sidecar_crc(page, BLOCK);
}

static void repair_sectors(struct sparse *file)
{
	const u32 per_block = BLOCK / VHDX_COARSE_SECTOR;

	for (u32 number = 0; number < SPARSE_PAGES; number++) {
		u8 *page = file->pages[VHDX_SIDECAR_COARSE_BLOCK + number / per_block];
		struct vhdx_coarse_sector *sector;

		if (!page)
			break;
		sector = (void *)(page + number % per_block * VHDX_COARSE_SECTOR);
		if (le32_to_cpu(sector->magic) != VHDX_SIDECAR_COARSE_MAGIC)
			break;
		sector->crc = cpu_to_le32(number);
		sector->crc = cpu_to_le32(vhdx_sidecar_crc(sector, sizeof(*sector)));
	}
}

static void repair(struct sparse *file)
{
	repair_sectors(file);
	for (u32 slot = 0; slot < VHDX_SIDECAR_SLOTS; slot++) {
		struct vhdx_sidecar_header *header = (void *)file->pages[slot];

		if (!header)
			continue;
		if (header->points.count)
			header->points.crc =
				cpu_to_le32(repair_block(file,
							 le64_to_cpu(header->points.block), 4));
		repair_delta(file, &header->live, 2);
		header->crc =
			cpu_to_le32(vhdx_sidecar_crc(header, offsetof(typeof(*header), crc)));
	}
}

static void make_sample(struct sparse *file)
{
	struct vhdx_sidecar sidecar = {
		.state = VHDX_SIDECAR_ON, .disk_size = SAMPLE_SIZE, .unit_shift = 12,
		.disk_id = guid, .current_guid = guid,
	};
	struct vhdx_diag diag = { 0 };
	struct vhdx_changemap map;

	MUST(!vhdx_sidecar_format(&sidecar, &file->store, true, &diag));
	MUST(!vhdx_changemap_init(&map, SAMPLE_SIZE, 12));
	for (u32 i = 0; i < 3; i++) {
		vhdx_changemap_mark(&map, i * 77 * 4096, 4096);
		vhdx_changemap_mark(&map, i * SAMPLE_SIZE / 3, i == 1 ? SAMPLE_SIZE / 3 : 4096);
		seal(&sidecar, &map);
	}
	MUST(!vhdx_sidecar_checkpoint(&sidecar, &map, NULL));
	MUST(!vhdx_sidecar_commit(&sidecar));
	vhdx_changemap_release(&map);
	vhdx_sidecar_release(&sidecar);
	file->store.size = 64 * BLOCK;
}

size_t LLVMFuzzerCustomMutator(u8 *input, size_t length, size_t max, unsigned int seed)
{
	static const u32 sizes[] = { 32, 208, 256, BLOCK };
	static struct sparse file;
	u64 wanted[SPARSE_PAGES];
	u32 count = 0;

	sparse_open(&file, input, length);
	if (length < 2 * SPARSE_RECORD)
		make_sample(&file);
	for (u64 i = 0; i < SPARSE_PAGES; i++)
		if (file.pages[i])
			wanted[count++] = i;
	if (count && length >= 2 * SPARSE_RECORD)
		LLVMFuzzerMutate(file.pages[wanted[seed / 4 % count]], sizes[seed % 4],
				 sizes[seed % 4]);
	if (seed % 16)
		repair(&file);
	length = sparse_pack(&file, input, max);
	sparse_close(&file);
	return length;
}
