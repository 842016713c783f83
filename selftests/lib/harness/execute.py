# SPDX-License-Identifier: GPL-2.0-only
"""Runs suites: on the host, or several in one machine."""

import contextlib
import fcntl
import os
import subprocess
import threading
from fractions import Fraction

from harness.cpu import Meter
from harness.suites import BUILT, SELFTESTS, TREE, machine_of, size

# Room in a machine's time limit for what is not a suite.
MARGIN = 60
# How much longer everything takes on a kernel that checks all it does.
SLOWNESS = {"uml-lockdep": 5, "debug": 5}
# How many CPUs a machine keeps busy. User Mode Linux waits more than it works.
CPUS = {"uml": Fraction(1, 4), "uml-lockdep": Fraction(2, 5)}
# What a machine has without asking, and what it takes on top.
MEMORY, MORE_MEMORY = 2 << 30, 1 << 29
# Held by whoever builds what machines take along; machine/products.py has it too.
BUILD_LOCK = TREE / "build/vm/build.lock"
# What a script says by its exit status: not here, and that is no failure.
SKIP = 4


def cpus_of(kernel):
    """How many CPUs a machine keeps busy."""
    return CPUS.get(kernel, 1)


def machines_of(kernel):
    """How many machines suites that can share one are spread over: as many as run side by side."""
    return int(os.cpu_count() / cpus_of(kernel))


def memory_of(suites):
    """What a machine for suites takes of the host's memory."""
    return max((size(value) for suite in suites for key, value in suite.needs if key == "mem"),
               default=MEMORY) + MORE_MEMORY


def lines(command, environment=None, meter=None, answer=None):
    """Runs command; yields its lines, and its exit status at the end. What answer() makes of a
    line, if anything, is told to it.

    It is asked to end when this process does, however that ends: machines end with
    the runner that began them, and suites with the run.
    """
    with subprocess.Popen(["setpriv", "--pdeathsig", "TERM", "--", *command], cwd=TREE,
                          env={**os.environ, **(environment or {})},
                          stdin=subprocess.PIPE if answer else subprocess.DEVNULL,
                          stdout=subprocess.PIPE, text=True, errors="replace") as process:
        if meter:
            meter.process = process.pid
        for line in process.stdout:
            line = line.rstrip("\n")
            told = answer(line) if answer else None
            if told:
                # It may have ended meanwhile.
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.write(told)
                    process.stdin.flush()
            yield line
        if meter:
            meter.end()
    yield process.returncode


_built = set()
_building = threading.Lock()


def build(report, suite):
    """Builds what a suite needs, once in a run."""
    with _building:
        if not suite.make or suite.make in _built:
            return
        _built.add(suite.make)
        # What machines take along is built for them, too.
        BUILD_LOCK.parent.mkdir(parents=True, exist_ok=True)
        with open(BUILD_LOCK, "w", encoding="ascii") as lock:
            if "userspace" in " ".join(suite.make):
                fcntl.flock(lock, fcntl.LOCK_EX)
            command = ["make", "-s", f"-j{os.cpu_count()}", *suite.make]
            for line in lines(command):
                if isinstance(line, str):
                    report.diagnostic(line)
                elif line:
                    report.failure(suite.name.partition("/")[0], f"{' '.join(command)} failed")


def kernel_is_there(report, kernel):
    """Fetches or builds a kernel; False, and reported, if that does not work."""
    if "/" in kernel:
        return True
    if report.is_late(f"kernel {kernel}", BUILT.get(kernel, 0)):
        return False
    *_, status = lines([SELFTESTS / "vm/kernel", kernel])
    if status == SKIP:
        report.skip(f"kernel {kernel}", f"NOT TESTED: the kernel {kernel} can't be had here")
    elif status:
        report.failure(f"kernel {kernel}", f"selftests/vm/kernel {kernel} failed")
    return not status


def time_limit(suite, kernel):
    """Seconds that a suite may take on a kernel."""
    patience = 10 if os.environ.get("VHDX_LONG") else 1
    return suite.timeout * SLOWNESS.get(kernel, 1) * patience


def on_host(report, suite, kernel=None):
    """Runs one suite on the host."""
    name = f"{suite.name} [{kernel}]" if kernel else suite.name
    if report.is_late(name):
        return
    meter = Meter()
    section = report.begin(name, meter)
    command = ["timeout", "-k", "10", str(time_limit(suite, kernel)), suite.path, *suite.cases]
    environment = {"VHDX_TEST_KERNEL": kernel} if kernel else {}
    if not os.environ.get("VHDX_LONG"):
        environment["VHDX_SHARE"] = str(suite.share)
    for line in lines(command, environment, meter):
        if isinstance(line, int):
            section.end(line)
        else:
            section.line(line)


class Shared:
    """Suites that several machines share: each takes one after the other."""

    def __init__(self, report, kernel, suites, machines):
        self.report, self.kernel = report, kernel
        self.machines = machines
        self.lock = threading.Lock()
        self.left = list(suites)
        self.options = machine_of(suites)
        self.patience = max(time_limit(suite, kernel) for suite in suites) + MARGIN

    def take(self):
        """The next one that there is time for, or None."""
        with self.lock:
            while self.left:
                suite = self.left.pop(0)
                if not self.report.is_late(f"{suite.name} [{self.kernel}]"):
                    return suite
            return None

    def give_back(self, suite):
        """It was not begun."""
        with self.lock:
            self.left.insert(0, suite)

    def leave(self):
        """A machine takes no more; what the last one leaves is not run."""
        with self.lock:
            self.machines -= 1
            if self.left and not self.machines:
                names = " ".join(suite.name for suite in self.left)
                self.report.failure(f"machine [{self.kernel}]", f"not run: {names}")


class Machine:
    """One that runs suites until there is none left, or it breaks."""

    def __init__(self, shared):
        self.shared, self.report = shared, shared.report
        self.meter = Meter()
        self.done = []
        # What it was told to run; its part of the report, from the moment when it begins.
        self.suite = self.section = None
        self.tainted = False

    def answer(self, line):
        """What it is told when it says so: the next suite."""
        if line != "@next":
            return None
        self.suite = self.shared.take()
        if not self.suite:
            return "end\n"
        return f"{time_limit(self.suite, self.shared.kernel)} " \
               f"{self.suite.path.relative_to(SELFTESTS)} {' '.join(self.suite.cases)}\n"

    def line(self, line):
        """Takes what it says."""
        if line.startswith("@suite "):
            self.section = self.report.begin(f"{self.suite.name} [{self.shared.kernel}]", self.meter)
        elif line.startswith("@exit ") and self.section:
            self.end_of_suite(int(line.split()[1]))
        elif line.startswith("@tainted "):
            self.tainted = True
        elif line and self.section:
            self.section.line(line)
        elif line and line != "@next":
            self.report.diagnostic(line)

    def end_of_suite(self, status):
        """It has ended, or the machine has (None)."""
        self.section.end(status)
        self.done.append(self.suite.name)
        self.suite = self.section = None

    def run(self):
        """Boots it; False if it came to nothing."""
        command = [SELFTESTS / "vm/run", "--kernel", self.shared.kernel, "--fed",
                   *self.shared.options, f"--timeout={self.shared.patience}",
                   "--", "selftests/lib/guest-suites"]
        status = None
        for line in lines(command, meter=self.meter, answer=self.answer):
            if isinstance(line, int):
                status = line
            else:
                self.line(line)
        if self.section:
            self.end_of_suite(None)
            return True
        if self.suite:
            self.shared.give_back(self.suite)
        if self.tainted or status:
            self.report.failure(f"kernel log [{self.shared.kernel}]",
                                f"the machine failed with status {status} after: " +
                                (" ".join(self.done) or "nothing"))
        return bool(self.done)


def in_machines(shared):
    """Runs suites that are left in a machine; in a new one if that breaks."""
    while shared.left and Machine(shared).run():
        pass
    shared.leave()
