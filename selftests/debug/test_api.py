#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_api - every allocation, and every request, of the in-kernel API and of a mirror fails once
#
# A call that fails says so and leaves nothing behind; the next one works. A round of a mirror that
# fails is no round: the next one makes the target equal to the disk, and points do not pile up.
#
# vm: timeout=900 own-vm takes=40
import contextlib
import errno
import mmap
import pathlib
import sys
import time
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "vhdx/lib"))
# pylint: disable=wrong-import-position
from vhdxtest import (filesystem, images, inject, kernel_calls, ktap, mapper, mirror,  # noqa: E402
                      slow, udev, uapi, watch)
from vhdxtest.disk import attached, opened  # noqa: E402
from vhdxtest.images import KIB, MIB  # noqa: E402

SIZE = 8 * MIB
UNIT = 4 * KIB
CHANCE = ktap.chance()
# What a call may end with for want of memory, and where a request failed.
SHORT, FAILED = (errno.ENOMEM,), (errno.ENOMEM, errno.EIO, errno.EAGAIN)


def errno_of(call, *arguments):
    """0, or what it fails with."""
    try:
        call(*arguments)
    except OSError as failure:
        return failure.errno
    return 0


def sweep(call, *arguments, expected=SHORT, **options):
    """(number, errno) of a call, each time with something else that fails."""
    for number, result in inject.sweep(lambda: errno_of(call, *arguments), **options):
        ktap.check(not result or number, f"errno {result} with nothing injected")
        ktap.check(result in (0, *expected), f"{number}: errno {result}")
        yield number, result


@contextlib.contextmanager
def tracked():
    """A disk with some data."""
    with images.container(SIZE) as path, attached(path, "--track", "--unit", UNIT) as disk:
        write(disk)
        yield disk


def write(disk):
    """Here and there."""
    for _ in range(3):
        disk.write(CHANCE.randrange(SIZE // UNIT) * UNIT, CHANCE.randbytes(UNIT))


def holders(disk):
    """How many."""
    return len(disk.sysfs("holders").split())


@ktap.case
def hold():
    """A hold, or none."""
    with tracked() as disk, kernel_calls.held() as kernel:
        for _, result in sweep(kernel.call, "hold", disk.node):
            ktap.equal(holders(disk), int(not result), "holders")
            if not result:
                kernel.call("put")


@ktap.case
def ask():
    """The same answer, or none."""
    with tracked() as disk:
        points = [disk.handle.ids()[0]]
        for _ in range(3):
            write(disk)
            points.append(disk.handle.seal())
        write(disk)
        with kernel_calls.held(disk) as kernel:
            for form in ("ranges", "each", "bits", "allocated"):
                limit = uapi.NOW if form == "allocated" else points[0]
                question = (form, limit, uapi.NOW, 0, SIZE)
                capacity = {"capacity": SIZE // UNIT // 64} if form == "bits" else {}

                def call(question=question, capacity=capacity):
                    kernel.ask(*question, **capacity)

                call()
                right = kernel.answer
                for _, result in sweep(call):
                    told = kernel.told
                    if result:
                        ktap.equal((told["processed"], told["count"] if form != "each" else 0),
                                   (0, 0), "processed, count")
                    else:
                        ktap.equal((kernel.answer, told["processed"]), (right, SIZE), "answer")
            for command in (("info",), ("points", kernel_calls.id_text(uapi.NOW), 16)):
                for _, result in sweep(kernel.call, *command):
                    ktap.check(result or kernel.answer, "nothing was written")


@ktap.case
def seal_and_forget():
    """A point and its id, or neither; a point less, or none."""
    with tracked() as disk, kernel_calls.held(disk) as kernel:
        known = disk.handle.ids()
        for _, result in sweep(kernel.call, "seal", "a point"):
            found = disk.handle.ids()
            ktap.equal(len(found), len(known) + (not result), "points")
            ktap.check(result or kernel.answer == bytes(found[-1]), "another id")
            known = found
            write(disk)
        while len(disk.handle.ids()) < 3:
            disk.handle.seal()
        oldest = disk.handle.ids()[0]
        for _, result in sweep(kernel.call, "forget", kernel_calls.id_text(oldest)):
            ktap.equal(oldest in disk.handle.ids(), bool(result), "it is still there")


@ktap.case
def observe():
    """An observer that is told, or none; writes go on without one."""
    with tracked() as disk, watch.loaded():
        watch.tell("hold", disk.node)
        for _, result in sweep(watch.tell, "observe", 2):
            write(disk)
            if not result:
                ktap.equal(watch.told()[0]["submitted"], 3, "writes that were told")
                watch.tell("unobserve")


@ktap.case
def mirror_starts():
    """It does, or not at all."""
    with tracked() as disk, images.blank_device(SIZE + MIB) as target, mirror.loaded():
        with inject.calls_of("vhdx_mirror"):
            for _, result in sweep(mirror.tell, "start", disk.node, target, 3600000, 0,
                                   depth=inject.DEPTH):
                if not result:
                    mirror.tell("stop", target)
                ktap.equal(holders(disk), 0, "holders")


@ktap.case
def mirror_rounds():
    """Whatever fails in it, a round is whole or it failed; in the end the target has the disk."""
    with tracked() as disk, images.blank_device(SIZE + MIB) as target, mirror.loaded(), \
            mirror.mirrored(disk, target) as one:
        one.round()
        thread = one.thread
        failures = 0
        with inject.calls_of("vhdx_mirror", target, disk.node):
            def next_round():
                write(disk)
                one.round()

            for number, result in sweep(next_round, depth=inject.DEPTH, task=thread,
                                        expected=FAILED):
                failures += bool(result)
                if not result:
                    mirror.same(disk, target)
                one.round()
                mirror.same(disk, target)
                ktap.equal((one.error, mirror.points(disk)), (0, 1), "error, points")
        ktap.diag(f"{failures} rounds failed")
        ktap.equal(one.full, 1, "full copies")
        ktap.check(failures, "none of them failed")


@ktap.case
def mirror_copies_all():
    """The same of a full copy: until it is whole the target is a copy of nothing."""
    with tracked() as disk, images.blank_device(SIZE + MIB) as target, mirror.loaded(), \
            mirror.mirrored(disk, target) as one:
        one.round()
        thread = one.thread

        def full_round():
            write(disk)
            disk.handle.seal()
            for point in disk.handle.ids()[:-1]:
                disk.handle.forget(point)
            one.round()

        with inject.calls_of("vhdx_mirror", target, disk.node):
            for _, result in sweep(full_round, depth=inject.DEPTH, task=thread, expected=FAILED):
                if not result:
                    mirror.same(disk, target)
                one.round()
                mirror.same(disk, target)


def rounds_under_faults(disk, target, one):
    """For some time; how many of them were whole, and how many failed. After a whole one the target
    has what the disk has, however many failed before it, and whatever the thread of the mirror does
    by itself meanwhile."""
    whole = failed = 0
    end = time.monotonic() + (60 if ktap.LONG else 3)
    while time.monotonic() < end and disk.sysfs("poisoned") == "0":
        with inject.failing_requests(target, 4), inject.failing(1):
            for _ in range(CHANCE.randrange(1, 10)):
                with contextlib.suppress(OSError):
                    write(disk)
            result = errno_of(one.round)
        if result:
            failed += 1
        else:
            mirror.same(disk, target)
            whole += 1
    return whole, failed


@ktap.case
def mirror_under_random_faults():
    """While the disk is written and the target and memory fail now and then, a round is whole, or it
    says that it failed. Once all is well a round, perhaps of a disk that was attached again, or
    whose tracking had ended and begins anew, makes them equal."""
    with images.directory() as directory, slow.device(directory / "backing", 64 * MIB) as below, \
            images.blank_device(SIZE + MIB) as target, mirror.loaded():
        # On a block device a commit needs no memory: the disk is not poisoned at once.
        path, sidecar = images.create(below.path, SIZE, MIB), directory / "lrct"
        with attached(path, "--track", "--sidecar", sidecar, "--unit", UNIT) as disk:
            write(disk)
            disk.data.flush()
            with mirror.mirrored(disk, target, interval=1) as one:
                whole, failed = rounds_under_faults(disk, target, one)
                poisoned = disk.sysfs("poisoned") == "1"
                ktap.diag(f"{whole} whole rounds, {failed} failed; of all {one.rounds}, {one.full} "
                          f"were full; poisoned: {poisoned}")
                if not poisoned:
                    again(disk, sidecar, target, one)
        with attached(path, "--track", "--sidecar", sidecar) as disk, \
                mirror.mirrored(disk, target) as one:
            again(disk, sidecar, target, one)
        ktap.check(whole, "no round was whole: nothing was tested")
        ktap.check(failed, "no round failed: nothing was tested")


def again(disk, sidecar, target, one):
    """A round of a disk that is well, or will be: behind a gap it is of everything."""
    full = one.full
    ended = disk.handle.state().state != uapi.TRACKING_ON
    if ended:
        ktap.diag("tracking had ended")
        with opened(sidecar) as fd:
            disk.handle.enable(fd, UNIT, uapi.ENABLE_OVERWRITE)
    one.round()
    ktap.check(one.full > full or not ended, "the round behind a gap was not a full one")
    mirror.same(disk, target)


@ktap.case
def observed_swap_outs_are_cut():
    """Of a disk that is observed, and nothing but reserves is left for the driver. Pages lie across
    the border of two blocks, once a block; and more of them wait than observers can be told of."""
    if not ktap.LONG:
        ktap.skip("it takes ten seconds of CPU: in long runs")
    pages = 160 * MIB
    with images.directory() as scratch, slow.device(scratch / "backing", 300 * MIB) as below:
        images.create(below.path, 256 * MIB, MIB)
        with attached(below.path) as disk:
            # No block lies behind the one before it: a write to both is cut.
            for block in (*range(0, 256, 2), *range(1, 256, 2)):
                disk.write(block * MIB, bytes(4 * KIB))
            images.command("sfdisk", "-q", disk.node, stdin="2049,\n")
            with watch.watched(disk), filesystem.swap(f"{disk.node}p1"):
                memory = mmap.mmap(-1, pages, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
                for at in range(0, pages, 4096):
                    memory[at:at + 8] = at.to_bytes(8, "little")
                with inject.failing(100):
                    with mapper.hanging(below.name):
                        memory.madvise(21)              # MADV_PAGEOUT
                    ktap.eventually(watch.settled, "the end of all", 60)
                figures, _ = watch.told()
                ktap.diag(figures)
                ktap.check(figures["submitted_bytes"] > pages * 3 // 4, "little was swapped out")
                for at in range(0, pages, 37 * 4096):
                    ktap.equal(int.from_bytes(memory[at:at + 8], "little"), at, "a page")
                memory.close()


inject.require()
with udev.asleep():
    ktap.main()
