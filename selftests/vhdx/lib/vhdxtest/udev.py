# SPDX-License-Identifier: GPL-2.0-only
"""udev, which opens every disk that appears and every one that a writer closed."""

import contextlib
import subprocess

from .images import command


def settle():
    """Returns when udev has nothing to do.

    Its daemon can have something to do and yet wait for the next event, which is made here,
    and its command can miss the end (systemd's issue 29863): asking again tells.
    """
    for _ in range(40):
        done = subprocess.run(["udevadm", "settle", "--timeout=5"], check=False)
        if not done.returncode:
            return
        command("udevadm", "trigger", "--action=change", "/sys/class/mem/null")
    raise AssertionError("udev has been busy for 200 seconds")


@contextlib.contextmanager
def asleep():
    """Nobody probes disks meanwhile: suites that attach hundreds take half the time, and
    what they see done to a container was not done for a probe. Nodes appear all the same."""
    settle()
    command("udevadm", "control", "--stop-exec-queue")
    try:
        yield
    finally:
        command("udevadm", "control", "--start-exec-queue")
