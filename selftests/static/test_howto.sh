#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# test_howto - do the lists of Documentation/HACKING.rst lead to all that a change takes?
#
# selftests/howto has a change of each kind: it applies, and is in the files that HACKING.rst
# lists for it, no others. All of them together build without findings.
#
# shellcheck disable=SC2317 # ktap_run calls the cases

here=$(dirname "$(readlink -f "$0")")
# shellcheck source=SCRIPTDIR/../lib/ktap.sh
. "$here/../lib/ktap.sh"
# shellcheck source=SCRIPTDIR/tree.sh
. "$here/tree.sh"

howto=$tree/selftests/howto
hacking=$tree/Documentation/HACKING.rst

# The files whose names begin a line behind the one that names the patch, up to the next section.
listed() {
	awk -v patch="selftests/howto/$1.patch" '
		index($0, patch) { found = 1; next }
		/^===/ { found = 0 }
		found && /^``/ {
			while (match($0, /``[^`]*``/)) {
				print substr($0, RSTART + 2, RLENGTH - 4)
				$0 = substr($0, RSTART + RLENGTH)
			}
		}
	' "$hacking" | sort
}

touched() {
	sed -n 's,^+++ b/,,p' "$howto/$1.patch" | sort
}

# One copy for all of them.
copy_of_tree() {
	[[ ! -e $work/tree ]] || return 0
	mkdir "$work/tree"
	tar -C "$tree" --exclude=./.git --exclude=./build -c . | tar -C "$work/tree" -x
}

apply() {
	copy_of_tree
	[[ ! -e $work/$1 ]] || return 0
	patch -d "$work/tree" -sp1 <"$howto/$1.patch" || fail "$1.patch does not apply"
	touch "$work/$1"
}

change() {
	diff -u --label listed --label touched <(listed "$1") <(touched "$1") ||
		fail "HACKING.rst lists other files"
	apply "$1"
}

state() {
	change state
}

container() {
	change container
}

option() {
	change option
}

ioctl() {
	change ioctl
}

they_build() {
	local change gate
	for change in state container option ioctl; do
		apply "$change"
	done
	tree=$work/tree builds_without_findings 6.12
	make -s -C "$work/tree" userspace >"$work/log" 2>&1 || {
		tail -n 30 "$work/log"
		fail "user space does not build"
	}
	for gate in layout rooms; do
		VHDX_STATIC_TREE=$work/tree "$here/test_$gate.py" || fail "see static/$gate"
	done
}

every_change() {
	local patch
	for patch in "$howto"/*.patch; do
		patch=$(basename "$patch" .patch)
		[[ $(type -t "$patch") == function ]] || fail "nothing applies $patch.patch"
	done
}

# That the patches apply is always looked at. To build takes a minute and more: a brief run does it
# one time out of three; the seed decides.
built=(they_build)
[[ -z ${VHDX_BRIEF-} ]] || (( ${VHDX_SEED:-0} % 3 == 0 )) || built=()
ktap_run every_change state container option ioctl "${built[@]}"
