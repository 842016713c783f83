# SPDX-License-Identifier: GPL-2.0-only
"""`vhdxctl convert`: content that is the same in every kind, and nothing left where it fails."""
import ctypes
import errno
import gzip
import hashlib
import json
import lzma
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

from common import BUILD, TREE, ctl, directory, ktap, load_library, need, need_root, qemu_io
from test_create import PROGRESS, SHIM, compile_shim, expect_sound, loop_device, on_terminal

sys.path.append(str(TREE / "selftests/oracle"))

import vhdxoracle  # noqa: E402
from vhdxoracle.image import Image  # noqa: E402
from vhdxoracle.layout import KIB, MIB  # noqa: E402

GIB = 1 << 30
TYPES = ("dynamic", "fixed", "raw")


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def blocks_of(path):
    """Bytes that a file takes."""
    return os.stat(path).st_blocks * 512


def convert(source, target, *options, warning=""):
    done = ctl("convert", *options, source, target).expect(0, warning)
    assert not done.out and bool(done.err) == bool(warning), done.out + done.err
    return target


def content(image):
    if image.suffix == ".raw":
        return image.read_bytes()
    expect_sound(image)
    with vhdxoracle.open_disk(image) as disk:
        return disk.read(0, disk.size)


def expect_all_kinds(path, source, wanted, *options):
    """Whatever it is made into, it has the same bytes; and again from that."""
    before = digest(source)
    for kind in TYPES:
        if kind == "raw" and "raw" in options:
            continue
        made = path / f"made.{kind}"
        convert(source, made, "--type", kind, *options)
        found = content(made)
        assert found == wanted, (kind, len(found), len(wanted), next(
            (at for at in range(0, len(wanted), 512) if found[at:at + 512] != wanted[at:at + 512]),
            None))
        made.unlink()
    assert digest(source) == before


# ---- what is in it ----


STATES = ("ZERO", "UNMAPPED", "UNMAPPED+", "UNDEFINED+", "FULLY_PRESENT", "NOT_PRESENT")


class Chain:
    """Random layers, and what they come to as one array of bytes."""

    def __init__(self, path, rng, depth):
        self.rng, self.sector = rng, rng.choice((512, 4096))
        self.size = rng.randrange(3, 9) * MIB + rng.randrange(0, 256) * 4096
        self.disk = bytearray(self.size)
        self.files = []
        for number in range(depth):
            self.add(path / f"{number}.vhdx")

    def writes(self, count):
        for _ in range(count):
            offset = self.rng.randrange(self.size // self.sector) * self.sector
            most = self.rng.choice((1, 3, 64, 3000))
            length = min(self.rng.randint(1, most) * self.sector, self.size - offset)
            yield offset, self.rng.choice((bytes, self.rng.randbytes))(length)

    def free_states(self, writes, block):
        """States for blocks that nobody writes."""
        free = set(range(-(-self.size // block)))
        for offset, data in writes:
            free -= set(range(offset // block, (offset + len(data) - 1) // block + 1))
        return {number: self.rng.choice(STATES) for number in sorted(free)}

    def apply(self, writes, states, block):
        for offset, data in writes:
            self.disk[offset:offset + len(data)] = data
        for number, state in states.items():
            if state != "NOT_PRESENT":
                end = min((number + 1) * block, self.size)
                self.disk[number * block:end] = bytes(end - number * block)

    def add(self, path):
        block = self.rng.choice((1, 2, 4)) * MIB
        writes = list(self.writes(6))
        states = self.free_states(writes, block)
        parent = self.files[-1] if self.files else None
        vhdxoracle.create(path, None if parent else self.size, parent=parent, block_size=block,
                          logical_sector=self.sector, content=writes, states=states,
                          seed=self.rng.random(), shuffle=self.rng.random() < 0.5)
        self.apply(writes, states, block)
        self.files.append(path)

    def make_leaf_dirty(self):
        """What is newest is in the log alone."""
        with Image(self.files[-1]) as image:
            block = image.geometry.block_size
        writes = list(self.writes(2))
        states = {number: state for number, state in self.free_states(writes, block).items()
                  if state in ("ZERO", "UNMAPPED")}
        vhdxoracle.dirty(self.files[-1], writes, states)
        self.apply(writes, states, block)


def test_random_chains():
    rng = random.Random(ktap.SEED)
    for depth in (1, 2, 4):
        with directory() as path:
            chain = Chain(path, rng, depth)
            if depth != 2:
                chain.make_leaf_dirty()
            before = [digest(file) for file in chain.files]
            expect_all_kinds(path, chain.files[-1], bytes(chain.disk))
            assert [digest(file) for file in chain.files] == before


def test_parent_with_a_dirty_log():
    """It is read through its log, which stays."""
    with directory() as path:
        base, leaf = path / "base.vhdx", path / "leaf.vhdx"
        vhdxoracle.create(base, 8 * MIB, block_size=MIB, content=[(0, b"a" * MIB)])
        vhdxoracle.dirty(base, [(3 * MIB, b"b" * 8192)], {0: "ZERO"})
        ctl("create", "--parent", base, leaf).expect(0)
        wanted = bytes(3 * MIB) + b"b" * 8192 + bytes(5 * MIB - 8192)
        before = digest(base)
        expect_all_kinds(path, leaf, wanted)
        assert digest(base) == before


def test_log_over_a_hole():
    """A block that is a hole of the file, and that a log has something for."""
    with directory() as path:
        image, raw = path / "disk.vhdx", path / "disk.raw"
        vhdxoracle.create(image, 4 * MIB, block_size=MIB, states={1: "FULLY_PRESENT"})
        with Image(image) as opened:
            at = opened.block_entry(1)[1]
        vhdxoracle.dirty(image, pages=[(at + 8192, b"L" * 4096)])
        convert(image, raw, "--type", "raw")
        assert content(raw) == bytes(MIB + 8192) + b"L" * 4096 + bytes(3 * MIB - 12288)


def test_larger_child():
    """What lies behind the parent's end is zeroes."""
    with directory() as path:
        base, leaf = path / "base.vhdx", path / "leaf.vhdx"
        vhdxoracle.create(base, 3 * MIB + 512, content=[(0, b"p" * (3 * MIB + 512))])
        vhdxoracle.create(leaf, 9 * MIB, parent=base, content=[(8 * MIB, b"c" * 512)])
        expect_all_kinds(path, leaf, b"p" * (3 * MIB + 512) + bytes(5 * MIB - 512) + b"c" * 512 +
                         bytes(MIB - 512))


def test_parents_that_are_named():
    with directory() as path:
        for name in ("a", "b"):
            (path / name).mkdir()
        base, leaf = path / "a/base.vhdx", path / "b/leaf.vhdx"
        vhdxoracle.create(base, 4 * MIB, content=[(MIB, b"x" * MIB)])
        vhdxoracle.create(leaf, parent=base)
        wanted = bytes(MIB) + b"x" * MIB + bytes(2 * MIB)
        ctl("convert", leaf, path / "new").expect(1, str(leaf), "parent is not found", "--parent")
        assert sorted(os.listdir(path)) == ["a", "b"]
        expect_all_kinds(path, leaf, wanted, "--parent", base)
        expect_all_kinds(path, leaf, wanted, "--map-path", f"..={path}")
        ctl("convert", "--parent", base, base, path / "new").expect(1, "it has no parent")
        ctl("convert", "--map-path", "x", leaf, path / "new").expect(2, "is not FROM=TO")


def test_from_raw():
    rng = random.Random(ktap.SEED)
    with directory() as path:
        raw = path / "source"
        wanted = bytearray(9 * MIB + 3 * 512)
        for offset, length in ((0, 512), (700 * KIB, 4 * KIB), (3 * MIB - 512, 1024),
                               (len(wanted) - 512, 512)):
            wanted[offset:offset + length] = rng.randbytes(length)
        raw.write_bytes(wanted)
        expect_all_kinds(path, raw, bytes(wanted), "--from", "raw")
        for options, logical, physical, block in (
                ((), 512, 4096, 32 * MIB),
                (("--physical-sector-size", "512", "--block-size", "1M"), 512, 512, MIB)):
            made = convert(raw, path / "made", "--from", "raw", *options)
            with Image(made) as image:
                assert (image.geometry.logical_sector, image.parameters.physical_sector,
                        image.geometry.block_size) == (logical, physical, block)
            made.unlink()


def test_odd_sizes():
    """Rounded up to whole sectors, as QEMU does it, and that is told."""
    with directory() as path:
        for size, sector, rounded in ((1, 512, 512), (1000, 512, 1024), (MIB + 1, 4096, MIB + 4096),
                                      (5 * 512, 4096, 4096), (2 * MIB - 1, 512, 2 * MIB)):
            raw, made = path / "raw", path / "made.vhdx"
            raw.write_bytes(b"r" * size)
            convert(raw, made, "--from", "raw", "--sector-size", sector,
                    warning=f"{raw}: its size of {size} bytes is no multiple of the sector size "
                    f"{sector}: the disk has {rounded}")
            assert content(made) == b"r" * size + bytes(rounded - size)
            made.unlink()
        raw.write_bytes(b"")
        ctl("convert", "--from", "raw", raw, made).expect(1, f"{raw}: a size of 0 bytes")
        assert os.listdir(path) == ["raw"]


def test_kept_and_new():
    """Size and sectors are the source's; ids are not: two disks would be taken for one."""
    with directory() as path:
        source = path / "source.vhdx"
        vhdxoracle.create(source, 5 * MIB + 4096, logical_sector=4096, physical_sector=4096)
        seen = set()
        for kind in ("dynamic", "fixed"):
            reply = ctl("convert", "--json", "--type", kind, source, path / kind).expect(0).json
            assert (reply["container"], reply["type"], reply["size"], reply["block_size"],
                    reply["warning"]) == (str(path / kind), kind, 5 * MIB + 4096,
                                          32 * MIB if kind == "dynamic" else 2 * MIB, None)
            with Image(path / kind) as image:
                assert (image.geometry.logical_sector, image.parameters.physical_sector,
                        image.parameters.kind) == (4096, 4096, kind)
                seen.add(str(image.parameters.disk_id))
                assert reply["virtual_disk_id"] == str(image.parameters.disk_id)
        with Image(source) as image:
            assert len(seen | {str(image.parameters.disk_id)}) == 3
        source.chmod(0o640)
        reply = ctl("convert", "--json", "--type", "raw", source, path / "raw").expect(0).json
        assert os.stat(path / "raw").st_mode & 0o777 == 0o640
        assert reply == {"container": str(path / "raw"), "type": "raw", "virtual_disk_id": None,
                         "data_write_guid": None, "size": 5 * MIB + 4096, "block_size": None,
                         "warning": None}
        ctl("convert", "--sector-size", "512", source, path / "x").expect(
            1, f"{source}: it has logical sectors of 4096 bytes", "leave that out")


def test_who_may_read():
    """Nobody who may not read all that it is made of; the umask counts."""
    need_root()
    with directory() as path:
        base, leaf, target = path / "base.vhdx", path / "leaf.vhdx", path / "new"
        vhdxoracle.create(base, MIB)
        vhdxoracle.create(leaf, parent=base)
        for parent, child, umask, wanted in (
                ((0, 0, 0o600), (0, 0, 0o644), 0o022, (0, 0, 0o600)),
                ((7, 8, 0o640), (7, 8, 0o664), 0o022, (7, 8, 0o640)),
                ((7, 8, 0o660), (7, 8, 0o660), 0o027, (7, 8, 0o640)),
                ((7, 9, 0o640), (7, 8, 0o640), 0o022, (7, 0, 0o600)),
                ((6, 8, 0o640), (7, 8, 0o640), 0o022, (0, 8, 0o640)),
                ((7, 9, 0o664), (7, 8, 0o644), 0o022, (7, 0, 0o644)),
                ((7, 9, 0o604), (7, 8, 0o644), 0o022, (7, 0, 0o600))):
            for file, (uid, gid, mode) in ((base, parent), (leaf, child)):
                os.chown(file, uid, gid)
                file.chmod(mode)
            for kind in TYPES:
                before = os.umask(umask)
                try:
                    convert(leaf, target, "--type", kind)
                finally:
                    os.umask(before)
                made = os.stat(target)
                found = made.st_uid, made.st_gid, made.st_mode & 0o777
                assert found == wanted, (parent, child, umask, found)
                target.unlink()


# ---- how much room it takes ----


def present(image):
    with Image(image) as opened:
        return [opened.geometry.slot(index)[1] for index, entry in opened.nonzero_entries()]


def test_sparse():
    """Holes, zeroes that were written, and blocks without data take nothing."""
    with directory() as path:
        raw = path / "raw"
        os.truncate(os.open(raw, os.O_CREAT | os.O_WRONLY), 300 * GIB)
        with open(raw, "r+b") as file:
            for offset, data in ((5 * MIB, b"x" * 4096), (40 * MIB, bytes(8 * MIB)),
                                 (200 * GIB + 17 * MIB, b"y" * 4096)):
                file.seek(offset)
                file.write(data)
        began = time.process_time()
        made = convert(raw, path / "a.vhdx", "--from", "raw", "--block-size", "1M")
        assert present(made) == [5, (200 * GIB + 17 * MIB) // MIB]
        assert blocks_of(made) < 6 * MIB, blocks_of(made)
        # Again: blocks that are present, but mostly holes.
        large = convert(made, path / "b.vhdx", "--block-size", "32M")
        assert present(large) == [0, (200 * GIB + 17 * MIB) // (32 * MIB)]
        assert os.stat(large).st_size % MIB == 0 and blocks_of(large) < 2 * MIB, blocks_of(large)
        back = convert(large, path / "back", "--type", "raw")
        assert os.stat(back).st_size == 300 * GIB and blocks_of(back) < MIB, blocks_of(back)
        assert not list(vhdxoracle.compare(raw, back))
        assert time.process_time() - began < 60


def test_zeroes_of_a_child():
    """In place of its parent's data they are zeroes, and take nothing either."""
    with directory() as path:
        base, leaf = path / "base.vhdx", path / "leaf.vhdx"
        vhdxoracle.create(base, 8 * MIB, block_size=MIB, content=[(0, b"p" * 8 * MIB)])
        vhdxoracle.create(leaf, parent=base, block_size=MIB, content=[(5 * MIB, bytes(MIB))],
                          states={1: "ZERO", 2: "UNMAPPED", 3: "UNMAPPED+", 7: "UNDEFINED+"})
        made = convert(leaf, path / "made.vhdx", "--block-size", "1M")
        assert present(made) == [0, 4, 6]


def test_fixed_has_its_space():
    with directory() as path:
        source = path / "source.vhdx"
        vhdxoracle.create(source, 20 * MIB, content=[(7 * MIB, b"x" * 512)])
        made = convert(source, path / "made.vhdx", "--type", "fixed")
        assert len(present(made)) == 10 and blocks_of(made) >= 20 * MIB


# ---- what is refused ----


def test_refused():
    """Nothing is made, and what is there stays."""
    with directory() as path:
        source, there, raw = path / "source.vhdx", path / "there", path / "raw"
        vhdxoracle.create(source, MIB, content=[(0, b"s" * 512)])
        there.write_text("somebody's")
        raw.write_bytes(b"r" * 4096)
        (path / "link").symlink_to(path / "nothing")
        (path / "same").hardlink_to(source)
        names = sorted(os.listdir(path))
        before = digest(source)
        new = path / "new"
        for target in (there, path, path / "link"):
            ctl("convert", source, target).expect(1, f"{target}: ", "is there already")
        for target in (source, path / "same"):
            ctl("convert", source, target).expect(1, f"{target}: it is read to make the new disk")
        ctl("convert", "--from", "raw", raw, raw).expect(1, f"{raw}: it is read")
        ctl("convert", source, path / "none/x").expect(1, "none/x", "No such file")
        ctl("convert", path / "none", new).expect(1, f"{path / 'none'}: No such file")
        ctl("convert", raw, new).expect(1, f"{raw}: not a VHDX", "vhdxctl convert --from raw")
        ctl("convert", path, new).expect(1, "neither a regular file nor a block device")
        ctl("convert", "--from", "raw", "/dev/zero", new).expect(
            1, "/dev/zero: not a raw image: neither a regular file")
        ctl("convert", "--from", "raw", "--type", "raw", raw, new).expect(1, "nothing to convert",
                                                                          "cp --sparse=always")
        ctl("convert", "--from", "raw", "--parent", source, raw, new).expect(1, "has no parent")
        for option, size in (("block-size", "1M"), ("sector-size", "512"), ("log-size", "1M"),
                             ("physical-sector-size", "512")):
            ctl("convert", "--type", "raw", f"--{option}", size, source, new).expect(
                1, "a raw image has neither blocks")
        ctl("convert", "--block-size", "3M", source, new).expect(1, f"{new}: ", "a power of two")
        assert sorted(os.listdir(path)) == names and digest(source) == before


def test_in_use():
    """Who writes the source, or a file that it is made of, keeps it from being copied."""
    with directory() as path:
        base, leaf, raw = path / "base.vhdx", path / "leaf.vhdx", path / "raw"
        vhdxoracle.create(base, 4 * MIB)
        vhdxoracle.create(leaf, parent=base)
        raw.write_bytes(bytes(MIB))
        with qemu_io(base, commands=("write 0 512",)):
            ctl("convert", base, path / "new").expect(1, f"{base}: in use")
            ctl("convert", leaf, path / "new").expect(1, f"{leaf}: ", f"{base}: in use")
        with subprocess.Popen(["stdbuf", "-oL", "qemu-io", "-f", "raw", raw], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            process.stdin.write("write 0 512\n")
            process.stdin.flush()
            while "ops;" not in process.stdout.readline():
                assert process.poll() is None
            ctl("convert", "--from", "raw", raw, path / "new").expect(1, f"{raw}: in use")
            process.stdin.close()
            process.wait(10)
        assert sorted(os.listdir(path)) == ["base.vhdx", "leaf.vhdx", "raw"]


def test_damaged():
    """The file that is to blame is named, and nothing is left of what was copied before."""
    with directory() as path:
        base, leaf = path / "base.vhdx", path / "leaf.vhdx"
        vhdxoracle.create(base, 8 * MIB, block_size=MIB, content=[(0, b"p" * 8 * MIB)])
        vhdxoracle.create(leaf, parent=base, block_size=MIB, content=[(0, b"c" * 512)])
        with vhdxoracle.Editor(base) as edit:
            edit.put_bat(6, 5)
        for kind in TYPES:
            ctl("convert", "--type", kind, leaf, path / "new").expect(
                1, f"{base}: BAT entry 6", "state 5 is reserved")
        with vhdxoracle.Editor(leaf) as edit:
            edit.put_bat(edit.geometry.bitmap_index(0), 0)
        ctl("convert", leaf, path / "new").expect(1, f"{leaf}: BAT entry", "no sector bitmap")
        assert sorted(os.listdir(path)) == ["base.vhdx", "leaf.vhdx"]


def test_overlapping():
    """Of blocks in the same place, nobody knows whose the content is: a copy would look sound."""
    with directory() as path:
        base, leaf, names = path / "base.vhdx", path / "leaf.vhdx", ["base.vhdx", "leaf.vhdx"]
        # What overlaps in the parent, the leaf has of its own; that is refused all the same.
        for damaged, source in ((base, base), (base, leaf), (leaf, leaf)):
            vhdxoracle.create(base, 8 * MIB, block_size=MIB, content=[(0, b"p" * 8 * MIB)])
            vhdxoracle.create(leaf, parent=base, block_size=MIB, content=[(0, b"c" * 2 * MIB)])
            with vhdxoracle.Editor(damaged) as edit:
                edit.put_bat(1, edit.bat(0))
            checked = ctl("check", damaged)
            assert checked.code == 4 and "overlaps another block" in checked.out, checked.out
            for kind in TYPES:
                ctl("convert", "--type", kind, source, path / "new").expect(
                    1, f"{damaged}: BAT entry 1 at ", "overlaps another block",
                    f"`vhdxctl check {damaged}`")
                assert sorted(os.listdir(path)) == names
            base.unlink()
            leaf.unlink()


def cut(file):
    os.truncate(file, os.stat(file).st_size // 2)


def grow(file):
    os.truncate(file, os.stat(file).st_size + MIB)


def write(file):
    with open(file, "r+b", buffering=0) as opened:
        os.pwrite(opened.fileno(), b"w", os.stat(file).st_size - 512)


def change_meanwhile(source, target, changed, change, at, **options):
    """What the library says where @change comes at a beginning (0) or at an end (1)."""
    before, pending = changed.read_bytes(), [change]
    # Later than the time that it has from being made.
    time.sleep(0.01)

    def progress(_, done, total):
        if pending and done >= at * total:
            pending.pop()(changed)
        return 0
    code = by_library(source, target, progress, **options)
    said = load_library().vhdx_error_message().decode()
    changed.write_bytes(before)
    return code, said


def test_changed_meanwhile():
    """Who asks for no lock is noticed: what was cut or written is no success."""
    with directory() as path:
        base, leaf, raw = path / "base.vhdx", path / "leaf.vhdx", path / "raw"
        vhdxoracle.create(base, 4 * MIB, block_size=MIB, content=[(0, b"p" * 4 * MIB)])
        vhdxoracle.create(leaf, parent=base, content=[(0, b"c" * 512)])
        raw.write_bytes(b"r" * 4 * MIB)
        for source, changed, kind, flags in ((leaf, leaf, 0, 0), (leaf, base, 1, 0),
                                             (leaf, base, 2, 0), (raw, raw, 0, 1)):
            for change in (cut, grow, write):
                for at in (0, 1):
                    code, said = change_meanwhile(source, path / "new", changed, change, at,
                                                  type=kind, flags=flags)
                    assert code == -errno.EBUSY, (changed, kind, change, at, code)
                    assert said.startswith(f"{changed}: it was changed while"), said
                    assert sorted(os.listdir(path)) == ["base.vhdx", "leaf.vhdx", "raw"]


def judge(name, path):
    """What is wrong with what becomes of a mutation: a text, or None."""
    image, raw = path / "disk.vhdx", path / "raw"
    expected = vhdxoracle.mutate(name, image)
    done = ctl("convert", "--type", "raw", image, raw)
    if done.code:
        if raw.exists():
            return "something is left"
        # What is attached can be read so; what is copied would look sound.
        if expected.alloc_refused and "overlaps another block" in done.err:
            return None
        if "ok" in expected.attach and not expected.eio and len(expected.attach) == 1:
            return f"refused: {done.err}"
        return None
    if "ok" not in expected.attach:
        return f"not refused: {expected.attach}"
    if expected.eio:
        return f"blocks that can't be read, and nothing is said: {expected.eio}"
    with vhdxoracle.open_disk(image) as disk:
        wanted = vhdxoracle.content_sha256(disk)
    found = digest(raw)
    raw.unlink()
    return None if found == wanted else "other content"


def test_registry():
    """Damaged images, a sample of them: refused, or read as the oracle reads them."""
    names = random.Random(ktap.SEED).sample(sorted(vhdxoracle.MUTATIONS), 24)
    with directory() as path:
        wrong = [f"{name}: {said}" for name in names if (said := judge(name, path))]
    assert not wrong, "\n".join(["", *wrong])


# ---- failing and ending ----


class Options(ctypes.Structure):
    """struct vhdx_convert_options"""

    _fields_ = [("size", ctypes.c_size_t), ("flags", ctypes.c_uint), ("type", ctypes.c_uint),
                ("parents", ctypes.c_void_p), ("path_maps", ctypes.c_void_p),
                ("block_size", ctypes.c_uint32), ("logical_sector_size", ctypes.c_uint32),
                ("physical_sector_size", ctypes.c_uint32), ("log_size", ctypes.c_uint64),
                ("progress", PROGRESS), ("context", ctypes.c_void_p)]


def by_library(source, target, progress, **options):
    return load_library().vhdx_convert(
        str(source).encode(), str(target).encode(), ctypes.byref(Options(
            size=ctypes.sizeof(Options), progress=PROGRESS(progress), **options)))


def test_progress():
    """It is told of all of the disk; meanwhile nobody writes what is read or made."""
    with directory() as path:
        source, tried = path / "source.vhdx", []
        size = 6 * MIB + 4096
        vhdxoracle.create(source, size, content=[(MIB, b"x" * 3 * MIB)])
        for kind in range(3):
            target, told = path / f"{kind}", []

            def progress(_, done, total, target=target, told=told):
                told.append((done, total))
                if len(told) == 2:
                    tried.append(ctl("info", target))
                    tried.append(ctl("check", "--repair", source))
                return 0
            assert not by_library(source, target, progress, type=kind)
            # The space of a fixed one is told before: that is whole blocks.
            copied = [done for done, total in told if total == size]
            assert (len(copied) < len(told)) == (kind == 1), told
            assert {0, size} <= set(copied), told
            assert kind == 2 or copied == sorted(copied), told
        for one in tried[:4:2]:
            one.expect(1, "in use")
        for one in tried[1::2]:
            assert one.code == 8 and f"{source}: in use" in one.err, one.err
        # Without options, from a VHDX to a dynamic one.
        assert not load_library().vhdx_convert(str(source).encode(), bytes(path / "none"), None)
        expect_sound(path / "none")


def test_ended():
    """The caller's number comes back, and the file is gone, whenever it is ended."""
    with directory() as path:
        source = path / "source.vhdx"
        vhdxoracle.create(source, 6 * MIB, content=[(0, b"x" * 6 * MIB)])
        for kind in range(3):
            for answer, wanted in ((5, 5), (-5, -125)):
                for last in range(7):
                    told = []

                    def progress(*_, answer=answer, last=last, told=told):
                        told.append(None)
                        return answer if len(told) > last else 0
                    assert by_library(source, path / "new", progress, type=kind) == wanted
                    assert os.listdir(path) == ["source.vhdx"]


def test_removed_meanwhile():
    """A new disk that has no name at the end is none."""
    with directory() as path:
        source, target = path / "source.vhdx", path / "new"
        vhdxoracle.create(source, 4 * MIB, content=[(0, b"x" * 4 * MIB)])
        for kind in range(3):
            def progress(*_):
                target.unlink(missing_ok=True)
                return 0
            assert by_library(source, target, progress, type=kind) == -errno.ENOENT
            said = load_library().vhdx_error_message().decode()
            assert said.startswith(f"{target}: somebody removed it"), said
            assert os.listdir(path) == ["source.vhdx"]


SLOW = """
#include <sys/syscall.h>
#include <unistd.h>
ssize_t pwrite64(int fd, const void *buf, size_t length, off_t at)
{
	usleep(50000);
	return syscall(SYS_pwrite64, fd, buf, length, at);
}
"""


def test_interrupted():
    """^C, or a signal to end: no file is left, and the status says so."""
    with directory() as path:
        source, target = path / "source.vhdx", path / "new"
        vhdxoracle.create(source, 64 * MIB, content=[(0, b"x" * 64 * MIB)])
        slow = compile_shim(path, SLOW)
        for number, kind in ((signal.SIGINT, "raw"), (signal.SIGTERM, "fixed"),
                             (signal.SIGHUP, "dynamic")):
            with subprocess.Popen(["env", "--default-signal", BUILD / "vhdxctl", "convert",
                                   "--json", "--type", kind, source, target],
                                  stdout=subprocess.PIPE, text=True,
                                  stderr=subprocess.PIPE,
                                  env={**os.environ, "LD_PRELOAD": str(slow)}) as run:
                while not target.exists():
                    time.sleep(0.01)
                run.send_signal(number)
                out, err = run.communicate(timeout=30)
            assert run.returncode == 1 and "interrupted" in err, err
            assert json.loads(out)["error"]["message"] in err
            assert not target.exists()


def test_no_room():
    """That the file system is full is told as that, and what there was is removed."""
    need_root()
    with directory() as path:
        source, small = path / "source.vhdx", path / "small"
        vhdxoracle.create(source, 16 * MIB, content=[(0, os.urandom(16 * MIB))])
        small.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8M", "tmpfs", small], check=True)
        try:
            for kind in TYPES:
                ctl("convert", "--type", kind, source, small / "new").expect(
                    1, f"{small / 'new'}: ", "No space left" if kind == "fixed" else
                    "its file system is full: make room there")
                assert not os.listdir(small)
        finally:
            subprocess.run(["umount", small], check=True)


def test_limit():
    """A file that may not become so large is an error, and no end in the middle of it."""
    with directory() as path:
        source, target = path / "source.vhdx", path / "new"
        vhdxoracle.create(source, 16 * MIB, content=[(0, b"x" * 16 * MIB)])
        for kind in TYPES:
            done = subprocess.run(["bash", "-c", 'ulimit -f 8192; exec "$@"', "-",
                                   BUILD / "vhdxctl", "convert", "--type", kind, source, target],
                                  capture_output=True, text=True, check=False)
            assert done.returncode == 1 and f"{target}: " in done.stderr and \
                "File too large" in done.stderr, done.stderr
            assert os.listdir(path) == ["source.vhdx"]


def test_ignored_signals():
    """What whoever started it has ignored does not end it."""
    with directory() as path:
        source = path / "source.vhdx"
        vhdxoracle.create(source, 8 * MIB, content=[(0, b"x" * 8 * MIB)])
        slow = compile_shim(path, SLOW)
        with subprocess.Popen(["bash", "-c", 'trap "" INT HUP; exec "$@"', "-", BUILD / "vhdxctl",
                               "convert", "--type", "raw", source, path / "new"],
                              env={**os.environ, "LD_PRELOAD": str(slow)}) as run:
            while not (path / "new").exists():
                time.sleep(0.01)
            for number in (signal.SIGINT, signal.SIGHUP):
                run.send_signal(number)
            assert not run.wait(30)
        assert content(source) == (path / "new").read_bytes()


def shimmed(path, source, target, crash, kind):
    """The calls of a run that ends at one of them."""
    log = path / "log"
    log.unlink(missing_ok=True)
    code = ctl("convert", "--type", kind, source, target, env={
        "LD_PRELOAD": str(path / "shim.so"), "SHIM_LOG": str(log), "SHIM_CRASH": str(crash)}).code
    return code, log.read_text().splitlines()


def test_crash():
    """Whenever it is killed, what is there is no disk: its beginning comes last, and alone."""
    with directory() as path:
        source = path / "source.vhdx"
        compile_shim(path, SHIM)
        vhdxoracle.create(source, 4 * MIB, content=[(0, b"boot"), (2 * MIB - 512, b"x" * MIB)])
        for kind in TYPES:
            code, calls = shimmed(path, source, path / "whole", -1, kind)
            (path / "whole").unlink()
            assert not code and calls.count("write 0") == 1, calls
            assert calls[-4:] == ["sync 0", "write 0", "sync 0", "sync 0"], calls
            for crash in range(len(calls) - 2):
                target = path / f"{crash}"
                assert shimmed(path, source, target, crash, kind)[0] == 9
                assert crash == len(calls) - 3 or not any(target.read_bytes()[:65536])
                target.unlink()


WAS_A_DEVICE = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
int stat(const char *path, struct stat *st)
{
	int err = fstatat(AT_FDCWD, path, st, 0);
	if (strstr(path, "victim"))
		st->st_mode = S_IFBLK | 0600;
	return err;
}
int stat64(const char *path, struct stat64 *st) __attribute__((alias("stat")));
"""


def test_exchanged():
    """Where its name led to a device when it was looked at, and leads to a file when it is opened."""
    with directory() as path:
        source, victim = path / "source.vhdx", path / "victim"
        vhdxoracle.create(source, 4 * MIB, content=[(0, b"x" * MIB)])
        victim.write_bytes(bytes(MIB) + b"precious")
        before = digest(victim)
        shim = compile_shim(path, WAS_A_DEVICE)
        for kind in TYPES:
            done = ctl("convert", "--type", kind, source, victim,
                       env={"LD_PRELOAD": str(shim)}).expect(1)
            assert "none any more" in done.err, done.err
            assert digest(victim) == before


def test_bar():
    """On a terminal there is one."""
    with directory() as path:
        source = path / "source.vhdx"
        vhdxoracle.create(source, 2 * GIB, content=[(0, b"x" * MIB)])
        shown = on_terminal(f"{BUILD}/vhdxctl convert {source} {path}/new")
        assert b"\rconvert [" in shown and b"% of 2.0G" in shown, shown
        assert shown.endswith(b"\r\x1b[K"), shown


# ---- devices ----


def test_devices():
    """From a device, and to one that had something else on it."""
    with directory() as path, loop_device(path, 60 * MIB) as device:
        source = path / "source.vhdx"
        wanted = bytearray(20 * MIB + 512)
        for offset in (0, 5 * MIB + 512, 9 * MIB + 100 * KIB, 20 * MIB):
            wanted[offset:offset + 512] = os.urandom(512)
        vhdxoracle.create(source, len(wanted), block_size=MIB, content=[(0, bytes(wanted))])
        for kind in TYPES:
            (path / "device").write_bytes(bytes(MIB) + b"\xee" * (59 * MIB))
            subprocess.run(["blockdev", "--flushbufs", device], check=True)
            warning = f"{device}: the device has {60 * MIB} bytes, and the disk {len(wanted)}"
            convert(source, device, "--type", kind, "--block-size", "2M") if kind != "raw" else \
                convert(source, device, "--type", "raw", warning=warning)
            if kind == "raw":
                found = (path / "device").read_bytes()
                assert found[:len(wanted)] == wanted
                assert found[len(wanted):] == b"\xee" * (60 * MIB - len(wanted))
                ctl("convert", device, path / "x").expect(1, f"{device}: not a VHDX")
                for command, code in (("check", 8), ("info", 1)):
                    ctl(command, device).expect(code, f"{device}: not a VHDX: ",
                                                "vhdxctl convert --from raw")
                convert(device, path / "back.vhdx", "--from", "raw")
                assert content(path / "back.vhdx") == found
            else:
                expect_sound(device)
                with vhdxoracle.open_disk(device) as disk:
                    assert disk.read(0, disk.size) == wanted
                    # Nor is anything left of it in the blocks behind the disk's end.
                    state, at = disk.block_entry(10)
                    assert disk.view.read(at, 2 * MIB) == wanted[20 * MIB:] + bytes(2 * MIB - 512)
                    assert state
                convert(device, path / "back.raw", "--type", "raw")
                assert content(path / "back.raw") == wanted
                (path / "back.raw").unlink()
            ctl("convert", source, device).expect(1, f"{device}: something is on this device")
            ctl("convert", device, device).expect(1, f"{device}: it is read" if kind != "raw" else
                                                  "not a VHDX")


def test_ended_on_a_device():
    """^C clears its beginning, and says that; after SIGKILL the advice that is given works."""
    with directory() as path, loop_device(path, 80 * MIB) as device:
        source, slow = path / "source.vhdx", compile_shim(path, SLOW)
        vhdxoracle.create(source, 64 * MIB, content=[(0, b"x" * 64 * MIB)])
        for kind, number in (("dynamic", signal.SIGINT), ("raw", signal.SIGKILL),
                             ("dynamic", signal.SIGKILL)):
            with subprocess.Popen(["env", "--default-signal", BUILD / "vhdxctl", "convert",
                                   "--type", kind, source, device], stderr=subprocess.PIPE,
                                  text=True, env={**os.environ, "LD_PRELOAD": str(slow)}) as run:
                time.sleep(1)
                run.send_signal(number)
                _, err = run.communicate(timeout=30)
            if number == signal.SIGINT:
                assert "its first MiB was cleared" in err and "removed" not in err, err
            if kind == "raw" or number == signal.SIGINT:
                assert not any((path / "device").read_bytes()[:MIB])
        said = ctl("convert", source, device).expect(1, f"{device}: something is on this device")
        advice = said.err[said.err.index("dd if="):].split("\n")[0]
        subprocess.run(advice.split(), check=True, stderr=subprocess.DEVNULL)
        convert(source, device)
        expect_sound(device)


def test_devices_that_do_not_fit():
    with directory() as path, loop_device(path, 8 * MIB, 4096) as device:
        source = path / "source.vhdx"
        vhdxoracle.create(source, 16 * MIB, content=[(0, b"x" * 16 * MIB)], logical_sector=4096)
        ctl("convert", "--type", "raw", source, device).expect(
            1, f"{device}: it has {8 * MIB} bytes, and {16 * MIB} are needed")
        ctl("convert", "--type", "fixed", source, device).expect(1, f"{device}: ", "are needed")
        ctl("convert", "--block-size", "1M", source, device).expect(
            1, f"{device}: the device has only {8 * MIB} bytes, and more are needed")
        assert not any((path / "device").read_bytes()[:MIB])
        small = path / "small.vhdx"
        vhdxoracle.create(small, MIB, content=[(0, b"x" * MIB)])
        ctl("convert", small, device).expect(1, "sectors of 4096 bytes, which a disk with sectors "
                                             "of 512 can't be on")
        # A device's sectors are those of the disk that is made of it.
        made = convert(device, path / "made.vhdx", "--from", "raw")
        with Image(made) as image:
            assert image.geometry.logical_sector == 4096
        assert by_library(small, device, lambda *_: 9, type=2) == 9
        assert not any((path / "device").read_bytes()[:MIB])


def test_device_on_the_source():
    """A loop device on what is read is what is read, also where it begins with zeroes."""
    with directory() as path, loop_device(path, 24 * MIB) as device:
        with open(path / "device", "r+b") as file:
            file.seek(10 * MIB)
            file.write(b"precious" * 512)
        before = (path / "device").read_bytes()
        ctl("convert", "--from", "raw", path / "device", device).expect(
            1, f"{device}: it is read to make the new disk")
        assert (path / "device").read_bytes() == before


def test_mounted_device():
    """What is mounted changes while it is read."""
    with directory() as path, loop_device(path, 8 * MIB) as device:
        need("mke2fs")
        subprocess.run(["mke2fs", "-q", device], check=True)
        (path / "mnt").mkdir()
        subprocess.run(["mount", device, path / "mnt"], check=True)
        try:
            ctl("convert", "--from", "raw", device, path / "new").expect(
                1, f"{device}: in use: mounted")
            vhdxoracle.create(path / "source.vhdx", MIB)
            for kind in TYPES:
                ctl("convert", "--type", kind, path / "source.vhdx", device).expect(
                    1, f"{device}: in use: mounted", "choose another device")
        finally:
            subprocess.run(["umount", path / "mnt"], check=True)
        convert(device, path / "new.vhdx", "--from", "raw")
        assert content(path / "new.vhdx") == (path / "device").read_bytes()


# ---- others ----


def made_of(path):
    """Disks of all kinds that are made here; and their content, in a file."""
    raw = path / "wanted.raw"
    wanted = bytearray(37 * MIB + 512)
    for offset in range(0, len(wanted), 3 * MIB):
        wanted[offset:offset + 5000] = os.urandom(min(5000, len(wanted) - offset))
    raw.write_bytes(wanted)
    for kind in ("dynamic", "fixed"):
        convert(raw, path / f"{kind}.vhdx", "--from", "raw", "--type", kind)
    convert(path / "fixed.vhdx", path / "1m.vhdx", "--block-size", "1M")
    convert(path / "1m.vhdx", path / "again.vhdx", "--type", "fixed")
    return [path / f"{name}.vhdx" for name in ("dynamic", "fixed", "1m", "again")], raw


def test_qemu():
    """QEMU finds nothing wrong, and the same content; also in what it made itself."""
    need("qemu-img")
    with directory() as path:
        images, raw = made_of(path)
        for image in images:
            checked = subprocess.run(["qemu-img", "check", "-f", "vhdx", "--output=json", image],
                                     capture_output=True, text=True, check=True)
            assert not json.loads(checked.stdout)["check-errors"], checked.stdout
            subprocess.run(["qemu-img", "compare", "-q", "-f", "vhdx", "-F", "raw", image, raw],
                           check=True)
            with qemu_io(image, commands=("write -P 7 999k 3M",)):
                pass
            expect_sound(image)
        theirs = path / "theirs.vhdx"
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vhdx", raw, theirs], check=True)
        convert(theirs, path / "back.raw", "--type", "raw")
        assert content(path / "back.raw") == raw.read_bytes()


LIBVHDI = """
import hashlib, pyvhdi, sys
disks = []
for path in sys.argv[1:]:
    disk = pyvhdi.file()
    disk.open(path)
    if disks:
        disk.set_parent(disks[-1])
    disks.append(disk)
digest, left = hashlib.sha256(), disks[-1].get_media_size()
while left:
    digest.update(disks[-1].read_buffer(min(left, 1 << 20)))
    left -= min(left, 1 << 20)
print(disks[-1].get_media_size(), digest.hexdigest())
"""


def by_libvhdi(*paths):
    """Size and content of a disk, as libvhdi reads it; its parents first."""
    python = "/usr/bin/python3"
    if subprocess.run([python, "-c", "import pyvhdi"], capture_output=True, check=False).returncode:
        ktap.skip("python3-libvhdi is not installed")
    done = subprocess.run([python, "-c", LIBVHDI, *paths], capture_output=True, text=True,
                          check=True)
    size, found = done.stdout.split()
    return int(size), found


def test_libvhdi():
    """It reads what is made as we do, a differencing disk through its parent."""
    with directory() as path:
        images, raw = made_of(path)
        for image in images:
            assert by_libvhdi(image) == (os.stat(raw).st_size, digest(raw)), image
        base, child = path / "1m.vhdx", path / "child.avhdx"
        ctl("create", "--parent", base, child).expect(0)
        assert content(child) == content(raw)
        # Of a child with nothing in it, libvhdi 20210425 takes the beginning of the file for the
        # sector bitmap that is not there. So something is written: parts of blocks, and all of one.
        vhdxoracle.dirty(child, [(MIB, b"g" * 512), (9 * MIB, b"h" * 4 * MIB)])
        assert ctl("check", "--repair", child).code == 1
        flat = convert(child, path / "flat.raw", "--type", "raw")
        assert content(child) == content(flat) != content(raw)
        assert by_libvhdi(base, child) == (os.stat(flat).st_size, digest(flat))


CORPUS = pathlib.Path(os.environ.get("VHDX_CORPUS", TREE.parent / "shared" / "corpus"))
ROW = re.compile(r"\| (\S+\.vhdx)\.([xg]z) \|.*\| [0-9a-f]{64} \| ([0-9a-f]{64}) \|")


def digest_of_sparse(path):
    """As sha256sum's, without reading holes."""
    found, zeroes, position = hashlib.sha256(), bytes(MIB), 0
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        while position < size:
            try:
                data = os.lseek(file.fileno(), position, os.SEEK_DATA)
            except OSError:
                data = size
            while position < data:
                found.update(zeroes[:data - position])
                position += min(MIB, data - position)
            file.seek(position)
            data = file.read(min(MIB, size - position))
            found.update(data)
            position += len(data)
    return found.hexdigest()


def test_corpus():
    """What Windows, Hyper-V and QEMU wrote has the content that is known of it."""
    if not (CORPUS / "README.md").exists():
        ktap.skip(f"no {CORPUS}")
    rows = ROW.findall((CORPUS / "README.md").read_text())
    assert len(rows) >= 5
    with directory() as path:
        for name, packing, _ in rows:
            with (lzma if packing == "xz" else gzip).open(CORPUS / f"{name}.{packing}") as packed:
                (path / name).write_bytes(packed.read())
        for name, _, wanted in rows:
            raw = convert(path / name, path / "raw", "--type", "raw")
            # Ten GiB of zeroes take long to sum up; the oracle's own suite has that disk.
            if os.stat(raw).st_size < 64 * MIB:
                assert digest_of_sparse(raw) == wanted, name
            with vhdxoracle.open_disk(path / name) as disk:
                vhdxoracle.write_raw(disk, path / "oracle")
            assert not list(vhdxoracle.compare(raw, path / "oracle")), name
            made = convert(path / name, path / "made.vhdx", "--block-size", "1M")
            convert(made, path / "again", "--type", "raw")
            assert not list(vhdxoracle.compare(raw, path / "again")), name
            for file in ("raw", "oracle", "made.vhdx", "again"):
                (path / file).unlink()
