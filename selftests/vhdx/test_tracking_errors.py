#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_tracking_errors - the sidecar fails, and writes are to fail rather than go unrecorded
#
# Invariant 6 has this exception, for who asks for it; and whoever watches is told, either way.
#
# vm: timeout=600 takes=90
import contextlib
import errno
import os
import pathlib
import select
import socket
import sys
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, faulty, filesystem, images, knob, ktap, mapper, sidecar, uapi, udev  # noqa: E402
from vhdxtest.device import Failure, expect_failure  # noqa: E402
from vhdxtest.disk import attach, attach_once, attached, opened, raw_attached  # noqa: E402
from vhdxtest.images import MIB  # noqa: E402
from vhdxtest.kernel_log import KernelLog  # noqa: E402
from vhdxoracle.ranges import RangeSet  # noqa: E402

SIZE, REGION = 32 * MIB, 4 * MIB
PARAMETERS = pathlib.Path("/sys/module/vhdx/parameters")
FAIL = uapi.ATTACH_FAIL_TRACKING


@contextlib.contextmanager
def erring(below):
    """Writes and flushes of the sidecar fail."""
    below.fail_writes()
    yield
    below.heal()


@contextlib.contextmanager
def hanging(below):
    """They do not end. A disk that was detached meanwhile has left its sidecar open."""
    with knob.turned(PARAMETERS / "sidecar_timeout_ms", "500"), mapper.hanging(below.name):
        yield
    ktap.eventually(lambda: not mapper.is_open(below.name), "the sidecar is closed")


def blocks(disk):
    """What tells the content of each 4 KiB from others. A process that keeps the content itself
    takes seconds to start another one, in User Mode Linux."""
    found = []
    for start in range(0, SIZE, MIB):
        piece = disk.read(start, MIB)
        found += [hash(piece[at:at + 4096]) for at in range(0, MIB, 4096)]
    return found


class Bench:
    """A disk with points, each with what the disk was then, and its sidecar on a device."""

    def __init__(self, path, below):
        self.path, self.below, self.points = path, below, {}

    def attached(self, flags=FAIL, **how):
        """By the ioctl."""
        return raw_attached(self.path, self.below.path, flags, **how)

    def prepare(self):
        """Two points, and a change behind each."""
        with raw_attached(self.path) as disk:
            with opened(self.below.path) as fd:
                self.points[disk.handle.enable(fd)] = blocks(disk)
            disk.write(0, b"a" * 4096)
            self.points[disk.handle.seal()] = blocks(disk)
            disk.write(REGION, b"b" * 4096)

    def expect_all(self, disk):
        """All points are there; what differs since each is in its answer."""
        state = disk.handle.state()
        ktap.equal((state.state, state.gap_reason), (uapi.TRACKING_ON, uapi.NONE), "state")
        now = blocks(disk)
        for point, before in self.points.items():
            told = RangeSet.of_lengths(disk.handle.changes(point))
            differ = RangeSet.of_lengths((number * 4096, 4096) for number in range(len(now))
                                         if now[number] != before[number])
            ktap.check(differ, "nothing has changed: nothing was tested")
            ktap.check(not differ - told, f"not told since {point}: {differ - told}")

    def again(self, flags=FAIL):
        """The sidecar is well, and attached again: it is as if nothing had been."""
        with self.attached(flags) as disk:
            self.expect_all(disk)
            disk.write(5 * REGION, b"z" * 4096)
            self.points[disk.handle.seal()] = blocks(disk)
            disk.write(6 * REGION, b"z" * 4096)
            self.expect_all(disk)


@contextlib.contextmanager
def bench():
    """See Bench."""
    with images.directory() as directory, faulty.device(directory / "backing", 16 * MIB) as below:
        made = Bench(images.create(directory / "disk.vhdx", SIZE, block_size=MIB), below)
        made.prepare()
        yield made


def words(failure):
    """What the driver said."""
    return " ".join(getattr(failure, "__notes__", ()))


def write_fails(disk, offset):
    """And what was there is there still."""
    before = disk.read(offset, 4096)
    ktap.expect_errno(errno.EIO, disk.write, offset, b"F" * 4096)
    ktap.equal(disk.read(offset, 4096), before, f"what is at {offset:#x}")


def expect_stopped(disk, flushes):
    """It is read, and flushed; nothing is written, and nobody needs a full backup."""
    ktap.eventually(lambda: disk.sysfs("tracking") == "off", "tracking is off")
    ktap.equal((disk.sysfs("poisoned"), disk.sysfs("reason")), ("1", "tracking_error"))
    for offset in (0, REGION, 7 * REGION, SIZE - 4096):
        write_fails(disk, offset)
    if flushes:
        disk.data.flush()
    handle = disk.handle
    for what in (handle.seal, handle.disable, handle.reset, handle.enable):
        expect_failure(errno.EIO, uapi.IO, what)


def in_a_first_write(disk, stack, below, how):
    """That begins the session."""
    stack.enter_context(how(below))
    write_fails(disk, 2 * REGION)


def in_a_region(disk, stack, below, how):
    """That is to be set; what was written before is flushed."""
    disk.write(2 * REGION, b"c" * 4096)
    disk.data.flush()
    stack.enter_context(how(below))
    write_fails(disk, 3 * REGION)


def in_a_checkpoint(disk, stack, below, how):
    """Nothing is written meanwhile."""
    with knob.turned(PARAMETERS / "checkpoint_idle_ms", "700"):
        disk.write(2 * REGION, b"c" * 4096)
        stack.enter_context(how(below))
        ktap.eventually(lambda: disk.sysfs("poisoned") == "1", "writes fail")


def in_a_seal(disk, stack, below, how):
    """There is no new point."""
    disk.write(2 * REGION, b"c" * 4096)
    stack.enter_context(how(below))
    ktap.expect_errno((errno.EIO, errno.ETIMEDOUT), disk.handle.seal)


def same_blocks(now, before, other):
    """Each is what it was before, or what it was in another one of these images."""
    return all(is_now in was for is_now, *was in zip(now, before, other))


def stops(where, how, flags, closes):
    """The disk does, and is whole afterwards. A strict one can't be closed, and may lose what was
    not flushed."""
    with bench() as made:
        with contextlib.ExitStack() as stack:
            with made.attached(flags, closes=closes) as disk:
                first = blocks(disk)
                where(disk, stack, made.below, how)
                # A commit may need another header, which a strict sidecar would have to be told of.
                expect_stopped(disk, flushes=not flags & uapi.ATTACH_STRICT)
                before = blocks(disk)
        with made.attached(flags) as disk:
            lost = flags & uapi.ATTACH_STRICT and where is not in_a_region
            ktap.check(same_blocks(blocks(disk), before, first if lost else before),
                       "the disk is another one")
            made.expect_all(disk)
        made.again(flags)


for place in in_a_first_write, in_a_region, in_a_checkpoint, in_a_seal:
    for kind in erring, hanging:
        ktap.add(f"{place.__name__}_{kind.__name__}", stops, place, kind, FAIL, True)
        ktap.add(f"{place.__name__}_{kind.__name__}_strict", stops, place, kind,
                 FAIL | uapi.ATTACH_STRICT, None)


@ktap.case
def in_the_detach():
    """The sidecar does not learn of it, and knows the container all the same."""
    for how in erring, hanging:
        with bench() as made:
            with contextlib.ExitStack() as stack:
                with made.attached() as disk:
                    disk.write(2 * REGION, b"c" * 4096)
                    stack.enter_context(how(made.below))
            made.again()


@ktap.case
def before_the_detach():
    """Tracking was off when the disk was detached: who detaches is told all the same. Not where
    writes failed instead: nothing is missed then."""
    for policy, told in ("continue", True), ("fail", False):
        with bench() as made, contextlib.ExitStack() as stack:
            disk = attach(made.path, "--sidecar", made.below.path, f"--tracking-errors={policy}")
            disk.write(2 * REGION, b"c" * 4096)
            stack.enter_context(erring(made.below))
            with contextlib.suppress(OSError):
                disk.write(3 * REGION, b"d" * 4096)
            ktap.eventually(lambda shown=disk: shown.sysfs("tracking") == "off", "off")
            disk.close()
            said = ctl.run("detach", disk.node).stderr
            ktap.equal("make a full backup" in said, told, said)


def attached_again_too_early(how, number, reason, flags):
    """It is refused, and nothing is lost by it: a log is not replayed yet."""
    with bench() as made:
        with contextlib.ExitStack() as stack:
            with made.attached(flags, closes=None) as disk:
                in_a_region(disk, stack, made.below, how)
            failure = expect_failure(number, reason, attach_once, made.path, made.below.path, flags)
            ktap.check(how is erring or "try again" in words(failure), words(failure))
        with made.attached(flags) as disk:
            made.expect_all(disk)


for flag, suffix in (0, ""), (uapi.ATTACH_STRICT, "_strict"):
    ktap.add(f"attached_again_early_erring{suffix}", attached_again_too_early, erring, errno.EIO,
             uapi.IO, FAIL | flag)
    ktap.add(f"attached_again_early_hanging{suffix}", attached_again_too_early, hanging,
             errno.EBUSY, uapi.IN_USE, FAIL | flag)


@ktap.case
def many_that_wait():
    """For regions: none goes out when they are given up."""
    with bench() as made:
        with contextlib.ExitStack() as stack:
            with made.attached() as disk:
                disk.write(2 * REGION, b"c" * 4096)
                stack.enter_context(hanging(made.below))
                offsets = [n * REGION // 2 + 8192 for n in range(6, SIZE // REGION * 2)]
                children = [os.fork() or os._exit(tried(disk, offset)) for offset in offsets]
                ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
                ktap.equal(ended, [errno.EIO] * len(offsets), "how they ended")
                for offset in offsets:
                    ktap.equal(disk.read(offset, 4096), bytes(4096), f"at {offset:#x}")
        made.again()


def tried(disk, offset):
    """The errno of a write, in a child."""
    try:
        disk.write(offset, b"F" * 4096)
    except OSError as error:
        return error.errno
    return 0


@ktap.case
def an_attach_without_it():
    """Would lose the history with its first write: it is refused, and goes on without the flag."""
    with bench() as made:
        made.below.fail_all()
        try:
            with made.attached():
                raise AssertionError("it was attached")
        except Failure as failure:
            ktap.check("sidecar" in words(failure), failure)
        with made.attached(0) as disk:
            ktap.equal(disk.sysfs("tracking"), "off", "tracking")
        made.below.heal()
        made.again()


@ktap.case
def no_room_to_begin():
    """A point that was not issued is to be dropped, and the sidecar's file system is full: who
    writes is told that there is no room, and whose it is; with room it goes on."""
    with images.container(SIZE, MIB) as path, filesystem.mounted("tmpfs", 2 * MIB) as where, \
            knob.turned(PARAMETERS / "sidecar_timeout_ms", "200"):
        lrct = where / "lrct"
        with attached(path, "--track", "--sidecar", lrct):
            pass
        sidecar.replace(lrct, [sidecar.Delta({}, 0, 0)] * 2, pending=True)
        filesystem.fill_up(where / "hog")
        with attached(path, "--sidecar", lrct, "--tracking-errors=fail") as disk:
            with KernelLog() as log:
                for _ in range(2):
                    ktap.expect_errno(errno.ENOSPC, disk.write, 0, b"x" * 4096)
                said = [text for _, text in log.records() if "writes fail until the sidecar has room" in text]
            ktap.check(len(said) == 1 and said[0].endswith(f": {lrct}"), said)
            expect_failure(errno.ENOSPC, uapi.HOST_FULL, disk.handle.seal)
            for words in (("seal",), ("track", "disable")):
                refused = ctl.run(*words, disk.node, status=ctl.FAILED).stderr
                ktap.check(f"sidecar: the file system that it lives on is full: make room there ({lrct})"
                           in refused, refused)
            (where / "hog").unlink()
            disk.write(0, b"x" * 4096)
            disk.handle.seal()


@ktap.case
def by_the_command():
    with images.container(SIZE, MIB) as path:
        for options, shown in (((), "continue"), (("--tracking-errors=continue",), "continue"),
                               (("--tracking-errors=fail",), "fail")):
            with attached(path, "--track", *options) as disk:
                ktap.equal(disk.sysfs("tracking_errors"), shown, options)
                disk.write(0, b"x" * 4096)
        ctl.run("attach", "--tracking-errors=perhaps", path, status=2)
        ctl.run("attach", "--tracking-errors=fail", "--no-track", path, status=2)


@contextlib.contextmanager
def uevents():
    """A function: the properties of each event since the last call."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 15) as netlink:
        netlink.bind((0, 1))
        netlink.setblocking(False)

        def came():
            while True:
                try:
                    lines = netlink.recv(8192).decode().split("\0")
                except BlockingIOError:
                    return
                yield dict(line.split("=", 1) for line in lines if "=" in line)
        yield came


def expect_told(disk, came, log, reason, state, message):
    """All four ways."""
    found = []

    def is_told():
        found.extend(event for event in came() if "VHDX_TRACKING" in event)
        return found
    ktap.eventually(is_told, "an event")
    event = found[0]
    ktap.equal((event["ACTION"], event["DEVNAME"], event["VHDX_TRACKING"], event["VHDX_REASON"]),
               ("change", f"vhdx{disk.index}", state, reason), "event")
    ktap.equal((disk.sysfs("tracking"), disk.sysfs("reason")), (state, reason), "sysfs")
    poll = select.poll()
    poll.register(disk.handle.fd, select.POLLPRI)
    ktap.check(poll.poll(5000), "poll says nothing")
    texts = [text for _, text in log.records()]
    ktap.check(not message or any(message in text for text in texts), texts)
    disk.handle.state()
    ktap.check(not poll.poll(0), "poll says it twice")


@ktap.case
def who_watches_is_told():
    """An event, sysfs, poll and the kernel's log: of a sidecar that failed, and of a gap."""
    for flags, message in ((0, "next backup must be a full one"), (FAIL, "its points are kept")):
        with bench() as made, uevents() as came, KernelLog() as log:
            with contextlib.ExitStack() as stack:
                with made.attached(flags) as disk:
                    disk.write(2 * REGION, b"c" * 4096)
                    disk.handle.seal()
                    disk.handle.state()
                    ktap.check(not any("VHDX_TRACKING" in event for event in came()), "too early")
                    stack.enter_context(erring(made.below))
                    with contextlib.suppress(OSError):
                        disk.write(3 * REGION, b"c" * 4096)
                    expect_told(disk, came, log, "tracking_error", "off", message)
    with bench() as made, uevents() as came, KernelLog() as log, made.attached() as disk:
        disk.handle.state()
        disk.handle.disable()
        expect_told(disk, came, log, "disabled", "disabled", None)


with udev.asleep():
    ktap.main()
