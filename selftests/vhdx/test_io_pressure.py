#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# vm: full=6.1:swap_outs*+page_cache*+control_group,6.12:page_cache_on*+control_group takes=40
"""What a disk takes from the machine that it works for, and asks of the file system below.

Threads, memory for what is not committed yet, changes of the file's size: each is bounded.
Whoever wrote pays for it, and a file is left as it was found.
"""

import contextlib
import mmap
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
from vhdxtest import dio, faulty, filesystem, images, judge, knob, ktap, mapper, slow
from vhdxtest.disk import attached
from vhdxtest.images import MIB, command
from vhdxtest.kernel_log import KernelLog
import vhdxoracle

SECTOR = 512
# Of the kernel's include/linux/sched.h.
PF_MEMALLOC_NOIO, PF_LOCAL_THROTTLE = 0x00080000, 0x00100000
TRACING = pathlib.Path("/sys/kernel/tracing")


# ---- threads ----------------------------------------------------------------------------

# Of what /proc/PID/stat has behind the name.
FLAGS, POLICY = 6, 38


def stat(process, field):
    """One of these of a process, by its directory in /proc."""
    return int((process / "stat").read_text(encoding="ascii").rpartition(")")[2].split()[field])


def workers(disk, field):
    """{process: one of these} of the kernel's workers that are busy for a disk."""
    found = {}
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"+vhdx{disk.index}-" in (process / "comm").read_text(encoding="ascii"):
                found[process] = stat(process, field)
    return found


@contextlib.contextmanager
def frozen(where):
    """The file system lets nobody write meanwhile."""
    command("fsfreeze", "--freeze", where)
    try:
        yield
    finally:
        command("fsfreeze", "--unfreeze", where)


def stuck_writes(fixed):
    """Hundreds of writes that the file system holds up keep a few threads, which may neither
    start I/O for memory nor be throttled for what they write."""
    with filesystem.mounted("ext4", 96 * MIB) as where:
        path = images.create(where / "disk.vhdx", 48 * MIB, MIB, fixed=fixed)
        with attached(path) as disk:
            disk.write(0, bytes(4096))
            disk.data.flush()
            load = ("fio", "--name=load", f"--filename={disk.node}", "--direct=1", "--bs=4k",
                    "--ioengine=libaio", "--iodepth=256", "--rw=randwrite", "--size=48M",
                    "--number_ios=256")
            inflight = pathlib.Path(f"/sys/block/vhdx{disk.index}/inflight")
            thaw = contextlib.ExitStack()
            thaw.enter_context(frozen(where))
            with images.process(*load) as running:
                with thaw:
                    ktap.eventually(lambda: int(inflight.read_text("ascii").split()[1]) >= 200,
                                    "200 writes are under way", 30)
                    time.sleep(1)
                    busy = workers(disk, FLAGS)
                running.wait(60)
            ktap.diag(f"{len(busy)} threads")
            ktap.check(0 < len(busy) <= 24, f"{len(busy)} threads for one disk")
            for process, flags in busy.items():
                ktap.check(flags & PF_MEMALLOC_NOIO, f"{process} may start I/O: {flags:#x}")
                ktap.check(flags & PF_LOCAL_THROTTLE, f"{process} may be throttled: {flags:#x}")


ktap.add("stuck_writes_in_place", stuck_writes, True)
ktap.add("stuck_first_writes", stuck_writes, False)


# ---- memory that is swapped out -------------------------------------------------------------

PAGE = 4096
# Of the kernel's include/uapi: asm-generic/mman-common.h, linux/sched.h.
MADV_NOHUGEPAGE, MADV_PAGEOUT = 15, 21
SCHED_NORMAL, SCHED_FIFO = 0, 1
# Of kmod/disk/swap_out.h: more than so many wait for their turn.
SWAP_OUTS = 128


def needs_swap():
    """Some kernels do not."""
    if not pathlib.Path("/proc/swaps").exists():
        ktap.skip("this kernel does not swap")


@contextlib.contextmanager
def swap_space():
    """(disk that is swap space, the device below the file system that its container is on)."""
    needs_swap()
    with images.directory() as scratch, slow.device(scratch / "backing", 96 * MIB) as below, \
            filesystem.made("ext4", below.path) as where:
        path = images.create(where / "disk.vhdx", 48 * MIB, MIB, fixed=True)
        with attached(path) as disk:
            with filesystem.swap(disk.node):
                try:
                    yield disk, below
                finally:
                    below.delay()
            ktap.equal(disk.sysfs("poisoned"), "0", "poisoned")
        judge.valid(path)


def writeback():
    """How many pages are being written, or wait for it."""
    said = pathlib.Path("/proc/meminfo").read_text(encoding="ascii")
    return int(re.search(r"^Writeback:\s+(\d+) kB", said, re.M)[1]) * 1024 // PAGE


@contextlib.contextmanager
def swapped_out(pages, below, milliseconds):
    """Memory goes out to the swap space, where a write takes so long; it comes back as it was."""
    content = ktap.chance().randbytes(pages * PAGE)
    with mmap.mmap(-1, pages * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        with contextlib.suppress(OSError):
            memory.madvise(MADV_NOHUGEPAGE)
        memory[:] = content
        below.delay(write=milliseconds)
        memory.madvise(MADV_PAGEOUT)
        yield
        below.delay()
        ktap.eventually(lambda: not writeback(), "everything is written", 30)
        ktap.check(memory[:] == content, "memory has another content")


@ktap.case
def urgent_while_it_swaps():
    """A worker that hands swapped memory to the file system is a task of real time, as long as
    that takes."""
    with swap_space() as (disk, below), KernelLog() as log:
        urgent = set()

        def look():
            urgent.update(process for process, policy in workers(disk, POLICY).items()
                          if policy == SCHED_FIFO)
            return urgent
        with swapped_out(8 * SWAP_OUTS, below, 300):
            ktap.eventually(look, "a worker is a task of real time", 10)
        ktap.diag(f"{len(urgent)} workers")
        ktap.eventually(lambda: all(stat(process, POLICY) == SCHED_NORMAL for process in urgent
                                    if process.exists()), "they are as they were", 10)
        # What is slow, but moves, is waited for.
        ktap.check(not write_errors(log), "writes were given back")


def write_errors(log):
    """What the kernel says of those that were given back; not of all, if they are many."""
    return [text for _, text in log.records() if "Write-error on swap-device" in text]


@ktap.case
def swap_outs_that_wait_are_given_back():
    """When none has ended for a second: what is needed for that to happen may be in them."""
    if int(os.uname().release.split(".")[0]) >= 7:
        ktap.skip("this kernel has bios for swapping alone: they are not given back")
    with swap_space() as (disk, below), KernelLog() as log:
        with swapped_out(16 * SWAP_OUTS, below, 20000):
            before = writeback()
            ktap.check(before > 8 * SWAP_OUTS, f"{before} pages only are swapped out")
            ktap.eventually(lambda: writeback() <= 2 * SWAP_OUTS, "those that wait come back", 10)
            time.sleep(1)
            under_way = writeback()
            ktap.diag(f"of {before} pages {under_way} are still under way")
            ktap.check(under_way >= SWAP_OUTS / 2, f"{under_way} pages: those had been started")
        ktap.check(write_errors(log), "the kernel was not told")


def warnings(kind):
    """What is said while memory is swapped out to a disk in such a file system; nothing of how it
    is used before that."""
    needs_swap()
    with filesystem.mounted(kind, 96 * MIB) as where:
        path = images.create(where / "disk.vhdx", 48 * MIB, MIB, fixed=True)
        with attached(path) as disk, filesystem.swap(disk.node), KernelLog() as log:
            for _ in range(2):
                with mmap.mmap(-1, 64 * PAGE, flags=mmap.MAP_PRIVATE) as memory:
                    memory[:] = b"x" * 64 * PAGE
                    memory.madvise(MADV_PAGEOUT)
                    ktap.eventually(lambda: not writeback(), "everything is written", 30)
            return disk.sysfs("io"), [text for _, text in log.records() if "page cache" in text]


@ktap.case
def swap_behind_a_page_cache_is_warned_of():
    """Once; and where the container is used directly nothing is said."""
    how, said = warnings("ramfs")
    ktap.equal((how, len(said)), ("buffered", 1), "how it is used, and warnings")
    ktap.equal(warnings("ext4"), ("direct", []), "how it is used, and warnings")


# ---- metadata that is not committed -------------------------------------------------------

# Entries of the BAT for a page of 4 KiB, and pages that go into one log entry.
ENTRIES, TRANSACTION = 512, 126
PAGES = 1000


def slow_flushes(device, size, delay):
    """A table for device-mapper: flushes take so many milliseconds."""
    return f"0 {size // SECTOR} delay {device} 0 0 {device} 0 0 {device} 0 {delay}"


def first_writes(disk, numbers, done, failures):
    """A block in each of these pages of the BAT."""
    try:
        with dio.Direct(disk.node, True) as data:
            for number in numbers:
                data.write(number * ENTRIES * MIB, b"w" * 4096)
                done.append(number)
    except OSError as failure:
        failures.append(failure)


def until_they_wait(done, least, patience):
    """Until so many are done and then, for two seconds, no more; or seconds have passed. How many
    that are."""
    end = rest = time.monotonic()
    end += patience
    seen = 0
    while time.monotonic() < end and (seen < least or time.monotonic() < rest + 2):
        if len(done) != seen:
            seen, rest = len(done), time.monotonic()
        time.sleep(0.1)
    return len(done)


@ktap.case
def first_writes_wait_for_commits():
    """While commits are slow, a few transactions' worth of pages becomes dirty, not all."""
    size = 2048 * MIB
    with images.directory() as scratch, contextlib.ExitStack() as stack:
        device = stack.enter_context(images.loop(scratch / "backing", size=size))
        images.module("dm-delay")
        path = stack.enter_context(mapper.mapped("slow", slow_flushes(device, size, 0)))
        where = stack.enter_context(filesystem.made("ext4", path))
        container = images.create(where / "disk.vhdx", PAGES * ENTRIES * MIB, MIB)
        with attached(container) as disk:
            disk.write(MIB, b"w" * 4096)
            disk.data.flush()
            done, failures = [], []
            threads = [threading.Thread(target=first_writes,
                                        args=(disk, range(n, PAGES, 4), done, failures))
                       for n in range(4)]
            mapper.load("slow", slow_flushes(device, size, 12000))
            for thread in threads:
                thread.start()
            before = until_they_wait(done, TRANSACTION, 10)
            mapper.load("slow", slow_flushes(device, size, 0))
            for thread in threads:
                thread.join()
            ktap.diag(f"{before} before the first commit ended")
            ktap.equal(failures, [], "failures")
            ktap.equal(len(done), PAGES, "first writes")
            ktap.check(before >= TRANSACTION, f"only {before} in 10 s")
            ktap.check(before <= 6 * TRANSACTION, f"{before} pages wait for their commit")
            for number in (0, PAGES // 2, PAGES - 1):
                ktap.equal(disk.read(number * ENTRIES * MIB, 4096), b"w" * 4096, "content")
        judge.valid(container)


# ---- the file's size ----------------------------------------------------------------------

def growth(kind):
    """A file grows ahead in large steps, and ends behind its last block when it is closed."""
    with filesystem.mounted(kind) as where:
        path = images.create(where / "disk.vhdx", 256 * MIB, MIB)
        before = os.path.getsize(path)
        sizes = set()
        with attached(path) as disk:
            for number in range(100):
                disk.write(number * MIB, b"w" * 4096)
                # What is asked for later is made ready meanwhile.
                time.sleep(0.01)
                sizes.add(os.path.getsize(path))
        ktap.diag(f"{len(sizes)} sizes")
        ktap.check(min(sizes) >= before + 16 * MIB, f"it grew from {before} to {min(sizes)} only")
        ktap.check(len(sizes) <= 10, f"{len(sizes)} sizes while 100 blocks were made")
        ktap.equal(os.path.getsize(path), before + 100 * MIB, "size at the end")
        judge.valid(path)


for _kind in ("ext4", "tmpfs"):
    ktap.add(f"growth_on_{_kind}", growth, _kind)


@ktap.case
def growth_that_fails():
    """Where there is room for a block, but not for a step, the block is made."""
    with filesystem.mounted("ext4") as where:
        path = images.create(where / "disk.vhdx", 64 * MIB, MIB)
        before = os.path.getsize(path)
        with images.directory() as scratch, judge.Truth(scratch / "truth", 64 * MIB) as truth:
            # A device's end is as good as a file's limit.
            os.truncate(path, before + 5 * MIB)
            with images.loop(path) as device:
                with attached(device, "--no-track") as disk:
                    for number in range(5):
                        data = judge.pattern(number, 4096)
                        disk.write(number * MIB + 4096, data)
                        truth.write(number * MIB + 4096, data)
                    judge.same_disk(disk, truth)
            judge.same_container(path, truth)


# ---- who pays -------------------------------------------------------------------------------

@ktap.case
def control_group():
    """The file system's device sees the writes as those of the writer's control group."""
    with images.directory() as scratch, filesystem.mounted("ext4") as where:
        groups = scratch / "groups"
        groups.mkdir()
        if "cgroup2" not in pathlib.Path("/proc/filesystems").read_text(encoding="ascii"):
            ktap.skip("no control groups in this kernel")
        command("mount", "-t", "cgroup2", "none", groups)
        group = groups / "writer"
        try:
            if "io" not in (groups / "cgroup.controllers").read_text(encoding="ascii").split():
                ktap.skip("no control of I/O in this kernel")
            (groups / "cgroup.subtree_control").write_text("+io", encoding="ascii")
            group.mkdir()
            path = images.create(where / "disk.vhdx", 64 * MIB, MIB, fixed=True)
            number = os.stat(where).st_dev
            with attached(path) as disk:
                disk.write(0, bytes(4096))
                command("sh", "-c", f"echo $$ >{group}/cgroup.procs && exec dd if=/dev/zero "
                        f"of={disk.node} bs=1M count=16 oflag=direct conv=notrunc status=none")
            said = (group / "io.stat").read_text(encoding="ascii")
            ktap.diag(said)
            found = re.search(rf"^{os.major(number)}:{os.minor(number)} .*wbytes=(\d+)", said, re.M)
            ktap.check(found and int(found[1]) >= 16 * MIB, "its writes were somebody else's")
        finally:
            if group.exists():
                group.rmdir()
            command("umount", groups)


# ---- what reclaim leaves --------------------------------------------------------------------

# Of kmod/layer/pages.h.
KEPT = 32

# Takes all the memory that there is, and is killed for it. A file in memory, for no process has to map
# its pages: on User Mode Linux each is a system call of the host.
EATER = """
import itertools, os
open("/proc/self/oom_score_adj", "w").write("1000")
held = os.memfd_create("held")
for at in itertools.count(0, 16 << 20):
    os.posix_fallocate(held, at, 16 << 20)
"""


@ktap.case
def pages_are_left():
    """Of the BAT, where nothing else is left: reclaim will need some of them to go on."""
    count = 3 * KEPT
    with images.directory() as scratch, faulty.on_device(
            scratch, lambda path: images.create(path, count * ENTRIES * MIB, MIB)) as place:
        with vhdxoracle.open_disk(place.path) as image:
            bat = image.bat_offset(0)
        with attached(place.path) as disk:
            def is_there(page):
                with contextlib.suppress(OSError):
                    return disk.read(page * ENTRIES * MIB + MIB, 4096) == bytes(4096)
                return False

            ktap.check(all(is_there(page) for page in range(count)), "content")
            eater = subprocess.run([sys.executable, "-c", EATER], check=False)
            ktap.equal(eater.returncode, -signal.SIGKILL, "status of who eats the memory")
            place.fail((bat, (count + 1) * 4096))
            left = sum(is_there(page) for page in range(count))
            place.heal()
            ktap.check(all(is_there(page) for page in range(count)), "content")
        ktap.diag(f"{left} of {count} pages are left")
        ktap.check(KEPT <= left < count, f"{left} of {count} pages are left")


# ---- the file's page cache ------------------------------------------------------------------

def allocated_with(path):
    """The flags that pages of a file are allocated with, as the kernel names them.

    Zeroes are written where there are zeroes: to read is a scope of its own.
    """
    event = TRACING / "events/kmem/mm_page_alloc"
    trace = TRACING / "trace"
    with open(path, "r+b", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        trace.write_text("", encoding="ascii")
        (event / "filter").write_text(f"common_pid == {os.getpid()}", encoding="ascii")
        with knob.turned(event / "enable", "1"):
            for page in range(2000, 2064, 4):
                os.pwrite(file.fileno(), bytes(4096), page * 4096)
        (event / "filter").write_text("0", encoding="ascii")
        lines = trace.read_text(encoding="ascii").splitlines()
        os.fsync(file.fileno())
    flags = [set(line.rpartition("gfp_flags=")[2].split("|")) for line in lines
             if "mm_page_alloc:" in line]
    # A page of a file may be anywhere, and nobody waits for others to be written for it.
    pages = [one for one in flags if any("HIGHUSER" in name or "MOVABLE" in name or
                                         "HARDWALL" in name for name in one)]
    ktap.check(pages, f"no page was allocated: {lines[-3:]}")
    return {"|".join(sorted(one)) for one in pages}


def expect_no_io(container, path):
    """While a disk writes a container, the pages of this file are allocated without I/O; then as
    before."""
    if not TRACING.exists() or not list(TRACING.iterdir()):
        command("mount", "-t", "tracefs", "none", TRACING, check=False)
    if not (TRACING / "events/kmem/mm_page_alloc").exists():
        ktap.skip("the kernel can't trace allocations")
    before = allocated_with(path)
    with attached(container, "--read-only"):
        ktap.equal(allocated_with(path), before, "for a disk that is only read")
    with attached(container) as disk:
        disk.write(0, bytes(4096))
        meanwhile = allocated_with(path)
    after = allocated_with(path)
    ktap.diag(f"{before} {meanwhile}")
    ktap.check(meanwhile.isdisjoint(before), f"{meanwhile} for a disk that is written")
    ktap.equal(after, before, "after detach")


def page_cache(kind):
    """Of the container itself."""
    with filesystem.mounted(kind) as where:
        path = images.create(where / "disk.vhdx", 16 * MIB, MIB, fixed=True)
        expect_no_io(path, path)


for _kind in ("ext4", "xfs"):
    ktap.add(f"page_cache_on_{_kind}", page_cache, _kind)


@ktap.case
def page_cache_below_an_overlay():
    """A file of an overlay has none."""
    with filesystem.mounted("ext4") as where:
        (where / "lower").mkdir()
        upper = where / "upper"
        with filesystem.overlay(where / "lower", upper) as merged:
            path = images.create(merged / "disk.vhdx", 16 * MIB, MIB, fixed=True)
            expect_no_io(path, upper / "disk.vhdx")

ktap.main()
