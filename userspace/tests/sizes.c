// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A caller of the library that was compiled with another header than it: what is behind
 * its structures stays as it was, and it is told the same.
 *
 *	sizes NAME [CONTAINER]		prints what is told of the disk; attaches CONTAINER
 *
 * With NEWER, the header has one more field in every structure than the library knows,
 * which is called newer (test_sizes.py).
 */
#include <errno.h>
#include <libvhdx.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CANARY	0xa5

static int failures;

static void expect(int holds, const char *what)
{
	if (holds)
		return;
	printf("WRONG %s\n", what);
	failures++;
}

/* A structure, and memory behind it that is not the library's. */
#define GUARDED(type, name)							\
	struct { struct type it; unsigned char behind[64]; } name;		\
	memset(&name, CANARY, sizeof(name));					\
	memset(&name.it, 0, sizeof(name.it));					\
	name.it.size = sizeof(name.it)

static void check_guard(const unsigned char *behind, size_t length, const char *what)
{
	while (length--)
		if (behind[length] != CANARY) {
			expect(0, what);
			return;
		}
}

#define CHECK_GUARD(name) check_guard(name.behind, sizeof(name.behind), #name)

#ifdef NEWER
/* Whatever was there before: what the library does not know is zero, not left over. */
#define LEFT_OVER(name)		((name).it.newer = 77)
#define EXPECT_NOTHING_NEWER(name)	expect(!(name).it.newer, #name ".newer")
#else
#define LEFT_OVER(name)		((void)&(name))
#define EXPECT_NOTHING_NEWER(name)	((void)&(name))
#endif

static void ask_info(struct vhdx_disk *disk)
{
	GUARDED(vhdx_info, info);

	LEFT_OVER(info);
	expect(!vhdx_disk_get_info(disk, &info.it), "info");
	EXPECT_NOTHING_NEWER(info);
	CHECK_GUARD(info);
	printf("info %llu %u\n", (unsigned long long)info.it.virtual_disk_size,
	       (unsigned int)info.it.block_size);
	info.it.size = VHDX_INFO_SIZE_VER0 - 1;
	expect(vhdx_disk_get_info(disk, &info.it) == -EINVAL, "info, too small");
}

static void ask_state(struct vhdx_disk *disk)
{
	GUARDED(vhdx_tracking_state, state);

	LEFT_OVER(state);
	expect(!vhdx_disk_get_tracking_state(disk, &state.it), "state");
	EXPECT_NOTHING_NEWER(state);
	CHECK_GUARD(state);
	printf("state %u %u\n", (unsigned int)state.it.state, (unsigned int)state.it.point_count);
}

/* Returns the first point. */
static struct vhdx_point_id ask_points(struct vhdx_disk *disk)
{
	struct vhdx_point_id first = { .kind = VHDX_POINT_NONE };
	struct vhdx_point *points;
	char text[VHDX_ID_TEXT];
	size_t count, i;

	if (vhdx_disk_get_points(disk, sizeof(*points), &points, &count)) {
		expect(0, "points");
		return first;
	}
	for (i = 0; i < count; i++) {
		vhdx_id_format(&points[i].id, text);
		printf("point %s %.*s\n", text, (int)points[i].label_length,
		       (const char *)points[i].label);
#ifdef NEWER
		expect(!points[i].newer, "point.newer");
#endif
	}
	if (count)
		first = points[0].id;
	free(points);
	return first;
}

static int tell(void *context, const struct vhdx_range *range)
{
	(void)context;
	printf("range %llu %llu\n", (unsigned long long)range->byte_offset,
	       (unsigned long long)range->byte_length);
#ifdef NEWER
	expect(!range->newer, "range.newer");
#endif
	return 0;
}

static void ask_changes(struct vhdx_disk *disk, const struct vhdx_point_id *since)
{
	GUARDED(vhdx_changes, changes);

	changes.it.limit = *since;
	changes.it.length = VHDX_TO_END;
	changes.it.range_size = sizeof(struct vhdx_range);
	expect(!vhdx_disk_get_changes(disk, &changes.it, tell, NULL), "changes");
	CHECK_GUARD(changes);
	printf("changes %llu %llu\n", (unsigned long long)changes.it.processed,
	       (unsigned long long)changes.it.changed_bytes);
#ifdef NEWER
	/* A question that only a newer library understands is not answered as another one. */
	changes.it.newer = 1;
	expect(vhdx_disk_get_changes(disk, &changes.it, tell, NULL) == -E2BIG, "newer question");
#endif
	changes.it.size = VHDX_CHANGES_SIZE_VER0 - 1;
	expect(vhdx_disk_get_changes(disk, &changes.it, tell, NULL) == -EINVAL,
	       "changes, too small");
}

static void ask_layout(struct vhdx_disk *disk)
{
	GUARDED(vhdx_layout, layout);
	struct vhdx_part *parts;
	size_t count, i;

	LEFT_OVER(layout);
	if (vhdx_disk_index(disk) >= 0) {
		expect(vhdx_disk_get_layout(disk, &layout.it) == -EOPNOTSUPP, "layout, attached");
		return;
	}
	expect(!vhdx_disk_get_layout(disk, &layout.it), "layout");
	EXPECT_NOTHING_NEWER(layout);
	CHECK_GUARD(layout);
	printf("layout %s %llu\n", layout.it.creator, (unsigned long long)layout.it.block_count);
	layout.it.size = VHDX_LAYOUT_SIZE_VER0 - 1;
	expect(vhdx_disk_get_layout(disk, &layout.it) == -EINVAL, "layout, too small");

	expect(vhdx_disk_get_parts(disk, VHDX_PART_REGION, VHDX_PART_SIZE_VER0 - 1, &parts,
				   &count) == -EINVAL, "part, too small");
	if (vhdx_disk_get_parts(disk, VHDX_PART_ITEM, sizeof(*parts), &parts, &count)) {
		expect(0, "parts");
		return;
	}
	for (i = 0; i < count; i++) {
		printf("part %s %llu\n", parts[i].name, (unsigned long long)parts[i].length);
#ifdef NEWER
		expect(!parts[i].newer, "part.newer");
#endif
	}
	free(parts);
}

static int tell_status(void *context, const struct vhdx_status *status)
{
	(void)context;
	expect(status->size == sizeof(*status), "size of a status");
	printf("disk %d %s\n", status->index, status->container);
#ifdef NEWER
	expect(!status->newer, "status.newer");
#endif
	return 0;
}

static void attach(const char *container)
{
	GUARDED(vhdx_attach_options, options);
	GUARDED(vhdx_attached, attached);
	GUARDED(vhdx_status, status);

	options.it.index = VHDX_INDEX_ANY;
	LEFT_OVER(attached);
	expect(!vhdx_attach(container, &options.it, &attached.it), "attach");
	EXPECT_NOTHING_NEWER(attached);
	CHECK_GUARD(attached);
	printf("attached %s\n", attached.it.device);

	LEFT_OVER(status);
	expect(!vhdx_get_status(attached.it.index, &status.it), "status");
	EXPECT_NOTHING_NEWER(status);
	CHECK_GUARD(status);
	printf("status %s\n", status.it.container);
	expect(!vhdx_list(sizeof(struct vhdx_status), tell_status, NULL), "list");

	attached.it.size = VHDX_ATTACHED_SIZE_VER0 - 1;
	expect(vhdx_attach(container, NULL, &attached.it) == -EINVAL, "attached, too small");
	options.it.size = VHDX_ATTACH_OPTIONS_SIZE_VER0 - 1;
	expect(vhdx_attach(container, &options.it, NULL) == -EINVAL, "options, too small");
	status.it.size = VHDX_STATUS_SIZE_VER0 - 1;
	expect(vhdx_get_status(0, &status.it) == -EINVAL, "status, too small");
#ifdef NEWER
	options.it.size = sizeof(options.it);
	options.it.newer = 1;
	expect(vhdx_attach(container, &options.it, NULL) == -E2BIG, "newer option");
#endif
}

static int tell_progress(void *context, uint64_t done, uint64_t total)
{
	(void)done;
	(void)total;
	*(int *)context += 1;
	return 0;
}

static void create(const char *container)
{
	GUARDED(vhdx_create_options, options);
	char path[4096];
	int told = 0;

	snprintf(path, sizeof(path), "%s.made", container);
	options.it.disk_size = 1 << 20;
	options.it.progress = tell_progress;
	options.it.context = &told;
	expect(!vhdx_create(path, &options.it), "create");
	CHECK_GUARD(options);
	printf("created %d\n", told > 0);
	expect(vhdx_create(path, &options.it) == -EEXIST, "create, once more");
	remove(path);
	options.it.size = VHDX_CREATE_OPTIONS_SIZE_VER0 - 1;
	expect(vhdx_create(path, &options.it) == -EINVAL, "create options, too small");
#ifdef NEWER
	options.it.size = sizeof(options.it);
	options.it.newer = 1;
	expect(vhdx_create(path, &options.it) == -E2BIG, "newer create option");
#endif
}

static int tell_finding(void *context, const struct vhdx_finding *finding)
{
	*(int *)context += 1;
	expect(finding->text[0] != 0, "text of a finding");
#ifdef NEWER
	expect(!finding->newer, "finding.newer");
#endif
	return 0;
}

static void check(const char *container)
{
	GUARDED(vhdx_check, check);
	int told = 0;

	check.it.finding_size = sizeof(struct vhdx_finding);
	expect(!vhdx_check(container, &check.it, tell_finding, &told), "check");
	CHECK_GUARD(check);
	EXPECT_NOTHING_NEWER(check);
	printf("checked %d %llu\n", told, (unsigned long long)check.it.errors);
	check.it.finding_size = VHDX_FINDING_SIZE_VER0 - 1;
	expect(vhdx_check(container, &check.it, tell_finding, &told) == -EINVAL,
	       "finding, too small");
	check.it.finding_size = sizeof(struct vhdx_finding);
	check.it.size = VHDX_CHECK_SIZE_VER0 - 1;
	expect(vhdx_check(container, &check.it, tell_finding, &told) == -EINVAL,
	       "check, too small");
#ifdef NEWER
	check.it.size = sizeof(check.it);
	check.it.newer = 1;
	expect(vhdx_check(container, &check.it, tell_finding, &told) == -E2BIG, "newer check");
#endif
}

int main(int argc, char **argv)
{
	struct vhdx_disk *disk;
	struct vhdx_point_id first;

	if (argc > 2)
		attach(argv[2]);
	if (argc > 2)
		create(argv[2]);
	if (argc == 2)
		check(argv[1]);
	if (argc < 2 || vhdx_disk_open(argv[1], NULL, 0, &disk)) {
		printf("WRONG %s\n", vhdx_error_message());
		return 1;
	}
	ask_info(disk);
	ask_state(disk);
	first = ask_points(disk);
	ask_changes(disk, &first);
	ask_layout(disk);
	vhdx_disk_close(disk);
	return failures ? 1 : 0;
}
