#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_discard - discards and zeroes: what they make of the disk, of its container, of its history
#
# A discard makes zeroes of the blocks that it has as a whole, and leaves the rest; so a model can
# say of each byte what it is. The oracle and QEMU read the container.
#
# vm: on=uml full=6.1:anything_file+anything_device+child_71+tracked+limits takes=60
import contextlib
import errno
import os
import pathlib
import random
import struct
import sys
import threading
import time
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import filesystem, images, judge, ktap, log_writes, slow, uapi  # noqa: E402
from vhdxtest.chains import random_chain  # noqa: E402
from vhdxtest.disk import attached, raw_attached, tracked_container  # noqa: E402
from vhdxtest.images import GIB, KIB, MIB  # noqa: E402
import vhdxoracle  # noqa: E402
from vhdxoracle.bat import State  # noqa: E402
from vhdxoracle.ranges import RangeSet  # noqa: E402

UNIT = 16 * KIB


class Model:
    """A disk and what it must read as."""

    def __init__(self, disk, truth, block, rng=None, sector=512):
        self.disk, self.truth, self.block = disk, truth, block
        self.rng, self.sector = rng, sector
        self.changed = RangeSet()

    def whole(self, offset, length):
        """(offset, end) of the blocks that are in a range as a whole."""
        end = offset + length
        start = -(-offset // self.block) * self.block
        if end < self.truth.size:
            end = end // self.block * self.block
        return start, max(start, end)

    def _take(self, start, end):
        self.changed |= RangeSet([(start, end)])

    def write(self, offset, data):
        """Data."""
        self.disk.write(offset, data)
        self.truth.write(offset, data)
        self._take(offset, offset + len(data))

    def discard(self, offset, length):
        """Whole blocks."""
        self.disk.data.discard(offset, length)
        start, end = self.whole(offset, length)
        if end > start:
            self.truth.raw.write(start, bytes(end - start))
            self._take(start, end)

    def zero(self, offset, length, keep=False):
        """All of it."""
        self.disk.data.zero(offset, length, keep)
        self.truth.raw.write(offset, bytes(length))
        self._take(offset, offset + length)

    def range(self):
        """Some part of the disk: often of whole blocks, or around their ends."""
        size, sector, rng = self.truth.size, self.sector, self.rng
        if rng.random() < 0.5:
            start = rng.randrange(size // self.block) * self.block
            length = rng.randint(1, 4) * self.block
        else:
            start = rng.randrange(size // sector) * sector
            length = rng.randint(1, 3 * self.block // sector) * sector
        if rng.random() < 0.2:
            start = max(0, start - sector)
        return start, min(length, size - start)

    def step(self):
        """Anything."""
        start, length = self.range()
        what = self.rng.randrange(7)
        if what < 3:
            length = min(length, self.rng.choice((self.sector, 8 * self.sector, 300 * KIB)))
            self.write(start, self.rng.randbytes(512) * (length // 512))
        elif what < 5:
            self.discard(start, length)
        else:
            self.zero(start, length, what == 6)


def anything(place, block, size, sector=512):
    """Writes, discards and zeroes of all kinds, and a clean detach now and then."""
    rng = ktap.chance(f"{place}{block}")
    with images.directory() as scratch, contextlib.ExitStack() as stack:
        if place == "device":
            path = stack.enter_context(images.blank_device(size + 64 * MIB))
        elif place == "tmpfs":
            path = stack.enter_context(tmpfs(scratch)) / "disk.vhdx"
        else:
            path = scratch / "disk.vhdx"
        images.create(path, size, block, sector)
        truth = stack.enter_context(judge.Truth(scratch / "truth", size))
        for _ in range(3):
            with raw_attached(path) as disk:
                model = Model(disk, truth, block, rng, sector)
                for _ in range(40):
                    model.step()
                judge.same_disk(disk, truth)
            judge.same_container(path, truth, qemu=sector == 512)


@contextlib.contextmanager
def tmpfs(scratch):
    """A directory in memory."""
    where = scratch / "memory"
    where.mkdir()
    images.command("mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", where)
    try:
        yield where
    finally:
        images.command("umount", where)


for _place in ("file", "tmpfs", "device"):
    ktap.add(f"anything_{_place}", anything, _place, MIB, 20 * MIB + 3 * KIB)
ktap.add("anything_4096", anything, "file", 2 * MIB, 21 * MIB, 4096)
ktap.add("anything_8M_blocks", anything, "file", 8 * MIB, 60 * MIB)


def states_of(path, count, parents=()):
    """Of the first blocks."""
    with vhdxoracle.open_disk(path, parents) as image:
        return [image.block_entry(number) for number in range(count)]


@ktap.case
def states():
    """Discarded: UNMAPPED; zeroed: ZERO; what is kept, and what was nowhere, as it was."""
    with images.container(16 * MIB) as path:
        with raw_attached(path) as disk:
            disk.write(0, b"x" * 6 * MIB)
            disk.data.discard(0, MIB)
            disk.data.zero(MIB, MIB)
            disk.data.zero(2 * MIB, MIB, keep=True)
            disk.data.discard(3 * MIB + 512, MIB - 512)
            disk.data.zero(4 * MIB, MIB - 512)
            disk.data.zero(8 * MIB, MIB)
            disk.data.discard(9 * MIB, MIB)
        found = states_of(path, 10)
        ktap.equal([state for state, _ in found],
                   [State.UNMAPPED, State.ZERO] + 4 * [State.FULLY_PRESENT] +
                   4 * [State.NOT_PRESENT], "states")
        ktap.equal([offset for _, offset in found[:2]], [0, 0], "offsets")
        with raw_attached(path) as disk:
            disk.data.zero(512, 512)
            ktap.check(disk.read(2 * MIB, MIB) == bytes(MIB), "what was kept")
            ktap.check(disk.read(3 * MIB, MIB) == b"x" * MIB, "a part that was discarded")
            ktap.check(disk.read(4 * MIB, MIB) == bytes(MIB - 512) + b"x" * 512, "a part")
        ktap.equal(states_of(path, 1)[0][0], State.ZERO, "zeroes of what was discarded")


@ktap.case
def any_size_of_block_costs_the_same():
    """Two blocks of 256 MiB: nothing of them is written."""
    with images.container(512 * MIB, 256 * MIB) as path:
        with raw_attached(path) as disk:
            disk.write(0, b"a" * MIB)
            disk.write(511 * MIB, b"b" * MIB)
            disk.data.flush()
            before = os.stat(path).st_blocks
            disk.data.discard(0, 256 * MIB)
            disk.data.zero(256 * MIB, 256 * MIB)
            disk.data.flush()
            ktap.check(os.stat(path).st_blocks <= before, "space was taken")
            for offset in (0, 511 * MIB):
                ktap.check(disk.read(offset, MIB) == bytes(MIB), f"content at {offset}")


@ktap.case
def limits():
    """As the disk says: none where it is only read."""
    with images.container(16 * MIB, 2 * MIB) as path:
        for options, wanted in (((), (2 * MIB, 256 * MIB, 256 * MIB)), (("--read-only",), (0, 0, 0))):
            with attached(path, *options) as disk:
                queue = pathlib.Path(f"/sys/block/vhdx{disk.index}/queue")
                found = tuple(int((queue / name).read_text()) for name in
                              ("discard_granularity", "discard_max_bytes", "write_zeroes_max_bytes"))
                ktap.equal(found[1:], wanted[1:], "limits")
                if not options:
                    ktap.equal(found[0], wanted[0], "granularity")


@ktap.case
def many_pages_of_the_bat():
    """One discard of 3 TiB, of which some blocks are there, goes through all of them."""
    size = 3 * 1024 * GIB
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", size, 32 * MIB)
        places = [number * 97 * GIB for number in range(31)] + [size - 32 * MIB]
        with raw_attached(path) as disk:
            for place in places:
                disk.write(place + 4096, b"x" * 4096)
            disk.data.discard(0, size)
            for place in places:
                ktap.check(disk.read(place + 4096, 4096) == bytes(4096), f"content at {place}")
        judge.valid(path)


def child(seed):
    """What a parent has is hidden by what is discarded, or zeroed, in its child."""
    with images.directory() as scratch:
        chain = random_chain(scratch, seed)
        before = chain.fingerprints()[1:]
        with chain.truth(scratch / "truth") as truth:
            for _ in range(2):
                with chain.attached(0) as disk:
                    model = Model(disk, truth, chain.blocks[0], ktap.chance(f"child{seed}"),
                                  chain.sector)
                    for _ in range(30):
                        model.step()
                    judge.same_disk(disk, truth)
                # Entries that say ZERO, and have an offset, were made so.
                judge.valid(chain.leaf, strict=False)
                with vhdxoracle.open_disk(chain.leaf, chain.parents) as image:
                    judge.same_image(image, truth)
        ktap.check(chain.fingerprints()[1:] == before, "a parent was changed")


for _seed in (71, 72):
    ktap.add(f"child_{_seed}", child, _seed)


@ktap.case
def child_masks():
    """A block of which the child has nothing; and one that is written, and found anew, after it."""
    with images.directory() as scratch:
        parent = images.create(scratch / "parent.vhdx", 8 * MIB, MIB,
                               content=[(0, b"p" * 8 * MIB)])
        path = scratch / "child.vhdx"
        vhdxoracle.create(path, parent=parent, block_size=MIB)
        with raw_attached(path, parents=[parent]) as disk:
            disk.write(2 * MIB + 4096, b"c" * 4096)
            disk.data.discard(0, 3 * MIB)
            disk.data.zero(3 * MIB, MIB, keep=True)
            disk.data.zero(4 * MIB + 512, 512)
            ktap.check(disk.read(0, 4 * MIB) == bytes(4 * MIB), "zeroes")
            ktap.check(disk.read(4 * MIB, 1536) == b"p" * 512 + bytes(512) + b"p" * 512, "a part")
            disk.write(MIB + 512, b"n" * 512)
            ktap.check(disk.read(MIB, MIB) == bytes(512) + b"n" * 512 + bytes(MIB - 1024),
                       "written anew")
        ktap.equal([state for state, _ in states_of(path, 5, [parent])],
                   [State.UNMAPPED, State.FULLY_PRESENT, State.UNMAPPED, State.ZERO,
                    State.PARTIALLY_PRESENT], "states")


# ---- tracking --------------------------------------------------------------------------------

def flagged(handle, point):
    """What changed since then: all of it, and what reads as zeroes."""
    _, found = handle.flagged(point)
    ranges = [(one.byte_offset, one.byte_offset + one.byte_length, one.flags) for one in found]
    return (RangeSet((start, end) for start, end, _ in ranges),
            RangeSet((start, end) for start, end, flags in ranges if flags & uapi.RANGE_ZERO))


@ktap.case
def tracked():
    """Told exactly, as zeroes, attached and from the files; and what is allocated has none of it."""
    with tracked_container(16 * MIB) as path:
        with attached(path) as disk:
            disk.write(0, b"x" * 8 * MIB)
            point = disk.handle.seal()
            disk.data.discard(MIB, 2 * MIB)
            # Of this no block is whole.
            disk.data.discard(5 * MIB + 512, MIB)
            disk.data.zero(4 * MIB, MIB)
            disk.data.zero(7 * MIB + 512, 512)
            everything, zeroes = flagged(disk.handle, point)
            ktap.equal(everything, RangeSet([(MIB, 3 * MIB), (4 * MIB, 5 * MIB),
                                             (7 * MIB, 7 * MIB + UNIT)]), "changed")
            ktap.equal(zeroes, RangeSet([(MIB, 3 * MIB), (4 * MIB, 5 * MIB)]), "zeroes")
            _, allocated = disk.handle.allocated()
            ktap.equal(RangeSet((one.byte_offset, one.byte_offset + one.byte_length)
                                for one in allocated),
                       RangeSet([(0, MIB), (3 * MIB, 4 * MIB), (5 * MIB, 8 * MIB)]), "allocated")
            second = disk.handle.seal()
            ktap.equal(disk.handle.changes(second), [], "after the seal")
            disk.data.discard(0, 16 * MIB)
            ktap.equal(disk.handle.changes(second), [(0, 16 * MIB)], "discarded, whatever it was")
        judge.valid(path)


@ktap.case
def tracked_at_random():
    """Seal, change, ask: all that changed is told, to the unit, and nothing else."""
    rng = ktap.chance()
    size = 24 * MIB
    with tracked_container(size) as path, images.directory() as scratch, \
            judge.Truth(scratch / "truth", size) as truth:
        with attached(path) as disk:
            for _ in range(6):
                model = Model(disk, truth, MIB, rng)
                point = disk.handle.seal()
                for _ in range(12):
                    model.step()
                told = RangeSet.of_lengths(disk.handle.changes(point))
                ktap.check(not model.changed - told, f"missed {(model.changed - told).lengths()[:3]}")
                more = told - model.changed.widened(UNIT)
                ktap.check(not more, f"told besides: {more.lengths()[:3]}")
            judge.same_disk(disk, truth)


@ktap.case
def tracked_while_points_are_sealed():
    """A copy that follows the points, made while blocks come and go, is the disk in the end."""
    size = 16 * MIB
    with tracked_container(size) as path, attached(path) as disk:
        copy, over = bytearray(size), threading.Event()
        # Opened once, not by each thread.
        disk.write(0, b"x" * 512)
        failures = []

        def change(number):
            rng = random.Random(number)
            try:
                while not over.is_set():
                    block = rng.randrange(number, 16, 2) * MIB
                    what = rng.randrange(3)
                    if what == 0:
                        disk.write(block + rng.randrange(200) * 4096, rng.randbytes(4096))
                    elif what == 1:
                        disk.data.discard(block, MIB)
                    else:
                        disk.data.zero(block, rng.choice((4096, MIB)))
            except Exception as error:  # pylint: disable=broad-exception-caught
                failures.append(error)

        threads = [threading.Thread(target=change, args=(number,)) for number in (0, 1)]
        last = disk.handle.ids()[0]
        for thread in threads:
            thread.start()
        for number in range(20):
            if number == 19:
                over.set()
                for thread in threads:
                    thread.join()
            point = disk.handle.seal()
            for offset, length in disk.handle.changes(last, point):
                copy[offset:offset + length] = disk.read(offset, length)
            last = point
        ktap.check(not failures, failures)
        ktap.check(disk.read(0, size) == copy, "the copy is another one")


# ---- many at once ------------------------------------------------------------------------------

@ktap.case
def races_for_one_block():
    """Writers, readers and discards of the same blocks: what is read is of this block, and what
    was written last is there (rule V1). Space goes round among the blocks meanwhile."""
    blocks, rounds = 6, 60
    with images.container(16 * MIB) as path:
        with raw_attached(path) as disk:
            disk.write(0, bytes(512))
            over, failures = threading.Event(), []

            def guarded(function, number):
                try:
                    function(number)
                except Exception as error:  # pylint: disable=broad-exception-caught
                    failures.append(error)
                    over.set()

            def own(number):
                """A sector of its own in each block: discarded, or what it wrote last."""
                rng = random.Random(number)
                for turn in range(1, rounds):
                    if over.is_set():
                        return
                    block = rng.randrange(blocks)
                    offset = block * MIB + (1 + number) * 64 * KIB
                    data = bytes([block + 1, turn]) * 2048
                    disk.write(offset, data)
                    got = disk.read(offset, 4096)
                    ktap.check(got in (data, bytes(4096)),
                               f"block {block}: {got[:2]} instead of {data[:2]} or zeroes")

            def read(number):
                rng = random.Random(number)
                while not over.is_set():
                    block = rng.randrange(blocks)
                    found = set(disk.read(block * MIB, MIB)[::2])
                    ktap.check(found <= {0, block + 1}, f"block {block} has bytes of {found}")

            def discard(number):
                rng = random.Random(number)
                while not over.is_set():
                    block = rng.randrange(blocks)
                    if rng.randrange(4):
                        disk.data.discard(block * MIB, MIB)
                    else:
                        disk.data.discard(0, blocks * MIB)
                    disk.data.flush()

            writers = [threading.Thread(target=guarded, args=(own, number)) for number in range(3)]
            others = [threading.Thread(target=guarded, args=(function, number))
                      for number, function in enumerate((read, discard, discard))]
            for thread in writers + others:
                thread.start()
            for thread in writers:
                thread.join()
            over.set()
            for thread in others:
                thread.join()
            ktap.check(not failures, failures)
        judge.valid(path)
        images.command("qemu-img", "check", "-q", "-f", "vhdx", path)


# ---- space -------------------------------------------------------------------------------------

@ktap.case
def space_is_used_again():
    """By other blocks, as often as it takes: the container does not grow, and is no mixture."""
    with images.container(64 * MIB) as path, images.directory() as scratch, \
            judge.Truth(scratch / "truth", 64 * MIB) as truth:
        with raw_attached(path) as disk:
            model = Model(disk, truth, MIB)
            sizes = []
            for turn in range(8):
                for number in range(8):
                    block = (turn * 8 + number) % 64 * MIB
                    model.write(block + 4096 * turn, bytes([turn + 1, number + 1]) * 2048)
                disk.data.flush()
                sizes.append(os.stat(path).st_size)
                if turn < 7:
                    model.discard(turn * 8 * MIB, 8 * MIB)
                    disk.data.flush()
            ktap.equal(len(set(sizes)), 1, f"sizes {sizes}")
            judge.same_disk(disk, truth)
        judge.same_container(path, truth)
        # Eight blocks, and structures.
        blocks = os.stat(path).st_blocks * 512
        ktap.check(blocks < 9 * MIB, f"{blocks} bytes of the host are in use")


@ktap.case
def space_comes_back_to_the_host():
    """Without a detach: the file is punched once a commit is through; and cut at the detach, though
    it was so long when it was attached."""
    with images.container(64 * MIB) as path:
        with raw_attached(path) as disk:
            for number in range(48):
                disk.write(number * MIB, b"x" * MIB)
        whole = os.stat(path)
        with raw_attached(path) as disk:
            disk.data.discard(4 * MIB, 40 * MIB)
            disk.data.flush()
            ktap.eventually(lambda: os.stat(path).st_blocks * 512 < 16 * MIB, "holes")
            disk.data.discard(44 * MIB, 20 * MIB)
        ktap.check(os.stat(path).st_size < whole.st_size - 40 * MIB, "it was not cut")
        judge.valid(path)
        with raw_attached(path) as disk:
            ktap.check(disk.read(0, 4 * MIB) == b"x" * 4 * MIB, "what is left")
            ktap.check(disk.read(4 * MIB, 60 * MIB) == bytes(60 * MIB), "what was discarded")


@contextlib.contextmanager
def device_without_discards(size):
    """A loop device that takes none. Whoever had it next could not have it take any."""
    with images.blank_device(size) as path:
        queue = pathlib.Path("/sys/block", os.path.basename(path), "queue")
        (queue / "discard_max_bytes").write_text("0", encoding="ascii")
        yield path
    images.remove_loop(path)


@ktap.case
def nothing_stale_on_a_device():
    """Space that is used again is zero around what is written, where it can't be punched."""
    with device_without_discards(16 * MIB) as path:
        images.create(path, 64 * MIB, MIB)
        with raw_attached(path) as disk:
            disk.write(0, b"s" * 12 * MIB)
            for turn in range(1, 5):
                disk.data.discard((turn - 1) * 12 * MIB, 12 * MIB)
                for block in range(12):
                    offset = (turn * 12 + block) * MIB
                    disk.write(offset + 8192, bytes([turn]) * 512)
                    ktap.check(disk.read(offset, MIB) == bytes(8192) + bytes([turn]) * 512 +
                               bytes(MIB - 8704), f"block {turn * 12 + block}")
        judge.valid(path)


@ktap.case
def kept_on_a_device():
    """Zeroes whose space is to be kept: the device below keeps it, too. Others it may give back."""
    with images.directory() as scratch, \
            images.loop(scratch / "backing", size=32 * MIB) as device:
        images.create(device, 8 * MIB, MIB)
        with raw_attached(device) as disk:
            disk.write(0, b"k" * 8 * MIB)
            taken = os.stat(scratch / "backing").st_blocks
            disk.data.zero(2 * MIB, 2 * MIB, True)
            ktap.check(disk.read(2 * MIB, 2 * MIB) == bytes(2 * MIB), "not zero")
            ktap.check(os.stat(scratch / "backing").st_blocks >= taken, "it was given back")
        judge.valid(device)


@ktap.case
def room_on_a_full_device():
    """Where no block fits any more, one fits as soon as another one is discarded."""
    with images.blank_device(16 * MIB) as path:
        images.create(path, 64 * MIB, MIB)
        with raw_attached(path) as disk:
            count = 0
            with contextlib.suppress(OSError):
                while True:
                    disk.write(count * MIB, b"f" * 4096)
                    count += 1
            for number in range(count):
                ktap.expect_errno(errno.ENOSPC, disk.write, 63 * MIB, b"n" * 512)
                disk.data.discard(number * MIB, MIB)
                disk.write((40 + number % 20) * MIB, b"n" * 512)
                if number % 20 == 19:
                    break
            ktap.equal(disk.sysfs("poisoned"), "0", "poisoned")
        judge.valid(path)


@ktap.case
def trimmed_file_system():
    """A file system that was filled and emptied: fstrim gives it back, and what it costs is told."""
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", 512 * MIB, MIB)
        with attached(path) as disk:
            with filesystem.made("ext4", disk.node) as where:
                images.command("sync")
                empty = os.stat(path).st_blocks * 512
                for number in range(4):
                    (where / f"{number}").write_bytes(os.urandom(MIB) * 48)
                images.command("sync")
                full = os.stat(path).st_blocks * 512
                for number in range(4):
                    (where / f"{number}").unlink()
                images.command("sync")
                images.command("fstrim", where)
                images.command("sync")
                ktap.eventually(lambda: os.stat(path).st_blocks * 512 < empty + 16 * MIB,
                                "its space")
                left = os.stat(path).st_blocks * 512
            images.command("fsck.ext4", "-f", "-n", disk.node)
        ktap.diag(f"MiB of the host: {empty // MIB} empty, {full // MIB} full, {left // MIB} trimmed")
        ktap.check(full > 150 * MIB, "it was not filled")
        judge.valid(path)


# ---- power loss, and what is under way ------------------------------------------------------------

@ktap.case
def read_under_way():
    """Space is not given away while a read is on its way there (rule V1)."""
    with images.directory() as scratch, slow.device(scratch / "backing", 24 * MIB) as below:
        images.create(below.path, 64 * MIB, MIB)
        with raw_attached(below.path) as disk:
            for number in range(4):
                disk.write(number * MIB, bytes([number + 1]) * MIB)
        where = states_of(below.path, 4)[1][1]
        with raw_attached(below.path) as disk:
            disk.write(0, bytes(512))
            found = []
            below.delay(read=1500, where=(where, where + MIB))
            reader = threading.Thread(target=lambda: found.append(disk.read(MIB, MIB)))
            reader.start()
            ktap.eventually(lambda: in_flight(disk)[0], "a read that is under way")
            disk.data.discard(0, 4 * MIB)
            disk.data.flush()
            # By now the space would be given away.
            time.sleep(0.3)
            for number in range(40, 48):
                disk.write(number * MIB, b"z" * MIB)
            reader.join()
            below.delay()
            ktap.check(found == [b"\2" * MIB], f"{found[0][:1]} was read")
            ktap.check(disk.read(0, 4 * MIB) == bytes(4 * MIB), "zeroes")


def in_flight(disk):
    """Reads and writes that are under way, as the block layer counts them."""
    text = pathlib.Path(f"/sys/block/vhdx{disk.index}/inflight").read_text(encoding="ascii")
    return tuple(map(int, text.split()))


SLOTS = 12
# Between groups of writes; half as many in the midst of one.
MOMENTS = 80 if ktap.LONG else 40
DEVICE = 14 * MIB


class Load:
    """Blocks that come and go, in a container that has not room for all of them."""

    def __init__(self, rng):
        self.rng = rng
        self.states = [[(0, 0)] for _ in range(SLOTS)]      # (turn, version)

    def turn(self, disk, turn):
        """Some of them."""
        for slot in self.rng.sample(range(SLOTS), 4):
            offset, version = slot * MIB, 0
            what = self.rng.randrange(5)
            if what < 3:
                try:
                    disk.write(offset + 8192, content(slot, turn))
                except OSError as failure:
                    ktap.equal(failure.errno, errno.ENOSPC, "errno")
                    continue
                version = turn
            elif what == 3:
                disk.data.discard(offset, MIB)
            else:
                disk.data.zero(offset, MIB)
            self.states[slot].append((turn, version))

    def judge(self, read, durable):
        """Each block holds its own bytes: what was there at a turn, or came behind it."""
        for slot in range(SLOTS):
            data = read(slot * MIB, MIB)
            ktap.check(not any(data[:8192]) and not any(data[8704:]),
                       f"slot {slot} has something around it")
            number, version = struct.unpack_from("<II", data, 8192)
            ktap.check(data[8192:8704] in (bytes(512), content(slot, version)),
                       f"slot {slot} holds {number}, {version}")
            may = {state for turn, state in self.states[slot] if turn > durable}
            may.add([state for turn, state in self.states[slot] if turn <= durable][-1])
            ktap.check(version in may, f"slot {slot} holds {version}, not one of {may}")


def content(slot, version):
    """Of a sector: it is there or it is not. None of it is zero."""
    return struct.pack("<II", slot + 1, version) * 64


@ktap.case
def power_loss():
    """At any moment the container is valid, and no block has bytes of another one that got its
    space since, or of whoever had the device before (rule V2)."""
    load = Load(ktap.chance("load"))
    with images.directory() as scratch:
        backing, log = scratch / "backing", images.sparse(scratch / "log", GIB)
        vhdxoracle.create(backing, 64 * MIB, block_size=MIB)
        end = backing.stat().st_size
        os.truncate(backing, DEVICE + MIB)
        judge.fill(backing, 0xA5, end, DEVICE)
        image = scratch / "image"
        judge.snapshot(backing, image)
        with images.loop(backing) as device, images.loop(log) as log_device, \
                log_writes.recorded(device, log_device, DEVICE) as recorder:
            for first in (1, 21):
                with raw_attached(recorder.path) as disk:
                    for turn in range(first, first + 20):
                        load.turn(disk, turn)
                        if load.rng.randrange(3):
                            disk.data.flush()
                            recorder.acknowledge(turn)
        recording = log_writes.Recording(log)
        rng = ktap.chance("cuts")
        cuts = recording.boundaries()
        cuts = rng.sample(cuts, min(len(cuts), MOMENTS))
        groups = [number for number, group in enumerate(recording.groups) if group]
        cuts += [log_writes.torn(number) for number in rng.sample(groups, min(len(groups), MOMENTS // 2))]
        ktap.diag(f"{len(recording.groups)} groups, {len(cuts)} moments")
        for moment in recording.moments([(image, DEVICE)], cuts, rng.random()):
            try:
                judge.valid(image, clean=False)
                with vhdxoracle.open_disk(image) as found:
                    load.judge(found.read, max(moment.acknowledged, default=0))
            except Exception as error:
                raise AssertionError(f"at {tuple(moment.cut)}: {error}") from error
        recording.close()


ktap.main()
