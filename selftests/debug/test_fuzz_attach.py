#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_fuzz_attach - damaged containers, sidecars and parents, thousands of them
#
#	test_fuzz_attach.py [--seed N] [--seconds N] [--first ROUND --rounds N] [--workers N]
#
# src/fuzz_attach.c damages, attaches and uses; what it hands over is judged here, by the
# oracle. What fails is in /out, and "--seed S --first N --rounds 1 --workers 1" does it again.
#
# vm: mem=3G timeout=900 takes=35
"""No damaged container, sidecar or parent harms the kernel, hangs it, or makes it lie; and no
parent is ever written."""

import argparse
import contextlib
import gzip
import lzma
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "vhdx/lib"))
from vhdxtest import images, knob, ktap, udev
from vhdxtest.disk import attached
from vhdxtest.images import GIB, KIB, MIB
import vhdxoracle
from vhdxoracle import check, dirty, faults
from vhdxoracle.findings import FATAL

FUZZER = "/usr/libexec/vhdx-selftests/fuzz_attach"
# What a fuzzer that was told to stop may still take.
GRACE = 150
UNLIMITED = 1 << 40


def parse():
    """The options; what is left are patterns of cases."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=ktap.SEED)
    parser.add_argument("--seconds", type=int, default=30 if ktap.BRIEF else 1800)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=UNLIMITED)
    # They mostly wait for RCU.
    parser.add_argument("--workers", type=int, default=2 * os.cpu_count())
    options, sys.argv[1:] = parser.parse_known_args()
    return options


OPTIONS = parse()
# One in so many that were written is: the judge takes longer than all the rest.
JUDGED = 4 if OPTIONS.rounds == UNLIMITED else 1


# ---- what is damaged --------------------------------------------------------------------

CONTENT = [(0, b"a" * 8192), (3 * MIB + 512 * KIB, b"b" * MIB)]


def containers(directory):
    """One of each kind that takes its own way through the driver."""
    def create(name, size=8 * MIB, **shape):
        return images.create(directory / f"{name}.vhdx", size, seed=1, **shape)

    create("clean", block_size=MIB, content=CONTENT, states={5: "ZERO", 6: "UNMAPPED+"})
    create("fixed", 4 * MIB, block_size=MIB, fixed=True, content=[(MIB, b"f" * 4096)])
    create("4096", block_size=2 * MIB, sector_size=4096, content=CONTENT, shuffle=True)
    create("huge", 1 << 40, block_size=MIB, content=CONTENT + [(1 << 39, b"h" * 4096)])
    create("large_blocks", 40 * MIB, block_size=8 * MIB, content=[(MIB, b"l" * 4096)])
    dirty(create("dirty", block_size=MIB, content=CONTENT),
          [(MIB, b"d" * 4096), (4 * MIB, b"e" * 70000), (2 * MIB, b"g" * 512)],
          {7: "ZERO"}, stale=2, applied=1, seed=2)
    dirty(create("wrapped", block_size=MIB, content=CONTENT), [(MIB, b"d" * 4096)],
          wrap=True, zeros=[(3 * MIB + 64 * KIB, 8192)], guid_per_entry=False, seed=3)


def children(directory):
    """Children, each with its parent: some sectors of blocks, all of one, and what hides a
    parent's; bits of a sector bitmap that are in the log; several bitmaps."""
    def create_both(name, size, content, **shape):
        parent = images.create(directory / f"{name}.vhdx.parent", size, block_size=MIB, seed=4,
                               content=CONTENT)
        child = directory / f"{name}.vhdx"
        vhdxoracle.create(child, parent=parent, block_size=MIB, seed=5, content=content, **shape)
        return child

    parts = [(4096, b"p" * 512), (3 * MIB - 4096, b"q" * 12288), (5 * MIB, b"r" * MIB)]
    create_both("child", 8 * MIB, parts, states={4: "ZERO", 6: "UNMAPPED+"})
    dirty(create_both("dirty_child", 8 * MIB, parts),
          [(MIB + 512, b"s" * 8192), (8192, b"t" * 512)], stale=1, seed=6)
    create_both("wide_child", 12 * GIB + MIB,
                parts + [(at * GIB - 512, b"u" * 1024) for at in (4, 8, 12)])


def tracked(directory):
    """The same, with sidecars that the driver made: some points, some changes."""
    for name, options in (("tracked", {}), ("tracked_4096", {"sector_size": 4096})):
        path = images.create(directory / f"{name}.vhdx", 16 * MIB, block_size=MIB, **options)
        with attached(path, "--track", "--unit", "4K") as disk:
            for number in range(4):
                for piece in range(3 + number):
                    disk.write((number + 3 * piece) * 512 * KIB, b"t" * 4096)
                disk.handle.seal(f"point {number}")
            disk.write(8 * MIB, b"u" * 4096)
            disk.handle.forget(disk.handle.ids()[2])


def real_ones(directory):
    """What other programs made, where it is small."""
    corpus = pathlib.Path(os.environ.get("VHDX_CORPUS", "/nonexistent"))
    for path in sorted(corpus.glob("*.vhdx.?z")):
        if "differential" in path.name:
            continue
        unpack = lzma.open if path.suffix == ".xz" else gzip.open
        with unpack(path) as packed:
            content = packed.read()
        if len(content) <= 24 * MIB:
            (directory / f"real-{path.stem}").write_bytes(content)


@contextlib.contextmanager
def memory_disk():
    """A directory in memory."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="fuzz-"))
    images.command("mount", "-t", "tmpfs", "-o", "size=1G", "tmpfs", path)
    try:
        yield path
    finally:
        # What hangs keeps it busy.
        images.command("umount", "--lazy", path)


# ---- the judge ---------------------------------------------------------------------------

def judge(before, after):
    """ "good", or what is wrong with a container that was attached, written and detached."""
    found = check(before)
    was = faults(found, strict=True)
    fatal = [fault for fault in was if fault.severity == FATAL]
    if fatal:
        return f"attached for writing, in spite of: {fatal[0]}"
    now = faults(check(after, clean=True), strict=True)
    if len(now) > len(was):
        new = [fault for fault in now if fault not in was]
        return f"{len(was)} faults became {len(now)}: {'; '.join(map(str, new[:3]))}"
    return "good"


def listen(fuzzer, said):
    """Answers its questions; what else it says goes into a list."""
    for line in fuzzer.stdout:
        words = line.split()
        if words[0] == "judge":
            try:
                verdict = judge(*words[1:])
            except Exception as error:  # pylint: disable=broad-exception-caught
                verdict = f"the oracle gave up: {error!r}"
            fuzzer.stdin.write(" ".join(verdict.split()) + "\n")
            fuzzer.stdin.flush()
        else:
            said.append(line.rstrip("\n"))


class Worker:
    """A fuzzer that runs, and somebody who listens to it."""

    def __init__(self, number, seeds, directory):
        work = directory / f"work{number}"
        work.mkdir()
        seed = OPTIONS.seed + number
        save = os.environ.get("VHDX_OUT", "/out")
        # pylint: disable=consider-using-with
        self.fuzzer = subprocess.Popen(
            [FUZZER, seeds, work, save, str(seed), str(OPTIONS.first), str(OPTIONS.rounds),
             str(OPTIONS.seconds), str(JUDGED)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.said = []
        self.thread = threading.Thread(target=listen, args=(self.fuzzer, self.said), daemon=True)
        self.thread.start()

    def finish(self):
        """Waits for its end, if it comes."""
        self.thread.join(OPTIONS.seconds + GRACE)
        for line in self.said:
            ktap.diag(line)
        ktap.check(not self.thread.is_alive(), "the fuzzer hangs")
        ktap.check(self.said and self.said[-1].startswith("done "), "the fuzzer broke off")
        bad = [line for line in self.said if line.startswith("failure ")]
        ktap.check(not bad, f"{len(bad)} failures, the first: {bad[:1]}")

    def written(self):
        """How many containers it wrote, once it has finished."""
        return int(re.search(r" (\d+) written,", self.said[-1])[1])


def impatient_rcu():
    """Grace periods, of which an attach and a detach have many, end at once."""
    return knob.turned("/sys/kernel/rcu_expedited", "1")


@ktap.case
def damaged_containers_and_sidecars():
    """See above."""
    with memory_disk() as directory, impatient_rcu():
        seeds = directory / "seeds"
        seeds.mkdir()
        containers(seeds)
        children(seeds)
        tracked(seeds)
        real_ones(seeds)
        with udev.asleep():
            workers = [Worker(number, seeds, directory) for number in range(OPTIONS.workers)]
            failures = []
            for worker in workers:
                try:
                    worker.finish()
                except AssertionError as error:
                    failures.append(str(error))
            ktap.check(not failures, failures)
            ktap.check(OPTIONS.rounds < UNLIMITED or any(worker.written() for worker in workers),
                       "no container was written: nothing was tried")


ktap.main()
