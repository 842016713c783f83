#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Every structure that leaves the kernel has its size and its fields' offsets asserted."""

import os
import re
import sys
from pathlib import Path

SELFTESTS = Path(__file__).resolve().parents[1]
TREE = Path(os.environ.get("VHDX_STATIC_TREE") or SELFTESTS.parent)

sys.path.insert(0, str(SELFTESTS / "lib"))

import ktap  # noqa: E402

# A header, and what asserts its sizes and offsets.
CONTRACTS = {
    "uapi/linux/vhdx.h": ("kmod/user/uapi_layout.h", "kmod/user/uapi_layout.h"),
    "kmod/core/vhdx/ondisk.h": ("kmod/core/vhdx/ondisk.h", "kmod/core/vhdx/layout.c"),
    "kmod/core/rct/ondisk.h": ("kmod/core/rct/ondisk.h", "kmod/core/rct/layout.c"),
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


def asserted(header, where):
    """All of a header is."""
    lost = list(missing(header, *where))
    ktap.check(not lost, f"not asserted: {', '.join(lost)}")


for name, files in CONTRACTS.items():
    ktap.add(name, asserted, name, files)
ktap.main()
