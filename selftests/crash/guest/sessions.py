#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The guest's part of test_log_writes and test_rounds: sessions of a disk on block devices that
may end at any moment, and a chronicle of them.

    sessions.py recorded        see recorded.py
    sessions.py until-killed    the container is disk 0, the sidecar disk 1; the chronicle is on
                                disk 2, an event in each sector, before what it tells of begins;
                                the next ones are the layers below

/in/plan says what: see plan() in selftests/crash/lib/plans.py.
"""

import contextlib
import json
import os
import pathlib
import random
import sys
import threading
import time

sys.path.insert(0, "/src/selftests/vhdx/lib")
from recorded import below, recorded  # noqa: E402
from vhdxtest import dio, stamps, udev  # noqa: E402
from vhdxtest.disk import attached  # noqa: E402
from vhdxtest.images import MIB  # noqa: E402

SECTOR = 512
REGIONS_AROUND = "/sys/module/vhdx/parameters/regions_around"
# Lengths of writes in sectors; no write is longer than its writer's piece of the disk.
LENGTHS = (1, 1, 3, 8, 8, 32, 128, 600)
WRITERS = 3
# With more than these, one is forgotten whenever there may be another.
MOST_POINTS = 8
# How much of the disk is written by FUA, and how often a flush follows another write. Nothing is
# written in both ways: dm-log-writes would put an older write that waits for its flush behind a FUA
# write to the same sector.
FUA, FLUSH = 0.12, 0.06
# How many blocks have one writer alone, who may discard them; and how many writes are zeroes.
WHOLE, ZEROES = 0.3, 0.15


class Diary:
    """Takes events, one after the other, and tells whoever listens."""

    def __init__(self, plan, listener):
        self.listener = listener
        self.lock = threading.Lock()
        self.events = 0
        self.number = plan["number"]
        self.undurable = set()

    def _note(self, event):
        self.listener(self.events, event)
        self.events += 1

    def note(self, *event):
        """Any event."""
        with self.lock:
            self._note(event)

    def begin(self, offset, length, kind="write"):
        """A write is about to be sent, or zeroes: its number."""
        with self.lock:
            self.number += 1
            self._note((kind, self.number, offset, length))
            return self.number

    def done(self, number):
        """It was acknowledged."""
        with self.lock:
            self.undurable.add(number)
            self._note(("done", number))

    def flushed(self, flush):
        """What is done is durable when flush() returns."""
        with self.lock:
            mine = sorted(self.undurable)
        flush()
        with self.lock:
            self.undurable -= set(mine)
            self._note(("durable", mine))


class Load:
    """Writers, each with pieces of the disk of its own, and one who seals and forgets."""

    def __init__(self, disk, plan, diary, chance):
        self.disk, self.plan, self.diary = disk, plan, diary
        self.chance = chance
        self.pieces = [[] for _ in range(WRITERS)]
        for start, end in plan["windows"]:
            if chance.random() < WHOLE:
                chance.choice(self.pieces).append((start, end - start, False))
                continue
            while start < end:
                size = min(chance.randrange(1, 1400) * SECTOR, end - start)
                chance.choice(self.pieces).append((start, size, chance.random() < FUA))
                start += size

    def _take_away(self, data, offset, length, chance):
        """Zeroes; whole blocks are discarded as well."""
        number = self.diary.begin(offset, length, "zeroes")
        if (offset | length) % MIB or chance.random() < 0.4:
            data.zero(offset, length, keep=chance.random() < 0.3)
        else:
            data.discard(offset, length)
        self.diary.done(number)

    def _writer(self, pieces, count, chance):
        with dio.Direct(self.disk.node, True) as plain, \
                dio.Direct(self.disk.node, True, os.O_DIRECT | os.O_DSYNC) as durable:
            for _ in range(count):
                start, size, fua = chance.choice(pieces)
                length = min(chance.choice(LENGTHS) * SECTOR, size)
                offset = start + chance.randrange((size - length) // SECTOR + 1) * SECTOR
                if not fua and chance.random() < ZEROES:
                    whole = size == MIB and chance.random() < 0.7
                    self._take_away(plain, *((start, size) if whole else (offset, length)), chance)
                    continue
                number = self.diary.begin(offset, length)
                data = durable if fua else plain
                data.write(offset, stamps.content(number, offset, length))
                self.diary.done(number)
                if fua:
                    self.diary.note("durable", [number])
                elif chance.random() < FLUSH:
                    self.diary.flushed(plain.flush)

    def _seal(self):
        self.diary.note("seal")
        self.diary.note("point", str(self.disk.handle.seal()))

    def _forget(self):
        points = self.disk.handle.references()
        if len(points) == 1:
            return          # the only one stays
        point = self.chance.choice(points)
        self.diary.note("forget", str(point))
        self.disk.handle.forget(point)
        self.diary.note("forgotten", str(point))

    def run(self, count):
        """Each writer writes so often; points come and go meanwhile."""
        writers = [threading.Thread(target=self._writer, daemon=True,
                                    args=(pieces, count, random.Random(self.chance.random())))
                   for pieces in self.pieces]
        for writer in writers:
            writer.start()
        while any(writer.is_alive() for writer in writers):
            time.sleep(self.chance.random() * self.plan["pause"])
            if self.chance.random() < 0.3 or len(self.disk.handle.references()) > MOST_POINTS:
                self._forget()
            if self.chance.random() < 0.7:
                self._seal()
        for writer in writers:
            writer.join()


@contextlib.contextmanager
def session(files, parents, plan, diary):
    """An attached disk. The first session of a disk enables tracking."""
    container, sidecar = files
    options = [*parents, *(["--track", "--unit", "4K"] if plan["new"] else [])]
    pathlib.Path(REGIONS_AROUND).write_text(str(plan["around"]), encoding="ascii")
    if plan["new"]:
        diary.note("seal")
    with attached(container, "--sidecar", sidecar, *options) as disk:
        if plan["new"]:
            diary.note("point", str(disk.handle.references()[0]))
        else:
            diary.note("answers", disk.answers())
        plan["new"] = False
        yield disk
    diary.note("detached")


def sessions(files, parents, plan, diary):
    """As many as are planned."""
    chance = random.Random(plan["seed"])
    for _ in range(plan["sessions"]):
        with session(files, parents, plan, diary) as disk:
            Load(disk, plan, diary, chance).run(plan["writes"])


def until_the_end(plan):
    """See the module's text."""
    with recorded(plan) as (container, sidecar, listener):
        sessions((container, sidecar), below(plan), plan, Diary(plan, listener))


def until_killed(plan):
    """See the module's text."""
    with dio.Direct(os.environ["VHDX_DISK2"], True) as told:
        def listener(position, event):
            text = json.dumps(event).encode()
            told.write(position * plan["room"], text.ljust(plan["room"], b" "))

        files = os.environ["VHDX_DISK0"], os.environ["VHDX_DISK1"]
        sessions(files, below(plan, first=3), plan, Diary(plan, listener))


with udev.asleep():
    {"recorded": until_the_end, "until-killed": until_killed}[sys.argv[1]](
        json.loads(pathlib.Path("/in/plan").read_text(encoding="ascii")))
