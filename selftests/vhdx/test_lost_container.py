#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_lost_container - the container is cut, or another image is written over it, under a disk
#
# What is behind the new end never reads as zeroes, nothing is written to what stands there
# now, and nobody is told "no change": not before the detach, and not after the next attach.
# Whatever sees it first, the rest is the same.
#
# vm: timeout=600 takes=110
import errno
import mmap
import os
import pathlib
import sys
import threading
import time
import uuid
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import faulty, filesystem, images, judge, knob, ktap, mapper  # noqa: E402
from vhdxtest import uapi, udev  # noqa: E402
from vhdxtest.device import outcome  # noqa: E402
from vhdxtest.disk import attach_once, opened, raw_attached  # noqa: E402
from vhdxtest.kernel_log import KernelLog  # noqa: E402
from vhdxtest.images import KIB, MIB  # noqa: E402
import vhdxoracle  # noqa: E402

DISK = 32 * MIB
BLOCK = MIB
FULL = 8                        # blocks that are there
LAST = (FULL - 1) * BLOCK       # in the container, too, the last one
NEW = 20 * MIB
GAP = (errno.ESTALE, uapi.CHANGED_OFFLINE)
COMMIT_INTERVAL = 5             # seconds, of kmod/layer/journal.c


class TooLate(Exception):
    """The commit that comes by itself may have been first."""


def in_time(tell, *arguments):
    """Tells a story, again where the machine was too slow for it."""
    for _ in range(5):
        try:
            return tell(*arguments)
        except TooLate:
            ktap.diag("a commit came first: once more")
    raise AssertionError("this machine is too slow: nothing was tested")


def make(path, seed=1, blocks=FULL):
    """A container of so many blocks; images of the same shape differ in all that counts."""
    content = judge.pattern(seed, blocks * BLOCK)
    return images.create(path, DISK, BLOCK, seed=seed, content=[(0, content)] if blocks else [])


class Victim:
    """A container with two points in its sidecar, and a disk that is made of it."""

    def __init__(self, path, sidecar):
        self.path, self.sidecar = path, sidecar
        self.size = os.stat(path).st_size
        self.other = None
        with raw_attached(path) as disk:
            with opened(sidecar, os.O_RDWR | os.O_CREAT) as fd:
                disk.handle.enable(fd)
            disk.write(0, b"1" * 4096)
            disk.handle.seal()
            disk.write(BLOCK, b"2" * 4096)
            self.points = disk.handle.ids()
        self.sealed = [(0, 16 * KIB)]

    def attached(self, flags=0, closes=False):
        """See raw_attached(); detach says that the container was not closed."""
        return raw_attached(self.path, self.sidecar, flags, closes=closes)

    def expect_gap(self, disk):
        """Nobody is told "no change"; what lies between sealed points is still known."""
        for point in self.points:
            ktap.equal(outcome(disk.handle.changes, point), GAP, "since a point")
        ktap.equal(disk.handle.changes(*self.points), self.sealed, "between the points")
        state = disk.handle.state()
        ktap.equal((state.gap_reason, state.newer_changes), (uapi.CHANGED_OFFLINE, 1), "state")

    def expect_lost(self, disk):
        """Nothing is read or written, and no point sealed or forgotten."""
        ktap.equal(disk.sysfs("poisoned"), "1", "poisoned")
        ktap.check(disk.handle.info().disk_flags & uapi.DISK_LOST, "flags")
        for what, function, *arguments in (
                ("read", disk.read, 0, 4096), ("read of a new block", disk.read, NEW, 4096),
                ("write", disk.write, 0, bytes(4096)), ("new block", disk.write, NEW, bytes(4096)),
                ("flush", disk.data.flush), ("seal", disk.handle.seal),
                ("forget", disk.handle.forget, self.points[0]),
                ("reset", disk.handle.reset), ("disable", disk.handle.disable)):
            found = outcome(function, *arguments)
            ktap.check(found and found[0] == errno.EIO, f"{what}: {found}")


# ---- who sees it first ---------------------------------------------------------------------

def read(disk):
    """Of a block that is cut off."""
    ktap.equal(outcome(disk.read, LAST, 4096), (errno.EIO, None))


def read_across(disk):
    """Of a part that is there and one that is not."""
    ktap.equal(outcome(disk.read, 0, FULL * BLOCK), (errno.EIO, None))


def write(disk):
    """To a block that is still there."""
    ktap.equal(outcome(disk.write, 0, bytes(4096)), (errno.EIO, None))


def new_block(disk):
    """To one that is not there yet."""
    ktap.equal(outcome(disk.write, NEW, bytes(4096)), (errno.EIO, None))


def flush(disk):
    """Without data."""
    ktap.equal(outcome(disk.data.flush), (errno.EIO, None))


def seal(disk):
    """No point comes to be."""
    before = disk.handle.ids()
    ktap.equal(outcome(disk.handle.seal), (errno.EIO, uapi.IO))
    ktap.equal(disk.handle.ids(), before, "points")


def query(disk):
    """Since the newest point."""
    ktap.equal(outcome(disk.handle.changes, disk.handle.ids()[-1]), GAP)


def state(disk):
    """As `track status` asks."""
    ktap.equal(disk.handle.state().gap_reason, uapi.CHANGED_OFFLINE)


def timer(disk):
    """The commit that comes by itself."""
    ktap.eventually(lambda: disk.sysfs("poisoned") == "1", "it is seen", 15)


def detach(disk):
    """Nobody, before the detach."""
    poisoned = disk.sysfs("poisoned")
    if time.monotonic() - disk.prepared >= COMMIT_INTERVAL:
        raise TooLate
    ktap.equal(poisoned, "0", "poisoned")


# ---- what happens to it --------------------------------------------------------------------

def cut(victim):
    """Its last blocks are gone, and the room that it grew by."""
    os.truncate(victim.path, victim.size - 3 * BLOCK)


def cut_ahead(victim):
    """Room that the disk made for itself, and has not used yet."""
    os.truncate(victim.path, os.stat(victim.path).st_size - BLOCK)


def emptied(victim):
    """As > leaves it."""
    os.truncate(victim.path, 0)


def shorter(victim):
    """A new image, by cp."""
    images.command("cp", victim.other, victim.path)


def same_length(victim):
    """Another one of just this length."""
    os.truncate(victim.other, os.stat(victim.path).st_size)
    images.command("cp", victim.other, victim.path)


def longer(victim):
    """One that has more in it."""
    os.truncate(victim.other, max(victim.other.stat().st_size,
                                  victim.path.stat().st_size + BLOCK))
    images.command("cp", victim.other, victim.path)


def overwritten(victim):
    """In place, without a moment at which it is shorter, as rsync --inplace does."""
    with open(victim.path, "r+b") as file:
        file.write(victim.other.read_bytes())


# How many blocks the image has that is written over it.
OTHER = {shorter: 0, same_length: FULL, longer: 2 * FULL, overwritten: FULL}


def prepare(disk, session):
    """What the disk did before."""
    disk.prepared = time.monotonic()
    disk.read(0, 4096)
    if session != "read":
        disk.write(2 * BLOCK, b"3" * 4096)
    if session not in ("read", "begun"):
        disk.write(NEW + BLOCK, b"3" * 4096)
    if session == "flushed":
        disk.data.flush()
        # What that had logged is in place when the next commit begins.
        disk.data.flush()
    if session == "sealed":
        disk.handle.seal()


def restored(victim, kept):
    """A copy from before, with the sidecar that has the gap: what was read meanwhile may have
    been anything."""
    with raw_attached(kept, victim.sidecar, uapi.ATTACH_READ_ONLY) as disk:
        victim.expect_gap(disk)


def after_a_cut(victim):
    """What is left can be read."""
    with victim.attached(closes=True) as disk:
        victim.expect_gap(disk)
        ktap.equal(outcome(disk.read, LAST, 4096), (errno.EIO, None), "what is cut off")
        ktap.equal(outcome(disk.write, NEW, bytes(4096)), (errno.EIO, None), "a new block")
        disk.read(0, 4096)


def after_a_cut_ahead(victim):
    """Everything that was committed is there; nobody knows that."""
    with victim.attached(closes=True) as disk:
        victim.expect_gap(disk)
        disk.read(LAST, 4096)
        disk.write(NEW, b"4" * 4096)
    judge.valid(victim.path)


def after_a_copy(victim):
    """The other image is as good as ever, and the sidecar is not its own."""
    with victim.attached(closes=True) as disk:
        ktap.equal(outcome(disk.handle.changes, victim.points[0]), GAP, "since a point")
        disk.write(NEW, b"4" * 4096)
    judge.valid(victim.path)


def refused(victim):
    """Not a VHDX any more, or one whose log can't be replayed."""
    ktap.expect_errno((errno.EMEDIUMTYPE, errno.EUCLEAN), attach_once, victim.path, victim.sidecar)


def next_attach_of(how, session):
    """See story()."""
    if how is emptied or how is cut and session == "flushed":
        return refused
    if how is cut_ahead:
        return after_a_cut_ahead
    return after_a_cut if how is cut else after_a_copy


def story(how, first, session, where=images.directory):
    """All of it."""
    with where() as directory:
        victim = Victim(make(directory / "disk.vhdx"), directory / "sidecar")
        kept = directory / "kept.vhdx"
        images.command("cp", victim.path, kept)
        if how in OTHER:
            victim.other = make(directory / "other", 2, OTHER[how])
        with victim.attached() as disk, KernelLog() as log:
            prepare(disk, session)
            how(victim)
            found = judge.fingerprint(victim.path)
            first(disk)
            if first is not detach:
                victim.expect_gap(disk)
                said = [text for level, text in log.records() if level <= 3]
                ktap.check(len(said) == 1 and "the container was" in said[0], f"kernel log: {said}")
                victim.expect_lost(disk)
                victim.expect_gap(disk)
        ktap.check(judge.fingerprint(victim.path) == found, "the container was written")
        restored(victim, kept)
        next_attach_of(how, session)(victim)


def tell(how, firsts, sessions):
    """Registers cases."""
    for session in sessions:
        for first in firsts:
            ktap.add(f"{how.__name__}_{session}_{first.__name__}", in_time, story, how, first,
                     session)


tell(cut, (read, read_across, write, new_block, flush, seal, query, state, detach), ("read",))
tell(cut, (read, write, seal, query, timer, detach), ("written",))
tell(cut, (read, new_block, flush, detach), ("flushed",))
tell(cut, (read, query, detach), ("sealed",))
tell(cut_ahead, (read, new_block, query, detach), ("written",))
tell(emptied, (read, query, detach), ("read", "written"))
tell(shorter, (read, write, seal, query, detach), ("read", "written"))
# Whoever is as long as it was is known by its header only.
for one in (same_length, longer, overwritten):
    tell(one, (write, seal, detach), ("read",))
    tell(one, (seal, detach), ("written",))
    # Room is about to be made for the first time: behind the last block, and in the log.
    tell(one, (new_block,), ("begun",))


@ktap.case
def in_the_page_cache():
    """A file system without direct I/O."""
    for first in (read, write, query):
        story(cut, first, "written", lambda: filesystem.mounted("ramfs"))


# ---- a block device -------------------------------------------------------------------------

def shrunk(first, session):
    """As lvreduce would; the victim is on a dm device over a file."""
    with images.directory() as directory, \
            faulty.device(directory / "backing", 16 * MIB) as device:
        make(device.path)
        victim = Victim(pathlib.Path(device.path), directory / "sidecar")
        whole = device.table()
        with victim.attached() as disk:
            prepare(disk, session)
            device.load(f"0 {9 * MIB // 512} linear {device.below} 0")
            found = judge.fingerprint(device.path)
            first(disk)
            if first is not detach:
                victim.expect_gap(disk)
                victim.expect_lost(disk)
        ktap.check(judge.fingerprint(device.path) == found, "the container was written")
        after_a_cut(victim)
        device.load(whole)


for life in ("read", "written"):
    for one in (read, write, seal, query, detach):
        ktap.add(f"shrunk_{life}_{one.__name__}", in_time, shrunk, one, life)


@ktap.case
def grown_device():
    """Its new room is used at once, and is not taken for zeroes; what it holds stays valid."""
    with images.directory() as directory, \
            faulty.device(directory / "backing", 32 * MIB) as device:
        judge.fill(device.path, 0xee, 0, 32 * MIB)
        device.load(f"0 {16 * MIB // 512} linear {device.below} 0")
        make(device.path)
        with judge.Truth(directory / "truth", DISK, device.path) as truth:
            with raw_attached(device.path) as disk:
                at = 10 * MIB
                while not outcome(disk.write, at, b"5" * 4096):
                    truth.write(at, b"5" * 4096)
                    at += BLOCK
                ktap.equal(outcome(disk.write, at, b"5" * 4096), (errno.ENOSPC, None))
                device.load(device.table())
                for offset in range(at, at + 8 * BLOCK, BLOCK):
                    disk.write(offset + 4096, b"6" * 4096)
                    truth.write(offset + 4096, b"6" * 4096)
                disk.data.flush()
                judge.same_disk(disk, truth)
            judge.same_container(device.path, truth)
            with raw_attached(device.path) as disk:
                judge.same_disk(disk, truth)


# ---- a file that grows ----------------------------------------------------------------------

# New blocks after which the room that a disk made for itself is about to be made larger.
UNTIL_IT_GROWS = 16


@ktap.case
def cut_just_before_it_grows():
    """Both wait for one who holds the file: the growth does not make good what was cut off."""
    with images.directory() as directory, \
            faulty.device(directory / "backing", MIB) as slow:
        victim = Victim(make(directory / "disk.vhdx"), directory / "sidecar")
        with victim.attached() as disk, open(slow.path, "rb") as source, \
                mmap.mmap(source.fileno(), 4096, prot=mmap.PROT_READ) as late, \
                open(victim.path, "r+b", buffering=0) as file:
            for number in range(FULL, FULL + UNTIL_IT_GROWS):
                disk.write(number * BLOCK, b"5" * 4096)
            end = os.stat(victim.path).st_size
            steps = ((os.pwrite, file.fileno(), late, end - BLOCK), (cut, victim),
                     (outcome, disk.write, (FULL + UNTIL_IT_GROWS) * BLOCK, b"5" * 4096))
            threads = [threading.Thread(target=step[0], args=step[1:]) for step in steps]
            with mapper.hanging(slow.name, 0):
                for thread in threads:
                    thread.start()
                    time.sleep(1)
                ktap.equal(os.stat(victim.path).st_size, end, "size while it is held")
            for thread in threads:
                thread.join()
            victim.expect_gap(disk)
            victim.expect_lost(disk)


@ktap.case
def copied_over_before_a_session():
    """A full image of the same length, written over ours: it becomes no longer, either."""
    with images.directory() as directory:
        path = make(directory / "disk.vhdx", 1, DISK // BLOCK)
        other = make(directory / "other.vhdx", 2, DISK // BLOCK)
        with raw_attached(path, closes=False) as disk:
            disk.read(0, 4096)
            with open(path, "r+b") as file:
                file.write(other.read_bytes())
            ktap.equal(outcome(disk.write, 0, bytes(4096)), (errno.EIO, None), "write")
        ktap.equal(judge.fingerprint(path), judge.fingerprint(other), "the other image")


@ktap.case
def opened_by_another_program():
    """It says so in one copy of the header, the other one: that is not written over."""
    with images.directory() as directory:
        path = make(directory / "disk.vhdx")
        with raw_attached(path, closes=False) as disk:
            disk.read(0, 4096)
            with vhdxoracle.Editor(path) as edit:
                edit.update_one_header(file_write_guid=uuid.uuid4())
            found = judge.fingerprint(path)
            ktap.equal(outcome(disk.write, 0, bytes(4096)), (errno.EIO, None), "write")
        ktap.check(judge.fingerprint(path) == found, "the container was written")


# ---- a file that grew -----------------------------------------------------------------------

def appended_to(session):
    """What somebody appends is neither damage, nor ours to cut off, nor zero."""
    with images.directory() as directory:
        path = make(directory / "disk.vhdx")
        with judge.Truth(directory / "truth", DISK, path) as truth:
            with raw_attached(path) as disk:
                if session == "written":
                    disk.write(NEW, b"5" * 4096)
                    truth.write(NEW, b"5" * 4096)
                length = os.stat(path).st_size + 5 * BLOCK
                judge.fill(path, 0xee, length - 5 * BLOCK, length)
                for offset in range(NEW + BLOCK, NEW + 4 * BLOCK, BLOCK):
                    disk.write(offset + 8192, b"6" * 4096)
                    truth.write(offset + 8192, b"6" * 4096)
                judge.same_disk(disk, truth)
            ktap.check(os.stat(path).st_size >= length, "it was cut")
            judge.same_container(path, truth)


for life in ("read", "written"):
    ktap.add(f"appended_to_{life}", appended_to, life)


@ktap.case
def ends_with_the_disk():
    """QEMU's fixed images end in the middle of the last block: that is no damage, until they
    end before that."""
    with images.directory() as directory:
        end = DISK - 512 * KIB
        path = images.create(directory / "disk.vhdx", end, BLOCK, fixed=True)
        os.truncate(path, os.stat(path).st_size - 512 * KIB)
        with raw_attached(path, closes=False) as disk:
            disk.write(end - 4096, b"7" * 4096)
            ktap.equal(disk.read(end - 8192, 8192), bytes(4096) + b"7" * 4096, "content")
            os.truncate(path, os.stat(path).st_size - 4096)
            ktap.equal(outcome(disk.read, end - 4096, 4096), (errno.EIO, None))


# ---- tracking -------------------------------------------------------------------------------

@ktap.case
def without_tracking():
    """There is nothing to tell; I/O fails all the same."""
    with images.directory() as directory:
        path = make(directory / "disk.vhdx")
        with raw_attached(path, closes=False) as disk:
            os.truncate(path, os.stat(path).st_size - BLOCK)
            for function in (read, write, flush):
                function(disk)


@ktap.case
def read_only():
    """The sidecar of a disk that is attached read-only stays as it is; questions are refused."""
    with images.directory() as directory:
        victim = Victim(make(directory / "disk.vhdx"), directory / "sidecar")
        before = judge.fingerprint(victim.sidecar)
        with victim.attached(uapi.ATTACH_READ_ONLY, closes=True) as disk:
            cut(victim)
            read(disk)
            victim.expect_gap(disk)
        ktap.check(judge.fingerprint(victim.sidecar) == before, "the sidecar was written")


@ktap.case
def sidecar_hangs():
    """Neither a reader nor a question waits for it without end, and none is answered."""
    with images.directory() as directory, \
            faulty.device(directory / "backing", 16 * MIB) as side, \
            knob.turned("/sys/module/vhdx/parameters/sidecar_timeout_ms", "1000"):
        victim = Victim(make(directory / "disk.vhdx"), side.path)
        with victim.attached() as disk:
            with mapper.hanging(side.name, 0):
                cut(victim)
                begin = time.monotonic()
                read(disk)
                ktap.equal(outcome(disk.handle.changes, victim.points[0]), GAP)
                ktap.check(time.monotonic() - begin < 10, "it took too long")


@ktap.case
def writers_and_readers_at_once():
    """Many are under way when it is cut: all end, and what is there now stays as it is."""
    with images.directory() as directory:
        victim = Victim(make(directory / "disk.vhdx"), directory / "sidecar")
        with victim.attached() as disk:
            fio = ["fio", "--output-format=terse", "--direct=1", "--ioengine=libaio",
                   "--iodepth=16", "--bs=16k", "--time_based", "--runtime=30",
                   f"--filename={disk.node}", "--name=r", "--rw=randrw", "--numjobs=2"]
            with images.process(*fio) as running:
                time.sleep(2)
                os.truncate(victim.path, 0)
                running.wait(timeout=25)
            victim.expect_gap(disk)
            victim.expect_lost(disk)


with udev.asleep():
    ktap.main()
