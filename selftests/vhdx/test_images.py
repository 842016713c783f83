#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# vm: takes=20
"""Images that others made: QEMU's of every kind, Windows' and disk2vhd's oddities, and
disks of 64 TiB.
"""

import errno
import hashlib
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
from vhdxtest import images, judge, ktap, uapi
from vhdxtest.device import Failure, expect_failure
from vhdxtest.disk import attach_once, attached, raw_attached
from vhdxtest.images import KIB, MIB, TIB
import vhdxoracle
from vhdxoracle import corpus, verdicts

SIZE = 24 * MIB + 512


def expect_gap(disk, point):
    """Somebody wrote, and it wasn't us: what changed since then is not known."""
    expect_failure(errno.ESTALE, uapi.CHANGED_OFFLINE, disk.handle.changes, point)


def by_qemu(subformat, block, options):
    """Made and filled by QEMU, read and written here, and so again; judged and read by QEMU.
    What QEMU wrote in between reads right and is a gap."""
    with images.directory() as scratch:
        path, point = scratch / "disk.vhdx", None
        images.command("qemu-img", "create", "-q", "-f", "vhdx", "-o",
                       f"subformat={subformat},block_size={block},{options}", path, str(SIZE))
        with judge.Truth(scratch / "truth", SIZE) as truth:
            for turn in range(2):
                writes = [(0, 512), (MIB, 3 * MIB), (SIZE - 512, 512), (5000 * KIB, 100 * KIB)]
                judge.qemu_io(path, *(f"write -P {turn * 9 + n + 1} {offset} {length}"
                                      for n, (offset, length) in enumerate(writes)))
                for number, (offset, length) in enumerate(writes):
                    truth.write(offset, bytes([turn * 9 + number + 1]) * length)
                with attached(path, "--track") as disk:
                    if point:
                        expect_gap(disk, point)
                    judge.same_disk(disk, truth)
                    for number, offset in enumerate((512, 10 * MIB + turn * MIB, 15 * MIB - 512, SIZE - 4096)):
                        data = judge.pattern(number + turn, 1024)
                        disk.write(offset, data)
                        truth.write(offset, data)
                    point = disk.handle.ids()[-1]
                judge.valid(path, strict=False)
            judge.same_container(path, truth, strict=False)


ktap.add("qemu_dynamic_1M", by_qemu, "dynamic", "1M", "log_size=1M,block_state_zero=on")
ktap.add("qemu_dynamic_2M_not_present", by_qemu, "dynamic", "2M", "log_size=8M,block_state_zero=off")
ktap.add("qemu_dynamic_256M", by_qemu, "dynamic", "256M", "log_size=4M")
ktap.add("qemu_fixed_8M", by_qemu, "fixed", "8M", "block_state_zero=off")


@ktap.case
def disk2vhd():
    """Two identical headers, 512 bytes behind the last block, regions and items in another
    order: read, and written."""
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", 16 * MIB, 2 * MIB, table_order=("metadata", "bat"),
                             content=[(MIB, judge.pattern(1, 5 * MIB))], trailing=512)
        with vhdxoracle.Editor(path) as edit:
            for slot in (0, 1):
                edit.put_header(slot, edit.header)
            edit.put_items(edit.items[::-1])
        ktap.equal(os.path.getsize(path) % MIB, 512, "the tail")
        before = judge.fingerprint(path)
        with judge.Truth(scratch / "truth", 16 * MIB, path) as truth:
            with attached(path) as disk:
                judge.same_disk(disk, truth)
            ktap.check(judge.fingerprint(path) == before, "reading changed it")
            with attached(path) as disk:
                for offset in (0, 10 * MIB + 512, 12 * MIB - 512):
                    disk.write(offset, b"w" * 1024)
                    truth.write(offset, b"w" * 1024)
                judge.same_disk(disk, truth)
            judge.same_container(path, truth)


# ---- real images ---------------------------------------------------------------------

def unpacked(name, scratch):
    """A sample image, or the end of the case."""
    return corpus.unpacked(name, scratch) or ktap.skip(f"there is no {name} in the corpus")


def sample(name):
    """Reads as the oracle reads it, and may be written."""
    with images.directory() as scratch:
        path = unpacked(name, scratch)
        before = judge.fingerprint(path)
        with vhdxoracle.open_disk(path) as image:
            size, sector = image.size, image.geometry.logical_sector
        with judge.Truth(scratch / "truth", size, path) as truth:
            for options in (("--read-only",), ()):
                with attached(path, *options) as disk:
                    judge.same_disk(disk, truth)
                ktap.check(judge.fingerprint(path) == before, "reading changed it")
            with attached(path) as disk:
                disk.write(size - sector, b"!" * sector)
                truth.write(size - sector, b"!" * sector)
                judge.same_disk(disk, truth)
            judge.same_container(path, truth, strict=False)


for _name in ("ext2.vhdx", "swap.vhdx", "fat-parent.vhdx"):
    ktap.add(f"sample_{_name.split('.')[0].replace('-', '_')}", sample, _name)


@ktap.case
def sample_of_old_qemu():
    """Converted by QEMU 5.2: the sector bitmap entries of a disk without a parent hold 2. What
    it means is that there is none: the disk is written like any other, new blocks included."""
    with images.directory() as scratch:
        path = unpacked("qemu-5.2-convert-9G.vhdx", scratch)
        with vhdxoracle.open_disk(path) as image:
            size = image.size
        with judge.Truth(scratch / "truth", size, path) as truth:
            with attached(path) as disk:
                ktap.equal(disk.read(0, 4096)[:5], b"hello", "content")
                for number, offset in enumerate((0, 20 * MIB, size // 2, 5 << 30, size - 4 * MIB)):
                    data = judge.pattern(number, 64 * KIB)
                    disk.write(offset, data)
                    truth.write(offset, data)
                ktap.equal(disk.sysfs("scan"), "ok", "scan")
                judge.same_disk(disk, truth)
            judge.same_container(path, truth, strict=False)


# Of the whole disk, as Windows reads it.
CONTENT = {"fat-parent.vhdx": "2d1954fec68faefe81dd3687282a9b387bf8417f6d2cf0da3825fa1445b64cfb",
           "fat-differential.vhdx": "a538161f34bc44c12bf9a542ce9218741c62728723ea18d0e4f6ea92e9f32e93"}


@ktap.case
def sample_pair():
    """Of Windows: the child finds its parent beside it, and both have the content that they had
    there. What is written is in the child alone."""
    with images.directory() as scratch:
        parent, child = (unpacked(name, scratch) for name in CONTENT)
        before = judge.fingerprint(parent), judge.fingerprint(child)
        for path in (child, parent):
            with attached(path, "--read-only") as disk:
                content = disk.read(0, disk.size)
            ktap.equal(hashlib.sha256(content).hexdigest(), CONTENT[path.name], f"content of {path.name}")
        ktap.check((judge.fingerprint(parent), judge.fingerprint(child)) == before, "reading changed one")
        with judge.Truth(scratch / "truth", 4 * MIB, child) as truth:
            with attached(child) as disk:
                for number, offset in enumerate((512, 2 * MIB - 512, 3 * MIB + 4096)):
                    data = judge.pattern(number, 1024)
                    disk.write(offset, data)
                    truth.write(offset, data)
                judge.same_disk(disk, truth)
            judge.same_container(child, truth, qemu=False)
        ktap.check(judge.fingerprint(parent) == before[0], "the parent was changed")


@ktap.case
def sample_differencing():
    """A child without its parent is refused, with a message that says so, and stays as it was."""
    with images.directory() as scratch:
        path = unpacked("fat-differential.vhdx", scratch)
        before = judge.fingerprint(path)
        done = subprocess.run(["vhdxctl", "attach", path], capture_output=True, text=True, check=False)
        ktap.equal(done.returncode, 1, "exit status")
        ktap.check("differencing" in done.stderr, done.stderr)
        expect_failure(errno.EINVAL, uapi.ARGUMENT, attach_once, path)
        ktap.check(judge.fingerprint(path) == before, "it was changed")


def verdict_of(path, parents):
    """What the driver makes of a container, whether it is read or written."""
    texts = set()
    for flags in (uapi.ATTACH_READ_ONLY, 0):
        try:
            attach_once(path, flags=flags, parents=parents)
            texts.add(verdicts.ACCEPTED)
        except Failure as failure:
            texts.add(verdicts.refused(uapi.REASONS[failure.reason], failure.__notes__[0]))
    ktap.equal(len(texts), 1, f"{path}: {texts}")
    return texts.pop()


@ktap.case
def verdicts_of_samples():
    """They are those of vhdxctl check."""
    with images.directory() as scratch:
        for name in corpus.NAMES:
            path = unpacked(name, scratch)
            parents = [scratch / "fat-parent.vhdx"] if name == "fat-differential.vhdx" else []
            judge.agreed(verdicts.CORPUS + name, verdict_of(path, parents))


# ---- 64 TiB ----------------------------------------------------------------------------

def memory_used():
    """What the kernel's structures take, in bytes."""
    with open("/proc/meminfo", encoding="ascii") as lines:
        numbers = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    return numbers["Slab"] + numbers["Percpu"] + numbers["VmallocUsed"]


def time_of_attach(path):
    """Seconds, the best of three."""
    best = 1e9
    for _ in range(3):
        start = time.monotonic()
        with raw_attached(path):
            best = min(best, time.monotonic() - start)
    return best


def largest(block):
    """A disk of 64 TiB attaches as fast as a small one and takes no memory for its size;
    writes at both ends and in the middle, over detach."""
    size = 64 * TIB
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", size, block)
        small = time_of_attach(images.create(scratch / "small.vhdx", 4 * MIB, MIB))
        took = time_of_attach(path)
        ktap.diag(f"attach: {took:.3f} s, a small disk {small:.3f} s")
        ktap.check(took < 2 * small + 0.3, f"the attach takes {took:.3f} s, that of a small disk {small:.3f} s")
        writes = [(0, 512), (size - 512, 512), (size // 2 - 4096, 8192), (33 * TIB + 12 * KIB, 4096)]
        before = memory_used()
        with raw_attached(path) as disk:
            for offset in range(0, size, size // 64):
                ktap.equal(disk.read(offset, 512), bytes(512), f"an empty disk at {offset}")
            start = time.monotonic()
            for number, (offset, length) in enumerate(writes):
                disk.write(offset, judge.pattern(number, length))
            ktap.diag(f"first writes: {time.monotonic() - start:.3f} s")
            grown = memory_used() - before
            ktap.diag(f"memory: {grown / MIB:.1f} MiB")
            ktap.check(grown < 24 * MIB, f"{grown} bytes are in use")
        judge.valid(path)
        with vhdxoracle.open_disk(path) as image, raw_attached(path, flags=uapi.ATTACH_READ_ONLY) as disk:
            for number, (offset, length) in enumerate(writes):
                for reader in (image, disk):
                    got = reader.read(offset - 512 if offset else 0, length + (512 if offset else 0))
                    ktap.check(got == bytes(512 if offset else 0) + judge.pattern(number, length), f"at {offset}")
        if block > MIB:
            judge.qemu_io(path, *(f"read {offset} {length}" for offset, length in writes))


ktap.add("64_TiB_of_1M_blocks", largest, MIB)
ktap.add("64_TiB_of_32M_blocks", largest, 32 * MIB)


ktap.main()
