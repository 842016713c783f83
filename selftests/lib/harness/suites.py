# SPDX-License-Identifier: GPL-2.0-only
"""Which suites there are, and what each needs."""

import dataclasses
import fnmatch
import os
import re
from pathlib import Path

SELFTESTS = Path(__file__).resolve().parent.parent.parent
TREE = SELFTESTS.parent

# A suite's header may say "# vm: mem=4G disk=4G,1G timeout=900 smp=4 own-vm full=debug,newest
# brief=newest": what its machine has, for how many seconds, on which kernels the full run has
# it as well, and a brief one if not on these.
TIMEOUT = 900
HOST_TIMEOUT = 1800

# On these every suite runs, but for those that say otherwise.
KERNELS = ("6.1", "6.12")
# On these the full run has some more. The one that has to be built comes last: where time is
# short, it is done without.
FULL_KERNELS = ("newest", *KERNELS, "debug")
# How many minutes it takes to build it, and to test something with it.
BUILT = {"debug": 18}

# What the unit tests are built for beside the host: selftests/unit/Makefile.
UNIT_VARIANTS = ("clang", "m32", "big-endian")


@dataclasses.dataclass
class Suite:
    """A program that prints KTAP."""

    name: str
    path: Path
    # In a machine, once for each kernel; or on the host, as often if per_kernel.
    in_vm: bool = False
    per_kernel: bool = False
    needs: tuple = ()
    timeout: int = TIMEOUT
    own_vm: bool = False
    # What make is told to build it, if anything.
    make: tuple = ()
    # Only in the full run.
    full: bool = False
    # The kernels that it is worth its time on: in every run, in the full run as well, and
    # in a brief one instead of these.
    kernels: tuple = KERNELS
    full_kernels: tuple = ()
    brief_kernels: tuple = None

    def is_for(self, kernel):
        """Can it run on a kernel?"""
        return bool(self.kernels) or kernel in (*self.full_kernels, *(self.brief_kernels or ()))

    def is_worth(self, kernel, brief):
        """Does it, unless it is asked for?"""
        more = self.full_kernels
        if brief and self.brief_kernels is not None:
            more = self.brief_kernels
        return kernel in (*self.kernels, *more)


def header(path):
    """The words after "# vm:" in the first lines of a suite."""
    with open(path, encoding="utf-8", errors="replace") as suite:
        for _, line in zip(range(40), suite):
            match = re.match(r"# vm: (.*)", line)
            if match:
                return match[1].split()
    return []


def with_needs(suite):
    """Reads the suite's header."""
    needs = []
    for word in header(suite.path):
        key, _, value = word.partition("=")
        if key == "own-vm":
            suite.own_vm = True
        elif key == "timeout":
            suite.timeout = int(value)
        elif key == "disk":
            needs += [f"--disk={size}" for size in value.split(",")]
        elif key == "full":
            suite.full_kernels = tuple(value.split(","))
        elif key == "brief":
            suite.brief_kernels = tuple(value.split(","))
        elif key in ("mem", "smp"):
            needs.append(f"--{key}={value}")
        else:
            raise SystemExit(f"{suite.path}: '{word}' is no word of a '# vm:' line")
    suite.needs = tuple(needs)
    return suite


def programs(directory, pattern="*"):
    """The executable files of a directory, by name."""
    return sorted(path for path in Path(directory).glob(pattern)
                  if path.is_file() and os.access(path, os.X_OK))


def named(group, path):
    """What a suite is called: unit/bat for build/unit/test_bat."""
    return f"{group}/{path.stem.removeprefix('test_')}"


def unit_suites(variant=None):
    """The unit tests, or a variant of them: unit-clang/bat."""
    group = f"unit-{variant}" if variant else "unit"
    make = ("-C", str(SELFTESTS / "unit"), *([f"VARIANT={variant}"] if variant else []))
    # By their sources: what was built of others that are gone may still be there.
    return [Suite(named(group, source), TREE / "build" / group / source.stem, make=make,
                  timeout=HOST_TIMEOUT, full=bool(variant))
            for source in sorted((SELFTESTS / "unit").glob("test_*.c"))]


def all_suites():
    """All suites, those of the host first."""
    suites = unit_suites()
    for variant in UNIT_VARIANTS:
        suites += unit_suites(variant)
    suites.append(Suite("fuzz/fuzz", SELFTESTS / "fuzz/test_fuzz.sh", full=True,
                        make=("-C", str(SELFTESTS / "fuzz"))))
    suites += [Suite(named("oracle", path), path, timeout=HOST_TIMEOUT)
               for path in programs(SELFTESTS / "oracle", "test_*")]
    suites += [Suite(named("static", path), path, timeout=HOST_TIMEOUT, full=True)
               for path in programs(SELFTESTS / "static", "test_*")]
    suites.append(Suite("userspace/tests", TREE / "userspace/tests/run", timeout=HOST_TIMEOUT,
                        make=("-C", str(TREE / "userspace"), f"O={TREE}/build/userspace", "tests")))
    suites.append(Suite("vm/selftest", SELFTESTS / "vm/selftest", timeout=HOST_TIMEOUT))
    suites.append(Suite("vm/gates", SELFTESTS / "vm/gates", timeout=HOST_TIMEOUT,
                        per_kernel=True, full=True, kernels=(), full_kernels=("debug",)))
    suites += [with_needs(Suite(named("vhdx", path), path, in_vm=True))
               for path in programs(SELFTESTS / "vhdx")]
    suites += [with_needs(Suite(named("debug", path), path, in_vm=True, full=True, kernels=(),
                                full_kernels=("debug",)))
               for path in programs(SELFTESTS / "debug")]
    suites += [with_needs(Suite(named("crash", path), path, per_kernel=True,
                               timeout=HOST_TIMEOUT))
               for path in programs(SELFTESTS / "crash")]
    return suites


def chosen(suites, patterns, full=False):
    """Those that a pattern names: vhdx/io, vhdx, io or vhdx/i*. No pattern: all of the run."""
    def matches(suite, pattern):
        group, _, base = suite.name.partition("/")
        pattern = pattern.removeprefix("selftests/")
        return pattern in (group, base, f"{group}/{suite.path.name}") or \
            fnmatch.fnmatch(suite.name, pattern)

    for pattern in patterns:
        if not any(matches(suite, pattern) for suite in suites):
            raise SystemExit(f"there is no suite '{pattern}'")
    if not patterns:
        return [suite for suite in suites if full or not suite.full]
    return [suite for suite in suites if any(matches(suite, pattern) for pattern in patterns)]


def groups(suites):
    """Lists of suites that share a machine."""
    shared = {}
    for suite in suites:
        key = (suite.name if suite.own_vm else None, suite.needs)
        shared.setdefault(key, []).append(suite)
    return list(shared.values())


def builds(suites):
    """What has to be built for them: for each group, what make is told."""
    return {suite.name.partition("/")[0]: suite.make for suite in suites if suite.make}
