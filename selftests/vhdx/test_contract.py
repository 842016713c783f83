#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_contract - what callers may rely on, whatever their headers know: sizes of elements,
# outputs, messages, which disk it is, and that something changed
#
# vm: timeout=300 takes=10
import contextlib
import ctypes
import errno
import fcntl
import os
import pathlib
import select
import struct
import sys
import time
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ktap, uapi  # noqa: E402
from vhdxtest.device import Control, Handle, ioctl  # noqa: E402
from vhdxtest.disk import attach, attached, detach, detach_index, opened  # noqa: E402
from vhdxtest.disk import tracked_container  # noqa: E402
from vhdxtest.images import KIB, MIB, container  # noqa: E402
from vhdxtest.sidecar import LEAF_UNITS, dense  # noqa: E402

BLKGETDISKSEQ = 0x80081280
UNIT = 16 * KIB

lib = ctypes.CDLL("libvhdx.so.0", use_errno=True)
lib.vhdx_error_message.restype = ctypes.c_char_p
lib.vhdx_disk_open_data.argtypes = [ctypes.c_void_p]
lib.vhdx_disk_close.argtypes = [ctypes.c_void_p]


@contextlib.contextmanager
def tracked():
    """A tracked disk with one point."""
    with container() as path, attached(path, "--track") as disk:
        yield disk


def expect(fd, command, argument, number, reason, what):
    """Fails with errno, reason, and one line that says why."""
    message = ctypes.create_string_buffer(b"\x55" * 300, 300)
    argument.message = ctypes.addressof(message)
    argument.message_capacity = len(message)
    found = ioctl(fd, command, argument)
    ktap.equal(errno.errorcode.get(found), errno.errorcode[number], what)
    ktap.equal(uapi.REASONS[argument.reason], uapi.REASONS[reason], f"reason, {what}")
    text = message.value.decode()
    ktap.check(text and "\x55" not in text and "\n" not in text,
               f"no message, or more than a line, {what}: {text!r}")
    return text


# ---- elements of another size ------------------------------------------------------------

@ktap.case
def points_of_any_size():
    """What a caller knows more than the driver is zero; less than ever published is refused."""
    with tracked() as disk:
        disk.handle.seal("second")
        own = ctypes.sizeof(uapi.Point)
        wanted = [bytes(point) for point in disk.handle.points()]
        for size in (own, own + 8, own + 400, 4096):
            output = (ctypes.c_uint8 * (3 * size))(*b"\x55" * (3 * size))
            argument = uapi.GetPoints(output=ctypes.addressof(output), output_capacity=2,
                                      point_size=size)
            ktap.equal(ioctl(disk.handle.fd, uapi.GET_POINTS, argument), 0, f"points of {size}")
            found = [bytes(output)[i * size:(i + 1) * size] for i in range(3)]
            ktap.equal(found[:2], [point.ljust(size, b"\0") for point in wanted],
                       f"points of {size} bytes")
            ktap.equal(found[2], b"\x55" * size, "what is behind them")
        for size in (0, 8, own - 8, own - 1, own + 1, own + 4, 4104, 1 << 31):
            argument = uapi.GetPoints(output=8, output_capacity=2, point_size=size)
            text = expect(disk.handle.fd, uapi.GET_POINTS, argument, errno.EINVAL,
                          uapi.ARGUMENT, f"points of {size}")
            ktap.check("point_size" in text, text)


@ktap.case
def ranges_of_both_sizes():
    """The first two fields alone, or all: the same answer, also where batches meet."""
    with tracked_container(2 * LEAF_UNITS * 4 * KIB, dense(), 4 * KIB) as path:
        with attached(path) as disk:
            first, second = disk.handle.ids()
            _, wanted = disk.handle.query(first, second, capacity=2000)
            for capacity in (1, 511, 513, 2000):
                output = (ctypes.c_uint64 * (2 * capacity + 1))()
                output[-1] = 77
                argument = uapi.GetChanges(
                    limit_id=first, target_id=second, byte_length=disk.size,
                    output=ctypes.addressof(output), output_capacity=capacity,
                    range_size=uapi.RANGE_SIZE_SHORT)
                ktap.equal(ioctl(disk.handle.fd, uapi.GET_CHANGES, argument), 0, "errno")
                found = list(zip(output[0::2], output[1::2]))[:argument.output_count]
                ktap.equal(found, wanted[:capacity], f"{capacity} short ranges")
                ktap.equal(argument.changed_bytes, sum(length for _, length in found), "sum")
                ktap.equal(output[-1], 77, "what is behind them")


@ktap.case
def layers_of_any_size():
    with container() as path, Control() as control, opened(path) as fd:
        for size, tail, number in ((24, 0, 0), (4096, 0, 0), (24, 1, errno.E2BIG),
                                   (4096, 1, errno.E2BIG), (8, 0, errno.EINVAL),
                                   (0, 0, errno.EINVAL), (20, 0, errno.EINVAL),
                                   (8192, 0, errno.EINVAL)):
            layer = (ctypes.c_uint8 * 8192)(*struct.pack("iiII", fd, -1, 0, 0))
            layer[max(size, 17) - 1] = tail
            argument = uapi.Attach(layers=ctypes.addressof(layer), layer_count=1, index=-1,
                                   layer_size=size)
            found = ioctl(control.fd, uapi.ATTACH, argument)
            ktap.equal(found, number, f"layer of {size} bytes that ends with {tail}")
            if not found:
                detach_index(control, argument.index)


# ---- failures ------------------------------------------------------------------------------

RESULTS = {
    uapi.Info: ("virtual_disk_size", "block_size", "disk_seq", "layer_count", "unit"),
    uapi.TrackingState: ("state", "generation", "point_count", "live_bytes", "points_max"),
    uapi.GetPoints: ("output_count", "point_count", "generation"),
    uapi.GetChanges: ("output_count", "processed_byte_length", "changed_bytes", "unit",
                      "answer_flags"),
    uapi.GetAllocatedRanges: ("output_count", "processed_byte_length", "allocated_bytes"),
    uapi.GetLayers: ("output_count", "layer_count"),
}


@ktap.case
def no_results_after_a_failure():
    """Whatever was in the fields: after unknown flags, and when the disk is gone."""
    with container() as path:
        disk = attach(path, "--track")
        with Handle(disk.char) as stale:
            for detached in (False, True):
                if detached:
                    detach(disk)
                for command, (structure, _) in uapi.OF_DISK.items():
                    for name in RESULTS.get(structure, ()):
                        argument = structure(**{name: 77, "flags": 0 if detached else 1 << 31})
                        found = ioctl(stale.fd, command, argument)
                        if detached:
                            ktap.equal(found, errno.ENODEV, "errno of a disk that is gone")
                            continue
                        ktap.equal(found, errno.EINVAL, f"{structure.__name__}, unknown flags")
                        ktap.equal(getattr(argument, name), 0, f"{structure.__name__}.{name}")


@ktap.case
def messages():
    """A line for each failure that is worth one, from the driver itself."""
    with tracked() as disk, Control() as control, Handle(disk.char) as reading:
        first = disk.handle.ids()[0]
        second = disk.handle.seal()
        output = (uapi.Range * 8)()
        question = {"output": ctypes.addressof(output), "output_capacity": 8}
        unknown = first.copy()
        unknown.sequence = 99
        windows = first.copy()
        windows.kind = uapi.POINT_WINDOWS
        for fields, number, reason, words in (
                ({"limit_id": unknown}, errno.ENODATA, uapi.ID_MISSING, "does not know"),
                ({"limit_id": windows}, errno.ENODATA, uapi.ID_MISSING, "Windows"),
                ({"limit_id": uapi.PointId(kind=9)}, errno.EINVAL, uapi.ID_MALFORMED, "not the id"),
                ({"limit_id": second, "target_id": first}, errno.EINVAL, uapi.ARGUMENT,
                 "exchange"),
                ({"limit_id": first, "byte_length": disk.size + 1}, errno.EINVAL, uapi.ARGUMENT,
                 f"{disk.size + 1} bytes at offset 0")):
            text = expect(disk.handle.fd, uapi.GET_CHANGES, uapi.GetChanges(**question | fields),
                          number, reason, fields)
            ktap.check(words in text, f"{words!r} is not in {text!r}")
        for command, (structure, _) in uapi.OF_DISK.items():
            text = expect(disk.handle.fd, command, structure(flags=1 << 30), errno.EINVAL,
                          uapi.ARGUMENT, structure.__name__)
            ktap.check("flags 0x40000000" in text, text)
        for command, structure in ((uapi.TRACKING_DISABLE, uapi.TrackingDisable),
                                   (uapi.TRACKING_RESET, uapi.TrackingReset),
                                   (uapi.FORGET, uapi.Forget)):
            expect(reading.fd, command, structure(), errno.EBADF, uapi.ARGUMENT,
                   structure.__name__)
        expect(disk.handle.fd, uapi.FORGET, uapi.Forget(id=unknown), errno.ENODATA,
               uapi.ID_MISSING, "forget")
        fds, ids = (ctypes.c_int32 * 2)(disk.handle.fd, reading.fd), (uapi.PointId * 2)()
        seal = {"fds": ctypes.addressof(fds), "ids": ctypes.addressof(ids)}
        text = expect(control.fd, uapi.SEAL, uapi.Seal(count=2, **seal), errno.EBADF,
                      uapi.ARGUMENT, "seal through a descriptor for reading")
        ktap.check(f"descriptor {reading.fd} is open for reading only" in text, text)
        fds[1] = disk.handle.fd
        text = expect(control.fd, uapi.SEAL, uapi.Seal(count=2, **seal), errno.EINVAL,
                      uapi.ARGUMENT, "a disk twice")
        ktap.check("each disk once" in text, text)
        expect(control.fd, uapi.DETACH, uapi.Detach(index=4000), errno.ENODEV, uapi.ARGUMENT,
               "detach of nothing")
        with opened(disk.node):
            expect(control.fd, uapi.DETACH, uapi.Detach(index=disk.index), errno.EBUSY,
                   uapi.IN_USE, "detach of an open disk")
        disk.handle.forget(first)
        expect(disk.handle.fd, uapi.FORGET, uapi.Forget(id=second), errno.EBUSY, uapi.IN_USE,
               "forget of the only point")
    with container() as path, attached(path, "--read-only") as disk, Control() as control:
        fds, ids = (ctypes.c_int32 * 1)(disk.handle.fd), (uapi.PointId * 1)()
        expect(control.fd, uapi.SEAL,
               uapi.Seal(count=1, fds=ctypes.addressof(fds), ids=ctypes.addressof(ids)),
               errno.EROFS, uapi.READ_ONLY, "seal of a read-only disk")


# ---- which disk it is -----------------------------------------------------------------------

def disk_seq_of(node):
    """As the block layer tells it."""
    with opened(node, os.O_RDONLY) as fd:
        return struct.unpack("Q", fcntl.ioctl(fd, BLKGETDISKSEQ, b"\0" * 8))[0]


@ktap.case
def disk_seq_names_an_attachment():
    with container() as path, Control() as control:
        seen = []
        for _ in range(3):
            with opened(path) as fd:
                argument = control.attach(fd)
            node, index = f"/dev/vhdx{argument.index}", argument.index
            with Handle(f"/dev/vhdxc{index}") as handle:
                ktap.equal(handle.info().disk_seq, argument.disk_seq, "GET_INFO")
                ktap.equal(disk_seq_of(node), argument.disk_seq, "BLKGETDISKSEQ")
                ktap.check(argument.disk_seq and argument.disk_seq not in seen, "seen before")
                for old in seen:
                    number = ioctl(control.fd, uapi.DETACH, uapi.Detach(index=index, disk_seq=old))
                    ktap.equal(number, errno.ENODEV, "detach of one that is gone")
                    handle.info()
            seen.append(argument.disk_seq)
            detach_index(control, index)


@ktap.case
def data_of_another_disk_is_not_opened():
    """The disk was detached, and another one has its number: -ENODEV, not its bytes."""
    with container() as path, container() as other:
        disk = attach(path, "--index", "40")
        held = ctypes.c_void_p()
        ktap.equal(lib.vhdx_disk_open(b"/dev/vhdx40", None, 0, ctypes.byref(held)), 0, "open")
        fd = lib.vhdx_disk_open_data(held)
        ktap.check(fd >= 0, f"its own data: {lib.vhdx_error_message()}")
        os.close(fd)
        detach(disk)
        with attached(other, "--index", "40"):
            ktap.equal(lib.vhdx_disk_open_data(held), -errno.ENODEV, "data of another disk")
            ktap.check(b"detached" in lib.vhdx_error_message(), lib.vhdx_error_message())
        ktap.equal(lib.vhdx_disk_open_data(held), -errno.ENODEV, "data of a disk that is gone")
        lib.vhdx_disk_close(held)


@ktap.case
def which_disk_a_seal_failed_on():
    """Named twice, or not attached: the position is told."""
    with container() as path, container() as file, attached(path, "--track") as disk:
        disks = (ctypes.c_void_p * 3)()
        for position, name in enumerate((disk.node, disk.node, str(file))):
            ktap.equal(lib.vhdx_disk_open(name.encode(), None, 0, ctypes.byref(
                disks, position * ctypes.sizeof(ctypes.c_void_p))), 0, f"open {name}")
        ids = (uapi.PointId * 3)()
        for chosen, number, position in (((0, 1), errno.EINVAL, 1), ((0, 2), errno.ENODEV, 1)):
            some = (ctypes.c_void_p * 2)(*(disks[one] for one in chosen))
            failed = ctypes.c_size_t(77)
            ktap.equal(lib.vhdx_seal(some, ctypes.c_size_t(2), None, ids, ctypes.byref(failed)),
                       -number, "seal")
            ktap.equal(failed.value, position, "the position of the disk that failed")
        for one in disks:
            lib.vhdx_disk_close(one)


# ---- that something changed ------------------------------------------------------------------

def events(handle):
    """What poll says right now."""
    poll = select.poll()
    poll.register(handle.fd, select.POLLPRI)
    return dict(poll.poll(0)).get(handle.fd, 0)


@ktap.case
def generation():
    """Another one after each change of points, gaps and state; POLLPRI until it is looked at."""
    with tracked() as disk, Handle(disk.char) as other:
        steps = (disk.handle.seal, disk.handle.reset, disk.handle.disable, disk.handle.enable,
                 lambda: disk.handle.forget(disk.handle.ids()[0]))
        last = other.state().generation
        ktap.equal(events(other), 0, "events before")
        for step in steps:
            step()
            ktap.equal(events(other), select.POLLPRI, f"events after {step}")
            found = other.state().generation
            ktap.check(found != last, f"the generation is the same after {step}")
            ktap.equal(other.state().generation, found, "generation when nothing happens")
            ktap.equal(events(other), 0, "events once it is known")
            last = found
        disk.write(0, b"x" * 4096)
        disk.handle.changes(disk.handle.ids()[-1])
        ktap.equal((events(other), other.state().generation), (0, last), "a write, a question")
        argument = uapi.GetPoints()
        ktap.equal(ioctl(other.fd, uapi.GET_POINTS, argument), 0, "points")
        ktap.equal(argument.generation, last, "generation of the points")


@ktap.case
def poll_wakes():
    """Who sleeps in poll is woken by a seal, and by the detach."""
    with container() as path:
        disk = attach(path, "--track")
        with Handle(disk.char) as waiting:
            for step, wanted in ((disk.handle.seal, select.POLLPRI),
                                 (lambda: detach(disk), select.POLLHUP)):
                waiting.state()
                reading, writing = os.pipe()
                child = os.fork()
                if not child:
                    poll = select.poll()
                    poll.register(waiting.fd, select.POLLPRI)
                    os.write(writing, b"x")
                    found = dict(poll.poll(20000)).get(waiting.fd, 0)
                    os._exit(0 if found & wanted else 1)
                os.read(reading, 1)
                time.sleep(0.2)
                step()
                ktap.equal(os.waitpid(child, 0)[1], 0, f"status of who waits for {wanted:#x}")
                os.close(reading)
                os.close(writing)


@ktap.case
def state_in_numbers():
    with container() as path:
        with attached(path) as disk:
            state = disk.handle.state()
            ktap.equal((state.sidecar_used, state.live_bytes), (0, uapi.BYTES_UNKNOWN), "nothing")
        with attached(path, "--track") as disk:
            state, info = disk.handle.state(), disk.handle.info()
            ktap.equal((info.unit, info.layer_count), (UNIT, 1), "info")
            ktap.equal((state.live_bytes, state.sidecar_limit), (0, 0), "before a write")
            ktap.equal(state.points_max, uapi.POINTS_MAX, "points")
            ktap.check(4096 <= state.sidecar_used <= os.stat(f"{path}.lrct").st_size,
                       f"{state.sidecar_used} bytes of the sidecar")
            disk.write(3 * UNIT - 512, b"x" * 1024)
            disk.write(disk.size - 512, b"x" * 512)
            ktap.equal(disk.handle.state().live_bytes, 3 * UNIT, "after writes")
            point = disk.handle.points()[0]
            ktap.equal((point.virtual_disk_size, point.changed_bytes), (disk.size,
                                                                        uapi.BYTES_UNKNOWN))
            disk.handle.disable()
            ktap.equal(disk.handle.state().live_bytes, uapi.BYTES_UNKNOWN, "behind a gap")


# ---- sums, and less at a time -----------------------------------------------------------------

@ktap.case
def sums_are_those_of_the_ranges():
    with tracked_container(2 * LEAF_UNITS * 4 * KIB, dense(2), 4 * KIB) as path:
        with attached(path) as disk:
            first = disk.handle.ids()[0]
            disk.write(4 * KIB, b"x" * 16 * KIB)
            for offset, length in ((0, disk.size), (512, 3 * MIB), (disk.size - 4096, 4096),
                                   (0, 0)):
                wanted = sum(n for _, n in disk.handle.changes(first, offset=offset,
                                                               length=length))
                for size in (0, 16, 24):
                    argument = uapi.GetChanges(flags=uapi.CHANGES_COUNT, limit_id=first,
                                               byte_offset=offset, byte_length=length,
                                               range_size=size)
                    ktap.equal(ioctl(disk.handle.fd, uapi.GET_CHANGES, argument), 0, "errno")
                    ktap.equal((argument.changed_bytes, argument.processed_byte_length,
                                argument.output_count), (wanted, length, 0), (offset, length))


@ktap.case
def time_limit():
    """A call that has no time processes something all the same; the rest follows."""
    leaves = 512
    with tracked_container(leaves * LEAF_UNITS * 4 * KIB, dense(leaves), 4 * KIB) as path:
        with attached(path) as disk:
            first, second = disk.handle.ids()
            changed = offset = calls = 0
            while offset < disk.size:
                argument = uapi.GetChanges(flags=uapi.CHANGES_COUNT, limit_id=first,
                                           target_id=second, byte_offset=offset,
                                           byte_length=disk.size - offset, time_limit_ms=1)
                ktap.equal(ioctl(disk.handle.fd, uapi.GET_CHANGES, argument), 0, "errno")
                ktap.check(argument.processed_byte_length > 0, "no progress")
                offset += argument.processed_byte_length
                changed += argument.changed_bytes
                calls += 1
            ktap.equal(changed, disk.size // 2, "changed bytes")
            ktap.check(calls > 1, "the limit ended no call: nothing was tested")
            argument = uapi.GetChanges(flags=uapi.CHANGES_COUNT, limit_id=first,
                                       target_id=second, byte_length=disk.size,
                                       time_limit_ms=600000)
            ktap.equal(ioctl(disk.handle.fd, uapi.GET_CHANGES, argument), 0, "errno")
            ktap.equal(argument.processed_byte_length, disk.size, "with time enough")


ktap.main()
