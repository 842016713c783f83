// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The file identifier of a container is written last, when all else is durable: a crash leaves
 * what nobody takes for a VHDX, and a failure nothing.
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include "new_vhdx.h"

#define CREATOR	"libvhdx " VERSION

#define BLOCK_SIZE_DYNAMIC	(32U << 20)	/* as Windows has them */
#define BLOCK_SIZE_OTHERS	(2U << 20)
#define LOG_SIZE		(1U << 20)

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

int tell_progress(const struct progress *progress, u64 done, u64 total)
{
	if (!progress->fn)
		return 0;
	return result_of_caller(progress->fn(progress->context, done, total));
}

int take_recipe(struct vhdx_recipe *recipe, const char *path,
		const struct vhdx_create_options *options)
{
	struct vhdx_geometry *geo = &recipe->geo;

	if (options->type > VHDX_TYPE_FIXED)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: a disk of type %u: there are dynamic (%u) and fixed ones (%u)",
			    path, options->type, VHDX_TYPE_DYNAMIC, VHDX_TYPE_FIXED);
	if (options->log_size > UINT32_MAX)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT, "%s: a log of %llu bytes, at most 1 GiB",
			    path, (unsigned long long)options->log_size);
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
	return 0;
}

int check_recipe(struct vhdx_recipe *recipe, const char *path)
{
	struct vhdx_diag diag = { 0 };
	int err = vhdx_recipe_check(recipe, &diag);

	return err ? fail_kernel(err, diag.reason, path, diag.text) : 0;
}

int provide_space(struct target *target, const struct vhdx_recipe *recipe,
		  const struct progress *progress)
{
	const u64 total = recipe->size - recipe->blocks_offset;
	u64 done = 0;
	s64 piece;
	int err = tell_progress(progress, 0, total);

	while (!err && done < total) {
		piece = provide_piece(target, recipe->blocks_offset + done, total - done);
		if (piece < 0)
			return space_failed(target, piece, recipe->size);
		done += piece;
		err = tell_progress(progress, done, total);
	}
	return err;
}

int finish_vhdx(struct target *target, const struct vhdx_recipe *recipe)
{
	struct vhdx_store *store = &target->file.store;
	struct vhdx_diag diag = { 0 };
	int err = store->flush(store);

	if (!err)
		err = vhdx_recipe_sign(recipe, store, &diag);
	return err ? write_failed(target, err, &diag) : settle_target(target);
}
