# SPDX-License-Identifier: GPL-2.0-only
"""Loop devices of the host, for cases that need a block device."""

import contextlib
import os
import subprocess

import ktap


@contextlib.contextmanager
def device(file, *options):
    """One on a file; the case is skipped where there is none."""
    if os.geteuid():
        ktap.skip("loop devices need root")
    try:
        done = subprocess.run(["losetup", "--find", "--show", *options, file], text=True,
                              capture_output=True, check=False)
    except FileNotFoundError:
        ktap.skip("losetup is missing")
    if done.returncode:
        ktap.skip(f"no loop device: {done.stderr.strip()}")
    name = done.stdout.strip()
    # Who had it before may have left it read-only.
    subprocess.run(["blockdev", "--setrw", name], check=True)
    try:
        yield name
    finally:
        subprocess.run(["losetup", "--detach", name], check=True)
