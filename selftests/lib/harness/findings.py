# SPDX-License-Identifier: GPL-2.0-only
"""The list of defects that were found once, each with the tests that hold it."""

import fnmatch

from harness.suites import SELFTESTS

LIST = SELFTESTS / "findings"


def read(path=LIST):
    """(id, [test, ...]) of each line: ID, tests, and what is right now, between tabs.

    A test is a suite, or suite:pattern for some of its cases.
    """
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            number, tests, text = line.split("\t")
            if not text.strip():
                raise ValueError(f"{path}: {number} says nothing")
            yield number, tests.split()


def is_case(pattern, case):
    """Does a pattern mean a case? Cases of one file of several are called file.case."""
    return any(fnmatch.fnmatch(case, wanted) for wanted in (pattern, f"*.{pattern}", f"{pattern}.*"))


def lost(suites, passed):
    """What is wrong with the list after a run of all suites, in words.

    suites	their names
    passed	{name of a suite: names of cases that passed, on whichever kernel}
    """
    for number, tests in read():
        for test in tests:
            suite, _, pattern = test.partition(":")
            if suite not in suites:
                yield f"{number}: there is no suite {suite}"
            elif not any(is_case(pattern or "*", case) for case in passed.get(suite, ())):
                yield f"{number}: no case {test} passed"
