// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <core/utf8.h>
#include "internal.h"

static int set_label(struct vhdx_seal *seal, const char *label)
{
	size_t length = label ? strlen(label) : 0;

	if (length > VHDX_LABEL_MAX)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "the label has %zu bytes, at most %d are kept", length, VHDX_LABEL_MAX);
	if (!vhdx_label_is_valid((const u8 *)label, length))
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "the label is not text: it must be UTF-8 without control characters");
	if (length)
		memcpy(seal->label, label, length);
	seal->label_length = length;
	return 0;
}

static __s32 *descriptors(struct vhdx_disk *const *disks, size_t count)
{
	__s32 *fds = malloc(count * sizeof(*fds));
	size_t i;

	for (i = 0; fds && i < count; i++)
		fds[i] = disks[i]->fd;
	return fds;
}

static int refuse_files(struct vhdx_disk *const *disks, size_t count, __u32 *failed)
{
	size_t i;

	for (i = 0; i < count; i++) {
		*failed = i;
		if (disks[i]->index < 0)
			return fail(-ENODEV, VHDX_REASON_NONE,
				    "%s: not attached: there is nothing to seal", disks[i]->name);
	}
	return 0;
}

static int refuse_twins(struct vhdx_disk *const *disks, size_t count, __u32 *failed)
{
	size_t i, j;

	for (i = 0; i < count; i++) {
		*failed = i;
		for (j = 0; j < i; j++)
			if (disks[i]->index == disks[j]->index)
				return fail(-EINVAL, VHDX_REASON_ARGUMENT,
					    "%s: named twice: a seal takes each disk once",
					    disks[i]->name);
	}
	return 0;
}

static int call_seal(struct vhdx_disk *const *disks, struct vhdx_seal *seal)
{
	const struct vhdx_disk *disk;
	char message[MESSAGE_SIZE];
	char text[NAMED_SIZE];
	int control;
	int err;

	control = open_control();
	if (control < 0)
		return control;
	err = request(control, "seal", VHDX_SEAL, seal, message);
	close(control);
	if (!err)
		return 0;
	if (seal->failed >= seal->count)
		return fail_history(err, seal->reason, "seal", message);
	disk = disks[seal->failed];
	return fail_history(err, seal->reason, disk->name, name_file(disk, message, text));
}

static int seal_all(struct vhdx_disk *const *disks, size_t count, const char *label,
		    struct vhdx_seal *seal)
{
	__s32 *fds;
	int err;

	if (!count || count > VHDX_SEAL_MAX)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%zu disks to seal: want 1 to %d", count, VHDX_SEAL_MAX);
	err = set_label(seal, label);
	if (!err)
		err = refuse_files(disks, count, &seal->failed);
	if (!err)
		err = refuse_twins(disks, count, &seal->failed);
	if (err)
		return err;
	fds = descriptors(disks, count);
	if (!fds)
		return fail_errno(-ENOMEM, "seal");
	seal->fds = (uintptr_t)fds;
	err = call_seal(disks, seal);
	free(fds);
	return err;
}

int vhdx_seal(struct vhdx_disk *const *disks, size_t count, const char *label,
	      struct vhdx_point_id *ids, size_t *failed)
{
	struct vhdx_seal seal = {
		.size = sizeof(seal),
		.ids = (uintptr_t)ids,
		.count = count,
	};
	int err;

	clear_error();
	err = seal_all(disks, count, label, &seal);
	if (err && failed)
		*failed = seal.failed;
	return err;
}
