// SPDX-License-Identifier: GPL-2.0-only
/* 6.18: a bio is cut where its driver says, and the rest comes before what follows. */
#include <linux/bio.h>

struct bio *probe(struct bio *bio, struct bio_set *set);
struct bio *probe(struct bio *bio, struct bio_set *set)
{
	return bio_submit_split_bioset(bio, 1, set);
}
