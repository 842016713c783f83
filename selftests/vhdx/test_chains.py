#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_chains - differencing disks are what their layers say
#
# Chains are made by the oracle, which says what they must read as. Parents are never written.
#
# vm: on=uml full=6.1:reads_1+writes_21+several_children+no_waiting+on_block_devices+stale_bits,6.12:reads_2+writes_22+dirty_logs+states_of_blocks+tracked_in_a_chain takes=75
import contextlib
import errno
import os
import pathlib
import random
import stat
import sys
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, dio, faulty, images, judge, ktap, log_writes, mapper, udev, uapi  # noqa: E402
from vhdxtest.chains import Chain, content, random_chain  # noqa: E402
from vhdxtest.device import expect_failure  # noqa: E402
from vhdxtest.disk import attach, attach_once, attached, opened, raw_attached  # noqa: E402
from vhdxtest.family import Family  # noqa: E402
from vhdxtest.images import GIB, KIB, MIB  # noqa: E402
from vhdxtest.kernel_log import KernelLog  # noqa: E402
import vhdxoracle  # noqa: E402

READ_ONLY = uapi.ATTACH_READ_ONLY


# ---- reading ------------------------------------------------------------------------------

def small_reads(disk, truth, rng, sector, count=200):
    """At sectors, across the ends of runs and blocks."""
    for _ in range(count):
        length = rng.choice((sector, 2 * sector, 8 * sector, 100 * sector))
        offset = rng.randrange(0, (truth.size - length) // sector) * sector
        if not rng.randrange(3):
            offset = max(0, offset // MIB * MIB - length // 2 // sector * sector)
        ktap.check(disk.read(offset, length) == truth.read(offset, length),
                   f"{length} bytes at {offset} are wrong")


def reads(seed, shape):
    """All of a random chain, in long pieces and in short ones; nothing is written by it."""
    with images.directory() as scratch:
        chain = random_chain(scratch, seed, **shape)
        before = chain.fingerprints()
        with chain.truth(scratch / "truth") as truth:
            with chain.attached() as disk:
                ktap.equal(disk.handle.info().layer_count, len(chain.paths), "layers")
                judge.same_disk(disk, truth)
                small_reads(disk, truth, random.Random(seed), chain.sector)
        ktap.check(chain.fingerprints() == before, "a layer was changed")


for _seed in range(1, 7 if ktap.LONG else 4):
    ktap.add(f"reads_{_seed}", reads, _seed, {})
ktap.add("reads_64_layers", reads, 64, {"depth": 64, "size": 6 * MIB, "blocks": MIB, "pieces": 6})
ktap.add("reads_256M_blocks", reads, 256,
         {"depth": 3, "size": 300 * MIB + 4096, "blocks": 256 * MIB, "pieces": 60})


@ktap.case
def chunk_border():
    """Bits of two sector bitmap blocks, and of several pages of one."""
    size = 5 * GIB
    with images.directory() as scratch:
        where = [4 * GIB - 4096, 16 * MIB - 512, 32 * MIB - 2048, size - 512]
        parent = images.create(scratch / "parent.vhdx", size, 32 * MIB, seed=1,
                               content=[(at - 64 * KIB, judge.pattern(at % 1000, 128 * KIB)[:size - at + 64 * KIB])
                                        for at in where])
        child = scratch / "child.vhdx"
        vhdxoracle.create(child, parent=parent, block_size=64 * MIB, seed=2,
                          content=[(at, judge.pattern(at % 999, min(8192, size - at))) for at in where])
        with judge.Truth(scratch / "truth", size) as truth:
            with vhdxoracle.open_disk(child, [parent]) as image:
                for offset, piece in image.data():
                    truth.write(offset, piece)
            with raw_attached(child, flags=READ_ONLY, parents=[parent]) as disk:
                judge.same_disk(disk, truth)


@ktap.case
def smaller_parents():
    """Behind the end of a parent there are zeroes; a larger one is none of its child."""
    with images.directory() as scratch:
        chain = Chain(scratch, random.Random(3), 3, size=(20 * MIB, 9 * MIB, 6 * MIB + 512),
                      blocks=[MIB, 4 * MIB, 2 * MIB], pieces=40, states=False)
        with chain.truth(scratch / "truth") as truth, chain.attached() as disk:
            judge.same_disk(disk, truth)
        parent = images.create(scratch / "parent.vhdx", 16 * MIB, MIB)
        vhdxoracle.create(scratch / "child.vhdx", 8 * MIB, parent=parent, block_size=MIB)
        refuse(errno.EUCLEAN, uapi.CORRUPT, "larger", scratch / "child.vhdx", [parent])


@ktap.case
def dirty_logs():
    """Of leaf and parents: replayed in memory, in none of the files; pages of bitmaps, too."""
    with images.directory() as scratch:
        size, paths = 20 * MIB, []
        for number in range(3):
            paths.insert(0, scratch / f"layer{number}.vhdx")
            vhdxoracle.create(paths[0], size, block_size=MIB, parent=paths[1] if number else None,
                              content=content(random.Random(number), size, MIB, 512, 20))
            # From now on it has the DataWriteGuid that its child is told.
            vhdxoracle.dirty(paths[0], [(number * MIB + 512, judge.pattern(number, 2048)),
                                        ((4 + number) * MIB + 5120, judge.pattern(number, 512))],
                             {7 + number: "ZERO", 12: "ZERO"})
        before = [judge.fingerprint(path) for path in paths]
        with judge.Truth(scratch / "truth", size) as truth:
            with vhdxoracle.open_disk(paths[0], paths[1:]) as image:
                for offset, piece in image.data():
                    truth.write(offset, piece)
            with raw_attached(paths[0], flags=READ_ONLY, parents=paths[1:]) as disk:
                judge.same_disk(disk, truth)
        ktap.check([judge.fingerprint(path) for path in paths] == before, "a layer was changed")


@ktap.case
def parents_that_have_nothing():
    """They are asked once: what describes them is not needed any more. The leaf is asked always."""
    with images.directory() as scratch, faulty.device(scratch / "backing", 64 * MIB) as device:
        base = images.create(scratch / "base.vhdx", 16 * MIB, MIB, content=[(0, judge.pattern(1, 16 * MIB))])
        vhdxoracle.create(device.path, parent=base, block_size=MIB, content=[(5 * MIB, b"m" * 4096)])
        leaf = scratch / "leaf.vhdx"
        vhdxoracle.create(leaf, parent=device.path, block_size=MIB)
        with judge.Truth(scratch / "truth", 16 * MIB, base) as truth:
            truth.write(5 * MIB, b"m" * 4096)
            with raw_attached(leaf, parents=[device.path, base]) as disk:
                judge.same_disk(disk, truth)
                images.forget_pages()
                device.fail_all()
                for at in (0, 3 * MIB + 4096, 15 * MIB):
                    judge.same_range(disk, truth, at, 8192)
                ktap.expect_errno(errno.EIO, disk.read, 5 * MIB, 4096)
                writer = Writer(disk, truth, random.Random(1), 512)
                for at in (4096, 3 * MIB, 5 * MIB):
                    writer.write(at, 4096)
                for at in (0, 3 * MIB):
                    judge.same_range(disk, truth, at, MIB)
                device.heal()
                judge.same_disk(disk, truth)


@ktap.case
def parts_that_share_a_place():
    """Of a disk with more parts than are remembered at once."""
    where = [number * 256 * GIB + MIB for number in range(3)]
    with images.directory() as scratch:
        shape = {"block_size": MIB, "content": [(where[1], b"m" * 4096)]}
        base = images.create(scratch / "base.vhdx", 600 * GIB, MIB,
                             content=[(at, bytes([65 + number]) * 4096) for number, at in enumerate(where)])
        vhdxoracle.create(scratch / "middle.vhdx", parent=base, **shape)
        vhdxoracle.create(scratch / "leaf.vhdx", parent=scratch / "middle.vhdx", block_size=MIB)
        with raw_attached(scratch / "leaf.vhdx", flags=READ_ONLY,
                          parents=[scratch / "middle.vhdx", base]) as disk:
            for _ in range(2):
                for at, byte in zip((*where, *where[::-1]), b"AmCCmA"):
                    ktap.check(disk.read(at, 4096) == bytes([byte]) * 4096, f"at {at}")


@ktap.case
def several_children():
    """One parent, read by several disks at once, and one that reads nothing else."""
    with images.directory() as scratch, contextlib.ExitStack() as stack:
        chain = random_chain(scratch, 9, depth=2, blocks=MIB, size=20 * MIB, sector=512)
        parent = chain.parents[0]
        before = judge.fingerprint(parent)
        disks = []
        for number in range(3):
            child = scratch / f"child{number}.vhdx"
            vhdxoracle.create(child, parent=parent, block_size=2 * MIB,
                              content=[(number * MIB + 4096, judge.pattern(number, 64 * KIB))])
            truth = stack.enter_context(judge.Truth(scratch / f"truth{number}", 20 * MIB))
            with vhdxoracle.open_disk(child, [parent]) as image:
                for offset, piece in image.data():
                    truth.write(offset, piece)
            disks.append((stack.enter_context(raw_attached(child, flags=READ_ONLY, parents=[parent])),
                          truth))
        truth = stack.enter_context(judge.Truth(scratch / "truth", 20 * MIB, parent))
        disks.append((stack.enter_context(raw_attached(parent, flags=READ_ONLY)), truth))
        for disk, truth in disks:
            judge.same_disk(disk, truth)
        expect_failure(errno.EBUSY, uapi.IN_USE, attach_once, parent)
        stack.close()
        ktap.check(judge.fingerprint(parent) == before, "the parent was changed")


@ktap.case
def what_layers_are():
    """VHDX_GET_LAYERS tells each of them, or the first ones, or how many there are."""
    with images.directory() as scratch, images.blank_device(64 * MIB) as device:
        chain = random_chain(scratch, 15, depth=3, blocks=MIB, size=16 * MIB, sector=512,
                             places={1: device})
        with chain.attached(0) as disk:
            ktap.equal(disk.handle.layers(0), (3, []), "count alone")
            shown = pathlib.Path(f"/sys/block/vhdx{disk.index}")
            ktap.equal(sorted(one.name for one in shown.glob("parent*")), ["parent1", "parent2"], "sysfs")
            ktap.equal([(shown / f"parent{i}/container").read_text() for i in (1, 2)],
                       [f"{path}\n" for path in chain.parents], "paths")
            ktap.equal({(shown / f"parent{i}" / name).read_text() for i in (1, 2)
                        for name in ("lost", "container_unlinked")}, {"0\n"}, "states")
            ktap.equal(len(disk.handle.layers(2)[1]), 2, "the first two")
            count, layers = disk.handle.layers()
            ktap.equal((count, disk.handle.info().layer_count), (3, 3), "layers")
            for path, layer in zip(chain.paths, layers, strict=True):
                found = os.stat(path)
                block = stat.S_ISBLK(found.st_mode)
                where = found.st_rdev if block else found.st_dev
                with vhdxoracle.Image(path) as image:
                    ktap.equal(images.uuid_of(layer.data_write_guid), image.header.data_write_guid,
                               "DataWriteGuid")
                ktap.equal((layer.container_major, layer.container_minor, layer.container_inode),
                           (os.major(where), os.minor(where), 0 if block else found.st_ino), "file")
                ktap.equal((layer.virtual_disk_size, layer.block_size), (16 * MIB, MIB), "geometry")
                ktap.equal(bytes(layer.virtual_disk_id), bytes(disk.handle.info().virtual_disk_id), "id")
                ktap.equal(bool(layer.disk_flags & uapi.DISK_BLOCK), block, "a device")
                ktap.equal(bool(layer.disk_flags & uapi.DISK_READ_ONLY), path != chain.leaf, "read only")


@ktap.case
def on_block_devices():
    """Files and devices in one chain."""
    with images.directory() as scratch, \
            images.blank_device(64 * MIB) as one, images.blank_device(64 * MIB) as other:
        for places in ({0: one}, {1: one}, {0: one, 2: other}):
            chain = random_chain(scratch, 11, depth=3, blocks=MIB, size=16 * MIB, sector=512,
                                 places=places)
            with chain.truth(scratch / "truth") as truth, chain.attached() as disk:
                judge.same_disk(disk, truth)


def nowait(disk, offset):
    """What 4 KiB are read as if that must not wait, or the errno."""
    buffer = dio.aligned(4 * KIB)
    try:
        ktap.equal(os.preadv(disk.data.fd, [buffer], offset, os.RWF_NOWAIT), 4 * KIB, "bytes")
    except OSError as error:
        return error.errno
    return bytes(buffer)


@ktap.case
def no_waiting():
    """It is promised if all devices of the chain promise it: what the leaf has tells nothing."""
    with images.directory() as scratch, images.blank_device() as device, \
            images.blank_device() as below:
        # A target of which the kernel does not say that it does not wait.
        table = f"0 {64 * MIB // mapper.SECTOR} flakey {below} 0 1000 0"
        with mapper.mapped("waits", table) as slow:
            for parent, waits in ((scratch / "parent.vhdx", False), (slow, True)):
                images.create(parent, 16 * MIB, MIB, content=[(0, b"p" * MIB)])
                vhdxoracle.create(device, parent=parent, block_size=MIB, content=[(MIB, b"c" * MIB)])
                with raw_attached(device, flags=READ_ONLY, parents=[parent]) as disk:
                    disk.read(0, 2 * MIB)
                    for offset, data in ((0, b"p" * 4096), (MIB, b"c" * 4096)):
                        ktap.equal(nowait(disk, offset), errno.EOPNOTSUPP if waits else data,
                                   f"at {offset} with {parent}")


# ---- writing ------------------------------------------------------------------------------

class Writer:
    """Writes the same to a disk and to the truth."""

    def __init__(self, disk, truth, rng, sector):
        self.disk, self.truth, self.rng, self.sector = disk, truth, rng, sector

    def write(self, offset, length):
        """Of bytes that were never written before."""
        length = min(length, self.truth.size - offset)
        data = self.rng.randbytes(length)
        self.disk.write(offset, data)
        self.truth.write(offset, data)

    def some(self, count, block):
        """Sectors, runs of them, what goes across blocks, whole blocks."""
        for _ in range(count):
            length = self.rng.choice((1, 1, 2, 8, 100, 500)) * self.sector
            offset = self.rng.randrange(self.truth.size // self.sector) * self.sector
            if not self.rng.randrange(8) and block <= 4 * MIB:
                offset, length = offset // block * block, block
            self.write(offset, length)
            if not self.rng.randrange(4):
                at = max(0, offset - 4 * self.sector)
                size = min(length + 8 * self.sector, self.truth.size - at)
                ktap.check(self.disk.read(at, size) == self.truth.read(at, size),
                           f"{size} bytes at {at} right after a write")


def same_chain(chain, truth):
    """The leaf is valid, and the oracle reads the chain as it must."""
    judge.valid(chain.leaf)
    with vhdxoracle.open_disk(chain.leaf, chain.parents) as image:
        judge.same_image(image, truth)


def writes(seed, shape):
    """Two sessions; what was written is there, in the leaf alone."""
    with images.directory() as scratch:
        chain = random_chain(scratch, seed, **shape)
        before = chain.fingerprints()[1:]
        rng = random.Random(seed)
        with chain.truth(scratch / "truth") as truth:
            for _ in range(2):
                with chain.attached(0) as disk:
                    Writer(disk, truth, rng, chain.sector).some(80, chain.blocks[0])
                    judge.same_disk(disk, truth)
                same_chain(chain, truth)
            with chain.attached() as disk:
                judge.same_disk(disk, truth)
        ktap.check(chain.fingerprints()[1:] == before, "a parent was changed")


for _seed in range(21, 27 if ktap.LONG else 24):
    ktap.add(f"writes_{_seed}", writes, _seed, {})
ktap.add("writes_64_layers", writes, 65, {"depth": 64, "size": 6 * MIB, "blocks": MIB, "pieces": 6})
ktap.add("writes_256M_blocks", writes, 257,
         {"depth": 2, "size": 300 * MIB + 4096, "blocks": 256 * MIB, "pieces": 60, "sector": 512})


@ktap.case
def families():
    """Layers that were written by the driver one after the other, of shapes that the run's seed says;
    some have several children, some are on devices."""
    with images.directory() as scratch, \
            images.blank_device(64 * MIB) as one, images.blank_device(64 * MIB) as other, \
            Family(scratch, ktap.chance("families"), (one, other)) as family:
        family.grow()
        family.judge()


def states_of(path):
    """The BAT of a container's first blocks, by name."""
    with vhdxoracle.Image(path) as image:
        return [image.block_entry(block)[0].name for block in range(image.geometry.payload_blocks)]


@ktap.case
def states_of_blocks():
    """A part makes a block partially present, and all of it fully; also when it fills up."""
    with images.directory() as scratch:
        parent = images.create(scratch / "parent.vhdx", 8 * MIB + 4096, MIB, content=[(0, judge.pattern(1, 8 * MIB))])
        child = scratch / "child.vhdx"
        vhdxoracle.create(child, parent=parent, block_size=MIB, states={3: "ZERO", 4: "UNMAPPED+"})
        before = judge.fingerprint(parent)
        with judge.Truth(scratch / "truth", 8 * MIB + 4096, parent) as truth:
            truth.write(3 * MIB, bytes(2 * MIB))
            with raw_attached(child, parents=[parent]) as disk:
                writer = Writer(disk, truth, random.Random(1), 512)
                writer.write(MIB, MIB)                          # whole
                writer.write(2 * MIB + 512, 512)                # a part
                writer.write(3 * MIB + 4096, 4096)              # of zeroes
                writer.write(4 * MIB + 4096, 4096)
                for at in range(0, MIB, 64 * KIB):              # fills up
                    writer.write(5 * MIB + at, 64 * KIB)
                writer.write(6 * MIB + 512, MIB - 512)          # all but one
                writer.write(8 * MIB, 4096)                     # all there is of the last one
                judge.same_disk(disk, truth)
            judge.valid(child)
            ktap.equal(states_of(child),
                       ["NOT_PRESENT", "FULLY_PRESENT", "PARTIALLY_PRESENT", "FULLY_PRESENT",
                        "FULLY_PRESENT", "FULLY_PRESENT", "PARTIALLY_PRESENT", "NOT_PRESENT",
                        "FULLY_PRESENT"], "states")
            with raw_attached(child, parents=[parent]) as disk:
                writer.disk = disk
                writer.write(6 * MIB, 512)                      # and the last one
                judge.same_disk(disk, truth)
            ktap.equal(states_of(child)[6], "FULLY_PRESENT", "block 6")
        ktap.check(judge.fingerprint(parent) == before, "the parent was changed")


@ktap.case
def stale_bits():
    """A crash may leave bits of a block that is not there: they are not believed (rule V7)."""
    with images.directory() as scratch:
        parent = images.create(scratch / "parent.vhdx", 64 * MIB, MIB, content=[(0, judge.pattern(1, 64 * MIB))])
        child = scratch / "child.vhdx"
        for block in (MIB, 32 * MIB):
            child.unlink(missing_ok=True)
            vhdxoracle.create(child, parent=parent, block_size=block, content=[(0, b"x" * 512)])
            with vhdxoracle.Image(child) as image:
                at = next(image.bitmap_blocks())[1]
            judge.fill(child, 0xff, at + block // 512 // 8, at + 64 * MIB // 512 // 8)
            with judge.Truth(scratch / "truth", 64 * MIB, parent) as truth:
                truth.write(0, b"x" * 512)
                with raw_attached(child, parents=[parent]) as disk:
                    writer = Writer(disk, truth, random.Random(1), 512)
                    writer.write(block + 4096, 512)
                    writer.write(64 * MIB - 1024, 512)
                    judge.same_disk(disk, truth)
                judge.valid(child)
                with raw_attached(child, parents=[parent]) as disk:
                    judge.same_disk(disk, truth)


@ktap.case
def stale_bits_of_a_write_that_fails():
    """They are cleared in the container, although nothing else asks for a commit."""
    with images.directory() as scratch, faulty.device(scratch / "backing", 64 * MIB) as device:
        parent = images.create(scratch / "parent.vhdx", 16 * MIB, MIB)
        vhdxoracle.create(device.path, parent=parent, block_size=MIB, content=[(0, b"x" * 512)])
        with vhdxoracle.Image(device.path) as image:
            bits = next(image.bitmap_blocks())[1]
            end = max(bits, image.block_entry(0)[1]) + MIB
        judge.fill(device.path, 0xff, bits + MIB // 512 // 8, bits + 2 * MIB // 512 // 8)
        with raw_attached(device.path, parents=[parent]) as disk, dio.Direct(device.path) as container:
            device.fail((end, 64 * MIB - end))
            ktap.expect_errno(errno.EIO, disk.write, MIB, bytes(512))
            ktap.eventually(lambda: not any(container.read(bits, 4096)[1:]), "the bits are cleared", 15)
            device.heal()
        judge.valid(device.path)


@ktap.case
def parts_of_sectors():
    """A log of dm-log-writes has the sectors of the device that it is about, not of that which it is
    on: its writes are refused, and none has an effect."""
    with images.directory() as scratch, images.blank_device() as device:
        parent = images.create(scratch / "parent.vhdx", 16 * MIB, MIB, 4096)
        child = scratch / "child.vhdx"
        vhdxoracle.create(child, parent=parent, block_size=MIB, logical_sector=4096)
        before = judge.fingerprint(child)
        with raw_attached(child, parents=[parent]) as disk, KernelLog() as log:
            with log_writes.recorded(device, disk.node, 16 * MIB) as recorder:
                with dio.Direct(recorder.path, write=True) as data:
                    data.write(0, b"x" * 4096)
                recorder.acknowledge(1)
                ktap.eventually(lambda: any("Error writing log" in text for _, text in log.records()),
                                "the log can't be written")
            ktap.check(not any(disk.read(0, MIB)), "content")
        ktap.check(judge.fingerprint(child) == before, "the container was changed")


@ktap.case
def tracked_in_a_chain():
    """A sidecar belongs to the leaf, and knows what was written."""
    with images.directory() as scratch:
        chain = random_chain(scratch, 14, depth=3, blocks=MIB, size=16 * MIB, sector=512)
        sidecar = scratch / "sidecar"
        with chain.attached(0) as disk:
            with opened(sidecar, os.O_RDWR | os.O_CREAT) as fd:
                point = disk.handle.enable(fd)
            disk.write(3 * MIB + 512, b"a" * 512)
            disk.write(9 * MIB, b"b" * MIB)
        with chain.attached(0, sidecar=sidecar) as disk:
            ktap.equal(disk.handle.changes(point), [(3 * MIB, 16 * KIB), (9 * MIB, MIB)], "changes")


def needs_full_backup(*words):
    """vhdxctl changes says so."""
    ctl.run("changes", *words, status=3)


@ktap.case
def sidecar_of_a_parent():
    """A child has its VirtualDiskId, and is not taken for it: it is told nothing by that sidecar,
    which stays as it is. That of the parent's parent is an old one, with a gap."""
    with images.directory() as scratch:
        base = images.create(scratch / "base.vhdx", 16 * MIB, MIB)
        # Not beside it, where it would be its parent's.
        lrct = scratch / "sidecar"
        with attached(base, "--track", "--sidecar", lrct) as disk:
            disk.write(0, b"a" * 4096)
            since = ctl.line("seal", disk.node)
            disk.write(MIB, b"b" * 4096)
        leaf, upper = scratch / "leaf.vhdx", scratch / "upper.vhdx"
        ctl.run("create", "--parent", base, leaf)
        before = judge.fingerprint(lrct)
        needs_full_backup("--sidecar", lrct, "--since", since, leaf)
        with attached(leaf, "--sidecar", lrct) as disk:
            ktap.equal((disk.sysfs("tracking"), disk.sysfs("reason")), ("off", "changed_offline"), "state")
            disk.write(2 * MIB, b"c" * 4096)
            needs_full_backup("--since", since, disk.node)
            for words in (("enable",), ("reset",), ("reset", "--sidecar", lrct)):
                said = ctl.run("track", *words, disk.node, status=ctl.FAILED).stderr
                ktap.check("the sidecar of a parent of this disk" in said, said)
        refuse_to_attach("--track", "--sidecar", lrct, leaf, said=[lrct, "a parent of this disk"])
        refuse_to_attach("--tracking-errors=fail", "--sidecar", lrct, leaf, said=["of the parent of this disk"])
        # Named so that it finds it.
        base.rename(scratch / "was.vhdx")
        leaf.rename(base)
        lrct = lrct.rename(scratch / "base.vhdx.lrct")
        with attached(base, "--parent", scratch / "was.vhdx") as disk:
            ktap.equal((disk.sysfs("tracking"), disk.sysfs("reason")), ("off", "changed_offline"), "state")
            disk.write(3 * MIB, b"c" * 4096)
        ktap.check(judge.fingerprint(lrct) == before, "the parent's sidecar was changed")
        with attached(scratch / "was.vhdx", "--read-only", "--sidecar", lrct) as disk:
            ktap.equal((disk.sysfs("tracking"), disk.sysfs("reason")), ("on", "none"), "the parent's")
            ktap.equal(ctl.json("changes", "--since", since, disk.node)["changed_bytes"], 16 * KIB, "changes")

        ctl.run("create", "--parent", base, upper)
        with attached(upper, "--sidecar", lrct, "--parent", base, "--parent", scratch / "was.vhdx") as disk:
            ktap.equal(disk.sysfs("reason"), "changed_offline", "reason")
            needs_full_backup("--since", since, disk.node)


# ---- by vhdxctl -----------------------------------------------------------------------------

def refuse_to_attach(*words, said):
    """vhdxctl attach fails, with all of these in its message."""
    done = ctl.run("attach", *words, status=ctl.FAILED)
    for part in said:
        ktap.check(str(part) in done.stderr, f"{part} is not in: {done.stderr}")


@ktap.case
def found_by_the_command():
    """By the locators, by their names, by a map; and a leaf that vhdxctl itself makes on top."""
    with images.directory() as scratch:
        chain = random_chain(scratch, 17, depth=3, blocks=MIB, size=16 * MIB, sector=512)
        middle, base = chain.parents
        with chain.truth(scratch / "truth") as truth:
            with attached(chain.leaf, "--track") as disk:
                judge.same_disk(disk, truth)
                point = disk.handle.ids()[-1]
                Writer(disk, truth, random.Random(17), 512).write(3 * MIB + 512, 1024)
                shown = ctl.json("info", disk.node)
                ktap.equal((shown["type"], shown["container"], shown["tracking"]),
                           ("differencing", str(chain.leaf), "on"), "info")
                ktap.check("Layers:                3\n" in ctl.run("info", disk.node).stdout, "layers")
                ktap.equal([layer["container"] for layer in shown["chain"]],
                           [str(path) for path in chain.paths], "chain of an attached disk")
                ktap.equal([(one["container"], one["parent"]) for one in ctl.json("list")["list"]],
                           [(str(chain.leaf), str(middle))], "list")
                refuse_to_attach("--force", base, said=[
                    base, f"in use, as a parent of {disk.node}, whose container is {chain.leaf}"])
            same_chain(chain, truth)
            ktap.equal([layer["container"] for layer in ctl.json("info", chain.leaf)["chain"]],
                       [str(path) for path in chain.paths], "chain")
            moved = scratch / "moved"
            moved.mkdir()
            base.rename(moved / base.name)
            refuse_to_attach(chain.leaf, said=[middle, "not found", "--parent", "--map-path"])
            for how in (("--parent", middle, "--parent", moved / base.name),
                        ("--map-path", f".\\{base.name}={moved / base.name}")):
                with attached(chain.leaf, *how) as disk:
                    judge.same_disk(disk, truth)
                    ktap.equal(disk.handle.changes(point), [(3 * MIB, 16 * KIB)], "changes")
            (moved / base.name).rename(base)
            upper = scratch / "upper.avhdx"
            ctl.run("create", "--parent", chain.leaf, upper)
            with attached(upper) as disk:
                Writer(disk, truth, random.Random(18), 512).write(9 * MIB - 512, 1024)
                judge.same_disk(disk, truth)
            chain.paths.insert(0, upper)
            same_chain(chain, truth)
            ktap.equal(ctl.run("check", upper).stdout.splitlines()[-1], f"{upper}: sound", "check")


@ktap.case
def written_under_its_child():
    """Only by force; and then the child says that it is its parent no more."""
    with images.directory() as scratch:
        chain = random_chain(scratch, 18, depth=2, blocks=MIB, size=16 * MIB, sector=512)
        base = chain.parents[0]
        refuse_to_attach(base, said=[base, chain.leaf.name, "--force"])
        with attached(base, "--force"):
            pass
        with attached(chain.leaf, "--read-only"):
            pass
        with attached(base, "--force") as disk:
            disk.write(0, b"x" * 512)
        refuse_to_attach(chain.leaf, said=[chain.leaf, f"{base} is not its parent"])
        ktap.equal(ctl.run("check", chain.leaf, status=None).returncode, 4, "check")


# ---- parents that fail -----------------------------------------------------------------------

@ktap.case
def parent_that_fails():
    """What it has can't be read; what the leaf has can, and that is written without it."""
    with images.directory() as scratch, faulty.device(scratch / "backing", 32 * MIB) as device:
        data = judge.pattern(1, 8 * MIB)
        images.create(device.path, 16 * MIB, MIB, content=[(0, data)])
        child = scratch / "child.vhdx"
        vhdxoracle.create(child, parent=device.path, block_size=MIB)
        with vhdxoracle.Image(device.path) as image:
            where = image.block_entry(3)[1]
        with raw_attached(child, parents=[device.path]) as disk:
            disk.write(3 * MIB, b"x" * 4096)
            device.fail((where, MIB))
            ktap.expect_errno(errno.EIO, disk.read, 3 * MIB + 4096, 4096)
            ktap.expect_errno(errno.EIO, disk.read, 3 * MIB, 8192)
            ktap.check(disk.read(3 * MIB, 4096) == b"x" * 4096, "what the leaf has")
            ktap.check(disk.read(2 * MIB, MIB) == data[2 * MIB:3 * MIB], "the block before")
            disk.write(3 * MIB + 8192, b"y" * 4096)
            device.heal()
            ktap.check(disk.read(3 * MIB, MIB) ==
                       b"x" * 4096 + data[3 * MIB + 4096:3 * MIB + 8192] + b"y" * 4096 +
                       data[3 * MIB + 12 * KIB:4 * MIB], "afterwards")
        judge.valid(child)


@ktap.case
def parent_that_is_cut():
    """It is told once, reads of what it has fail, and the leaf is closed as if nothing were."""
    with images.directory() as scratch:
        parent = images.create(scratch / "parent.vhdx", 16 * MIB, MIB, content=[(0, judge.pattern(1, 8 * MIB))])
        child = scratch / "child.vhdx"
        vhdxoracle.create(child, parent=parent, block_size=MIB)
        with raw_attached(child, parents=[parent]) as disk, KernelLog() as log:
            disk.write(MIB, b"x" * 4096)
            os.truncate(parent, parent.stat().st_size - MIB)
            for _ in range(2):
                ktap.expect_errno(errno.EIO, disk.read, 0, 4096)
            ktap.check(disk.read(MIB, 4096) == b"x" * 4096, "what the leaf has")
            disk.write(2 * MIB, b"y" * MIB)
            ktap.eventually(lambda: [text for level, text in log.records()
                                     if level <= 3 and "parent.vhdx" in text], "it is said")
            ktap.equal(disk.handle.layers()[1][1].disk_flags & uapi.DISK_LOST, uapi.DISK_LOST, "flags")
            ktap.equal([layer["container_lost"] for layer in ctl.json("info", disk.node)["chain"]],
                       [False, True], "info")
            ktap.check(f"{child} (parent lost)" in ctl.run("list").stdout, "list")
            ktap.equal(disk.sysfs("poisoned"), "0", "poisoned")
        judge.valid(child)
        ktap.equal(states_of(child)[:3], ["NOT_PRESENT", "PARTIALLY_PRESENT", "FULLY_PRESENT"], "states")


@ktap.case
def parent_that_is_written():
    """In place: the driver can't see it; whoever asks is told, as far as its header tells."""
    with images.directory() as scratch:
        parent = images.create(scratch / "parent.vhdx", 16 * MIB, MIB, content=[(0, judge.pattern(1, MIB))])
        leaf = scratch / "leaf.vhdx"
        vhdxoracle.create(leaf, parent=parent, block_size=MIB)

        def changed(disk):
            return [layer["container_changed"] for layer in ctl.json("info", disk.node)["chain"]]
        disk = attach(leaf)
        with contextlib.ExitStack() as stack:
            stack.callback(ctl.run, "detach", disk.node, status=None)
            stack.callback(disk.close)
            disk.write(MIB, b"x" * 4096)
            ktap.equal(changed(disk), [False, False], "before")
            images.command("qemu-io", "-c", "write -P 7 0 64k", "--image-opts",
                           f"driver=vhdx,file.driver=file,file.locking=off,file.filename={parent}")
            ktap.equal(changed(disk), [False, True], "written by QEMU without locks")
            parent.rename(scratch / "moved.vhdx")
            ktap.equal(ctl.json("list")["list"][0]["parent"], str(scratch / "moved.vhdx"), "renamed")
            (scratch / "moved.vhdx").unlink()
            said = ctl.json("info", disk.node)["chain"][1]
            ktap.equal((said["container"], said["container_deleted"]), (str(scratch / "moved.vhdx"), True), "removed")
            ktap.equal(disk.read(MIB, 4096), b"x" * 4096, "what the leaf has")
            disk.close()
            said = ctl.run("detach", disk.node).stderr
            ktap.check(f"its parent {scratch / 'moved.vhdx'} had been removed" in said, said)


# ---- what is no chain ------------------------------------------------------------------------

def refuse(number, reason, text, path, parents, flags=READ_ONLY):
    """An attach is refused, and says why."""
    error = expect_failure(number, reason, attach_once, path, flags=flags, parents=parents)
    said = error.__notes__[0]
    ktap.check(text in said, said)


@ktap.case
def wrong_number_of_layers():
    """A parent too few, one too many, or twice the same."""
    with images.directory() as scratch:
        chain = random_chain(scratch, 12, depth=3, blocks=MIB, size=16 * MIB, sector=512)
        leaf, middle, base = chain.paths
        refuse(errno.EINVAL, uapi.ARGUMENT, "its parent must be the next layer", leaf, [])
        refuse(errno.EINVAL, uapi.ARGUMENT, "layer 1: metadata: this is a differencing disk", leaf,
               [middle])
        refuse(errno.EINVAL, uapi.ARGUMENT, "layer 2: the container is layer 3 as well", leaf,
               [middle, base, base])
        other = images.create(scratch / "other.vhdx", 16 * MIB, MIB)
        refuse(errno.EINVAL, uapi.ARGUMENT, "layer 2: metadata: this disk has no parent", leaf,
               [middle, base, other])
        refuse(errno.EINVAL, uapi.ARGUMENT, "must be the last layer", base, [other])


@ktap.case
def another_parent():
    """It says which DataWriteGuid was expected, and which one was found; nothing is written."""
    with images.directory() as scratch:
        chain = random_chain(scratch, 16, depth=2, blocks=MIB, size=16 * MIB, sector=512)
        other = images.create(scratch / "other.vhdx", 16 * MIB, MIB)
        vhdxoracle.dirty(chain.leaf, [(MIB, b"x" * 512)])
        with vhdxoracle.Image(other) as image:
            found = str(image.header.data_write_guid)
        with vhdxoracle.Image(chain.parents[0]) as image:
            expected = str(image.header.data_write_guid)
        before = judge.fingerprint(chain.leaf)
        for flags in (READ_ONLY, 0):
            for text in (found, expected):
                refuse(errno.EUCLEAN, uapi.CORRUPT, text, chain.leaf, [other], flags)
        ktap.check(judge.fingerprint(chain.leaf) == before, "the leaf was changed")


@ktap.case
def damaged_parent():
    """What is wrong with it, and that it is the parent."""
    with images.directory() as scratch:
        chain = random_chain(scratch, 13, depth=2, blocks=MIB, size=16 * MIB, sector=512)
        vhdxoracle.mutate("metadata-signature", chain.parents[0])
        refuse(errno.EUCLEAN, uapi.CORRUPT, "layer 1: metadata", chain.leaf, chain.parents)


@ktap.case
def block_without_its_bitmap():
    """Its reads fail; those of other blocks do not."""
    with images.directory() as scratch:
        parent = images.create(scratch / "parent.vhdx", 16 * MIB, MIB)
        child = scratch / "child.vhdx"
        vhdxoracle.create(child, parent=parent, block_size=MIB,
                          content=[(MIB, b"x" * 4096), (2 * MIB, b"y" * MIB)])
        with vhdxoracle.Editor(child) as edit:
            edit.put_bat(edit.geometry.bitmap_index(0), 0)
        with raw_attached(child, flags=READ_ONLY, parents=[parent]) as disk:
            ktap.expect_errno(errno.EIO, disk.read, MIB, 4096)
            ktap.expect_errno(errno.EIO, disk.read, MIB + 8192, 512)
            ktap.check(disk.read(2 * MIB, MIB) == b"y" * MIB, "the next block")
            ktap.check(not any(disk.read(0, MIB)), "the one before it")


with udev.asleep():
    ktap.main()
