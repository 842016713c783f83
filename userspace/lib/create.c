// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Making a container. Its file identifier is written last, when all else is durable: a
 * crash leaves what nobody takes for a VHDX, and a failure nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>
#include <core/vhdx/ondisk.h>
#include "create.h"

#define CREATOR	"libvhdx " VERSION

#define BLOCK_SIZE_DYNAMIC	(32U << 20)	/* as Windows has them */
#define BLOCK_SIZE_OTHERS	(2U << 20)
#define LOG_SIZE		(1U << 20)

/* So that somebody who looks on sees it move, and can end it. */
#define STEP_OF_SPACE	(256ULL << 20)
#define STEP_OF_ZEROES	(4ULL << 20)

void random_guid(vhdx_guid *guid)
{
	u8 bytes[sizeof(*guid)];

	/* So few bytes are never refused, once the kernel has been seeded. */
	while (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		;
	/* Version 4; the first three fields are little endian. */
	bytes[7] = (bytes[7] & 0x0f) | 0x40;
	bytes[8] = (bytes[8] & 0x3f) | 0x80;
	memcpy(guid, bytes, sizeof(bytes));
}

/* ---- What is asked for ---- */

static int make_recipe(struct creating *creating)
{
	const struct vhdx_create_options *options = creating->options;
	struct vhdx_recipe *recipe = &creating->recipe;
	struct vhdx_geometry *geo = &recipe->geo;
	struct vhdx_diag diag = { 0 };
	int err;

	if (options->type > VHDX_TYPE_FIXED)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: a disk of type %u: there are dynamic (%u) and fixed ones (%u)",
			    creating->path, options->type, VHDX_TYPE_DYNAMIC, VHDX_TYPE_FIXED);
	if (options->log_size > UINT32_MAX)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT, "%s: a log of %llu bytes, at most 1 GiB",
			    creating->path, (unsigned long long)options->log_size);
	geo->fixed = options->type == VHDX_TYPE_FIXED;
	geo->disk_size = options->disk_size;
	geo->block_size = options->block_size ?:
			  geo->fixed || options->parent ? BLOCK_SIZE_OTHERS : BLOCK_SIZE_DYNAMIC;
	geo->logical_sector_size = options->logical_sector_size ?: 512;
	geo->physical_sector_size = options->physical_sector_size ?: 4096;
	recipe->header.log_length = options->log_size ?: LOG_SIZE;
	recipe->creator = CREATOR;
	random_guid(&geo->disk_id);
	random_guid(&recipe->header.file_write_guid);
	random_guid(&recipe->header.data_write_guid);

	err = options->parent ? take_from_parent(creating) : 0;
	if (err)
		return err;
	err = vhdx_recipe_check(recipe, &diag);
	return err ? fail_kernel(err, diag.reason, creating->path, diag.text) : 0;
}

/* ---- Where it is to be ---- */

static int write_failed(const struct creating *creating, int err, const struct vhdx_diag *diag)
{
	const bool full = err == -ENOSPC || err == -EDQUOT;

	return fail_kernel(err, full ? VHDX_REASON_HOST_FULL : diag->reason, creating->path,
			   diag->text);
}

static int explain_existing(const char *path)
{
	return fail(-EEXIST, VHDX_REASON_NONE,
		    "%s: it is there already, and is never overwritten: choose another name, or remove it first",
		    path);
}

static int open_new_file(struct creating *creating)
{
	struct container *container = &creating->container;

	container->fd = open(creating->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (container->fd < 0)
		return errno == EEXIST ? explain_existing(creating->path) :
		       fail_errno(-errno, "%s: cannot make it", creating->path);
	creating->made = true;
	creating->recipe.is_zero = true;
	return 0;
}

/* Nobody can say what else is on a device: only one that was cleared is written. */
static int check_blank(struct creating *creating)
{
	struct vhdx_store *store = &creating->file.store;
	u8 *start = vhdx_alloc(VHDX_HEADER_SECTION);
	int err;
	u32 i;

	if (!start)
		return fail_errno(-ENOMEM, "%s", creating->path);
	err = store->read(store, 0, start, VHDX_HEADER_SECTION);
	for (i = 0; !err && i < VHDX_HEADER_SECTION && !start[i]; i++)
		;
	vhdx_free(start);
	if (err)
		return fail_errno(err, "%s: cannot read it", creating->path);
	if (i == VHDX_HEADER_SECTION)
		return 0;
	return fail(-EEXIST, VHDX_REASON_NONE,
		    "%s: something is on this device (at 0x%x): to give it up, clear its first MiB: dd if=/dev/zero of=%s bs=1M count=1",
		    creating->path, i, creating->path);
}

static int check_device(struct creating *creating)
{
	const struct vhdx_recipe *recipe = &creating->recipe;
	int sector;

	if (ioctl(creating->container.fd, BLKSSZGET, &sector))
		return fail_errno(-errno, "%s: it does not tell its sector size", creating->path);
	if (sector > recipe->geo.logical_sector_size)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: sectors of %d bytes, which a disk with sectors of %u can't be on: ask for a sector size of %d",
			    creating->path, sector, recipe->geo.logical_sector_size, sector);
	if (creating->file.store.size < recipe->size)
		return fail(-ENOSPC, VHDX_REASON_HOST_FULL,
			    "%s: it has %llu bytes, and %llu are needed", creating->path,
			    creating->file.store.size, recipe->size);
	return check_blank(creating);
}

/* Exclusively: not while it is mounted, nor while another of its kind has it. */
static int open_device_for_it(struct creating *creating)
{
	struct container *container = &creating->container;

	container->fd = open_for(creating->path, true, O_EXCL);
	if (container->fd < 0)
		return fail_errno(container->fd, "%s: cannot open it for writing", creating->path);
	return 0;
}

static int open_target(struct creating *creating)
{
	struct container *container = &creating->container;
	int err;

	container->write = true;
	if (!stat(creating->path, &container->st) && is_block(container))
		err = open_device_for_it(creating);
	else
		err = open_new_file(creating);
	if (!err && fstat(container->fd, &container->st))
		err = fail_errno(-errno, "%s", creating->path);
	if (!err)
		err = lock_container(container->fd, true, creating->path);
	if (err)
		return err;
	err = file_store_init(&creating->file, container->fd);
	if (err)
		return fail_errno(err, "%s", creating->path);
	return is_block(container) ? check_device(creating) : 0;
}

/* ---- The space of a fixed disk ---- */

static int tell(const struct creating *creating, u64 done, u64 total)
{
	const struct vhdx_create_options *options = creating->options;

	if (!options->progress)
		return 0;
	return result_of_caller(options->progress(options->context, done, total));
}

static int space_failed(const struct creating *creating, int err)
{
	if (err == -ENOSPC || err == -EDQUOT)
		return fail(err, VHDX_REASON_HOST_FULL, "%s: no room for %llu bytes: %s",
			    creating->path, creating->recipe.size, strerror(-err));
	return fail_errno(err, "%s: cannot make room for %llu bytes", creating->path,
			  creating->recipe.size);
}

static int write_zeroes(struct creating *creating, u64 offset, u64 length)
{
	struct vhdx_store *store = &creating->file.store;
	u8 *zeroes = vhdx_alloc(STEP_OF_ZEROES);
	int err = zeroes ? store->write(store, offset, zeroes, length) : -ENOMEM;

	vhdx_free(zeroes);
	return err;
}

/*
 * The next piece of the blocks: it has space, and reads as zeroes. Where the file system or the
 * device can't do that by itself, zeroes are written. Returns how long the piece is, or -errno.
 */
static s64 provide_piece(struct creating *creating, u64 offset, u64 rest)
{
	const int fd = creating->container.fd;
	u64 length = min(rest, STEP_OF_SPACE);
	uint64_t range[2] = { offset, length };
	int err;

	if (is_block(&creating->container) ? !ioctl(fd, BLKZEROOUT, range) :
	    !fallocate(fd, 0, offset, length))
		return length;
	if (errno != EOPNOTSUPP && errno != EINTR)
		return -errno;
	length = min(rest, STEP_OF_ZEROES);
	err = write_zeroes(creating, offset, length);
	return err ? err : (s64)length;
}

static int provide_space(struct creating *creating)
{
	const struct vhdx_recipe *recipe = &creating->recipe;
	const u64 total = recipe->size - recipe->blocks_offset;
	u64 done = 0;
	s64 piece;
	int err = tell(creating, 0, total);

	while (!err && done < total) {
		piece = provide_piece(creating, recipe->blocks_offset + done, total - done);
		if (piece < 0)
			return space_failed(creating, piece);
		done += piece;
		err = tell(creating, done, total);
	}
	return err;
}

/* ---- All of it ---- */

static int write_structures(struct creating *creating)
{
	struct vhdx_store *store = &creating->file.store;
	struct vhdx_diag diag = { 0 };
	int err;

	if (!is_block(&creating->container) &&
	    ftruncate(creating->container.fd, creating->recipe.size))
		return space_failed(creating, -errno);
	creating->made = true;
	err = provide_space(creating);
	if (err)
		return err;
	err = vhdx_recipe_write(&creating->recipe, store, &diag);
	if (!err)
		err = store->flush(store);
	if (!err)
		err = vhdx_recipe_sign(&creating->recipe, store, &diag);
	if (!err)
		err = store->flush(store);
	if (err)
		return write_failed(creating, err, &diag);
	return is_block(&creating->container) ? 0 : sync_directory(creating->path);
}

/* What is noted of the failure stays. */
static void take_back(struct creating *creating)
{
	struct container *container = &creating->container;
	struct stat there;

	if (!creating->made)
		return;
	if (is_block(container)) {
		if (!write_zeroes(creating, 0, VHDX_HEADER_SECTION))
			fsync(container->fd);
		return;
	}
	if (!lstat(creating->path, &there) && there.st_dev == container->st.st_dev &&
	    there.st_ino == container->st.st_ino)
		unlink(creating->path);
}

int vhdx_create(const char *path, const struct vhdx_create_options *options)
{
	struct vhdx_create_options known;
	struct creating creating = {
		.path = path,
		.options = &known,
		.container = CONTAINER_NONE,
		.parent = CONTAINER_NONE,
	};
	int err;

	clear_error();
	err = check_name(path);
	if (!err)
		err = take_sized(&known, sizeof(known), options, VHDX_CREATE_OPTIONS_SIZE_VER0,
				 "vhdx_create_options");
	if (!err)
		err = make_recipe(&creating);
	if (!err)
		err = open_target(&creating);
	if (!err)
		err = write_structures(&creating);
	if (err)
		take_back(&creating);
	close_container(&creating.container);
	close_container(&creating.parent);
	free(creating.locator);
	return err;
}
