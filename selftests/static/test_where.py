#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Documentation/testing.rst says what runs where, and says it right."""

import os
import sys
from pathlib import Path

SELFTESTS = Path(__file__).resolve().parents[1]
TREE = Path(os.environ.get("VHDX_STATIC_TREE") or SELFTESTS.parent)

sys.path.insert(0, str(SELFTESTS / "lib"))

from harness import suites  # noqa: E402


def documented():
    """The lines of the table."""
    text = (TREE / "Documentation/testing.rst").read_text()
    _, _, rest = text.partition("a test compares them::\n\n")
    for line in rest.splitlines():
        if not line.startswith("\t"):
            break
        yield line.strip()


def main():
    """One case."""
    print("KTAP version 1\n1..1")
    machines = [suite for suite in suites.all_suites() if suite.in_vm or suite.per_kernel]
    wanted, found = list(suites.table(machines)), list(documented())
    for line in wanted:
        if line not in found:
            print(f"# missing: {line}")
    for line in found:
        if line not in wanted:
            print(f"# wrong: {line}")
    good = wanted == found
    print(f"{'ok' if good else 'not ok'} 1 table_of_suites")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
