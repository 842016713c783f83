// SPDX-License-Identifier: GPL-2.0-only
/*
 * VHDX_ATTACH: the files are taken from the caller, and a thread does the rest.
 *
 * A container may hang, and I/O that was sent to it can't be taken back. So who attaches waits for
 * the thread, and can be killed (invariant 9). He leaves the thread to it: that is killed as well,
 * and ends as soon as its container answers, or as the file system lets it. Until then it keeps the
 * files with their locks, the index and the module. If there is a disk in the end, nobody knows of
 * it, and it is detached.
 *
 * File systems and security modules see the credentials of who attaches. His root and his mount
 * namespace the thread has not: what a file is called is asked before.
 */
#include "attach.h"
#include "core/diag.h"
#include "disk/chain.h"
#include "disk/registry.h"

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/cred.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/refcount.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <uapi/linux/vhdx.h>

enum phase { WAITED_FOR, LEFT, ENDED };

/**
 * struct attaching - one attach
 * @phase:	enum phase: who comes second, the thread at its end or the caller who was killed,
 *		sees to it that no disk stays
 * @done:	it has ended, and its files are let go of
 * @refs:	of the caller, and of the thread
 * @cred:	of the caller
 * @args:	likewise; index and disk_seq are filled in
 * @err:	see vhdx_attach()
 * @diag:	likewise
 * @fail_nth:	which of its allocations is to fail (fault injection): of the caller's
 * @files:	of its layers, the leaf first
 */
struct attaching {
	atomic_t phase;
	struct completion done;
	refcount_t refs;
	const struct cred *cred;
	struct vhdx_attach args;
	int err;
	struct vhdx_diag diag;
	unsigned int fail_nth;
	struct vhdx_layer_files files[];
};

static void put(struct attaching *attaching)
{
	if (!refcount_dec_and_test(&attaching->refs))
		return;
	put_cred(attaching->cred);
	kvfree(attaching);
}

/* Where a task's allocations are to fail, those are meant that are made for its call. */
static unsigned int exchange_fail_nth(unsigned int fail_nth)
{
#ifdef CONFIG_FAULT_INJECTION
	swap(current->fail_nth, fail_nth);
#endif
	return fail_nth;
}

static void end_up_without(const struct attaching *attaching)
{
	if (!attaching->err)
		vhdx_registry_disown(attaching->args.index, attaching->args.disk_seq);
}

static int attach_thread(void *context)
{
	struct attaching *attaching = context;
	const struct cred *own;

	allow_kernel_signal(SIGKILL);
	/* Who was killed before this had sent that signal in vain. */
	if (atomic_read(&attaching->phase) == LEFT)
		send_sig(SIGKILL, current, 1);
	own = override_creds(attaching->cred);
	exchange_fail_nth(attaching->fail_nth);
	attaching->err = vhdx_attach(&attaching->args, attaching->files, &attaching->diag);
	attaching->fail_nth = exchange_fail_nth(0);
	vhdx_chain_put_files(attaching->files, attaching->args.layer_count);
	revert_creds(own);
	if (atomic_xchg(&attaching->phase, ENDED) == LEFT)
		end_up_without(attaching);
	complete(&attaching->done);
	put(attaching);
	module_put_and_kthread_exit(0);
}

/* Returns 0: the thread has ended; -EINTR; or what no thread could be made for. */
static int run_thread(struct attaching *attaching)
{
	struct task_struct *thread = kthread_create(attach_thread, attaching, "vhdx-attach");
	int err = 0;

	if (IS_ERR(thread)) {
		vhdx_chain_put_files(attaching->files, attaching->args.layer_count);
		return PTR_ERR(thread);
	}
	refcount_inc(&attaching->refs);
	__module_get(THIS_MODULE);
	get_task_struct(thread);
	attaching->fail_nth = exchange_fail_nth(0);
	wake_up_process(thread);
	if (wait_for_completion_killable(&attaching->done)) {
		if (atomic_xchg(&attaching->phase, LEFT) == ENDED)
			end_up_without(attaching);
		send_sig(SIGKILL, thread, 1);
		err = -EINTR;
	} else {
		exchange_fail_nth(attaching->fail_nth);
	}
	put_task_struct(thread);
	return err;
}

/**
 * vhdx_attach_killably() - VHDX_ATTACH
 * @args:	flags and index, checked; index and disk_seq are filled in
 * @layers:	as many as @args says, the leaf first, checked
 * @diag:	what is wrong; on success why tracking is not what one would expect
 *
 * Returns 0 or -errno, see the uapi header. After -EINTR the attach may go on for a while, and
 * nothing of it stays.
 */
int vhdx_attach_killably(struct vhdx_attach *args, const struct vhdx_layer *layers,
			 struct vhdx_diag *diag)
{
	struct attaching *attaching = kvzalloc(struct_size(attaching, files, args->layer_count),
					       GFP_KERNEL);
	int err;

	if (!attaching)
		return vhdx_no_memory(diag);
	refcount_set(&attaching->refs, 1);
	init_completion(&attaching->done);
	attaching->cred = get_current_cred();
	attaching->args = *args;
	err = vhdx_chain_get_files(attaching->files, layers, args, diag);
	if (err) {
		vhdx_chain_put_files(attaching->files, args->layer_count);
		goto out;
	}
	err = run_thread(attaching);
	if (err && err != -EINTR)
		err = vhdx_no_memory(diag);
	if (err)
		goto out;
	err = attaching->err;
	args->index = attaching->args.index;
	args->disk_seq = attaching->args.disk_seq;
	*diag = attaching->diag;
out:
	put(attaching);
	return err;
}
