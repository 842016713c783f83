// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * From one kind of disk to another: the content is read, and what is not zero is written to
 * something new.
 *
 * It is read in windows that lie within one block of whatever size. It has to be read, and not
 * handed from file to file by the kernel, to be known for zeroes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <core/offline/place.h>
#include <core/vhdx/ondisk.h>
#include "new_vhdx.h"
#include "source.h"

#define WINDOW		VHDX_MIB

static_assert((u32)WINDOW == VHDX_BLOCK_SIZE_MIN);

/* Runs of zeroes that are worth a hole in a file; on a device, worth a request of their own. */
#define GRAIN_OF_FILE	4096U
#define GRAIN_OF_DEVICE	(64U << 10)

/* Of a device: so that somebody who looks on sees it move, and can end it. */
#define ZEROES_AT_ONCE	(256ULL << 20)

/* Written back meanwhile, so that not all of it is left for the flush at the end. */
#define WRITTEN_BACK	(64ULL << 20)

/**
 * struct converting - a disk being copied
 * @size:	of the new disk in bytes
 * @recipe:	of a VHDX
 * @placing:	of a dynamic one, where its blocks go
 * @block:	of a dynamic one, which was placed last; or NO_BLOCK
 * @block_at:	where that is
 * @window:	WINDOW bytes of the disk
 */
struct converting {
	const struct vhdx_convert_options *options;
	struct source source;
	struct target target;
	u64 size;
	struct vhdx_recipe recipe;
	struct vhdx_placing placing;
	u64 block;
	u64 block_at;
	u8 *window;
};

#define NO_BLOCK	(~0ULL)

static bool is_raw(const struct converting *converting)
{
	return converting->options->type == VHDX_TYPE_RAW;
}

static bool is_dynamic(const struct converting *converting)
{
	return converting->options->type == VHDX_TYPE_DYNAMIC;
}

/* ---- What is asked for ---- */

static int take_options(struct vhdx_convert_options *known,
			const struct vhdx_convert_options *options, const char *source)
{
	int err;

	memset(known, 0, sizeof(*known));
	if (!options)
		return 0;
	err = take_sized(known, sizeof(*known), options, VHDX_CONVERT_OPTIONS_SIZE_VER0,
			 "vhdx_convert_options");
	if (err)
		return err;
	if (known->flags & ~VHDX_CONVERT_FROM_RAW)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT, "unknown flags of a conversion: 0x%x",
			    known->flags);
	if (known->type > VHDX_TYPE_RAW)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: to a disk of type %u: there are dynamic (%u), fixed (%u) and raw ones (%u)",
			    source, known->type, VHDX_TYPE_DYNAMIC, VHDX_TYPE_FIXED,
			    VHDX_TYPE_RAW);
	if (known->type == VHDX_TYPE_RAW &&
	    (known->block_size || known->logical_sector_size || known->physical_sector_size ||
	     known->log_size))
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: a raw image has neither blocks nor a log, and no sector sizes of its own: leave them out",
			    source);
	if (known->flags & VHDX_CONVERT_FROM_RAW && known->type == VHDX_TYPE_RAW)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: from raw to raw there is nothing to convert: `cp --sparse=always` copies it",
			    source);
	if (known->flags & VHDX_CONVERT_FROM_RAW &&
	    ((known->parents && *known->parents) || (known->path_maps && *known->path_maps)))
		return fail(-EINVAL, VHDX_REASON_ARGUMENT, "%s: a raw image has no parent",
			    source);
	return 0;
}

static int open_source(struct converting *converting, const char *path)
{
	const struct vhdx_convert_options *options = converting->options;
	const struct vhdx_chain_options chain = {
		.size = sizeof(chain),
		.parents = options->parents,
		.path_maps = options->path_maps,
	};

	if (options->flags & VHDX_CONVERT_FROM_RAW)
		return open_raw_source(&converting->source, path);
	return open_vhdx_source(&converting->source, path, &chain);
}

/* What is on the disk was written in these sectors: a partition table counts in them. */
static int check_sectors(const struct converting *converting)
{
	const struct source *source = &converting->source;
	const u32 wanted = converting->options->logical_sector_size;

	if (!wanted || !source->logical_sector_size || wanted == source->logical_sector_size)
		return 0;
	return fail(-EINVAL, VHDX_REASON_ARGUMENT,
		    "%s: it has logical sectors of %u bytes, and what is on it is no good with %u: leave that out",
		    source->leaf.path, source->logical_sector_size, wanted);
}

static int make_recipe(struct converting *converting)
{
	const struct vhdx_convert_options *options = converting->options;
	const struct source *source = &converting->source;
	const char *path = converting->target.path;
	const struct vhdx_create_options create = {
		.size = sizeof(create),
		.type = options->type,
		.block_size = options->block_size,
		.logical_sector_size = options->logical_sector_size ?: source->logical_sector_size,
		.physical_sector_size = options->physical_sector_size ?:
					source->physical_sector_size,
		.log_size = options->log_size,
	};
	struct vhdx_geometry *geo = &converting->recipe.geo;
	int err;

	err = check_sectors(converting);
	if (!err)
		err = take_recipe(&converting->recipe, path, &create);
	if (err)
		return err;
	geo->disk_size = source->size;
	if (geo->disk_size % geo->logical_sector_size && source->size <= VHDX_DISK_SIZE_MAX)
		geo->disk_size += geo->logical_sector_size -
				  geo->disk_size % geo->logical_sector_size;
	converting->size = geo->disk_size;
	return check_recipe(&converting->recipe, path);
}

/* ---- Where it goes ---- */

/* Before anything is made: what is read must not be what is written. */
static int refuse_source(const struct converting *converting, const char *path)
{
	struct stat st;

	if (stat(path, &st) || !source_has(&converting->source, &st))
		return 0;
	return fail(-EINVAL, VHDX_REASON_ARGUMENT,
		    "%s: it is read to make the new disk, and can't be that: choose another name",
		    path);
}

static int make_target(struct converting *converting, const char *path)
{
	struct vhdx_recipe *recipe = &converting->recipe;
	struct target *target = &converting->target;
	const u64 needed = is_raw(converting) ? converting->size : recipe->size;
	int err;

	err = refuse_source(converting, path);
	if (!err)
		err = open_target(target, path, 0600);
	if (!err)
		err = check_target_device(target, needed, is_raw(converting) ? UINT32_MAX :
					  recipe->geo.logical_sector_size);
	if (err)
		return err;
	recipe->is_zero = target_is_zero(target);
	target->made = true;
	if (!is_block(&target->container))
		share_as_source(&converting->source, target->container.fd);
	return set_target_size(target, needed);
}

/* Of a disk's bytes that are to be written: where they go, and with them their block. */
static int find_place(struct converting *converting, u64 offset, u64 *at)
{
	const struct vhdx_geometry *geo = &converting->recipe.geo;
	const u64 block = offset >> geo->block_shift;
	const u64 within = offset - (block << geo->block_shift);
	struct vhdx_diag diag = { 0 };
	int err;

	if (block != converting->block) {
		err = vhdx_place(&converting->placing, block, &converting->block_at, &diag);
		if (err)
			return write_failed(&converting->target, err, &diag);
		converting->block = block;
		/* What is before it in the block was passed over. */
		if (!target_is_zero(&converting->target))
			err = clear_target(&converting->target, converting->block_at, within);
		if (err)
			return write_failed(&converting->target, err, NULL);
	}
	*at = converting->block_at + within;
	return 0;
}

static int put_data(struct converting *converting, u64 offset, const void *data, size_t length)
{
	struct vhdx_store *store = &converting->target.file.store;
	u64 at = is_raw(converting) ? offset : converting->recipe.blocks_offset + offset;
	int err = 0;

	if (is_dynamic(converting))
		err = find_place(converting, offset, &at);
	if (err)
		return err;
	err = store->write(store, at, data, length);
	return err ? write_failed(&converting->target, err, NULL) : 0;
}

/* On a device, where anything may have been. */
static int put_zeroes(struct converting *converting, u64 offset, u64 length)
{
	const struct vhdx_geometry *geo = &converting->recipe.geo;
	u64 at = is_raw(converting) ? offset : converting->recipe.blocks_offset + offset;
	u64 within;
	int err;

	if (target_is_zero(&converting->target))
		return 0;
	if (is_dynamic(converting)) {
		if (offset >> geo->block_shift != converting->block)
			return 0;
		within = offset - (converting->block << geo->block_shift);
		at = converting->block_at + within;
		length = min(length, geo->block_size - within);
	}
	err = clear_target(&converting->target, at, length);
	return err ? write_failed(&converting->target, err, NULL) : 0;
}

/* ---- Copying ---- */

static bool is_zero(const u8 *bytes, size_t length)
{
	return !bytes[0] && !memcmp(bytes, bytes + 1, length - 1);
}

/* Its runs of zeroes, and of all else. */
static int put_window(struct converting *converting, u64 offset, size_t length)
{
	const size_t grain = target_is_zero(&converting->target) ? GRAIN_OF_FILE : GRAIN_OF_DEVICE;
	const u8 *window = converting->window;
	size_t start, end;
	bool zero;
	int err = 0;

	for (start = 0; start < length && !err; start = end) {
		zero = is_zero(window + start, min(grain, length - start));
		for (end = start + grain; end < length; end += grain)
			if (is_zero(window + end, min(grain, length - end)) != zero)
				break;
		end = min(end, length);
		err = zero ? put_zeroes(converting, offset + start, end - start) :
			     put_data(converting, offset + start, window + start, end - start);
	}
	return err;
}

/* @piece begins at @offset, and is the first of what is in the window. */
static int fill_window(struct converting *converting, u64 offset, size_t length,
		       struct vhdx_piece *piece)
{
	u8 *window = converting->window;
	size_t filled = 0;
	size_t part;
	int err = 0;

	while (!err) {
		part = min(piece->length, length - filled);
		if (piece->layer == VHDX_NO_LAYER)
			memset(window + filled, 0, part);
		else
			err = source_read(&converting->source, piece, window + filled, part);
		filled += part;
		if (filled == length)
			break;
		if (!err)
			err = source_find(&converting->source, offset + filled, piece);
	}
	return err;
}

/* The next window; or whole windows at once that nobody wrote. Returns how much, or -errno. */
static s64 copy_piece(struct converting *converting, u64 offset, u64 end)
{
	u64 length = min(end - offset, WINDOW);
	/* A device is written in its sectors, and has room for the last one. */
	const u64 sector = converting->target.sector - 1;
	u64 rest = min(end, converting->source.size) - offset;
	struct vhdx_piece piece;
	int err;

	err = source_find(&converting->source, offset, &piece);
	if (err)
		return err;
	if (piece.layer == VHDX_NO_LAYER && (piece.length >= WINDOW || piece.length >= rest)) {
		length = piece.length >= rest ? end - offset : piece.length / WINDOW * WINDOW;
		if (!target_is_zero(&converting->target))
			length = min(length, ZEROES_AT_ONCE);
		err = put_zeroes(converting, offset, (length + sector) & ~sector);
		return err ? err : (s64)length;
	}
	if (rest < WINDOW)
		memset(converting->window + rest, 0, WINDOW - rest);
	err = fill_window(converting, offset, min(rest, WINDOW), &piece);
	if (!err)
		err = put_window(converting, offset, (length + sector) & ~sector);
	return err ? err : (s64)length;
}

/* Meanwhile, so that the flush at the end is short. Whether it works, that one says. */
static void write_back(const struct converting *converting, u64 before, u64 now)
{
	if (target_is_zero(&converting->target) && before / WRITTEN_BACK != now / WRITTEN_BACK)
		sync_file_range(converting->target.container.fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

static int copy(struct converting *converting, u64 offset, u64 end)
{
	const struct progress progress = {
		.fn = converting->options->progress,
		.context = converting->options->context,
	};
	int err = tell_progress(&progress, offset, converting->size);
	s64 piece;

	while (!err && offset < end) {
		piece = copy_piece(converting, offset, end);
		if (piece < 0)
			return piece;
		write_back(converting, offset, offset + piece);
		offset += piece;
		err = tell_progress(&progress, offset, converting->size);
	}
	return err;
}

/* ---- All of it ---- */

/* A boot sector, a partition table, a super block come last, when what they tell of is there. */
static int make_raw(struct converting *converting)
{
	struct target *target = &converting->target;
	const u64 first = min(converting->size, WINDOW);
	int err;

	err = copy(converting, first, converting->size);
	if (err)
		return err;
	err = source_unchanged(&converting->source);
	if (err)
		return err;
	err = target->file.store.flush(&target->file.store);
	if (err)
		return write_failed(target, err, NULL);
	err = copy(converting, 0, first);
	if (!err)
		err = source_unchanged(&converting->source);
	return err ? err : settle_target(target);
}

/* What is behind the disk's end in its last block. */
static int clear_rest(struct converting *converting)
{
	const struct vhdx_geometry *geo = &converting->recipe.geo;

	return put_zeroes(converting, converting->size,
			  (geo->block_count << geo->block_shift) - converting->size);
}

static int fill_vhdx(struct converting *converting)
{
	int err = copy(converting, 0, converting->size);

	return err ? err : clear_rest(converting);
}

static int finish_blocks(struct converting *converting)
{
	struct vhdx_diag diag = { 0 };
	int err = vhdx_placing_finish(&converting->placing, &diag);

	if (err)
		return write_failed(&converting->target, err, &diag);
	return set_target_size(&converting->target, converting->placing.end);
}

static int fill_dynamic(struct converting *converting)
{
	struct target *target = &converting->target;
	const u64 limit = target_is_zero(target) ? ~0ULL : target->file.store.size;
	int err;

	converting->block = NO_BLOCK;
	err = vhdx_placing_init(&converting->placing, &converting->recipe, &target->file.store,
				limit, NULL);
	if (err)
		return fail_errno(err, "%s", target->path);
	err = fill_vhdx(converting);
	if (!err)
		err = finish_blocks(converting);
	vhdx_placing_release(&converting->placing);
	return err;
}

/* On a device, zeroes are written where there are no data; a file has space for all first. */
static int fill_fixed(struct converting *converting)
{
	const struct progress progress = {
		.fn = converting->options->progress,
		.context = converting->options->context,
	};
	struct target *target = &converting->target;
	int err = 0;

	if (target_is_zero(target))
		err = provide_space(target, &converting->recipe, &progress);
	return err ? err : fill_vhdx(converting);
}

static int make_vhdx(struct converting *converting)
{
	struct target *target = &converting->target;
	struct vhdx_diag diag = { 0 };
	int err;

	err = vhdx_recipe_write(&converting->recipe, &target->file.store, &diag);
	if (err)
		return write_failed(target, err, &diag);
	err = is_dynamic(converting) ? fill_dynamic(converting) : fill_fixed(converting);
	if (!err)
		err = source_unchanged(&converting->source);
	return err ? err : finish_vhdx(target, &converting->recipe);
}

static int prepare(struct converting *converting, const char *source, const char *target)
{
	int err;

	converting->target.path = target;
	err = open_source(converting, source);
	if (err)
		return err;
	converting->size = converting->source.size;
	converting->window = vhdx_alloc(WINDOW);
	if (!converting->window)
		return fail_errno(-ENOMEM, "%s", source);
	if (!is_raw(converting))
		err = make_recipe(converting);
	return err ? err : make_target(converting, target);
}

/* It is done, and not just as one might think. */
static void note_oddities(const struct converting *converting)
{
	const struct source *source = &converting->source;
	const struct target *target = &converting->target;

	clear_error();
	if (converting->size != source->size)
		fail(0, VHDX_REASON_NONE,
		     "%s: its size of %llu bytes is no multiple of the sector size %u: the disk has %llu, with zeroes behind the image",
		     source->leaf.path, source->size, converting->recipe.geo.logical_sector_size,
		     converting->size);
	else if (is_raw(converting) && is_block(&target->container) &&
		 target->file.store.size > converting->size)
		fail(0, VHDX_REASON_NONE,
		     "%s: the device has %llu bytes, and the disk %llu: what is behind its end was left as it is; a GPT wants its second header at the device's end (`sgdisk -e`)",
		     target->path, target->file.store.size, converting->size);
}

int vhdx_convert(const char *source, const char *target,
		 const struct vhdx_convert_options *options)
{
	struct vhdx_convert_options known;
	struct converting converting = {
		.options = &known,
		.source = SOURCE_NONE,
		.target = TARGET_NONE,
	};
	int err;

	clear_error();
	err = check_name(source);
	if (!err)
		err = check_name(target);
	if (!err)
		err = take_options(&known, options, source);
	if (err)
		return err;
	err = prepare(&converting, source, target);
	if (!err)
		err = is_raw(&converting) ? make_raw(&converting) : make_vhdx(&converting);
	if (err)
		take_back(&converting.target);
	else
		note_oddities(&converting);
	close_target(&converting.target);
	close_source(&converting.source);
	vhdx_free(converting.window);
	return err;
}
