#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_tracking_seal - one point on several disks, at one instant, or none at all
#
# vm: disk=64M timeout=300 long=uml-lockdep,debug on=uml,6.1:under_way+order*+nothing*+labels full=6.1:under_way*+second_cannot*,6.12:under_way+more_under*+order*,newest:under_way+order* takes=60
import contextlib
import ctypes
import errno
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, dio, faulty, filesystem, images, judge, knob  # noqa: E402
from vhdxtest import ktap, mapper, slow  # noqa: E402
from vhdxtest import uapi, udev  # noqa: E402
from vhdxtest.device import Control, Failure, Handle  # noqa: E402
from vhdxtest.device import expect_failure, ioctl, label_array  # noqa: E402
from vhdxtest.disk import attached, opened, raw_attached  # noqa: E402
from vhdxtest.images import KIB, MIB  # noqa: E402
import vhdxoracle  # noqa: E402
from vhdxoracle.ranges import RangeSet  # noqa: E402

UNIT = 4 * KIB
PARAMETERS = "/sys/module/vhdx/parameters/"


@contextlib.contextmanager
def disks(count, size=64 * MIB, options=("--track", "--unit", UNIT)):
    """Several tracked disks."""
    with images.directory() as directory, contextlib.ExitStack() as stack:
        paths = [images.create(directory / f"{number}.vhdx", size, block_size=MIB)
                 for number in range(count)]
        yield [stack.enter_context(attached(path, *options)) for path in paths]


def units(ranges):
    """The numbers of the units in an answer."""
    return {unit for offset, length in ranges
            for unit in range(offset // UNIT, (offset + length) // UNIT)}


def write_across(first, second, numbers, stop):
    """Unit after unit: written on one disk, and then on the other one."""
    data = dio.aligned(UNIT)
    data[:] = os.urandom(UNIT)
    with dio.Direct(first.node, write=True) as one, dio.Direct(second.node, write=True) as two:
        for number in numbers:
            if stop.is_set():
                break
            os.pwritev(one.fd, [data], number * UNIT)
            os.pwritev(two.fd, [data], number * UNIT)


@ktap.case
def order_across_disks():
    """What follows on another disk is never before the point without what it follows."""
    with disks(2) as (first, second):
        start = [disk.handle.ids()[0] for disk in (first, second)]
        stop = threading.Event()
        # Not so close that one writer's coalesced ranges hide another's.
        lanes = [threading.Thread(target=write_across,
                                  args=(first, second, range(lane, 16384, 4), stop))
                 for lane in range(4)]
        for lane in lanes:
            lane.start()
        points = []
        while any(lane.is_alive() for lane in lanes) and len(points) < 25:
            time.sleep(0.1)
            points.append(Control.seal_of(first.handle, second.handle))
        stop.set()
        for lane in lanes:
            lane.join()
        written = units(second.handle.changes(start[1]))
        ktap.diag(f"{len(written)} units, {len(points)} points")
        split = 0
        for one, two in points:
            before = units(first.handle.changes(start[0], one))
            after = units(first.handle.changes(one))
            follow = units(second.handle.changes(start[1], two))
            split += bool(before) and bool(after)
            lost = follow - before
            ktap.check(not lost, f"units {sorted(lost)[:5]} are before {two} on the second disk, "
                                 f"and not before {one} on the first")
            late = follow & after
            ktap.check(not late, f"units {sorted(late)[:5]} had ended on the first disk before "
                                 f"{one} and are told of behind it")
        ktap.check(split > 3, f"only {split} points had writes on both sides: nothing was tested")


def refuse(handles, number, failed, reason, known):
    """A seal fails as said; every disk keeps its points, and what was written."""
    before = [(disk.ids(), disk.changes(disk.ids()[0])) for disk in known]
    fds = (ctypes.c_int32 * len(handles))(*(getattr(one, "fd", one) for one in handles))
    ids = (uapi.PointId * len(handles))()
    with Control() as control:
        argument = uapi.Seal(fds=ctypes.addressof(fds), ids=ctypes.addressof(ids),
                             count=len(handles), reason=77, failed=77)
        ktap.equal(ioctl(control.fd, uapi.SEAL, argument), number, "errno")
    if number != errno.ENODEV:
        ktap.equal(argument.failed, failed, "failed")
        ktap.equal(uapi.REASONS[argument.reason], uapi.REASONS[reason], "reason")
    ktap.check(not any(bytes(ids)), "an id was given out")
    ktap.equal([(disk.ids(), disk.changes(disk.ids()[0])) for disk in known], before,
               "points and changes")


@ktap.case
def second_is_read_only():
    with disks(1) as (disk,), images.directory() as directory:
        path = images.create(directory / "ro.vhdx", 8 * MIB, block_size=MIB)
        with attached(path, "--track"):
            pass
        disk.write(MIB, b"x" * UNIT)
        with attached(path, "--read-only") as frozen:
            refuse([disk.handle, frozen.handle], errno.EROFS, 1, uapi.READ_ONLY,
                   [disk.handle, frozen.handle])
            refuse([frozen.handle, disk.handle], errno.EROFS, 0, uapi.READ_ONLY,
                   [disk.handle, frozen.handle])
        disk.write(2 * MIB, b"x" * UNIT)
        ktap.equal(disk.handle.changes(disk.handle.ids()[0]), [(MIB, UNIT), (2 * MIB, UNIT)])


@ktap.case
def second_is_not_tracked():
    with disks(1) as (disk,), images.directory() as directory:
        path = images.create(directory / "plain.vhdx", 8 * MIB, block_size=MIB)
        disk.write(MIB, b"x" * UNIT)
        with attached(path) as plain:
            refuse([disk.handle, plain.handle], errno.EOPNOTSUPP, 1, uapi.DISABLED,
                   [disk.handle])


@ktap.case
def second_is_disabled():
    with disks(2) as (one, two):
        one.write(MIB, b"x" * UNIT)
        two.handle.disable()
        refuse([one.handle, two.handle], errno.EOPNOTSUPP, 1, uapi.DISABLED, [one.handle])


@ktap.case
def second_is_detached():
    with disks(1) as (disk,), images.directory() as directory:
        path = images.create(directory / "gone.vhdx", 8 * MIB, block_size=MIB)
        with attached(path, "--track") as gone:
            handle = Handle(gone.char, write=True)
        with handle:
            disk.write(MIB, b"x" * UNIT)
            refuse([disk.handle, handle], errno.ENODEV, 1, uapi.NONE, [disk.handle])


@ktap.case
def bad_descriptors():
    with disks(1) as (disk,):
        disk.write(MIB, b"x" * UNIT)
        known = [disk.handle]
        with Handle(disk.char) as reading, opened("/dev/null") as null:
            refuse([disk.handle, reading], errno.EBADF, 1, uapi.ARGUMENT, known)
            refuse([disk.handle, null], errno.EBADF, 1, uapi.ARGUMENT, known)
            refuse([disk.handle, -1], errno.EBADF, 1, uapi.ARGUMENT, known)
            refuse([disk.handle, disk.handle], errno.EINVAL, 1, uapi.ARGUMENT, known)
            with Handle(disk.char, write=True) as again:
                refuse([disk.handle, again], errno.EINVAL, 1, uapi.ARGUMENT, known)


@ktap.case
def second_cannot_write_its_sidecar():
    """No point anywhere; the first disk has lost nothing, the second one says so."""
    device = os.environ["VHDX_DISK0"]
    images.command("blkdiscard", "--zeroout", device)
    with disks(1) as (disk,), images.directory() as directory, \
            faulty.over(device) as sidecar:
        path = images.create(directory / "two.vhdx", 8 * MIB, block_size=MIB)
        with attached(path, "--track", "--sidecar", sidecar.path) as other:
            first = other.handle.ids()[0]
            disk.write(MIB, b"x" * UNIT)
            other.write(0, b"x" * UNIT)
            sidecar.fail_all()
            refuse([disk.handle, other.handle], errno.EIO, 1, uapi.IO, [disk.handle])
            sidecar.heal()
            disk.write(2 * MIB, b"x" * UNIT)
            ktap.equal(disk.handle.changes(disk.handle.ids()[0]), [(MIB, UNIT), (2 * MIB, UNIT)])
            # Invariant 6: the disk goes on; invariant 2: nobody is told that it did not change.
            other.write(MIB, b"y" * UNIT)
            ktap.equal(other.read(MIB, UNIT), b"y" * UNIT, "what was written")
            expect_failure(errno.ESTALE, uapi.TRACKING_ERROR, other.handle.changes, first)
            disk.handle.seal()
        # The point must not come back to life with a sidecar that is well again.
        with attached(path, "--sidecar", sidecar.path) as other:
            try:
                other.handle.changes(first)
                raise AssertionError("a query is answered across a lost sidecar")
            except Failure as failure:
                ktap.check(failure.errno == errno.ESTALE, failure)


@ktap.case
def room_in_the_sidecar():
    """Out of room: ENOSPC, nothing lost, and forgetting makes room again."""
    with images.directory() as directory:
        path = images.create(directory / "disk.vhdx", 256 * MIB, block_size=MIB)
        with images.blank_device(256 * KIB) as device, raw_attached(path) as disk:
            with opened(device) as fd:
                points = [disk.handle.enable(fd, UNIT)]
            written = []
            number = 0
            with dio.Direct(disk.node, write=True) as data:
                while True:
                    # Each delta costs a block of its index and one for each leaf of 128 MiB.
                    offset = number % 2 * 128 * MIB + number * UNIT
                    data.write(offset, b"x" * UNIT)
                    written.append((offset, UNIT))
                    number += 1
                    try:
                        points.append(disk.handle.seal(f"{number}"))
                    except Failure as failure:
                        ktap.equal((failure.errno, failure.reason),
                                   (errno.ENOSPC, uapi.NO_SPACE))
                        break
            ktap.diag(f"{len(points)} points fit into {256 * KIB} bytes")
            ktap.check(len(points) > 10, "no room for a handful of points")
            everything = RangeSet.of_lengths(written).lengths()
            ktap.equal(disk.handle.ids(), points, "points")
            ktap.equal(disk.handle.changes(points[0]), everything, "changes")
            ktap.equal(disk.handle.changes(points[-1]), written[-1:], "changes since the last")
            for point in points[1:-1:2]:
                disk.handle.forget(point)
            disk.handle.seal("again")
            ktap.equal(disk.handle.changes(points[0]), everything, "changes")
            ktap.equal(disk.sysfs("reason"), "none", "reason")


@ktap.case
def full_file_system():
    """That of the sidecar: forgetting points is no help, and the reason says so."""
    with images.directory() as directory, filesystem.mounted("tmpfs", MIB) as where:
        path = images.create(directory / "disk.vhdx", 64 * MIB, block_size=MIB)
        with raw_attached(path) as disk:
            with opened(where / "sidecar", os.O_RDWR | os.O_CREAT) as fd:
                points = [disk.handle.enable(fd, UNIT)]
            images.command("dd", "if=/dev/zero", f"of={where / 'filler'}", "bs=4k", check=False)
            written = []
            while len(points) < 100:
                written.append((2 * len(written) * UNIT, UNIT))
                disk.write(written[-1][0], b"x" * UNIT)
                try:
                    points.append(disk.handle.seal())
                except Failure as failure:
                    ktap.equal((failure.errno, failure.reason), (errno.ENOSPC, uapi.HOST_FULL))
                    break
            ktap.check(len(points) < 100, "the file system is not full")
            said = ctl.run("seal", disk.node, status=ctl.FAILED).stderr
            ktap.check(f"full: make room there ({where / 'sidecar'})" in said, said)
            ktap.equal(disk.handle.ids(), points, "points")
            ktap.equal(disk.handle.changes(points[0]), written, "changes")
            (where / "filler").unlink()
            # As the message says.
            points.append(disk.handle.seal())
            ktap.equal(disk.handle.changes(*points[-2:]), written[-1:], "the last delta")
            ktap.equal(disk.sysfs("reason"), "none", "reason")


@ktap.case
def labels():
    with disks(2) as (one, two):
        for label in ("", "x", "täglich 07:00", "ü" * 32, "y" * 64):
            before = time.time_ns()
            ids = Control.seal_of(one.handle, two.handle, label=label)
            after = time.time_ns()
            ktap.check(ids[0] != ids[1], "two disks have the same id")
            for disk, point in zip((one, two), ids):
                newest = disk.handle.points()[-1]
                ktap.equal((newest.id, newest.text), (point, label))
                ktap.check(before <= newest.time_ns <= after, "the time is not that of the seal")
                ktap.equal(disk.handle.state().most_recent_id, point, "most_recent_id")


@ktap.case
def nothing_is_left_to_replay():
    """At a point the container is complete in place, and its log empty: also of the second
    one, which finds a log in use, of what is written after it, and of what nobody flushed."""
    with disks(1) as (disk,), images.directory() as scratch:
        with judge.Truth(scratch / "truth", 64 * MIB) as truth:
            for number in range(3):
                for block in range(4):
                    offset = (4 * number + block) * MIB
                    disk.write(offset, b"s" * UNIT)
                    truth.write(offset, b"s" * UNIT)
                    if block < 3:
                        disk.data.flush()
                disk.handle.seal()
                judge.snapshot(disk.container, scratch / "copy.vhdx")
                judge.valid(scratch / "copy.vhdx", clean=True)
                judge.same_to_oracle(scratch / "copy.vhdx", truth)


@ktap.case
def bad_labels():
    with disks(1) as (disk,), Control() as control:
        fds = (ctypes.c_int32 * 1)(disk.handle.fd)
        ids = (uapi.PointId * 1)()
        for text, length in ((b"a\0b", 3), (b"ab", 1), (b"", 65), (b"", 1), (b"\xff", 1),
                             ("ü".encode()[:1], 1), (b"two\nlines", 9), (b"\x1b[2J", 4)):
            label, _ = label_array(text)
            argument = uapi.Seal(fds=ctypes.addressof(fds), ids=ctypes.addressof(ids), count=1,
                                 label=label, label_length=length)
            ktap.equal(ioctl(control.fd, uapi.SEAL, argument), errno.EINVAL, f"{text} {length}")
            ktap.equal(argument.reason, uapi.ARGUMENT, "reason")
        ktap.equal(len(disk.handle.ids()), 1, "points")


@ktap.case
def removed_sidecar():
    """Where the ids would not outlive the disk none is given out, and tracking says it is off."""
    with disks(2) as (one, two):
        lrct = pathlib.Path(f"{one.container}.lrct")
        before = two.handle.ids()
        for replaced in (False, True):
            fresh = lrct.with_name("fresh")
            fresh.touch()
            (fresh.replace(lrct) if replaced else lrct.unlink())
            expect_failure(errno.ESTALE, uapi.TRACKING_ERROR, Control.seal_of, two.handle,
                           one.handle)
            state = one.handle.state()
            ktap.equal((state.state, state.gap_reason),
                       (uapi.TRACKING_OFF, uapi.TRACKING_ERROR), "state")
            with opened(lrct, os.O_RDWR | os.O_CREAT) as fd:
                one.handle.enable(fd)
            one.handle.seal()
        ktap.equal(two.handle.ids(), before, "points of the other disk")


@ktap.case
def ids_are_never_reused():
    """Restored with its sidecar, a disk does not give an id a second time."""
    with images.directory() as directory:
        path = images.create(directory / "disk.vhdx", 8 * MIB, block_size=MIB)
        with attached(path, "--track"):
            pass
        sidecar = pathlib.Path(f"{path}.lrct")
        copies = [(file, file.read_bytes()) for file in (path, sidecar)]
        seen = set()
        for _ in range(3):
            for file, content in copies:
                file.write_bytes(content)
            with attached(path) as disk:
                point = disk.handle.seal()
                ktap.equal(point.sequence, 2, "sequence")
                ktap.check(point not in seen, f"{point} names two states")
                seen.add(point)


# ---- what is under way ----------------------------------------------------------------------

# From here on a disk of disk_with_a_half() can hang.
HALF = 12 * MIB
NAME = "half"
TIMEOUT_MS = "/sys/module/vhdx/parameters/sidecar_timeout_ms"


@contextlib.contextmanager
def disk_with_a_half(delay=0):
    """A disk that is not tracked, and a descriptor for its sidecar; blocks from HALF on lie on
    a device of their own below the container, where writes take so many ms, and flushes do not."""
    with images.directory() as scratch, udev.asleep(), contextlib.ExitStack() as stack:
        backing = images.create(scratch / "backing", 24 * MIB, MIB, fixed=True)
        with vhdxoracle.open_disk(backing) as image:
            segment, = image.segments(HALF, MIB)
        border, end = segment.at // mapper.SECTOR, backing.stat().st_size // mapper.SECTOR
        device = stack.enter_context(images.loop(backing))
        where = f"{device} {border}"
        how = f"delay {where} 0 {where} {delay} {where} 0" if delay else f"linear {where}"
        half = stack.enter_context(mapper.mapped(NAME, f"0 {end - border} {how}"))
        whole = stack.enter_context(mapper.mapped("whole", f"0 {border} linear {device} 0\n"
                                                  f"{border} {end - border} linear {half} 0"))
        disk = stack.enter_context(raw_attached(whole))
        disk.write(0, b"b" * UNIT)
        yield disk, stack.enter_context(opened(scratch / "sidecar", os.O_RDWR | os.O_CREAT))


def beside_a_write(disk, make_point):
    """The id of a point that is made while the container has a write at HALF in hand. It can't
    be made durable before that has ended; meanwhile a write at 4 MiB comes and is acknowledged."""
    points = []
    jobs = [lambda: disk.write(HALF, b"s" * UNIT), lambda: points.append(make_point())]
    threads = [threading.Thread(target=job) for job in jobs]
    with mapper.hanging(NAME):
        for thread in threads:
            thread.start()
            mapper.wait_until_stuck(thread)
        disk.write(4 * MIB, b"m" * UNIT)
    for thread in threads:
        thread.join()
    return points[0]


@ktap.case
def under_way():
    """What the container has in hand is on both sides of a point; what was acknowledged before
    the point was durable, and after its instant, is behind it (rules T1, T2)."""
    with disk_with_a_half() as (disk, sidecar):
        first = disk.handle.enable(sidecar, UNIT)
        point = beside_a_write(disk, disk.handle.seal)
        ktap.equal(disk.handle.changes(first, point), [(HALF, UNIT)], "before the point")
        ktap.equal(disk.handle.changes(point), [(4 * MIB, UNIT), (HALF, UNIT)], "behind the point")


@ktap.case
def checkpoint_while_under_way():
    """A region with a write in flight stays set, however often others are saved (rule T3)."""
    with disk_with_a_half() as (disk, fd), knob.turned(PARAMETERS + "checkpoint_idle_ms", "50"):
        disk.handle.enable(fd, UNIT)
        write = threading.Thread(target=disk.write, args=(HALF, b"s" * UNIT))
        with mapper.hanging(NAME):
            write.start()
            mapper.wait_until_stuck(write)
            disk.write(0, b"m" * UNIT)
            before = int(disk.sysfs("checkpoints"))
            ktap.eventually(lambda: int(disk.sysfs("checkpoints")) > before + 1, "checkpoints")
            ktap.equal(disk.sysfs("coarse_regions"), "1", "regions that are set")
        write.join()
        ktap.eventually(lambda: disk.sysfs("coarse_regions") == "0", "all is saved")


@ktap.case
def hanging_and_not_tracked():
    """A seal of a disk that is not tracked asks nothing of its container, which hangs
    (invariant 9)."""
    told = []

    def seal():
        expect_failure(errno.EOPNOTSUPP, uapi.DISABLED, disk.handle.seal)
        told.append(True)

    with disk_with_a_half() as (disk, _):
        thread = threading.Thread(target=seal)
        with mapper.hanging("whole"):
            thread.start()
            thread.join(10)
            in_time = bool(told)
        thread.join()
    ktap.check(in_time, "the seal waited for the container")


@ktap.case
def more_under_way_than_slots():
    """Also of writes for which there is no room where those in flight are noted."""
    with disk_with_a_half() as (disk, sidecar):
        first = disk.handle.enable(sidecar, UNIT)
        wanted = [(HALF + 2 * number * UNIT, UNIT) for number in range(200)]
        cpus = os.sched_getaffinity(0)
        with opened(disk.node, os.O_RDWR) as cached:
            for offset, length in wanted:
                os.pwrite(cached, b"o" * length, offset)
            # All of them on one CPU.
            os.sched_setaffinity(0, {min(cpus)})
            points = []
            jobs = [lambda: os.fsync(cached), lambda: points.append(disk.handle.seal())]
            threads = [threading.Thread(target=job) for job in jobs]
            with mapper.hanging(NAME):
                for thread in threads:
                    thread.start()
                    mapper.wait_until_stuck(thread)
            for thread in threads:
                thread.join()
            os.sched_setaffinity(0, cpus)
        ktap.equal(disk.handle.changes(first, points[0]), wanted, "before the point")
        ktap.equal(disk.handle.changes(points[0]), wanted, "behind the point")


@ktap.case
def more_ended_than_slots():
    """They leave no trace, though no point was sealed while they were under way."""
    with disk_with_a_half() as (disk, sidecar):
        disk.handle.enable(sidecar, UNIT)
        cpus = os.sched_getaffinity(0)
        with opened(disk.node, os.O_RDWR) as cached:
            for number in range(200):
                os.pwrite(cached, b"o" * UNIT, HALF + 2 * number * UNIT)
            os.sched_setaffinity(0, {min(cpus)})
            thread = threading.Thread(target=os.fsync, args=(cached,))
            with mapper.hanging(NAME):
                thread.start()
                mapper.wait_until_stuck(thread)
            thread.join()
            os.sched_setaffinity(0, cpus)
        ktap.equal(disk.handle.changes(disk.handle.seal()), [], "behind the point")


@ktap.case
def under_way_at_enabling():
    """A write from before tracking was enabled has no mark: it ends before the first point
    (rule T1), which holds up nobody else."""
    with disk_with_a_half() as (disk, sidecar):
        first = beside_a_write(disk, lambda: disk.handle.enable(sidecar, UNIT))
        ktap.equal(disk.handle.changes(first), [], "changes")


@ktap.case
def late_at_enabling():
    """Nor is it enough that everything is flushed before the first point: what is written slowly
    is not written yet."""
    with disk_with_a_half(delay=3000) as (disk, sidecar):
        writer = threading.Thread(target=lambda: disk.write(HALF, b"s" * UNIT))
        writer.start()
        mapper.wait_until_stuck(writer)
        first = disk.handle.enable(sidecar, UNIT)
        writer.join(1)
        late = writer.is_alive()
        writer.join()
        ktap.check(not late or (HALF, UNIT) in disk.handle.changes(first),
                   "a write ended after the first point, and is not told of")


@ktap.case
def killed_at_the_first_point():
    """A container hangs when the first point is to be sealed: who enables tracking can be killed."""
    with images.directory() as directory:
        image = images.create(directory / "hung.vhdx", 16 * MIB, MIB, fixed=True)
        with slow.device(directory / "backing", image.stat().st_size, NAME) as below:
            pathlib.Path(below.path).write_bytes(image.read_bytes())
            with (raw_attached(below.path) as disk,
                  opened(directory / "hung.lrct", os.O_RDWR | os.O_CREAT) as fd):
                disk.write(0, b"h" * UNIT)
                with mapper.hanging(NAME):
                    child = os.fork()
                    if not child:
                        with contextlib.suppress(Failure):
                            disk.handle.enable(fd, UNIT)
                        os._exit(0)
                    time.sleep(1)
                    os.kill(child, signal.SIGKILL)
                    end = time.monotonic() + 5
                    dead = 0
                    while not dead and time.monotonic() < end:
                        time.sleep(.1)
                        dead = os.waitpid(child, os.WNOHANG)[0]
                if not dead:
                    os.waitpid(child, 0)
                ktap.check(dead, "it could not be killed")
                end = time.monotonic() + 5
                while (disk.handle.state().state == uapi.TRACKING_ON and
                       time.monotonic() < end):
                    time.sleep(.1)
                ktap.equal(disk.handle.state().state, uapi.TRACKING_OFF, "state")


@ktap.case
def hanging_at_enabling():
    """A container that does not answer is not waited for without bound, nor does anybody else wait
    for whoever enables tracking; who tries again when it answers is told what became of it."""
    with disk_with_a_half() as (disk, sidecar), knob.turned(TIMEOUT_MS, "1000"):
        writer = threading.Thread(target=lambda: disk.write(HALF, b"s" * UNIT))
        ends = []
        enabling = threading.Thread(target=lambda: ends.append(expect_failure(
            errno.ETIMEDOUT, uapi.IN_USE, disk.handle.enable, sidecar, UNIT)))
        with mapper.hanging(NAME):
            writer.start()
            mapper.wait_until_stuck(writer)
            enabling.start()
            time.sleep(0.3)
            begin = time.monotonic()
            disk.write(4 * MIB, b"m" * UNIT)
            ktap.equal(disk.handle.state().state, uapi.TRACKING_OFF, "state")
            enabling.join(10)
            took = time.monotonic() - begin
            ktap.check(len(ends) == 1 and took < 5, f"{ends} after {took:.1f} s")
            said = ctl.run("track", "enable", "--sidecar", os.readlink(f"/proc/self/fd/{sidecar}"),
                           disk.node, status=ctl.FAILED).stderr
            ktap.check("the container does not answer" in said, said)
            ktap.check(writer.is_alive(), "the write has ended: nothing was tested")
        writer.join()
        first = disk.handle.enable(sidecar, UNIT)
        disk.write(8 * MIB, b"m" * UNIT)
        ktap.equal(disk.handle.changes(first), [(8 * MIB, UNIT)], "changes")


@ktap.case
def hanging_at_enabling_anew():
    """Nor has it written anything by then: the points of a former sidecar, which was to be
    overwritten, are there."""
    with disk_with_a_half() as (disk, sidecar), knob.turned(TIMEOUT_MS, "1000"):
        used = pathlib.Path(os.readlink(f"/proc/self/fd/{sidecar}"))
        former, fresh = used.with_name("former"), used.with_name("fresh")
        disk.handle.enable(sidecar, UNIT)
        disk.handle.seal()
        content = used.read_bytes()
        former.write_bytes(content)
        used.unlink()
        expect_failure(errno.ESTALE, uapi.TRACKING_ERROR, disk.handle.seal)
        ktap.equal(disk.handle.state().state, uapi.TRACKING_OFF, "state")
        writer = threading.Thread(target=lambda: disk.write(HALF, b"s" * UNIT))
        with opened(former, os.O_RDWR) as again, opened(fresh, os.O_RDWR | os.O_CREAT) as new:
            with mapper.hanging(NAME):
                writer.start()
                mapper.wait_until_stuck(writer)
                for where, flags in ((again, uapi.ENABLE_OVERWRITE), (new, 0)):
                    expect_failure(errno.ETIMEDOUT, uapi.IN_USE, disk.handle.enable, where, UNIT,
                                   flags)
                ktap.check(writer.is_alive(), "the write has ended: nothing was tested")
            writer.join()
            ktap.check(former.read_bytes() == content, "the former sidecar was written")
            ktap.equal(fresh.read_bytes(), b"", "what a new sidecar was to be made in")
            disk.handle.enable(again, UNIT, uapi.ENABLE_OVERWRITE)
            ktap.equal(len(disk.handle.ids()), 1, "points")


@ktap.case
def killed_at_enabling():
    """Whoever enables tracking can be killed while he waits for a write; the next one waits too."""
    with disk_with_a_half() as (disk, sidecar):
        path = os.readlink(f"/proc/self/fd/{sidecar}")
        writer = threading.Thread(target=lambda: disk.write(HALF, b"s" * UNIT))
        enable = ["vhdxctl", "track", "enable", "--unit", "4K", "--sidecar", path, disk.node]
        with mapper.hanging(NAME):
            writer.start()
            mapper.wait_until_stuck(writer)
            for _ in range(2):
                with subprocess.Popen(enable) as enabling:
                    mapper.wait_until_stuck(enabling)
                    enabling.kill()
                    enabling.wait(10)
            ktap.equal(disk.handle.state().state, uapi.TRACKING_OFF, "state")
        writer.join()
        first = disk.handle.enable(sidecar, UNIT)
        disk.write(4 * MIB, b"m" * UNIT)
        ktap.equal(disk.handle.changes(first), [(4 * MIB, UNIT)], "changes")


@contextlib.contextmanager
def container_that_can_hang(directory):
    """A tracked disk in a container on a device of its own, and that device. Its session has not
    begun."""
    image = images.create(directory / "hung.vhdx", 16 * MIB, MIB, fixed=True)
    sidecar = directory / "hung.lrct"
    with slow.device(directory / "backing", image.stat().st_size, NAME) as below:
        pathlib.Path(below.path).write_bytes(image.read_bytes())
        with attached(below.path, "--track", "--sidecar", sidecar, "--unit", UNIT):
            pass
        with raw_attached(below.path, sidecar) as disk:
            yield disk, below


def killed_at_a_container(begun, first):
    """A seal of two disks waits for the container of one of them: it can be killed, and the other
    disk is anybody's at once, before the container answers. No disk has a point. And so can other
    changes that a session must begin for."""
    with images.directory() as directory, udev.asleep(), \
            container_that_can_hang(directory) as (hung, below), contextlib.ExitStack() as stack:
        other, = stack.enter_context(disks(1))
        points = [disk.handle.ids()[0] for disk in (hung, other)]
        if begun:
            hung.write(0, b"h" * UNIT)
        other.write(MIB, b"o" * UNIT)
        nodes = (hung.node, other.node) if first else (other.node, hung.node)
        commands = [["vhdxctl", "seal", *nodes]]
        if not begun:
            commands.insert(0, ["vhdxctl", "track", "disable", hung.node])
        ended = threading.Event()

        def use_the_other():
            ktap.equal(len(other.handle.ids()), 1, "points of the other disk")
            ktap.equal(other.handle.changes(points[1], other.handle.seal()), [(MIB, UNIT)],
                       "changes of the other disk")
            stack.close()
            ended.set()
        using = threading.Thread(target=use_the_other)
        with mapper.hanging(below.name):
            # Not waited for in here: what can't be killed ends when the container answers.
            children = [subprocess.Popen(one) for one in commands]  # pylint: disable=consider-using-with
            for child in children:
                mapper.wait_until_stuck(child)
                child.kill()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(5)
            dead = [child.returncode is not None for child in children]
            using.start()
            using.join(10)
            free = ended.is_set()
        for child in children:
            child.wait()
        using.join()
        ktap.check(all(dead), f"which of {commands} died: {dead}")
        ktap.check(free, "the other disk was held up")
        ktap.equal(hung.handle.changes(points[0], hung.handle.seal()),
                   [(0, UNIT)] if begun else [], "changes")
        ktap.equal(len(hung.handle.ids()), 2, "points")


for started, place in ((True, True), (True, False), (False, True)):
    ktap.add(f"killed_at_a_container_{'that_is_written' if started else 'at_first'}_"
             f"{'before' if place else 'behind'}_another", killed_at_a_container, started, place)


@ktap.case
def limited_file_size():
    """Whoever seals is not ended because the container is longer than files of his may get."""
    with images.directory() as directory:
        path = images.create(directory / "disk.vhdx", 16 * MIB, MIB, fixed=True)
        with attached(path, "--track") as disk:
            done = images.command("sh", "-c", f"ulimit -f 2048; vhdxctl seal {disk.node}")
            ktap.equal(len(disk.handle.ids()), 2, done)
        with attached(path) as disk:
            images.command("sh", "-c", f"ulimit -f 2048; vhdxctl seal {disk.node}")
            ktap.equal(len(disk.handle.ids()), 3, "points")


ktap.main()
