#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# test_simulation.sh - crashes of the protocols of sidecar and container; make check-long takes
# 10^6 of them

here=$(dirname "$(readlink -f "$0")")
build=$here/../../../build
fast=$build/simulation/simulation
sanitized=$build/simulation-sanitized/simulation
seed=${VHDX_SEED:-1}
# shellcheck source=selftests/lib/ktap.sh
. "$here/../../lib/ktap.sh"

crash_points() {
	if [[ ${VHDX_LONG:-} ]]; then
		"$fast" --from "$seed" --points 1000000
	else
		"$fast" --from "$seed" --points 60000
	fi
}

crash_points_under_sanitizers() {
	local points=8000

	[[ ! ${VHDX_LONG:-} ]] || points=250000
	"$sanitized" --from "$((seed + 500000))" --points "$points"
}

# Of one round; the time that it took is none of them.
counters() {
	"$fast" --seed "$1" | grep -v " rounds in "
}

seed_alone_repeats_a_round() {
	first=$(counters "$seed")
	[[ $(counters "$seed") == "$first" ]] || fail "seed $seed is another round the second time"
	[[ $(counters "$((seed + 1))") != "$first" ]] || fail "seed $((seed + 1)) is the same round"
}

# One of tracking, and one of the container.
missing_rule_is_caught() {
	for rule in release quarantine; do
		said=$("$fast" --from "$seed" --seconds 30 --without "$rule") &&
			fail "without the rule '$rule' nothing was noticed: $said"
		# seed N, crash point M: what
		round=${said#seed } round=${round%%,*} what=${said%%$'\n'*} what=${what#*: }
		again=$("$fast" --seed "$round" --without "$rule") &&
			fail "its seed alone does not repeat it: $again"
		[[ $again == *": $what"* ]] || fail "it repeats something else: $again"
	done
}

# Long before make check-long tries them.
mutants_are_up_to_date() {
	"$here/../../mutants/run" --check
}

ktap_run crash_points crash_points_under_sanitizers seed_alone_repeats_a_round \
	missing_rule_is_caught mutants_are_up_to_date
