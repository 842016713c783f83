/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where the bytes of a disk are, for those who only want to know: what is not in memory is read.
 * Pages are locked that I/O waits for: by a worker, in a scope (rule K3).
 */
#ifndef VHDX_MAPPED_H
#define VHDX_MAPPED_H

#include "layer/survey.h"

#include <linux/types.h>

struct vhdx_disk;
struct vhdx_errand;
struct vhdx_mapping;

/**
 * struct vhdx_mapped - who asks for what layers have; context of vhdx_mapped_in_layer()
 * @disk:	held
 * @errand:	that it is asked for
 * @surveys:	what was read in one go, of each layer; NULL: he asks about little
 * @survey_count: how many
 */
struct vhdx_mapped {
	struct vhdx_disk *disk;
	const struct vhdx_errand *errand;
	struct vhdx_survey *surveys;
	u32 survey_count;
};

int vhdx_mapped_init(struct vhdx_mapped *mapped, u32 layers);
void vhdx_mapped_release(struct vhdx_mapped *mapped);

void vhdx_mapped_look(struct vhdx_disk *disk, u64 offset, u64 wanted, struct vhdx_mapping *extent);
int vhdx_mapped_find(const struct vhdx_mapped *mapped, u64 offset, u64 wanted,
		     struct vhdx_mapping *extent);
int vhdx_mapped_in_layer(void *context, u32 layer, u64 offset, u64 *to);

#endif
