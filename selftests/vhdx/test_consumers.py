#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_consumers - how real agents ask, and what has come of that elsewhere
#
# Each has a way of its own to cut a question and to put the answer together; all of them get the same
# bytes. Deltas are written into the sidecar, so that the truth is known by construction; or the disk
# is written, and a copy that an agent kept up to date is compared with it.
#
# vm: takes=15
import contextlib
import ctypes
import errno
import json
import os
import pathlib
import random
import sys
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, images, ktap, uapi  # noqa: E402
from vhdxtest.device import Failure, expect_failure, ioctl  # noqa: E402
from vhdxtest.disk import attached, tracked_container  # noqa: E402
from vhdxtest.images import KIB, MIB  # noqa: E402
from vhdxtest.library import Files  # noqa: E402
from vhdxtest.sidecar import Delta, LEAF_UNITS, leaf_of  # noqa: E402
from vhdxoracle.ranges import RangeSet  # noqa: E402

UNIT = 4 * KIB
SIZE = 2 * LEAF_UNITS * UNIT

# bareos, cloudbase's rctlib, a program in Rust, hv2pve and offset.
WINDOWS = (50, 100, 256, 4096)

library = ctypes.CDLL("libvhdx.so.0")
library.vhdx_error_message.restype = ctypes.c_char_p
library.vhdx_get_virtual_disk_changes.argtypes = [
    ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint64, ctypes.c_uint64,
    ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
library.vhdx_disk_open.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint,
                                   ctypes.c_void_p]
library.vhdx_disk_get_tracking_state.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
library.vhdx_disk_get_points.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p,
                                         ctypes.c_void_p]
library.vhdx_disk_close.argtypes = [ctypes.c_void_p]
libc = ctypes.CDLL(None)
libc.free.argtypes = [ctypes.c_void_p]


def validated(found, offset, processed):
    """As hv2pve looks at each answer: nothing empty, nothing twice, nothing beyond."""
    last = offset
    for start, length in found:
        ktap.check(length > 0 and start >= last and start + length <= offset + processed,
                   f"{start}+{length} in {offset}+{processed}, after {last}")
        last = start + length + 1  # they do not touch
    return found


def in_windows(query, size, capacity, offset=0):
    """Window after window, the next one where the last one ended: (ranges, calls)."""
    told, calls = [], 0
    while offset < size:
        answer, found = query(offset, capacity)
        processed = answer.processed_byte_length
        ktap.check(processed >= min(UNIT, size - offset), f"{processed} bytes at {offset}")
        told += validated(found, offset, processed)
        offset += processed
        calls += 1
    return told, calls


@contextlib.contextmanager
def tracked(seed=None):
    """(path, truth): a container whose two points have a delta between them: every second unit,
    or those that chance has."""
    rng = random.Random(seed)
    units = [unit for unit in range(SIZE // UNIT)
             if (unit % 2 == 0 if seed is None else rng.random() < 0.1)]
    leaves = {leaf: leaf_of(unit % LEAF_UNITS for unit in units if unit // LEAF_UNITS == leaf)
              for leaf in range(2)}
    with tracked_container(SIZE, [Delta({}, 0, 0), Delta(leaves, 0, 0)], UNIT) as path:
        yield path, RangeSet((unit * UNIT, (unit + 1) * UNIT) for unit in units)


@ktap.case
def windows():
    """Of each size, until the end: all of it, with no call more than that takes."""
    with tracked(5) as (path, truth), attached(path) as disk:
        first, second = disk.handle.ids()
        for capacity in WINDOWS:
            told, calls = in_windows(
                lambda offset, room: disk.handle.query(first, second, offset, capacity=room),
                SIZE, capacity)
            ktap.equal(RangeSet.of_lengths(told), truth, f"windows of {capacity}")
            ktap.check(calls <= len(truth) // capacity + 2, f"{calls} calls of {capacity}")


@ktap.case
def first_window_before_the_attach():
    """bareos asks for one of a file that is not attached, and for the others once it is."""
    with tracked(6) as (path, truth):
        with Files(path, f"{path}.lrct") as files:
            first, second = files.points()
            whole = files.changes(first, second).ranges
            answer, told = files.window(first, second, 0, 50)
        ktap.equal(whole, truth, "of the file")
        offset = answer.processed_byte_length
        validated(told, 0, offset)
        with attached(path) as disk:
            rest, _ = in_windows(
                lambda at, room: disk.handle.query(first, second, at, capacity=room), SIZE, 50,
                offset)
        ktap.equal(RangeSet.of_lengths(told + rest), truth, "of both")


@ktap.case
def array_that_grows():
    """All in one call, with a larger array each time: what an answer lacks is only what did not fit."""
    with tracked() as (path, truth), attached(path) as disk:
        first, second = disk.handle.ids()
        capacity = len(truth) // 4 ** 4
        for growth in range(5):
            answer, found = disk.handle.query(first, second, capacity=capacity)
            validated(found, 0, answer.processed_byte_length)
            ktap.equal(len(found), capacity, f"ranges after {growth} times")
            ktap.equal(RangeSet.of_lengths(found),
                       truth.clip(0, answer.processed_byte_length), "what was processed")
            ktap.equal(answer.processed_byte_length == SIZE, growth == 4, "all of it")
            capacity *= 4


@ktap.case
def answer_that_nobody_looks_behind():
    """Who asks the method once and ignores what was processed has everything all the same."""
    with tracked() as (path, truth):
        for where in ("file", "disk"):
            with attached(path) if where == "disk" else contextlib.nullcontext():
                first = ctl.json("points", path)["points"][0]["id"].encode()
                processed, count = ctypes.c_uint64(), ctypes.c_size_t()
                ranges = ctypes.POINTER(uapi.Range)()
                code = library.vhdx_get_virtual_disk_changes(
                    os.fsencode(path), first, None, 0, SIZE, ctypes.byref(processed),
                    ctypes.byref(ranges), ctypes.byref(count), None)
                ktap.equal((code, processed.value), (0, SIZE), f"of the {where}")
                found = [(one.byte_offset, one.byte_length) for one in ranges[:count.value]]
                libc.free(ranges)
                ktap.equal(RangeSet.of_lengths(found), truth, f"of the {where}")


@ktap.case
def length_of_the_file():
    """That of a fixed disk's file is more than the disk has: refused, and why is said."""
    with images.container(16 * MIB, MIB, fixed=True) as path:
        length = os.stat(path).st_size
        ktap.check(length > 16 * MIB, "the file is no larger than its disk")
        with attached(path, "--track") as disk:
            point, = disk.handle.ids()
            text = ctypes.create_string_buffer(256)
            failure = expect_failure(
                errno.EINVAL, uapi.ARGUMENT, disk.handle.query, point, length=length,
                message=ctypes.addressof(text), message_capacity=len(text))
            ktap.equal(failure.argument.virtual_disk_size, 16 * MIB, "virtual_disk_size")
            for number in (length, 16 * MIB):
                ktap.check(str(number) in text.value.decode(), f"no {number}: {text.value}")
            done = ctl.run("changes", disk.node, "--since", point, "--length", length,
                           status=ctl.FAILED)
            ktap.check(str(16 * MIB) in done.stderr, done.stderr)
        outputs = [ctypes.byref(one) for one in (ctypes.c_uint64(), ctypes.c_void_p(),
                                                 ctypes.c_size_t())]
        code = library.vhdx_get_virtual_disk_changes(os.fsencode(path), str(point).encode(), None,
                                                     0, length, *outputs, None)
        ktap.equal(code, 32773, "the method")
        ktap.check(str(16 * MIB).encode() in library.vhdx_error_message(), "the size is not said")


@ktap.case
def some_progress_always():
    """However little room and time there is, wherever it begins: at least a unit, or to its end."""
    rng = random.Random(9)
    with tracked() as (path, truth), attached(path) as disk:
        first, second = disk.handle.ids()
        for _ in range(300):
            offset = rng.choice((rng.randrange(SIZE), rng.randrange(SIZE // UNIT) * UNIT,
                                 SIZE - rng.randrange(1, UNIT)))
            length = rng.choice((1, UNIT - 1, UNIT, SIZE - offset))
            length = min(length, SIZE - offset)
            answer, found = disk.handle.query(first, second, offset, length, capacity=1,
                                              time_limit_ms=rng.choice((0, 1)))
            processed = answer.processed_byte_length
            least = min(length, UNIT - offset % UNIT)
            ktap.check(least <= processed <= length, f"{processed} of {offset}+{length}")
            ktap.equal(RangeSet.of_lengths(found), truth.clip(offset, offset + processed),
                       f"{offset}+{processed}")


@ktap.case
def room_that_an_id_does_not_fit():
    """An error, and nothing of it: half an id may be one, of another point."""
    with tracked(7) as (path, _), attached(path) as disk:
        handle = ctypes.c_void_p()
        ktap.equal(library.vhdx_disk_open(disk.node.encode(), None, 0, ctypes.byref(handle)), 0)
        whole = disk.handle.state()
        for size in (*range(4, 100, 4), ctypes.sizeof(uapi.TrackingState) - 1):
            state = uapi.TrackingState(size=size)
            before = bytes(state)
            number = ioctl(disk.handle.fd, uapi.GET_TRACKING_STATE, state)
            taken = library.vhdx_disk_get_tracking_state(
                handle, ctypes.byref(uapi.TrackingState(size=size)))
            ktap.equal(taken, -number, f"the library, of {size} bytes")
            if number:
                ktap.equal((number, bytes(state)), (errno.EINVAL, before), f"{size} bytes")
            else:
                ktap.equal(state.most_recent_id, whole.most_recent_id, f"id in {size} bytes")
        room = (uapi.Point * 2)()
        for size in (1, 16, ctypes.sizeof(uapi.PointId), ctypes.sizeof(uapi.Point) - 1):
            expect_failure(errno.EINVAL, uapi.ARGUMENT, points_of, disk.handle.fd, room, size)
            ktap.equal(bytes(room), bytes(ctypes.sizeof(room)), "something was filled in")
            array, count = ctypes.c_void_p(), ctypes.c_size_t()
            ktap.equal(library.vhdx_disk_get_points(handle, size, ctypes.byref(array),
                                                    ctypes.byref(count)), -errno.EINVAL)
            ktap.equal((array.value, count.value), (None, 0), "the library's list")
        library.vhdx_disk_close(handle)


def points_of(fd, room, size):
    """Asks for points of this size."""
    argument = uapi.GetPoints(output=ctypes.addressof(room), output_capacity=len(room),
                              point_size=size)
    number = ioctl(fd, uapi.GET_POINTS, argument)
    if number:
        raise Failure(number, argument)


class Agent:
    """Keeps a copy of a disk: seal, ask from the last point until this one, copy, forget."""

    def __init__(self, disk, capacity):
        self.disk, self.capacity = disk, capacity
        self.old = disk.handle.seal(f"windows of {capacity}")
        self.copy = bytearray(disk.read(0, disk.size))

    def run(self, meanwhile):
        """meanwhile() is called between two windows."""
        new = self.disk.handle.seal(f"windows of {self.capacity}")

        def query(offset, capacity):
            meanwhile()
            return self.disk.handle.query(self.old, new, offset, capacity=capacity)
        told, _ = in_windows(query, self.disk.size, self.capacity)
        for offset, length in told:
            self.copy[offset:offset + length] = self.disk.read(offset, length)
        self.disk.handle.forget(self.old)
        self.old = new


@ktap.case
def two_agents():
    """Each has its own points, and seals and forgets while the other asks; both copies are the disk."""
    rng = random.Random(10)
    with tracked_container(8 * MIB, unit=UNIT) as path, attached(path) as disk:
        agents = [Agent(disk, capacity) for capacity in (50, 4096)]
        for turn in range(6):
            for _ in range(60):
                disk.write(rng.randrange(8 * MIB // 512) * 512,
                           bytes([rng.randrange(1, 256)]) * 512)
            one, other = agents if turn % 3 else agents[::-1]
            interruptions = iter([lambda: other.run(lambda: None)])
            one.run(lambda: next(interruptions, lambda: None)())
            content = disk.read(0, disk.size)
            for agent in agents:
                ktap.check(agent.copy == content, f"copy in windows of {agent.capacity}")
        ktap.equal(len(disk.handle.ids()), 3, "points: the first, and one of each")


def messages(*words):
    """The messages of a stream, each a list of (offset, length)."""
    lines = ctl.run(*words, "--format", "csi").stdout.splitlines()
    told = [json.loads(line) for line in lines]
    ktap.equal({(one["block_metadata_type"], one["volume_capacity_bytes"]) for one in told},
               {("VARIABLE_LENGTH", SIZE)}, "type and capacity")
    return [[(one["byte_offset"], one["size_bytes"]) for one in message["block_metadata"]]
            for message in told]


def refused(status, *words, code=ctl.FAILED):
    """A stream that is an error."""
    line, = ctl.run(*words, "--format", "csi", status=code).stdout.splitlines()
    ktap.equal(json.loads(line)["error"]["status"], status, f"status of {words}")


@ktap.case
def snapshot_metadata():
    """What Kubernetes asks of a CSI driver: Allocated and Delta, resumed, and refused."""
    with tracked(8) as (path, truth), attached(path) as disk:
        first, second = disk.handle.ids()
        delta = ("changes", disk.node, "--since", first, "--target", second)
        found = messages(*delta, "--max-results", 1000)
        ktap.equal([len(one) for one in found[:-1]], [1000] * (len(found) - 1), "results")
        validated(sum(found, []), 0, SIZE)
        ktap.equal(RangeSet.of_lengths(sum(found, [])), truth, "Delta")
        # It broke off behind its third message.
        rest = sum(messages(*delta, "--offset", sum(found[2][-1])), [])
        ktap.equal(sum(found[:3], []) + rest, sum(found, []), "resumed")
        disk.write(100 * MIB, b"x" * 512)
        allocated = sum(messages("allocated", disk.node), [])
        ktap.equal(RangeSet.of_lengths(allocated), RangeSet([(100 * MIB, 101 * MIB)]), "Allocated")
        refused("OUT_OF_RANGE", *delta, "--offset", SIZE + 1)
        refused("NOT_FOUND", "changes", disk.node, "--since",
                uapi.PointId(sequence=1, kind=uapi.POINT_REFERENCE), code=ctl.FULL_BACKUP)
        disk.handle.reset()
        refused("FAILED_PRECONDITION", "changes", disk.node, "--since", second,
                code=ctl.FULL_BACKUP)
        ktap.equal(messages(*delta, "--offset", SIZE), [[]], "at the very end")


@ktap.case
def delta_that_is_verified():
    """`vhdxctl verify` of a disk in use believes it, and finds the byte that a delta lacks."""
    with images.directory() as directory, tracked_container(8 * MIB, unit=UNIT) as path, \
            attached(path) as disk:
        disk.write(MIB, b"a" * 8192)
        base = images.raw_copy(disk.node, directory / "old.raw")
        point = disk.handle.seal()
        disk.write(2 * MIB, b"b" * 512)
        disk.write(MIB + 4096, b"c" * 512)
        command = ("verify", disk.node, "--base", base, "--since", point)
        shown = ctl.json(*command)
        ktap.equal((shown["complete"], shown["changed_bytes"], shown["compared_bytes"]),
                   (True, 2 * UNIT, 8 * MIB - 2 * UNIT), "verdict")
        with open(base, "r+b") as image:
            os.pwrite(image.fileno(), b"d", MIB + 4095)
        shown = ctl.json(*command, status=ctl.FAILED)
        ktap.equal([(one["offset"], one["length"]) for one in shown["ranges"]],
                   [(MIB + 4095, 1)], "what it lacks")


ktap.main()
