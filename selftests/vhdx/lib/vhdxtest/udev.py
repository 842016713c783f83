# SPDX-License-Identifier: GPL-2.0-only
"""udev, which opens every disk that appears and every one that a writer closed."""

import contextlib
import pathlib
import subprocess

from .images import command


def _start_again():
    """A daemon that has forgotten everything; it is told of all disks there are."""
    command("pkill", "-KILL", "-x", "systemd-udevd", check=False)
    pathlib.Path("/run/udev/queue").unlink(missing_ok=True)
    command("/lib/systemd/systemd-udevd", "--daemon")
    command("udevadm", "trigger", "--action=change", "--subsystem-match=block")


def settle():
    """Returns when udev has nothing to do.

    Its command can miss that (systemd's issue 29863), and its daemon can have something to
    do, nobody who does it, and rest: who asks a third time gets another daemon.
    """
    for asked in range(1, 13):
        done = subprocess.run(["udevadm", "settle", "--timeout=10"], check=False)
        if not done.returncode:
            return
        if asked % 3 == 2:
            _start_again()
    raise AssertionError("udev has been busy for 120 seconds")


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
