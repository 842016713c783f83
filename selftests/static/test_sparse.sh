#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# test_sparse - does sparse find a mixed-up byte order, address space or lock?
#
# shellcheck disable=SC2317 # ktap_run calls the cases

here=$(dirname "$(readlink -f "$0")")
# shellcheck source=SCRIPTDIR/../lib/ktap.sh
. "$here/../lib/ktap.sh"
# shellcheck source=SCRIPTDIR/tree.sh
. "$here/tree.sh"
need_packages sparse

module() {
	builds_without_findings 6.12 C=2 CF=-D__CHECK_ENDIAN__
}

ktap_run module
