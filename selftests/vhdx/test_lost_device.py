#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_lost_device - what a container, or a sidecar, lies on goes away, hangs, is full, is another one
#
# Whatever it is, every request ends as soon as it can, the disk can be asked, others go on, and it
# can be detached; nobody is told "no change", and nothing that was flushed is lost.
#
# vm: on=uml full=6.1:removed_*+suspended*+file_server* long=uml-lockdep takes=18
import contextlib
import ctypes
import errno
import fcntl
import os
import pathlib
import signal
import struct
import sys
import threading
import time
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import faulty, filesystem, images, judge, ktap, mapper, scsi  # noqa: E402
from vhdxtest import slow, uapi, udev  # noqa: E402
from vhdxtest.device import Control, ioctl, outcome  # noqa: E402
from vhdxtest.disk import attached, attach_once, opened, raw_attached, uses_of_the_driver  # noqa: E402
from vhdxtest.images import MIB  # noqa: E402

SIZE = 32 * MIB
# What may take a moment, and what may not.
SOON, AT_ONCE = 10, 2


def took(function, *arguments):
    """Seconds."""
    begin = time.monotonic()
    function(*arguments)
    return time.monotonic() - begin


def in_time(what, limit, function, *arguments):
    """It ends, whatever it returns."""
    seconds = took(function, *arguments)
    ktap.check(seconds < limit, f"{what} took {seconds:.1f} s")


def can_be_asked(disk):
    """At once, whatever its devices do."""
    for what in (disk.handle.info, disk.handle.state, disk.handle.points, disk.handle.layers):
        in_time(what.__name__, AT_ONCE, outcome, what)
    for name in os.listdir(f"/sys/block/vhdx{disk.index}/vhdx"):
        path = f"/sys/block/vhdx{disk.index}/vhdx/{name}"
        if os.path.isfile(path):
            in_time(name, AT_ONCE, pathlib.Path(path).read_bytes)


class Writers:
    """Threads that write a disk until it fails: one to what is there, one to new blocks."""

    def __init__(self, disk, blocks):
        self.disk, self.failed = disk, []
        self.threads = [threading.Thread(target=self._write, args=(first, blocks))
                        for first in (0, blocks)]

    def _write(self, first, blocks):
        number = 0
        while not self.failed or time.monotonic() < self.failed[0] + 1:
            found = outcome(self.disk.write, (first + number % blocks) * MIB, b"w" * 4096)
            if found:
                self.failed.append(time.monotonic())
                return
            number += 1

    @contextlib.contextmanager
    def until_all_fail(self):
        """They do, soon after what happens here."""
        for thread in self.threads:
            thread.start()
        time.sleep(0.2)
        try:
            yield
        finally:
            for thread in self.threads:
                thread.join(SOON)
        ktap.check(not any(thread.is_alive() for thread in self.threads), "a write hangs")


def never_says_no_change(disk, point, written):
    """What was written is in the answer, or there is none."""
    try:
        told = disk.handle.changes(point)
    except OSError:
        return
    for offset in written:
        ktap.check(any(at <= offset < at + length for at, length in told),
                   f"[{offset}] was written, and is not in {told}")


# ---- it is taken away ---------------------------------------------------------------------------

def removed(under_load):
    """The disk fails, and lets go of the device: its driver can be unloaded."""
    with images.directory() as directory, scsi.disk() as device:
        images.create(device, SIZE, MIB, content=[(0, b"o" * 8 * MIB)])
        with raw_attached(device, closes=None) as disk:
            with opened(directory / "sidecar", os.O_RDWR | os.O_CREAT) as fd:
                disk.handle.enable(fd)
            point = disk.handle.ids()[0]
            disk.write(0, b"x" * 4096)
            disk.data.flush()
            if under_load:
                with Writers(disk, 8).until_all_fail():
                    scsi.remove(device)
            else:
                scsi.remove(device)
            for what in (disk.data.flush, disk.handle.seal):
                in_time(what.__name__, SOON, outcome, what)
            ktap.check(outcome(disk.write, MIB, b"y" * 4096), "a write succeeds")
            ktap.check(outcome(disk.read, 0, 4096), "a read succeeds")
            can_be_asked(disk)
            never_says_no_change(disk, point, (0,))
            begin = time.monotonic()
        ktap.check(time.monotonic() - begin < SOON, "the detach took too long")


ktap.add("removed_under_load", removed, True)
ktap.add("removed_at_rest", removed, False)


@ktap.case
def removed_under_a_sidecar():
    """Tracking ends, and says so; the disk goes on."""
    with images.directory() as directory, scsi.disk() as device:
        path = images.create(directory / "disk.vhdx", SIZE, MIB)
        with raw_attached(path) as disk:
            with opened(device) as fd:
                disk.handle.enable(fd)
            point = disk.handle.ids()[0]
            disk.write(0, b"x" * 4096)
            scsi.remove(device)
            # The regions of these are set there.
            for block in range(0, 32, 4):
                disk.write(block * MIB, b"y" * 4096)
            outcome(disk.handle.seal)
            never_says_no_change(disk, point, range(0, 32 * MIB, 4 * MIB))
            ktap.equal(disk.handle.state().gap_reason, uapi.TRACKING_ERROR, "reason")
            can_be_asked(disk)
            disk.data.flush()
        judge.valid(path)


EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2


@ktap.case
def file_system_shut_down():
    """As after an error of its device: the file of the container is there, and fails."""
    with filesystem.mounted("ext4", 96 * MIB) as where:
        path = images.create(where / "disk.vhdx", SIZE, MIB, content=[(0, b"o" * 4 * MIB)])
        with raw_attached(path, closes=None) as disk:
            disk.write(0, b"x" * 4096)
            disk.data.flush()
            with Writers(disk, 4).until_all_fail(), opened(where, os.O_RDONLY) as fd:
                fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("=I", NO_LOG_FLUSH))
            in_time("a flush", SOON, outcome, disk.data.flush)
            can_be_asked(disk)


# ---- it hangs -----------------------------------------------------------------------------------

def child_of(function, *arguments):
    """A process that is in it."""
    child = os.fork()
    if not child:
        try:
            function(*arguments)
        finally:
            os._exit(0)
    return child


def dies(child):
    """As soon as it is killed; False: it did not."""
    os.kill(child, signal.SIGKILL)
    end = time.monotonic() + AT_ONCE
    while time.monotonic() < end:
        pid, _ = os.waitpid(child, os.WNOHANG)
        if pid:
            return True
        time.sleep(0.02)
    return False


def others_go_on(other):
    """They are written, sealed, attached and detached."""
    in_time("a write of another disk", AT_ONCE, other.write, 0, b"o" * 4096)
    in_time("a seal of another disk", AT_ONCE, other.handle.seal)
    with images.container() as path:
        in_time("another attach and detach", SOON, attach_once, path)


@contextlib.contextmanager
def one_that_can_hang():
    """(disk on a dm device, the device, another disk)"""
    with images.directory() as directory, slow.device(directory / "backing", 64 * MIB) as below, \
            images.container() as path, attached(path, "--track") as other:
        images.create(below.path, SIZE, MIB, content=[(0, b"o" * 4 * MIB)])
        with raw_attached(below.path) as disk:
            with opened(directory / "sidecar", os.O_RDWR | os.O_CREAT) as fd:
                disk.handle.enable(fd)
            yield disk, below, other


@ktap.case
def suspended_container():
    """Writes, flushes and seals wait; all else goes on. Then they do, and nothing is lost."""
    with one_that_can_hang() as (disk, below, other):
        point = disk.handle.ids()[0]
        disk.write(0, b"x" * 4096)
        threads = [threading.Thread(target=outcome, args=step) for step in (
            (disk.write, MIB, b"1" * 4096), (disk.write, 20 * MIB, b"2" * 4096),
            (disk.data.flush,), (disk.read, 2 * MIB, 4096))]
        with mapper.hanging(below.name):
            for thread in threads:
                thread.start()
            sealing = child_of(disk.handle.seal)
            time.sleep(0.5)
            can_be_asked(disk)
            in_time("a question", AT_ONCE, disk.handle.changes, point)
            others_go_on(other)
            with Control() as control:
                in_time("a detach of what is open", AT_ONCE, outcome, control.detach, disk.index)
            died = dies(sealing)
            ktap.check(all(thread.is_alive() for thread in threads), "it does not hang")
        for thread in threads:
            thread.join(SOON)
        ktap.check(not any(thread.is_alive() for thread in threads), "it goes on hanging")
        ktap.check(died, "who seals could not be killed")
        for offset, what in ((0, b"x"), (MIB, b"1"), (20 * MIB, b"2")):
            ktap.equal(disk.read(offset, 4096), what * 4096, f"content at {offset}")
        never_says_no_change(disk, point, (0, MIB, 20 * MIB))


@ktap.case
def suspended_in_a_detach():
    """Who detaches can be killed, and the disk goes all the same; nobody else waits for it."""
    with images.directory() as directory, slow.device(directory / "backing", 64 * MIB) as below, \
            images.container() as path, attached(path, "--track") as other, Control() as control, \
            udev.asleep():
        images.create(below.path, SIZE, MIB)
        with opened(below.path) as fd:
            index = control.attach(fd, index=7).index
        with opened(f"/dev/vhdx{index}") as fd:
            os.pwrite(fd, b"x" * 4096, 0)
            os.fsync(fd)
        with mapper.hanging(below.name):
            detaching = child_of(control.detach, index)
            time.sleep(0.5)
            others_go_on(other)
            with images.container() as second, opened(second) as fd:
                ktap.expect_errno(errno.EBUSY, control.attach, fd, index=index)
            ktap.expect_errno(errno.ENODEV, control.detach, index)
            died = dies(detaching)
        ktap.check(died, "who detaches could not be killed")
        ktap.eventually(lambda: not os.path.exists(f"/sys/block/vhdx{index}"), "it is gone")

        def again():
            with raw_attached(below.path, index=index) as disk:
                ktap.equal(disk.read(0, 4096), b"x" * 4096, "content")
            return True
        ktap.eventually(lambda: not outcome(again), "it is attached again")
        judge.valid(below.path)


def said_of_a_detach(control, index):
    """Why not."""
    message = ctypes.create_string_buffer(256)
    ktap.check(ioctl(control.fd, uapi.DETACH, uapi.Detach(
        index=index, message=ctypes.addressof(message), message_capacity=len(message))),
        "it was detached")
    return message.value.decode()


@contextlib.contextmanager
def killed_in_an_attach(path, hanging):
    """(control, open container, uses of the driver before): who attaches the container, which hangs
    meanwhile, is killed. In the end nothing is attached, and it can be."""
    with images.container() as other_path, attached(other_path, "--track") as other, \
            Control() as control:
        # Its node is open from now on.
        other.write(0, b"o" * 4096)
        uses = uses_of_the_driver()
        with opened(path) as fd, hanging:
            attaching = child_of(lambda: control.attach(fd, index=7))
            time.sleep(0.5)
            others_go_on(other)
            ktap.check(dies(attaching), "who attaches could not be killed")
            yield control, fd, uses
        ktap.eventually(lambda: uses_of_the_driver() == uses, "it has ended")
        ktap.check(not os.path.exists("/sys/block/vhdx7"), "a disk is left")
    with raw_attached(path, index=7) as disk:
        ktap.equal(disk.read(0, 4096), b"o" * 4096, "content")
    judge.valid(path)


def keeps_what_it_has(control, fd):
    """An attach that goes on without who wanted it: its file, and its index."""
    ktap.expect_errno(errno.EBUSY, control.attach, fd, index=8)
    with images.container() as second, opened(second) as found:
        ktap.expect_errno(errno.EBUSY, control.attach, found, index=7)


@ktap.case
def suspended_in_an_attach():
    """Who attaches can be killed; nobody else waits for it."""
    with images.directory() as directory, slow.device(directory / "backing", 64 * MIB) as below:
        images.create(below.path, SIZE, MIB, content=[(0, b"o" * MIB)])
        with killed_in_an_attach(below.path, mapper.hanging(below.name)) as (control, fd, _):
            keeps_what_it_has(control, fd)
            said = said_of_a_detach(control, 7)
            ktap.check("is being attached or detached" in said, said)


@ktap.case
def suspended_as_partitions_are_read():
    """The same at the end, when the disk is there already: it goes again."""
    with images.directory() as directory, slow.device(directory / "backing", 64 * MIB) as below, \
            mapper.mapped("payload", f"0 {below.size // 512} linear {below.path} 0") as payload:
        images.create(below.path, SIZE, MIB, content=[(0, b"o" * MIB)])
        # Another device on the same one does not see what is in this one's page cache.
        with opened(below.path) as fd:
            os.fsync(fd)
        content = pathlib.Path(below.path).read_bytes()
        start, end = content.index(b"o" * MIB) // 512, below.size // 512
        behind = start + MIB // 512
        with mapper.mapped("container", f"0 {start} linear {below.path} 0\n"
                           f"{start} {MIB // 512} linear {payload} {start}\n"
                           f"{behind} {end - behind} linear {below.path} {behind}") as container, \
                killed_in_an_attach(container, mapper.hanging("payload")) as (control, fd, _):
            ktap.check(os.path.exists("/sys/block/vhdx7"), "no disk: nothing was tested")
            keeps_what_it_has(control, fd)


@contextlib.contextmanager
def stopped(name):
    """The program meanwhile does nothing."""
    images.command("pkill", "-STOP", "-x", name)
    try:
        yield
    finally:
        images.command("pkill", "-CONT", "-x", name)


@ktap.case
def file_server_in_an_attach():
    """The same of a file whose server does not answer, as of FUSE or on a network. It need not be
    waited for: what was asked is taken back."""
    with filesystem.mounted("ntfs-3g", 96 * MIB) as where:
        path = images.create(where / "disk.vhdx", SIZE, MIB, content=[(0, b"o" * MIB)])
        with killed_in_an_attach(path, stopped("mount.ntfs-3g")) as (_, _, uses):
            ktap.eventually(lambda: uses_of_the_driver() == uses, "it has ended", AT_ONCE)


# ---- it is another one, or full -----------------------------------------------------------------

@ktap.case
def other_device():
    """Its table leads to another image: that is not written, and nobody is told "no change". Unless
    it comes while something is being written, or cleared ahead: nothing is, and all of it was."""
    size = 32 * MIB
    with images.directory() as directory, \
            faulty.device(directory / "backing", size) as device, \
            images.blank_device(size) as second:
        images.create(device.path, SIZE, MIB, seed=1, content=[(0, b"o" * 4 * MIB)])
        images.create(second, SIZE, MIB, seed=2, content=[(0, b"p" * 4 * MIB)])
        found = judge.fingerprint(second)
        with raw_attached(device.path, closes=False) as disk:
            with opened(directory / "sidecar", os.O_RDWR | os.O_CREAT) as fd:
                disk.handle.enable(fd)
            point = disk.handle.ids()[0]
            disk.write(8 * MIB, b"x" * 4096)
            disk.data.flush()
            # This one begins when what the other one logged is in place.
            disk.data.flush()
            device.load(f"0 {device.size // 512} linear {second} 0")
            ktap.equal(outcome(disk.handle.seal), (errno.EIO, uapi.IO), "seal")
            ktap.check(outcome(disk.write, 9 * MIB, b"y" * 4096), "a new block is written")
            ktap.equal(outcome(disk.handle.changes, point),
                       (errno.ESTALE, uapi.CHANGED_OFFLINE), "changes")
        ktap.check(judge.fingerprint(second) == found, "the other image was written")


@ktap.case
def thin_device_is_full():
    """A device that has no room for what was never written there: as a thin volume. What has room is
    written still; what was flushed is there afterwards."""
    with filesystem.mounted("ext4", 48 * MIB) as where:
        with images.loop(where / "backing", size=96 * MIB) as device:
            images.create(device, 64 * MIB, MIB)
            with judge.Truth(where.parent / "truth", 64 * MIB) as truth:
                with raw_attached(device, closes=None) as disk:
                    for block in range(4):
                        disk.write(block * MIB, b"a" * 4096)
                        truth.write(block * MIB, b"a" * 4096)
                    disk.data.flush()
                    filesystem.fill_up(where / "hog")
                    failed = [block for block in range(4, 64)
                              if outcome(disk.write, block * MIB, b"b" * MIB)]
                    ktap.check(failed, "it is never full")
                    disk.write(3 * MIB, b"d" * 4096)
                    truth.write(3 * MIB, b"d" * 4096)
                    disk.data.flush()
                    judge.same_disk(disk, truth)
                    ktap.diag(f"{len(failed)} blocks failed, poisoned: {disk.sysfs('poisoned')}")
                    can_be_asked(disk)
                (where / "hog").unlink()
                with raw_attached(device) as disk:
                    judge.same_disk(disk, truth)
                    disk.write(60 * MIB, b"c" * 4096)
                judge.valid(device)


with udev.asleep():
    ktap.main()
