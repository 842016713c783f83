# SPDX-License-Identifier: GPL-2.0-only
"""Runs suites: on the host, or several in one machine."""

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
CPUS = {"uml": Fraction(1, 3), "uml-lockdep": Fraction(2, 5)}
# What a machine has without asking, and what it takes on top.
MEMORY, MORE_MEMORY = 2 << 30, 1 << 29
# Held by whoever builds what machines take along; machine/products.py has it too.
BUILD_LOCK = TREE / "build/vm/build.lock"
# What a script says by its exit status: not here, and that is no failure.
SKIP = 4


def cpus_of(kernel):
    """How many CPUs a machine keeps busy."""
    return CPUS.get(kernel, 1)


def groups_of(kernel):
    """How many machines suites that can share one are spread over: as many as run side by side; of
    those that boot in no time twice as many, so that the last ones end together."""
    return int(os.cpu_count() / cpus_of(kernel)) * (2 if kernel in CPUS else 1)


def memory_of(suites):
    """What a machine for suites takes of the host's memory."""
    return max((size(value) for suite in suites for key, value in suite.needs if key == "mem"),
               default=MEMORY) + MORE_MEMORY


def lines(command, environment=None, meter=None):
    """Runs command; yields its lines, and its exit status at the end.

    It is asked to end when this process does, however that ends: machines end with
    the runner that began them, and suites with the run.
    """
    with subprocess.Popen(["setpriv", "--pdeathsig", "TERM", "--", *command], cwd=TREE,
                          env={**os.environ, **(environment or {})},
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          text=True, errors="replace") as process:
        if meter:
            meter.process = process.pid
        for line in process.stdout:
            yield line.rstrip("\n")
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


def one_machine(report, kernel, suites):
    """Runs suites in one machine; returns those that it did not get to."""
    command = [SELFTESTS / "vm/run", "--kernel", kernel, *machine_of(suites),
               f"--timeout={sum(time_limit(suite, kernel) for suite in suites) + MARGIN}",
               "--", "selftests/lib/guest-suites"]
    for suite in suites:
        command += [str(time_limit(suite, kernel)), str(suite.path.relative_to(SELFTESTS)),
                    " ".join(suite.cases)]
    left = list(suites)
    meter = Meter()
    section = None
    tainted = False
    status = None
    for line in lines(command, meter=meter):
        if isinstance(line, int):
            status = line
        elif line.startswith("@suite "):
            section = report.begin(f"{left[0].name} [{kernel}]", meter)
        elif line.startswith("@exit ") and section:
            left.pop(0)
            section.end(int(line.split()[1]))
            section = None
        elif line.startswith("@tainted "):
            tainted = True
        elif line and section:
            section.line(line)
        elif line:
            report.diagnostic(line)
    if section:
        left.pop(0)
        section.end(None)
    elif left != suites and (tainted or status):
        done = [suite for suite in suites if suite not in left]
        report.failure(f"kernel log [{kernel}]",
                       f"the machine failed with status {status} after: " +
                       " ".join(suite.name for suite in done))
    return left


def in_machines(report, kernel, suites):
    """Runs suites that share a machine; in a new one if that breaks."""
    while suites:
        names = " ".join(suite.name for suite in suites)
        if report.is_late(f"{names} [{kernel}]"):
            break
        left = one_machine(report, kernel, suites)
        if left == suites:
            report.failure(f"machine [{kernel}]", f"not run: {names}")
            break
        suites = left
