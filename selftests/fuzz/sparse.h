/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the fuzzers mutate: the pages of a file that are not zero, so that an image of
 * many MiB is an input of a few KiB.
 *
 *	u64 size of the file, then for each page: u64 offset, 4096 bytes
 */
#ifndef VHDX_FUZZ_SPARSE_H
#define VHDX_FUZZ_SPARSE_H

#include "core/platform.h"

#define SPARSE_SIZE	(64 * VHDX_MIB)		/* nothing behind it is kept */
#define SPARSE_PAGES	(SPARSE_SIZE / VHDX_PAGE)
#define SPARSE_RECORD	(8 + VHDX_PAGE)

/* Always, not only without NDEBUG. */
#define MUST(cond)	do { if (!(cond)) __builtin_trap(); } while (0)

/**
 * struct sparse - a file in memory
 * @pages:	its pages, or NULL for zeroes
 */
struct sparse {
	struct vhdx_store store;
	u8 *pages[SPARSE_PAGES];
};

void sparse_open(struct sparse *sparse, const u8 *input, size_t length);
void sparse_copy(struct sparse *copy, const struct sparse *original);
void sparse_close(struct sparse *sparse);
/* The input that sparse_open() makes the same file of; as much as fits. */
size_t sparse_pack(const struct sparse *sparse, u8 *input, size_t max);

u8 *sparse_page(const struct sparse *sparse, u64 offset);

/* The checksum of @length bytes, 4 KiB at a time; the u32 at @hole counts as zero. */
u32 sparse_crc(const struct sparse *sparse, u64 offset, u64 length, u32 hole);

int LLVMFuzzerTestOneInput(const u8 *input, size_t length);
size_t LLVMFuzzerMutate(u8 *data, size_t length, size_t max);
size_t LLVMFuzzerCustomMutator(u8 *input, size_t length, size_t max, unsigned int seed);

#endif
