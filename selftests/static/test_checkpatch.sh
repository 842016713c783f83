#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# test_checkpatch - C in the kernel's style
#
# checkpatch.pl is that of the debug kernel's source, and kept in the cache; CHECKPATCH names
# another one.
#
# shellcheck disable=SC2317 # ktap_run calls the cases

here=$(dirname "$(readlink -f "$0")")
# shellcheck source=SCRIPTDIR/../lib/ktap.sh
. "$here/../lib/ktap.sh"
# shellcheck source=SCRIPTDIR/tree.sh
. "$here/tree.sh"

# Messages are found by grep only in one piece; locks are described by kernel-doc; BIT()
# is not there in a header for user space; the arguments of our macros are plain names.
everywhere=LONG_LINE_STRING,UNCOMMENTED_DEFINITION,BIT_MACRO,MACRO_ARG_REUSE
everywhere+=,MACRO_ARG_PRECEDENCE,NEW_TYPEDEFS,CONST_STRUCT,FILE_PATH_CHANGES
# Types and attributes are those of C, errors positive, macros those of test cases.
# A macro in capitals may stand on the left: it is what varies from build to build.
user_space=$everywhere,PREFER_KERNEL_TYPES,PREFER_DEFINED_ATTRIBUTE_MACRO,ARRAY_SIZE
user_space+=,COMPLEX_MACRO,MACRO_WITH_FLOW_CONTROL,CAMELCASE,USE_NEGATIVE_ERRNO,VOLATILE
user_space+=,MEMORY_BARRIER,WEAK_DECLARATION,CONSTANT_COMPARISON,EMBEDDED_FUNCTION_NAME
# A tracepoint is written as a macro's arguments, words for numbers as macros of macros.
events=$everywhere,OPEN_ENDED_LINE,PARENTHESIS_ALIGNMENT,COMPLEX_MACRO,MACRO_ARG_UNUSED
events+=,TRAILING_SEMICOLON

cache=${VHDX_CACHE:-$HOME/.cache/vhdx}/checkpatch

fetched_script() {
	local files=(checkpatch.pl spelling.txt const_structs.checkpatch)
	mkdir -p "$(dirname "$cache")"
	(
		flock 9
		[[ -d $cache ]] || "$vm/kernel-source" 6.12 "$cache" "${files[@]/#/scripts/}"
	) 9>"$cache.lock" || return
	echo "$cache/scripts/checkpatch.pl"
}

# A file's verdict depends on no other.
checkpatch() {
	local ignored=$1 script keys
	shift
	script=${CHECKPATCH-}
	[[ -n $script ]] || script=$(fetched_script) || fail "checkpatch.pl can't be fetched"
	: >"$work/files"
	not_clean "$(digest "$ignored" "$(perl -e 'print $^V')" "$(cat "${script%/*}"/*)" \
		</dev/null)" < <(sources "$@")
	# It leaves a file in its working directory.
	(cd "$work" && xargs -r -P "$(nproc)" -n 10 perl "$script" --no-tree --strict --terse \
		--show-types --no-summary --ignore "$ignored" -f <"$work/files" 2>/dev/null)
	found_clean "${keys[@]}"
}

kernel_sources() {
	checkpatch "$everywhere" '(' -path './kmod/*.[ch]' -o -path './uapi/*.h' ')' \
		! -path './kmod/core/offline/*' ! -name '*_user.h' ! -name diag.h ! -name trace.h
	checkpatch "$events" -path ./kmod/trace.h
}

user_space_sources() {
	checkpatch "$user_space" '(' -path './userspace/*.[ch]' -o -path './selftests/*.[ch]' \
		-o -path './kmod/core/offline/*.[ch]' -o -path './kmod/*_user.h' -o -name diag.h ')'
}

# Through kmod/message.h, which has the form.
messages_name_their_disk() {
	! grep -rnE '\b(pr_(emerg|alert|crit|err|warn|notice|info|cont|debug)|printk)\w*\(' \
		--include='*.[ch]' --exclude=message.h "$tree/kmod" || fail "they may not"
}

ktap_run kernel_sources user_space_sources messages_name_their_disk
