// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Points: their records in the file, one more, one less.
 *
 * The points of the timeline are in tables, in their order. A table that a point is added to,
 * changed in or taken from is written anew by the next commit, the others stay. Two
 * neighbours that fit into one table are joined, so that there are not too many.
 */
#include "sidecar_private.h"

const struct vhdx_sidecar_record vhdx_sidecar_point_record = {
	.what = "points",
	.magic = VHDX_SIDECAR_POINTS_MAGIC,
	.size = sizeof(struct vhdx_sidecar_point),
	.per_table = VHDX_SIDECAR_RECORDS(struct vhdx_sidecar_point),
};

/* ---- records ---- */

static void encode_point(const struct vhdx_timeline_point *point, bool issued,
			 struct vhdx_sidecar_point *raw)
{
	static_assert(sizeof(raw->label) == sizeof(point->label));
	memcpy(&raw->guid, point->id.guid, sizeof(raw->guid));
	raw->sequence = cpu_to_le64(point->id.sequence);
	raw->kind = cpu_to_le32(point->id.kind);
	raw->time_ns = cpu_to_le64(point->time_ns);
	raw->flags = cpu_to_le32(point->flags | (issued ? VHDX_SIDECAR_POINT_ISSUED : 0));
	vhdx_sidecar_encode_delta(&point->before, &raw->before);
	raw->disk_size = cpu_to_le64(point->disk_size);
	raw->layer = cpu_to_le32(point->layer);
	raw->label_length = cpu_to_le32(point->label_length);
	memcpy(raw->label, point->label, point->label_length);
}

/* At most 4096 points, each compared with those before it. */
static bool is_new_snapshot(const struct vhdx_timeline *timeline, const struct vhdx_point_id *id)
{
	u32 i = timeline->count;

	while (i--)
		if (timeline->points[i]->id.kind == VHDX_POINT_SNAPSHOT &&
		    !memcmp(timeline->points[i]->id.guid, id->guid, sizeof(id->guid)))
			return false;
	return !id->sequence;
}

/*
 * No id comes twice: references are in the order of their sequence numbers, snapshots have
 * none, but GUIDs of their own.
 */
static bool in_order(const struct vhdx_timeline *timeline, const struct vhdx_point_id *id)
{
	u32 i = timeline->count;

	if (id->kind == VHDX_POINT_SNAPSHOT)
		return is_new_snapshot(timeline, id);
	if (id->kind != VHDX_POINT_REFERENCE || id->sequence >= timeline->next_sequence)
		return false;
	while (i--)
		if (timeline->points[i]->id.kind == VHDX_POINT_REFERENCE)
			return timeline->points[i]->id.sequence < id->sequence;
	return true;
}

static int check_point(const struct vhdx_timeline *timeline,
		       const struct vhdx_timeline_point *point, struct vhdx_diag *diag)
{
	u32 unknown = point->flags & VHDX_SIDECAR_FLAGS_NEEDED & ~VHDX_SIDECAR_POINT_HAS_DATA;

	if (unknown)
		return vhdx_sidecar_newer(diag, "point %u has flags 0x%x", timeline->count,
					  unknown);
	if (point->label_length > VHDX_LABEL_MAX || !in_order(timeline, &point->id))
		return vhdx_sidecar_damaged(diag, "point %u of kind %u, number %llu, label of %u",
					    timeline->count, point->id.kind, point->id.sequence,
					    point->label_length);
	return 0;
}

static int decode_point(struct vhdx_sidecar *sidecar, const struct vhdx_sidecar_point *raw,
			struct vhdx_diag *diag)
{
	struct vhdx_timeline *timeline = &sidecar->timeline;
	struct vhdx_timeline_point *point;
	u32 flags = le32_to_cpu(raw->flags);
	int err;

	point = vhdx_alloc(sizeof(*point));
	if (!point)
		return vhdx_no_memory(diag);
	memcpy(point->id.guid, &raw->guid, sizeof(raw->guid));
	point->id.sequence = le64_to_cpu(raw->sequence);
	point->id.kind = le32_to_cpu(raw->kind);
	point->time_ns = le64_to_cpu(raw->time_ns);
	point->issued = flags & VHDX_SIDECAR_POINT_ISSUED;
	point->flags = flags & ~VHDX_SIDECAR_POINT_ISSUED;
	point->disk_size = le64_to_cpu(raw->disk_size);
	point->layer = le32_to_cpu(raw->layer);
	point->label_length = le32_to_cpu(raw->label_length);
	err = check_point(timeline, point, diag);
	if (!err)
		err = vhdx_sidecar_decode_delta(sidecar, &raw->before, &point->before, diag);
	if (err) {
		vhdx_free(point);
		return err;
	}
	memcpy(point->label, raw->label, point->label_length);
	timeline->points[timeline->count++] = point;
	return 0;
}

/* ---- tables ---- */

static int read_table(struct vhdx_sidecar *sidecar, const struct vhdx_table_ref *table, void *page,
		      struct vhdx_diag *diag)
{
	int err = vhdx_table_read(sidecar, &vhdx_sidecar_point_record, table, page, diag);
	u32 i;

	for (i = 0; !err && i < table->count; i++)
		err = decode_point(sidecar, vhdx_table_record(&vhdx_sidecar_point_record, page, i),
				   diag);
	vhdx_breathe();
	return err;
}

int vhdx_sidecar_read_points(struct vhdx_sidecar *sidecar, u32 count, struct vhdx_diag *diag)
{
	struct vhdx_sidecar_points *points = &sidecar->points;
	void *page = vhdx_alloc(VHDX_SIDECAR_BLOCK);
	u32 i, tables = 0;
	int err = 0;

	points->tables = vhdx_alloc(VHDX_SIDECAR_TABLES * sizeof(*points->tables));
	if (count)
		sidecar->timeline.points = vhdx_alloc(count * sizeof(*sidecar->timeline.points));
	if (!page || !points->tables || (count && !sidecar->timeline.points))
		err = vhdx_no_memory(diag);
	if (!err && count)
		err = vhdx_table_read_root(sidecar, &vhdx_sidecar_point_record, points->block,
					   points->crc, count, page, points->tables, &tables, diag);
	for (i = 0; !err && i < tables; i++)
		err = read_table(sidecar, &points->tables[i], page, diag);
	points->table_count = tables;
	vhdx_free(page);
	return err;
}

/* Number of the table that point number @position is in; *@first is the first one in it. */
static u32 find_table(const struct vhdx_sidecar_points *points, u32 position, u32 *first)
{
	u32 table = 0;

	for (*first = 0; position - *first >= points->tables[table].count; table++)
		*first += points->tables[table].count;
	return table;
}

static void touch_table(struct vhdx_sidecar *sidecar, u32 table)
{
	struct vhdx_sidecar_points *points = &sidecar->points;

	vhdx_sidecar_doom_block(sidecar, points->tables[table].block);
	points->tables[table].block = 0;
	points->dirty = true;
}

void vhdx_sidecar_touch_point(struct vhdx_sidecar *sidecar, u32 position)
{
	u32 first;

	touch_table(sidecar, find_table(&sidecar->points, position, &first));
}

static void remove_table(struct vhdx_sidecar_points *points, u32 table)
{
	points->table_count--;
	memmove(&points->tables[table], &points->tables[table + 1],
		(points->table_count - table) * sizeof(*points->tables));
}

/* Table number @table and the one behind it become one, if they fit. */
static bool join_tables(struct vhdx_sidecar *sidecar, u32 table)
{
	struct vhdx_sidecar_points *points = &sidecar->points;
	u32 together;

	if (table + 1 >= points->table_count)
		return false;
	together = points->tables[table].count + points->tables[table + 1].count;
	if (together > vhdx_sidecar_point_record.per_table)
		return false;
	touch_table(sidecar, table);
	touch_table(sidecar, table + 1);
	points->tables[table].count = together;
	remove_table(points, table + 1);
	return true;
}

struct vhdx_timeline_point *vhdx_sidecar_cut_point(struct vhdx_sidecar *sidecar, u32 position)
{
	struct vhdx_timeline *timeline = &sidecar->timeline;
	struct vhdx_timeline_point *point = timeline->points[position];

	timeline->count--;
	memmove(&timeline->points[position], &timeline->points[position + 1],
		(timeline->count - position) * sizeof(*timeline->points));
	return point;
}

void vhdx_sidecar_drop_record(struct vhdx_sidecar *sidecar, u32 position)
{
	struct vhdx_sidecar_points *points = &sidecar->points;
	u32 first, table = find_table(points, position, &first);

	touch_table(sidecar, table);
	if (!--points->tables[table].count)
		remove_table(points, table);
	else if (!table || !join_tables(sidecar, table - 1))
		join_tables(sidecar, table);
}

#define MOST_PER_TABLE	VHDX_SIDECAR_RECORDS(struct vhdx_sidecar_point)
static_assert(VHDX_POINTS_MAX / MOST_PER_TABLE + 1 < VHDX_SIDECAR_TABLES);

/*
 * The root is full, since so many points were forgotten: all tables are filled anew. That
 * takes so many forgotten ones that it costs nothing.
 */
static int pack(struct vhdx_sidecar *sidecar)
{
	const u32 per_table = vhdx_sidecar_point_record.per_table;
	struct vhdx_sidecar_points *points = &sidecar->points;
	u32 left = sidecar->timeline.count;
	u32 i;
	int err;

	err = vhdx_sidecar_make_room(sidecar, DIV_ROUND_UP(left, per_table) +
				     VHDX_SIDECAR_SPARE_FOR_POINTS);
	if (err)
		return err;
	for (i = 0; i < points->table_count; i++)
		touch_table(sidecar, i);
	for (i = 0; left; i++) {
		points->tables[i].count = min(left, per_table);
		left -= points->tables[i].count;
	}
	points->table_count = i;
	return 0;
}

/* One more record. */
static int append(struct vhdx_sidecar *sidecar)
{
	const u32 per_table = vhdx_sidecar_point_record.per_table;
	struct vhdx_sidecar_points *points = &sidecar->points;
	int err;

	if (points->table_count && points->tables[points->table_count - 1].count < per_table) {
		touch_table(sidecar, points->table_count - 1);
		points->tables[points->table_count - 1].count++;
		return 0;
	}
	if (points->table_count == VHDX_SIDECAR_TABLES) {
		err = pack(sidecar);
		return err ?: append(sidecar);
	}
	points->tables[points->table_count].block = 0;
	points->tables[points->table_count].first = 0;
	points->tables[points->table_count].count = 1;
	points->table_count++;
	points->dirty = true;
	return 0;
}

static int write_tables(struct vhdx_sidecar *sidecar, struct vhdx_block_writer *writer,
			struct vhdx_table_ref *tables, void *page)
{
	const struct vhdx_sidecar_record *type = &vhdx_sidecar_point_record;
	struct vhdx_timeline_point **point = sidecar->timeline.points;
	struct vhdx_timeline_point **last = point + sidecar->timeline.count - 1;
	u32 i, j;
	int err;

	for (i = 0; i < sidecar->points.table_count; i++) {
		if (!tables[i].block) {
			vhdx_table_begin(page, type->magic, tables[i].count);
			for (j = 0; j < tables[i].count; j++)
				encode_point(point[j], point[j]->issued ||
					     (sidecar->points.issuing && &point[j] == last),
					     vhdx_table_record(type, page, j));
			err = vhdx_block_writer_add(writer, page, &tables[i].block,
						    &tables[i].crc);
			if (err)
				return err;
		}
		point += tables[i].count;
	}
	return 0;
}

static int write_all(struct vhdx_sidecar *sidecar, struct vhdx_block_writer *writer,
		     struct vhdx_table_ref *tables, void *page, u64 *block, u32 *crc)
{
	int err = write_tables(sidecar, writer, tables, page);

	if (!err && sidecar->points.table_count)
		err = vhdx_table_write_root(writer, tables, sidecar->points.table_count, page,
					    block, crc);
	return err ?: vhdx_block_writer_flush(writer);
}

int vhdx_sidecar_write_points(struct vhdx_sidecar *sidecar)
{
	struct vhdx_sidecar_points *points = &sidecar->points;
	size_t size = VHDX_SIDECAR_TABLES * sizeof(*points->tables);
	struct vhdx_block_writer writer = {};
	struct vhdx_table_ref *tables;
	u32 doomed, crc = 0;
	u64 block = 0;
	void *page;
	int err;

	if (!points->dirty)
		return 0;
	doomed = vhdx_sidecar_begin(sidecar);
	tables = vhdx_alloc(size);
	page = vhdx_alloc(VHDX_SIDECAR_BLOCK);
	err = vhdx_block_writer_init(&writer, sidecar, VHDX_SIDECAR_SPARE_FOR_COMMIT);
	if (!tables || !page)
		err = -ENOMEM;
	if (!err) {
		memcpy(tables, points->tables, size);
		err = write_all(sidecar, &writer, tables, page, &block, &crc);
	}
	vhdx_block_writer_release(&writer);
	vhdx_free(page);
	if (err) {
		vhdx_free(tables);
		vhdx_sidecar_undo(sidecar, doomed);
		return err;
	}
	vhdx_sidecar_doom_block(sidecar, points->block);
	vhdx_free(points->tables);
	points->tables = tables;
	points->block = block;
	points->crc = crc;
	points->dirty = false;
	return 0;
}

/* ---- the timeline ---- */

void vhdx_sidecar_join_marks(struct vhdx_delta *newer, const struct vhdx_delta *older)
{
	newer->flags |= older->flags & VHDX_DELTA_COARSE;
	if (newer->gap_reason)
		return;
	newer->gap_reason = older->gap_reason;
	newer->gap_time_ns = older->gap_time_ns;
}

void vhdx_sidecar_copy_marks(struct vhdx_delta *to, const struct vhdx_delta *from)
{
	to->flags = from->flags;
	to->gap_reason = from->gap_reason;
	to->gap_time_ns = from->gap_time_ns;
}

/* A number that a load would refuse must never be written. */
bool vhdx_sidecar_is_out_of_points(const struct vhdx_sidecar *sidecar)
{
	return sidecar->timeline.count >= VHDX_POINTS_MAX ||
	       sidecar->timeline.next_sequence >= VHDX_SIDECAR_SEQUENCE_MAX;
}

int vhdx_sidecar_add_point(struct vhdx_sidecar *sidecar, const struct vhdx_timeline_point *point,
			   struct vhdx_delta *before)
{
	struct vhdx_timeline *timeline = &sidecar->timeline;
	struct vhdx_timeline_point **points, **former = timeline->points, *added;
	struct vhdx_delta saved = timeline->live;
	int err;

	if (vhdx_sidecar_is_out_of_points(sidecar))
		return -ENOSPC;
	err = vhdx_sidecar_make_room(sidecar, VHDX_SIDECAR_SPARE_FOR_POINTS);
	if (err)
		return err;
	points = vhdx_alloc((timeline->count + 1) * sizeof(*points));
	added = vhdx_alloc(sizeof(*added));
	err = points && added ? append(sidecar) : -ENOMEM;
	if (err) {
		vhdx_free(points);
		vhdx_free(added);
		return err;
	}

	*added = *point;
	added->disk_size = sidecar->disk_size;
	added->before = *before;
	memset(before, 0, sizeof(*before));
	vhdx_sidecar_join_marks(&added->before, &saved);
	if (timeline->count)
		memcpy(points, former, timeline->count * sizeof(*points));
	points[timeline->count] = added;

	vhdx_sidecar_begin_change(sidecar);
	timeline->points = points;
	timeline->count++;
	memset(&timeline->live, 0, sizeof(timeline->live));
	timeline->next_sequence = max(timeline->next_sequence, added->id.sequence + 1);
	vhdx_sidecar_end_change(sidecar);
	sidecar->points.issuing = false;
	vhdx_free(former);
	vhdx_sidecar_drop_delta(sidecar, &saved);
	return 0;
}

void vhdx_sidecar_prepare_issue(struct vhdx_sidecar *sidecar)
{
	sidecar->points.issuing = true;
	vhdx_sidecar_touch_point(sidecar, sidecar->timeline.count - 1);
}

void vhdx_sidecar_issue_point(struct vhdx_sidecar *sidecar)
{
	struct vhdx_timeline *timeline = &sidecar->timeline;

	if (!sidecar->points.issuing)
		vhdx_sidecar_touch_point(sidecar, timeline->count - 1);
	sidecar->points.issuing = false;
	timeline->points[timeline->count - 1]->issued = true;
}

/* The number stays used up: the point may have been seen. */
void vhdx_sidecar_drop_last_point(struct vhdx_sidecar *sidecar)
{
	struct vhdx_timeline *timeline = &sidecar->timeline;
	struct vhdx_delta last = timeline->points[timeline->count - 1]->before;
	struct vhdx_delta saved = timeline->live;
	struct vhdx_timeline_point *point;

	vhdx_sidecar_join_marks(&saved, &last);
	vhdx_sidecar_copy_marks(&last, &saved);
	vhdx_sidecar_begin_change(sidecar);
	timeline->live = last;
	point = vhdx_sidecar_cut_point(sidecar, timeline->count - 1);
	vhdx_sidecar_end_change(sidecar);
	sidecar->points.issuing = false;
	vhdx_free(point);
	vhdx_sidecar_drop_record(sidecar, timeline->count);
	vhdx_sidecar_drop_delta(sidecar, &saved);
}
