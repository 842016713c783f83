#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_fail_nth - every allocation of every call fails once, until the call succeeds
#
# A call that fails for want of memory says ENOMEM and changes nothing; the disk works after
# each of them, and answers are complete. Where memory ran out in the middle of a commit,
# the disk is poisoned (rule V4), and is whole again after a reattach.
#
# vm: mem=3G timeout=1100 own-vm takes=50
import contextlib
import ctypes
import errno
import itertools
import os
import pathlib
import sys
import threading
import time
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "vhdx/lib"))
# pylint: disable=wrong-import-position
from vhdxtest import dio, images, inject, judge, ktap, uapi, udev  # noqa: E402
from vhdxtest.chains import Chain, random_chain  # noqa: E402
from vhdxtest.device import Control, Failure, ioctl, label_array  # noqa: E402
from vhdxtest.disk import Disk, detach_index, opened, uses_of_the_driver  # noqa: E402
from vhdxtest.images import KIB, MIB  # noqa: E402
from vhdxtest.ledger import Ledger  # noqa: E402
import vhdxoracle  # noqa: E402

DISK = 64 * MIB
UNIT = 16 * KIB
CHANCE = ktap.chance()
# What a gap may be called after memory was short in the wrong place.
GAPS = ((errno.ESTALE, uapi.UNCLEAN), (errno.ESTALE, uapi.CHANGED_OFFLINE),
        (errno.ESTALE, uapi.TRACKING_ERROR), (errno.ESTALE, uapi.RESET),
        (errno.ESTALE, uapi.DISABLED), (errno.EOPNOTSUPP, uapi.DISABLED))


class Subject:
    """A tracked disk that is attached and detached again and again."""

    def __init__(self, directory, name="disk"):
        self.path = images.create(directory / f"{name}.vhdx", DISK, block_size=MIB,
                                  content=[(0, judge.pattern(1, MIB))])
        self.sidecar = directory / f"{name}.lrct"
        self.sidecar.touch()
        self.truth = judge.Truth(directory / f"{name}.raw", DISK, self.path)
        self.control = Control()
        self.ledger = Ledger()
        self.disk = None
        self.count = 0
        self.calm = 0
        # What was written and not flushed: {offset: what may be there after an unclean end}
        self.unflushed = {}
        self.attach(uapi.ATTACH_NO_TRACK)
        with opened(self.sidecar) as fd:
            self.ledger.sealed(self.disk.handle.enable(fd, UNIT))

    def attach(self, flags=0):
        """With its sidecar."""
        with opened(self.path) as fd, opened(self.sidecar) as sidecar:
            argument = self.control.attach(fd, sidecar, flags)
        self.disk = Disk(argument.index, self.path)
        self.settle()

    def settle(self):
        """What was not flushed when the disk went is there, or what was there before."""
        for offset, contents in self.unflushed.items():
            found = self.disk.read(offset, 4 * KIB)
            ktap.check(found in contents, f"{offset}: neither what was written nor what was there")
            self.truth.write(offset, found)
        self.unflushed.clear()

    def detach(self):
        """What fails is known already. Only of a poisoned disk, anything may be lost."""
        if self.disk:
            poisoned = self.disk.sysfs("poisoned") == "1"
            self.disk.close()
            try:
                detach_index(self.control, self.disk.index)
            except Failure:
                poisoned = True
            self.disk = None
            if not poisoned:
                self.unflushed.clear()

    def write(self, flush=False):
        """In place and in a new block, now here, now there."""
        self.count += 1
        for offset in (self.count * 20 * KIB % MIB & ~4095, self.count * (MIB + 20 * KIB) % DISK & ~4095):
            data = CHANCE.randbytes(4 * KIB)
            self.disk.write(offset, data)
            self.unflushed.setdefault(offset, [self.truth.read(offset, len(data))]).append(data)
            self.truth.write(offset, data)
            self.ledger.wrote(offset, len(data))
        if flush:
            self.disk.data.flush()
            self.unflushed.clear()

    def works(self, failed=True):
        """Whatever just failed. A poisoned disk works after a reattach. Where a call took no
        harm, it is looked at every fourth time only."""
        poisoned = self.disk.sysfs("poisoned") == "1"
        self.calm = 0 if failed or poisoned else self.calm + 1
        if self.calm % 4:
            return
        if poisoned:
            ktap.diag("poisoned")
            self.ledger.judge(self.disk.handle, GAPS)
            self.detach()
            self.attach()
        self.write()
        offset = self.count * 20 * KIB % MIB & ~4095
        ktap.equal(self.disk.read(offset, 4 * KIB), self.truth.read(offset, 4 * KIB), "data")
        if not self.ledger.judge(self.disk.handle, GAPS):
            self.renew()

    def renew(self):
        """Behind a gap there must be a new point to ask from."""
        self.ledger.points.clear()
        state = self.disk.handle.state().state
        if state == uapi.TRACKING_ON:
            point = self.disk.handle.seal()
        elif state == uapi.TRACKING_DISABLED:
            point = self.disk.handle.enable()
        else:
            with opened(self.sidecar) as fd:
                point = self.disk.handle.enable(fd, UNIT, uapi.ENABLE_OVERWRITE)
        self.ledger.sealed(point)

    def close(self):
        """Detached, valid, and its content is right."""
        self.works()
        judge.same_disk(self.disk, self.truth)
        self.detach()
        judge.same_container(self.path, self.truth)
        self.truth.close()
        self.control.close()


@contextlib.contextmanager
def subject():
    """A Subject."""
    with images.directory() as directory:
        made = Subject(directory)
        try:
            yield made
            made.close()
        finally:
            made.detach()


def short_of_memory(number, result, also=()):
    """A result is 0, or it is ENOMEM because something was injected."""
    if result:
        ktap.check(number, f"errno {errno.errorcode[result]} with nothing injected")
        ktap.check(result == errno.ENOMEM or result in also,
                   f"allocation {number}: {errno.errorcode[result]}")
    return not result


# ---- asking ------------------------------------------------------------------------------

@ktap.case
def asking():
    """Info, state, points, changes: the same answer, or none."""
    with subject() as s:
        for _ in range(3):
            s.write(flush=True)
            s.ledger.sealed(s.disk.handle.seal())
        s.write()
        fd = s.disk.handle.fd
        first = next(iter(s.ledger.points))
        points = (uapi.Point * 8)()
        ranges = (uapi.Range * 64)()

        def argument_of(command):
            if command == uapi.GET_POINTS:
                return uapi.GetPoints(output=ctypes.addressof(points), output_capacity=8)
            if command == uapi.GET_CHANGES:
                return uapi.GetChanges(limit_id=first, byte_length=DISK, output_capacity=64,
                                       output=ctypes.addressof(ranges))
            return uapi.OF_DISK[command][0]()

        for command in (uapi.GET_INFO, uapi.GET_TRACKING_STATE, uapi.GET_POINTS,
                        uapi.GET_CHANGES):
            argument = argument_of(command)
            ktap.equal(ioctl(fd, command, argument), 0, "errno")
            right = bytes(argument), bytes(points), bytes(ranges)
            known = getattr(argument, "live_bytes", None)
            argument = argument_of(command)
            for number, result in inject.sweep(lambda: ioctl(fd, command, argument)):
                if short_of_memory(number, result):
                    # The one thing that the state may leave out: what it has to count.
                    if number and getattr(argument, "live_bytes", None) == uapi.BYTES_UNKNOWN:
                        argument.live_bytes = known
                    ktap.equal((bytes(argument), bytes(points), bytes(ranges)), right, "answer")
                else:
                    ktap.equal(getattr(argument, "output_count", 0), 0, "output_count")
                argument = argument_of(command)
        s.works()


def errno_of(call, *arguments):
    """0, or what it fails with."""
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0


@ktap.case
def opening_and_sysfs():
    """The nodes can be opened and the attributes read, or not, and later they can."""
    with subject() as s:
        for node in (s.disk.char, s.disk.node, "/dev/vhdx-control"):
            def reopen(path=node):
                os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
            for number, result in inject.sweep(lambda: errno_of(reopen)):
                short_of_memory(number, result, (errno.ENXIO, errno.EBUSY))
        for name in sorted(os.listdir(f"/sys/block/vhdx{s.disk.index}/vhdx")):
            with open(f"/sys/block/vhdx{s.disk.index}/vhdx/{name}", "rb", buffering=0) as file:
                for number, result in inject.sweep(lambda: errno_of(os.pread, file.fileno(), 4096, 0)):
                    short_of_memory(number, result)
        with open("/sys/module/vhdx/parameters/sidecar_timeout_ms", "r+b", buffering=0) as file:
            for number, result in inject.sweep(lambda: errno_of(os.pwrite, file.fileno(), b"10000\n", 0)):
                short_of_memory(number, result)
        s.works()


# ---- points ------------------------------------------------------------------------------

@ktap.case
def seal():
    """A point and its id, or neither."""
    with subject() as s:
        ids = (uapi.PointId * 1)()
        text, length = label_array("a point")

        def call():
            fds = (ctypes.c_int32 * 1)(s.disk.handle.fd)
            return ioctl(s.control.fd, uapi.SEAL, uapi.Seal(
                fds=ctypes.addressof(fds), ids=ctypes.addressof(ids), count=1, label=text,
                label_length=length))

        s.write()
        known = s.disk.handle.ids()
        for number, result in inject.sweep(call):
            if short_of_memory(number, result, (errno.EIO,)):
                s.ledger.sealed(ids[0].copy())
            elif s.disk.handle.state().state == uapi.TRACKING_ON:
                ktap.equal(s.disk.handle.ids(), known, "points")
            s.works(result)
            while len(s.ledger.points) > 4:
                oldest = next(iter(s.ledger.points))
                s.disk.handle.forget(oldest)
                s.ledger.forgot(oldest)
            known = s.disk.handle.ids()


@ktap.case
def seal_of_three():
    """A point on each disk, or on none."""
    with images.directory() as directory:
        three = [Subject(directory, f"disk{number}") for number in range(3)]
        ids = (uapi.PointId * 3)()

        def call():
            fds = (ctypes.c_int32 * 3)(*(s.disk.handle.fd for s in three))
            return ioctl(three[0].control.fd, uapi.SEAL, uapi.Seal(
                fds=ctypes.addressof(fds), ids=ctypes.addressof(ids), count=3))

        try:
            known = [s.disk.handle.ids() for s in three]
            # What a seal of one disk has in common with it comes three times.
            for number, result in inject.sweep(call):
                done = short_of_memory(number, result, (errno.EIO,))
                for s, point, old in zip(three, ids, known):
                    if done:
                        s.ledger.sealed(point.copy())
                    elif s.disk.handle.state().state == uapi.TRACKING_ON:
                        ktap.equal(s.disk.handle.ids(), old, "points")
                    s.works(result)
                known = [s.disk.handle.ids() for s in three]
            for s in three:
                s.close()
        finally:
            for s in three:
                s.detach()


def forget(position):
    """A point less and its neighbours' deltas merged, or all as it was."""
    with subject() as s:
        def prepare():
            while len(s.ledger.points) < 4:
                s.write()
                s.ledger.sealed(s.disk.handle.seal())
            return list(s.ledger.points)[position]

        point = prepare()

        def call():
            return ioctl(s.disk.handle.fd, uapi.FORGET, uapi.Forget(id=point))

        for number, result in inject.sweep(call):
            if short_of_memory(number, result, (errno.EIO,)):
                s.ledger.forgot(point)
            s.works(result)
            point = prepare()


for at, where in ((0, "oldest"), (1, "middle"), (3, "newest")):
    ktap.add(f"forget_{where}", forget, at)


@ktap.case
def switching():
    """Disable, enable again, reset, enable from nothing: it is done, or it can be tried
    again."""
    with subject() as s:
        def on():
            return s.disk.handle.state().state == uapi.TRACKING_ON

        def disable():
            return ioctl(s.disk.handle.fd, uapi.TRACKING_DISABLE, uapi.TrackingDisable())

        def enable(fd=-1):
            return ioctl(s.disk.handle.fd, uapi.TRACKING_ENABLE, uapi.TrackingEnable(
                sidecar_fd=fd, unit=UNIT if fd >= 0 else 0, flags=uapi.ENABLE_OVERWRITE))

        def reset():
            return ioctl(s.disk.handle.fd, uapi.TRACKING_RESET, uapi.TrackingReset())

        for number, result in inject.sweep(disable):
            short_of_memory(number, result, (errno.EIO,))
            s.works()
        for number, result in inject.sweep(reset):
            short_of_memory(number, result, (errno.EIO,))
            s.works()
        s.disk.handle.disable()
        for number, result in inject.sweep(enable):
            short_of_memory(number, result, (errno.EIO,))
            s.ledger.points.clear()
            if not on():
                ktap.check(result, "enabled, and yet it is not")
                with opened(s.sidecar) as fd:
                    again = -1 if s.disk.handle.state().state == uapi.TRACKING_DISABLED else fd
                    s.disk.handle.enable(again, 0, uapi.ENABLE_OVERWRITE)
            s.works(result)
            s.disk.handle.disable()
        s.detach()
        s.attach(uapi.ATTACH_NO_TRACK)
        with opened(s.sidecar) as fd:
            for number, result in inject.sweep(lambda: enable(fd)):
                short_of_memory(number, result, (errno.EIO,))
                s.ledger.points.clear()
                s.works(result)
                s.detach()
                s.attach(uapi.ATTACH_NO_TRACK)


# ---- attach and detach ---------------------------------------------------------------------

class Attaching:
    """One attach, prepared."""

    def __init__(self, control, path, sidecar, flags, parents=()):
        mode = os.O_RDONLY if flags & uapi.ATTACH_READ_ONLY else os.O_RDWR
        self.control = control
        self.fds = [os.open(path, mode | os.O_CLOEXEC)]
        self.fds += [os.open(sidecar, mode | os.O_CLOEXEC)] if sidecar else []
        below = [os.open(parent, os.O_RDONLY | os.O_CLOEXEC) for parent in parents]
        self.layers = (uapi.Layer * (1 + len(below)))(
            uapi.Layer(self.fds[0], self.fds[1] if sidecar else -1, 0, 0),
            *(uapi.Layer(fd, -1, 0, 0) for fd in below))
        self.fds += below
        self.argument = uapi.Attach(flags=flags, layers=ctypes.addressof(self.layers),
                                    layer_count=len(self.layers), index=uapi.INDEX_ANY)

    def call(self):
        """Tries it."""
        self.argument.index = uapi.INDEX_ANY
        return ioctl(self.control.fd, uapi.ATTACH, self.argument)

    def close(self):
        """Lets go of the files."""
        for fd in self.fds:
            os.close(fd)


def nothing_is_left(uses):
    """Of a disk that could not be started, however far it had come."""
    left = [str(path) for where in ("/sys/block", "/sys/class/vhdx", "/dev")
            for path in pathlib.Path(where).glob("vhdx[0-9c]*") if path.name != "vhdx-control"]
    ktap.check(not left, left)
    ktap.equal(uses_of_the_driver(), uses, "uses of the module")


def attach(flags):
    """A disk, or nothing that is left behind."""
    with subject() as s:
        s.write()
        s.detach()
        uses = uses_of_the_driver()
        trying = Attaching(s.control, s.path, s.sidecar, flags)
        for number, result in inject.sweep(trying.call):
            if short_of_memory(number, result, (errno.EIO,)):
                s.disk = Disk(trying.argument.index, s.path, bool(flags & uapi.ATTACH_READ_ONLY))
                s.ledger.judge(s.disk.handle)
                judge.same_range(s.disk, s.truth, 0, 64 * KIB)
                s.detach()
            else:
                nothing_is_left(uses)
        trying.close()
        s.attach()


def attach_dirty(flags):
    """The same where the log has to be replayed."""
    with images.directory() as directory, Control() as control:
        path = images.create(directory / "disk.vhdx", DISK, block_size=MIB)
        writes = [(number * MIB + 4 * KIB, judge.pattern(number, 8 * KIB)) for number in range(3)]
        vhdxoracle.dirty(path, writes)
        copy = directory / "copy.vhdx"
        before = judge.fingerprint(path)
        with judge.Truth(directory / "truth", DISK, path) as truth:
            judge.snapshot(path, copy)
            trying = Attaching(control, copy, None, flags)

            def call():
                return trying.call()

            for number, result in inject.sweep(call):
                if short_of_memory(number, result, (errno.EIO,)):
                    disk = Disk(trying.argument.index, copy, bool(flags & uapi.ATTACH_READ_ONLY))
                    judge.same_range(disk, truth, 0, 4 * MIB)
                    disk.close()
                    detach_index(control, disk.index)
                if judge.fingerprint(copy) != before:
                    ktap.check(not flags & uapi.ATTACH_READ_ONLY, "it was written to")
                    judge.valid(copy, clean=False)
                    trying.close()
                    judge.snapshot(path, copy)
                    trying = Attaching(control, copy, None, flags)
            trying.close()


@ktap.case
def attach_beside_another():
    """A second disk that reads the container, or none; the first one reads on, whatever fails."""
    with subject() as s:
        s.detach()
        first, second = (Attaching(s.control, s.path, s.sidecar, uapi.ATTACH_READ_ONLY)
                         for _ in range(2))
        ktap.equal(first.call(), 0, "errno of the first")
        s.disk = Disk(first.argument.index, s.path, True)
        for number, result in inject.sweep(second.call):
            if short_of_memory(number, result, (errno.EIO,)):
                disk = Disk(second.argument.index, s.path, True)
                judge.same_range(disk, s.truth, 0, 64 * KIB)
                disk.close()
                detach_index(s.control, disk.index)
            judge.same_range(s.disk, s.truth, 0, 64 * KIB)
        for attaching in (first, second):
            attaching.close()
        s.detach()
        s.attach()


@ktap.case
def attach_chain():
    """All layers, or none; and none of them is written."""
    with images.directory() as directory, Control() as control:
        chain = random_chain(directory, 5, depth=4, size=8 * MIB, blocks=MIB, sector=512)
        before = chain.fingerprints()
        uses = uses_of_the_driver()
        with chain.truth(directory / "truth") as truth:
            for flags in (uapi.ATTACH_READ_ONLY, 0):
                trying = Attaching(control, chain.leaf, None, flags, chain.parents)
                for number, result in inject.sweep(trying.call):
                    if short_of_memory(number, result, (errno.EIO,)):
                        disk = Disk(trying.argument.index, chain.leaf, bool(flags))
                        ktap.equal(disk.handle.info().layer_count, 4, "layers")
                        judge.same_range(disk, truth, 0, MIB)
                        disk.close()
                        detach_index(control, disk.index)
                    else:
                        nothing_is_left(uses)
                trying.close()
        ktap.check(chain.fingerprints() == before, "a layer was changed")


ktap.add("attach", attach, 0)
ktap.add("attach_read_only", attach, uapi.ATTACH_READ_ONLY)
ktap.add("attach_dirty", attach_dirty, 0)
ktap.add("attach_dirty_read_only", attach_dirty, uapi.ATTACH_READ_ONLY)


@ktap.case
def detach():
    """The disk goes, whatever is short; at the next attach all is there, or a gap."""
    with subject() as s:
        def call():
            return ioctl(s.control.fd, uapi.DETACH, uapi.Detach(index=index))

        s.write()
        index = s.disk.index
        s.disk.close()
        for number, result in inject.sweep(call):
            if short_of_memory(number, result, (errno.EIO,)):
                s.unflushed.clear()
            ktap.check(not os.path.exists(s.disk.node), "it is still there")
            ktap.check(result in (0, errno.EIO), "an error says that it is still there")
            s.attach()
            s.works()
            index = s.disk.index
            s.disk.close()
        s.disk = Disk(index, s.path)


@ktap.case
def session_without_memory():
    """The sidecar can't be told of it: its first write waits, and a detach leaves all regions set.
    No history is lost (rule T7)."""
    with subject() as s:
        s.write()
        s.detach()
        s.attach()
        with inject.failing_below("vhdx_sidecar_commit"):
            writing = threading.Thread(target=s.write)
            writing.start()
            time.sleep(1)
            ktap.check(writing.is_alive(), "it did not wait: nothing was tested")
        writing.join()
        s.ledger.judge(s.disk.handle)
        with inject.failing_below("vhdx_sidecar_commit"):
            s.detach()
        s.attach()
        s.ledger.judge(s.disk.handle)


# ---- reading and writing -------------------------------------------------------------------

@ktap.case
def io():
    """The part of a request that runs in the caller. A mark never fails (rule T8)."""
    with subject() as s:
        buffer = dio.aligned(2 * MIB)
        for offset, length in ((4 * KIB, 4 * KIB), (512 * KIB, 2 * MIB)):
            for number, result in inject.sweep(
                    lambda: errno_of(os.pwritev, s.disk.data.fd, [buffer[:length]], offset)):
                s.ledger.wrote(offset, length)
                short_of_memory(number, result, (errno.EIO,))
                s.ledger.judge(s.disk.handle)
            s.truth.write(offset, bytes(length))
            for number, result in inject.sweep(
                    lambda: errno_of(os.preadv, s.disk.data.fd, [buffer[:length]], offset)):
                if short_of_memory(number, result, (errno.EIO,)):
                    ktap.check(not any(buffer[:length:512]), "another content")
        for number, result in inject.sweep(lambda: errno_of(os.fdatasync, s.disk.data.fd)):
            short_of_memory(number, result, (errno.EIO,))
        # Each seal brings an empty map, whose first leaf is the first write's to allocate.
        for number, result in inject.sweep(
                lambda: errno_of(os.pwritev, s.disk.data.fd, [buffer[:4096]], 0)):
            s.ledger.wrote(0, 4096)
            short_of_memory(number, result, (errno.EIO,))
            s.ledger.judge(s.disk.handle)
            s.ledger.sealed(s.disk.handle.seal())
        s.truth.write(0, bytes(4096))


class ChildIO:
    """Reads and writes of a disk with parents; each write of a block that none was to before."""

    def __init__(self, disk, truth):
        self.disk, self.truth = disk, truth
        self.blocks = itertools.count()

    def write(self, offset, length):
        """errno of a write; either content may be there after an error."""
        data = dio.aligned(length)
        data[:] = CHANCE.randbytes(length)
        result = errno_of(os.pwritev, self.disk.data.fd, [data], offset)
        if result:
            found = self.disk.read(offset, length)
            ktap.check(found in (bytes(data), self.truth.read(offset, length)), "neither, nor")
            self.truth.write(offset, found)
        else:
            self.truth.write(offset, bytes(data))
        return result

    def first_part(self):
        """A first write to a part of a block."""
        return self.write(next(self.blocks) * MIB + 12 * KIB, 4 * KIB)

    def prepared_block(self):
        """One of which the leaf has all but a sector, and where that is."""
        start = next(self.blocks) * MIB
        ktap.equal(self.write(start, 4 * KIB), 0, "errno")
        ktap.equal(self.write(start + 4 * KIB + 512, MIB - 4 * KIB - 512), 0, "errno")
        return start + 4 * KIB

    def read(self, offset, length):
        """errno of a read, which gives what it must or nothing."""
        data = dio.aligned(length)
        try:
            count = os.preadv(self.disk.data.fd, [data], offset)
        except OSError as error:
            return error.errno
        ktap.check(bytes(data[:count]) == self.truth.read(offset, count), "another content")
        return 0


@ktap.case
def child_io():
    """First writes to a part of a block, and the one that fills it up; reads through all layers;
    and what the layers are. Each works or fails, and parents are not written."""
    with images.directory() as directory:
        chain = Chain(directory, CHANCE, depth=3, size=512 * MIB, blocks=MIB, sector=512, pieces=60)
        before = chain.fingerprints()[1:]
        with chain.truth(directory / "truth") as truth:
            with chain.attached(0) as disk:
                child = ChildIO(disk, truth)
                for number, result in inject.sweep(child.first_part):
                    short_of_memory(number, result, (errno.EIO,))
                last = child.prepared_block()
                for number, result in inject.sweep(lambda: child.write(last, 512)):
                    if short_of_memory(number, result, (errno.EIO,)):
                        last = child.prepared_block()
                length = min(next(child.blocks), 64) * MIB
                for number, result in inject.sweep(lambda: child.read(length - 2 * MIB, 2 * MIB)):
                    short_of_memory(number, result, (errno.EIO,))
                layers = (uapi.LayerInfo * 3)()
                argument = uapi.GetLayers(output=ctypes.addressof(layers), output_capacity=3)
                disk.data.flush()
                right = bytes((uapi.LayerInfo * 3)(*disk.handle.layers()[1]))
                for number, result in inject.sweep(
                        lambda: ioctl(disk.handle.fd, uapi.GET_LAYERS, argument)):
                    if short_of_memory(number, result):
                        ktap.equal((argument.output_count, bytes(layers)), (3, right), "layers")
                    ctypes.memset(layers, 0, ctypes.sizeof(layers))
                judge.same_disk(disk, truth)
                ktap.equal(disk.sysfs("poisoned"), "0", "poisoned")
            judge.valid(chain.leaf, strict=False)       # the oracle made it odd
            with vhdxoracle.open_disk(chain.leaf, chain.parents) as image:
                judge.same_image(image, truth)
        ktap.check(chain.fingerprints()[1:] == before, "a parent was written")


inject.require()
with udev.asleep():
    ktap.main()
