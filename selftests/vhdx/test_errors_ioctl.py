#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_errors_ioctl - every way of calling the driver wrongly, and what it says
#
# vm: timeout=300 full=6.1:attach_in*+other_sys*+random* long=6.12,uml-lockdep,debug takes=10
import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import pathlib
import random
import sys
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import images, judge, knob, ktap, uapi  # noqa: E402
from vhdxtest.device import Control, Handle, expect_failure, ioctl  # noqa: E402
from vhdxtest.disk import attach_once, attached, detach_index, opened, raw_attached  # noqa: E402
from vhdxtest.disk import tracked_container  # noqa: E402
from vhdxtest.images import KIB, MIB, container  # noqa: E402
from vhdxtest.sidecar import Delta  # noqa: E402
import vhdxoracle  # noqa: E402

ALL = {**uapi.OF_DISK, **uapi.OF_CONTROL}
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def disk_and_control():
    """A tracked disk, and the control device."""
    with container() as path, attached(path, "--track") as disk, Control() as control:
        yield disk, control


def fresh(structure):
    """An argument that, by itself, does no harm."""
    return structure(index=-1) if structure is uapi.Detach else structure()


def each_ioctl(disk, control):
    """(descriptor, command, structure) of every ioctl there is."""
    for command, (structure, _) in ALL.items():
        yield (control if command in uapi.OF_CONTROL else disk.handle).fd, command, structure


def expect(found, number, reason, argument, what):
    """errno and reason."""
    ktap.equal(errno.errorcode.get(found, found), errno.errorcode.get(number, number), what)
    ktap.equal(uapi.REASONS[argument.reason], uapi.REASONS[reason], f"reason, {what}")


# ---- sizes and pointers, of every ioctl -------------------------------------------------

@ktap.case
def too_small():
    """Below the first published size: EINVAL, and not a byte is touched."""
    with disk_and_control() as (disk, control):
        for fd, command, structure in each_ioctl(disk, control):
            whole = ctypes.sizeof(structure)
            for size in (0, 1, 4, whole - 8, whole - 1):
                argument = structure()
                ctypes.memset(ctypes.addressof(argument), 0xEE, whole)
                argument.size = size
                before = bytes(argument)
                ktap.equal(ioctl(fd, command, argument), errno.EINVAL,
                           f"{structure.__name__} of {size} bytes")
                ktap.equal(bytes(argument), before, structure.__name__)


def larger(structure, tail):
    """A structure of a newer header, with this much behind it, all zero."""
    return type("Larger", (uapi.Argument,),
                {"_fields_": [("old", structure), ("tail", ctypes.c_uint8 * tail)]})


@ktap.case
def larger_than_known():
    """A newer program: what is behind must be zero, else E2BIG; nothing of it is written."""
    with disk_and_control() as (disk, control):
        for fd, command, structure in each_ioctl(disk, control):
            for tail in (1, 8, 200, 3000):
                kind = larger(structure, tail)
                argument = kind.from_buffer(bytearray(ctypes.sizeof(kind)))
                argument.old.size = ctypes.sizeof(kind)
                if structure is uapi.Detach:
                    argument.old.index = -1
                # What one gets without a tail; never the same as E2BIG.
                plain = ioctl(fd, command, fresh(structure))
                if command not in (uapi.TRACKING_DISABLE, uapi.TRACKING_RESET):
                    ktap.equal(ioctl(fd, command, argument), plain,
                               f"{structure.__name__} with {tail} more bytes")
                argument.tail[tail - 1] = 1
                ktap.equal(ioctl(fd, command, argument), errno.E2BIG,
                           f"{structure.__name__} with something in its last byte")
                if command == uapi.TRACKING_DISABLE:
                    disk.handle.enable()


@ktap.case
def absurd_sizes():
    with disk_and_control() as (disk, control):
        for fd, command, structure in each_ioctl(disk, control):
            for size in (1 << 20, 0x7FFFFFFF, 0xFFFFFFFF):
                found = ioctl(fd, command, structure(size=size))
                ktap.check(found in (errno.E2BIG, errno.EFAULT),
                           f"{structure.__name__} of {size} bytes: {errno.errorcode.get(found)}")


@ktap.case
def bad_argument_pointers():
    with disk_and_control() as (disk, control):
        for fd, command, structure in each_ioctl(disk, control):
            for address in (0, 1, 4096, 1 << 47, (1 << 64) - 8, 0xFFFF888000000000):
                ktap.equal(ioctl(fd, command, address), errno.EFAULT,
                           f"{structure.__name__} at {address:#x}")


@ktap.case
def argument_at_the_edge_of_memory():
    """It ends where a page ends that none follows; and begins at an odd address."""
    with disk_and_control() as (disk, _):
        memory = mmap.mmap(-1, 2 * mmap.PAGESIZE)
        begin = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        ktap.equal(_libc.mprotect(ctypes.c_void_p(begin + mmap.PAGESIZE), mmap.PAGESIZE, 0), 0)
        for structure, command in ((uapi.Info, uapi.GET_INFO),
                                   (uapi.TrackingState, uapi.GET_TRACKING_STATE)):
            size = ctypes.sizeof(structure)
            for address in (begin + mmap.PAGESIZE - size, begin + 3):
                ctypes.memset(address, 0, size)
                argument = structure.from_address(address)
                argument.size = size
                ktap.equal(ioctl(disk.handle.fd, command, address), 0, structure.__name__)
            argument = structure.from_address(begin + mmap.PAGESIZE - size + 8)
            argument.size = size
            argument.flags = 0
            ktap.equal(ioctl(disk.handle.fd, command, ctypes.addressof(argument)), errno.EFAULT,
                       f"{structure.__name__} half of which is there")
        # Memory that can be read only: the answer has nowhere to go.
        ctypes.memset(begin, 0, ctypes.sizeof(uapi.Info))
        argument = uapi.Info.from_address(begin)
        argument.size = ctypes.sizeof(uapi.Info)
        ktap.equal(_libc.mprotect(ctypes.c_void_p(begin), mmap.PAGESIZE, mmap.PROT_READ), 0)
        ktap.equal(ioctl(disk.handle.fd, uapi.GET_INFO, begin), errno.EFAULT, "read-only memory")


@ktap.case
def unknown_commands():
    with disk_and_control() as (disk, control):
        argument = (ctypes.c_uint8 * 4096)()
        commands = {uapi.GET_INFO: disk.handle, uapi.ATTACH: control}
        for low in range(256):
            command = 0xD700 | low
            for device, mine in ((disk.handle, uapi.OF_DISK), (control, uapi.OF_CONTROL)):
                if command not in mine:
                    ktap.equal(ioctl(device.fd, command, argument), errno.ENOTTY, hex(command))
        for command, device in commands.items():
            # Another magic, a direction, a size.
            for other in (0x1200 | command & 0xFF, command | 1 << 30, command | 1 << 31,
                          command | 64 << 16):
                ktap.equal(ioctl(device.fd, other, argument), errno.ENOTTY, hex(other))


@ktap.case
def flags_and_reserved():
    """Every flag that is not known, and every reserved field, alone: EINVAL, ARGUMENT."""
    known = {uapi.ATTACH: 0x1F, uapi.TRACKING_ENABLE: 1, uapi.GET_CHANGES: 3,
             uapi.GET_ALLOCATED_RANGES: uapi.ALLOCATED_ZEROES}
    with disk_and_control() as (disk, control):
        ids = disk.handle.ids()
        for fd, command, structure in each_ioctl(disk, control):
            fields = [("flags", 1 << bit) for bit in range(32)
                      if not known.get(command, 0) >> bit & 1]
            if "reserved" in dict(structure._fields_):
                fields += [("reserved", 1), ("reserved", 1 << 31)]
            for name, value in fields:
                argument = structure(**{name: value})
                if command == uapi.GET_CHANGES:
                    output = (uapi.Range * 8)()
                    argument.limit_id = ids[0]
                    argument.output = ctypes.addressof(output)
                    argument.output_capacity = 8
                elif command == uapi.FORGET:
                    argument.id = ids[0]
                expect(ioctl(fd, command, argument), errno.EINVAL, uapi.ARGUMENT, argument,
                       f"{structure.__name__}.{name} {value:#x}")
        ktap.equal(disk.handle.ids(), ids, "points")
        ktap.equal(disk.handle.state().state, uapi.TRACKING_ON, "state")


@ktap.case
def random_arguments():
    """Whatever is in the structures, the driver answers or refuses. It is still there then."""
    rng = random.Random(11)
    with disk_and_control() as (disk, control):
        interesting = (b"\0" * 8, b"\xff" * 8, (1 << 63).to_bytes(8, "little"),
                       b"\1" + b"\0" * 7, (16 * MIB).to_bytes(8, "little"))
        harmful = (uapi.ATTACH, uapi.DETACH, uapi.TRACKING_DISABLE, uapi.TRACKING_RESET)
        for fd, command, structure in each_ioctl(disk, control):
            if command in harmful:
                continue
            for _ in range(150):
                argument = structure.from_buffer_copy(b"".join(
                    rng.choice((*interesting, rng.randbytes(8)))
                    for _ in range(-(-ctypes.sizeof(structure) // 8))))
                argument.size = ctypes.sizeof(structure)
                if rng.random() < 0.7:
                    argument.flags = 0
                for pointer in ("fds", "ids", "message", "output"):
                    if getattr(argument, pointer, 0) == 16 * MIB:  # Python's own memory
                        setattr(argument, pointer, 1 << 63)
                ioctl(fd, command, argument)
        ktap.equal(disk.handle.info().virtual_disk_size, 16 * MIB, "size")
        ktap.check(disk.handle.ids(), "no points")


# ---- questions about changes ------------------------------------------------------------

def ask(fd, limit, target=uapi.NOW, *, length=MIB, capacity=8, number, reason, **fields):
    """A question that fails: errno, reason, and nothing processed."""
    output = (uapi.Range * 8)()
    arguments = {"byte_length": length, "output": ctypes.addressof(output),
                 "output_capacity": capacity, "output_count": 77, "processed_byte_length": 77,
                 "complete_to_id": uapi.PointId(sequence=77), "answer_flags": 77,
                 "reason": 77} | fields
    argument = uapi.GetChanges(limit_id=limit, target_id=target, **arguments)
    found = ioctl(fd, uapi.GET_CHANGES, argument)
    what = f"{fields or ''} since {limit}, until {target}"
    ktap.equal(errno.errorcode.get(found), errno.errorcode[number], what)
    if number in (errno.ENODEV, errno.EFAULT):
        return
    expect(found, number, reason, argument, what)
    ktap.equal((argument.output_count, argument.processed_byte_length), (0, 0),
               f"output_count and processed_byte_length, {what}")
    ktap.check(not argument.complete_to_id, f"complete_to_id is set, {what}")
    ktap.equal(argument.answer_flags, 0, "answer_flags")
    ktap.check(not any(bytes(output)), f"a range was written, {what}")
    ktap.equal((argument.limit_id, argument.target_id), (limit, target), "the ids of the question")


def changed_id(point, **fields):
    """A copy of an id with other values."""
    other = point.copy()
    for name, value in fields.items():
        setattr(other, name, value)
    return other


@ktap.case
def changes_argument():
    with disk_and_control() as (disk, _):
        first, second = disk.handle.ids()[0], disk.handle.seal()
        disk.write(0, b"x" * 4096)
        size, most = disk.size, (1 << 64) - 1

        def wrong(limit=first, target=uapi.NOW, reason=uapi.ARGUMENT, **fields):
            ask(disk.handle.fd, limit, target, number=errno.EINVAL, reason=reason, **fields)

        def malformed(*ids, **target):
            wrong(*ids, reason=uapi.ID_MALFORMED, **target)
        wrong(uapi.NOW)
        for fields in ({"kind": 0}, {"kind": 4}, {"kind": 1 << 31}, {"reserved": 1}):
            malformed(changed_id(first, **fields))
            malformed(target=changed_id(second, **fields))
        malformed(target=changed_id(uapi.NOW, sequence=1))
        malformed(target=changed_id(uapi.NOW, reserved=1))
        wrong(second, first)
        wrong(capacity=0)
        for offset, length in ((0, size + 1), (size, 1), (size + 1, 0), (1, most), (most, most)):
            wrong(byte_offset=offset, length=length)
        wrong(flags=uapi.CHANGES_BITMAP | 4)
        for size in (0, 8, 15, 17, 20, 32, 1 << 31):
            wrong(range_size=size)
        wrong(flags=uapi.CHANGES_COUNT)
        wrong(flags=uapi.CHANGES_COUNT, capacity=0)
        wrong(flags=uapi.CHANGES_COUNT, capacity=0, output=0, range_size=8)


@ktap.case
def changes_in_no_form():
    with disk_and_control() as (disk, _):
        first, unit = disk.handle.ids()[0], disk.handle.info().unit
        bits = {"flags": uapi.CHANGES_BITMAP, "range_size": 0, "capacity": 8}
        for fields in ({"granularity": unit // 2}, {"granularity": 3 * unit}, {"granularity": 1},
                       bits | {"range_size": 16}, bits | {"min_gap": 1}, bits | {"capacity": 0},
                       bits | {"capacity": 12}, bits | {"flags": 3}, bits | {"byte_offset": unit},
                       bits | {"byte_offset": 1}, bits | {"granularity": unit // 2},
                       bits | {"byte_offset": 64 * unit, "granularity": 2 * unit}):
            ask(disk.handle.fd, first, number=errno.EINVAL, reason=uapi.ARGUMENT, **fields)


@ktap.case
def changes_unknown_id():
    with disk_and_control() as (disk, _):
        first, second = disk.handle.ids()[0], disk.handle.seal()
        disk.handle.forget(second)
        guid = (ctypes.c_uint8 * 16)(*range(16))
        for limit in (second, changed_id(first, sequence=99), changed_id(first, guid=guid),
                      changed_id(first, kind=uapi.POINT_SNAPSHOT),
                      changed_id(first, kind=uapi.POINT_WINDOWS)):
            ask(disk.handle.fd, limit, number=errno.ENODATA, reason=uapi.ID_MISSING)
            ask(disk.handle.fd, first, limit, number=errno.ENODATA, reason=uapi.ID_MISSING)


@ktap.case
def changes_without_tracking():
    with container() as path, attached(path) as disk:
        some = uapi.PointId(sequence=1, kind=1)
        ask(disk.handle.fd, some, number=errno.EOPNOTSUPP, reason=uapi.DISABLED)
        # What is wrong with the question itself comes first.
        ask(disk.handle.fd, uapi.NOW, number=errno.EINVAL, reason=uapi.ARGUMENT)
        ktap.equal(disk.handle.ids(), [], "points")
    with disk_and_control() as (disk, _):
        first = disk.handle.ids()[0]
        disk.handle.disable()
        ask(disk.handle.fd, first, number=errno.EOPNOTSUPP, reason=uapi.DISABLED)


@ktap.case
def changes_across_a_gap():
    with disk_and_control() as (disk, _):
        first = disk.handle.ids()[0]
        second = disk.handle.reset()
        ask(disk.handle.fd, first, number=errno.ESTALE, reason=uapi.RESET)
        ask(disk.handle.fd, first, second, number=errno.ESTALE, reason=uapi.RESET)
        disk.handle.disable()
        third = disk.handle.enable()
        ask(disk.handle.fd, second, third, number=errno.ESTALE, reason=uapi.DISABLED)
        ask(disk.handle.fd, first, number=errno.ESTALE, reason=uapi.DISABLED)


@ktap.case
def changes_across_each_gap():
    """Every cause, between two points of its own; and the newest of them until now."""
    causes = range(uapi.CHANGED_OFFLINE, uapi.TRACKING_ERROR + 1)
    with tracked_container(deltas=[Delta({}, 0, cause) for cause in (0, *causes)]) as path:
        with attached(path) as disk:
            ids = disk.handle.ids()
            ktap.equal([point.gap_reason for point in disk.handle.points()], [0, *causes], "gaps")
            for limit, target, cause in zip(ids, ids[1:], causes):
                ask(disk.handle.fd, limit, target, number=errno.ESTALE, reason=cause)
                ask(disk.handle.fd, limit, number=errno.ESTALE, reason=causes[-1])
            disk.handle.changes(ids[-1])


@ktap.case
def changes_of_a_detached_disk():
    """ENODEV from every ioctl, and no byte of the structure is touched."""
    with container() as path:
        with attached(path, "--track") as disk:
            handle = Handle(disk.char, write=True)
        with handle:
            for command, (structure, _) in uapi.OF_DISK.items():
                argument = structure()
                argument.reason = 77
                before = bytes(argument)
                ktap.equal(ioctl(handle.fd, command, argument), errno.ENODEV, structure.__name__)
                ktap.equal(bytes(argument), before, structure.__name__)


@ktap.case
def output_that_is_not_there():
    """EFAULT, wherever the array of ranges breaks off."""
    with disk_and_control() as (disk, _):
        first = disk.handle.ids()[0]
        for unit in range(0, 16, 2):
            disk.write(unit * 16 * KIB, b"x" * 512)
        memory = mmap.mmap(-1, 2 * mmap.PAGESIZE)
        begin = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        ktap.equal(_libc.mprotect(ctypes.c_void_p(begin + mmap.PAGESIZE), mmap.PAGESIZE, 0), 0)
        for address in (0, 8, 0xFFFF888000000000, begin + mmap.PAGESIZE,
                        begin + mmap.PAGESIZE - 40):
            ask(disk.handle.fd, first, number=errno.EFAULT, reason=uapi.NONE, output=address)
            argument = uapi.GetPoints(output=address, output_capacity=9)
            ktap.equal(ioctl(disk.handle.fd, uapi.GET_POINTS, argument), errno.EFAULT, "points")
        # One that just suffices.
        argument = uapi.GetChanges(limit_id=first, byte_length=MIB, output_capacity=1000,
                                   output=begin + mmap.PAGESIZE - 8 * ctypes.sizeof(uapi.Range))
        ktap.equal(ioctl(disk.handle.fd, uapi.GET_CHANGES, argument), 0, "errno")
        ktap.equal(argument.output_count, 8, "ranges")
        argument = uapi.GetPoints()
        ktap.equal(ioctl(disk.handle.fd, uapi.GET_POINTS, argument), 0, "counting only")
        ktap.equal((argument.output_count, argument.point_count), (0, 1), "counts")


# ---- attach, detach ---------------------------------------------------------------------

def refuse_attach(control, layer, number, reason, **fields):
    """An attach that fails; the message."""
    message = ctypes.create_string_buffer(b"\x55" * 300, 300)
    arguments = {"layers": ctypes.addressof(layer) if layer else 0, "layer_count": 1,
                 "index": uapi.INDEX_ANY, "message": ctypes.addressof(message),
                 "message_capacity": 300, "reason": 77} | fields
    argument = uapi.Attach(**arguments)
    found = ioctl(control.fd, uapi.ATTACH, argument)
    if not found:
        detach_index(control, argument.index)
    text = "" if "message" in fields else message.raw.split(b"\0")[0].decode()
    what = f"attach of {layer}, {fields}: {text}"
    ktap.equal(errno.errorcode.get(found), errno.errorcode[number], what)
    if number != errno.EFAULT:
        expect(found, number, reason, argument, what)
        ktap.check("\x55" not in text and (text or "message" in fields), "no message")
    return text


@ktap.case
def attach_arguments():
    with container() as path, Control() as control, opened(path) as fd:
        layer = uapi.Layer(fd, -1)
        bad = (errno.EINVAL, uapi.ARGUMENT)
        refuse_attach(control, layer, *bad, layer_count=0)
        refuse_attach(control, layer, *bad, layer_count=uapi.LAYERS_MAX + 1)
        for index in (-2, 4096, 1 << 30, -(1 << 31)):
            refuse_attach(control, layer, *bad, index=index)
        for wrong in (uapi.Layer(fd, -2), uapi.Layer(fd, -1, 1), uapi.Layer(fd, -1, 0, 1)):
            refuse_attach(control, wrong, *bad)
        refuse_attach(control, None, errno.EFAULT, uapi.NONE, layers=8)
        # A bad buffer for the message changes nothing.
        refuse_attach(control, uapi.Layer(-1, -1), errno.EBADF, uapi.ARGUMENT, message=8)


@ktap.case
def attach_message_is_cut():
    with Control() as control:
        layer = uapi.Layer(-1, -1)
        whole = refuse_attach(control, layer, errno.EBADF, uapi.ARGUMENT)
        ktap.check("descriptor -1" in whole, f"it does not say which descriptor: {whole}")
        for capacity in (0, 1, 2, 10, len(whole), len(whole) + 1):
            buffer = ctypes.create_string_buffer(b"\x55" * 300, 300)
            argument = uapi.Attach(layers=ctypes.addressof(layer), layer_count=1, index=-1,
                                   message=ctypes.addressof(buffer), message_capacity=capacity)
            ktap.equal(ioctl(control.fd, uapi.ATTACH, argument), errno.EBADF)
            ktap.equal(buffer.raw[:capacity], whole.encode()[:max(capacity - 1, 0)] +
                       b"\0" * bool(capacity), f"{capacity} bytes of the message")
            ktap.equal(buffer.raw[capacity:], b"\x55" * (300 - capacity), "what is behind it")


@ktap.case
def attach_descriptors():
    with container() as path, Control() as control:
        lrct = pathlib.Path(f"{path}.sidecar")
        lrct.touch()
        reading, writing = os.pipe()
        with opened(path) as good:
            for flags, number, ro_number in (
                    (os.O_RDONLY, errno.EACCES, None), (os.O_WRONLY, errno.EACCES, errno.EACCES),
                    (os.O_RDWR | os.O_APPEND, errno.EINVAL, errno.EINVAL),
                    (os.O_PATH, errno.EBADF, errno.EBADF)):
                for read_only in (0, uapi.ATTACH_READ_ONLY):
                    with opened(path, flags) as fd, opened(lrct, flags) as lrct_fd:
                        wanted = ro_number if read_only else number
                        if wanted:
                            refuse_attach(control, uapi.Layer(fd, -1), wanted, uapi.ARGUMENT,
                                          flags=read_only)
                            refuse_attach(control, uapi.Layer(good, lrct_fd), wanted,
                                          uapi.ARGUMENT, flags=read_only)
            for node, number in (("/dev/null", errno.EINVAL), ("/tmp", errno.EACCES)):
                with opened(node, os.O_RDONLY if node == "/tmp" else os.O_RDWR) as fd:
                    refuse_attach(control, uapi.Layer(fd, -1), number, uapi.ARGUMENT)
                    refuse_attach(control, uapi.Layer(good, fd), number, uapi.ARGUMENT)
            for fd, number in ((1000, errno.EBADF), (-1, errno.EBADF), (1 << 30, errno.EBADF),
                               (reading, errno.EACCES), (control.fd, errno.EINVAL)):
                refuse_attach(control, uapi.Layer(fd, -1), number, uapi.ARGUMENT)
        os.close(reading)
        os.close(writing)


@ktap.case
def attach_what_is_no_vhdx():
    with images.directory() as directory, Control() as control:
        for content in (b"", b"x" * 100, b"\0" * MIB, b"conectix" + b"\0" * MIB,
                        b"vhdxfil" + b"\0" * MIB):
            path = directory / "no.vhdx"
            path.write_bytes(content)
            with opened(path) as fd:
                text = refuse_attach(control, uapi.Layer(fd, -1), errno.EMEDIUMTYPE,
                                     uapi.BAD_TYPE)
                ktap.check("VHDX" in text, f"message: {text}")
            ktap.equal(path.read_bytes(), content, "a refused file")


@ktap.case
def attach_damaged():
    with images.directory() as directory, Control() as control:
        path = directory / "damaged.vhdx"
        for name in ("headers-checksum", "metadata-signature", "block-size-3-mib",
                     "log-descriptor-count-max"):
            vhdxoracle.mutate(name, path)
            before = path.read_bytes()
            with opened(path) as fd:
                refuse_attach(control, uapi.Layer(fd, -1), errno.EUCLEAN, uapi.CORRUPT)
            ktap.check(path.read_bytes() == before, "a refused container was written")


@ktap.case
def attach_a_child():
    with images.directory() as directory, Control() as control:
        parent = images.create(directory / "parent.vhdx", 16 * MIB, block_size=MIB)
        child = directory / "child.avhdx"
        vhdxoracle.create(child, parent=parent, kind="differencing")
        with opened(child) as fd:
            text = refuse_attach(control, uapi.Layer(fd, -1), errno.EINVAL, uapi.ARGUMENT)
            ktap.check("parent" in text, f"message: {text}")


@ktap.case
def attach_in_use():
    with container() as path, Control() as control, attached(path) as disk:
        with opened(path) as fd, opened(path, os.O_RDONLY) as ro_fd:
            refuse_attach(control, uapi.Layer(fd, -1), errno.EBUSY, uapi.IN_USE)
            refuse_attach(control, uapi.Layer(ro_fd, -1), errno.EBUSY, uapi.IN_USE,
                          flags=uapi.ATTACH_READ_ONLY)
        with container() as other, opened(other) as fd:
            text = refuse_attach(control, uapi.Layer(fd, -1), errno.EBUSY, uapi.IN_USE,
                                 index=disk.index)
            ktap.check(str(disk.index) in text, f"message: {text}")
            # As its own sidecar: there is no disk that could be detached.
            text = refuse_attach(control, uapi.Layer(fd, fd), errno.EBUSY, uapi.IN_USE)
            ktap.check("this disk's container" in text and "detach" not in text, text)


def no_new_threads():
    """The kernel starts no thread now, and therefore no queue that has one of its own."""
    return knob.turned("/proc/sys/kernel/threads-max", "20")


@ktap.case
def attach_fails_after_a_gap():
    """A disk that can't be started is told of as such, not by the gap that was found before."""
    with container() as path:
        with attached(path, "--track"):
            pass
        lrct = pathlib.Path(f"{path}.lrct")
        lrct.write_bytes(b"x" * 8192)
        with Control() as control, opened(path) as fd, opened(lrct) as lrct_fd:
            layer = uapi.Layer(fd, lrct_fd)
            with no_new_threads():
                text = refuse_attach(control, layer, errno.ENOMEM, uapi.NONE)
            ktap.check("sidecar" not in text, f"message: {text}")
            disk = control.attach(fd, lrct_fd)
            detach_index(control, disk.index)
            ktap.equal(disk.reason, uapi.INCONSISTENT, "reason of the same, with threads")


@ktap.case
def detach_errors():
    with container() as path, attached(path) as disk, Control() as control:
        for index in (-1, 77, 4095, 4096, 1 << 30, -(1 << 31)):
            argument = uapi.Detach(index=index, reason=77)
            ktap.equal(ioctl(control.fd, uapi.DETACH, argument), errno.ENODEV, f"index {index}")
        with opened(disk.node):
            argument = uapi.Detach(index=disk.index)
            expect(ioctl(control.fd, uapi.DETACH, argument), errno.EBUSY, uapi.IN_USE, argument,
                   "detach of an open disk")
        # It is there, and nobody says that it was detached.
        message = ctypes.create_string_buffer(300)
        argument = uapi.Detach(index=disk.index, disk_seq=1 << 60,
                               message=ctypes.addressof(message), message_capacity=300)
        ktap.equal(ioctl(control.fd, uapi.DETACH, argument), errno.ENODEV, "another disk_seq")
        ktap.check(str(disk.handle.info().disk_seq).encode() in message.value and
                   b"was detached" not in message.value, message.value)


@ktap.case
def nothing_to_record_in():
    """Writes are to fail rather than go unrecorded: no sidecar, or one that records nothing, is
    none, unless whoever attaches says that it comes next."""
    fail, will = uapi.ATTACH_FAIL_TRACKING, uapi.ATTACH_WILL_TRACK
    with container() as path:
        sidecar = pathlib.Path(f"{path}.side")
        sidecar.touch()
        before = judge.fingerprint(path)
        expect_failure(errno.EINVAL, uapi.ARGUMENT, attach_once, path, flags=fail)
        expect_failure(errno.EINVAL, uapi.ARGUMENT, attach_once, path, sidecar, fail | uapi.ATTACH_NO_TRACK)
        ktap.check(judge.fingerprint(path) == before, "the container was changed")
        attach_once(path, flags=fail | uapi.ATTACH_READ_ONLY)
        with raw_attached(path, flags=fail | will) as disk, opened(sidecar) as fd:
            disk.handle.enable(fd)
            disk.write(0, b"x" * 4096)
            disk.handle.disable()
        before = judge.fingerprint(path)
        error = expect_failure(errno.EINVAL, uapi.DISABLED, attach_once, path, sidecar, fail)
        ktap.check("disabled in its sidecar" in error.__notes__[0], error.__notes__)
        ktap.check(judge.fingerprint(path) == before, "the container was changed")
        attach_once(path, sidecar, fail | uapi.ATTACH_READ_ONLY)
        with raw_attached(path, sidecar, fail | will) as disk:
            disk.handle.enable(-1)
        attach_once(path, sidecar, fail)


# ---- seal, tracking ------------------------------------------------------------------------

@ktap.case
def seal_arguments():
    with disk_and_control() as (disk, control):
        disk.write(0, b"x" * 4096)
        before = disk.handle.ids()
        fds = (ctypes.c_int32 * 1)(disk.handle.fd)
        ids = (uapi.PointId * 1)()
        good = {"fds": ctypes.addressof(fds), "ids": ctypes.addressof(ids), "count": 1}
        for fields, number in (({"count": 0}, errno.EINVAL),
                               ({"count": uapi.SEAL_MAX + 1}, errno.EINVAL),
                               ({"label_length": uapi.LABEL_MAX + 1}, errno.EINVAL),
                               ({"fds": 8}, errno.EFAULT), ({"ids": 8}, errno.EFAULT),
                               ({"ids": 0}, errno.EFAULT)):
            argument = uapi.Seal(**good | fields)
            ktap.equal(ioctl(control.fd, uapi.SEAL, argument), number, f"{fields}")
            if number == errno.EINVAL:
                ktap.equal(argument.reason, uapi.ARGUMENT, "reason")
            ktap.equal(disk.handle.ids(), before, f"points after a seal that failed, {fields}")
        ktap.equal(disk.handle.changes(before[0]), [(0, 16 * KIB)], "changes")


@ktap.case
def enable_arguments():
    with container() as path, attached(path) as disk:
        fd = disk.handle.fd
        blank = pathlib.Path(f"{path}.blank")
        blank.touch()

        def refuse(number, reason, **fields):
            message = ctypes.create_string_buffer(300)
            argument = uapi.TrackingEnable(message=ctypes.addressof(message),
                                           message_capacity=300, **fields)
            expect(ioctl(fd, uapi.TRACKING_ENABLE, argument), number, reason, argument,
                   f"enable {fields}: {message.value}")
            ktap.check(message.value, f"no message, {fields}")
            ktap.check(not argument.first_point, "a point after a failure")
            ktap.equal(disk.handle.state().state, uapi.TRACKING_OFF, "state")
        refuse(errno.EINVAL, uapi.ARGUMENT, sidecar_fd=-1)
        refuse(errno.EBADF, uapi.ARGUMENT, sidecar_fd=1 << 30)
        for flags, number in ((os.O_RDONLY, errno.EACCES),
                              (os.O_RDWR | os.O_APPEND, errno.EINVAL)):
            with opened(blank, flags) as blank_fd:
                refuse(number, uapi.ARGUMENT, sidecar_fd=blank_fd)
        with opened(blank) as blank_fd:
            for unit in (1, 2048, 4095, 12288, 2 << 20, 1 << 31):
                refuse(errno.EINVAL, uapi.ARGUMENT, sidecar_fd=blank_fd, unit=unit)
        with opened("/dev/null") as null:
            refuse(errno.EINVAL, uapi.ARGUMENT, sidecar_fd=null)
        with opened(path) as container_fd:
            refuse(errno.EBUSY, uapi.IN_USE, sidecar_fd=container_fd)
        ktap.equal(blank.stat().st_size, 0, "size of a sidecar that was not made")
        # The very thing that must not be overwritten by mistake.
        for content in (b"somebody's letters" * 1000, bytes(64 * KIB) + b"_BHRfS_M"):
            blank.write_bytes(content)
            with opened(blank) as blank_fd:
                for flags in (0, uapi.ENABLE_OVERWRITE):
                    refuse(errno.EEXIST, uapi.INCONSISTENT, sidecar_fd=blank_fd, flags=flags)
            ktap.equal(blank.read_bytes(), content, "a file that was refused")
        # A sidecar whose headers are gone, or never were.
        blank.write_bytes(bytes(64 * KIB))
        with opened(blank) as blank_fd:
            refuse(errno.EEXIST, uapi.INCONSISTENT, sidecar_fd=blank_fd)
            disk.handle.enable(blank_fd, flags=uapi.ENABLE_OVERWRITE)
            argument = uapi.TrackingEnable(sidecar_fd=blank_fd)
            ktap.equal(ioctl(fd, uapi.TRACKING_ENABLE, argument), errno.EALREADY, "errno")
        # Its own sidecar, given to another disk.
        with container() as other, attached(other) as second, opened(blank) as blank_fd:
            expect_failure(errno.EBUSY, uapi.IN_USE, second.handle.enable, blank_fd,
                           flags=uapi.ENABLE_OVERWRITE)


@ktap.case
def switching_what_is_off():
    with container() as path, attached(path) as disk:
        for command, structure in ((uapi.TRACKING_DISABLE, uapi.TrackingDisable),
                                   (uapi.TRACKING_RESET, uapi.TrackingReset)):
            argument = structure()
            expect(ioctl(disk.handle.fd, command, argument), errno.EOPNOTSUPP, uapi.DISABLED,
                   argument, structure.__name__)
        argument = uapi.Forget(id=uapi.PointId(kind=1))
        expect(ioctl(disk.handle.fd, uapi.FORGET, argument), errno.EOPNOTSUPP, uapi.DISABLED,
               argument, "forget")
    with disk_and_control() as (disk, _):
        disk.handle.disable()
        argument = uapi.TrackingDisable()
        ktap.equal(ioctl(disk.handle.fd, uapi.TRACKING_DISABLE, argument), errno.EALREADY)
        disk.handle.enable()
        for point, number, reason in (
                (uapi.NOW, errno.EINVAL, uapi.ARGUMENT),
                (changed_id(disk.handle.ids()[0], reserved=1), errno.EINVAL, uapi.ID_MALFORMED),
                (changed_id(disk.handle.ids()[0], kind=9), errno.EINVAL, uapi.ID_MALFORMED),
                (changed_id(disk.handle.ids()[0], sequence=9), errno.ENODATA, uapi.ID_MISSING)):
            argument = uapi.Forget(id=point)
            expect(ioctl(disk.handle.fd, uapi.FORGET, argument), number, reason, argument,
                   f"forget {point}")


@ktap.case
def other_system_calls():
    """read, write, seek, mmap of the character device; nothing of it hangs or succeeds."""
    with disk_and_control() as (disk, control):
        for fd in (disk.handle.fd, control.fd):
            for call in (lambda: os.read(fd, 10), lambda: os.write(fd, b"x"),
                         lambda: os.lseek(fd, 0, os.SEEK_SET), lambda: mmap.mmap(fd, 4096)):
                try:
                    call()
                    raise AssertionError("it succeeded")
                except OSError:
                    pass
        ktap.equal(fcntl.fcntl(disk.handle.fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC,
                   fcntl.FD_CLOEXEC)


@ktap.case
def raw_attach_takes_no_options():
    """With nothing but the ioctl a disk is used, sealed and asked."""
    with container() as path:
        lrct = pathlib.Path(f"{path}.own")
        lrct.touch()
        with raw_attached(path) as disk, opened(lrct) as fd:
            first = disk.handle.enable(fd, 4 * KIB)
            disk.write(0, b"x" * 4096)
            second = disk.handle.seal()
        with raw_attached(path, lrct, uapi.ATTACH_READ_ONLY, index=9) as disk:
            ktap.equal(disk.node, "/dev/vhdx9", "node")
            ktap.equal(disk.handle.changes(first, second), [(0, 4 * KIB)], "changes")
            ktap.equal(disk.reason, uapi.NONE, "reason")


ktap.main()
