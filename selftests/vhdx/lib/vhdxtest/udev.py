# SPDX-License-Identifier: GPL-2.0-only
"""udev, which opens every disk that appears and every one that a writer closed."""

import contextlib

from .images import command


@contextlib.contextmanager
def asleep():
    """Nobody probes disks meanwhile: suites that attach hundreds take half the time, and
    what they see done to a container was not done for a probe. Nodes appear all the same."""
    command("udevadm", "settle")
    command("udevadm", "control", "--stop-exec-queue")
    try:
        yield
    finally:
        command("udevadm", "control", "--start-exec-queue")
