// SPDX-License-Identifier: GPL-2.0-only
/*
 * A defect of each kind that the debug kernel is there to find, made on purpose:
 *
 *	insmod vhdx_defects.ko make=use_after_free
 */
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

static char *make = "";
module_param(make, charp, 0);
MODULE_PARM_DESC(make, "the defect to make");

static DEFINE_MUTEX(first_lock);
static DEFINE_MUTEX(second_lock);
static DEFINE_SPINLOCK(spin);

/* The compiler must not see what is wrong. */
static u8 *buffer_of(size_t size)
{
	u8 *buffer = kzalloc(size, GFP_KERNEL);

	OPTIMIZER_HIDE_VAR(buffer);
	return buffer;
}

static void use_after_free(void)
{
	u8 *buffer = buffer_of(64);
	u8 *again = buffer;

	OPTIMIZER_HIDE_VAR(again);
	kfree(buffer);
	WRITE_ONCE(again[1], 1);
}

static void out_of_bounds(void)
{
	u8 *buffer = buffer_of(60);

	WRITE_ONCE(buffer[60], 1);
	kfree(buffer);
}

static void leak(void)
{
	u8 *buffer = buffer_of(64);

	WRITE_ONCE(buffer[0], 1);
}

static void lock_inversion(void)
{
	mutex_lock(&first_lock);
	mutex_lock(&second_lock);
	mutex_unlock(&second_lock);
	mutex_unlock(&first_lock);

	mutex_lock(&second_lock);
	mutex_lock(&first_lock);
	mutex_unlock(&first_lock);
	mutex_unlock(&second_lock);
}

static void sleep_in_atomic(void)
{
	spin_lock(&spin);
	kfree(buffer_of(64));
	spin_unlock(&spin);
}

static void shift_too_far(void)
{
	int bits = 40;

	OPTIMIZER_HIDE_VAR(bits);
	pr_info("1 << 40 is %d\n", 1 << bits);
}

static const struct {
	const char *name;
	void (*make)(void);
} defects[] = {
	{ "use_after_free", use_after_free },
	{ "out_of_bounds", out_of_bounds },
	{ "leak", leak },
	{ "lock_inversion", lock_inversion },
	{ "sleep_in_atomic", sleep_in_atomic },
	{ "shift_too_far", shift_too_far },
};

static int __init vhdx_defects_init(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(defects); i++) {
		if (strcmp(defects[i].name, make))
			continue;
		defects[i].make();
		return 0;
	}
	return -EINVAL;
}
module_init(vhdx_defects_init);

static void __exit vhdx_defects_exit(void)
{
}
module_exit(vhdx_defects_exit);

MODULE_DESCRIPTION("Defects for the debug kernel to find");
MODULE_LICENSE("GPL");
