// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Making a container that has nothing in it yet.
 */
#include <errno.h>
#include <stdlib.h>
#include "create.h"

static int make_recipe(struct creating *creating)
{
	int err = take_recipe(&creating->recipe, creating->path, creating->options);

	if (!err && creating->options->parent)
		err = take_from_parent(creating);
	return err ? err : check_recipe(&creating->recipe, creating->path);
}

static int make_target(struct creating *creating)
{
	struct vhdx_recipe *recipe = &creating->recipe;
	int err = open_target(&creating->target, creating->path, 0666);

	if (!err)
		err = check_target_device(&creating->target, recipe->size,
					  recipe->geo.logical_sector_size);
	recipe->is_zero = target_is_zero(&creating->target);
	return err;
}

static int write_structures(struct creating *creating)
{
	const struct progress progress = {
		.fn = creating->options->progress,
		.context = creating->options->context,
	};
	struct target *target = &creating->target;
	struct vhdx_diag diag = { 0 };
	int err;

	target->made = true;
	err = set_target_size(target, creating->recipe.size);
	if (!err)
		err = provide_space(target, &creating->recipe, &progress);
	if (err)
		return err;
	err = vhdx_recipe_write(&creating->recipe, &target->file.store, &diag);
	return err ? write_failed(target, err, &diag) : finish_vhdx(target, &creating->recipe);
}

int vhdx_create(const char *path, const struct vhdx_create_options *options)
{
	struct vhdx_create_options known;
	struct creating creating = {
		.path = path,
		.options = &known,
		.target = TARGET_NONE,
		.parent = CONTAINER_NONE,
	};
	int err;

	clear_error();
	err = check_name(path);
	if (!err)
		err = take_sized(&known, sizeof(known), options, VHDX_CREATE_OPTIONS_SIZE_VER0,
				 "vhdx_create_options");
	if (!err)
		err = make_recipe(&creating);
	if (!err)
		err = make_target(&creating);
	if (!err)
		err = write_structures(&creating);
	if (err)
		take_back(&creating.target);
	else if (known.parent)
		note_parents(&creating);
	close_target(&creating.target);
	close_container(&creating.parent);
	free(creating.locator);
	return err;
}
