// SPDX-License-Identifier: GPL-2.0-only
/*
 * vhdx: VHDX disks with Resilient Change Tracking.
 *
 * Depends on 64BIT: sizes, offsets and BAT entries are read without a lock, and a 32-bit
 * machine would read them in halves.
 */
#ifndef CONFIG_64BIT
#error "vhdx needs a 64-bit kernel (CONFIG_64BIT)"
#endif

#include "attach.h"
#include "chardev.h"
#include "control.h"
#include "disk/shutdown.h"
#include "points/seal.h"
#include "track/open_sidecar.h"

#include <linux/module.h>

static int __init vhdx_init(void)
{
	int err;

	err = vhdx_open_sidecar_init();
	if (err)
		return err;
	err = vhdx_seal_init();
	if (err)
		goto fail_sidecar;
	err = vhdx_chardev_init();
	if (err)
		goto fail_seal;
	err = vhdx_attach_init();
	if (err)
		goto fail_chardev;
	err = vhdx_shutdown_init();
	if (err)
		goto fail_attach;
	err = vhdx_control_init();
	if (err)
		goto fail_shutdown;
	return 0;

fail_shutdown:
	vhdx_shutdown_exit();
fail_attach:
	vhdx_attach_exit();
fail_chardev:
	vhdx_chardev_exit();
fail_seal:
	vhdx_seal_exit();
fail_sidecar:
	vhdx_open_sidecar_exit();
	return err;
}

static void __exit vhdx_exit(void)
{
	vhdx_control_exit();
	vhdx_shutdown_exit();
	vhdx_attach_exit();
	vhdx_chardev_exit();
	vhdx_seal_exit();
	vhdx_open_sidecar_exit();
}

module_init(vhdx_init);
module_exit(vhdx_exit);

MODULE_DESCRIPTION("VHDX disks with Resilient Change Tracking");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
