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

# What a gate found nothing in, it finds nothing in again: the digest of all that its verdict depends
# on is kept, as the name of a file.
known=${VHDX_CACHE:-$HOME/.cache/vhdx}/clean

# A digest of the words, of the gate itself, and of the files that standard input names: their names
# and what is in them.
digest() {
	{
		printf '%s\n' "$@"
		cat "$static/tree.sh" "$0"
		(cd "$tree" && xargs -r -d '\n' sha256sum)
	} | sha256sum | cut -c1-40
}

is_clean() {
	[[ -e $known/$1 ]]
}

# What nobody asked for in a month goes.
found_clean() {
	mkdir -p "$known"
	(cd "$known" && printf '%s\n' "$@" | xargs touch)
	find "$known" -type f -mtime +30 -delete
}

# For what is said of each file by itself: names in $keys those that standard input names, by what is
# in them and digest $1; those that are not known to be clean go to $work/files.
not_clean() {
	local sum file
	keys=()
	while read -r sum file; do
		keys+=("${1:0:24}-${sum:0:32}-${file//\//,}")
		is_clean "${keys[-1]}" || echo "$tree/$file" >>"$work/files"
	done < <(cd "$tree" && xargs -r -d '\n' sha256sum)
	[[ ${#keys[@]} -gt 0 ]] || fail "where are the sources?"
}

# The versions of packages, of those that are there.
versions() {
	dpkg-query -W "$@" 2>/dev/null || :
}

# A digest of the words, of the module's sources, and of what kernel $1 is built with.
module_digest() {
	local kdir=$1
	shift
	sources '(' -path './kmod/*' -o -path './uapi/*' -o -path ./Kbuild -o -path ./Makefile ')' |
		digest "$kdir" "$(sha256sum "$kdir"/{.config,Module.symvers,Makefile} \
			"$kdir"/include/generated/{uapi/linux/version,compile}.h 2>&1)" \
			"$(versions make 'gcc-*' sparse binutils)" "$@"
}

# The build directory of kernel $1.
build_directory() {
	local status=0
	"$vm/kernel" "$1" || status=$?
	[[ $status -ne 4 ]] || skip "the kernel $1 can't be had"
	[[ $status -eq 0 ]] || fail "there is no kernel $1" >&2
}

# Builds the module for the kernel in $1, with more arguments for make, from nothing or from what the
# suite has built, in $build: ccache goes by where files are. What is said about our own files is a
# finding. Information for debuggers takes a fifth of the time and finds nothing.
build_module() {
	local kdir=$1
	shift
	build=$tree/build/static/$(basename "$0" .sh)
	[[ -e $work/begun ]] || rm -rf "$build"
	touch "$work/begun"
	env -u MAKEFLAGS -u MFLAGS make -C "$tree" -j"$(nproc)" modules KDIR="$kdir" \
		B="$build" KCFLAGS=-g0 CONFIG_DEBUG_INFO_BTF_MODULES= "$@" >"$work/log" 2>&1 || {
		tail -n 30 "$work/log"
		fail "it does not build"
	}
	! grep -E '^[^ ]*(kmod|uapi)/.*: (warning|error):|^[^ ]*vhdx[^ ]*: warning:' "$work/log" ||
		fail "there are findings"
}

# The same for kernel $1, unless that was done before.
builds_without_findings() {
	local kdir key
	kdir=$(build_directory "$1")
	shift
	key=$(module_digest "$kdir" "$@")
	is_clean "$key" || build_module "$kdir" "$@"
	found_clean "$key"
}
