#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# test_64bit - a module for a 32-bit kernel is not built, and the compiler says why
#
# shellcheck disable=SC2317 # ktap_run calls the cases

here=$(dirname "$(readlink -f "$0")")
# shellcheck source=SCRIPTDIR/../lib/ktap.sh
. "$here/../lib/ktap.sh"
tree=${VHDX_STATIC_TREE:-$here/../..}

# What the preprocessor says of the module, of its first error only: there is no kernel here.
preprocess() {
	cc -E "$@" -o /dev/null "$tree/kmod/user/main.c" 2>&1 || :
}

refused_on_32_bit() {
	preprocess -UCONFIG_64BIT | grep -q '#error.*needs a 64-bit kernel' || fail "it is not refused"
}

accepted_on_64_bit() {
	! preprocess -DCONFIG_64BIT=1 | grep -q '#error' || fail "it is refused"
}

ktap_run refused_on_32_bit accepted_on_64_bit
