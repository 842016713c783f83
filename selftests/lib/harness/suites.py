# SPDX-License-Identifier: GPL-2.0-only
"""Which suites there are, and what each needs."""

import dataclasses
import fnmatch
import itertools
import os
import re
from pathlib import Path

SELFTESTS = Path(__file__).resolve().parent.parent.parent
TREE = SELFTESTS.parent

# A suite's header may say "# vm: mem=4G disk=4G,1G timeout=900 smp=4 own-vm on=uml,6.1
# full=6.12 long=debug takes=40": what its machine has, for how many seconds at most, which kernels
# it is worth its time on (in the full run and in the long one: on which others), and how many
# seconds it takes on User Mode Linux, so that what takes long begins first. Where but
# some cases are worth it, their patterns are there: full=6.1:autoclear*+held; the long run has
# all of them there.
TIMEOUT = 900
HOST_TIMEOUT = 1800

# The kernel that every suite in a machine is for, unless it says otherwise; those that are
# emulated have what depends on the kernel's version.
UML = "uml"
# Seconds on User Mode Linux of what is not too little for a machine of its own.
WORTH_A_MACHINE = 60
# What can be asked for without a name, in the order in which it is there: the one that has least to do
# is not the last one, whose module is built while nothing else is left to run.
KERNELS = (UML, "newest", "6.1", "6.12", "uml-lockdep", "debug")
# Those of them that a brief run need not have both of.
ALIKE = ("6.1", "6.12")
# Words of a header that name kernels, and where they are kept.
KERNELS_OF = {"on": "on", "full": "full_on", "long": "long_on"}
# How many minutes it takes to build one.
BUILT = {"uml": 6, "uml-lockdep": 7, "debug": 18}

# What the unit tests are built for beside the host: selftests/unit/Makefile. What compilers and
# machines differ in shows early: of what is done thousands of times these do one of so many.
UNIT_VARIANTS = ("clang", "m32", "big-endian")
VARIANT_SHARE = 8


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
    # Of what it does thousands of times it does one of so many, but for the long run.
    share: int = 1
    # Only in the full run, or only in the long one.
    full: bool = False
    long: bool = False
    # The kernels that it is worth its time on; others in the full run, and in the long one.
    on: tuple = (UML,)
    full_on: tuple = ()
    long_on: tuple = ()
    # Seconds on User Mode Linux.
    takes: int = 10
    # Patterns of its cases; none: all.
    cases: tuple = ()

    def only_long(self):
        """No other run has it, on any kernel."""
        return self.long or self.on == ("-",) and not self.full_on

    def worth(self, kernel, full, long):
        """What of it is worth its time on a kernel: a suite, or None."""
        words = (*self.on, *(self.full_on if full else ()), *(self.long_on if long else ()))
        mine = [patterns for name, _, patterns in (word.partition(":") for word in words)
                if name == kernel]
        if long or "" in mine:
            return self if mine else None
        return self.part("+".join(mine).split("+")) if mine else None

    def part(self, patterns):
        """These cases of it."""
        return dataclasses.replace(self, cases=tuple(patterns), takes=(self.takes + 1) // 2)


def size(text):
    """Bytes of a size such as 512M; a bare number is one."""
    unit = text[-1]
    shift = {"M": 20, "G": 30}.get(unit, 0)
    return int(text.removesuffix(unit) if shift else text) << shift


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
            needs += [("disk", size) for size in value.split(",")]
        elif key in KERNELS_OF:
            setattr(suite, KERNELS_OF[key], tuple(value.split(",")))
        elif key == "takes":
            suite.takes = int(value)
        elif key in ("mem", "smp"):
            needs.append((key, value))
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
                  timeout=HOST_TIMEOUT, full=bool(variant),
                  share=VARIANT_SHARE if variant else 1)
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
    # Of what the two kinds of machines share, under emulation there is what is dearest to lose.
    suites.append(Suite("vm/selftest", SELFTESTS / "vm/selftest", timeout=HOST_TIMEOUT,
                        per_kernel=True, takes=40,
                        full_on=("6.12:output*+killed_m*+instructions*+timeout*+panic*",)))
    suites.append(Suite("vm/gates", SELFTESTS / "vm/gates", timeout=HOST_TIMEOUT,
                        per_kernel=True, full=True, long_on=("uml-lockdep", "debug")))
    simulation = SELFTESTS / "crash/simulation"
    suites.append(Suite("crash/simulation", simulation / "test_simulation.sh",
                        make=("-C", str(simulation)), timeout=HOST_TIMEOUT))
    suites.append(Suite("mutants/mutants", SELFTESTS / "mutants/run", timeout=4 * HOST_TIMEOUT,
                        full=True, long=True))
    suites += [with_needs(Suite(named("vhdx", path), path, in_vm=True))
               for path in programs(SELFTESTS / "vhdx")]
    suites += [with_needs(Suite(named("debug", path), path, in_vm=True, full=True,
                                long_on=("debug",)))
               for path in programs(SELFTESTS / "debug")]
    suites += [with_needs(Suite(named("crash", path), path, per_kernel=True,
                               make=("-C", str(TREE), "userspace"), timeout=HOST_TIMEOUT))
               for path in programs(SELFTESTS / "crash")]
    return suites


def chosen(suites, wanted, full=False, long=False):
    """Those that are wanted: vhdx/io, vhdx, io or vhdx/i*, and with :PATTERN only some of their
    cases. Nothing is: all of the run. A group is without what only the long run has."""
    def matches(suite, pattern):
        group, _, base = suite.name.partition("/")
        pattern = pattern.removeprefix("selftests/")
        return pattern in (base, f"{group}/{suite.path.name}") or \
            fnmatch.fnmatch(suite.name, pattern) or \
            pattern == group and (long or not suite.only_long())

    if not wanted:
        return [suite for suite in suites
                if (full or not suite.full) and (long or not suite.long)]
    found = {}
    for pattern, _, case in (word.partition(":") for word in wanted):
        mine = [suite for suite in suites if matches(suite, pattern)]
        if not mine:
            raise SystemExit(f"there is no suite '{pattern}'")
        for suite in mine:
            found.setdefault(suite.name, (suite, []))[1].append(case)
    return [dataclasses.replace(suite, cases=() if "" in cases else tuple(cases))
            for suite, cases in found.values()]


def sampled(suites, chance):
    """What a brief run has. Two kernels of Debian are alike in most, and so are the variants of
    the unit tests: of what only the full run has, chance decides for one of each. Suites that
    User Mode Linux does not have keep theirs."""
    variant = f"unit-{chance.choice(UNIT_VARIANTS)}"
    kernel = chance.choice(ALIKE)
    for suite in suites:
        group = suite.name.partition("/")[0]
        if group.startswith("unit-") and group != variant:
            continue
        has = {word.partition(":")[0] for word in (*suite.on, *suite.full_on)}
        if suite.in_vm and has.issuperset((UML, *ALIKE)):
            suite = dataclasses.replace(suite, full_on=tuple(
                word for word in suite.full_on
                if word.partition(":")[0] not in ALIKE or word.partition(":")[0] == kernel))
        yield suite


def _alone(suite):
    """Shares no machine: it wants one, or needs more memory than others."""
    return suite.own_vm or suite.per_kernel or any(key == "mem" for key, _ in suite.needs)


def groups(suites, count):
    """(suites that share machines, how many), those first that share none. Of each, those that take
    longest come first.

    Those that can share are spread over so many, where it is worth booting them.
    """
    suites = sorted(suites, key=lambda suite: suite.takes, reverse=True)
    shared = [suite for suite in suites if not _alone(suite)]
    worth = 1 + sum(suite.takes for suite in shared) // WORTH_A_MACHINE
    return [([suite], 1) for suite in suites if _alone(suite)] + \
        ([(shared, min(count, worth, len(shared)))] if shared else [])


def machine_of(suites):
    """The options of a machine that has what each of them needs."""
    disks = []
    most = {}
    for suite in suites:
        mine = [size(value) for key, value in suite.needs if key == "disk"]
        disks = [max(pair) for pair in itertools.zip_longest(disks, mine, fillvalue=0)]
        for key, value in suite.needs:
            if key != "disk":
                most[key] = max(most.get(key, 0), size(value))
    options = [f"--disk={value}" for value in disks]
    if "mem" in most:
        options.append(f"--mem={most['mem'] >> 20}M")
    if "smp" in most:
        options.append(f"--smp={most['smp']}")
    return options


def _shown(words):
    """Kernels, with a star where but some cases are for them."""
    return [f"{word.partition(':')[0]}*" if ":" in word else word for word in words]


def table(suites):
    """What runs where: a line for each suite, with what each run has besides."""
    for suite in suites:
        where = ",".join(_shown(suite.on)) if suite.in_vm or suite.per_kernel else "host"
        check, full = ("-", (where, *suite.full_on)) if suite.full else (where, suite.full_on)
        rest = [",".join(_shown(more)) or "-" for more in (full, suite.long_on)]
        yield f"{suite.name:<28} {check:<10} {rest[0]:<18} {rest[1]}"
