#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Documentation/testing.rst says what runs where, and says it right; what headers name is there."""

import os
import sys
from pathlib import Path

SELFTESTS = Path(__file__).resolve().parents[1]
TREE = Path(os.environ.get("VHDX_STATIC_TREE") or SELFTESTS.parent)

sys.path.insert(0, str(SELFTESTS / "lib"))

import ktap  # noqa: E402
from harness import cases, promises, suites  # noqa: E402


def documented():
    """The lines of the table."""
    text = (TREE / "Documentation/testing.rst").read_text()
    _, _, rest = text.partition("a test compares them::\n\n")
    for line in rest.splitlines():
        if not line.startswith("\t"):
            break
        yield line.strip()


@ktap.case
def table_of_suites():
    """Line by line."""
    machines = [suite for suite in suites.all_suites() if suite.in_vm or suite.per_kernel]
    wanted, found = list(suites.table(machines)), list(documented())
    for line in wanted:
        if line not in found:
            ktap.diag(f"missing: {line}")
    for line in found:
        if line not in wanted:
            ktap.diag(f"wrong: {line}")
    ktap.check(found == wanted, "the table is not that of selftests/run --list")


@ktap.case
def cases_of_kernels():
    """Where but some cases of a suite are for a kernel, there are such."""
    for suite in suites.all_suites():
        for word in (*suite.on, *suite.full_on, *suite.long_on):
            kernel, _, patterns = word.partition(":")
            ktap.check(kernel in (*suites.KERNELS, "-"), f"{suite.name}: no kernel {kernel}")
            for pattern in filter(None, patterns.split("+")):
                ktap.check(any(promises.is_case(pattern, case)
                               for case in cases.declared(suite, TREE)),
                           f"{suite.name}: no case {pattern} for {kernel}")


ktap.main()
