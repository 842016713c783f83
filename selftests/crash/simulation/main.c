// SPDX-License-Identifier: GPL-2.0-only
#include <getopt.h>
#include <time.h>

#include "simulation.h"

#define LIMIT	(512 * 1024)
#define LIVES	4		/* of a round, at most, with a power loss after each */

struct simulation sim;

static bool switched_off[RULE_COUNT];

static const struct {
	const char *name, *text;
} rules[] = {
#define RULE_NAME(name, text)	{ #name, text },
	RULES(RULE_NAME)
};

bool rule(enum rule rule)
{
	return !switched_off[rule];
}

/* ---- the machine ---- */

static int (*flush)(struct vhdx_store *store);

static int file_flush(struct vhdx_store *store)
{
	u64 begun = bound_flush_begins();
	int err = flush(store);

	if (!err)
		bound_flush_ends(begun);
	return err;
}

static void let_others_run(struct fake_store *fake)
{
	(void)fake;
	step();
}

static void plug_in(void)
{
	flush = sim.file.store.flush;
	sim.file.store.flush = file_flush;
	sim.file.pause = let_others_run;
	sim.container.pause = let_others_run;
	view_init(&sim.view, &sim.container.store);
}

static void boot(void)
{
	struct fake_store container, file;
	struct fake_image image;
	u32 i;

	fake_image_init(&image, &sim.container, random_below(FAKE_ARRIVALS), random_next());
	fake_image_boot(&image, &container);
	fake_image_init(&image, &sim.file, random_below(FAKE_ARRIVALS), random_next());
	fake_image_boot(&image, &file);

	/* Nothing that they do from now on leaves the machine. */
	sim.cut = true;
	fake_store_cut(&sim.container);
	fake_store_cut(&sim.file);
	for (i = 0; i < ACTORS; i++)
		while (run_one(i))
			;
	if (sim.driver.sealing) {
		vhdx_changemap_release(sim.driver.sealing);
		vhdx_free(sim.driver.sealing);
	}
	bound_boots();
	sim.was_invalid |= sim.driver.invalid;
	release_driver();
	fake_store_release(&sim.container);
	fake_store_release(&sim.file);
	sim.container = container;
	sim.file = file;
	sim.cut = false;
	plug_in();
}

/* A file system that is full, one that fails, one that hangs. */
static void plan(void)
{
	sim.impatient = chance(30);
	/* Who is late has to wait for regions. */
	if (sim.impatient)
		sim.hot |= random_next() & ((1U << UNITS) - 1);
	if (chance(10))
		sim.file.limit = sim.file.length + random_below(20) * 4096;
	if (chance(5)) {
		sim.file.fail_step = 1 + random_below(200);
		sim.file.fail_error = -EIO;
	}
}

/* A small device or a file system without much room, a log that is soon full, a bad sector. */
static void plan_container(void)
{
	sim.calm = chance(40);
	sim.device = chance(40);
	sim.clears = chance(60);
	sim.ring = (6 + random_below(10)) * VHDX_PAGE;
	sim.pages_most = 1 + random_below(3);
	sim.journal_fails = !sim.calm && chance(20) ? 1 + random_below(60) : 0;
	container_format(sim.device, 3 + random_below(ROOM_BLOCKS - 3));
}

static void make(void)
{
	struct vhdx_sidecar sidecar = {
		.disk_id = disk_id, .disk_size = DISK_SIZE, .unit_shift = UNIT_SHIFT,
		.state = VHDX_SIDECAR_ON,
	};
	struct vhdx_diag diag;
	u32 hot;

	memset(&sim.driver, 0, sizeof(sim.driver));
	memset(&sim.agent, 0, sizeof(sim.agent));
	sim.driver.tree_owner = NOBODY;
	sim.driver.header_owner = NOBODY;
	sim.me = NOBODY;
	sim.cut = false;
	sim.was_invalid = false;
	sim.guids = 0;
	sim.log_guids = 0;
	memset(&sim.epochs, 0, sizeof(sim.epochs));
	plan_container();
	fake_store_init(&sim.file, 0, LIMIT);
	sidecar.current_guid = (vhdx_guid) { { 1, [8] = 1 } };
	if (vhdx_sidecar_format(&sidecar, &sim.file.store, true, &diag))
		wrong("a sidecar can't be made", 0, 0, 0);
	vhdx_sidecar_release(&sidecar);
	fake_store_reopen(&sim.file);
	plug_in();
	for (sim.hot = 0, hot = 1 + random_below(5); hot; hot--)
		sim.hot |= 1U << random_below(UNITS);
	if (chance(70))
		sim.hot |= sim.hot << 1 & ((1U << UNITS) - 1);
	/* Both halves of a block. */
	if (chance(40))
		sim.hot |= chance(50) ? 3U : 3U << 7;
	plan();
}

/* ---- a round ---- */

struct budget {
	u32 writes, unmaps, reads, flushes, seals, checkpoints, forgets, walks;
	bool close;
};

static bool spend(u32 *budget, u32 percent)
{
	if (!*budget || !chance(percent) || count_actors() > 8)
		return false;
	--*budget;
	return true;
}

static void begin_something(struct budget *budget)
{
	if (sim.driver.closing)
		return;
	if (spend(&budget->writes, 14))
		start(run_write);
	else if (spend(&budget->unmaps, 8))
		start(run_unmap);
	else if (spend(&budget->flushes, 6))
		start(run_flush);
	else if (spend(&budget->reads, 6))
		start(run_read);
	else if (spend(&budget->seals, 8))
		start(run_seal);
	else if (spend(&budget->checkpoints, 12))
		start(run_checkpoint);
	else if (spend(&budget->forgets, 3))
		start(run_forget);
	else if (spend(&budget->walks, 3))
		start(run_walk);
	else if (budget->close && chance(budget->writes ? 1 : 15))
		start(run_close);
}

/* One that does not run for a while: much happens between two of its steps. */
struct sleeper {
	u32 actor;
	u32 steps;
};

/* The workers are the first ones; they have nothing to do, mostly. */
static bool is_idle(u32 actor)
{
	switch (actor) {
	case 0:
		return !has_wants() && !has_clears();
	case 1:
		return !journal_has_work();
	case 2:
		return !freed_has_logged();
	}
	return false;
}

static bool find(u32 *actor, bool (*is_it)(const struct actor *actor))
{
	u32 first = random_below(ACTORS), i;

	for (i = 0; i < ACTORS; i++) {
		*actor = (first + i) % ACTORS;
		if (is_it(&sim.actors[*actor]))
			return true;
	}
	return false;
}

static bool is_reading(const struct actor *actor)
{
	return actor->reading;
}

static bool is_in_flight(const struct actor *actor)
{
	return actor->write.length;
}

static u32 choose_actor(struct sleeper *sleeper)
{
	u32 actor, found, tries = 4 * ACTORS;

	if (!sleeper->steps && chance(2)) {
		sleeper->actor = random_below(ACTORS);
		if (chance(50) && find(&found, chance(50) ? is_in_flight : is_reading))
			sleeper->actor = found;
		sleeper->steps = 20 + random_below(chance(30) ? 1000 : 200);
	}
	sleeper->steps -= !!sleeper->steps;
	do
		actor = random_below(ACTORS);
	while (--tries && (!sim.actors[actor].coroutine || (is_idle(actor) && chance(90)) ||
			   (sleeper->steps && actor == sleeper->actor)));
	return actor;
}

static void live(void)
{
	struct budget budget = {
		.writes = 3 + random_below(24), .unmaps = random_below(sim.calm ? 2 : 10),
		.reads = random_below(sim.calm ? 1 : 6),
		.flushes = random_below(sim.calm ? 2 : 8), .seals = random_below(6),
		.checkpoints = 1 + random_below(chance(40) ? 16 : 6),
		.forgets = random_below(3), .walks = random_below(3), .close = chance(50),
	};
	struct sleeper sleeper = { };
	u32 steps = 20 + random_below(chance(40) ? 300 : 3000), alone = 0;

	sim.counters.lives++;
	start(run_committer);
	start(run_journal);
	start(run_give_back);
	/* Something is unmapped, and that is applied, before anything is allocated. */
	if (!sim.calm && chance(25)) {
		start(run_unmap);
		alone = 400;
	}
	while (steps-- && !sim.driver.closed && !sim.wrong[0]) {
		if (alone)
			alone--;
		else
			begin_something(&budget);
		run_one(choose_actor(&sleeper));
		if (chance(8))
			check_crash_point();
		/* All that follows is a gap. */
		if (sim.driver.invalid && chance(1))
			break;
	}
}

/* What was found is what there is from now on; a log is replayed first. False: power has failed. */
static bool recover(void)
{
	struct found found;

	container_read(&sim.container.store, &found);
	if (sim.wrong[0])
		return true;
	history_boots(found.sectors);
	sim.driver.header = found.header;
	sim.driver.found_sequence = found.header.sequence;
	start(run_replay);
	while (count_actors() && !sim.wrong[0]) {
		run_one(0);
		if (chance(10))
			check_outcomes();
		if (chance(2))
			return false;
	}
	sim.container.store.size = sim.container.length;
	return true;
}

/* True: nothing was wrong. */
static bool run_round(u64 seed)
{
	u32 life;

	sim.wrong[0] = 0;
	random_seed(seed);
	make();
	for (life = 0; life < LIVES && !sim.wrong[0]; life++) {
		if (recover()) {
			if (sim.wrong[0] || attach())
				break;
			sim.was_invalid = false;
			live();
		}
		boot();
	}
	release_driver();
	check_reset();
	fake_store_release(&sim.container);
	fake_store_release(&sim.file);
	if (sim.wrong[0])
		printf("seed %llu, crash point %llu: %s\n", (unsigned long long)seed,
		       (unsigned long long)sim.counters.points, sim.wrong);
	return !sim.wrong[0];
}

/* ---- options ---- */

static void usage(FILE *out)
{
	u32 i;

	fprintf(out,
		"Usage: simulation [--seed N | --from N] [--seconds N] [--points N] [--without RULE]...\n"
		"\n"
		"Crashes of the sidecar's protocol. Round by round, each from a seed of its own:\n"
		"\n"
		"  --seed N        the round of this seed, no other\n"
		"  --from N        the first one's (default: 1)\n"
		"  --points N      end after so many crash points\n"
		"  --seconds N     end after so long\n"
		"  --without RULE  the driver does without; ends with what is caught:\n"
		"\n");
	for (i = 0; i < RULE_COUNT; i++)
		fprintf(out, "%18s  %s\n", rules[i].name, rules[i].text);
}

static int switch_off(const char *name)
{
	u32 i;

	for (i = 0; i < RULE_COUNT; i++)
		if (!strcmp(name, rules[i].name)) {
			switched_off[i] = true;
			return 0;
		}
	fprintf(stderr, "simulation: there is no rule '%s'\n", name);
	return -1;
}

struct limits {
	u64 seed, points;
	double seconds;
	bool once;
};

/* 0; -1: said what is wrong; 1: said what was asked for. */
static int parse(int argc, char **argv, struct limits *limits)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' }, { "from", required_argument, NULL, 'f' },
		{ "seconds", required_argument, NULL, 't' },
		{ "points", required_argument, NULL, 'p' },
		{ "without", required_argument, NULL, 'w' }, { "help", no_argument, NULL, 'h' },
		{ }
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0)
		switch (option) {
		case 's':
			limits->once = true;
			limits->seed = strtoull(optarg, NULL, 0);
			break;
		case 'f':
			limits->seed = strtoull(optarg, NULL, 0);
			break;
		case 't':
			limits->seconds = atof(optarg);
			break;
		case 'p':
			limits->points = strtoull(optarg, NULL, 0);
			break;
		case 'w':
			if (switch_off(optarg))
				return -1;
			break;
		case 'h':
			usage(stdout);
			return 1;
		default:
			usage(stderr);
			return -1;
		}
	return 0;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void tell(const struct limits *limits, u64 rounds, u64 violations, double seconds)
{
	const struct counters *c = &sim.counters;

	printf("%llu crash points, %llu violations\n", c->points, violations);
	printf("from seed %llu, %llu rounds in %.1f s: %llu outcomes, %llu answers, %llu gaps, %llu rotten, %llu put back, %llu of the same epoch\n",
	       limits->seed, rounds, seconds, c->outcomes, c->answers, c->gaps, c->rotten, c->old,
	       c->same_epoch);
	printf("%llu commits, %llu generations, %llu replays, %llu failures, %llu blocks made, %llu without any wait, %llu unmapped, %llu trims, %llu flushes, %llu reads\n",
	       c->commits, c->generations, c->replays, c->failures, c->made, c->made_now,
	       c->unmapped, c->trims,
	       c->flushes, c->reads);
	printf("%llu lives, %llu strict, %llu seals, %llu checkpoints, %llu clears, %llu waits, %llu invalidations, %llu without room\n",
	       c->lives, c->strict, c->seals, c->checkpoints, c->clears, c->waits, c->invalidations,
	       c->full);
}

int main(int argc, char **argv)
{
	struct limits limits = { .seed = 1, .points = ~0ULL, .seconds = 1e9 };
	u64 rounds = 0, violations = 0;
	double start = now();
	int err = parse(argc, argv, &limits);

	if (err)
		return err < 0 ? 2 : 0;
	do {
		violations += !run_round(limits.seed + rounds++);
	} while (!limits.once && !violations && sim.counters.points < limits.points &&
		 now() - start < limits.seconds);
	tell(&limits, rounds, violations, now() - start);
	return violations ? 1 : 0;
}
