/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Ranges as the messages that a SnapshotMetadata service of Kubernetes sends (CSI's
 * GetMetadataAllocated and GetMetadataDelta), one a line of JSON; failures as the status that ends
 * its stream.
 */
#ifndef VHDXCTL_CSI_H
#define VHDXCTL_CSI_H

#include "ranges.h"

/* At least one message. @capacity: of the volume. Returns an exit code. */
int csi_print(const struct ranges *ranges, uint64_t capacity);
/* @err: of the library. @beyond: what was asked about is not all on the disk. Likewise. */
int csi_report(int err, bool beyond);

#endif
