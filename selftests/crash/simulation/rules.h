/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rules of Documentation/rules.rst that a run can do without, to see that it is caught: steps of
 * the driver. What is in kmod/core is switched off by a patch of it (selftests/mutants).
 */
#ifndef VHDX_SIMULATION_RULES_H
#define VHDX_SIMULATION_RULES_H

#include <stdbool.h>

#define RULES(rule)								\
	rule(slot_first, "T1: a write is in flight before its first mark")	\
	rule(sample, "T1: writes in flight are marked in the new live map")	\
	rule(graceful_seal, "T1: a grace period after the exchange of the maps") \
	rule(mark_again, "T1: a write is marked again when it is done")		\
	rule(exchange_first, "T2: the exchange comes before the container's commit") \
	rule(commit, "T2: a full commit of the container, before the sidecar's")	\
	rule(pending, "T2: a point is pending before it is issued")		\
	rule(confirmation, "T2: the id is given out after the confirmation")	\
	rule(or_back, "T2: the maps are joined when a seal fails")		\
	rule(mark_first, "T3: a write marks, then looks whether its region is armed") \
	rule(graceful_clear, "T3: a grace period between disarming and saving")	\
	rule(keep, "T3: a region with a write in flight is not cleared")	\
	rule(durable_first, "T3: cleared after the checkpoint's header is durable") \
	rule(release, "T3: a write waits until its region is set, durably")	\
	rule(flush_regions, "T3: a flush before writes are released")		\
	rule(stay_set, "T4: regions stay set until a checkpoint has them")	\
	rule(expand, "T4: the live map has all of the regions that were set")	\
	rule(fresh_guid, "T5: a fresh DataWriteGuid at a seal")			\
	rule(fresh_at_begin, "T5: a fresh DataWriteGuid at the session's begin") \
	rule(announce, "T5: the sidecar knows a DataWriteGuid before the container has it") \
	rule(token, "T6: a strict sidecar is told of each header with a new DataWriteGuid") \
	rule(token_first, "T6: a strict sidecar is told before the container has the header") \
	rule(next_number, "T6: a strict commit of regions gives the container the next number") \
	rule(invalid_first, "T7: invalidated before waiting writes are released") \
	rule(look_again, "T7: no announced DataWriteGuid is written once it is invalid")

#define RULE_NUMBER(name, ...)	RULE_##name,
enum rule { RULES(RULE_NUMBER) RULE_COUNT };

/* Is it kept? main.c has what was switched off. */
bool rule(enum rule rule);
#define RULE(name)	rule(RULE_##name)

#endif
