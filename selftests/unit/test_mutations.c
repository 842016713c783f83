// SPDX-License-Identifier: GPL-2.0-only
/*
 * The oracle's mutations, which the driver meets in selftests/vhdx (hostile_*): here they
 * are judged by the same code under sanitizers, and for other machines.
 */
#include "judge.h"
#include "../fuzz/sparse.h"
#include "core/vhdx/overlay.h"
#include "core/vhdx/space.h"

/* What the driver must make of an image. */
struct wanted {
	char name[64];
	char outcomes[64];	/* names of errors, and "ok", with commas */
	char words[128];	/* one of them is in the message of an error */
	int refuses_blocks;
	size_t length;		/* of the packed image */
};

static struct sparse container;

/* The next image becomes @container; false behind the last one. */
static bool next(FILE *pipe, struct wanted *wanted)
{
	u8 *packed;
	char *c;

	if (fscanf(pipe, "%63s %63s %127s %d %zu", wanted->name, wanted->outcomes, wanted->words,
		   &wanted->refuses_blocks, &wanted->length) != 5)
		return false;
	assert(fgetc(pipe) == '\n');
	for (c = wanted->words; *c; c++)
		if (*c == '_')
			*c = ' ';
	packed = malloc(wanted->length);
	assert(fread(packed, 1, wanted->length, pipe) == wanted->length);
	sparse_open(&container, packed, wanted->length);
	free(packed);
	return true;
}

static bool is_listed(const char *list, const char *what)
{
	size_t length = strlen(what);
	const char *at = list;

	while ((at = strstr(at, what))) {
		if ((at == list || at[-1] == ',') && (!at[length] || at[length] == ','))
			return true;
		at += length;
	}
	return false;
}

static bool has_one_of(const char *text, const char *words)
{
	char copy[128];
	char *rest = copy;
	char *word;

	snprintf(copy, sizeof(copy), "%s", words);
	while ((word = strsep(&rest, ",")))
		if (strcasestr(text, word))
			return true;
	return false;
}

static const char *name_of(int err)
{
	switch (err) {
	case 0:
		return "ok";
	case -EUCLEAN:
		return "EUCLEAN";
	case -EMEDIUMTYPE:
		return "EMEDIUMTYPE";
	case -EOPNOTSUPP:
		return "EOPNOTSUPP";
	}
	return "another error";
}

/* Can a block be allocated? By the scan, as before the first one. */
static int scan(struct vhdx_store *store)
{
	struct vhdx_space space;
	u8 page[VHDX_PAGE];
	u64 index;
	int err;

	if (!image.header.log_length)
		return -EOPNOTSUPP;
	err = vhdx_space_init(&space, &image, store->size, &diag);
	for (index = 0; !err && index < image.geo.bat_entry_count; index += 512) {
		EXPECT_EQ(store->read(store, vhdx_bat_entry_offset(&image.geo, index), page,
				      VHDX_PAGE), 0);
		err = vhdx_space_add_page(&space, &image, index, page, store->size, &diag);
	}
	vhdx_space_release(&space);
	return err;
}

/* Attached for reading: a dirty log is replayed in memory. */
static int attach(struct vhdx_overlay *overlay, struct vhdx_store **store)
{
	int err;

	memset(&diag, 0, sizeof(diag));
	*store = &container.store;
	err = vhdx_image_open(&image, *store, &diag);
	if (!err && image.log.dirty) {
		err = vhdx_overlay_init(overlay, *store, &image, &diag);
		*store = &overlay->store;
	}
	return err ? err : vhdx_image_load(&image, *store, &diag);
}

static void judge_one(const struct wanted *wanted)
{
	struct vhdx_overlay overlay = { };
	struct vhdx_store *store;
	int err = attach(&overlay, &store);

	/* Whoever attaches refuses children, before their locators are read. */
	if (!err && image.geo.has_parent)
		goto out;
	if (!is_listed(wanted->outcomes, name_of(err)))
		FAIL("%s: %s, not %s: %s", wanted->name, name_of(err), wanted->outcomes, diag.text);
	else if (err && !has_one_of(diag.text, wanted->words))
		FAIL("%s: no \"%s\" in \"%s\"", wanted->name, wanted->words, diag.text);
	else if (!err && wanted->refuses_blocks && !scan(store))
		FAIL("%s: new blocks are not refused", wanted->name);
out:
	vhdx_overlay_release(&overlay);
	vhdx_image_release(&image);
}

CASE(judged_as_the_oracle_says)
{
	FILE *pipe = popen("python3 " TOP "/selftests/unit/mutated", "r");
	struct wanted wanted;
	unsigned int count;

	assert(pipe);
	for (count = 0; next(pipe, &wanted); count++) {
		judge_one(&wanted);
		sparse_close(&container);
	}
	EXPECT_EQ(pclose(pipe), 0);
	EXPECT(count > 200);
	printf("# %u images\n", count);
}

SUITE("mutations")
