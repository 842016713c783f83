#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the VHDX oracle; prints KTAP.

    selftests/oracle/test_oracle.py [PATTERN]
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from tests import (arithmetic, chains, command_line, corpus, devices, harness, hostile,  # noqa: E402
                   qemu, replaying, shapes, tracking)

SUITES = (arithmetic, shapes, replaying, chains, hostile, tracking, qemu, corpus, devices, command_line)

if __name__ == "__main__":
    sys.exit(0 if harness.run(SUITES, *sys.argv[1:2]) else 1)
