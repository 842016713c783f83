#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_log_writes - the power is lost at any write to a container and its sidecar
#
# A machine writes a tracked disk, both of whose files are parts of one device under
# dm-log-writes, so that one recording has the order of all. Then the files are made as a power
# loss leaves them: behind every write, or with any of those missing, or sectors of them, that
# no flush had made durable; and judged, see vhdxtest/aftermath.py. From one of these a machine
# starts again, recovers, and its writes are recorded and judged in the same way.
#
# One of two disks is the leaf of a chain, the seed decides which: sectors that it does not have
# hold what its parents have, before and after, and no machine writes those.
#
# VHDX_CRASH_POINTS=N judges N moments of each recording; the number of violations is printed.
#
# vm: on=uml takes=80
import collections
import copy
import functools
import json
import multiprocessing
import os
import pathlib
import random
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
import layers  # noqa: E402
import plans  # noqa: E402
from layers import FILES  # noqa: E402
from plans import CONTAINER, SIDECAR  # noqa: E402
from vhdxtest import ktap, log_writes  # noqa: E402
from vhdxtest.aftermath import Aftermath  # noqa: E402
from vhdxtest.chronicle import Chronicle  # noqa: E402

KERNEL = os.environ.get("VHDX_TEST_KERNEL", "uml")
POINTS = int(os.environ.get("VHDX_CRASH_POINTS") or 100)
# Layers below the disk of the sessions, and below the one that has a file system.
PARENTS = plans.chain(ktap.chance("chain"))
PARENTS_OF_EXT4 = 0 if PARENTS else 1
# What the machines do.
SESSIONS = ("/src/selftests/crash/guest/sessions.py", "recorded")
FILE_SYSTEM = "/src/selftests/crash/guest/file_system.py"
# How many violations are told in full, and how often QEMU is asked.
TOLD = 5
QEMU_EVERY = 40


class Recorded:
    """What happened in one machine, and what was there before."""

    def __init__(self, directory, todo, chronicle, aftermath):
        self.directory, self.todo = directory, todo
        told = (directory / "out/events").read_text(encoding="ascii")
        self.events = [json.loads(line) for line in told.splitlines()]
        self.recording = log_writes.Recording(directory / "log")
        self.chronicle, self.aftermath = chronicle, aftermath

    def _with_a_point(self):
        """Groups before whose flush a point was given out."""
        return [number for number, told in enumerate(self.recording.acknowledged)
                if any(self.events[position][0] == "point" for position in told)]

    def in_the_middle(self, chance):
        """A moment among the later ones, where there are points."""
        groups = len(self.recording.groups)
        return log_writes.torn(chance.randrange(groups // 2, groups))

    def between(self, first, last, chance):
        """A moment between two events, of which there is one each."""
        kinds = [event[0] for event in self.events]
        begin, end = (next(number for number, told in enumerate(self.recording.acknowledged)
                           if kinds.index(kind) in told) for kind in (first, last))
        return log_writes.torn(chance.randrange(begin, end))

    def chosen(self, count, seed):
        """So many moments of all that there are, half of them between two writes."""
        chance = random.Random(seed)
        whole = self.recording.boundaries()
        groups = [number for number, group in enumerate(self.recording.groups) if group]
        chosen = chance.sample(whole, min(len(whole), count // 2))
        left = max(count - len(chosen), 0)
        chosen += [log_writes.torn(number) for number in chance.choices(groups, k=left // 2)]
        several = [number for number in groups if len(self.recording.groups[number]) > 1]
        chosen += [log_writes.some(number) for number in chance.choices(several, k=left // 2)]
        return list(dict.fromkeys(chosen))

    def walk(self, where, cuts, seed):
        """For each cut: the cut, and a chronicle and an aftermath that know all that was told
        before it. The files in the directory where are as they were left."""
        parts = [(where / "container", CONTAINER), (where / "sidecar", SIDECAR)]
        for path, _ in parts:
            shutil.copy(self.directory / path.name, path)
        chronicle = copy.deepcopy(self.chronicle)
        aftermath = self.aftermath.moved(*(path for path, _ in parts))
        taken = 0
        # Each point's content is looked at when it was given out, whether that is a cut or not.
        looked_at = [log_writes.first(group, 0) for group in self._with_a_point()]
        wanted = set(cuts)
        for moment in self.recording.moments(parts, dict.fromkeys([*looked_at, *cuts]), seed):
            fresh = self.events[taken:len(moment.acknowledged)]
            taken = len(moment.acknowledged)
            for event in fresh:
                chronicle.take(event)
            for event in fresh:
                if event[0] == "point":
                    aftermath.remember(event[1])
            if moment.cut in wanted:
                yield moment.cut, chronicle, aftermath


def record(directory, program, todo, chronicle, aftermath):
    """Has a machine write the disk in this directory, by a program of guest/."""
    backing, log = directory / "backing", directory / "log"
    with open(backing, "wb") as file:
        for name in FILES:
            file.write((directory / name).read_bytes())
    log.touch()
    os.truncate(log, 2 << 30)
    (directory / "in").mkdir()
    (directory / "in/plan").write_text(json.dumps(todo), encoding="ascii")
    plans.machine(KERNEL, directory / "in", program, backing, log, *aftermath.parents,
                  options=("--out", directory / "out"))
    backing.unlink()
    return Recorded(directory, todo, chronicle, aftermath)


def judged(work):
    """A part of the moments of a recording: (counts, violations)."""
    cuts, seed = work
    violations = []
    with tempfile.TemporaryDirectory(dir=being_judged.directory) as name:
        where = pathlib.Path(name)
        for number, (cut, chronicle, aftermath) in enumerate(being_judged.walk(where, cuts, seed)):
            try:
                aftermath.judge(chronicle)
                if number % QEMU_EVERY == 0:
                    aftermath.judge_by_qemu(where / "copy")
            except Exception as error:  # pylint: disable=broad-exception-caught
                violations.append(f"{tuple(cut)}: {type(error).__name__}: {error}")
    return aftermath.counts, violations


# What the processes that judge have from their parent.
being_judged = None
# Whose parents no machine is to write.
NEW_DISKS = []


def judge(recorded, seed):
    """All moments that are asked for, by as many processes as there are CPUs."""
    global being_judged  # pylint: disable=global-statement
    being_judged = recorded
    cuts = recorded.chosen(POINTS, seed)
    workers = os.cpu_count()
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        parts = pool.map(judged, [(cuts[one::workers], seed) for one in range(workers)], 1)
    for disk in NEW_DISKS:
        disk.same_parents()
    counts = sum((part[0] for part in parts), collections.Counter())
    violations = [violation for part in parts for violation in part[1]]
    ktap.diag(f"{len(recorded.aftermath.parents)} parents, "
              f"{sum(map(len, recorded.recording.groups))} writes, "
              f"{recorded.recording.discards()} discards, "
              f"{len(recorded.recording.groups)} flushes; " +
              ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) +
              f"; {len(violations)} violations")
    for violation in violations[:TOLD]:
        ktap.diag(violation)
    ktap.check(not violations, f"{len(violations)} violations")


def record_new(name, program, stamped, **shape):
    """What a machine does to a new disk."""
    directory = WORK / name
    directory.mkdir()
    todo = plans.plan(ktap.chance(name), **shape)
    disk = layers.Disk(directory, todo, ktap.chance(f"{name} layers"))
    chronicle, aftermath = Chronicle(), Aftermath(*disk.files, stamped, disk.parents)
    disk.tell(chronicle, aftermath)
    NEW_DISKS.append(disk)
    return record(directory, program, todo, chronicle, aftermath)


def record_behind(before, cut, program, chance):
    """What a machine does to the disk that a power loss at this moment of a recording leaves."""
    directory = before.directory / "behind"
    left = directory / "left"
    left.mkdir(parents=True)
    walk = before.walk(directory, [cut], chance.random())
    _, chronicle, aftermath = next(walk)
    ktap.diag(f"from {tuple(cut)}")
    chronicle.take(aftermath.crash_of(aftermath.judge(chronicle)))
    answers = aftermath.answers()
    # The walk's own files are as they were before when it ends.
    for name in FILES:
        shutil.copy(directory / name, left)
    walk.close()
    todo = plans.after_a_crash(before.todo, chance, chronicle, sessions=2)
    after = record(left, program, todo, chronicle, aftermath)
    told = next(event[1] for event in after.events if event[0] == "answers")
    # The library finds no parents there.
    told = {point: answer for point, answer in told.items() if not point.startswith("{")}
    ktap.equal(told, json.loads(json.dumps(answers)), "the driver's answers after the attach")
    return after


@functools.cache
def first_sessions():
    """Of a new disk."""
    return record_new("sessions", SESSIONS, True, sessions=3, writes=45, pause=0.15,
                      parents=PARENTS)


@ktap.case
def sessions():
    """From the moment at which tracking is enabled to the last detach."""
    judge(first_sessions(), ktap.chance("first").random())


@ktap.case
def recovery():
    """What the first sessions after a power loss do, from the attach on."""
    chance = ktap.chance("second")
    before = first_sessions()
    judge(record_behind(before, before.in_the_middle(chance), SESSIONS, chance), chance.random())


@ktap.case
def recovery_of_a_file_system():
    """The disk is attached after a power loss, and the first that is written is the journal's
    replay of an ext4 on it: tracked from the first write."""
    chance = ktap.chance("third")
    before = record_new("ext4", (FILE_SYSTEM, "write"), False, sessions=1, writes=0, pause=0,
                        parents=PARENTS_OF_EXT4)
    after = record_behind(before, before.between("point", "written", chance),
                          (FILE_SYSTEM, "recover"), chance)
    judge(after, chance.random())


with tempfile.TemporaryDirectory(prefix="crash-") as work:
    WORK = pathlib.Path(work)
    ktap.main()
