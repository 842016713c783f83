#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# test_fuzz.sh - each fuzzer for ten seconds; make fuzz T=60 runs them longer

here=$(dirname "$(readlink -f "$0")")
out=$here/../../build/fuzz
# shellcheck source=selftests/lib/ktap.sh
. "$here/../lib/ktap.sh"

targets=()
for program in "$out"/fuzz_*; do
	name=${program##*/fuzz_}
	eval "$name() { \"\$here/run-target\" \"\$out\" $name 10; }"
	targets+=("$name")
done
ktap_run "${targets[@]}"
