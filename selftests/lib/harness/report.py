# SPDX-License-Identifier: GPL-2.0-only
"""Prints all suites as one KTAP, and the closing line."""

from harness.results import Results


class Report:
    """The whole run; one suite at a time."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.number = 0
        self.current = None
        print("KTAP version 1", flush=True)

    def begin(self, name):
        """A suite starts."""
        self.current = (name, Results())
        print(f"# Subtest: {name}", flush=True)

    def line(self, text):
        """A line of output; what is not a suite's KTAP becomes diagnostics."""
        known = self.current and self.current[1].line(text)
        print(f"  {text}" if known else f"  # {text}", flush=True)

    def end(self, status):
        """The suite has ended, or its machine has (None)."""
        name, results = self.current
        results.finish(status)
        self.number += 1
        for complaint in results.complaints:
            print(f"# {name}: {complaint}")
        verdict = "not ok" if results.failed else "ok"
        print(f"{verdict} {self.number} {name}", flush=True)
        self.passed += results.passed
        self.failed += results.failed
        self.skipped += results.skipped
        self.current = None

    def failure(self, name, text):
        """Something failed that is no suite."""
        self.number += 1
        self.failed += 1
        print(f"# {text}\nnot ok {self.number} {name}", flush=True)

    def close(self):
        """The last lines; True if nothing failed."""
        print(f"1..{self.number}")
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped", flush=True)
        return not self.failed
