#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# test_fuzz.sh - each fuzzer for five seconds, in make check-long for a minute; make fuzz T=600
# runs them longer

here=$(dirname "$(readlink -f "$0")")
out=$here/../../build/fuzz
seconds=${VHDX_LONG:+60}
# shellcheck source=selftests/lib/ktap.sh
. "$here/../lib/ktap.sh"

targets=()
for program in "$out"/fuzz_*; do
	name=${program##*/fuzz_}
	eval "$name() { \"\$here/run-target\" \"\$out\" $name ${seconds:-5}; }"
	targets+=("$name")
done
ktap_run "${targets[@]}"
