# SPDX-License-Identifier: GPL-2.0-only
"""KTAP version 1 for test suites in Python.

    import pathlib, sys
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
    import ktap

    @ktap.case
    def reads_back():
        ktap.equal(path.stat().st_size, 4096, "size")

    for size in (512, 4096):
        ktap.add(f"sectors_of_{size}", sectors, size)

    ktap.main()

A case fails by raising, and skips by ktap.skip(). Its standard output, and that
of what it runs, goes to standard error. The suite takes patterns of the names
of cases to run. Exit status: 0 no failure, 1 a failure, 4 all skipped.
"""

import fnmatch
import os
import pathlib
import random
import sys
import time
import traceback

# A brief run: suites do a part of what they do many times.
BRIEF = bool(os.environ.get("VHDX_BRIEF"))
# A long one: they do all of it.
LONG = bool(os.environ.get("VHDX_LONG"))
# All that is left to chance in a run comes from this.
SEED = int(os.environ.get("VHDX_SEED") or time.time_ns() % 10 ** 9)
_CASES = []


class Skip(Exception):
    """This case cannot be tested here."""


def skip(reason):
    """Ends the case that runs: it cannot be tested here."""
    raise Skip(reason)


def check(condition, message):
    """Fails unless condition holds."""
    if not condition:
        raise AssertionError(message)


def equal(actual, expected, what="value"):
    """Fails unless both are equal."""
    check(actual == expected, f"{what} is {actual!r} instead of {expected!r}")


def expect_errno(numbers, function, *arguments, **named):
    """The call fails in this way, or in one of these, and no other; the error."""
    try:
        function(*arguments, **named)
    except OSError as error:
        check(error.errno in (numbers if isinstance(numbers, tuple) else (numbers,)),
              f"{error}, instead of errno {numbers}")
        return error
    raise AssertionError(f"{function.__name__}{str(arguments)[:60]} did not fail")


def eventually(condition, what, patience=20):
    """Waits until condition() is true, and returns what it is; fails after so many seconds."""
    end = time.monotonic() + patience
    while not (found := condition()):
        check(time.monotonic() < end, f"not within {patience} s: {what}")
        time.sleep(0.05)
    return found


def chance(name=""):
    """A source of chance; the same in every run with this run's seed."""
    return random.Random(f"{SEED} {sys.argv[0].rpartition('/')[2]} {name}")


def add(name, function, *arguments):
    """Registers function(*arguments) as a case."""
    _CASES.append((name, lambda: function(*arguments)))


def case(function):
    """Decorates a function that is a case, under its own name."""
    add(function.__name__, function)
    return function


class _Output:
    """The suite's real standard output, one whole line at a time."""

    def __init__(self):
        sys.stdout.reconfigure(line_buffering=True)
        self.fd = os.dup(1)
        # What cases and their children print must not look like results.
        os.dup2(2, 1)

    def line(self, text):
        """Writes a line."""
        os.write(self.fd, f"{text}\n".encode(errors="replace"))

    def diagnostics(self, text):
        """Writes text as diagnostics."""
        for line in text.rstrip("\n").split("\n"):
            self.line(f"# {line}")


_output = None


def diag(text):
    """Tells the reader something about the case that runs."""
    _output.diagnostics(str(text))


def _run(number, name, function):
    """Runs one case; "ok", "skip" or "not ok"."""
    try:
        function()
        _output.line(f"ok {number} {name}")
        return "ok"
    except Skip as reason:
        _output.line(f"ok {number} {name} # SKIP {reason}")
        return "skip"
    except (Exception, SystemExit):  # pylint: disable=broad-exception-caught
        _output.diagnostics(traceback.format_exc())
        _output.line(f"not ok {number} {name}")
        return "not ok"


def skip_all(reason):
    """Ends the suite: nothing of it can be tested here."""
    print(f"KTAP version 1\n1..0 # SKIP {reason}", flush=True)
    sys.exit(4)


def _held():
    """Patterns of this suite's cases that hold a promise: every run has these."""
    from harness import promises  # pylint: disable=import-outside-toplevel
    suite = pathlib.Path(sys.argv[0]).resolve()
    name = f"{suite.parent.name}/{suite.stem.removeprefix('test_')}"
    for promise in promises.everything():
        for test in promise.tests:
            if test.startswith(f"{name}:"):
                yield test.partition(":")[2]


def _sample(chosen, brief):
    """One of so many cases, from a random one on, and those that must be there."""
    held = list(_held())
    first = chance().randrange(brief)
    return [case for number, case in enumerate(chosen) if number % brief == first or
            any(fnmatch.fnmatch(case[0], pattern) for pattern in held)]


def main(brief=1):
    """Runs the cases in the order of their registration, and exits.

    A brief run has only one of so many, see _sample().
    """
    global _output  # pylint: disable=global-statement
    patterns = sys.argv[1:] or ["*"]
    chosen = [(name, function) for name, function in _CASES
              if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]
    if BRIEF and brief > 1:
        chosen = _sample(chosen, brief)
    _output = _Output()
    _output.line("KTAP version 1")
    _output.line(f"1..{len(chosen)}")
    _output.line(f"# VHDX_SEED={SEED}")
    results = [_run(number, name, function)
               for number, (name, function) in enumerate(chosen, 1)]
    if "not ok" in results:
        sys.exit(1)
    sys.exit(4 if results and set(results) == {"skip"} else 0)
