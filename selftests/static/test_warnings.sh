#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# test_warnings - does the module build without a warning, asked for more than usual?
#
# And does sparse find a mixed-up byte order, address space or lock, or gcc a function that calls
# itself?
#
# shellcheck disable=SC2317 # ktap_run calls the cases

here=$(dirname "$(readlink -f "$0")")
# shellcheck source=SCRIPTDIR/../lib/ktap.sh
. "$here/../lib/ktap.sh"
# shellcheck source=SCRIPTDIR/tree.sh
. "$here/tree.sh"

# All that is done on 6.12 builds the same objects, with what stack.py reads beside them: that takes
# no time, but ccache does not know of it.
on_6_12=("KCFLAGS=-g0 -fcallgraph-info=su" W=1)

linux_6_1() {
	builds_without_findings 6.1 W=1
}

linux_6_12() {
	CCACHE_DISABLE=1 builds_without_findings 6.12 "${on_6_12[@]}"
}

linux_newest() {
	builds_without_findings newest W=1
}

# Of what linux_6_12 has built.
stack() {
	local kdir key
	kdir=$(build_directory 6.12)
	key=$(module_digest "$kdir" stack "$(<"$static/stack.py")")
	is_clean "$key" || {
		CCACHE_DISABLE=1 build_module "$kdir" "${on_6_12[@]}"
		python3 "$static/stack.py" "$build" || fail "there are findings"
	}
	found_clean "$key"
}

# Of what linux_6_12 has built, sparse alone is left to be run.
sparse() {
	has_packages sparse || skip "install sparse"
	CCACHE_DISABLE=1 builds_without_findings 6.12 "${on_6_12[@]}" C=2 CF=-D__CHECK_ENDIAN__
}

# A brief run has the oldest, or the newest, or, one time out of two, neither; the seed decides.
others=(linux_6_1 linux_newest)
[[ -z ${VHDX_BRIEF-} ]] || others=("${others[@]:${VHDX_SEED:-0} % 4:1}")
ktap_run linux_6_12 stack sparse "${others[@]}"
