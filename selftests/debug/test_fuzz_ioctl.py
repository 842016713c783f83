#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_fuzz_ioctl - callers that mean no good, many of them at once
#
#	test_fuzz_ioctl.py [--seed N] [--seconds N] [CASE]...
#
# vm: mem=3G timeout=900 takes=50
"""No caller harms the kernel, or holds up others; afterwards the disks work."""

import argparse
import contextlib
import ctypes
import errno
import mmap
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "vhdx/lib"))
from vhdxtest import images, ktap, udev, uapi
from vhdxtest.device import Control, Handle, ioctl
from vhdxtest.disk import attached, raw_attached
from vhdxtest.images import KIB, MIB
from vhdxtest.late_memory import LateMemory, stuck
from vhdxoracle import check, faults

FUZZER = "/usr/libexec/vhdx-selftests/fuzz_ioctl"
# What a fuzzer that was told to stop may still take.
GRACE = 150
MAP_NORESERVE = 0x4000
# What nobody waits for takes less, under emulation and with everything checked.
SOON = 20


def parse():
    """The options; what is left are patterns of cases."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=ktap.SEED)
    parser.add_argument("--seconds", type=int, default=30 if ktap.BRIEF else 90)
    options, sys.argv[1:] = parser.parse_known_args()
    return options


OPTIONS = parse()


def tracked_pair(directory, names):
    """Containers with sidecars that hold some points; nothing is attached."""
    for name in names:
        path = images.create(directory / name, 16 * MIB, block_size=MIB)
        with attached(path, "--track") as disk:
            for number in range(3):
                disk.write(number * 3 * MIB, b"p" * 4096)
                disk.handle.seal()


@contextlib.contextmanager
def tracked_disk():
    """An attached disk with points."""
    with images.directory() as directory:
        path = directory / "disk.vhdx"
        tracked_pair(directory, [path.name])
        with raw_attached(path, f"{path}.lrct") as disk:
            yield disk


# ---- rule K4: a caller whose memory is late ---------------------------------------------

class Others:
    """What others do while somebody is stuck; it must all go on."""

    def __init__(self, disk):
        self.disk = disk
        self.begin = time.monotonic()

    def use_disk(self):
        """Writes, questions, points that come and go."""
        self.disk.write(MIB, b"o" * 4096)
        new = self.disk.handle.seal()
        self.disk.write(2 * MIB, b"o" * 4096)
        ktap.equal(self.disk.handle.changes(new), [(2 * MIB, 16 * KIB)], "changes")
        self.disk.handle.forget(self.disk.handle.ids()[0])
        self.disk.handle.disable()
        self.disk.handle.enable()
        self.disk.handle.reset()

    def check_time(self, thread):
        """Nobody waited, and there was somebody to wait for."""
        took = time.monotonic() - self.begin
        ktap.check(thread.is_alive(), "it was not stuck: nothing was tested")
        ktap.check(took < SOON, f"that took {took:.1f} s")


def stuck_case(make, expected):
    """One call that is stuck in late memory, while the disk goes and comes back.

    make(disk, fd, address) gives (fd, command, argument, what the memory is to hold).
    """
    memory = LateMemory()
    with images.directory() as directory:
        path = directory / "disk.vhdx"
        tracked_pair(directory, [path.name])
        with contextlib.ExitStack() as stack:
            with raw_attached(path, f"{path}.lrct") as disk:
                mine = stack.enter_context(Handle(disk.char, write=True))
                fd, command, argument, content = make(disk, mine.fd, memory.address)
                thread, results = stuck(memory, lambda _: ioctl(fd, command, argument))
                others = Others(disk)
                others.use_disk()
            others.check_time(thread)
            with raw_attached(path, f"{path}.lrct") as disk:
                Others(disk).use_disk()
                ktap.check(thread.is_alive(), "it was not stuck: nothing was tested")
                memory.let_go(content)
                thread.join(SOON)
                ktap.check(not thread.is_alive(), "it is still stuck")
            ktap.check(results[0] in expected, f"errno {results[0]}, not one of {expected}")


def late_argument(command, structure):
    """The argument itself is late; when it comes, the disk is gone."""
    return lambda disk, fd, address: (fd, command, address, bytes(structure()))


for _command, (_structure, _) in uapi.OF_DISK.items():
    ktap.add(f"late_argument_of_{_structure.__name__}", stuck_case,
             late_argument(_command, _structure), (errno.ENODEV,))


def late_output_of_changes(disk, fd, address):
    """Ranges go to late memory; they are the whole answer, from before. With flags there is more
    to look up, of a disk that may be gone by then."""
    argument = uapi.GetChanges(limit_id=disk.handle.ids()[0], byte_length=disk.size,
                               output=address, output_capacity=100,
                               range_size=uapi.RANGE_SIZE_SHORT)
    return fd, uapi.GET_CHANGES, argument, b""


def late_output_of_points(_, fd, address):
    """Points go to late memory; they were collected before."""
    return fd, uapi.GET_POINTS, uapi.GetPoints(output=address, output_capacity=100), b""


def late_message(_, fd, address):
    """Why it can't be enabled goes to late memory; nothing is changed by then."""
    argument = uapi.TrackingEnable(sidecar_fd=-1, message=address, message_capacity=100)
    return fd, uapi.TRACKING_ENABLE, argument, b""


class Seal:
    """A seal of which one array is late; what it needs lives as long as the test."""

    def __init__(self, late):
        self.late = late
        self.control = Control()
        self.ids = (uapi.PointId * 2)()
        self.fds = None

    def __call__(self, _, fd, address):
        self.fds = (ctypes.c_int32 * 1)(fd)
        where = {"fds": ctypes.addressof(self.fds), "ids": ctypes.addressof(self.ids)}
        where[self.late] = address
        return (self.control.fd, uapi.SEAL, uapi.Seal(count=1, **where),
                bytes(self.fds) if self.late == "fds" else b"")


ktap.add("late_output_of_changes", stuck_case, late_output_of_changes, (0,))
ktap.add("late_output_of_points", stuck_case, late_output_of_points, (0,))
ktap.add("late_message_of_enable", stuck_case, late_message, (errno.EALREADY,))
ktap.add("late_fds_of_seal", stuck_case, Seal("fds"), (errno.ENODEV,))
ktap.add("late_ids_of_seal", stuck_case, Seal("ids"), (errno.ENODEV,))


@ktap.case
def late_layers_of_attach():
    """Attaching is not held up by somebody who can't say what to attach."""
    memory = LateMemory()
    with Control() as control, tracked_disk() as disk:
        argument = uapi.Attach(layers=memory.address, layer_count=1, index=uapi.INDEX_ANY)
        thread, results = stuck(memory, lambda _: ioctl(control.fd, uapi.ATTACH, argument))
        others = Others(disk)
        others.use_disk()
        with tracked_disk() as other:
            Others(other).use_disk()
        others.check_time(thread)
        memory.let_go(bytes(uapi.Layer(-1, -1, 0, 0)))
        thread.join()
        ktap.equal(results, [errno.EBADF], "errno")


# ---- sizes ------------------------------------------------------------------------------------

@ktap.case
def arguments_of_4_gib():
    """All zeros, as far as the size reaches: nobody reads through that."""
    huge = 2 ** 32 - 1
    memory = mmap.mmap(-1, huge + 1, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    with tracked_disk() as disk, Control() as control:
        for fd, command in [(disk.handle.fd, command) for command in uapi.OF_DISK] + \
                [(control.fd, command) for command in uapi.OF_CONTROL]:
            memory[:4] = huge.to_bytes(4, "little")
            begin = time.monotonic()
            ktap.equal(ioctl(fd, command, address), errno.E2BIG, f"errno of {command:#x}")
            took = time.monotonic() - begin
            ktap.check(took < 0.5, f"{command:#x} took {took:.1f} s")


# ---- everything -------------------------------------------------------------------------------

def still_work(directory, names):
    """Attached, written, sealed, asked, detached; and right for the oracle."""
    for name in names:
        path = directory / name
        with raw_attached(path, f"{path}.lrct") as disk:
            Others(disk).use_disk()
        ktap.equal(faults(check(path, clean=True)), [], "faults")


@ktap.case
def hostile_callers():
    """src/fuzz_ioctl.c"""
    work = pathlib.Path(tempfile.mkdtemp(prefix="fuzz-"))
    images.command("mount", "-t", "tmpfs", "-o", "size=512M", "tmpfs", work)
    names = ["good0.vhdx", "good1.vhdx"]
    tracked_pair(work, names)
    # pylint: disable=consider-using-with
    fuzzer = subprocess.Popen([FUZZER, work, str(OPTIONS.seed), str(OPTIONS.seconds)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    said = []
    for line in fuzzer.stdout:
        said.append(line.rstrip("\n"))
        if line.startswith("done "):
            break
    for line in said:
        ktap.diag(line)
    ktap.check(said and said[-1].startswith("done "), "the fuzzer broke off")
    bad = [line for line in said if line.startswith("failure ")]
    ktap.check(not bad, f"{len(bad)} failures, the first: {bad[:1]}")
    ktap.equal(fuzzer.wait(GRACE), 0, "exit status")
    still_work(work, names)
    images.command("umount", "--lazy", work)
    shutil.rmtree(work, ignore_errors=True)


with udev.asleep():
    ktap.main()
