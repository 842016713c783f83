# SPDX-License-Identifier: GPL-2.0-only
"""A KTAP harness: suites are modules, tests are their functions named test_*.

A test gets a scratch directory; it fails by raising and skips by raising Skip.
"""

import fnmatch
import pathlib
import sys
import tempfile
import time
import traceback


class Skip(Exception):
    """The test cannot run here; the text says why."""


def expect(condition, message):
    if not condition:
        raise AssertionError(message)


def expect_equal(got, wanted, what="value"):
    if got != wanted:
        raise AssertionError(f"{what}: got {got!r}, wanted {wanted!r}")


def tests_of(module, pattern):
    suite = module.__name__.rpartition(".")[2]
    for name, function in vars(module).items():
        if name.startswith("test_") and callable(function):
            name = name[len("test_"):]
            if not pattern or fnmatch.fnmatch(f"{suite}.{name}", f"*{pattern}*"):
                yield name, function


def _run_test(function):
    """(passed, text behind the name, diagnosis)"""
    with tempfile.TemporaryDirectory(prefix="oracle-") as scratch:
        try:
            function(pathlib.Path(scratch))
        except Skip as reason:
            return True, f" # SKIP {reason}", ""
        except Exception:
            return False, "", traceback.format_exc()
    return True, "", ""


def run(modules, pattern=""):
    """Print KTAP for all tests that match; True if none failed."""
    suites = [(m, list(tests_of(m, pattern))) for m in modules]
    suites = [(m, tests) for m, tests in suites if tests]
    print(f"KTAP version 1\n1..{len(suites)}")
    all_passed = True
    for suite_number, (module, tests) in enumerate(suites, 1):
        print(f"    KTAP version 1\n    # Subtest: {module.__name__.rpartition('.')[2]}\n    1..{len(tests)}")
        suite_passed = True
        for number, (name, function) in enumerate(tests, 1):
            start = time.monotonic()
            passed, directive, diagnosis = _run_test(function)
            for line in diagnosis.splitlines():
                print(f"    # {line}")
            took = time.monotonic() - start
            if took > 2:
                print(f"    # {name} took {took:.1f} s")
            print(f"    {'ok' if passed else 'not ok'} {number} {name}{directive}")
            sys.stdout.flush()
            suite_passed &= passed
        print(f"{'ok' if suite_passed else 'not ok'} {suite_number} {module.__name__.rpartition('.')[2]}")
        all_passed &= suite_passed
    return all_passed
