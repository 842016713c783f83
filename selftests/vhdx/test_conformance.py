#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# vm: disk=1G timeout=3600 takes=25
"""What others test block devices and file systems with: fio with verify, stress-ng's stressors of
files, and what e2fsprogs and xfsprogs find wrong afterwards.

Seconds of each; ten minutes on each container with VHDX_LONG.
"""

import contextlib
import os
import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
from vhdxtest import filesystem, images, judge, ktap
from vhdxtest.disk import attached
from vhdxtest.images import MIB

SIZE = 400 * MIB
SECONDS = 600 if ktap.LONG else 2

# Each compares what it reads with what it wrote. A disk of 400 MiB has room for all of them at once.
STRESSORS = ("aio", "aiol", "dentry", "dir", "fallocate", "fiemap", "filename", "flock", "fpunch",
             "fstat", "hdd", "iomix", "link", "mmap", "open", "readahead", "rename", "revio", "seek",
             "sendfile", "sync-file", "utime", "xattr")
SIZES = {"fallocate-bytes": "8M", "fiemap-bytes": "8M", "hdd-bytes": "8M", "iomix-bytes": "8M",
         "mmap-bytes": "4M", "readahead-bytes": "8M", "revio-bytes": "4M", "seek-size": "4M",
         "sendfile-size": "4M", "sync-file-bytes": "4M"}


# ---- containers -----------------------------------------------------------------------------

@contextlib.contextmanager
def in_a_file():
    """A container in a file, which becomes longer."""
    with images.container(SIZE, 2 * MIB) as path:
        yield path


@contextlib.contextmanager
def on_a_device():
    """One on a block device."""
    device = os.environ["VHDX_DISK0"]
    images.command("blkdiscard", "--force", "--zeroout", "--length", 64 * MIB, device)
    yield images.create(device, SIZE, MIB)


@contextlib.contextmanager
def disk(where):
    """A disk, tracked, of a container that is valid afterwards."""
    with where() as path, images.directory() as scratch:
        with attached(path, "--track", "--sidecar", scratch / "sidecar") as one:
            yield one
            ktap.equal(one.sysfs("poisoned"), "0", "poisoned")
            ktap.equal(one.sysfs("tracking"), "on", "tracking")
        judge.valid(path)


# ---- what is run on it ----------------------------------------------------------------------

def verified(where):
    """What fio wrote, in pieces of any size, among discards and flushes, it reads again. As often as
    there is time: told to run for a time, it stumbles over discards of its own."""
    with disk(where) as one:
        end, turn = time.monotonic() + SECONDS, 0
        while not turn or time.monotonic() < end:
            turn += 1
            images.command(
                "fio", "--name=verify", f"--filename={one.node}", "--direct=1",
                "--ioengine=libaio", "--iodepth=16", "--rw=randrw", "--rwmixread=30",
                "--bsrange=4k-256k", "--blockalign=4k", "--fsync=200", "--verify=crc32c",
                "--verify_fatal=1", "--verify_backlog=64", "--trim_percentage=10",
                "--trim_backlog=64", "--trim_verify_zero=0", "--size=48M", f"--randseed={turn}")
        ktap.diag(f"{turn} times")


def stress(directory):
    """All stressors in a directory."""
    options = [word for name in STRESSORS for word in (f"--{name}", 1)]
    options += [word for name, size in SIZES.items() for word in (f"--{name}", size)]
    report = directory / "report"
    images.command("stress-ng", "--temp-path", directory, "--verify", "--timeout", SECONDS,
                   "--metrics", "--yaml", report, *options)
    turns = re.findall(r"stressor: (\S+)\s+bogo-ops: (\d+)", report.read_text(encoding="utf-8"))
    ktap.equal(sorted(name for name, _ in turns), sorted(STRESSORS), "stressors")
    ktap.diag(", ".join(f"{name} {number}" for name, number in turns))


CHECK = {"ext4": ("e2fsck", "-f", "-n"), "xfs": ("xfs_repair", "-n")}


def stressed(where, kind):
    """A file system that all of them used is sound, also where it gave back what it doesn't use."""
    with disk(where) as one:
        with filesystem.made(kind, one.node) as directory:
            stress(directory)
            images.command("fstrim", directory)
        images.command(*CHECK[kind], one.node)


for _where in (in_a_file, on_a_device):
    ktap.add(f"fio_{_where.__name__}", verified, _where)
ktap.add("stress_on_ext4_in_a_file", stressed, in_a_file, "ext4")
ktap.add("stress_on_xfs_on_a_device", stressed, on_a_device, "xfs")
ktap.main()
