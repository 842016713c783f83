/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tasks of one program that take turns where they say so: what each has done by then is what
 * another one, or the power, comes in between.
 */
#ifndef VHDX_SIMULATION_COROUTINE_H
#define VHDX_SIMULATION_COROUTINE_H

#include <stdbool.h>

struct coroutine;

/* Nothing of it runs before it is resumed. */
struct coroutine *coroutine_new(void (*run)(void *argument), void *argument);
/* Runs it up to its next coroutine_yield(). False: it has ended, and is gone. */
bool coroutine_resume(struct coroutine *coroutine);
/* From within one. */
void coroutine_yield(void);

#endif
