#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# vm: takes=60
"""Containers that are odd, or damaged in a block only: they attach.

What can be read reads as the oracle reads it; what can't is EIO. A reader changes
nothing. A writer either allocates, and leaves no more faults than there were, or is
refused with a reason in sysfs. Each of the oracle's mutations that may attach is a case; all is as
vhdxctl check says, by the table that both are compared with.
"""

import errno
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
from vhdxtest import images, judge, ktap, uapi, udev
from vhdxtest.device import Failure, name_of
from vhdxtest.chains import parents_of
from vhdxtest.disk import raw_attached
from vhdxtest.kernel_log import KernelLog
from vhdxtest.images import MIB
from vhdxoracle import (MUTATIONS, Editor, RangeSet, VhdxError, check, faults, mutate, open_disk, verdicts,
                        write_raw)

# Said once for a container, whatever is wrong with it; and the block layer's part.
KNOWN = ("no more blocks are allocated", "I/O error", "partition")


def worth_reading(truth):
    """All data and what is around it, and both sides of the border of each MiB; of a large
    disk, of some."""
    step = MIB if truth.size <= judge.WHOLE else truth.size // 64
    spans = [(start - 4096, end + 4096) for start, end in truth.extents()]
    spans += [(at - 4096, at + 4096) for at in range(0, truth.size + step, step)]
    return RangeSet(RangeSet(spans).widened(4096).clip(0, truth.size))


def reads_as_the_oracle(disk, truth, unreadable):
    """All that is worth reading of the good blocks, and both ends of the bad ones."""
    bad = RangeSet.of_lengths(unreadable)
    for start, end in worth_reading(truth) - bad:
        judge.same_range(disk, truth, start, end - start)
    for offset, length in unreadable:
        ktap.expect_errno(errno.EIO, disk.read, offset, 4096)
        ktap.expect_errno(errno.EIO, disk.read, offset + length - 512, 512)


def nowhere(image):
    """The offset of a block that has no space, or None."""
    for block in range(image.geometry.payload_blocks):
        try:
            if image.block_entry(block)[0] < 6:
                return block * image.geometry.block_size
        except VhdxError:
            pass
    return None


def write_to(disk, offset, wanted):
    """A write that needs a new block: it succeeds, or it is refused with a reason. The verdict."""
    before = disk.read(offset, 12288)
    try:
        disk.write(offset + 4096, b"n" * 4096)
    except OSError as error:
        ktap.equal(error.errno, errno.EIO, "errno")
        ktap.check(disk.sysfs("scan").startswith("failed: "), f"scan is {disk.sysfs('scan')}")
        ktap.equal(disk.read(offset, 12288), before, "what was not written")
        return verdicts.no_new_blocks(disk.sysfs("scan"))
    ktap.check(not wanted.alloc_refused, "the write was to be refused")
    ktap.equal(disk.read(offset, 12288), before[:4096] + b"n" * 4096 + before[8192:], "what was written")
    return verdicts.ACCEPTED


def expect_refusal(wanted, failure, path, before):
    """Refusing it is right too, if nothing changes."""
    got = name_of(failure.errno)
    ktap.check(got in wanted.attach, f"{got} instead of {wanted.attach}")
    judge.agreed(wanted.name, verdicts.refused(uapi.REASONS[failure.reason], failure.__notes__[0]))
    ktap.check(judge.fingerprint(path) == before, "a refused attach changed the container")


def refused_by_all(wanted, path, before):
    """What the oracle can't read, the driver must refuse."""
    for flags in (uapi.ATTACH_READ_ONLY, 0):
        try:
            with raw_attached(path, flags=flags, parents=parents_of(path)):
                raise AssertionError("it was attached, and the oracle refuses it")
        except Failure as failure:
            expect_refusal(wanted, failure, path, before)


def accepted(name):
    """One mutation: attached for reading; for writing, without a write; and written."""
    with images.directory() as scratch, KernelLog() as log:
        path = str(scratch / "disk.vhdx")
        wanted = mutate(name, path)
        before = judge.fingerprint(path)
        try:
            with open_disk(path) as image:
                dirty, target = image.is_dirty, nowhere(image)
        except VhdxError:
            refused_by_all(wanted, path, before)
            return
        with judge.Truth(scratch / "truth", image.size) as truth:
            with open_disk(path) as image:
                write_raw(image, truth.path, skip_faulty=True)
            try:
                with raw_attached(path, flags=uapi.ATTACH_READ_ONLY, parents=parents_of(path)) as disk:
                    reads_as_the_oracle(disk, truth, wanted.eio)
            except Failure as failure:
                expect_refusal(wanted, failure, path, before)
                return
            ktap.check(judge.fingerprint(path) == before, "a reader changed the container")
            faults_before = len(faults(check(path), strict=True))
            with raw_attached(path, parents=parents_of(path)) as disk:
                if dirty:
                    reads_as_the_oracle(disk, truth, wanted.eio)
                else:
                    disk.data.flush()
                    ktap.check(judge.fingerprint(path) == before, "an attach without a write changed it")
                if target is not None:
                    judge.agreed(name, write_to(disk, target, wanted))
        after = faults(check(path), strict=True)
        ktap.check(len(after) <= faults_before, f"the write added faults: {after}")
        log.expect_quiet(KNOWN)


for _name, _mutation in MUTATIONS.items():
    if "ok" in _mutation.attach:
        ktap.add(_name.replace("-", "_"), accepted, _name)


def no_log(offset):
    """A container whose log has no length, at an offset that is nobody's or somebody's: what
    is there can be written in place, and nothing can be allocated."""
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", 16 * MIB, MIB, content=[(MIB, b"old" * 4096)])
        with Editor(path) as edit:
            edit.change_headers(log_length=0, log_offset=offset)
        before = faults(check(path), strict=True)
        with judge.Truth(scratch / "truth", 16 * MIB, path) as truth:
            with raw_attached(path) as disk:
                ktap.expect_errno(errno.EIO, disk.write, 8 * MIB, b"n" * 4096)
                ktap.check("log" in disk.sysfs("scan"), disk.sysfs("scan"))
                disk.write(MIB + 4096, b"n" * 4096)
                truth.write(MIB + 4096, b"n" * 4096)
                disk.data.flush()
                judge.same_disk(disk, truth)
            ktap.equal(faults(check(path), strict=True), before, "faults")
            judge.same_to_oracle(path, truth)


for _where in (0, MIB, 2 * MIB, 3 * MIB, 1 << 62):
    ktap.add(f"no_log_at_{_where:#x}", no_log, _where)

with udev.asleep():
    ktap.main()
