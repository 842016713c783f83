#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What the tree promises has tests: its rules, which Documentation/rules.rst has, and the
defects of selftests/findings. Whether these pass is for the full run to say."""

import os
import re
import sys
from pathlib import Path

SELFTESTS = Path(__file__).resolve().parents[1]
TREE = Path(os.environ.get("VHDX_STATIC_TREE") or SELFTESTS.parent)

sys.path.insert(0, str(SELFTESTS / "lib"))

import ktap  # noqa: E402
from harness import cases, promises, suites  # noqa: E402

# Where rules are cited: one, or several in a row.
CITING = ("kmod", "uapi", "userspace", "selftests", "Documentation", "README")
_AND = r"(?:, and |, | and )"
CITATIONS = (("", re.compile(rf"\b[Rr]ules? \(?([A-Z]\d+(?:{_AND}[A-Z]\d+)*)\b")),
             ("Invariant ", re.compile(rf"\b[Ii]nvariants? \(?(\d+(?:{_AND}\d+)*)\b")))
# What begins the lines of a comment.
_MARGIN = re.compile(r"\s*\n\s*(?://|\*(?!/)|#|\.\.)?\s*")


def texts():
    """(path, text) of all that may cite one."""
    for top in CITING:
        for path in sorted((TREE / top).rglob("*")) or [TREE / top]:
            if path.is_file() and "__pycache__" not in path.parts:
                data = path.read_bytes()
                if b"\0" not in data:
                    yield path, data.decode(errors="replace")


def cited():
    """(path, name) of each citation."""
    for path, text in texts():
        text = _MARGIN.sub(" ", text)
        for prefix, citation in CITATIONS:
            for match in citation.finditer(text):
                for number in re.findall(r"[A-Z]?\d+", match[1]):
                    yield path.relative_to(TREE), prefix + number


def cited_rules_exist():
    """What a comment refers to can be read."""
    known = {rule.name for rule in promises.rules(TREE)}
    found = list(cited())
    if len(found) < 50:
        yield f"only {len(found)} citations were found"
    for path, name in found:
        if name not in known:
            yield f"{path}: {name} is not in Documentation/rules.rst"


def rules_have_tests():
    """Of each, and one of each name; but for those that have no code yet."""
    names = [promise.name for promise in promises.everything(TREE)]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{name} is there twice"
    for promise in promises.everything(TREE):
        if not promise.tests and not promise.not_built_yet:
            yield f"{promise.name}: it names no test, and is not said to be unbuilt"


def named_tests_exist():
    """As far as it can be seen without running them."""
    named = {suite.name: cases.declared(suite, TREE) for suite in suites.all_suites()}
    yield from promises.lost(promises.everything(TREE), named.keys(), named)


def without_faults(gate):
    """A gate finds none."""
    faults = list(gate())
    ktap.check(not faults, "\n".join(["", *faults]))


for one in (cited_rules_exist, rules_have_tests, named_tests_exist):
    ktap.add(one.__name__, without_faults, one)
ktap.main()
