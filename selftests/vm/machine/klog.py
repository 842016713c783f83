# SPDX-License-Identifier: GPL-2.0-only
"""What in a kernel log means that the kernel is broken."""

import re

# At the start of a message. Whatever dumps a stack without one of these (an
# allocation failure, an injected fault, a stack dump that was asked for) is no
# defect by itself.
DEFECTS = re.compile(r"""
    (?: WARNING: | BUG\b | Oops\b | Kernel\ panic | UBSAN: | KASAN: | KCSAN:
      | watchdog: | general\ protection\ fault | unable\ to\ handle
      | (?:divide\ error|invalid\ opcode|stack\ segment|double\ fault):
      | (?:rcu:\ )?INFO:\ (?:task\ .*\ blocked\ for\ more\ than
                          | rcu_.*\ stall
                          | trying\ to\ register\ non-static\ key
                          | possible | suspicious | inconsistent)
      | vhdx-vm:\ leaked\ memory:
      | list_(?:add|del)\ corruption | refcount_t: | kernel\ BUG\ at
      | sysfs:\ cannot\ create\ duplicate | kobject_add_internal\ failed
      | VFS:\ Busy\ inodes\ after\ unmount
      | ------------\[\ cut\ here
    )""", re.VERBOSE)

# Nothing but that a message follows.
CUT = "------------[ cut here"

# "[    1.234567] ", perhaps with the caller's id "[  T123] " behind it.
PREFIX = re.compile(r"^\[ *[0-9]+\.[0-9]+\](?:\[ *[CT][0-9]+\])? ")


def messages(log):
    """The messages of a log without their time stamps."""
    for line in log.splitlines():
        match = PREFIX.match(line)
        if match:
            yield line[match.end():]


def first_defect(log):
    """The first message that tells of a defect of the kernel, or None."""
    text = iter(messages(log))
    found = next((line for line in text if DEFECTS.match(line)), None)
    if found and found.startswith(CUT):
        return next(text, found)
    return found
