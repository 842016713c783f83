#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_exactness - random histories, and every question about them
#
# A model that knows writes, points and layers says what must be told between any two points.
# The driver is asked for ranges and for bits, in one piece and cut anywhere, the library and the
# command of the files; all have to say the same.
#
# vm: takes=15
import pathlib
import re
import random
import sys
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, images, ktap, library, uapi  # noqa: E402
from vhdxtest.disk import attach, detach  # noqa: E402
from vhdxtest.history import History  # noqa: E402
from vhdxtest.images import KIB, MIB  # noqa: E402
import vhdxoracle  # noqa: E402
from vhdxoracle.ranges import RangeSet  # noqa: E402


class Life:
    """A disk, its model, and what happens to it."""

    def __init__(self, scratch, seed, size, unit):
        self.rng = random.Random(seed)
        self.scratch = scratch
        self.unit = unit
        self.history = History(size)
        self.path = images.create(scratch / "layer0.vhdx", size, block_size=MIB)
        self.disk = None
        self.begin()

    def begin(self):
        """The newest layer is attached, and tracked from now on."""
        self.disk = attach(self.path, "--track", "--unit", self.unit)
        self.history.reference(self.disk.handle.state().most_recent_id.copy(), self.unit)

    def write(self):
        """Some sectors, anywhere: often at edges of blocks and units, sometimes a whole block."""
        rng, size = self.rng, self.history.size
        for _ in range(rng.randint(1, 6)):
            length = rng.choice((1, 1, 2, 7, 8, 9, 100, 2048)) * 512
            offset = rng.randrange(size // 512) * 512
            edge = rng.choice((None, self.unit, MIB))
            if edge:
                offset = offset // edge * edge - rng.choice((0, 512))
            offset = min(max(offset, 0), size - length)
            self.disk.write(offset, rng.randbytes(512) * (length // 512))
            self.history.write(offset, length)
        if rng.random() < 0.4:
            self.take_away()

    def take_away(self):
        """Blocks are discarded, as a whole and with parts of others, which stay; or zeroed."""
        rng, size = self.rng, self.history.size
        block = int(self.disk.sysfs("block_size"))
        start = rng.randrange(size // 512) * 512
        end = min(start + rng.choice((512, 3 * KIB, MIB, 2 * MIB + 512, 5 * MIB)), size)
        if rng.random() < 0.5:
            start = start // block * block
        if rng.random() < 0.5:
            self.disk.data.zero(start, end - start, keep=rng.random() < 0.5)
        else:
            self.disk.data.discard(start, end - start)
            start = -(-start // block) * block
            end = end if end == size else end // block * block
        if start < end:
            self.history.write(start, end - start)

    def seal(self):
        """A reference."""
        self.history.reference(self.disk.handle.seal(), self.unit)

    def forget(self):
        """One of the references that can be forgotten: any of the newest layer."""
        known = self.history.references()
        if len(known) > 1:
            point = self.rng.choice(known)
            self.disk.handle.forget(point.id)
            self.history.forget(point)

    def reattach(self):
        """As an administrator does."""
        self.close()
        self.disk = attach(self.path)

    def snapshot(self):
        """The layer is frozen, with a child of its own above it."""
        self.close()
        with vhdxoracle.Image(self.path) as image:
            guid = f"{{{image.header.data_write_guid}}}"
        self.history.snapshot(uapi.PointId.parse(guid))
        child = self.scratch / f"layer{self.history.layer}.vhdx"
        ctl.run("create", "--parent", self.path, child)
        self.path = child
        self.begin()

    def close(self):
        """It is detached."""
        disk, self.disk = self.disk, None
        if disk:
            detach(disk)


def name_of(point):
    """For a message."""
    return "now" if point is None else str(point.id)


def check_set(told, truth, what):
    """All that must be told, and nothing else."""
    missed = truth.least - told
    ktap.check(not missed, f"{what}: misses {missed.lengths()[:3]}")
    more = told - truth.most
    ktap.check(not more, f"{what}: tells {more.lengths()[:3]} besides")


def id_of(point):
    """The target of a question."""
    return uapi.NOW if point is None else point.id


def ask_for_ranges(life, first, last, offset, end, capacity):
    """All pages."""
    pages = life.disk.handle.pages(first.id, id_of(last), offset, end - offset, capacity)
    ktap.equal(sum(page["processed"] for page in pages), end - offset, "processed")
    return RangeSet.of_lengths((one["offset"], one["length"])
                               for page in pages for one in page["ranges"])


def ask_for_bits(life, first, last, granule, capacity):
    """All of the disk, in as many calls as it takes."""
    at, runs = 0, []
    while at < life.history.size:
        argument, bits = life.disk.handle.bits(first.id, id_of(last), at,
                                               life.history.size - at, capacity, granule)
        number = int.from_bytes(bits, "little")
        runs += [(at + run.start() * granule, at + run.end() * granule)
                 for run in re.finditer("1+", format(number, "b")[::-1])]
        ktap.check(argument.processed_byte_length > 0, "no progress")
        at += argument.processed_byte_length
    return RangeSet(runs).clip(0, life.history.size)


def ask_attached(life):
    """Every pair of points, and now."""
    rng, size = life.rng, life.history.size
    for first, last in life.history.pairs():
        truth = life.history.between(first, last)
        what = f"from {name_of(first)} to {name_of(last)}"
        whole = ask_for_ranges(life, first, last, 0, size, 4096)
        check_set(whole, truth, what)
        argument, _ = life.disk.handle.query(first.id, id_of(last), capacity=1)
        ktap.check(truth.unit in (None, argument.unit), f"{what}: by {argument.unit}")
        coarse = bool(argument.answer_flags & uapi.ANSWER_COARSE)
        ktap.check(coarse or truth.least == truth.most, f"{what}: a superset is not called COARSE")
        # However it is cut
        for _ in range(2):
            start, end = sorted(rng.randrange(size + 1) for _ in range(2))
            told = ask_for_ranges(life, first, last, start, end, rng.choice((1, 2, 5, 64)))
            ktap.equal(told, whole.clip(start, end), f"{what}, {start} to {end}")
        granule = max(argument.unit, rng.choice((argument.unit, 64 * KIB)))
        ktap.equal(ask_for_bits(life, first, last, granule, rng.choice((8, 64, 4096))),
                   whole.widened(granule).clip(0, size), f"{what}: bits of {granule}")
    return {(name_of(first), name_of(last)): ask_for_ranges(life, first, last, 0, size, 4096)
            for first, last in life.history.pairs()}


def ask_detached(life, told):
    """The same of the files, by the library, and some of it by the command."""
    pairs = list(life.history.pairs())
    by_command = life.rng.sample(pairs, min(3, len(pairs)))
    with library.Files(life.path, f"{life.path}.lrct") as files:
        ktap.equal(files.points(), [point.id for point in life.history.points], "points")
        for first, last in pairs:
            what = f"from {name_of(first)} to {name_of(last)}, detached"
            wanted = told[name_of(first), name_of(last)]
            ktap.equal(files.changes(first.id, id_of(last)).ranges, wanted, what)
            if (first, last) in by_command:
                until = ("--target", last.id) if last else ()
                shown = ctl.json("changes", life.path, "--since", first.id, *until)
                ktap.equal(RangeSet.of_lengths((one["offset"], one["length"])
                                               for one in shown["ranges"]), wanted, what)


def lives(seed, actions, count, size, unit):
    """Things happen in any order; then everything is asked, attached and detached."""
    with images.directory() as scratch:
        life = Life(scratch, seed, size, unit)
        try:
            for action in life.rng.choices(*zip(*actions.items()), k=count):
                getattr(life, action)()
            ktap.equal(life.disk.handle.ids(), [point.id for point in life.history.points],
                       "points")
            told = ask_attached(life)
        finally:
            life.close()
        ask_detached(life, told)
        ktap.diag(f"{len(life.history.points)} points, {len(told)} pairs")


ONE_LAYER = {"write": 5, "seal": 4, "forget": 1, "reattach": 1}
LAYERS = ONE_LAYER | {"snapshot": 2}

for _name, _actions, _size, _unit in (
        ("one_layer", ONE_LAYER, 24 * MIB + 512, 4 * KIB),
        ("one_layer_unit_64K", ONE_LAYER, 700 * MIB, 64 * KIB),
        ("layers", LAYERS, 24 * MIB + 512, 4 * KIB),
        ("layers_unit_64K", LAYERS, 40 * MIB, 64 * KIB)):
    ktap.add(_name, lives, ktap.chance(_name).getrandbits(30), _actions, 24, _size, _unit)


@ktap.case
def write_of_one_sector():
    """MS-RSVD's case: 512 bytes at 0, asked for 0 to 1024: one range, of what recorded it."""
    with images.directory() as scratch:
        life = Life(scratch, 1, 16 * MIB, 4 * KIB)
        try:
            life.snapshot()
            life.disk.write(0, b"x" * 512)
            for point, length in ((life.history.points[-1], 1024), (life.history.points[-2], 512)):
                argument, ranges = life.disk.handle.query(point.id, offset=0, length=1024)
                ktap.equal((ranges, argument.processed_byte_length), ([(0, length)], 1024),
                           f"since {point.id}")
        finally:
            life.close()


ktap.main()
