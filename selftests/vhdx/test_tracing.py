#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# vm: own-vm smp=1 on=- full=6.12 takes=25
"""Events of tracefs: each that Documentation/tracing.rst has is seen, and says what happened. And
what is seen by those of others: what io_uring has to wait for, and the stack.

The kernels of User Mode Linux have no tracing. One CPU: to turn an event on patches the kernel,
and QEMU sometimes has another CPU run into what is being patched ("Oops: int3").
"""

import contextlib
import os
import pathlib
import re
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
from vhdxtest import ctl, dio, filesystem, knob, ktap, pressure
from vhdxtest.device import Control
from vhdxtest.disk import attached
from vhdxtest.images import KIB, MIB, blank_device, command, container, create, directory, loop

TRACING = pathlib.Path("/sys/kernel/tracing")
EVENTS = TRACING / "events/vhdx"
WORK = TRACING / "events/workqueue"
DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "Documentation/tracing.rst"


@contextlib.contextmanager
def traced():
    """A list that holds what was traced, as (event, {field: text}), once the block has ended; task
    is one of the fields: the number of the thread."""
    found = []
    (TRACING / "trace").write_text("")
    (EVENTS / "enable").write_text("1")
    try:
        yield found
    finally:
        (EVENTS / "enable").write_text("0")
        text = (TRACING / "trace").read_text()
        for task, event, fields in re.findall(
                r"-(\d+) +\[.*: (vhdx_\w+): vhdx\d+: (.*)", text):
            words = fields.split()
            found.append((event, dict(word.split("=") for word in words if "=" in word) |
                          {"direction": words[0], "task": task}))


def numbers(found, event, *names):
    """The fields of these names, of each such event."""
    return [tuple(int(fields[name]) for name in names) for one, fields in found if one == event]


def words(found, event, name):
    """The field of this name, of each such event."""
    return [fields[name] for one, fields in found if one == event]


@ktap.case
def documented():
    """Those that the kernel has, with their fields."""
    known = {}
    for event, fields in re.findall(r"^``(vhdx_\w+): ([^`]*)``$", DOCUMENT.read_text(), re.M):
        known[event] = set(re.findall(r"(\w+)=", fields))
    there = {path.parent.name: set(re.findall(r" (\w+)=%", path.read_text()))
             for path in EVENTS.glob("*/format")}
    ktap.equal(known, there, "events and their fields")


@ktap.case
def reads_and_writes():
    """A hole, a first write, which begins the session, and one in place."""
    with container() as path, traced() as found:
        with attached(path) as disk:
            disk.read(0, 4 * KIB)
            disk.write(3 * MIB, bytes(4 * KIB))
            disk.write(3 * MIB + 8 * KIB, bytes(8 * KIB))
            disk.read(3 * MIB + 8 * KIB, 8 * KIB)
    slow = [(fields["direction"], fields["why"]) for event, fields in found if event == "vhdx_slow"]
    for one in (("read", "page"), ("write", "session"), ("write", "allocate")):
        ktap.check(one in slow, f"{one} is not in {slow}")
    ((block, where, _),) = numbers(found, "vhdx_allocate", "block", "where", "zeroed")
    ktap.equal(block, 3, "block")
    mapped = [(fields["direction"], fields["kind"]) + tuple(
        int(fields[name]) for name in ("offset", "length", "where"))
              for event, fields in found if event == "vhdx_map"]
    ktap.check(("read", "zero", 0, 4 * KIB, 0) in mapped, f"no read of nothing: {mapped}")
    place = 3 * MIB + 8 * KIB, 8 * KIB, where + 8 * KIB
    for direction in ("write", "read"):
        ktap.check((direction, "data", *place) in mapped, f"no {direction} in place: {mapped}")
    pages = [pages for pages, err in numbers(found, "vhdx_commit", "pages", "err") if not err]
    ktap.check(1 in pages, f"no commit of one page: {pages}")


@ktap.case
def first_writes_when_room_is_ready():
    """Whoever writes allocates; no worker does anything."""
    with container() as path, attached(path) as disk:
        disk.write(0, bytes(4 * KIB))
        with traced() as found:
            for block in range(1, 5):
                disk.write(block * MIB + 8 * KIB, bytes(4 * KIB))
    ktap.equal(numbers(found, "vhdx_allocate", "block", "zeroed", "task"),
               [(block, 1, threading.get_native_id()) for block in range(1, 5)], "blocks")
    ktap.equal(words(found, "vhdx_slow", "why"), [], "what waited")


@ktap.case
def a_point_and_a_question():
    """The steps of a seal; what an answer was made of; and a gap."""
    with container() as path, attached(path, "--track") as disk:
        first, = disk.handle.ids()
        disk.write(0, bytes(4 * KIB))
        with traced() as found:
            point = disk.handle.seal()
            changed = disk.handle.changes(first, point)
            ctl.run("track", "reset", disk.node)
    steps = words(found, "vhdx_seal_step", "step")
    ktap.equal(steps[:5], ["exchanged", "committed", "pending", "renewed", "issued"], "steps")
    ktap.check(len(numbers(found, "vhdx_sidecar_commit", "time", "err")) >= 2,
               "a seal commits the sidecar twice")
    ktap.check((len(changed), 1) in numbers(found, "vhdx_query", "ranges", "leaves"),
               f"{words(found, 'vhdx_query', 'ranges')} ranges")
    ktap.equal(words(found, "vhdx_gap", "reason"), ["6"], "the reason: a reset")


@ktap.case
def one_read_of_several_blocks():
    """Neighbours that are nowhere are found as one, up to a block that is there; a write to them
    makes one after the other."""
    with container() as path, attached(path) as disk:
        disk.write(4 * MIB, bytes(4 * KIB))
        disk.read(0, 4 * KIB)
        with traced() as found:
            disk.read(768 * KIB, 512 * KIB)
            disk.read(4 * MIB - 256 * KIB, 512 * KIB)
            disk.write(2 * MIB - 256 * KIB, bytes(512 * KIB))
    ktap.equal([one for one in numbers(found, "vhdx_map", "offset", "length")
                if one[0] in (768 * KIB, MIB, 4 * MIB - 256 * KIB, 4 * MIB)],
               [(768 * KIB, 512 * KIB), (4 * MIB - 256 * KIB, 256 * KIB), (4 * MIB, 256 * KIB)],
               "reads")
    ktap.equal(numbers(found, "vhdx_allocate", "block"), [(1,), (2,)], "blocks that were made")


@ktap.case
def data_behind_a_flush():
    """It starts over once the commit is done, and no worker that commits starts it: that may take
    memory which only this worker gives back."""
    with container(64 * MIB) as path, attached(path) as disk:
        with filesystem.mounted_at(disk.node, path.with_name("mount")) as where:
            (WORK / "enable").write_text("1")
            try:
                with traced():
                    # The journal's commit record has a flush in front of it.
                    with open(where / "file", "wb") as file:
                        file.write(b"x" * 4096)
                        os.fsync(file.fileno())
                    text = (TRACING / "trace").read_text()
            finally:
                (WORK / "enable").write_text("0")
    does, starters = {}, []
    for pid, event, rest in re.findall(r"^ *\S+-(\d+) .*?: (\w+): (.*)$", text, re.M):
        if event == "workqueue_execute_start":
            does[pid] = rest.rpartition("function ")[2].split()[0]
        elif event == "workqueue_execute_end":
            does.pop(pid, None)
        elif event in ("vhdx_map", "vhdx_slow") and " write " in rest and pid in does:
            starters.append(does[pid])
    ktap.check("restart_work" in starters, f"nothing starts over: {starters}")
    ktap.check("commit_work" not in starters, f"writes are started by {starters}")


SEALS = 20


@ktap.case
def sealed_together():
    """Writes that a seal of several disks holds up are started by others: the task that opens the
    gates starts none of them, and waits for none (rule T2)."""
    with container() as one, container() as two, attached(one, "--track") as first, \
            attached(two, "--track") as second:
        stop = threading.Event()

        def write(disk, number):
            with dio.Direct(disk.node, write=True) as data:
                while not stop.is_set():
                    data.write(number * MIB, bytes(4 * KIB))

        writers = [threading.Thread(target=write, args=(disk, number))
                   for disk in (first, second) for number in range(4)]
        for writer in writers:
            writer.start()
        time.sleep(0.5)
        with traced() as found:
            for _ in range(SEALS):
                Control.seal_of(first.handle, second.handle)
        stop.set()
        for writer in writers:
            writer.join()
    parked = words(found, "vhdx_slow", "why").count("gate")
    ktap.diag(f"{parked} writes were parked")
    ktap.check(parked, "none was parked: nothing was tested")
    # The thread of each seal, which opens the gates.
    sealed = {fields["task"] for event, fields in found
              if event == "vhdx_seal_step" and fields["step"] == "exchanged"}
    ktap.check(sealed, "nobody sealed")
    ktap.check(not sealed & set(words(found, "vhdx_map", "task")), "whoever seals started a write")


# ---- io_uring ---------------------------------------------------------------------------------

# What it has a thread of its own do, which waits there.
PUNTS = TRACING / "events/io_uring/io_uring_queue_async_work"


def punts(node, offset, size, how):
    """How many reads and writes of this part of a disk did not get on without waiting."""
    (TRACING / "trace").write_text("")
    with knob.turned(PUNTS / "enable", "1"):
        command("fio", "--name=uring", f"--filename={node}", "--ioengine=io_uring", "--direct=1",
                "--iodepth=8", f"--rw={how}", "--bs=16k", f"--offset={offset}", f"--size={size}")
        text = (TRACING / "trace").read_text()
    return text.count(": io_uring_queue_async_work:")


def without_waiting(path, *options):
    """Reads, and writes to what is there, never wait; what has to be recorded, or made room for,
    does, in io_uring's own thread, and as often as it must be."""
    with attached(path, "--track", *options) as disk:
        first = punts(disk.node, 0, 4 * MIB, "write")
        ktap.check(first, "nothing of a first write waits: nothing was tested")
        # Bytes that were written are read, and written again; and such as never were.
        ktap.equal(punts(disk.node, 0, 4 * MIB, "randread"), 0, "reads that waited")
        ktap.equal(punts(disk.node, 0, 4 * MIB, "randwrite"), 0, "writes in place that waited")
        ktap.equal(punts(disk.node, 8 * MIB, 4 * MIB, "randread"), 0, "reads of nothing that waited")
        ktap.diag(f"{first} of {4 * MIB // (16 * KIB)} first writes waited")


@ktap.case
def io_uring_on_a_device():
    """A container on a block device."""
    with directory() as scratch, blank_device(32 * MIB) as device:
        create(device, 16 * MIB, MIB)
        without_waiting(device, "--sidecar", scratch / "sidecar")


@ktap.case
def io_uring_in_a_file():
    """One in a file: workers wait for the file system, and who sends does not."""
    with container() as path:
        without_waiting(path)


# ---- the stack --------------------------------------------------------------------------------

# Of 16 KiB: the driver, and what is above and below it.
STACK_MOST = 9 * KIB
MEMORY = 16 * MIB


@contextlib.contextmanager
def stack_watched():
    """How much of the stack is in use at the most, in all of the kernel."""
    (TRACING / "stack_max_size").write_text("0")
    with knob.turned("/proc/sys/kernel/stack_tracer_enabled", "1"):
        yield
    size = int((TRACING / "stack_max_size").read_text())
    ktap.diag(f"{size} bytes\n{(TRACING / 'stack_trace').read_text()}")
    ktap.check(0 < size <= STACK_MOST, f"{size} bytes of the stack are in use")


@ktap.case
def stack():
    """A file system on a disk, on a loop device, on a file system on a disk: who has no memory
    writes it back, from wherever it needs some. Almost half of the stack is to spare."""
    with container(400 * MIB) as path, attached(path) as lower, \
            filesystem.made("ext4", lower.node) as where:
        inner = create(where / "inner.vhdx", 200 * MIB, MIB)
        os.truncate(inner, 240 * MIB)
        with loop(inner) as device, attached(device, "--no-track") as upper, \
                filesystem.made("ext4", upper.node) as top, stack_watched():
            with pressure.group(MEMORY) as inside:
                pressure.write_back(top, 3 * MEMORY, inside)


if not (TRACING / "events").is_dir():
    ktap.skip_all("this kernel has no tracing")
ktap.main()
