# SPDX-License-Identifier: GPL-2.0-only
"""QEMU as a second opinion; it knows 512-byte sectors and no differencing disks."""

import itertools
import os
import shutil
import subprocess

import ktap
from vhdxoracle import apply_to_raw, create, dirty, open_disk, write_raw

from .replaying import STATES, WAYS
from .support import MIB, expect_raw, expect_valid, patches

SIZE = 24 * MIB + 512


def _run(*command, check=True):
    if not shutil.which(command[0]):
        ktap.skip(f"{command[0]} is not installed (package qemu-utils)")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    ktap.check(not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done


def _expect_same(path, raw):
    done = _run("qemu-img", "compare", "-f", "vhdx", "-F", "raw", path, raw, check=False)
    ktap.check(done.returncode == 0, f"{path} in QEMU's eyes: {done.stdout}{done.stderr}")


def _io(path, *commands):
    done = _run("qemu-io", "-f", "vhdx", *itertools.chain(*(("-c", c) for c in commands)), path)
    ktap.check("fail" not in done.stdout + done.stderr, f"{path}: {done.stdout}{done.stderr}")


def test_images_by_qemu(scratch):
    """Every create option, then writes through QEMU."""
    path, raw = str(scratch / "disk.vhdx"), str(scratch / "disk.raw")
    for kind, block, log_size, zero in (("dynamic", "1M", "1M", "on"), ("dynamic", "2M", "8M", "off"),
                                        ("dynamic", "32M", "1M", "on"), ("dynamic", "256M", "4M", "on"),
                                        ("fixed", "1M", "1M", "on"), ("fixed", "8M", "1M", "off")):
        _run("qemu-img", "create", "-q", "-f", "vhdx", "-o",
             f"subformat={kind},block_size={block},log_size={log_size},block_state_zero={zero}", path, str(SIZE))
        for _ in range(2):
            _run("qemu-img", "convert", "-f", "vhdx", "-O", "raw", path, raw)
            expect_raw(path, raw, f"{kind} {block} {log_size} {zero}")
            expect_valid(path, strict=False)
            _io(path, "write -P 1 0 512", "write -P 2 1M 3M", f"write -P 3 {SIZE - 512} 512", "write -P 4 5000k 1000k")


def test_images_for_qemu(scratch):
    """Our shapes pass its check and convert to the same content."""
    path, raw = str(scratch / "disk.vhdx"), str(scratch / "disk.raw")
    shapes = ({}, {"kind": "fixed"}, {"shuffle": True}, {"order": ("bat", "metadata", "log"), "gap": 2 * MIB},
              {"log_length": 4 * MIB, "bat_length": 5 * MIB}, {"offsets": {"metadata": 30 * MIB, "bat": 9 * MIB}},
              {"states": {2: "ZERO", 3: "UNMAPPED", 4: "UNDEFINED+", 5: "UNMAPPED+"}, "content": [(0, b"q" * MIB)]})
    for shape in shapes:
        create(path, SIZE, **{"block_size": MIB, "content": patches(SIZE, 9, 3), **shape})
        with open_disk(path) as image:
            write_raw(image, raw)
        _run("qemu-img", "check", "-q", "-f", "vhdx", path)
        _expect_same(path, raw)


def test_chunk_borders(scratch):
    """Blocks on both sides of the sector bitmaps' slots, written by each, read by the other."""
    path, raw, size = str(scratch / "disk.vhdx"), str(scratch / "disk.raw"), 3 * 4096 * MIB - 512
    places = [n * 4096 * MIB + at for n in (0, 1, 2) for at in (0, 512, 2 * MIB, 4096 * MIB - 2 * MIB - 512)]
    places += [4096 * MIB - 512, 8192 * MIB - 512]
    create(path, size, block_size=2 * MIB, content=[(at, bytes([n + 1]) * 512) for n, at in enumerate(places)])
    _io(path, *(f"read -P {n + 1} {at} 512" for n, at in enumerate(places)))
    with open_disk(path) as image:
        write_raw(image, raw)
    os.unlink(path)
    _run("qemu-img", "convert", "-f", "raw", "-O", "vhdx", "-o", "block_size=2M", raw, path)
    expect_raw(path, raw, "converted by QEMU")
    expect_valid(path, strict=False)


def test_largest_disk(scratch):
    path, size = str(scratch / "disk.vhdx"), 64 << 40
    _run("qemu-img", "create", "-q", "-f", "vhdx", "-o", "block_size=256M", path, str(size))
    _io(path, "write -P 5 0 4096", f"write -P 6 {size - 4096} 4096", f"write -P 7 {size // 2} 4096")
    expect_valid(path, strict=False)
    with open_disk(path) as image:
        ktap.equal([(o, p.strip(b"\0")[:1]) for o, p in image.data() if p.strip(b"\0")],
                   [(0, b"\5"), (size // 2, b"\7"), (size - 4096, b"\6")], "pieces")


def _replayed_by_qemu(path, copy):
    shutil.copyfile(path, copy)
    _run("qemu-img", "check", "-q", "-r", "all", "-f", "vhdx", copy, check=False)
    _run("qemu-img", "check", "-q", "-f", "vhdx", copy)
    return copy


def test_replay_of_our_logs(scratch):
    """What QEMU makes of a dirty image is what was to be in it."""
    clean, path, copy, raw = (str(scratch / n) for n in ("clean.vhdx", "disk.vhdx", "copy.vhdx", "disk.raw"))
    create(clean, SIZE, block_size=MIB, content=patches(SIZE, 6, 4))
    for way in WAYS:
        shutil.copyfile(clean, path)
        with open_disk(path) as image:
            writes = patches(SIZE, 8, 5, longest=1500000)
            write_raw(image, raw)
            apply_to_raw(raw, image.geometry, writes, STATES)
        dirty(path, writes, STATES, **way)
        _expect_same(_replayed_by_qemu(path, copy), raw)
        expect_raw(copy, raw, f"after QEMU's replay ({way})")
        expect_valid(copy, strict=False)


def test_every_slot(scratch):
    """520 blocks, so that both sides of a BAT page's border change in the log."""
    path, copy = str(scratch / "disk.vhdx"), str(scratch / "copy.vhdx")
    create(path, 520 * MIB, block_size=MIB)
    dirty(path, [(b * MIB, b.to_bytes(2, "little") * 256) for b in range(520)], group=50)
    raw = str(scratch / "disk.raw")
    with open_disk(path) as image:
        write_raw(image, raw)
    _expect_same(_replayed_by_qemu(path, copy), raw)


def test_logs_by_qemu(scratch):
    """QEMU dies when it cannot apply a logged BAT page: its log means the same to it and to us."""
    path, copy, raw = (str(scratch / n) for n in ("disk.vhdx", "copy.vhdx", "disk.raw"))
    for count in (0, 1, 7):
        _run("qemu-img", "create", "-q", "-f", "vhdx", "-o", "block_size=1M", path, str(600 * MIB))
        with open_disk(path) as image:
            sector = image.bat_offset(512) // 512
        writes = [(n * 3 * MIB, n + 1) for n in range(count)] + [(550 * MIB, 99)]
        node = ("driver=vhdx,file.driver=blkdebug,file.inject-error.0.event=none,file.inject-error.0.iotype=write,"
                f"file.inject-error.0.sector={sector},file.image.driver=file,file.image.filename={path}")
        commands = [("-c", f"write -P {byte} {offset} 64k") for offset, byte in writes]
        _run("qemu-io", "--image-opts", *itertools.chain(*commands), "-c", "abort", node, check=False)
        with open_disk(path) as image:
            ktap.check(image.is_dirty, "QEMU was to leave a dirty log")
            for offset, byte in writes:
                ktap.check(image.read(offset, 65536) == bytes([byte]) * 65536, f"write to {offset}")
            write_raw(image, raw)
        _expect_same(_replayed_by_qemu(path, copy), raw)
