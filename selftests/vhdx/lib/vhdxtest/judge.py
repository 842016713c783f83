# SPDX-License-Identifier: GPL-2.0-only
"""What a disk must read as, and what others say of its container.

    truth = Truth(directory / "truth", disk.size)
    truth.write(0, data); disk.write(0, data)
    judge.same_disk(disk, truth)                what the block device shows
    judge.same_container(path, truth)           what the oracle and QEMU read, and both checkers

A Truth is a sparse raw file: nothing of the driver has a part in it.
"""

import functools
import os
import random
import stat
import subprocess

import ktap
import vhdxoracle
from vhdxoracle import verdicts
from vhdxoracle.container import Container

from . import dio
from .images import MIB, command

# Disks up to this size are read by QEMU from end to end; of larger ones, where data is.
WHOLE = 80 * MIB
# What one comparison reads at once, into memory that is touched once: page faults are
# the dearest part of reading under emulation.
STEP = MIB
_ZEROS = bytes(STEP)
_buffer = dio.aligned(STEP)


class Truth:
    """The content that a disk must have."""

    def __init__(self, path, size, container=None):
        """Zeros, or what the oracle reads in a container."""
        self.path = str(path)
        self.size = size
        if container is None:
            with open(path, "wb") as file:
                file.truncate(size)
        else:
            with vhdxoracle.open_disk(container) as image:
                vhdxoracle.write_raw(image, path)
        self.raw = Container(path, writable=True)

    def write(self, offset, data):
        """A write to the disk."""
        self.raw.write(offset, data)

    def read(self, offset, length):
        """What a read must give."""
        return self.raw.read(offset, length)

    def piece(self, offset, length):
        """The same, of at most STEP bytes, and fast where there is a hole."""
        hole = not any(True for _ in self.raw.data_extents(offset, offset + length))
        return _ZEROS[:length] if hole else self.read(offset, length)

    def extents(self):
        """(start, end) outside of which all is zeros."""
        return list(self.raw.data_extents(0, self.size))

    def close(self):
        """Closes the file."""
        self.raw.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _difference(got, wanted, offset):
    """Where two pieces of a disk differ first, in words."""
    at = next(i for i, (a, b) in enumerate(zip(got, wanted)) if a != b)
    return f"byte {offset + at} is {got[at]:#04x} instead of {wanted[at]:#04x}"


def same_range(disk, truth, offset, length):
    """A range of the disk reads as it must; both are multiples of the sector size."""
    end = min(offset + length, truth.size)
    for at in range(offset, end, STEP):
        size = min(STEP, end - at)
        ktap.equal(os.preadv(disk.data.fd, [_buffer[:size]], at), size, f"bytes read at {at}")
        got, wanted = bytes(_buffer[:size]), truth.piece(at, size)
        ktap.check(got == wanted, got != wanted and _difference(got, wanted, at))


def same_disk(disk, truth, also=(), sector=4096):
    """The block device reads as it must: all of a small one; of a large one its ends, a
    MiB around all data, and the ranges also (offset, length)."""
    ktap.equal(disk.size, truth.size, "the disk's size")
    if truth.size <= WHOLE:
        same_range(disk, truth, 0, truth.size)
        return
    ranges = [(start - MIB, end + MIB) for start, end in truth.extents()]
    ranges += [(offset, offset + length) for offset, length in also]
    ranges += [(0, MIB), (truth.size - MIB, truth.size)]
    for start, end in vhdxoracle.RangeSet(ranges).widened(sector).clip(0, truth.size):
        same_range(disk, truth, start, end - start)


def valid(path, clean=True, strict=True):
    """The oracle's checker finds no fault."""
    wrong = vhdxoracle.faults(vhdxoracle.check(path, clean), strict)
    ktap.check(not wrong, f"{path}: " + "; ".join(map(str, wrong[:5])))


def _same_raw(raw, truth, who):
    different = vhdxoracle.compare(raw, truth.path)
    ktap.check(not different, f"{who} reads another content at {list(different)[:3]}")


def same_image(image, truth):
    """An open image reads as it must."""
    raw = f"{truth.path}.oracle"
    vhdxoracle.write_raw(image, raw)
    _same_raw(raw, truth, "the oracle")
    os.unlink(raw)


def same_to_oracle(path, truth):
    """The oracle reads what it must."""
    with vhdxoracle.open_disk(path) as image:
        same_image(image, truth)


def same_to_qemu(path, truth):
    """QEMU's check is clean and it reads what it must."""
    raw = f"{truth.path}.qemu"
    driver = "host_device" if stat.S_ISBLK(os.stat(path).st_mode) else "file"
    command("qemu-img", "check", "-q", "-f", "vhdx", path)
    if truth.size <= WHOLE:
        command("qemu-img", "convert", "-f", "vhdx", "-O", "raw", path, raw)
        _same_raw(raw, truth, "QEMU")
        os.unlink(raw)
        return
    for start, end in vhdxoracle.RangeSet(truth.extents()).widened(512):
        command("qemu-img", "convert", "-O", "raw", "--image-opts",
                f"driver=raw,offset={start},size={end - start},file.driver=vhdx,"
                f"file.file.driver={driver},file.file.filename={path}", raw)
        with open(raw, "rb") as file:
            for at in range(start, end, STEP):
                length = min(STEP, end - at)
                got, wanted = file.read(length), truth.piece(at, length)
                ktap.equal(len(got), length, f"bytes that QEMU reads at {at}")
                ktap.check(got == wanted, got != wanted and f"to QEMU {_difference(got, wanted, at)}")
        os.unlink(raw)


def same_container(path, truth, clean=True, strict=True, qemu=True):
    """Valid and of the right content, in the eyes of the oracle and of QEMU.

    qemu    False where it can't read the image: sectors of 4096 bytes
    """
    valid(path, clean, strict)
    same_to_oracle(path, truth)
    if qemu:
        same_to_qemu(path, truth)


def same_after_replay(path, copy, truth, qemu=True):
    """A container as it is at this moment, perhaps dirty: the oracle replays it in memory,
    QEMU on the copy that is made of it."""
    snapshot(path, copy)
    valid(copy, clean=False)
    same_to_oracle(copy, truth)
    if qemu:
        subprocess.run(["qemu-img", "check", "-q", "-r", "all", "-f", "vhdx", copy], check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        valid(copy, strict=False)
        same_to_qemu(copy, truth)


def snapshot(path, copy):
    """Copies a file that somebody may be writing, holes and all."""
    command("cp", "--sparse=always", "--reflink=never", path, copy)


def agreed(name, verdict):
    """The driver makes of a container what vhdxctl check makes of it."""
    said = verdicts.difference(name, verdict)
    ktap.check(not said, f"{name}: {said}")


def fingerprint(path):
    """Tells whether a file changed in any byte; holes and zeros are the same.

    By Python's own hash of bytes, SipHash with a key of this process: a cryptographic one
    takes half a minute for the images of one suite under emulation.
    """
    pieces = {}
    with Container(path) as file:
        for start, end in file.data_extents(0, file.size):
            for at in range(start // STEP * STEP, end, STEP):
                piece = file.read(at, min(STEP, file.size - at))
                if piece != _ZEROS[:len(piece)]:
                    pieces[at] = hash(piece)
        return file.size, tuple(pieces.items())


def qemu_io(path, *commands):
    """Lets QEMU read or write the disk; fails as it does."""
    arguments = [word for one in commands for word in ("-c", one)]
    said = command("qemu-io", "-f", "vhdx", *arguments, path)
    ktap.check("fail" not in said, said)


@functools.lru_cache(maxsize=4)
def pattern(seed, length):
    """Random bytes that are the same for the same seed."""
    return random.Random(seed).randbytes(length)


def fill(path, byte, start, end):
    """Fills a range of a file or block device with a byte that nobody may ever see."""
    with open(path, "r+b", buffering=0) as file:
        for at in range(start, end, MIB):
            os.pwrite(file.fileno(), bytes([byte]) * min(MIB, end - at), at)
        os.fsync(file.fileno())
