#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Every structure that leaves the kernel has its size and its fields' offsets asserted."""

import os
import re
import sys
from pathlib import Path

TREE = Path(os.environ.get("VHDX_STATIC_TREE") or Path(__file__).resolve().parents[2])

# A header, and what asserts its sizes and offsets.
CONTRACTS = {
    "uapi/linux/vhdx.h": ("kmod/uapi_layout.h", "kmod/uapi_layout.h"),
    "kmod/core/vhdx_ondisk.h": ("kmod/core/vhdx_ondisk.h", "kmod/core/layout.c"),
    "kmod/core/sidecar_ondisk.h": ("kmod/core/sidecar_ondisk.h", "kmod/core/layout.c"),
}


def structures(text):
    """Each structure or union with its name and fields."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    for match in re.finditer(r"^((?:struct|union) \w+) \{\n(.*?)^\}", text, re.S | re.M):
        yield match[1], re.findall(r"(\w+)(?:\[[^;]*\])*;", match[2])


def missing(header, sizes, offsets):
    """What of a header is not asserted."""
    sizes, offsets = (re.sub(r"\s+", " ", (TREE / name).read_text()) for name in (sizes, offsets))
    found = list(structures((TREE / header).read_text()))
    if not found:
        yield "the structures"
    for name, fields in found:
        if not re.search(rf"(sizeof\({name}\) ==|SIZE\({name},)", sizes):
            yield f"the size of {name}"
        for field in fields:
            if f"FIELD({name}, {field}, " not in offsets:
                yield f"the offset of {name}'s {field}"


def main():
    """One case for each header."""
    print(f"KTAP version 1\n1..{len(CONTRACTS)}")
    failed = False
    for number, (header, where) in enumerate(CONTRACTS.items(), 1):
        lost = list(missing(header, *where))
        for what in lost:
            print(f"# not asserted: {what}")
        print(f"{'not ok' if lost else 'ok'} {number} {header}")
        failed = failed or bool(lost)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
