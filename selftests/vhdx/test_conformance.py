#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# vm: disk=1G timeout=3600 takes=10
"""What others test block devices with: fio with verify.

Seconds of each; ten minutes on each container with VHDX_LONG.
"""

import contextlib
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
from vhdxtest import images, judge, ktap
from vhdxtest.disk import attached
from vhdxtest.images import MIB

SIZE = 400 * MIB
SECONDS = 600 if ktap.LONG else 2


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
    """What fio wrote, in pieces of any size, among discards and flushes, it reads again."""
    with disk(where) as one:
        images.command(
            "fio", "--name=verify", f"--filename={one.node}", "--direct=1", "--ioengine=libaio",
            "--iodepth=16", "--rw=randrw", "--rwmixread=30", "--bsrange=4k-256k",
            "--blockalign=4k", "--fsync=200", "--verify=crc32c", "--verify_fatal=1",
            "--verify_backlog=64", "--trim_percentage=10", "--trim_backlog=64",
            "--trim_verify_zero=0", "--size=48M", *(("--time_based", f"--runtime={SECONDS}")
                                                    if ktap.LONG else ()))


for _where in (in_a_file, on_a_device):
    ktap.add(f"fio_{_where.__name__}", verified, _where)
ktap.main()
