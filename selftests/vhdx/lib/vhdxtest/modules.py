# SPDX-License-Identifier: GPL-2.0-only
"""Modules of the tests (selftests/modules), which take commands by their debugfs.

    with modules.loaded("vhdx_watch"):
        modules.tell(modules.DEBUGFS / "vhdx_watch", "hold", disk.node)
"""

import contextlib
import os
import pathlib

from . import images

DEBUGFS = pathlib.Path("/sys/kernel/debug")


@contextlib.contextmanager
def loaded(name):
    """The module is there, and has let go of everything when it goes."""
    images.command("modprobe", name)
    try:
        yield
    finally:
        images.command("rmmod", name)


def tell(directory, *words):
    """A command for the module; raises OSError as it fails."""
    control = os.open(directory / "control", os.O_WRONLY)
    try:
        os.write(control, " ".join(map(str, words)).encode())
    finally:
        os.close(control)
