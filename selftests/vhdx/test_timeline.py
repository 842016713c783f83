#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_timeline - changes between any two points of a chain, whatever layers they are on
#
# What is wanted comes from the writes alone (vhdxoracle.history). The same is asked of the disk as
# it is attached for writing and for reading, and of its files.
#
# vm: on=uml takes=50
import contextlib
import errno
import os
import pathlib
import random
import signal
import sys
import threading
import time
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, images, ktap, mapper, sidecar, slow, uapi, udev  # noqa: E402
from vhdxtest.device import expect_failure  # noqa: E402
from vhdxtest.disk import attached, raw_attached  # noqa: E402
from vhdxtest.images import KIB, MIB, TIB  # noqa: E402
from vhdxtest.sidecar import Delta, leaf_of  # noqa: E402
import vhdxoracle  # noqa: E402
from vhdxoracle import corpus  # noqa: E402
from vhdxoracle.history import Layer, Line, own_ranges  # noqa: E402
from vhdxoracle.ranges import RangeSet  # noqa: E402

READ_ONLY = uapi.ATTACH_READ_ONLY




def id_of(text):
    """A point by its text; None: now."""
    return uapi.NOW if text is None else uapi.PointId.parse(text)


class Written(Layer):
    """A layer of which every write is known."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.writes = RangeSet()

    def own(self, below):
        return self.writes | RangeSet([(below, self.size)] if below < self.size else [])


class Family:
    """Layers that are written through the driver, one after the other; the newest is the leaf."""

    def __init__(self, scratch, rng):
        self.scratch, self.rng = scratch, rng
        self.sector = rng.choice((512, 4096))
        self.sizes = sorted(rng.randrange(12 * MIB, 20 * MIB, 4096) for _ in range(5))
        self.layers = []

    @property
    def line(self):
        """All of them."""
        return Line(self.layers)

    @property
    def leaf(self):
        """The path of the newest."""
        return self.layers[-1].path

    def add(self):
        """One more: by vhdxctl, or by the oracle, which can make it larger than its parent."""
        path = self.scratch / f"{len(self.layers)}.vhdx"
        parent = self.layers[-1].path if self.layers else None
        if parent and self.rng.randrange(2):
            ctl.run("create", "--parent", parent, path)
        else:
            size = max(self.sizes[len(self.layers)], self.layers[-1].size if parent else 0)
            vhdxoracle.create(path, size, block_size=self.rng.choice((MIB, 2 * MIB, 32 * MIB)),
                              logical_sector=self.sector, parent=parent, seed=self.rng.getrandbits(30))
        self.layers.append(Written(path))

    def write(self, disk, layer, changed):
        """Some writes, discards among them; what changed then."""
        for _ in range(self.rng.randrange(1, 8)):
            length = self.rng.choice((1, 1, 5, 128, 2 * MIB // self.sector)) * self.sector
            offset = self.rng.randrange(layer.size // self.sector) * self.sector
            length = min(length, layer.size - offset)
            if self.rng.randrange(3):
                disk.write(offset, self.rng.randbytes(length))
            elif self.rng.randrange(2):
                disk.data.zero(offset, length, keep=self.rng.randrange(2))
            else:
                # Blocks as a whole: of others nothing is discarded.
                block = int(disk.sysfs("block_size"))
                offset -= offset % block
                length = min(self.rng.randrange(1, 3) * block, layer.size - offset)
                disk.data.discard(offset, length)
            layer.writes |= RangeSet([(offset, offset + length)])
            changed |= RangeSet([(offset, offset + length)])
        return changed

    def use(self, disk, layer, tracked):
        """Seals and writes on the leaf, of which no reference is known yet."""
        layer.live = RangeSet()
        if tracked:
            layer.unit = disk.handle.state().unit
            layer.points = [str(disk.handle.ids()[-1])]
        for _ in range(self.rng.randrange(3)):
            layer.live = self.write(disk, layer, layer.live)
            if tracked:
                layer.points.append(str(disk.handle.seal()))
                layer.deltas.append(layer.live)
                layer.live = RangeSet()
        layer.live = self.write(disk, layer, layer.live)

    def grow(self, depth):
        """So many layers, each of which is written and, mostly, tracked."""
        for _ in range(depth):
            self.add()
            tracked = self.rng.randrange(4) > 0
            unit = self.rng.choice((4, 16, 256)) * KIB
            with attached(self.leaf, *(("--track", "--unit", unit) if tracked else ())) as disk:
                self.use(disk, self.layers[-1], tracked)


def check_pair(disk, line, limit, target):
    """Of a disk that is attached."""
    wanted, unit, coarse, derived = line.answer(limit, target)
    argument, ranges = disk.handle.query(id_of(limit), id_of(target), capacity=100000)
    found = RangeSet.of_lengths(ranges)
    ktap.check(found == wanted, f"{limit} to {target}: {(found - wanted).lengths()} too much, "
               f"{(wanted - found).lengths()} missing")
    ktap.equal(argument.unit, unit, f"unit, {limit} to {target}")
    flags = coarse * uapi.ANSWER_COARSE | derived * uapi.ANSWER_DERIVED | (target is None) * uapi.ANSWER_LIVE
    ktap.equal(argument.answer_flags, flags, f"flags, {limit} to {target}")
    ktap.equal(argument.complete_to_id, id_of(target), "complete_to_id")
    ktap.equal(argument.processed_byte_length, disk.size, "processed")


def check_cuts(disk, line, limit, target, rng):
    """Few ranges at a time, a part of the disk, and bits, tell the same."""
    wanted, unit, _, _ = line.answer(limit, target)
    both = id_of(limit), id_of(target)
    ktap.equal(RangeSet.of_lengths(disk.handle.changes(*both, capacity=3)), wanted, "three at a time")
    start, end = sorted(rng.randrange(disk.size + 1) for _ in range(2))
    ktap.equal(RangeSet.of_lengths(disk.handle.changes(*both, start, end - start)), wanted.clip(start, end),
               "a part")
    argument, bits = disk.handle.bits(*both, capacity=disk.size // unit // 8 // 8 * 8 + 8)
    told = int.from_bytes(bits, "little")
    ktap.equal(argument.processed_byte_length, disk.size, "processed, in bits")
    for start, end in wanted:
        mask = (1 << -(-end // unit) - start // unit) - 1
        ktap.check(told >> start // unit & mask == mask, f"bits of {start} to {end}")
    ktap.equal(told.bit_count(), sum(-(-end // unit) - start // unit for start, end in wanted), "bits")


def pairs(line):
    """Every two points, the older first; a point and itself, too."""
    points = line.points()
    for position, limit in enumerate(points[:-1]):
        for target in points[position:]:
            yield limit, target


def check_detached(family, line):
    """The files say the same."""
    for limit, target in pairs(line):
        reply = ctl.json("changes", family.leaf, "--since", limit, *(("--target", target) if target else ()))
        found = RangeSet.of_lengths((one["offset"], one["length"]) for one in reply["ranges"])
        ktap.equal(found, line.answer(limit, target)[0], f"detached, {limit} to {target}")


def check_attached(disk, line, rng):
    """All questions."""
    told = [str(point.id) for point in disk.handle.points()]
    ktap.equal(told, line.points()[:-1], "points")
    for limit, target in pairs(line):
        check_pair(disk, line, limit, target)
        if not rng.randrange(6):
            check_cuts(disk, line, limit, target, rng)


def every_pair(seed):
    """Exact, in whatever way the disk is there, and while it is written on."""
    rng = random.Random(seed)
    with images.directory() as scratch:
        family = Family(scratch, rng)
        family.grow(rng.randrange(1, 4))
        family.add()
        leaf = family.layers[-1]
        tracked = seed % 3 > 0
        with attached(family.leaf, *(("--track",) if tracked else ())) as disk:
            family.use(disk, leaf, tracked)
            check_attached(disk, family.line, rng)
            leaf.live = family.write(disk, leaf, leaf.live)
            check_attached(disk, family.line, rng)
        ktap.equal(own_ranges(family.leaf), leaf.writes, "the driver's own bitmaps")
        line = family.line
        ktap.diag(f"{len(line.points())} points in {len(line.layers)} layers")
        with attached(family.leaf, "--read-only") as disk:
            check_attached(disk, line, rng)
        with attached(family.leaf) as disk:
            check_attached(disk, line, rng)
        check_detached(family, line)


for _seed in range(1, 12 if ktap.LONG else 5):
    ktap.add(f"every_pair_{_seed}", every_pair, _seed)


@contextlib.contextmanager
def parent_and_child(size=64 * MIB, **shape):
    """(paths of both, the snapshot's id)"""
    with images.directory() as scratch:
        parent, child = scratch / "parent.vhdx", scratch / "child.vhdx"
        vhdxoracle.create(parent, size, block_size=MIB)
        vhdxoracle.create(child, parent=parent, **{"block_size": MIB} | shape)
        yield parent, child, id_of(Layer(parent).snapshot)


# ---- what it is about ------------------------------------------------------------------------

@ktap.case
def smallest():
    """MS-RSVD's own case: write 512 bytes at 0, and ask for 0 to 1024. No tracking is needed."""
    with parent_and_child() as (parent, child, snapshot), raw_attached(child, parents=[parent]) as disk:
        disk.write(0, b"x" * 512)
        argument, ranges = disk.handle.query(snapshot, length=1024)
        ktap.equal((ranges, argument.unit), ([(0, 512)], 512), "answer")
        ktap.equal(disk.handle.state().state, uapi.TRACKING_OFF, "state")


@ktap.case
def a_snapshot_stays_as_it_was():
    """As a target it is about the frozen state, whatever is written now; a reference that follows is
    a superset, and says so."""
    with parent_and_child(content=[(MIB, b"x" * 512)]) as (parent, child, snapshot):
        grandchild = child.with_name("grandchild.vhdx")
        vhdxoracle.create(grandchild, parent=child, block_size=MIB)
        middle = id_of(Layer(child).snapshot)
        with attached(grandchild, "--track") as disk:
            first, = disk.handle.ids()[2:]
            for number in range(5):
                disk.write((10 + number) * MIB, b"y" * 4096)
                argument, ranges = disk.handle.query(snapshot, middle)
                ktap.equal((ranges, argument.complete_to_id, argument.answer_flags),
                           ([(MIB, 512)], middle, uapi.ANSWER_DERIVED), "of the frozen one")
                argument, ranges = disk.handle.query(middle, first)
                ktap.equal((ranges[-1], argument.answer_flags),
                           (((10 + number) * MIB, 4096), uapi.ANSWER_DERIVED | uapi.ANSWER_COARSE),
                           "until a reference")
            # What the sidecar has is exact, and is what counts in the layer that it is of.
            ktap.equal(disk.handle.query(first)[0].answer_flags, uapi.ANSWER_LIVE, "since a reference")
            points = disk.handle.points()
            ktap.equal([(str(one.id), one.layer, one.flags) for one in points],
                       [(str(snapshot), 2, uapi.POINT_HAS_DATA),
                        (str(middle), 1, uapi.POINT_HAS_DATA | uapi.POINT_DERIVED),
                        (str(first), 0, uapi.POINT_DERIVED | uapi.POINT_COARSE)], "points")
            ktap.equal([str(one.id) for one in disk.handle.points(after=snapshot, capacity=1)],
                       [str(middle)], "the next one")
            ktap.equal(disk.handle.state().most_recent_id, first, "most_recent_id")


@ktap.case
def told_while_it_is_written():
    """What was acknowledged before the question is in the answer, and nothing that nobody wrote."""
    with parent_and_child() as (parent, child, snapshot), raw_attached(child, parents=[parent]) as disk:
        rng, done, begun, stop = random.Random(8), [], [], threading.Event()

        def write():
            while not stop.is_set():
                offset = rng.randrange(disk.size // 512 - 8) * 512
                length = rng.choice((512, 4096))
                begun.append((offset, offset + length))
                disk.write(offset, b"w" * length)
                done.append((offset, offset + length))
        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(60):
                least = RangeSet(done[:])
                found = RangeSet.of_lengths(disk.handle.changes(snapshot))
                ktap.check(not least - found, f"{least - found} is missing")
                ktap.check(not found - RangeSet(begun[:]), "more is told than was written")
        finally:
            stop.set()
            writer.join()
        ktap.equal(RangeSet.of_lengths(disk.handle.changes(snapshot)), RangeSet(done), "in the end")


@ktap.case
def pair_of_windows():
    """No sidecar at all: every byte that differs, and nothing beyond the bitmap."""
    with images.directory() as scratch:
        parent, child = (corpus.unpacked(f"fat-{name}.vhdx", scratch) or ktap.skip("not in the corpus")
                         for name in ("parent", "differential"))
        snapshot = id_of(Layer(parent).snapshot)
        with raw_attached(parent, flags=READ_ONLY) as disk:
            before = disk.read(0, disk.size)
        with raw_attached(child, flags=READ_ONLY, parents=[parent]) as disk:
            after = disk.read(0, disk.size)
            found = RangeSet.of_lengths(disk.handle.changes(snapshot))
        different = RangeSet((at, at + 1) for at in range(len(after)) if before[at] != after[at])
        ktap.check(different and not different - found, "a byte is missing")
        ktap.equal(found, own_ranges(child), "the bitmap")


@ktap.case
def asked_behind_the_end_of_a_parent():
    """Of what a smaller parent's sidecar has, the part of the disk that it never had tells nothing."""
    with images.directory() as scratch:
        base, leaf = images.create(scratch / "base.vhdx", 100 * MIB, MIB), scratch / "leaf.vhdx"
        with attached(base, "--track", "--unit", 4 * KIB) as disk:
            first, = disk.handle.ids()
            disk.write(5 * MIB, b"x" * 512)
            second = disk.handle.seal()
            disk.write(7 * MIB, b"x" * 512)
        snapshot = id_of(Layer(base).snapshot)
        # A leaf of the map has 128 MiB: three of them.
        vhdxoracle.create(leaf, 300 * MIB, block_size=MIB, parent=base)
        with raw_attached(leaf, parents=[base], past={base: f"{base}.lrct"}) as disk:
            for target, count in ((second, 1), (snapshot, 2)):
                wanted = [(at * MIB, 4096) for at in (5, 7)[:count]]
                argument, ranges = disk.handle.query(first, target)
                ktap.equal((ranges, argument.processed_byte_length), (wanted, 300 * MIB), "all of it")
                ktap.equal(disk.handle.changes(first, target, 200 * MIB, 100 * MIB), [], "behind the end")
            ktap.equal(disk.handle.changes(first)[-1], (100 * MIB, 200 * MIB), "until now")


# ---- what it is not --------------------------------------------------------------------------

@ktap.case
def points_of_parents_are_kept():
    """Neither a snapshot nor what a parent's sidecar has is forgotten."""
    with images.directory() as scratch:
        base = images.create(scratch / "base.vhdx", 16 * MIB, MIB)
        with attached(base, "--track") as disk:
            known = disk.handle.ids()[0]
            disk.write(0, b"x" * 512)
        ctl.run("create", "--parent", base, scratch / "leaf.vhdx")
        with attached(scratch / "leaf.vhdx", "--track") as disk:
            frozen, snapshot, own = disk.handle.ids()
            ktap.equal(frozen, known, "the oldest")
            expect_failure(errno.EINVAL, uapi.ARGUMENT, disk.handle.forget, snapshot)
            expect_failure(errno.EROFS, uapi.READ_ONLY, disk.handle.forget, frozen)
            disk.handle.seal()
            disk.handle.forget(own)
            ktap.equal(disk.handle.ids()[:2], [known, snapshot], "points")
            ktap.equal(disk.handle.changes(known), [(0, 16 * KIB)], "changes")
            missing = id_of("{01010101-0101-0101-0101-010101010101}")
            expect_failure(errno.ENODATA, uapi.ID_MISSING, disk.handle.forget, missing)
            expect_failure(errno.ENODATA, uapi.ID_MISSING, disk.handle.changes, missing)
            expect_failure(errno.EINVAL, uapi.ARGUMENT, disk.handle.changes, snapshot, known)


def break_header(path):
    """Both copies."""
    with open(path, "r+b") as file:
        file.write(b"x" * 8192)


def make_stale(path):
    """It knows another DataWriteGuid than the container has."""
    sidecar.edit(path, current_guid=b"s" * 16, next_guid=bytes(16))


def lost_sidecar(spoil, reason):
    """Of a parent: its points are a gap, with the reason; all others are what they are."""
    with images.directory() as scratch:
        base, leaf = images.create(scratch / "base.vhdx", 16 * MIB, MIB), scratch / "leaf.vhdx"
        with attached(base, "--track") as disk:
            known = disk.handle.ids()[0]
        ctl.run("create", "--parent", base, leaf)
        snapshot = id_of(Layer(base).snapshot)
        spoil(f"{base}.lrct")
        for flags in ((), ("--read-only",)):
            done = ctl.run("attach", *flags, leaf)
            ktap.check("points of layer 1 are not known" in done.stderr, done.stderr)
            ctl.run("detach", leaf)
        with attached(leaf, "--track") as disk:
            disk.write(MIB, b"x" * 512)
            own = disk.handle.ids()[-1]
            expect_failure(errno.ESTALE, reason, disk.handle.changes, known)
            ktap.equal(disk.handle.changes(snapshot), [(MIB, 512)], "since the snapshot")
            ktap.equal(disk.handle.changes(own), [(MIB, 16 * KIB)], "since a reference")
            ktap.equal(disk.handle.ids(), [snapshot, own], "points")


ktap.add("damaged_sidecar_of_a_parent", lost_sidecar, break_header, uapi.INCONSISTENT)
ktap.add("stale_sidecar_of_a_parent", lost_sidecar, make_stale, uapi.CHANGED_OFFLINE)


@ktap.case
def lost_sidecar_of_the_leaf():
    """Its points are a gap; the snapshot's delta needs none."""
    with parent_and_child() as (parent, child, snapshot):
        with attached(child, "--track") as disk:
            own = disk.handle.ids()[-1]
            disk.write(5 * MIB, b"x" * 512)
        break_header(f"{child}.lrct")
        with raw_attached(child, f"{child}.lrct", parents=[parent]) as disk:
            expect_failure(errno.ESTALE, uapi.INCONSISTENT, disk.handle.changes, own)
            expect_failure(errno.ESTALE, uapi.INCONSISTENT, disk.handle.changes, snapshot, own)
            ktap.equal(disk.handle.changes(snapshot), [(5 * MIB, 512)], "since the snapshot")
            ktap.equal(disk.handle.ids(), [snapshot], "points")
        # Written without it, and with it, but with a gap.
        with attached(child, "--no-track") as disk:
            disk.write(6 * MIB, b"x" * 512)
            ktap.equal(disk.handle.changes(snapshot), [(5 * MIB, 512), (6 * MIB, 512)], "untracked")


@ktap.case
def gap_behind_a_reference():
    """Loud, in both directions: it may be of another copy. The snapshot's delta is what it is."""
    with parent_and_child() as (_, child, snapshot):
        with attached(child, "--track") as disk:
            own = disk.handle.ids()[-1]
        with attached(child, "--no-track") as disk:
            disk.write(0, b"x" * 512)
        with attached(child) as disk:
            expect_failure(errno.ESTALE, uapi.CHANGED_OFFLINE, disk.handle.changes, own)
            expect_failure(errno.ESTALE, uapi.CHANGED_OFFLINE, disk.handle.changes, snapshot, own)
            ktap.equal(disk.handle.changes(snapshot), [(0, 512)], "since the snapshot")
            disk.handle.disable()
            expect_failure(errno.EOPNOTSUPP, uapi.DISABLED, disk.handle.changes, own)
            disk.write(MIB, b"x" * 512)
            ktap.equal(disk.handle.changes(snapshot), [(0, 512), (MIB, 512)], "disabled")


@ktap.case
def damaged_block_is_told():
    """Whoever reads it gets the error; not to tell would say that it is the parent's."""
    with parent_and_child() as (parent, child, snapshot):
        with vhdxoracle.Image(child) as image:
            at = image.bat_offset(5)
        with open(child, "r+b") as file:
            file.seek(at)
            file.write((6 | 1 << 50).to_bytes(8, "little"))
        with raw_attached(child, flags=READ_ONLY, parents=[parent]) as disk:
            ktap.equal(disk.handle.changes(snapshot), [(5 * MIB, MIB)], "changes")


# ---- what it costs ---------------------------------------------------------------------------

def states_of_all(path, state, count):
    """The first blocks have this state; those of bitmaps lie between them."""
    with vhdxoracle.Image(path) as image:
        at, ratio = image.bat_offset(0), image.geometry.chunk_ratio
    chunk = state.to_bytes(8, "little") * ratio + bytes(8)
    with open(path, "r+b") as file:
        file.seek(at)
        file.write((chunk * -(-count // ratio))[:(count + (count - 1) // ratio) * 8])


@ktap.case
def huge():
    """64 TiB: nothing but a block here and there; then all of it, which is one range."""
    with parent_and_child(64 * TIB, block_size=256 * MIB) as (parent, child, snapshot):
        with raw_attached(child, parents=[parent]) as disk:
            disk.write(50 * TIB + 512, b"x" * 512)
            begin = time.monotonic()
            ktap.equal(disk.handle.changes(snapshot), [(50 * TIB + 512, 512)], "sparse")
            ktap.diag(f"sparse: {time.monotonic() - begin:.2f} s")
        states_of_all(child, 2, 64 * TIB // (256 * MIB))
        with raw_attached(child, flags=READ_ONLY, parents=[parent]) as disk:
            begin = time.monotonic()
            ktap.equal(disk.handle.changes(snapshot), [(0, 64 * TIB)], "all of it")
            took = time.monotonic() - begin
            ktap.diag(f"all of it: {took:.2f} s")
            ktap.check(took < 3, "it walks through it sector by sector")


@ktap.case
def a_long_table():
    """Small blocks: read in long parts where it is not in memory, sector bitmaps one by one."""
    rng = random.Random(7)
    with parent_and_child(TIB, block_size=MIB) as (parent, child, snapshot):
        written = RangeSet()

        def same(disk, why):
            ktap.equal(RangeSet((start, start + length)
                                for start, length in disk.handle.changes(snapshot)), written, why)

        with raw_attached(child, parents=[parent]) as disk:
            for _ in range(3):
                for _ in range(8):
                    start = rng.choice((511 * MIB, rng.randrange(TIB // MIB - 3) * MIB))
                    start += rng.randrange(2) * 8 * 512
                    length = rng.choice((512, 3 * MIB))
                    disk.write(start, b"x" * length)
                    written |= RangeSet([(start, start + length)])
                same(disk, "in memory")
                disk.data.flush()
                images.forget_pages()
                same(disk, "read again")
        with raw_attached(child, flags=READ_ONLY, parents=[parent]) as disk:
            same(disk, "attached anew")


# ---- who hangs -------------------------------------------------------------------------------

def dies(disk, limit):
    """A child that asks is killed; it is gone within a second."""
    child = os.fork()
    if not child:
        with contextlib.suppress(OSError):
            disk.handle.changes(limit)
        os._exit(0)
    time.sleep(0.5)
    os.kill(child, signal.SIGKILL)
    end, pid = time.monotonic() + 1, 0
    while not pid and time.monotonic() < end:
        time.sleep(0.02)
        pid, status = os.waitpid(child, os.WNOHANG)
    ktap.check(pid, "it did not die")
    ktap.check(os.WIFSIGNALED(status), "it had ended before it was killed")


@ktap.case
def killed_while_a_layer_hangs():
    """Where a page of a BAT is read that nobody has asked for."""
    with images.directory() as scratch, slow.device(scratch / "backing", 64 * MIB) as below:
        parent, leaf = images.create(scratch / "parent.vhdx", 16 << 30, MIB), scratch / "leaf.vhdx"
        vhdxoracle.create(below.path, parent=parent, block_size=MIB, content=[(15 << 30, b"x" * 512)])
        vhdxoracle.create(leaf, parent=below.path, block_size=MIB)
        snapshot = id_of(Layer(parent).snapshot)
        with raw_attached(leaf, parents=[below.path, parent]) as disk:
            with mapper.hanging(below.name):
                dies(disk, snapshot)
            ktap.equal(disk.handle.changes(snapshot), [(15 << 30, 512)], "afterwards")


@ktap.case
def killed_while_a_sidecar_hangs():
    """That of the leaf, or of a parent; and whoever does not need it is answered."""
    with images.directory() as scratch, slow.device(scratch / "backing", 16 * MIB) as below:
        path, leaf = images.create(scratch / "disk.vhdx", 1 << 30, MIB), scratch / "leaf.vhdx"
        with attached(path, "--track", "--sidecar", below.path, "--unit", 4 * KIB):
            pass
        nothing = Delta({}, 0, 0)
        sidecar.replace(below.path, [nothing, Delta({0: leaf_of([2])}, 0, 0)])
        vhdxoracle.create(leaf, parent=path, block_size=MIB, content=[(MIB, b"x" * 512)])
        with raw_attached(path, below.path, READ_ONLY) as disk:
            first, second = disk.handle.ids()
            with mapper.hanging(below.name):
                dies(disk, first)
                ktap.equal(disk.handle.changes(second), [], "what is in memory")
            ktap.equal(disk.handle.changes(first), [(8 * KIB, 4 * KIB)], "afterwards")
        with raw_attached(leaf, flags=READ_ONLY, parents=[path], past={path: below.path}) as disk:
            with mapper.hanging(below.name):
                dies(disk, first)
                ktap.equal(disk.handle.changes(disk.handle.ids()[-1]), [(MIB, 512)], "a snapshot")
            ktap.equal(disk.handle.changes(first), [(8 * KIB, 4 * KIB), (MIB, 4 * KIB)], "afterwards")


with udev.asleep():
    ktap.main()
