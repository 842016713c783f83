# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# ktap.sh - KTAP version 1 for test suites in bash
#
#	. "$(dirname "$0")/../lib/ktap.sh"
#
#	reads_back() {
#		[[ $(stat -c %s "$file") -eq 4096 ]] || fail "the file has the wrong size"
#	}
#	needs_a_tape() {
#		[[ -e /dev/st0 ]] || skip "there is no tape"
#	}
#	ktap_run reads_back needs_a_tape
#
# A case is a function. It runs in a subshell under "set -eu"; what it prints
# becomes diagnostics. It passes when it returns 0. The suite takes patterns of the
# names of cases to run.

ktap_patterns=("$@")

# Ends the case that runs: it has failed.
fail() {
	echo "failed: $*"
	exit 1
}

# Ends the case that runs: it cannot be tested here.
skip() {
	echo "$*" >"$ktap_reason"
	exit 4
}

# Ends the suite: nothing of it can be tested here.
ktap_skip_all() {
	echo "KTAP version 1"
	echo "1..0 # SKIP $*"
	exit 4
}

# Fails unless the command has exit status $1.
expect_status() {
	local wanted=$1 status=0
	shift
	"$@" || status=$?
	[[ $status -eq $wanted ]] || fail "'$*' has exit status $status instead of $wanted"
}

# Is the case wanted?
ktap_wanted() {
	local pattern
	[[ ${#ktap_patterns[@]} -gt 0 ]] || return 0
	for pattern in "${ktap_patterns[@]}"; do
		# shellcheck disable=SC2053 # a pattern
		[[ $1 != $pattern ]] || return 0
	done
	return 1
}

# Runs the cases and ends the suite: 0 no failure, 1 a failure.
ktap_run() {
	local number=0 failed=0 status name scratch wanted=()
	scratch=$(mktemp -d)
	ktap_reason=$scratch/reason
	for name; do
		! ktap_wanted "$name" || wanted+=("$name")
	done
	set -- "${wanted[@]}"
	echo "KTAP version 1"
	echo "1..$#"
	for name; do
		number=$((number + 1))
		{
			(
				set -eu
				"$name"
			) 2>&1 </dev/null
			echo $? >"$scratch/status"
		} | sed -u 's/^/# /'
		status=$(<"$scratch/status")
		case $status in
		0) echo "ok $number $name" ;;
		4) echo "ok $number $name # SKIP $(<"$ktap_reason")" ;;
		*) echo "not ok $number $name"; failed=1 ;;
		esac
	done
	rm -r "$scratch"
	exit $failed
}
