// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * The index of a delta: where its leaves are. Read table by table, when they are needed.
 */
#include "sidecar_private.h"

/* Of the tables that a reader keeps: of a thousand deltas at least. */
#define CACHE_BYTES	(4U << 20)

const struct vhdx_sidecar_record vhdx_sidecar_entry_record = {
	.what = "an index",
	.magic = VHDX_SIDECAR_INDEX_MAGIC,
	.size = sizeof(struct vhdx_sidecar_entry),
	.per_table = VHDX_SIDECAR_RECORDS(struct vhdx_sidecar_entry),
};

/* The tables of a root that was read. */
static int check_order(const struct vhdx_sidecar *sidecar, const void *root,
		       struct vhdx_diag *diag)
{
	const u32 count = vhdx_table_count(root);
	const u32 leaves = vhdx_sidecar_leaf_count(sidecar);
	u32 i, first, last = 0;

	for (i = 0; i < count; i++, last = first) {
		first = vhdx_table_of_root(root, i).first;
		if (first >= leaves || (i && first <= last))
			return vhdx_sidecar_damaged(diag, "table %u of an index is out of order",
						    i);
	}
	return 0;
}

static int read_root(const struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta,
		     void *page, struct vhdx_table_ref *tables, u32 *count,
		     struct vhdx_diag *diag)
{
	int err;

	err = vhdx_table_read_root(sidecar, &vhdx_sidecar_entry_record, delta->index_block,
				   delta->index_crc, delta->leaf_count, page, tables, count, diag);
	return err ?: check_order(sidecar, page, diag);
}

/* The first leaf that can't be in table number @table. */
static u32 end_of_table(const struct vhdx_sidecar *sidecar, const struct vhdx_table_ref *tables,
			u32 count, u32 table)
{
	return table + 1 < count ? tables[table + 1].first : vhdx_sidecar_leaf_count(sidecar);
}

static bool is_possible(const struct vhdx_sidecar *sidecar, const struct vhdx_delta_leaf *entry)
{
	return entry->units && entry->units <= VHDX_LEAF_UNITS &&
	       (entry->block == VHDX_DELTA_ALL || vhdx_sidecar_is_block(sidecar, entry->block));
}

/* Those of a table, which ends before leaf @end. */
static int take_entries(const struct vhdx_sidecar *sidecar, const struct vhdx_table_ref *table,
			u32 end, const void *page, struct vhdx_delta_leaf *entries,
			struct vhdx_diag *diag)
{
	const struct vhdx_sidecar_entry *raw = page + sizeof(struct vhdx_sidecar_head);
	int err = vhdx_table_check(&vhdx_sidecar_entry_record, table, page, diag);
	u32 i;

	for (i = 0; !err && i < table->count; i++, raw++) {
		entries[i].leaf = le16_to_cpu(raw->leaf);
		entries[i].units = le16_to_cpu(raw->units);
		entries[i].crc = le32_to_cpu(raw->crc);
		entries[i].block = le64_to_cpu(raw->block);
		if (entries[i].leaf >= end || (i && entries[i].leaf <= entries[i - 1].leaf) ||
		    (!i && entries[i].leaf != table->first))
			err = vhdx_sidecar_damaged(diag, "leaf number %u is out of order",
						   entries[i].leaf);
		else if (!is_possible(sidecar, &entries[i]))
			err = vhdx_sidecar_damaged(diag,
						   "leaf block %llu, of %u units, is out of place",
						   entries[i].block, entries[i].units);
	}
	return err;
}

static int read_entries(const struct vhdx_sidecar *sidecar, const struct vhdx_table_ref *table,
			u32 end, void *page, struct vhdx_delta_leaf *entries,
			struct vhdx_diag *diag)
{
	int err;

	err = vhdx_sidecar_read_block(sidecar, table->block, table->crc, page,
				      vhdx_sidecar_entry_record.what, diag);
	return err ?: take_entries(sidecar, table, end, page, entries, diag);
}

/* ---- all leaves, one after the other ---- */

int vhdx_index_iter_init(struct vhdx_index_iter *iter, const struct vhdx_sidecar *sidecar,
			 const struct vhdx_delta *delta, struct vhdx_diag *diag)
{
	memset(iter, 0, sizeof(*iter));
	iter->sidecar = sidecar;
	if (!delta->leaf_count)
		return 0;
	iter->tables = vhdx_alloc(VHDX_SIDECAR_TABLES * sizeof(*iter->tables));
	iter->entries = vhdx_alloc(vhdx_sidecar_entry_record.per_table * sizeof(*iter->entries));
	iter->page = vhdx_alloc(VHDX_SIDECAR_BLOCK);
	if (!iter->tables || !iter->entries || !iter->page)
		return vhdx_no_memory(diag);
	return read_root(sidecar, delta, iter->page, iter->tables, &iter->table_count, diag);
}

void vhdx_index_iter_release(struct vhdx_index_iter *iter)
{
	vhdx_free(iter->tables);
	vhdx_free(iter->entries);
	vhdx_free(iter->page);
}

int vhdx_index_iter_peek(struct vhdx_index_iter *iter, const struct vhdx_delta_leaf **entry,
			 struct vhdx_diag *diag)
{
	const struct vhdx_table_ref *table;
	int err;

	*entry = NULL;
	if (iter->table == iter->table_count)
		return 0;
	if (!iter->count) {
		table = &iter->tables[iter->table];
		err = read_entries(iter->sidecar, table,
				   end_of_table(iter->sidecar, iter->tables, iter->table_count,
						iter->table),
				   iter->page, iter->entries, diag);
		if (err)
			return err;
		iter->count = table->count;
		iter->at = 0;
		vhdx_breathe();
	}
	*entry = &iter->entries[iter->at];
	return 0;
}

void vhdx_index_iter_next(struct vhdx_index_iter *iter)
{
	if (iter->count && ++iter->at < iter->count)
		return;
	iter->table++;
	iter->count = 0;
}

u32 vhdx_index_iter_leaf(const struct vhdx_index_iter *iter)
{
	if (iter->table == iter->table_count)
		return VHDX_NO_LEAF;
	return iter->count ? iter->entries[iter->at].leaf : iter->tables[iter->table].first;
}

const struct vhdx_table_ref *vhdx_index_iter_table(const struct vhdx_index_iter *iter)
{
	if (iter->table == iter->table_count || iter->count)
		return NULL;
	return &iter->tables[iter->table];
}

const struct vhdx_table_ref *vhdx_index_iter_table_before(const struct vhdx_index_iter *iter,
							  u32 other)
{
	const struct vhdx_table_ref *table = vhdx_index_iter_table(iter);

	if (!table || other < table->first)
		return NULL;
	if (iter->table + 1 < iter->table_count ? other < table[1].first : other != VHDX_NO_LEAF)
		return NULL;
	return table;
}

/* ---- one leaf, whichever ---- */

struct vhdx_index_cache *vhdx_index_cache_new(u32 deltas)
{
	struct vhdx_index_cache *cache = vhdx_alloc(sizeof(*cache));
	u32 slots = 4;

	if (!cache)
		return NULL;
	while (slots < 2 * deltas)
		slots *= 2;
	cache->slot_count = slots;
	cache->slots = vhdx_alloc(slots * sizeof(*cache->slots));
	if (!cache->slots) {
		vhdx_free(cache);
		return NULL;
	}
	return cache;
}

static void free_tables(struct vhdx_index_cache *cache)
{
	u32 i;

	for (i = 0; i < cache->slot_count; i++)
		if (cache->slots[i].entries)
			vhdx_free(cache->slots[i].entries);
}

static void forget_slots(struct vhdx_index_cache *cache)
{
	free_tables(cache);
	memset(cache->slots, 0, cache->slot_count * sizeof(*cache->slots));
	cache->bytes = 0;
}

void vhdx_index_cache_free(struct vhdx_index_cache *cache)
{
	if (!cache)
		return;
	free_tables(cache);
	vhdx_free(cache->slots);
	vhdx_free(cache);
}

/**
 * struct index_block - a block of an index
 * @lent:	what is in it, by the cache of blocks; or
 * @read:	by whoever looks
 */
struct index_block {
	void *lent;
	void *read;
};

static const void *contents_of(const struct index_block *block)
{
	return block->lent ? block->lent : block->read;
}

/* 0 or -errno; -EAGAIN: it would have to be read. */
static int get_block(const struct vhdx_sidecar *sidecar, u64 number, u32 crc,
		     struct vhdx_index_cache *cache, struct index_block *block)
{
	struct vhdx_lent_leaf lent;
	int err;

	*block = (struct index_block) { };
	if (vhdx_block_cache_lend(sidecar->cache, number, crc, &lent)) {
		block->lent = lent.page;
		return 0;
	}
	err = vhdx_index_may_read(cache);
	if (err)
		return err;
	block->read = vhdx_alloc(VHDX_SIDECAR_BLOCK);
	if (!block->read)
		return -ENOMEM;
	err = vhdx_sidecar_read_block(sidecar, number, crc, block->read,
				      vhdx_sidecar_entry_record.what, NULL);
	if (err)
		vhdx_free(block->read);
	return err;
}

/* What was read, and is @good, is kept for others. */
static void put_block(const struct vhdx_sidecar *sidecar, u64 number, u32 crc,
		      const struct index_block *block, bool good)
{
	if (block->lent) {
		vhdx_shared_put(block->lent);
		return;
	}
	if (good)
		vhdx_block_cache_put(sidecar->cache, number, crc, block->read);
	vhdx_free(block->read);
}

/* The table of @root that leaf @leaf is in, if anywhere. @end: the first leaf that can't be. */
static struct vhdx_table_ref choose_table(const struct vhdx_sidecar *sidecar, const void *root,
					  u32 leaf, u32 *from, u32 *end)
{
	const u32 count = vhdx_table_count(root);
	u32 i = 0;

	while (i + 1 < count && vhdx_table_of_root(root, i + 1).first <= leaf)
		i++;
	*from = i ? vhdx_table_of_root(root, i).first : 0;
	*end = i + 1 < count ? vhdx_table_of_root(root, i + 1).first :
			       vhdx_sidecar_leaf_count(sidecar);
	return vhdx_table_of_root(root, i);
}

static int find_table(const struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta, u32 leaf,
		      struct vhdx_index_cache *cache, struct vhdx_table_ref *table, u32 *from,
		      u32 *end)
{
	struct index_block root;
	int err;

	err = get_block(sidecar, delta->index_block, delta->index_crc, cache, &root);
	if (err)
		return err;
	err = vhdx_table_check_root(sidecar, &vhdx_sidecar_entry_record, delta->index_block,
				    delta->leaf_count, contents_of(&root), NULL);
	if (!err)
		err = check_order(sidecar, contents_of(&root), NULL);
	if (!err)
		*table = choose_table(sidecar, contents_of(&root), leaf, from, end);
	put_block(sidecar, delta->index_block, delta->index_crc, &root, !err);
	return err;
}

static const struct vhdx_delta_leaf *entries_of(const struct vhdx_index_slot *slot)
{
	return slot->entries ? slot->entries : slot->few;
}

/* The table of @delta that @leaf is in, if anywhere, becomes the one in @slot. */
static int fill_slot(const struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta, u32 leaf,
		     struct vhdx_index_cache *cache, struct vhdx_index_slot *slot)
{
	struct vhdx_delta_leaf few[VHDX_INDEX_FEW] = { };
	struct vhdx_delta_leaf *entries = NULL;
	struct vhdx_table_ref table;
	struct index_block block;
	u32 from, end;
	int err;

	err = find_table(sidecar, delta, leaf, cache, &table, &from, &end);
	if (!err)
		err = get_block(sidecar, table.block, table.crc, cache, &block);
	if (err)
		return err;
	if (table.count > VHDX_INDEX_FEW) {
		entries = vhdx_alloc(table.count * sizeof(*entries));
		err = entries ? 0 : -ENOMEM;
	}
	if (!err)
		err = take_entries(sidecar, &table, end, contents_of(&block), entries ?: few, NULL);
	put_block(sidecar, table.block, table.crc, &block, !err);
	if (err) {
		vhdx_free(entries);
		return err;
	}
	vhdx_free(slot->entries);
	*slot = (struct vhdx_index_slot) {
		.root = delta->index_block,
		.crc = delta->index_crc,
		.from = from,
		.last = end - 1,
		.count = table.count,
		.entries = entries,
		.few = { few[0], few[1] },
	};
	return 0;
}

static bool is_first_from(const struct vhdx_index_slot *slot, u32 i, u32 leaf)
{
	const struct vhdx_delta_leaf *entries = entries_of(slot);

	return i < slot->count && entries[i].leaf >= leaf && (!i || entries[i - 1].leaf < leaf);
}

/*
 * The first entry of leaf @leaf or one behind it; NULL: the table has none. Mostly it is the one
 * behind the last one.
 */
static const struct vhdx_delta_leaf *find_entry(struct vhdx_index_slot *slot, u32 leaf)
{
	const struct vhdx_delta_leaf *entries = entries_of(slot);
	u32 low = 0, high = slot->count;

	if (is_first_from(slot, slot->at + 1, leaf))
		return &entries[++slot->at];
	while (low < high) {
		u32 middle = low + (high - low) / 2;

		if (entries[middle].leaf < leaf)
			low = middle + 1;
		else
			high = middle;
	}
	slot->at = low;
	return low < slot->count ? &entries[low] : NULL;
}

/*
 * A block may have got other contents since it was read, and be the root of another delta. Its
 * checksum tells: what has the same root has the same entries. There are more slots than deltas;
 * points that were sealed meanwhile may have to share one.
 */
static bool is_of(const struct vhdx_index_slot *slot, const struct vhdx_delta *delta)
{
	return slot->root == delta->index_block && slot->crc == delta->index_crc;
}

static struct vhdx_index_slot *find_slot(const struct vhdx_delta *delta,
					 struct vhdx_index_cache *cache)
{
	u32 i, home = delta->index_block & (cache->slot_count - 1);

	if (cache->bytes > CACHE_BYTES)
		forget_slots(cache);
	for (i = 0; i < cache->slot_count; i++) {
		struct vhdx_index_slot *slot;

		slot = &cache->slots[(home + i) & (cache->slot_count - 1)];
		if (!slot->root || is_of(slot, delta))
			return slot;
	}
	return &cache->slots[home];
}

const struct vhdx_delta_leaf *vhdx_index_next(const struct vhdx_delta *delta, u32 leaf,
					      struct vhdx_index_cache *cache)
{
	struct vhdx_index_slot *slot;
	const struct vhdx_delta_leaf *entries;

	slot = &cache->slots[delta->index_block & (cache->slot_count - 1)];
	if (!is_of(slot, delta) || slot->at + 1 >= slot->count)
		return NULL;
	entries = entries_of(slot);
	return entries[slot->at].leaf == leaf ? &entries[++slot->at] : NULL;
}

/* The slot that has the table which leaf @leaf is in, if anywhere. */
static int look_up(const struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta, u32 leaf,
		   struct vhdx_index_cache *cache, struct vhdx_index_slot **out)
{
	struct vhdx_index_slot *slot = find_slot(delta, cache);
	int err;

	*out = slot;
	if (is_of(slot, delta) && leaf >= slot->from && leaf <= slot->last)
		return 0;
	cache->bytes -= slot->count * sizeof(*slot->entries);
	err = fill_slot(sidecar, delta, leaf, cache, slot);
	cache->bytes += slot->count * sizeof(*slot->entries);
	return err;
}

/* Who asks may have a larger disk than the one that was recorded: a child may have. */
static bool may_have(const struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta, u32 leaf)
{
	return delta->leaf_count && leaf < vhdx_sidecar_leaf_count(sidecar);
}

int vhdx_sidecar_find_entry(const struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta,
			    u32 leaf, u32 end, const struct vhdx_delta_leaf **entry,
			    struct vhdx_index_cache *cache)
{
	struct vhdx_index_slot *slot;
	int err;

	*entry = NULL;
	/* The table in which it may be, or else the next one, whose first entry it is. */
	while (may_have(sidecar, delta, leaf) && !*entry && leaf < end) {
		err = look_up(sidecar, delta, leaf, cache, &slot);
		if (err)
			return err;
		*entry = find_entry(slot, leaf);
		leaf = slot->last + 1;
	}
	return 0;
}

int vhdx_sidecar_find_leaf(const struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta,
			   u32 leaf, u32 *end, struct vhdx_index_cache *cache)
{
	const struct vhdx_delta_leaf *entry;
	int err = vhdx_sidecar_find_entry(sidecar, delta, leaf, *end, &entry, cache);

	if (!err && entry)
		*end = min(*end, entry->leaf);
	return err;
}

static int read_block(const struct vhdx_sidecar *sidecar, const struct vhdx_delta_leaf *entry,
		      struct vhdx_leaf_bits *units)
{
	void *buf = vhdx_alloc(VHDX_SIDECAR_BLOCK);
	int err;

	if (!buf)
		return -ENOMEM;
	err = vhdx_sidecar_read_block(sidecar, entry->block, entry->crc, buf, "a leaf", NULL);
	if (!err) {
		vhdx_leaf_bits_or_le(units, buf, vhdx_leaf_bits_groups_of(buf));
		vhdx_block_cache_put(sidecar->cache, entry->block, entry->crc, buf);
	}
	vhdx_free(buf);
	return err;
}

int vhdx_sidecar_take_leaf(const struct vhdx_sidecar *sidecar,
			   const struct vhdx_delta_leaf *entry, struct vhdx_leaf_bits *units,
			   struct vhdx_index_cache *cache)
{
	int err;

	if (entry->block == VHDX_DELTA_ALL) {
		vhdx_leaf_bits_fill(units);
		return 0;
	}
	if (vhdx_block_cache_or(sidecar->cache, entry->block, entry->crc, units))
		return 0;
	err = vhdx_index_may_read(cache);
	return err ? err : read_block(sidecar, entry, units);
}

int vhdx_sidecar_read_leaf(const struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta,
			   u32 leaf, struct vhdx_leaf_bits *units,
			   struct vhdx_index_cache *cache)
{
	const struct vhdx_delta_leaf *entry;
	struct vhdx_index_slot *slot;
	int err;

	if (!may_have(sidecar, delta, leaf))
		return 0;
	err = look_up(sidecar, delta, leaf, cache, &slot);
	if (err)
		return err;
	entry = find_entry(slot, leaf);
	if (!entry || entry->leaf != leaf)
		return 0;
	return vhdx_sidecar_take_leaf(sidecar, entry, units, cache);
}

enum vhdx_lending vhdx_sidecar_lend_leaf(const struct vhdx_sidecar *sidecar,
					 const struct vhdx_delta_leaf *entry,
					 struct vhdx_lent_leaf *lent)
{
	if (entry->block == VHDX_DELTA_ALL ||
	    !vhdx_block_cache_lend(sidecar->cache, entry->block, entry->crc, lent))
		return VHDX_LENT_NOT;
	return VHDX_LENT_PAGE;
}
