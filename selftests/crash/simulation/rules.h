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
	rule(look_again, "T7: no announced DataWriteGuid is written once it is invalid") \
	rule(complete, "V1: a block is mapped when its data is there")		\
	rule(zero_around, "V1: what the first write does not cover is zero before that") \
	rule(exclusive, "V1: one operation on a block at a time")		\
	rule(busy, "V1: its entry is busy meanwhile")				\
	rule(look_twice, "V1: it is looked up once more within the operation")	\
	rule(held_gate, "V1: a piece is inside the gate until the container is done") \
	rule(map_inside, "V1: and until what it made is mapped")			\
	rule(flip, "V1: what looked a block up has left before it is unmapped")	\
	rule(quarantine, "V2: space is used again once the log drops its old mapping") \
	rule(punch_late, "V2: space is given back once the log drops its old mapping") \
	rule(punched_first, "V2: space is free once it was given back")		\
	rule(not_zero, "V2: space of a device, or that could not be punched, is not zero") \
	rule(tail_cleared, "V2: what is behind the last block at attach is not zero") \
	rule(cleared_ahead, "V2: what a device has is not zero until it is cleared") \
	rule(zero_only, "V2: without any wait only what reads as zeroes is taken") \
	rule(empty_first, "V2: a file is cut when both headers say that the log is empty") \
	rule(copy, "V3: what is applied is what was logged")			\
	rule(applied_first, "V3: pages are durable in place before the next entry")	\
	rule(apply_counts, "V3: a page that could not be applied ends all commits") \
	rule(payload_first, "V4: data is durable before the entry that leads to it") \
	rule(logged_first, "V4: who waits for a commit is told when the entry is durable") \
	rule(flush_commits, "V4: a flush is a commit")				\
	rule(fua, "V4: a FUA write is a commit where its mapping is not durable") \
	rule(failure_is_final, "V4: a commit that failed is never tried again")	\
	rule(entry_first, "V5: LogGuid is not durable before an entry that carries it") \
	rule(empty_between, "V5: the headers say that the log is empty before it begins anew") \
	rule(fresh_log, "V5: each generation has a fresh LogGuid")		\
	rule(size_first, "V5: a size is not in an entry before the file has it") \
	rule(retire_flush, "V5: what was applied is durable before the log is empty") \
	rule(replay_flush, "V5: what was replayed is durable before the log is empty") \
	rule(scan, "V6: nothing is allocated before the whole BAT was seen")	\
	rule(scan_first, "V6: nor is anything unmapped")

#define RULE_NUMBER(name, ...)	RULE_##name,
enum rule { RULES(RULE_NUMBER) RULE_COUNT };

/* Is it kept? main.c has what was switched off. */
bool rule(enum rule rule);
#define RULE(name)	rule(RULE_##name)

#endif
