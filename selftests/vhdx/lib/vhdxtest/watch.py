# SPDX-License-Identifier: GPL-2.0-only
"""The module that observes a disk (selftests/modules/vhdx_watch).

    with watch.watched(disk):
        disk.write(0, data)
        figures, events = watch.told()
"""

import contextlib

import ktap

from . import modules

DEBUGFS = modules.DEBUGFS / "vhdx_watch"


def tell(*words):
    """A command for the module."""
    modules.tell(DEBUGFS, *words)


def told():
    """({name: number}, [(event, id, reason)])"""
    figures, events = {}, []
    for line in (DEBUGFS / "told").read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(" ")
        if name == "event":
            what, point, reason = rest.split()
            events.append((what, point, int(reason)))
        else:
            figures[name] = int(rest)
    return figures, events


def loaded():
    """The module is there, and has let go of everything when it goes."""
    return modules.loaded("vhdx_watch")


@contextlib.contextmanager
def watched(disk, count=1):
    """The disk is held, and observed this many times."""
    with loaded():
        tell("hold", disk.node)
        tell("observe", count)
        yield
        figures, _ = told()
        ktap.equal((figures["unpaired"], figures["told_while_quiet"]), (0, 0), "unpaired, quiet")


def settled():
    """Everything that was submitted has ended."""
    figures, _ = told()
    return all(figures[begun] == figures[ended] for begun, ended in
               (("submitted", "completed"), ("flushes", "flushed"), ("zeroes", "zeroed"),
                ("discards", "discarded")))
