# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# tree.sh - what the static gates share
#
# $tree is what they look at. VHDX_STATIC_TREE names another one, so that a gate can
# be shown a defect in a copy.

static=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
tree=${VHDX_STATIC_TREE:-$(readlink -f "$static/../..")}
vm=$static/../vm
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Installs the packages with these names; what is missing then is in $missing.
has_packages() {
	local package
	missing=()
	for package; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
			missing+=("$package")
	done
	[[ ${#missing[@]} -gt 0 ]] || return 0
	[[ $(id -u) -eq 0 ]] && DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
		install "${missing[@]}" >&2
}

# The same for all that the suite has.
need_packages() {
	has_packages "$@" || ktap_skip_all "install these packages: ${missing[*]}"
}

# The files of the tree that find selects by $@, without what is built.
sources() {
	(cd "$tree" && find . -name .git -prune -o -path ./build -prune -o \
		-type f "$@" -printf '%P\n' | sort)
}

# Builds the module for kernel $1, with more arguments for make, from nothing or from what the
# suite has built. What is said about our own files is a finding. Information for debuggers takes
# a fifth of the time and finds nothing; that for stack.py takes none.
builds_without_findings() {
	local kernel=$1 kdir status=0
	shift
	kdir=$("$vm/kernel" "$kernel") || status=$?
	[[ $status -ne 4 ]] || skip "the kernel $kernel can't be had"
	[[ $status -eq 0 ]] || fail "there is no kernel $kernel"
	env -u MAKEFLAGS -u MFLAGS make -C "$tree" -j"$(nproc)" modules KDIR="$kdir" \
		B="$work/build" KCFLAGS="-g0 -fcallgraph-info=su" CONFIG_DEBUG_INFO_BTF_MODULES= "$@" >"$work/log" 2>&1 || {
		tail -n 30 "$work/log"
		fail "it does not build"
	}
	! grep -E '^[^ ]*(kmod|uapi)/.*: (warning|error):|^[^ ]*vhdx[^ ]*: warning:' "$work/log" ||
		fail "there are findings"
}
