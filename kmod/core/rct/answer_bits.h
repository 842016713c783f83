/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * What the two kinds of answers in bits need of each other.
 */
#ifndef VHDX_CORE_ANSWER_BITS_H
#define VHDX_CORE_ANSWER_BITS_H

#include "answer.h"

/* The next bits begin at @begin, and end before @limit, which is behind it; or before. */
void vhdx_folded_begin(struct vhdx_answer *answer, u64 limit);
/* Their sum goes to @changed, and they are as in files then. How many words; see answer.h. */
u32 vhdx_folded_finish(struct vhdx_answer *answer);

#endif
