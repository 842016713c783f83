// SPDX-License-Identifier: GPL-2.0-only
/*
 * Power loss at every step, failures, full media, copies of other times: whatever is
 * found afterwards, no answer misses a change.
 */
#include "ktap.h"
#include "alloc.h"
#include "random.h"
#include "world.h"

#define LIMIT	(512 * 1024)

static struct world world;

static bool fine(const char *when, u64 step, u64 round)
{
	if (!world.wrong)
		return true;
	FAIL("%s: %s, step %llu, round %llu", world.wrong, when, (unsigned long long)step,
	     (unsigned long long)round);
	return false;
}

static void write_some(u32 count)
{
	while (count--)
		world_write(&world, random_below(WORLD_UNITS));
}

/*
 * Format, seals, a close, an activation, forgetting of every kind. Each line may be
 * cut short by the power; what follows it then does nothing.
 */
static void story(void)
{
	if (world_enable(&world))
		return;
	write_some(3);
	world_seal(&world);
	write_some(3);
	world_write_leaf(&world, 1);
	world_checkpoint(&world);
	world_seal(&world);
	write_some(3);
	world_checkpoint(&world);
	write_some(3);
	world_detach(&world);
	if (fake_store_is_off(&world.fake))
		return;

	/* Attach reads only, but starts counting steps anew: go on with the old count. */
	{
		u64 steps = world.fake.steps, power = world.fake.power_step;

		if (world_attach(&world))
			return;
		world.fake.steps = steps;
		world.fake.power_step = power;
	}
	world_walk(&world);
	world_forget(&world, 2);
	write_some(3);
	world_forget(&world, 1);
	world_walk(&world);
	world_seal(&world);
	write_some(3);
	world_seal(&world);
	world_write_leaf(&world, 2);
	world_seal(&world);
	world_forget(&world, 2);
	write_some(2);
	world_forget(&world, 3);
	world_checkpoint(&world);
	world_forget(&world, 0);
	world_detach(&world);
}

/* After the power came back. False if something was wrong. */
static bool look(const char *when, u64 step, u64 round)
{
	int err = world_attach(&world);

	/* Only while it was being made may there be no sidecar. */
	if (err) {
		EXPECT(!world.formatted && !world.point_count);
		EXPECT(err == -EUCLEAN || err == -ENODATA);
		return true;
	}
	if (!world.mixed &&
	    !EXPECT(world_is_expected(&world, world.sidecar.timeline.live.gap_reason)))
		printf("# %s, step %llu, round %llu: %s\n", when, (unsigned long long)step,
		       (unsigned long long)round, world.diag.text);
	EXPECT_EQ(vhdx_sidecar_verify(&world.sidecar, &world.diag), 0);
	world_check(&world, &world.sidecar, &world.live, &world.cached, true);
	return fine(when, step, round);
}

/* One life: the power goes at @step, comes back, the disk is used again. */
static bool live_through(u64 size, bool name_both, u64 step, u64 round, bool *cut)
{
	bool good;

	world_init(&world, size, LIMIT);
	world.name_both = name_both;
	world.fake.power_step = step;
	story();
	*cut |= fake_store_is_off(&world.fake);
	world_reboot(&world);
	good = look("power loss", step, round);
	if (good && world.attached) {
		world_write(&world, 5);
		world_seal(&world);
		world_write(&world, 6);
		world_forget(&world, random_below(8));
		world_detach(&world);
		good = look("the session after it", step, round);
	}
	world_release(&world);
	return good;
}

/* Steps differ a little from life to life, so go on until nobody gets that far. */
static void power_loss_everywhere(u64 size, bool name_both)
{
	u64 step = 0, round, answers = 0, gaps = 0;
	bool cut = true;

	while (cut) {
		cut = false;
		step++;
		for (round = 0; round < 8; round += ktap_share()) {
			if (!live_through(size, name_both, step, round, &cut))
				return;
			answers += world.answers;
			gaps += world.gaps;
		}
	}
	EXPECT(step > 100 && answers && gaps);
	printf("# %llu steps, %llu answers, %llu refused\n", (unsigned long long)step,
	       (unsigned long long)answers, (unsigned long long)gaps);
}

CASE(power_loss_at_every_step_in_a_file)
{
	random_seed(1);
	power_loss_everywhere(0, false);
}

CASE(power_loss_at_every_step_on_a_device)
{
	random_seed(2);
	power_loss_everywhere(LIMIT, false);
}

CASE(power_loss_at_every_step_while_headers_name_both_guids)
{
	random_seed(3);
	power_loss_everywhere(0, true);
}

CASE(an_error_at_every_step)
{
	static const int errors[] = { -EIO, -ENOSPC };
	u64 step, steps;
	u32 i;

	random_seed(4);
	world_init(&world, 0, LIMIT);
	story();
	steps = world.fake.steps;
	world_release(&world);
	for (i = 0; i < ARRAY_SIZE(errors); i++)
		for (step = 1; step <= steps; step++) {
			world_init(&world, 0, LIMIT);
			world.fake.fail_step = step;
			world.fake.fail_error = errors[i];
			story();
			if (world.attached)
				world_detach(&world);
			if (world.formatted && !look("an error", step, i)) {
				world_release(&world);
				return;
			}
			world_release(&world);
		}
}

/* ---- everything at once, at random ---- */

#define COPIES	5

/* A sidecar and a container as they were at one time, or at two. */
struct copy {
	struct fake_store fake;
	struct world_container container;
	struct world_witness witness[WORLD_WITNESSES];
	bool taken;
};

static struct copy copies[COPIES];

static void take_copy(void)
{
	struct copy *copy = &copies[random_below(COPIES)];

	if (copy->taken)
		fake_store_release(&copy->fake);
	copy->taken = true;
	fake_store_copy(&world.fake, &copy->fake);
	copy->container = world.cached;
	memcpy(copy->witness, world.witness, sizeof(world.witness));
}

static void drop_copies(void)
{
	u32 i;

	for (i = 0; i < COPIES; i++)
		if (copies[i].taken)
			fake_store_release(&copies[i].fake);
	memset(copies, 0, sizeof(copies));
}

/* Each sidecar with each container, those of now among them. */
static void check_copies(u64 round)
{
	u32 i, j;

	alloc_fail(0, 0);
	for (i = 0; i < COPIES; i++) {
		if (!copies[i].taken)
			continue;
		EXPECT_EQ(world_check_copy(&world, &copies[i].fake, copies[i].witness,
					   &world.cached), 0);
		EXPECT_EQ(world_check_copy(&world, &world.fake, world.witness,
					   &copies[i].container), 0);
		for (j = 0; j < COPIES; j++)
			if (copies[j].taken)
				EXPECT_EQ(world_check_copy(&world, &copies[i].fake,
							   copies[i].witness,
							   &copies[j].container), 0);
		fine("copies of other times", i, round);
	}
}

/* An administrator puts one of them, or both, back. */
static void restore(void)
{
	const struct copy *sidecar = &copies[random_below(COPIES)];
	const struct copy *container = random_below(2) ? sidecar : &copies[random_below(COPIES)];
	u32 i;

	alloc_fail(0, 0);
	world_detach(&world);
	if (fake_store_is_off(&world.fake))
		return;
	world.mixed = true;
	if (sidecar->taken && random_below(4) &&
	    world_has_seen(sidecar->witness, &world.cached)) {
		fake_store_release(&world.fake);
		fake_store_copy(&sidecar->fake, &world.fake);
		memcpy(world.witness, sidecar->witness, sizeof(world.witness));
	}
	if (container->taken && random_below(4) &&
	    world_has_seen(world.witness, &container->container)) {
		world.cached = container->container;
		world.durable = container->container;
	}
	for (i = 0; i < world.point_count; i++)
		world.points[i].gone = true;
	EXPECT_EQ(world_attach(&world), 0);
}

static void one_thing(u64 round)
{
	switch (random_below(18)) {
	case 0:
		alloc_fail(1 + random_below(12), 1);
		break;
	case 1:
		world.fake.fail_step = world.fake.steps + 1 + random_below(20);
		world.fake.fail_error = random_below(2) ? -EIO : -ENOSPC;
		break;
	case 2:
		world.fake.power_step = world.fake.steps + 1 + random_below(20);
		break;
	case 3:
		take_copy();
		break;
	case 4:
		check_copies(round);
		break;
	case 5:
		if (!random_below(3))
			restore();
		break;
	case 6:
		world_forget(&world, random_below(8));
		break;
	case 7:
		world_flush(&world);
		break;
	case 8:
		world_detach(&world);
		break;
	case 9:
	case 10:
		world_seal(&world);
		break;
	case 11:
		world_write_leaf(&world, random_below(4));
		break;
	case 12:
		world_walk(&world);
		break;
	case 13:
		world_checkpoint(&world);
		break;
	default:
		write_some(2);
		break;
	}
}

static void anything(u64 size, u64 limit, u32 lives)
{
	u64 round, answers = 0, gaps = 0;
	u32 i;

	for (round = 0; round < lives; round += ktap_share()) {
		world_init(&world, size, limit);
		EXPECT_EQ(world_enable(&world), 0);
		for (i = 0; i < 120; i++) {
			one_thing(round);
			if (fake_store_is_off(&world.fake))
				world_reboot(&world);
			if (world.attached)
				continue;
			alloc_fail(0, 0);
			world.fake.power_step = 0;
			if (!look("anything", i, round))
				break;
		}
		alloc_fail(0, 0);
		fine("anything", i, round);
		answers += world.answers;
		gaps += world.gaps;
		drop_copies();
		world_release(&world);
		if (ktap.failed)
			return;
	}
	printf("# %llu answers, %llu refused\n", (unsigned long long)answers,
	       (unsigned long long)gaps);
}

CASE(anything_may_happen_to_a_file)
{
	random_seed(5);
	anything(0, LIMIT, 60);
}

CASE(anything_may_happen_to_a_small_device)
{
	random_seed(6);
	anything(34 * 4096, 34 * 4096, 60);
}

CASE(anything_may_happen_to_a_file_on_a_full_medium)
{
	random_seed(7);
	anything(0, 34 * 4096, 60);
}

SUITE("sidecar_crash")
