#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_kernel_calls - linux/vhdx_api.h answers as the ioctls do (selftests/modules/vhdx_ask)
#
# vm: on=uml takes=8
import contextlib
import ctypes
import errno
import os
import pathlib
import signal
import sys
import time
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, images, kernel_calls, ktap, mapper, slow, uapi  # noqa: E402
from vhdxtest.device import Failure  # noqa: E402
from vhdxtest.disk import attached  # noqa: E402
from vhdxtest.images import KIB, MIB  # noqa: E402

SIZE = 64 * MIB
UNIT = 16 * KIB


@contextlib.contextmanager
def history(rng, points=3):
    """(a disk with some history, its points, who asks in the kernel)"""
    with images.container(SIZE) as path, attached(path, "--track") as disk:
        ids = disk.handle.ids()
        for _ in range(points):
            for _ in range(20):
                disk.write(rng.randrange(SIZE // UNIT) * UNIT, rng.randbytes(512))
            ids.append(disk.handle.seal("a point"))
        disk.write(3 * MIB, b"live" * 128)
        with kernel_calls.held(disk) as kernel:
            yield disk, ids, kernel


def same_figures(kernel, argument):
    """What is told beside the answer."""
    told = kernel.told
    ktap.equal((told["processed"], told["size"], told["reason"]),
               (argument.processed_byte_length, argument.virtual_disk_size, argument.reason),
               "processed, size, reason")
    if hasattr(argument, "unit"):
        ktap.equal((told["unit"], told["flags"]), (argument.unit, argument.answer_flags),
                   "unit, flags")


@ktap.case
def state_and_points():
    """All of what the ioctls fill in."""
    with history(ktap.chance("state")) as (disk, ids, kernel):
        kernel.call("info")
        ktap.equal(kernel.answer, bytes(disk.handle.info()), "info")
        kernel.call("state")
        ktap.equal(kernel.answer, bytes(disk.handle.state()), "state")
        for after in (uapi.NOW, *ids):
            for capacity in (1, 2, 16):
                kernel.call("points", kernel_calls.id_text(after), capacity)
                right = disk.handle.points(after, capacity)
                ktap.equal((kernel.told["count"], kernel.answer),
                           (len(right), b"".join(map(bytes, right))), "points")


@ktap.case
def changes():
    """Between any two points, of any part, in any form, and a page at a time."""
    rng = ktap.chance("changes")
    with history(rng) as (disk, ids, kernel):
        for _ in range(40):
            first, second = sorted(rng.sample(range(len(ids) + 1), 2))
            limit, target = ids[first], (ids + [uapi.NOW])[second]
            offset = rng.randrange(SIZE)
            length = rng.randrange(SIZE - offset)
            options = {"granularity": rng.choice((0, UNIT, MIB)), "min_gap": rng.choice((0, MIB))}
            for capacity in (rng.randrange(1, 5), 4096):
                kernel.ask("ranges", limit, target, offset, length, *options.values(), capacity)
                argument, right = disk.handle.flagged(limit, target, offset, length, capacity,
                                                      **options)
                ktap.equal(kernel.answer, b"".join(map(bytes, right)), "ranges")
                same_figures(kernel, argument)
            kernel.ask("each", limit, target, offset, length, *options.values())
            ktap.equal(kernel.answer, b"".join(map(bytes, right)), "each")
            same_figures(kernel, argument)


@ktap.case
def has_enough():
    """A function that returns 1 is not called again, and that is what is returned."""
    rng = ktap.chance("enough")
    with history(rng) as (disk, ids, kernel):
        _, right = disk.handle.flagged(ids[0], uapi.NOW, 0, SIZE, 4096)
        for wanted in (1, len(right) // 2, len(right) - 1):
            returned = kernel.ask("each", ids[0], uapi.NOW, 0, SIZE, capacity=wanted)
            ktap.equal(returned, 1, "what is returned")
            ktap.equal(kernel.answer, b"".join(map(bytes, right[:wanted])), "ranges before")
            ktap.equal(kernel.told["processed"], 0, "processed")


@ktap.case
def bits():
    """Word by word; what is behind the end is zero."""
    with history(ktap.chance("bits")) as (disk, ids, kernel):
        for offset, length, words in ((0, SIZE, 512), (0, SIZE, 3), (64 * UNIT, 100 * UNIT, 64)):
            kernel.ask("bits", ids[0], uapi.NOW, offset, length, capacity=words)
            argument, right = disk.handle.bits(ids[0], uapi.NOW, offset, length, words * 8)
            same_figures(kernel, argument)
            granules = -(-argument.processed_byte_length // UNIT)
            found = int.from_bytes(kernel.answer, sys.byteorder) & ((1 << granules) - 1)
            ktap.equal(found, int.from_bytes(right, "little") & ((1 << granules) - 1), "bits")


@ktap.case
def allocated():
    """And a page at a time."""
    with history(ktap.chance("allocated")) as (disk, ids, kernel):
        for capacity in (1, 3, 4096):
            kernel.ask("allocated", uapi.NOW, uapi.NOW, 0, SIZE, capacity=capacity)
            argument, right = disk.handle.allocated(0, SIZE, capacity)
            ktap.equal(kernel.answer, b"".join(map(bytes, right)), "ranges")
            same_figures(kernel, argument)
        for limit, target, granularity in ((ids[0], uapi.NOW, 0), (uapi.NOW, ids[0], 0),
                                           (uapi.NOW, uapi.NOW, UNIT)):
            ktap.expect_errno(errno.EINVAL, kernel.ask, "allocated", limit, target, 0, SIZE,
                              granularity)
            ktap.equal(kernel.told["reason"], uapi.ARGUMENT, "reason")


@ktap.case
def refused():
    """With the errno and the reason that the ioctl has."""
    unknown = uapi.PointId((ctypes.c_uint8 * 16)(*range(16)), 7, uapi.POINT_REFERENCE)
    with history(ktap.chance("refused")) as (disk, ids, kernel):
        for limit, target, offset, length, granularity, capacity in (
                (unknown, uapi.NOW, 0, SIZE, 0, 16), (uapi.NOW, uapi.NOW, 0, SIZE, 0, 16),
                (ids[1], ids[0], 0, SIZE, 0, 16), (ids[0], unknown, 0, SIZE, 0, 16),
                (ids[0], uapi.NOW, 0, SIZE + 1, 0, 16), (ids[0], uapi.NOW, 2 ** 64 - 1, 2, 0, 16),
                (ids[0], uapi.NOW, 0, SIZE, 512, 16), (ids[0], uapi.NOW, 0, SIZE, 3 * UNIT, 16),
                (ids[0], uapi.NOW, 0, SIZE, 0, 0)):
            try:
                disk.handle.flagged(limit, target, offset, length, capacity,
                                    granularity=granularity)
                raise AssertionError("the ioctl does not refuse it")
            except Failure as failure:
                right = failure.errno, failure.reason, 0
            try:
                kernel.ask("ranges", limit, target, offset, length, granularity, 0, capacity)
                raise AssertionError("the call does not refuse it")
            except OSError as failure:
                told = kernel.told
                ktap.equal((failure.errno, told["reason"], told["processed"]), right,
                           "errno, reason, processed")
                ktap.equal(told["size"], SIZE, "size")
        ktap.expect_errno(errno.ENODATA, kernel.call, "forget", kernel_calls.id_text(unknown))
        ktap.equal(kernel.told["reason"], uapi.ID_MISSING, "reason")
        ktap.expect_errno(errno.EINVAL, kernel.call, "seal", "x" * (uapi.LABEL_MAX + 1))
        ktap.equal(kernel.told["reason"], uapi.ARGUMENT, "reason")


@ktap.case
def seal_and_forget():
    """Of two disks at one instant, or of neither."""
    with images.container(SIZE) as one, images.container(SIZE) as two, \
            attached(one, "--track") as first, attached(two) as second:
        with kernel_calls.held(first, second) as kernel:
            # The second one is not tracked.
            ktap.expect_errno(errno.EOPNOTSUPP, kernel.call, "seal")
            ktap.equal((kernel.told["failed"], kernel.told["reason"]), (1, uapi.DISABLED),
                       "failed, reason")
            ktap.equal(len(first.handle.ids()), 1, "points")
        images.command("vhdxctl", "track", "enable", second.node)
        with kernel_calls.held(first, second) as kernel:
            kernel.call("seal", "at one instant")
            ids = (uapi.PointId * 2).from_buffer_copy(kernel.answer)
            for disk, point in zip((first, second), ids):
                newest = disk.handle.points()[-1]
                ktap.equal((bytes(newest.id), newest.text), (bytes(point), "at one instant"),
                           "the newest point")
            oldest = first.handle.ids()[0]
            kernel.call("forget", kernel_calls.id_text(oldest))
            ktap.check(oldest not in first.handle.ids(), "it is still there")
        with kernel_calls.held(second, first, first) as kernel:
            ktap.expect_errno(errno.EINVAL, kernel.call, "seal")
            ktap.equal((kernel.told["failed"], kernel.told["reason"]), (2, uapi.ARGUMENT),
                       "failed, reason")


@ktap.case
def killed_in_a_seal():
    """Whoever waits for a container that hangs. There is no point, and no reason."""
    with images.directory() as directory, slow.device(directory / "backing", 32 * MIB) as below:
        images.create(below.path, 16 * MIB, MIB)
        with attached(below.path, "--track", "--sidecar", directory / "sidecar") as disk:
            disk.write(0, b"x" * 4096)
            with kernel_calls.held(disk) as kernel:
                with mapper.hanging(below.name):
                    child = os.fork()
                    if not child:
                        kernel.call("seal")
                        os._exit(0)
                    time.sleep(0.5)
                    os.kill(child, signal.SIGKILL)
                    _, status = os.waitpid(child, 0)
                ktap.check(os.WIFSIGNALED(status), "it had ended before it was killed")
                ktap.equal((kernel.told["reason"], len(disk.handle.ids())), (0, 1),
                           "reason, points")


@ktap.case
def all_are_held():
    """Who detaches them waits for those who hold them at once, not for one after the other."""
    with contextlib.ExitStack() as stack:
        disks = [stack.enter_context(attached(stack.enter_context(images.container(SIZE))))
                 for _ in range(4)]
        with kernel_calls.held(*disks):
            begin = time.monotonic()
            said = ctl.run("detach", "--all", status=1).stderr
            took = time.monotonic() - begin
        ktap.check(took < 20, f"it took {took:.0f} s")
        for disk in disks:
            ktap.check(f"{disk.node}: busy: the kernel module vhdx_ask" in said, said)


@ktap.case
def observed_twice():
    """The second time is refused; to let it be for the second time is nothing."""
    with images.container(SIZE) as path, attached(path) as disk:
        with kernel_calls.held(disk) as kernel:
            ktap.expect_errno(errno.EEXIST, kernel.call, "twice")
        disk.write(0, b"x" * 4096)


ktap.main()
