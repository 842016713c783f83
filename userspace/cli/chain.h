/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The files that a disk is made of, for the commands that tell of them.
 */
#ifndef VHDXCTL_CHAIN_H
#define VHDXCTL_CHAIN_H

#include "cli.h"

/**
 * struct named_parents - where parents are, as the user says it; what PARENT_OPTIONS set
 */
struct named_parents {
	const char **parents;
	const char **path_maps;
};

extern struct named_parents named_parents;

#define PARENT_OPTIONS \
	{ "parent", "FILE|BLOCKDEV", \
	  "the parent of a differencing disk; again: that one's parent", \
	  OPTION_LIST, &named_parents.parents }, \
	{ "map-path", "FROM=TO", "where parents lie whose path begins with FROM; may be repeated", \
	  OPTION_LIST, &named_parents.path_maps }

/* 0, or EXIT_USAGE: each map is FROM=TO. */
int check_named_parents(void);

/**
 * struct chain - the layers of a disk, leaf first
 * @layers:	those that were found; the path of each is to be freed
 * @fault:	why the rest is not known, to be freed; NULL: that is all of them
 * @reason:	VHDX_REASON_* of the fault
 */
struct chain {
	struct vhdx_chain_layer *layers;
	size_t count;
	char *fault;
	unsigned int reason;
};

/*
 * 0; or -errno of the library, which is the fault, unless there was no memory for it.
 * chain_release() it whatever this returns.
 */
int chain_gather(const char *container, struct chain *chain);
/* The same of an attached disk: its files are known, or it fails. */
int chain_gather_attached(struct vhdx_disk *disk, struct chain *chain);
void chain_release(struct chain *chain);

/* What is said of a log that the header names, and that nobody began to write. */
#define UNWRITTEN_LOG	"named, and never written: `vhdxctl check --repair` closes it"

/* A line for each parent, and for what is wrong with the next one. */
void print_chain(const struct chain *chain);
/* Two values: the list of layers, and the fault below "chain_fault". */
void json_chain(struct json_object *object, const struct chain *chain);

#endif
