#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_mirror - a module in the kernel keeps a device like a disk (selftests/modules/vhdx_mirror)
#
# vm: on=uml full=6.1:rounds,6.12:rounds takes=20
import contextlib
import errno
import fcntl
import os
import pathlib
import struct
import sys
import threading
import time
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, dio, faulty, images, knob, ktap, stamps, uapi  # noqa: E402
from vhdxtest.chains import Chain  # noqa: E402
from vhdxtest.disk import attach, attached, detach  # noqa: E402
from vhdxtest.images import KIB, MIB  # noqa: E402
from vhdxtest.mirror import STOP_IN, Mirror, loaded, mirrored, points, same, tell  # noqa: E402

SIZE = 12 * MIB
PHASES = ("full", "seal", "changes", "copy", "durable", "forget")
BLKDISCARD, BLKZEROOUT = 0x1277, 0x127F


def write_some(disk, rng, count):
    """Anywhere."""
    written = set()
    for _ in range(count):
        length = rng.choice((512, 4 * KIB, 64 * KIB))
        offset = rng.randrange((disk.size - length) // 512) * 512
        disk.write(offset, rng.randbytes(512) * (length // 512))
        written.update(range(offset // (4 * KIB), -(-(offset + length) // (4 * KIB))))
    return len(written) * 4 * KIB


@contextlib.contextmanager
def pair(unit=4 * KIB):
    """The path of a disk that is not attached but tracked, and a target."""
    with images.container(SIZE) as path, images.blank_device(SIZE + MIB) as target, loaded():
        with attached(path, "--track", "--unit", unit):
            pass
        # What was there before is none of the disk's.
        with dio.Direct(target, write=True) as device:
            device.write(5 * MIB, b"old" + bytes(509))
        yield path, target


@ktap.case
def rounds():
    """All at first, then what changed; equal after each."""
    rng = ktap.chance("rounds")
    with pair() as (path, target), attached(path) as disk:
        write_some(disk, rng, 10)
        with mirrored(disk, target) as mirror:
            mirror.round()
            same(disk, target)
            ktap.equal(mirror.full, 1, "full copies")
            before = mirror.copied
            for _ in range(3):
                told = write_some(disk, rng, 10)
                mirror.round()
                same(disk, target)
                ktap.check(mirror.copied - before <= told, "more was copied than was written")
                before = mirror.copied
            ktap.equal((mirror.full, mirror.error), (1, 0), "full copies, error")
            ktap.equal(disk.sysfs("holders"), "vhdx_mirror", "holders")
        ktap.equal(disk.sysfs("holders"), "", "holders")
        # One point is left of all its rounds.
        ktap.equal(points(disk), 1, "points")


@ktap.case
def goes_on_where_it_was():
    """After a stop, a detach, and with another module that was loaded."""
    rng = ktap.chance("goes_on")
    with pair() as (path, target):
        for number in range(3):
            with attached(path) as disk:
                write_some(disk, rng, 5)
                with mirrored(disk, target) as mirror:
                    mirror.round()
                    ktap.equal(mirror.full, int(not number), "full copies")
                    same(disk, target)
                write_some(disk, rng, 5)


@ktap.case
def gap_takes_a_full_copy():
    """Nothing that was written meanwhile is missed."""
    rng = ktap.chance("gap")
    with pair() as (path, target):
        with attached(path) as disk, mirrored(disk, target) as mirror:
            mirror.round()
        with attached(path, "--no-track") as disk:
            write_some(disk, rng, 10)
        with attached(path) as disk, mirrored(disk, target) as mirror:
            mirror.round()
            same(disk, target)
            ktap.equal((mirror.full, mirror.why), (1, uapi.CHANGED_OFFLINE), "full copies, why")


class Slots:
    """Parts of a disk that are written at random, and what each may hold at a moment.

    Each is one thread's, which goes from one version to the next: a write, zeroes, or, if the disk
    has it, a discard, which may leave what was there.
    """

    LENGTH, COUNT, THREADS = 4 * KIB, 96, 2

    def __init__(self, disk, name):
        self.disk, self.name = disk, name
        self.stride = disk.size // self.COUNT // self.LENGTH * self.LENGTH
        queue = pathlib.Path(f"/sys/block/vhdx{disk.index}/queue/discard_max_bytes")
        self.kinds = "wwwwzd" if int(queue.read_text(encoding="ascii")) else "wwwwz"
        # Of each: what the versions are, the first of which is what was there.
        self.versions = [[disk.read(slot * self.stride, self.LENGTH)] for slot in range(self.COUNT)]
        # Of each: the version that was begun last, and the one that was done last.
        self.begun, self.done = [0] * self.COUNT, [0] * self.COUNT
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._write, args=(number,))
                        for number in range(self.THREADS)]

    def _write(self, number):
        chance = ktap.chance(f"{self.name} {number}")
        with dio.Direct(self.disk.node, write=True) as device:
            while not self.over.is_set():
                slot = chance.randrange(number, self.COUNT, self.THREADS)
                kind, at = chance.choice(self.kinds), slot * self.stride
                version = len(self.versions[slot])
                content = stamps.content(version, at, self.LENGTH) if kind == "w" else \
                    bytes(self.LENGTH)
                self.versions[slot].append(None if kind == "d" else content)
                self.begun[slot] = version
                if kind == "w":
                    device.write(at, content)
                else:
                    fcntl.ioctl(device.fd, BLKZEROOUT if kind == "z" else BLKDISCARD,
                                struct.pack("=QQ", at, self.LENGTH))
                self.done[slot] = version

    def _allowed(self, slot, first, last):
        """What it may hold as it goes from one version to another."""
        while self.versions[slot][first] is None and first:
            first -= 1
        return {bytes(self.LENGTH) if one is None else one
                for one in self.versions[slot][first:last + 1]}

    def check(self, target, round_of):
        """Each holds what was there as the point was sealed, or what was written since."""
        first = list(self.done)
        round_of()
        last = list(self.begun)
        with dio.Direct(target) as copy:
            for slot in range(self.COUNT):
                ktap.check(copy.read(slot * self.stride, self.LENGTH) in
                           self._allowed(slot, first[slot], last[slot]),
                           f"slot {slot} is none of versions {first[slot]} to {last[slot]}")
        return sum(last) - sum(first)

    @contextlib.contextmanager
    def writing(self):
        """Meanwhile they are written."""
        for thread in self.threads:
            thread.start()
        try:
            yield
        finally:
            self.over.set()
            for thread in self.threads:
                thread.join()


@contextlib.contextmanager
def child():
    """The path of a disk that has a parent, not attached but tracked."""
    with images.directory() as scratch:
        chain = Chain(scratch, ktap.chance("child"), 2, size=SIZE, sector=512, states=False)
        with attached(chain.leaf, "--track", "--unit", 4 * KIB, "--parent", chain.parents[0]):
            pass
        yield chain.leaf, ("--parent", chain.parents[0])


@ktap.case
def load_at_each_round():
    """Two disks, one of them a child, are written all the time. At each round their mirrors have
    what was sealed, or what was written since."""
    with contextlib.ExitStack() as stack:
        one, target = stack.enter_context(pair())
        two, options = stack.enter_context(child())
        targets = (target, stack.enter_context(images.blank_device(SIZE + MIB)))
        disks = [stack.enter_context(attached(one)),
                 stack.enter_context(attached(two, *options))]
        mirrors = [stack.enter_context(mirrored(*pair_of)) for pair_of in zip(disks, targets)]
        slots = [Slots(disk, name) for name, disk in zip("ab", disks)]
        written = 0
        with slots[0].writing(), slots[1].writing():
            for number in range(40 if ktap.LONG else 3):
                for which in (0, 1):
                    written += slots[which].check(targets[which], mirrors[which].round)
        ktap.diag(f"{written} writes in the middle of rounds")
        ktap.check(written > 10, "too few writes in the middle of rounds")
        for disk, mirror, target in zip(disks, mirrors, targets):
            mirror.round()
            same(disk, target)
            ktap.equal((mirror.full, mirror.error), (1, 0), "full copies, error")


@ktap.case
def snapshot_between_runs():
    """A child takes the disk's place, twice. The point that the target has is in its parent's
    history: what changed since is copied, in whichever layer it is, and no more."""
    rng = ktap.chance("snapshot")
    with pair() as (path, target):
        leaf, written = path, 0
        for number in range(3):
            with attached(leaf, "--track", "--unit", 4 * KIB) as disk:
                written += write_some(disk, rng, 5) + MIB
                disk.data.discard(rng.randrange(SIZE // MIB) * MIB, MIB)
                with mirrored(disk, target) as mirror:
                    mirror.round()
                    same(disk, target)
                    ktap.equal((mirror.full, mirror.error), (int(not number), 0),
                               "full copies, error")
                    ktap.check(not number or mirror.copied + mirror.zeroed <= written,
                               "more was copied than was written")
                # No round has this before there is a child.
                written = write_some(disk, rng, 5)
            child = path.with_name(f"child{number}.vhdx")
            ctl.run("create", "--parent", leaf, child)
            leaf = child


def begin_round(mirror):
    """A thread that asks for one."""
    def call():
        with contextlib.suppress(OSError):
            mirror.round()

    asking = threading.Thread(target=call)
    asking.start()
    return asking


def crashed_in(phase, path, target, mirror, scratch):
    """What would be left of the files if the machine died in this phase: (container, target)."""
    with knob.turned(STOP_IN, phase):
        asking = begin_round(mirror)
        ktap.eventually(lambda: mirror.phase == phase, f"phase {phase}")
        for source, name in ((path, "disk.vhdx"), (f"{path}.lrct", "disk.vhdx.lrct"),
                             (target, "target")):
            images.command("cp", "--sparse=always", source, scratch / name)
    asking.join()
    return scratch / "disk.vhdx", scratch / "target"


def forget_rounds(disk):
    """An agent forgets the mirror's point, as nobody should."""
    disk.handle.seal()
    for point in disk.handle.ids()[:-1]:
        disk.handle.forget(point)


@ktap.case
def crash_in_each_phase():
    """Whatever was under way, the mirror goes on with what the files have; all is copied only where
    no copy was whole. Two phases, but all in a long run."""
    rng = ktap.chance("crash")
    with images.directory() as directory, pair() as (path, _):
        backing = images.sparse(directory / "backing", SIZE + MIB)
        left = []
        with images.loop(backing) as target, attached(path) as disk:
            write_some(disk, rng, 5)
            with mirrored(disk, target) as mirror:
                mirror.round()
                for phase in PHASES if ktap.LONG else rng.sample(PHASES, 2):
                    scratch = directory / phase
                    scratch.mkdir()
                    write_some(disk, rng, 5)
                    if phase == "full":
                        forget_rounds(disk)
                    left.append((phase, *crashed_in(phase, path, backing, mirror, scratch)))
                    same(disk, target)
                    ktap.equal(mirror.error, 0, "error")
        for phase, container, copy in left:
            with images.loop(copy) as target, attached(container) as disk, \
                    mirrored(disk, target) as mirror:
                mirror.round()
                same(disk, target)
                ktap.equal(mirror.full, int(phase == "full"), f"full copies after {phase}")
                ktap.equal(points(disk), 1, f"points after {phase}")


# Of the target.
RECORD_AT = SIZE + MIB - 4096


@ktap.case
def target_fails():
    """The round fails, leaves no point behind, and copies nothing wrong once the target is well."""
    rng = ktap.chance("target")
    with pair() as (path, _), images.directory() as scratch, \
            faulty.device(scratch / "backing", SIZE + MIB) as below, attached(path) as disk, \
            mirrored(disk, below.path) as mirror:
        mirror.round()
        for fail in (below.fail_writes, below.fail_all, lambda: below.fail((RECORD_AT, 4096)),
                     lambda: below.fail((8 * MIB, MIB))):
            disk.write(8 * MIB + 64 * KIB, rng.randbytes(4 * KIB))
            write_some(disk, rng, 3)
            fail()
            for _ in range(4):
                mirror.fails()
            ktap.check(points(disk) <= 2, "points of rounds that failed are left")
            below.heal()
            mirror.round()
            same(disk, below.path)
            ktap.equal((mirror.full, points(disk)), (1, 1), "full copies, points")


@ktap.case
def disk_fails():
    """The same where what changed can't be read."""
    with images.directory() as scratch, loaded(), images.blank_device(SIZE + MIB) as target, \
            faulty.on_device(scratch, lambda path: images.create(path, SIZE, MIB, fixed=True)) \
            as place, attached(place.path, "--track", "--sidecar", scratch / "sidecar") as disk, \
            mirrored(disk, target) as mirror:
        mirror.round()
        disk.write(6 * MIB, b"a" * MIB)
        place.fail((8 * MIB, 8 * MIB))
        mirror.fails()
        place.heal()
        mirror.round()
        same(disk, target)
        ktap.equal(points(disk), 1, "points")


@ktap.case
def lag_is_bounded():
    """The observer's count makes a round come early."""
    with pair() as (path, target), attached(path) as disk:
        with mirrored(disk, target, lag=MIB) as mirror:
            mirror.round()
            before = mirror.rounds
            for number in range(8):
                disk.write(number * 256 * KIB, b"x" * 256 * KIB)
            ktap.eventually(lambda: mirror.rounds > before, "a round")
            disk.write(0, b"y" * 4096)
            ktap.eventually(lambda: mirror.lag < MIB, "less lag")


@ktap.case
def detach_while_it_is_held():
    """The module is told, and lets go; the disk is gone when detach returns."""
    with pair() as (path, target):
        disk = attach(path)
        mirror = Mirror(disk, target)
        mirror.round()
        begun = time.monotonic()
        detach(disk)
        ktap.check(time.monotonic() - begun < 5, "it took as long as a holder may take")
        ktap.check(not os.path.exists(disk.node), "the disk is still there")
        ktap.equal(mirror.state, "detached", "state")
        ktap.expect_errno(errno.ENODEV, mirror.round)
        mirror.stop()


@ktap.case
def what_is_no_disk():
    with pair() as (path, target), attached(path) as disk:
        ktap.expect_errno(errno.ENODEV, Mirror, _Node(target), target)
        ktap.expect_errno(errno.EINVAL, tell, "start", disk.node)
        ktap.expect_errno(errno.ENOENT, tell, "round", "/dev/nothing")
        with mirrored(disk, target), images.blank_device(SIZE + MIB) as other:
            ktap.expect_errno(errno.EBUSY, Mirror, disk, other)
            ktap.expect_errno(errno.EEXIST, Mirror, disk, target)
        with images.blank_device(SIZE) as small:
            ktap.expect_errno(errno.ENOSPC, Mirror, disk, small)
        ktap.equal(disk.sysfs("holders"), "", "holders")


class _Node:
    """A device that is no disk of ours."""

    def __init__(self, node):
        self.node = node


ktap.main()
