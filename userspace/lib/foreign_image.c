// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Disk images in other formats: what they are, and how to come from there to a VHDX.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "internal.h"

#define FOOTER	512	/* of a fixed VHD, which has nothing at its beginning */

/* The first row that fits. Negative: so far before the end. */
static const struct {
	const char *name;
	const char *remedy;	/* makes a VHDX of it */
	off_t offset;
	size_t length;
	const char *magic;
} formats[] = {
	{ "a VHD", "qemu-img convert -f vpc -O vhdx", 0, 8, "conectix" },
	{ "a VHD", "qemu-img convert -f vpc -O vhdx", -FOOTER, 8, "conectix" },
	{ "a QCOW2 image", "qemu-img convert -f qcow2 -O vhdx", 0, 4, "QFI\xfb" },
	{ "a VMDK", "qemu-img convert -f vmdk -O vhdx", 0, 4, "KDMV" },
	{ "a VDI", "qemu-img convert -f vdi -O vhdx", 64, 4, "\x7f\x10\xda\xbe" },
	{ "a raw image with a boot sector", "vhdxctl convert --from raw", 510, 2, "\x55\xaa" },
};

static bool has_at(const struct container *container, off_t offset, const char *magic,
		   size_t length)
{
	char found[8];

	if (offset < 0)
		offset += container->st.st_size;
	return offset >= 0 && pread(container->fd, found, length, offset) == length &&
	       !memcmp(found, magic, length);
}

int explain_foreign_image(const struct container *container)
{
	size_t i;

	for (i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (has_at(container, formats[i].offset, formats[i].magic, formats[i].length))
			return fail(-EMEDIUMTYPE, VHDX_REASON_BAD_TYPE,
				    "%s: not a VHDX: it is %s; convert it with `%s IMAGE NEW.vhdx`",
				    container->path, formats[i].name, formats[i].remedy);
	return 0;
}
