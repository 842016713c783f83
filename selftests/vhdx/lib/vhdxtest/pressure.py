# SPDX-License-Identifier: GPL-2.0-only
"""Programs that leave a machine, or a control group, no memory but what a disk gives back.

    pressure.swap_out(320 * MIB)                 uses so much memory, and looks at all of it
    pressure.write_back(where, 320 * MIB)        writes so much to files, and reads it all again
    with pressure.hog(64 * MIB):                 there is no more than this meanwhile
    with pressure.group(32 * MIB) as inside:     pressure.swap_out(..., inside=inside)
"""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import ktap

from . import images

PATIENCE = 150

# It is the first that the kernel kills if it comes to that.
_FIRST = """
import contextlib, mmap, os, pathlib, sys
open("/proc/self/oom_score_adj", "w").write("1000")
"""

# Each page says which it is, in front and at its end; it is swapped in as it was swapped out.
_SWAPPED = _FIRST + """
count = int(sys.argv[1]) // 4096
memory = mmap.mmap(-1, count * 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
with contextlib.suppress(OSError):
    memory.madvise(mmap.MADV_NOHUGEPAGE)
stamps = [page.to_bytes(8, "little") * 2 for page in range(count)]
for page, stamp in enumerate(stamps):
    memory[page * 4096:page * 4096 + 16] = stamp
    memory[page * 4096 + 4080:page * 4096 + 4096] = stamp
bad = sum(memory[page * 4096:page * 4096 + 16] != stamp or
          memory[page * 4096 + 4080:page * 4096 + 4096] != stamp
          for page, stamp in enumerate(stamps))
print(f"{count} pages, {bad} of them wrong")
"""

# The same in pages of 2 MiB, where the kernel can swap these.
_SWAPPED_LARGE = _FIRST + """
count = int(sys.argv[1]) >> 21
memory = mmap.mmap(-1, count << 21, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_HUGEPAGE)
pages = [os.urandom(4096) for _ in range(count)]
for number, page in enumerate(pages):
    memory[number << 21:number + 1 << 21] = page * 512
middles = [(number << 21) + (1 << 20) for number in range(count)]
bad = sum(memory[at:at + 4096] != page for at, page in zip(middles, pages))
print(f"{2 * count} MiB, {bad} of them wrong")
"""

# Files of 16 MiB: written, or mapped and changed in memory. What is dirty goes out when memory is
# short, and only then.
_WRITTEN = _FIRST + """
SIZE, STEP = 16 << 20, 65536
where, count = pathlib.Path(sys.argv[2]), int(sys.argv[1]) // SIZE
def content(number, at):
    return (number << 32 | at).to_bytes(8, "little") * (STEP // 8)
for number in range(count):
    with open(where / f"file {number}", "w+b", buffering=0) as file:
        if number % 2:
            os.truncate(file.fileno(), SIZE)
            with mmap.mmap(file.fileno(), SIZE) as memory:
                for at in range(0, SIZE, STEP):
                    memory[at:at + STEP] = content(number, at)
        else:
            for at in range(0, SIZE, STEP):
                file.write(content(number, at))
bad = 0
for number in range(count):
    with open(where / f"file {number}", "rb", buffering=0) as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        bad += sum(file.read(STEP) != content(number, at) for at in range(0, SIZE, STEP))
print(f"{count} files, {bad} of them wrong")
"""

_HELD = """
import mmap, sys
MAP_LOCKED = 0x2000
how = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE | MAP_LOCKED
memory = mmap.mmap(-1, int(sys.argv[1]), how)
print("held", flush=True)
sys.stdin.read()
"""


def machine():
    """How much memory there is."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def available():
    """And how much of it can be had."""
    said = pathlib.Path("/proc/meminfo").read_text(encoding="ascii")
    return int(re.search(r"^MemAvailable:\s+(\d+) kB", said, re.M)[1]) * 1024


def _start(program, *arguments, inside=None):
    """A program, in a control group from its beginning."""
    enter = [] if inside is None else \
        ["sh", "-c", f"echo $$ >{inside}/cgroup.procs && exec \"$@\"", "-"]
    return subprocess.Popen([*enter, sys.executable, "-c", program, *map(str, arguments)],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _run(program, *arguments, inside=None):
    """It ends, in time, and finds nothing wrong; in how many seconds."""
    begin = time.monotonic()
    with _start(program, *arguments, inside=inside) as running:
        try:
            said, _ = running.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGKILL)
            raise AssertionError(f"it did not end in {PATIENCE} s") from None
    ktap.equal(running.returncode, 0, "status of who uses the memory")
    ktap.check(" 0 of them wrong" in said, said)
    return time.monotonic() - begin


def swap_out(size, inside=None, large=False):
    """Uses so much memory, and finds in it what was there. In how many seconds."""
    return _run(_SWAPPED_LARGE if large else _SWAPPED, size, inside=inside)


def write_back(where, size, inside=None):
    """Writes so much, through the page cache, and reads it around that. In how many seconds."""
    return _run(_WRITTEN, size, where, inside=inside)


@contextlib.contextmanager
def hog(left):
    """Somebody has all memory but so much, and it is not swapped out."""
    with _start(_HELD, max(available() - left, 1)) as holder:
        try:
            ktap.equal(holder.stdout.readline(), "held\n", "who holds memory")
            yield
        finally:
            holder.kill()


def _events(inside):
    """{what happened: how often}"""
    words = (inside / "memory.events").read_text(encoding="ascii").split()
    return dict(zip(words[::2], map(int, words[1::2])))


@contextlib.contextmanager
def group(most):
    """A control group with so much memory, which runs out, but nobody is killed for it."""
    if "cgroup2" not in pathlib.Path("/proc/filesystems").read_text(encoding="ascii"):
        ktap.skip("no control groups in this kernel")
    with images.directory() as groups:
        images.command("mount", "-t", "cgroup2", "none", groups)
        inside = groups / "inside"
        try:
            if "memory" not in (groups / "cgroup.controllers").read_text("ascii").split():
                ktap.skip("no control of memory in this kernel")
            (groups / "cgroup.subtree_control").write_text("+memory", encoding="ascii")
            inside.mkdir()
            (inside / "memory.max").write_text(str(most), encoding="ascii")
            yield inside
            events = _events(inside)
            ktap.diag(events)
            ktap.check(events["max"] > 0, "it had enough memory")
            ktap.equal(events["oom_kill"], 0, "processes killed")
        finally:
            if inside.exists():
                ktap.eventually(lambda: "populated 0" in (inside / "cgroup.events").read_text(
                    encoding="ascii"), "everybody has left")
                inside.rmdir()
            images.command("umount", groups)


def seconds(short=0, long=120):
    """Yields, once at least, until so many have passed."""
    end = time.monotonic() + (long if ktap.LONG else short)
    yield
    while time.monotonic() < end:
        yield
