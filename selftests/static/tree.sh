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

# Has the packages with these names installed, or says which are missing.
need_packages() {
	local package missing=()
	for package; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
			missing+=("$package")
	done
	[[ ${#missing[@]} -gt 0 ]] || return 0
	[[ $(id -u) -eq 0 ]] || ktap_skip_all "install these packages: ${missing[*]}"
	DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install \
		"${missing[@]}" >&2 || ktap_skip_all "cannot install ${missing[*]}"
}

# The files of the tree that find selects by $@, without what is built.
sources() {
	(cd "$tree" && find . -name .git -prune -o -path ./build -prune -o \
		-type f "$@" -printf '%P\n' | sort)
}

# Builds the module for kernel $1 from nothing, with more arguments for make. What is
# said about our own files is a finding.
builds_without_findings() {
	local kernel=$1 kdir status=0
	shift
	kdir=$("$vm/kernel" "$kernel") || status=$?
	[[ $status -ne 4 ]] || skip "the kernel $kernel can't be had"
	[[ $status -eq 0 ]] || fail "there is no kernel $kernel"
	env -u MAKEFLAGS -u MFLAGS make -C "$tree" -j"$(nproc)" modules KDIR="$kdir" \
		B="$work/build" "$@" >"$work/log" 2>&1 || {
		tail -n 30 "$work/log"
		fail "it does not build"
	}
	! grep -E '^[^ ]*(kmod|uapi)/.*: (warning|error):|^[^ ]*vhdx[^ ]*: warning:' "$work/log" ||
		fail "there are findings"
}
