#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""linux/vhdx_api.h, what is exported, and Documentation/kernel-api.rst are of the same calls."""

import os
import re
import sys
from pathlib import Path

SELFTESTS = Path(__file__).resolve().parents[1]
TREE = Path(os.environ.get("VHDX_STATIC_TREE") or SELFTESTS.parent)

sys.path.insert(0, str(SELFTESTS / "lib"))

import ktap  # noqa: E402

HEADER = (TREE / "kmod/include/linux/vhdx_api.h").read_text()
PAGE = (TREE / "Documentation/kernel-api.rst").read_text()
MOST_LINES = 599


def declared():
    """The functions of the header."""
    code = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.S)
    return sorted(re.findall(r"^[\w* ]*?\b(vhdx_\w+)\(", code, re.M))


@ktap.case
def exported():
    """All that is declared, and nothing else."""
    found = [name for path in (TREE / "kmod").rglob("*.c")
             for name in re.findall(r"^EXPORT_SYMBOL_VHDX\((\w+)\);", path.read_text(), re.M)]
    ktap.equal(sorted(found), declared(), "exported symbols")


@ktap.case
def documented():
    """The table has them all."""
    ktap.equal(sorted(re.findall(r"^``(vhdx_\w+)`` ", PAGE, re.M)), declared(), "calls")


@ktap.case
def told():
    """The page speaks of each thing that an observer is told."""
    ops = re.search(r"^struct vhdx_observer_ops \{(.*?)^\};", HEADER, re.M | re.S)[1]
    for name in re.findall(r"\(\*(\w+)\)", ops):
        ktap.check(f"``{name}``" in PAGE, f"{name} is not documented")


@ktap.case
def example_is_short():
    """The mirror is the page's example."""
    lines = (TREE / "selftests/modules/vhdx_mirror/vhdx_mirror.c").read_text().count("\n")
    ktap.check(lines <= MOST_LINES, f"{lines} lines")


ktap.main()
