# SPDX-License-Identifier: GPL-2.0-only
"""What the tree promises, each with the tests that hold it: defects found once, and rules.

selftests/findings has the defects, a line each: ID, tests, and what is right now, between
tabs. Documentation/rules.rst has the rules and invariants, a section each.

A test is a suite, or suite:pattern for some of its cases.
"""

import dataclasses
import fnmatch
import re

from harness.suites import TREE

# "T1: in flight ..." with a line of dashes below; invariants are called "Invariant 1".
_SECTION = re.compile(r"^((?:Invariant )?[A-Z]?\d+): .*\n-+\n", re.MULTILINE)
_FIELD = re.compile(r"^:([^:\n]+):((?:.*\n)(?:[ \t]+\S.*\n)*)", re.MULTILINE)


@dataclasses.dataclass
class Promise:
    """A defect that is mended, or a rule that is kept."""

    name: str
    tests: list
    # All of it, or a part, has no code yet.
    not_built_yet: bool = False


def findings(tree=TREE):
    """The defects that were found once."""
    path = tree / "selftests/findings"
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            number, tests, text = line.split("\t")
            if not text.strip():
                raise ValueError(f"{path}: {number} says nothing")
            yield Promise(number, tests.split())


def rules(tree=TREE):
    """The rules and the invariants."""
    text = (tree / "Documentation/rules.rst").read_text(encoding="utf-8")
    _, *parts = _SECTION.split(text + "\n")
    for name, section in zip(parts[::2], parts[1::2]):
        fields = {field: content.split() for field, content in _FIELD.findall(section)}
        yield Promise(name, fields.get("Tests", []), "Not built yet" in fields)


def everything(tree=TREE):
    """Both."""
    yield from findings(tree)
    yield from rules(tree)


def is_case(pattern, case):
    """Does a pattern mean a case? Cases of one file of several are called file.case. A name
    that is not known in full is a pattern itself."""
    return fnmatch.fnmatch(pattern, case) or \
        any(fnmatch.fnmatch(case, wanted) for wanted in (pattern, f"*.{pattern}", f"{pattern}.*"))


def lost(promises, suites, cases, left_out=()):
    """Which of their tests are missing, in words.

    suites	the names of all suites
    cases	{name of a suite: names of those of its cases that count}
    left_out	suites that a longer run answers for
    """
    for promise in promises:
        for test in promise.tests:
            suite, _, pattern = test.partition(":")
            if suite not in suites:
                yield f"{promise.name}: there is no suite {suite}"
            elif suite not in left_out and not any(is_case(pattern or "*", case) for case in cases.get(suite, ())):
                yield f"{promise.name}: no case {test}"
