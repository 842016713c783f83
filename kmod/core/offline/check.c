// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "core/vhdx/overlay.h"
#include "core/vhdx/private.h"
#include "core/vhdx/space.h"
#include "check_private.h"
#include "tables.h"

int vhdx_check_tell(struct vhdx_check_state *check, enum vhdx_severity severity,
		    const char *format, ...)
{
	struct vhdx_diag diag = {
		.reason = severity < VHDX_SEVERITY_ERROR ? VHDX_REASON_NONE : VHDX_REASON_CORRUPT,
	};
	va_list args;

	va_start(args, format);
	vsnprintf(diag.text, sizeof(diag.text), format, args);
	va_end(args);
	return check->fn(check->context, severity, &diag);
}

/* Is it the container's fault that @err came of it? */
static bool is_finding(int err)
{
	return err == -EUCLEAN || err == -EMEDIUMTYPE || err == -EOPNOTSUPP;
}

/* ---- The BAT -------------------------------------------------------------------------------- */

/* Of a BAT that is garbage, a sample is enough. */
static bool is_enough(struct vhdx_check_state *check, enum vhdx_severity severity)
{
	return check->told[severity]++ >= VHDX_CHECK_ENTRIES_MAX;
}

static int warn_of_entry(struct vhdx_check_state *check, u64 index, const char *what)
{
	if (is_enough(check, VHDX_SEVERITY_WARNING))
		return 0;
	return warn(check, "BAT entry %llu at 0x%llx: %s", index,
		    vhdx_bat_entry_offset(&check->image.geo, index), what);
}

static int check_padding(struct vhdx_check_state *check, u64 index, u64 raw,
			 const struct vhdx_bat_slot *slot)
{
	if (!raw)
		return 0;
	if (index >= check->image.geo.bat_entry_count) {
		if (!check->behind++)
			check->first_behind = index;
		return 0;
	}
	if (slot->bitmap)
		return warn_of_entry(check, index,
				     "a sector bitmap of a disk without a parent, which means nothing");
	if (!check->padding++)
		check->first_padding = index;
	return 0;
}

/* An entry that may be used, but is not as it should be. */
static int check_oddities(struct vhdx_check_state *check, u64 index,
			  const struct vhdx_bat_slot *slot, struct vhdx_bat_entry entry)
{
	switch (entry.state) {
	case VHDX_BLOCK_NOT_PRESENT:
	case VHDX_BLOCK_ZERO:
		return entry.offset ? warn_of_entry(check, index, "no data, but an offset") : 0;
	case VHDX_BLOCK_FULLY_PRESENT:
	case VHDX_BLOCK_PARTIALLY_PRESENT:
		if (slot->length <= check->store->size - entry.offset)
			return 0;
		return warn_of_entry(check, index,
				     "the container ends within the block, behind the disk's end");
	default:
		return 0;
	}
}

static int check_entry(void *context, u64 index, u64 raw)
{
	struct vhdx_check_state *check = context;
	struct vhdx_bat_slot slot = vhdx_bat_slot(&check->image.geo, index);
	struct vhdx_diag diag = { 0 };

	if (!slot.used)
		return check_padding(check, index, raw, &slot);
	if (!vhdx_space_add_entry(&check->space, &check->image, index, raw, check->store->size,
				  &diag))
		return raw ? check_oddities(check, index, &slot, vhdx_bat_decode(raw)) : 0;
	if (is_enough(check, VHDX_SEVERITY_ERROR))
		return 0;
	return check->fn(check->context, VHDX_SEVERITY_ERROR, &diag);
}

static int tell_rest(struct vhdx_check_state *check, enum vhdx_severity severity)
{
	u64 told = check->told[severity];

	if (told <= VHDX_CHECK_ENTRIES_MAX)
		return 0;
	return vhdx_check_tell(check, severity, "BAT at 0x%llx: %llu more entries of that kind",
		    check->image.geo.bat_offset, told - VHDX_CHECK_ENTRIES_MAX);
}

/* Of no block: QEMU 5.2 left something behind the last one. */
static int tell_padding(struct vhdx_check_state *check)
{
	const struct vhdx_geometry *geo = &check->image.geo;
	int err = 0;

	if (check->padding)
		err = error(check, "BAT entry %llu at 0x%llx: of a block behind the disk's end, and not zero (%llu such entries)",
			    check->first_padding,
			    vhdx_bat_entry_offset(geo, check->first_padding), check->padding);
	if (!err && check->behind)
		err = warn(check, "BAT entry %llu at 0x%llx: behind the last entry, and not zero (%llu such entries)",
			   check->first_behind,
			   vhdx_bat_entry_offset(geo, check->first_behind), check->behind);
	return err;
}

static int check_bat(struct vhdx_check_state *check, u64 length, struct vhdx_diag *diag)
{
	int err;

	err = vhdx_bat_walk(check->store, &check->image, length / VHDX_BAT_ENTRY_SIZE, check_entry,
			    check, diag);
	if (!err)
		err = tell_rest(check, VHDX_SEVERITY_ERROR);
	if (!err)
		err = tell_rest(check, VHDX_SEVERITY_WARNING);
	return err ? err : tell_padding(check);
}

/* ---- Space ---------------------------------------------------------------------------------- */

static u64 taken_bytes(const struct vhdx_space *space)
{
	u64 words = DIV_ROUND_UP(space->end / VHDX_MIB, 8 * sizeof(*space->taken));
	u64 count = 0;
	u64 i;

	for (i = 0; i < words; i++)
		count += hweight64(space->taken[i]);
	return count * VHDX_MIB;
}

static int check_space(struct vhdx_check_state *check, bool fixed_end)
{
	const struct vhdx_space *space = &check->space;
	u64 size = check->store->size;
	u64 gaps = space->end - taken_bytes(space);
	int err = 0;

	if (!fixed_end && size % VHDX_MIB)
		err = warn(check, "the container has %llu bytes, not a multiple of 1 MiB", size);
	if (!err && !fixed_end && size > space->end)
		err = note(check, "%llu bytes behind the last structure at 0x%llx are not used",
			   size - space->end, space->end);
	if (!err && gaps)
		err = note(check, "%llu bytes between structures are not used", gaps);
	return err;
}

/* ---- All of it ------------------------------------------------------------------------------ */

static int check_log(struct vhdx_check_state *check)
{
	const struct vhdx_log_scan *log = &check->image.log;

	if (log->unwritten)
		return check->fn(check->context, VHDX_SEVERITY_ERROR, &check->unwritten);
	if (!check->image.header.log_length)
		return warn(check, "header %u: the log's length is 0: no block can be allocated without a log; copy the disk into a new container",
			    check->image.header.slot + 1);
	if (!log->dirty)
		return 0;
	return note(check, "log at 0x%llx: %u entries to be replayed: the next attach for writing does it, or --repair",
		    check->image.header.log_offset, log->entry_count);
}

static int open_container(struct vhdx_check_state *check, struct vhdx_diag *diag)
{
	struct vhdx_store *store = check->store;
	int err;

	err = vhdx_image_open_to_read(&check->image, store, &check->unwritten, diag);
	if (!err && check->image.log.dirty) {
		err = vhdx_overlay_init(&check->overlay, store, &check->image, diag);
		check->store = &check->overlay.store;
	}
	if (!err)
		err = vhdx_image_load(&check->image, check->store, diag);
	return err;
}

static int check_rest(struct vhdx_check_state *check, bool fixed_end, struct vhdx_diag *diag)
{
	u64 bat_length;
	int err;

	err = vhdx_space_init(&check->space, &check->image, check->store->size, diag);
	if (err)
		return err;
	err = vhdx_check_headers(check, diag);
	if (!err)
		err = vhdx_check_tables(check, &bat_length, diag);
	if (!err)
		err = check_log(check);
	if (!err)
		err = check_bat(check, bat_length, diag);
	if (!err)
		err = check_space(check, fixed_end);
	vhdx_space_release(&check->space);
	return err;
}

int vhdx_check_store(struct vhdx_store *store, bool fixed_end, vhdx_finding_fn_t fn,
		     void *context, struct vhdx_diag *diag)
{
	struct vhdx_check_state check = { .store = store, .fn = fn, .context = context };
	int err;

	err = open_container(&check, diag);
	if (is_finding(err))
		err = fn(context, VHDX_SEVERITY_FATAL, diag);
	else if (!err)
		err = check_rest(&check, fixed_end, diag);
	vhdx_overlay_release(&check.overlay);
	vhdx_image_release(&check.image);
	return err;
}
