#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# test_uapi - is the contract the same for every caller?
#
# The header alone: as strict C, without padding, as C++. Then, with every offset
# asserted, for 32 and for 64 bits.
#
# shellcheck disable=SC2317 # ktap_run calls the cases

here=$(dirname "$(readlink -f "$0")")
# shellcheck source=SCRIPTDIR/../lib/ktap.sh
. "$here/../lib/ktap.sh"
# shellcheck source=SCRIPTDIR/tree.sh
. "$here/tree.sh"
need_packages gcc-multilib g++

flags=(-I "$tree/uapi" -fsyntax-only -Wall -Wextra -Wpadded -pedantic -Werror)

header_c99() {
	echo '#include <linux/vhdx.h>' >"$work/alone.c"
	gcc -std=c99 -m32 "${flags[@]}" "$work/alone.c"
	gcc -std=c99 -m64 "${flags[@]}" "$work/alone.c"
}

header_cxx() {
	echo '#include <linux/vhdx.h>' >"$work/alone.cc"
	g++ -std=c++98 -Wno-long-long "${flags[@]}" "$work/alone.cc"
	g++ -std=c++17 "${flags[@]}" "$work/alone.cc"
}

layout() {
	cat >"$work/layout.c" <<-'EOF'
	#include <stddef.h>
	#include <linux/vhdx.h>
	#ifndef __cplusplus
	#define static_assert(condition) _Static_assert(condition, #condition)
	#endif
	#include "uapi_layout.h"
	EOF
	gcc -std=c11 -m32 "${flags[@]}" -iquote "$tree/kmod" "$work/layout.c"
	gcc -std=c11 -m64 "${flags[@]}" -iquote "$tree/kmod" "$work/layout.c"
	g++ -std=c++17 "${flags[@]}" -iquote "$tree/kmod" -x c++ "$work/layout.c"
}

ktap_run header_c99 header_cxx layout
