# SPDX-License-Identifier: GPL-2.0-only
"""Prints all suites as one KTAP, and the closing line."""

import resource
import threading
import time

from harness.results import Results


class Section:
    """One suite's part of the report; printed as a whole when the suite has ended."""

    def __init__(self, report, name, meter):
        self.report = report
        self.name = name
        self.meter = meter
        self.results = Results()
        self.lines = []
        self.begun = time.monotonic()
        self.cpu_before = meter.seconds()

    def line(self, text):
        """A line of output; what is not a suite's KTAP becomes diagnostics."""
        self.lines.append(f"  {text}" if self.results.line(text) else f"  # {text}")

    def end(self, status):
        """The suite has ended, or its machine has (None)."""
        self.results.finish(status)
        self.lines += [f"# {self.name}: {complaint}" for complaint in self.results.complaints]
        self.report.add(self.name, self.results, self.lines, self.begun,
                        self.meter.seconds() - self.cpu_before)


class Report:
    """The whole run. Suites run side by side; each is printed in one piece.

    Nothing is to begin after so many minutes.
    """

    def __init__(self, minutes=None):
        self.begun = time.monotonic()
        self.deadline = minutes and self.begun + minutes * 60
        self.passed = self.failed = self.skipped = 0
        self.number = 0
        # The cases that passed, by suite.
        self.cases = {}
        self.lock = threading.Lock()
        print("KTAP version 1", flush=True)

    def begin(self, name, meter):
        """A suite starts, in what the meter measures."""
        return Section(self, name, meter)

    def add(self, name, results, lines, begun, cpu_seconds):
        """A suite's results; when it began tells what ran beside it."""
        seconds = time.monotonic() - begun
        with self.lock:
            self.number += 1
            verdict = "not ok" if results.failed else "ok"
            print(f"# Subtest: {name}", *lines,
                  f"# {name}: {seconds:.0f} s, {cpu_seconds:.0f} s of CPU time, "
                  f"begun at {begun - self.begun:.0f} s",
                  f"{verdict} {self.number} {name}", sep="\n", flush=True)
            self.passed += results.passed
            self.failed += results.failed
            self.skipped += results.skipped
            self.cases.setdefault(name.partition(" ")[0], set()).update(results.passed_cases())

    def _alone(self, verdict, name, text, suffix=""):
        self.number += 1
        print(f"# {text}\n{verdict} {self.number} {name}{suffix}", flush=True)

    def failure(self, name, text):
        """Something failed that is no suite."""
        with self.lock:
            self.failed += 1
            self._alone("not ok", name, text)

    def skip(self, name, text):
        """Something that is no suite could not be tried."""
        with self.lock:
            self.skipped += 1
            self._alone("ok", name, text, " # SKIP")

    def is_late(self, name, minutes=0):
        """Must not begin what takes so many minutes any more: True, and reported."""
        if not self.deadline or time.monotonic() + minutes * 60 < self.deadline:
            return False
        self.skip(name, f"NOT TESTED: the run has taken too long for {name}; "
                        "make check-long has the time")
        return True

    def diagnostic(self, text):
        """A line that belongs to no suite."""
        with self.lock:
            print(f"# {text}", flush=True)

    def close(self):
        """The last lines; True if nothing failed."""
        took = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f"# {time.monotonic() - self.begun:.0f} s, "
              f"{took.ru_utime + took.ru_stime:.0f} s of CPU time")
        print(f"1..{self.number}")
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped", flush=True)
        return not self.failed
