// SPDX-License-Identifier: GPL-2.0-only
/* 7.3: what is done of the current vector is called its offset. */
#include <linux/bvec.h>

unsigned int probe(const struct bvec_iter *iter);
unsigned int probe(const struct bvec_iter *iter)
{
	return iter->bi_offset;
}
