/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A test harness in one header: one program is one suite, one CASE() is one line
 * of KTAP version 1.
 *
 *	CASE(rejects_empty_text)
 *	{
 *		EXPECT_EQ(parse(""), -EINVAL);
 *	}
 *	SUITE("guid")
 *
 * EXPECT*() note a failure and go on; ASSERT*() leave the function as well, so they
 * belong into functions that return void. Sanitizer findings end the program, which
 * the plan line at the top then gives away.
 */
#ifndef VHDX_UNIT_KTAP_H
#define VHDX_UNIT_KTAP_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ktap_case {
	const char *name;
	void (*run)(void);
	struct ktap_case *next;
};

struct ktap_state {
	struct ktap_case *first;
	struct ktap_case **tail;
	unsigned int count;
	bool failed;		/* the case that runs */
	const char *skipped;	/* why, or NULL */
};

static struct ktap_state ktap;

static inline void ktap_register(struct ktap_case *entry)
{
	if (!ktap.tail)
		ktap.tail = &ktap.first;
	*ktap.tail = entry;
	ktap.tail = &entry->next;
	ktap.count++;
}

#define CASE(case_name)							\
	static void case_name(void);					\
	static struct ktap_case ktap_case_##case_name = {		\
		.name = #case_name, .run = case_name,			\
	};								\
	__attribute__((constructor))					\
	static void ktap_register_##case_name(void)			\
	{								\
		ktap_register(&ktap_case_##case_name);			\
	}								\
	static void case_name(void)

#define FAIL(...) do {							\
	ktap.failed = true;						\
	printf("# %s:%d: ", __FILE__, __LINE__);			\
	printf(__VA_ARGS__);						\
	putchar('\n');							\
} while (0)

#define SKIP(why) do { ktap.skipped = (why); return; } while (0)

/* The value of @cond, so that a caller can tell more about the failure. */
#define EXPECT(cond) __extension__ ({					\
	bool ktap_ok = (cond);						\
	if (!ktap_ok)							\
		FAIL("expected %s", #cond);				\
	ktap_ok; })

#define EXPECT_EQ(is, should) __extension__ ({				\
	long long ktap_is = (long long)(is);				\
	long long ktap_should = (long long)(should);			\
	bool ktap_ok = ktap_is == ktap_should;				\
	if (!ktap_ok)							\
		FAIL("%s is %lld (0x%llx), should be %s = %lld (0x%llx)",\
		     #is, ktap_is, ktap_is, #should, ktap_should, ktap_should);\
	ktap_ok; })

#define EXPECT_STREQ(is, should) __extension__ ({			\
	const char *ktap_is = (is), *ktap_should = (should);		\
	bool ktap_ok = !strcmp(ktap_is, ktap_should);			\
	if (!ktap_ok)							\
		FAIL("%s is \"%s\", should be \"%s\"", #is, ktap_is, ktap_should);\
	ktap_ok; })

/* Messages are part of the contract: does @text hold @part? */
#define EXPECT_HAS(text, part) __extension__ ({				\
	const char *ktap_text = (text), *ktap_part = (part);		\
	bool ktap_ok = strstr(ktap_text, ktap_part);			\
	if (!ktap_ok)							\
		FAIL("\"%s\" should hold \"%s\"", ktap_text, ktap_part);\
	ktap_ok; })

#define ASSERT(cond)		do { if (!EXPECT(cond)) return; } while (0)
#define ASSERT_EQ(is, should)	do { if (!EXPECT_EQ(is, should)) return; } while (0)

/*
 * Of what is done thousands of times: one of so many, 1 for all of it. VHDX_SHARE says so where
 * another compiler or machine has the same cases; it is a power of two.
 */
static inline unsigned int ktap_share(void)
{
	const char *share = getenv("VHDX_SHARE");

	return share && atoi(share) > 1 ? atoi(share) : 1;
}

/* Runs every case, or those whose names hold one of the arguments. */
static inline int ktap_main(const char *suite, int argc, char **argv)
{
	struct ktap_case *entry;
	unsigned int number = 0;
	unsigned int failures = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("KTAP version 1\n1..%u\n", ktap.count);
	for (entry = ktap.first; entry; entry = entry->next) {
		bool wanted = argc < 2;
		int i;

		for (i = 1; i < argc; i++)
			wanted |= !!strstr(entry->name, argv[i]);
		ktap.failed = false;
		ktap.skipped = wanted ? NULL : "not asked for";
		if (wanted)
			entry->run();
		failures += ktap.failed;
		printf("%sok %u %s.%s", ktap.failed ? "not " : "", ++number, suite, entry->name);
		if (ktap.skipped && !ktap.failed)
			printf(" # SKIP %s", ktap.skipped);
		putchar('\n');
	}
	return failures != 0;
}

#define SUITE(name)							\
	int main(int argc, char **argv)					\
	{								\
		return ktap_main(name, argc, argv);			\
	}

#endif
