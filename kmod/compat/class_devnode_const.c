// SPDX-License-Identifier: GPL-2.0-only
/* 6.2: devnode callbacks take a const device. */
#include <linux/device.h>

static char *probe(const struct device *dev, umode_t *mode, kuid_t *uid, kgid_t *gid)
{
	return NULL;
}

struct device_type probe_type;
struct device_type probe_type = { .devnode = probe };
