#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the VHDX oracle; prints KTAP.

    selftests/oracle/test_oracle.py [PATTERN]...      such as 'qemu.*'

Cases are the functions test_* of the modules in tests; each gets a scratch directory.
"""

import pathlib
import sys
import tempfile
import time

_HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE), str(_HERE.parent / "lib")]

import ktap  # noqa: E402
from tests import (arithmetic, chains, command_line, corpus, devices, hostile,  # noqa: E402
                   qemu, replaying, shapes, tracking)

SUITES = (arithmetic, shapes, replaying, chains, hostile, tracking, qemu, corpus, devices, command_line)
SLOW = 5                           # seconds, worth a remark


def run(test):
    """One case in a directory of its own."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="oracle-") as scratch:
        test(pathlib.Path(scratch))
    took = time.monotonic() - start
    if took > SLOW:
        ktap.diag(f"took {took:.1f} s")


for suite in SUITES:
    for name, function in vars(suite).items():
        if name.startswith("test_"):
            ktap.add(f"{suite.__name__.rpartition('.')[2]}.{name.removeprefix('test_')}", run, function)
ktap.main()
