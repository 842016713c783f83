// SPDX-License-Identifier: GPL-2.0-only
/*
 * The oracle's mutations, which the driver meets in selftests/vhdx (hostile_*): here they
 * are judged by the same code under sanitizers, and for other machines.
 */
#include "judge.h"
#include "../fuzz/sparse.h"
#include "core/vhdx/locator.h"
#include "core/offline/check.h"
#include "core/vhdx/overlay.h"
#include "core/vhdx/space.h"

/* What the driver must make of an image. */
struct wanted {
	char name[64];
	char outcomes[64];	/* names of errors, and "ok", with commas */
	char words[128];	/* one of them is in the message of an error */
	int refuses_blocks;
	size_t length;		/* of the packed image */
	size_t parent_length;	/* of its parent's; 0: it has none */
};

static struct sparse container;
static struct sparse parent_container;

static void unpack(FILE *pipe, size_t length, struct sparse *sparse)
{
	u8 *packed = malloc(length);

	assert(!length || fread(packed, 1, length, pipe) == length);
	sparse_open(sparse, packed, length);
	free(packed);
}

/* The next image becomes @container, its parent @parent_container; false behind the last one. */
static bool next(FILE *pipe, struct wanted *wanted)
{
	char *c;

	if (fscanf(pipe, "%63s %63s %127s %d %zu %zu", wanted->name, wanted->outcomes,
		   wanted->words, &wanted->refuses_blocks, &wanted->length,
		   &wanted->parent_length) != 6)
		return false;
	assert(fgetc(pipe) == '\n');
	for (c = wanted->words; *c; c++)
		if (*c == '_')
			*c = ' ';
	unpack(pipe, wanted->length, &container);
	unpack(pipe, wanted->parent_length, &parent_container);
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

static int check_parent(void)
{
	struct vhdx_store *store = &parent_container.store;
	struct vhdx_image parent;
	int err;

	err = vhdx_image_open(&parent, store, &diag);
	if (!err)
		err = vhdx_image_load(&parent, store, &diag);
	if (!err)
		err = vhdx_parent_check(&image, &parent, &diag);
	vhdx_image_release(&parent);
	return err;
}

/* What vhdxctl check has to say of an image. */
struct told {
	bool fatal;
	unsigned int errors;
	struct vhdx_diag first;		/* of what is fatal, or an error */
};

static int tell(void *context, enum vhdx_severity severity, const struct vhdx_diag *finding)
{
	struct told *told = context;

	EXPECT(finding->text[0] && strlen(finding->text) < VHDX_DIAG_TEXT - 1);
	if (severity < VHDX_SEVERITY_ERROR)
		return 0;
	if (!told->errors++)
		told->first = *finding;
	told->fatal |= severity == VHDX_SEVERITY_FATAL;
	return 0;
}

/* Refused offline as by an attach, and for the same reason; mended only if nothing is given up. */
static void compare_check(const struct wanted *wanted, int err, bool allocates)
{
	struct vhdx_diag none = { };
	struct vhdx_image planned;
	enum vhdx_repair repair;
	struct told told = { };
	bool closes = false;

	/* A log that is closed so is no obstacle for who reads. */
	if (vhdx_repair_plan(&container.store, &planned, &repair, &none))
		EXPECT(err);
	else
		closes = repair == VHDX_REPAIR_CLOSE;
	if (err && !none.text[0] && !closes)
		FAIL("%s: %s, and is to be mended (%u)", wanted->name, name_of(err), repair);
	else if (closes)
		printf("# %s would be closed\n", wanted->name);
	vhdx_image_release(&planned);

	memset(&none, 0, sizeof(none));
	if (!EXPECT_EQ(vhdx_check_store(&container.store, false, tell, &told, &none), 0))
		FAIL("%s: %s", wanted->name, none.text);
	if (told.fatal != (err && !closes))
		FAIL("%s: attach says %s, check tells %u errors: %s", wanted->name, name_of(err),
		     told.errors, told.first.text);
	else if (err && (told.first.reason != diag.reason || strcmp(told.first.text, diag.text)))
		FAIL("%s: \"%s\", and check says \"%s\"", wanted->name, diag.text, told.first.text);
	else if (!err && !allocates && !told.errors)
		FAIL("%s: nothing is allocated, and check finds no error", wanted->name);
}

static void judge_one(const struct wanted *wanted)
{
	struct vhdx_overlay overlay = { };
	struct vhdx_store *store;
	int err = attach(&overlay, &store);

	compare_check(wanted, err, err || !image.header.log_length || !scan(store));
	if (!err && image.geo.has_parent)
		err = check_parent();
	if (!is_listed(wanted->outcomes, name_of(err)))
		FAIL("%s: %s, not %s: %s", wanted->name, name_of(err), wanted->outcomes, diag.text);
	else if (err && !has_one_of(diag.text, wanted->words))
		FAIL("%s: no \"%s\" in \"%s\"", wanted->name, wanted->words, diag.text);
	else if (!err && wanted->refuses_blocks && !scan(store))
		FAIL("%s: new blocks are not refused", wanted->name);
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
		sparse_close(&parent_container);
	}
	EXPECT_EQ(pclose(pipe), 0);
	EXPECT(count > 200);
	printf("# %u images\n", count);
}

SUITE("mutations")
