#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# test_clang_tidy - library and command, by clang and by clang-tidy (.clang-tidy)
#
# shellcheck disable=SC2317 # ktap_run calls the cases

here=$(dirname "$(readlink -f "$0")")
# shellcheck source=SCRIPTDIR/../lib/ktap.sh
. "$here/../lib/ktap.sh"
# shellcheck source=SCRIPTDIR/tree.sh
. "$here/tree.sh"
need_packages clang clang-tidy pkg-config libjson-c-dev libsmartcols-dev

# What an initializer does not name is zero on purpose.
flags=(-std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 '-DVERSION="0"' -Wall -Wextra
	-Wno-sign-compare -Wno-missing-field-initializers
	-I "$tree/userspace/lib/include" -I "$tree/uapi" -I "$tree/kmod")
read -ra packages < <(pkg-config --cflags json-c smartcols)
flags+=("${packages[@]}")

# What both find in a file depends on it and on every header.
headers=$(sources '(' -name '*.h' -o -name .clang-tidy ')' | digest "${flags[*]//"$tree"/}" \
	"$(versions clang-14 clang-tidy-14 'libc6-dev*' linux-libc-dev libjson-c-dev libsmartcols-dev \
		libmount-dev 'libgcc-*-dev')")

# Has a command look at all files that it has not found clean before.
look_at() {
	local keys
	: >"$work/files"
	not_clean "$(digest "$headers" "${*//"$tree"/}" </dev/null)" \
		< <(sources -path './userspace/*.c' ! -path '*/tests/*')
	(cd "$tree" && xargs -r -P "$(nproc)" -n 6 "$@" <"$work/files")
	found_clean "${keys[@]}"
}

compiles() {
	look_at clang "${flags[@]}" -Werror -fsyntax-only
}

tidy() {
	look_at sh -c 'clang-tidy --quiet "$@" -- '"${flags[*]@Q}" sh
}

ktap_run compiles tidy
