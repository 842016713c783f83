#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_tracking_writes - every changed byte is told of, and no unit that was not written
#
# Random writes, direct and buffered, while points are sealed at random moments and
# while others ask. Then every pair of points is judged by the writers' journal, and
# the pairs at rest by raw images. The answers must survive a detach, and the file must
# give them while it is not attached.
#
# vm: disk=1G timeout=400 takes=55
import contextlib
import os
import pathlib
import random
import sys
import threading
import time
import zlib
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, images, ktap  # noqa: E402
from vhdxtest.disk import attached  # noqa: E402
from vhdxtest.images import KIB, MIB  # noqa: E402
from vhdxtest.workload import History, Workload  # noqa: E402

SEALS = 3
# Seconds between two of them, at most.
PAUSE = 0.6


def seal_while_writing(disk, history, load, how, rng):
    """Points at random moments of a load, and questions in between."""
    asking = threading.Event()

    def ask():
        while not asking.wait(rng.uniform(0, PAUSE)):
            history.ask_live(rng.randrange(len(history.points)), disk.handle.changes)

    asker = threading.Thread(target=ask)
    with load.running(threads=3, processes=1, how=how):
        asker.start()
        for number in range(SEALS):
            time.sleep(rng.uniform(0.2, PAUSE))
            history.sealed(f"{how} {number}", disk.handle.seal)
        time.sleep(rng.uniform(0.2, PAUSE))
        asking.set()
        asker.join()
    history.writes += load.journal()


def judge(history, stills, changes):
    """Fails unless the answers are right for the journal, and for the images at rest."""
    faults = history.faults(changes)
    for (first, limit), (second, target) in zip(stills, stills[1:]):
        ranges = changes(limit, target) if target else changes(limit)
        where = images.differences(first, second, ranges)
        if where:
            faults.append(f"{first.name} and {second.name} differ at {where[:5]}, unreported")
    ktap.check(not faults, "\n".join(faults))


def check_offline(path, sidecar, told):
    """The file answers like the disk did; told is {(limit, target): [ranges]}."""
    for (limit, target), ranges in told.items():
        answer = ctl.json("changes", path, "--sidecar", sidecar, "--since", limit,
                          *(["--target", target] if target else []))
        ktap.equal([(one["offset"], one["length"]) for one in answer["ranges"]], ranges,
                   f"what the file tells about {limit} to {target}")


def disk_is_told_of(make, seed, unit, **shape):
    """The whole story of one disk. make(directory) says where its container is to be."""
    rng = random.Random(seed)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(images.directory())
        path = stack.enter_context(make(directory, shape["size"]))
        images.create(path, **shape)
        sidecar = directory / "sidecar"
        blank = images.sparse(directory / "blank", shape["size"])
        stills = [(blank, None)]
        with attached(path, "--track", "--unit", unit, "--sidecar", sidecar) as disk:
            history = History(disk.size, unit)
            history.sealed("first", lambda: disk.handle.ids()[0])
            stills[0] = (blank, history.points[0].id)
            load = Workload(disk.node, disk.size, shape["sector_size"],
                            edge=shape["block_size"], seed=seed)
            stack.callback(load.close)
            seal_while_writing(disk, history, load, "direct", rng)
            point = history.sealed("rest", disk.handle.seal)
            stills.append((images.raw_copy(disk.node, directory / "rest"), point))
            seal_while_writing(disk, history, load, "buffered", rng)
            stills.append((images.raw_copy(disk.node, directory / "end"), None))
            ktap.diag(f"{len(history.writes)} writes, {len(history.points)} points, "
                      f"{len(history.asked)} live answers")
            judge(history, stills, disk.handle.changes)
            ids = [one.id for one in history.points]
            told = {(limit, target): disk.handle.changes(limit, target) if target else
                    disk.handle.changes(limit)
                    for limit, target in ((ids[0], None), (ids[0], point), (ids[2], ids[5]))}
        check_offline(path, sidecar, told)
        history.asked.clear()
        with attached(path, "--sidecar", sidecar) as disk:
            ktap.equal(disk.sysfs("reason"), "none", "the reason of a gap")
            judge(history, stills, disk.handle.changes)


@contextlib.contextmanager
def on_file(directory, _):
    """A file of ext4."""
    yield directory / "disk.vhdx"


@contextlib.contextmanager
def on_loop(directory, size):
    """A loop device."""
    with images.loop(directory / "backing", size=size + 600 * MIB) as device:
        yield device


@contextlib.contextmanager
def on_virtio(*_):
    """A disk of the machine."""
    yield os.environ["VHDX_DISK0"]


def story(name, make, unit=16 * KIB, **shape):
    """Registers a case."""
    ktap.add(name, lambda: disk_is_told_of(make, zlib.crc32(name.encode()), unit, **shape))


story("blocks_of_1M", on_file, size=77 * MIB + 3 * 512, block_size=MIB, sector_size=512)
story("blocks_of_2M_fixed_4K_sectors", on_file, size=33 * MIB + 4096, block_size=2 * MIB,
      sector_size=4096, fixed=True)
story("blocks_of_32M_units_of_4K", on_file, unit=4 * KIB, size=100 * MIB + 512,
      block_size=32 * MIB, sector_size=512)
story("blocks_of_256M_units_of_1M", on_file, unit=MIB, size=300 * MIB + 7 * 4096,
      block_size=256 * MIB, sector_size=4096)
story("on_a_loop_device", on_loop, size=64 * MIB + 512, block_size=MIB, sector_size=512)
story("on_a_disk_fixed_32M", on_virtio, unit=64 * KIB, size=96 * MIB, block_size=32 * MIB,
      sector_size=512, fixed=True)

ktap.main()
