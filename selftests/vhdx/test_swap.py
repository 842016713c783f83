#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# vm: own-vm mem=640M disk=2G timeout=900 on=- long=6.12 takes=300
"""Memory that is swapped out to a disk: its writes have to end before there is memory again.

More memory is used than the machine has. Blocks of the disk are made meanwhile, whatever
file system its container lies on.
"""

import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
from vhdxtest import filesystem, images, judge, ktap, watch
from vhdxtest.disk import attached
from vhdxtest.images import MIB

SIZE = 700 * MIB
PATIENCE = 150

# Touches a quarter more than there is, and looks at all of it again: a page is swapped in
# as it was swapped out. It is the first that the kernel kills if it comes to that.
EATER = """
import os
open("/proc/self/oom_score_adj", "w").write("1000")
count = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 5 // 4 >> 20
pages = [bytearray(os.urandom(4096)) * 256 for _ in range(count)]
bad = sum(page[-4096:] != page[:4096] for page in pages)
print(f"{count} MiB, {bad} of them wrong")
"""

# The same in pages of 2 MiB, where the kernel can swap these.
LARGE_EATER = """
import mmap, os
open("/proc/self/oom_score_adj", "w").write("1000")
count = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 5 // 4 >> 21
memory = mmap.mmap(-1, count << 21, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_HUGEPAGE)
pages = [os.urandom(4096) for _ in range(count)]
for number, page in enumerate(pages):
    memory[number << 21:number + 1 << 21] = page * 512
middles = [(number << 21) + (1 << 20) for number in range(count)]
bad = sum(memory[at:at + 4096] != page for at, page in zip(middles, pages))
print(f"{2 * count} MiB, {bad} of them wrong")
"""


def eat(program=EATER):
    """Has the memory eaten, and says in how many seconds."""
    begin = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE,
                          text=True) as eater:
        try:
            said, _ = eater.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            eater.send_signal(signal.SIGKILL)
            raise AssertionError(f"it did not end in {PATIENCE} s") from None
    ktap.equal(eater.returncode, 0, "status of who eats the memory")
    ktap.check(" 0 of them wrong" in said, said)
    return time.monotonic() - begin


@ktap.case
def observed():
    """A module is told of each write, of large pages too, which are cut: its memory is no more than
    that of the writes under way."""
    with filesystem.made("ext4", os.environ["VHDX_DISK0"]) as where:
        path = images.create(where / "disk.vhdx", SIZE, MIB)
        with attached(path) as disk, watch.watched(disk):
            with filesystem.swap(disk.node):
                ktap.diag(f"{eat(LARGE_EATER):.0f} s, {disk.sysfs('io')}")
            ktap.eventually(watch.settled, "the end of all")
            figures, _ = watch.told()
            ktap.diag(figures)
            ktap.check(figures["submitted_bytes"] > 64 * MIB, "nothing was swapped out")
        judge.valid(path)


def on_disk(kind, fixed=False):
    """A disk; its container is as good as new afterwards."""
    with filesystem.made(kind, os.environ["VHDX_DISK0"]) as where:
        path = images.create(where / "disk.vhdx", SIZE, 2 * MIB, fixed=fixed)
        with attached(path) as disk:
            with filesystem.swap(disk.node):
                ktap.diag(f"{eat():.0f} s, {disk.sysfs('io')}")
            ktap.equal(disk.sysfs("poisoned"), "0", "poisoned")
        judge.valid(path)


# On btrfs it can stand still for good, as with a loop device in the disk's place: its transaction
# waits for memory, and whatever is swapped out for the transaction.
for _kind in ("ext4", "xfs", "ntfs3"):
    ktap.add(f"dynamic_on_{_kind}", on_disk, _kind)
ktap.add("fixed_on_ext4", on_disk, "ext4", True)
ktap.main()
