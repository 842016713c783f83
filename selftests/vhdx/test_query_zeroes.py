#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_query_zeroes - which parts of what changed read as zeroes now
#
# The oracle says of each sector of a chain which layer has it. A sidecar that says that all of
# the disk changed has every state of a block in its answer.
#
# vm: takes=10
import contextlib
import os
import pathlib
import random
import signal
import sys
import threading
import time
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, images, ktap, mapper, sidecar, slow, uapi  # noqa: E402
from vhdxtest.chains import random_chain  # noqa: E402
from vhdxtest.disk import attached, opened, raw_attached  # noqa: E402
from vhdxtest.images import GIB, KIB, MIB, TIB  # noqa: E402
from vhdxtest.sidecar import Delta, leaf_of  # noqa: E402
import vhdxoracle  # noqa: E402
from vhdxoracle.ranges import RangeSet  # noqa: E402

UNIT = 16 * KIB


def zeroes_of(path, parents, unit, where):
    """What no layer has, in whole units of each of these ranges."""
    with vhdxoracle.open_disk(path, parents) as image:
        present = RangeSet((one.offset, one.offset + one.length)
                           for one in image.segments(0, image.size) if one.view)
    return RangeSet(part for start, end in where
                    for part in (RangeSet([(start, end)]) - present.widened(unit)))


def told(handle, limit, target, where, capacity, **fields):
    """All calls: {flags: RangeSet}; each is looked at."""
    found, (offset, end) = {0: [], uapi.RANGE_ZERO: []}, where
    while offset < end:
        argument, page = handle.flagged(limit, target, offset, end - offset, capacity, **fields)
        done = argument.processed_byte_length
        ktap.check(done > 0, "no progress")
        ktap.equal(argument.changed_bytes, sum(one.byte_length for one in page), "changed_bytes")
        last, flags = offset, None
        for one in page:
            ktap.check(one.byte_offset > last or one.byte_offset == last and one.flags != flags,
                       f"{one} touches the one before")
            last, flags = one.byte_offset + one.byte_length, one.flags
            ktap.check(last <= offset + done, f"{one} is beyond what was processed")
            found[flags].append((one.byte_offset, last))
        offset += done
    return {flags: RangeSet(ranges) for flags, ranges in found.items()}


@contextlib.contextmanager
def changed_container(path, leaves, parents=(), unit=UNIT):
    """Its sidecar says, between two points, that these leaves changed (None: all of one)."""
    lrct = f"{path}.lrct"
    with opened(lrct, os.O_RDWR | os.O_CREAT) as fd:
        with raw_attached(path, flags=uapi.ATTACH_NO_TRACK, parents=parents) as disk:
            disk.handle.enable(fd, unit)
    sidecar.replace(lrct, [Delta({}, 0, 0), Delta(leaves, 0, 0)])
    yield lrct


def check(handle, size, changed, zeroes, rng):
    """All of it, in pages of any length, and any part."""
    # Those of the leaf; a chain has snapshots before them.
    first, second = handle.ids()[-2:]
    for capacity in (1, 2, 3, 511, 513, 4096):
        found = told(handle, first, second, (0, size), capacity)
        ktap.equal(found[uapi.RANGE_ZERO], zeroes, f"zeroes, {capacity} at a time")
        ktap.equal(found[0] | found[uapi.RANGE_ZERO], changed, f"all, {capacity} at a time")
        ktap.check(not (found[0] & found[uapi.RANGE_ZERO]), "told twice")
    for _ in range(10):
        start, end = sorted(rng.randrange(size + 1) for _ in range(2))
        found = told(handle, first, second, (start, end), 64)
        ktap.equal(found[0] | found[uapi.RANGE_ZERO], changed.clip(start, end), (start, end))
        ktap.check(not (found[uapi.RANGE_ZERO] - zeroes.widened(UNIT).clip(start, end)),
                   f"{start} to {end}")
    # Who asks for no flags gets what touches as one.
    ktap.equal(RangeSet.of_lengths(handle.changes(first, second)), changed, "short ranges")


def chains(seed):
    """Of any geometry: attached, as the oracle says, and detached, the same."""
    rng = random.Random(seed)
    with images.directory() as scratch:
        chain = random_chain(scratch, seed, sector=512)
        size = chain.sizes[0]
        units = -(-size // UNIT)
        some = [unit for unit in range(units) if rng.random() < 0.7]
        leaf = None if seed % 2 else leaf_of(some)
        with changed_container(chain.leaf, {0: leaf}, chain.parents) as lrct:
            changed = RangeSet([(0, size)]) if seed % 2 else \
                RangeSet((unit * UNIT, min(size, (unit + 1) * UNIT)) for unit in some)
            zeroes = zeroes_of(chain.leaf, chain.parents, UNIT, changed)
            ktap.check(zeroes and changed - zeroes, "of one kind alone: nothing is tested")
            with chain.attached(sidecar=lrct) as disk:
                check(disk.handle, size, changed, zeroes, rng)
                first, second = disk.handle.ids()[-2:]
            ranges = ctl.json("changes", "--since", first, "--target", second, chain.leaf)["ranges"]
            for zero, wanted in ((True, zeroes), (False, changed - zeroes)):
                ktap.equal(RangeSet.of_lengths((one["offset"], one["length"]) for one in ranges
                                               if one["zero"] is zero), wanted, "detached")


for _seed in (41, 42, 43):
    ktap.add(f"chain_{_seed}", chains, _seed)


@ktap.case
def detached_says_the_same():
    """The command, of a disk and of its file; also what `changes --json` says of each range."""
    with images.directory() as scratch:
        path = scratch / "disk.vhdx"
        vhdxoracle.create(path, 16 * MIB, block_size=MIB,
                          states={3: "ZERO", 4: "UNMAPPED", 5: "UNDEFINED", 9: "UNDEFINED+"},
                          content=[(MIB, b"x" * 4096), (7 * MIB + 4096, b"y" * 512)])
        with changed_container(path, {0: None}):
            def answer(name):
                first = ctl.json("points", name)["points"][0]["id"]
                return ctl.json("changes", "--since", first, name)["ranges"]
            with attached(path) as disk:
                online = answer(disk.node)
            ktap.equal(answer(path), online, "detached")
            ktap.equal([(one["offset"], one["length"], one["zero"]) for one in online],
                       [(0, MIB, True), (MIB, MIB, False), (2 * MIB, 5 * MIB, True),
                        (7 * MIB, MIB, False), (8 * MIB, 8 * MIB, True)], "ranges")


@ktap.case
def writes_before_the_question_are_data():
    """While others write blocks that were never written: what was acknowledged is data."""
    with images.container(4 * GIB, MIB) as path, changed_container(path, dict.fromkeys(range(8))):
        with attached(path) as disk:
            first = disk.handle.ids()[0]
            rng = random.Random(7)
            blocks = rng.sample(range(4096), 400)
            done, ended = [], threading.Event()

            def write():
                for block in blocks:
                    disk.write(block * MIB + rng.randrange(2000) * 512, b"w" * 512)
                    done.append(block)
                ended.set()

            writer = threading.Thread(target=write)
            writer.start()
            rounds = 0
            while not ended.is_set() or not rounds:
                before = list(done)
                found = told(disk.handle, first, uapi.NOW, (0, disk.size), 4096)
                wrong = RangeSet((block * MIB, (block + 1) * MIB) for block in before) & \
                    found[uapi.RANGE_ZERO]
                ktap.check(not wrong, f"{wrong.lengths()[:3]} were written before")
                rounds += 1
            writer.join()
            ktap.diag(f"{rounds} rounds")
            found = told(disk.handle, first, uapi.NOW, (0, disk.size), 4096)
            ktap.equal(found[0], RangeSet((block * MIB, (block + 1) * MIB) for block in blocks),
                       "in the end")


@ktap.case
def granules_and_gaps():
    """A granule is zero if all of it is; zeroes shorter than a gap belong to the data beside."""
    with images.container(64 * MIB, MIB) as path, changed_container(path, {0: None}):
        with attached(path) as disk:
            first, second = disk.handle.ids()[-2:]
            for block in (9, 11, 14):
                disk.write(block * MIB, b"x" * 512)

            def zeroes(**fields):
                return told(disk.handle, first, second, (0, disk.size), 4096,
                            **fields)[uapi.RANGE_ZERO]
            rest = [(0, 9 * MIB), (15 * MIB, 64 * MIB)]
            ktap.equal(zeroes(), RangeSet(rest + [(10 * MIB, 11 * MIB), (12 * MIB, 14 * MIB)]))
            ktap.equal(zeroes(granularity=4 * MIB), RangeSet([(0, 8 * MIB), (16 * MIB, 64 * MIB)]))
            ktap.equal(zeroes(granularity=64 * MIB), RangeSet([]))
            ktap.equal(zeroes(min_gap=2 * MIB), RangeSet(rest + [(12 * MIB, 14 * MIB)]))
            ktap.equal(zeroes(min_gap=2 * MIB + 1), RangeSet(rest))
            # Of bits and sums there are none.
            argument = disk.handle.bits(first, second)[0]
            ktap.equal(argument.changed_bytes, disk.size, "bits")


@ktap.case
def gaps_that_are_joined_are_looked_at():
    """What was joined over a gap is zero only if the gap is."""
    units = [*range(0, 64), *range(128, 192), *range(1024, 1088), *range(1152, 1216)]
    with images.container(64 * MIB, MIB) as path, changed_container(path, {0: leaf_of(units)}):
        with attached(path) as disk:
            first, second = disk.handle.ids()[-2:]
            disk.write(MIB + 4096, b"x" * 512)
            found = told(disk.handle, first, second, (0, disk.size), 16, min_gap=2 * MIB)
            ktap.equal(found, {0: RangeSet([(0, 3 * MIB)]),
                               uapi.RANGE_ZERO: RangeSet([(16 * MIB, 19 * MIB)])})


@ktap.case
def what_can_not_be_read_is_data():
    """The reader gets the error; that it is zeroes would be a lie."""
    with images.directory() as scratch:
        path = scratch / "bad.vhdx"
        vhdxoracle.create(path, 16 * MIB, block_size=MIB, content=[(3 * MIB, b"x" * 4096)])
        with changed_container(path, {0: None}) as lrct:
            with vhdxoracle.open_disk(path) as image:
                at = image.bat_offset(5)
            with open(path, "r+b") as file:
                file.seek(at)
                file.write((7 | 1 << 50).to_bytes(8, "little"))
            with raw_attached(path, lrct, uapi.ATTACH_READ_ONLY) as disk:
                first, second = disk.handle.ids()[-2:]
                found = told(disk.handle, first, second, (0, disk.size), 16)
            ktap.equal(found[0], RangeSet([(3 * MIB, 4 * MIB), (5 * MIB, 6 * MIB)]))


@ktap.case
def time_limit():
    """Zeroes of 16 TiB, an extent after the other: a call ends early, and the next goes on."""
    with images.container(16 * TIB, MIB) as path:
        with attached(path, "--track") as disk:
            unit = disk.handle.state().unit
        leaves = 16 * TIB // unit // sidecar.LEAF_UNITS
        sidecar.replace(f"{path}.lrct", [Delta({}, 0, 0),
                                         Delta(dict.fromkeys(range(leaves)), 0, 0)])
        with attached(path) as disk:
            first, second = disk.handle.ids()[-2:]
            began = time.monotonic()
            argument, page = disk.handle.flagged(first, second, time_limit_ms=20)
            ktap.check(time.monotonic() - began < 2, "it took longer")
            ktap.check(0 < argument.processed_byte_length < disk.size, "all at once")
            ktap.equal([one.flags for one in page], [uapi.RANGE_ZERO], "flags")
            following = disk.handle.flagged(first, second, argument.processed_byte_length,
                                            time_limit_ms=20)[1]
            ktap.equal(following[0].byte_offset, argument.processed_byte_length, "goes on")


@ktap.case
def who_asks_for_no_flags_waits_for_no_container():
    """The mapping is not asked then; who does ask, and waits, can be killed."""
    with images.directory() as directory, slow.device(directory / "backing", 64 * MIB) as below:
        images.create(below.path, 16 * GIB, block_size=MIB)
        lrct = directory / "lrct"
        with opened(lrct, os.O_RDWR | os.O_CREAT) as fd:
            with raw_attached(below.path, flags=uapi.ATTACH_NO_TRACK) as disk:
                disk.handle.enable(fd, UNIT)
        sidecar.replace(lrct, [Delta({}, 0, 0), Delta({31: None}, 0, 0)])
        with raw_attached(below.path, lrct) as disk:
            first, second = disk.handle.ids()[-2:]
            with mapper.hanging(below.name):
                ktap.equal(disk.handle.changes(first, second), [(31 * 512 * MIB, 512 * MIB)])
                child = os.fork()
                if not child:
                    disk.handle.flagged(first, second)
                    os._exit(0)
                time.sleep(0.3)
                ktap.equal(os.waitpid(child, os.WNOHANG)[0], 0, "it did not wait")
                os.kill(child, signal.SIGKILL)
                _, status = os.waitpid(child, 0)
                ktap.check(os.WIFSIGNALED(status), "it did not die")
            found = told(disk.handle, first, second, (0, disk.size), 16)
            ktap.equal(found[uapi.RANGE_ZERO].total(), 512 * MIB, "afterwards")


ktap.main()
