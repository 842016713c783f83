/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which disks there are, by index and by age.
 */
#ifndef VHDX_REGISTRY_H
#define VHDX_REGISTRY_H

#include <linux/types.h>

struct list_head;
struct vhdx_diag;
struct vhdx_disk;
struct vhdx_hold;

#define VHDX_DISKS_MAX	4096

int vhdx_registry_take_index(int wanted, struct vhdx_diag *diag);
void vhdx_registry_free_index(int index);
void vhdx_registry_note_age(struct vhdx_disk *disk);
void vhdx_registry_forget_age(struct vhdx_disk *disk);
u64 vhdx_registry_publish(struct vhdx_disk *disk);
void vhdx_registry_disown(int index, u64 disk_seq);
int vhdx_registry_original(struct vhdx_disk *disk);

int vhdx_registry_hold(dev_t devt, struct vhdx_hold *hold);
void vhdx_registry_let_go(struct vhdx_hold *hold);
ssize_t vhdx_registry_show_holders(struct vhdx_disk *disk, char *buf);

int vhdx_registry_take(int index, u64 disk_seq, struct vhdx_disk **disk, struct vhdx_diag *diag);
bool vhdx_registry_take_closed(unsigned long linger, void (*taken)(struct vhdx_disk *disk));
void vhdx_registry_detached(int index);

void vhdx_registry_keep_all(struct list_head *list);
bool vhdx_registry_is_closing_down(void);
void vhdx_registry_wait_for_detaches(unsigned long deadline);

#endif
