// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>
#include <ucontext.h>

#include "coroutine.h"

#define STACK	(256 * 1024)

struct coroutine {
	ucontext_t context;
	void (*run)(void *argument);
	void *argument;
	bool ended;
	struct coroutine *next;		/* of those that can be used again */
	char stack[STACK];
};

static ucontext_t scheduler;
static struct coroutine *running, *unused;

/* The address sanitizer has to know which stack is in use. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>

static const void *scheduler_stack;
static size_t scheduler_size;

static void leave_for(const void *stack, size_t size, void **fake)
{
	__sanitizer_start_switch_fiber(fake, stack, size);
}

static void arrived(void *fake, const void **from, size_t *size)
{
	__sanitizer_finish_switch_fiber(fake, from, size);
}
#else
static const void *scheduler_stack;
static size_t scheduler_size;

static void leave_for(const void *stack, size_t size, void **fake)
{
	(void)stack;
	(void)size;
	(void)fake;
}

static void arrived(void *fake, const void **from, size_t *size)
{
	(void)fake;
	(void)from;
	(void)size;
}
#endif

static void enter(void)
{
	struct coroutine *me = running;

	arrived(NULL, &scheduler_stack, &scheduler_size);
	me->run(me->argument);
	me->ended = true;
	leave_for(scheduler_stack, scheduler_size, NULL);
	setcontext(&scheduler);
}

/* On its own stack from here on. */
static void prepare(ucontext_t *context, char *stack)
{
	getcontext(context);
	context->uc_stack.ss_sp = stack;
	context->uc_stack.ss_size = STACK;
	context->uc_link = NULL;
	makecontext(context, enter, 0);
}

struct coroutine *coroutine_new(void (*run)(void *argument), void *argument)
{
	struct coroutine *new = unused ? unused : calloc(1, sizeof(*new));

	unused = new->next;
	new->run = run;
	new->argument = argument;
	new->ended = false;
	prepare(&new->context, new->stack);
	return new;
}

bool coroutine_resume(struct coroutine *coroutine)
{
	void *fake = NULL;

	running = coroutine;
	leave_for(coroutine->stack, STACK, &fake);
	swapcontext(&scheduler, &coroutine->context);
	arrived(fake, NULL, NULL);
	running = NULL;
	if (!coroutine->ended)
		return true;
	coroutine->next = unused;
	unused = coroutine;
	return false;
}

void coroutine_yield(void)
{
	struct coroutine *me = running;
	void *fake = NULL;

	leave_for(scheduler_stack, scheduler_size, &fake);
	swapcontext(&me->context, &scheduler);
	arrived(fake, &scheduler_stack, &scheduler_size);
}
