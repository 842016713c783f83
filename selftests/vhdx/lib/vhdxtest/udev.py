# SPDX-License-Identifier: GPL-2.0-only
"""udev, which opens every disk that appears and every one that a writer closed."""

import contextlib
import pathlib
import subprocess
import time

from .images import command


# Nobody is there who could have anything to do.
_is_asleep = False


def _stop():
    command("pkill", "-KILL", "-x", "systemd-udevd", check=False)
    pathlib.Path("/run/udev/queue").unlink(missing_ok=True)


def _start():
    """A daemon that knows nothing; it is told of all disks there are."""
    command("/lib/systemd/systemd-udevd", "--daemon")
    command("udevadm", "trigger", "--action=change", "--subsystem-match=block")


def settle():
    """Returns when udev has nothing to do, or is asleep.

    Its command can miss that (systemd's issue 29863), and its daemon can have something to
    do, nobody who does it, and rest: who asks a third time gets another daemon.
    """
    if _is_asleep:
        return
    for asked in range(1, 13):
        done = subprocess.run(["udevadm", "settle", "--timeout=10"], check=False)
        if not done.returncode:
            return
        if asked % 3 == 2:
            _stop()
            _start()
    raise AssertionError("udev has been busy for 120 seconds")


def reload():
    """Rules are read again. A daemon that was just started may break the connection off ("Failed to
    wait for daemon to reply: Broken pipe"): then it is asked again, and at last another one."""
    for asked in range(1, 11):
        done = subprocess.run(["udevadm", "control", "--reload"], check=False)
        if not done.returncode:
            return
        if asked % 5 == 0:
            _stop()
            _start()
        time.sleep(0.5)
    raise AssertionError("udev does not read its rules")


@contextlib.contextmanager
def asleep():
    """Nobody probes disks meanwhile: suites that attach hundreds take half the time, and
    what they see done to a container was not done for a probe. Nodes appear all the same.

    The daemon is gone, and not told to let its queue grow: of thousands of disks that came
    and went it would not wake up. It takes a second to wake it: suites all of whose cases are
    like that do so once.
    """
    global _is_asleep  # pylint: disable=global-statement
    if _is_asleep:
        yield
        return
    settle()
    _stop()
    _is_asleep = True
    try:
        yield
    finally:
        _is_asleep = False
        _start()
