/* SPDX-License-Identifier: GPL-2.0-only */
/* /dev/vhdx-control: attach, detach, seal. */
#ifndef VHDX_CONTROL_H
#define VHDX_CONTROL_H

int vhdx_control_init(void);
void vhdx_control_exit(void);

#endif
