#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# test_uapi - is the contract the same for every caller?
#
# The header alone, without padding; the library's header; then, with every offset asserted,
# the layout: each as strict C and as C++, for 32 and for 64 bits.
#
# shellcheck disable=SC2317 # ktap_run calls the cases

here=$(dirname "$(readlink -f "$0")")
# shellcheck source=SCRIPTDIR/../lib/ktap.sh
. "$here/../lib/ktap.sh"
# shellcheck source=SCRIPTDIR/tree.sh
. "$here/tree.sh"
need_packages gcc-multilib g++

flags=(-I "$tree/uapi" -fsyntax-only -Wall -Wextra -pedantic -Werror)

# compile FILE FLAG...: as C99 and as C++ of old and of late, for both widths
compile() {
	local file=$1 width
	shift
	for width in -m32 -m64; do
		gcc -x c -std=c99 "$width" "${flags[@]}" "$@" "$file"
		g++ -x c++ -std=c++98 -Wno-long-long "$width" "${flags[@]}" "$@" "$file"
		g++ -x c++ -std=c++17 "$width" "${flags[@]}" "$@" "$file"
	done
}

header() {
	echo '#include <linux/vhdx.h>' >"$work/alone.h"
	compile "$work/alone.h" -Wpadded
}

library_header() {
	echo '#include <libvhdx.h>' >"$work/library.h"
	compile "$work/library.h" -I "$tree/userspace/lib/include"
}

layout() {
	cat >"$work/layout.h" <<-'EOF'
	#include <stddef.h>
	#include <linux/vhdx.h>
	#if __cplusplus < 201103L
	#define GLUE(a, b) a##b
	#define NAME(line) GLUE(assertion_, line)
	#define static_assert(condition) extern char NAME(__LINE__)[(condition) ? 1 : -1]
	#endif
	#include "user/uapi_layout.h"
	EOF
	compile "$work/layout.h" -iquote "$tree/kmod"
}

ktap_run header library_header layout
