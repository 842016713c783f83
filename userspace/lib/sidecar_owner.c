// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Whose a sidecar is. What is written anew is gone, and may have been another disk's history,
 * or anything else.
 */
#include <errno.h>
#include <stdlib.h>
#include <core/rct/sidecar.h>
#include <core/vhdx/ondisk.h>
#include "file_store.h"
#include "internal.h"

static bool is_guid(const vhdx_guid *guid, const __u8 *bytes)
{
	return !memcmp(guid->b, bytes, sizeof(guid->b));
}

/* Damaged or not: of a header that can't be read no id is kept. */
enum ownership sidecar_ownership(int fd, const struct vhdx_info *info)
{
	enum ownership ownership = OF_ANOTHER_DISK;
	struct vhdx_diag diag = { 0 };
	struct vhdx_sidecar sidecar;
	struct file_store file;

	if (file_store_init(&file, fd))
		return OF_NOBODY;
	vhdx_sidecar_load(&sidecar, &file.store, true, true, &diag);
	if (vhdx_guid_is_zero(&sidecar.disk_id))
		ownership = OF_NOBODY;
	else if (is_guid(&sidecar.disk_id, info->virtual_disk_id))
		ownership = is_guid(&sidecar.current_guid, info->data_write_guid) ||
			    is_guid(&sidecar.next_guid, info->data_write_guid) ?
			    OF_THIS_STATE : OF_ANOTHER_STATE;
	vhdx_sidecar_release(&sidecar);
	return ownership;
}

static bool knows_one(const struct vhdx_sidecar *sidecar, const struct vhdx_layer_info *parents,
		      unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		if (is_guid(&sidecar->current_guid, parents[i].data_write_guid) ||
		    is_guid(&sidecar->next_guid, parents[i].data_write_guid))
			return true;
	return false;
}

/* Is it that of a parent of the attached disk? */
static bool is_of_parent(struct file_store *file, struct vhdx_disk *disk)
{
	struct vhdx_layer_info *layers = calloc(VHDX_LAYERS_MAX, sizeof(*layers));
	struct vhdx_get_layers get = {
		.size = sizeof(get),
		.output = (uintptr_t)layers,
		.output_capacity = VHDX_LAYERS_MAX,
		.layer_size = sizeof(*layers),
	};
	struct vhdx_diag diag = { 0 };
	struct vhdx_sidecar sidecar;
	bool found = false;

	if (layers && !disk_call(disk, VHDX_GET_LAYERS, &get) && get.output_count > 1) {
		vhdx_sidecar_load(&sidecar, &file->store, true, true, &diag);
		found = !vhdx_guid_is_zero(&sidecar.disk_id) &&
			knows_one(&sidecar, layers + 1, get.output_count - 1);
		vhdx_sidecar_release(&sidecar);
	}
	free(layers);
	return found;
}

bool is_blank_sidecar(int fd)
{
	enum vhdx_sidecar_content content;
	struct file_store file;

	return !file_store_init(&file, fd) &&
	       (!file.store.size || (file.direct && !vhdx_sidecar_look(&file.store, &content) &&
				     content == VHDX_SIDECAR_NOTHING));
}

/* The disk's own, or any other. */
static bool is_vhdx(struct file_store *file)
{
	char start[8];

	return !file->store.read(&file->store, 0, start, sizeof(start)) &&
	       !memcmp(start, VHDX_FILE_SIGNATURE, sizeof(start));
}

/*
 * Nobody is told to empty what was named by mistake: it may be a disk in use, or another disk's
 * history.
 */
int refuse_to_overwrite(int fd, const char *path, bool given, struct vhdx_disk *disk,
			const struct vhdx_info *info)
{
	enum vhdx_sidecar_content content;
	struct file_store file;
	int err;

	err = file_store_init(&file, fd);
	if (!err)
		err = vhdx_sidecar_look(&file.store, &content);
	if (err)
		return fail_errno(err, "%s: cannot read it", path);
	if (content == VHDX_SIDECAR_STRANGER && is_vhdx(&file))
		return fail(-EEXIST, VHDX_REASON_INCONSISTENT,
			    "%s: a VHDX, not a sidecar: name another file (--sidecar)", path);
	if (content == VHDX_SIDECAR_STRANGER)
		return fail(-EEXIST, VHDX_REASON_INCONSISTENT,
			    "%s: neither empty nor a sidecar, and not written over: name another file (--sidecar)",
			    path);
	if (given && sidecar_ownership(fd, info) == OF_ANOTHER_DISK)
		return fail(-EEXIST, VHDX_REASON_CHANGED_OFFLINE,
			    "%s: the sidecar of another disk, and not written over: name another file (--sidecar)",
			    path);
	if (is_of_parent(&file, disk))
		return fail(-EEXIST, VHDX_REASON_CHANGED_OFFLINE,
			    "%s: the sidecar of a parent of this disk, and not written over: name another file (--sidecar), or rename it like the parent",
			    path);
	return 0;
}
