// SPDX-License-Identifier: GPL-2.0-only
/*
 * make_sidecar CONTAINER SIDECAR UNIT: make a sidecar that fits a container, as a
 * script on standard input says:
 *
 *	mark OFFSET LENGTH	changed since the last point
 *	coarse			the delta up to the next point came from a crash
 *	gap REASON		a gap before the next point
 *	region NUMBER		is set in the coarse area, as if the disk had not been detached
 *	seal LABEL		a point; its id is printed
 *	ids NUMBER		ids of points are like those of no sidecar with another number
 *	state STATE		enum vhdx_sidecar_state to leave it in
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <core/vhdx/image.h>
#include <core/rct/ondisk.h>
#include <core/rct/sidecar.h>

struct fd_store {
	struct vhdx_store store;
	int fd;
};

static int fd_read(struct vhdx_store *store, u64 offset, void *buf, size_t length)
{
	ssize_t got = pread(container_of(store, struct fd_store, store)->fd, buf, length, offset);

	if (got < 0)
		return -errno;
	memset((char *)buf + got, 0, length - got);
	return 0;
}

static int fd_write(struct vhdx_store *store, u64 offset, const void *buf, size_t length)
{
	struct fd_store *file = container_of(store, struct fd_store, store);

	return pwrite(file->fd, buf, length, offset) == (ssize_t)length ? 0 : -EIO;
}

static int fd_flush(struct vhdx_store *store)
{
	(void)store;
	return 0;
}

static void fd_store_init(struct fd_store *file, const char *path, int flags)
{
	file->fd = open(path, flags, 0600);
	if (file->fd < 0) {
		perror(path);
		exit(1);
	}
	file->store = (struct vhdx_store) {
		.size = lseek(file->fd, 0, SEEK_END),
		.read = fd_read,
		.write = fd_write,
		.flush = fd_flush,
	};
}

static void check(int err, const char *what, const struct vhdx_diag *diag)
{
	if (!err)
		return;
	fprintf(stderr, "%s: %s %s\n", what, strerror(-err), diag->text);
	exit(1);
}

static unsigned int kind_of_ids;

static void seal(struct vhdx_sidecar *sidecar, struct vhdx_changemap *map, const char *label,
		 struct vhdx_diag *diag)
{
	struct vhdx_timeline_point point = { .issued = true };
	struct vhdx_delta before = { 0 };
	char text[VHDX_POINT_ID_TEXT];

	point.id.kind = VHDX_POINT_REFERENCE;
	point.id.sequence = sidecar->timeline.next_sequence;
	memset(point.id.guid, 0xa0 + point.id.sequence, sizeof(point.id.guid));
	point.id.guid[15] ^= kind_of_ids;
	point.time_ns = 1700000000000000000ULL + point.id.sequence;
	point.label_length = strlen(label);
	memcpy(point.label, label, point.label_length);
	check(vhdx_sidecar_write_delta(sidecar, map, &before), "write_delta", diag);
	check(vhdx_sidecar_add_point(sidecar, &point, &before), "add_point", diag);
	check(vhdx_sidecar_commit(sidecar), "commit", diag);
	vhdx_changemap_release(map);
	check(vhdx_changemap_init(map, sidecar->disk_size, sidecar->unit_shift), "map", diag);
	vhdx_point_id_format(&point.id, text);
	puts(text);
}

static void set_region(struct vhdx_sidecar *sidecar, u32 region, struct vhdx_diag *diag)
{
	const u32 sector = region / VHDX_COARSE_BITS, bit = region % VHDX_COARSE_BITS;
	u64 offset = VHDX_SIDECAR_COARSE_BLOCK * VHDX_SIDECAR_BLOCK + sector * VHDX_COARSE_SECTOR;
	u64 bits[VHDX_COARSE_SECTOR_WORDS], generation, commit;
	char raw[VHDX_COARSE_SECTOR];

	check(sidecar->store->read(sidecar->store, offset, raw, sizeof(raw)), "read", diag);
	vhdx_coarse_decode(sector, raw, &generation, &commit, bits);
	bits[bit / 64] |= 1ULL << bit % 64;
	vhdx_coarse_encode(sector, sidecar->sequence, commit + 1, bits, raw);
	check(sidecar->store->write(sidecar->store, offset, raw, sizeof(raw)), "write", diag);
}

static void run_script(struct vhdx_sidecar *sidecar, struct vhdx_diag *diag)
{
	unsigned long long offset, length;
	unsigned int number, regions[16], region_count = 0;
	struct vhdx_changemap map;
	char line[256];
	char label[65];

	check(vhdx_changemap_init(&map, sidecar->disk_size, sidecar->unit_shift), "map", diag);
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "mark %llu %llu", &offset, &length) == 2)
			vhdx_changemap_mark(&map, offset, length);
		else if (sscanf(line, "gap %u", &number) == 1)
			vhdx_timeline_gap(&sidecar->timeline, number, 0);
		else if (!strcmp(line, "coarse\n"))
			sidecar->timeline.live.flags |= VHDX_DELTA_COARSE;
		else if (sscanf(line, "seal %64[^\n]", label) == 1)
			seal(sidecar, &map, label, diag);
		else if (sscanf(line, "region %u", &number) == 1 && region_count < 16)
			regions[region_count++] = number;
		else if (sscanf(line, "ids %u", &number) == 1)
			kind_of_ids = number;
		else if (sscanf(line, "state %u", &number) == 1)
			sidecar->state = number;
		else
			check(-EINVAL, line, diag);
	}
	check(vhdx_sidecar_checkpoint(sidecar, &map, NULL), "checkpoint", diag);
	check(vhdx_sidecar_commit(sidecar), "commit", diag);
	while (region_count)
		set_region(sidecar, regions[--region_count], diag);
	vhdx_changemap_release(&map);
}

int main(int argc, char **argv)
{
	struct vhdx_sidecar sidecar = { 0 };
	struct fd_store container, file;
	struct vhdx_diag diag = { 0 };
	struct vhdx_image image = { 0 };

	if (argc != 4)
		return 2;
	fd_store_init(&container, argv[1], O_RDONLY);
	fd_store_init(&file, argv[2], O_RDWR | O_CREAT | O_TRUNC);
	check(vhdx_image_open(&image, &container.store, &diag), argv[1], &diag);
	check(vhdx_image_load(&image, &container.store, &diag), argv[1], &diag);

	sidecar.state = VHDX_SIDECAR_ON;
	sidecar.disk_id = image.geo.disk_id;
	sidecar.disk_size = image.geo.disk_size;
	sidecar.unit_shift = ilog2(strtoul(argv[3], NULL, 10));
	sidecar.current_guid = image.header.data_write_guid;
	check(vhdx_sidecar_format(&sidecar, &file.store, true, &diag), argv[2], &diag);
	run_script(&sidecar, &diag);
	vhdx_sidecar_release(&sidecar);
	vhdx_image_release(&image);
	return 0;
}
