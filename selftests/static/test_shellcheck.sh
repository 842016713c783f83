#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# test_shellcheck - scripts, by shellcheck and pyflakes
#
# shellcheck disable=SC2317 # ktap_run calls the cases

here=$(dirname "$(readlink -f "$0")")
# shellcheck source=SCRIPTDIR/../lib/ktap.sh
. "$here/../lib/ktap.sh"
# shellcheck source=SCRIPTDIR/tree.sh
. "$here/tree.sh"
need_packages shellcheck python3-pyflakes

# The files whose name or first line tells that they are in language $1.
written_in() {
	sources -size +0 | while read -r file; do
		case $file in
		*."$1") echo "$file" ;;
		*.*[a-z]) ;;
		*) ! head -c 64 "$tree/$file" | grep -aqE "^#!.*$2" || echo "$file" ;;
		esac
	done
}

# ktap_run calls the cases: SC2317 sees no caller.
shell() {
	written_in sh '(/|ba)sh' >"$work/files"
	[[ $(wc -l <"$work/files") -gt 10 ]] || fail "where are the scripts?"
	(cd "$tree" && xargs shellcheck -x --exclude=SC2317) <"$work/files"
}

# A package's __init__ imports for those who import it.
python() {
	written_in py python >"$work/files"
	[[ $(wc -l <"$work/files") -gt 10 ]] || fail "where are the scripts?"
	(cd "$tree" && xargs pyflakes3) <"$work/files" >"$work/findings" || :
	! grep -v "__init__.py:.* imported but unused" "$work/findings" ||
		fail "there are findings"
}

ktap_run shell python
