// SPDX-License-Identifier: GPL-2.0-only
/*
 * Power loss at every step, failures, full media, copies of other times: whatever is
 * found afterwards, no answer misses a change.
 */
#include "ktap.h"
#include "random.h"
#include "world.h"

#define MIB	(1024ULL * 1024)
#define LIMIT	(2 * MIB)

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
	world_seal(&world);
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
	world_forget(&world, 2);
	write_some(3);
	world_forget(&world, 1);
	world_seal(&world);
	write_some(3);
	world_seal(&world);
	world_write_leaf(&world, 2);
	world_seal(&world);
	world_forget(&world, 2);
	write_some(2);
	world_forget(&world, 3);
	world_forget(&world, 0);
	world_detach(&world);
}

/* After the power came back. False if something was wrong. */
static bool look(const char *when, u64 step, u64 round)
{
	int err = world_attach(&world);
	u32 gap;

	/* Only while it was being made may there be no sidecar. */
	if (err) {
		EXPECT(!world.formatted && !world.point_count);
		EXPECT(err == -EUCLEAN || err == -ENODATA);
		return true;
	}
	gap = world.sidecar.timeline.live.gap_reason;
	if (!EXPECT_EQ(gap, world_expected_gap(&world)))
		printf("# %s, step %llu, round %llu: %s\n", when, (unsigned long long)step,
		       (unsigned long long)round, world.diag.text);
	EXPECT_EQ(vhdx_sidecar_verify(&world.sidecar, &world.diag), 0);
	world_check(&world, &world.sidecar, &world.live, &world.cached, true);
	return fine(when, step, round);
}

static void power_loss_everywhere(u64 size, bool stay_activating)
{
	u64 step, round, steps;
	u64 answers = 0, gaps = 0;

	world_init(&world, size, LIMIT);
	world.stay_activating = stay_activating;
	story();
	steps = world.fake.steps;
	EXPECT(!world.attached && world.formatted);
	world_release(&world);

	for (step = 1; step <= steps + 1; step++)
		for (round = 0; round < 12; round++) {
			world_init(&world, size, LIMIT);
			world.stay_activating = stay_activating;
			world.fake.power_step = step;
			story();
			EXPECT_EQ(fake_store_is_off(&world.fake), step <= steps);
			world_reboot(&world);
			if (!look("power loss", step, round)) {
				world_release(&world);
				return;
			}
			/* And go on from there. */
			if (world.attached) {
				world_write(&world, 5);
				world_seal(&world);
				world_write(&world, 6);
				world_forget(&world, random_below(8));
				world_detach(&world);
				look("the session after it", step, round);
			}
			answers += world.answers;
			gaps += world.gaps;
			world_release(&world);
		}
	EXPECT(answers && gaps);
	printf("# %llu steps, %llu answers, %llu refused\n", (unsigned long long)steps,
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

CASE(power_loss_at_every_step_while_the_state_stays_activating)
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

SUITE("sidecar_crash")
