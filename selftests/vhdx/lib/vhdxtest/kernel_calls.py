# SPDX-License-Identifier: GPL-2.0-only
"""Calls of linux/vhdx_api.h, made by a module (selftests/modules/vhdx_ask).

    with kernel_calls.held(disk) as kernel:
        kernel.call("state")
        kernel.answer               what it wrote
        kernel.told["processed"]
        kernel.ask("ranges", limit, target, 0, disk.size)
"""

import contextlib
import os

from . import modules, uapi

DEBUGFS = modules.DEBUGFS / "vhdx_ask"
MANY = 4096


def id_text(point):
    """As the module reads an id."""
    return bytes(point).hex()


class Kernel:
    """The module, and what it was told last."""

    def __init__(self):
        self.fd = os.open(DEBUGFS / "control", os.O_WRONLY | os.O_CLOEXEC)

    def call(self, *words):
        """One call; raises OSError as it fails. 1: it had enough of "each"."""
        return os.write(self.fd, " ".join(map(str, words)).encode())

    # pylint: disable-next=too-many-arguments,too-many-positional-arguments
    def ask(self, form, limit, target, offset, length, granularity=0, min_gap=0, capacity=MANY):
        """ranges, each, bits or allocated."""
        return self.call(form, id_text(limit), id_text(target), offset, length, granularity,
                         min_gap, capacity)

    @property
    def answer(self):
        """What the call wrote, as it is in memory."""
        return (DEBUGFS / "answer").read_bytes()

    @property
    def told(self):
        """{name: number}"""
        lines = (DEBUGFS / "told").read_text(encoding="ascii").splitlines()
        return {name: int(value) for name, value in map(str.split, lines)}

    def ranges(self):
        """[(offset, length)]"""
        found = (uapi.Range * self.told["count"]).from_buffer_copy(self.answer)
        return [(one.byte_offset, one.byte_length) for one in found]

    def close(self):
        """Of the module's control file."""
        os.close(self.fd)


@contextlib.contextmanager
def held(*disks):
    """The module is there, and holds these disks; the first is asked."""
    with modules.loaded("vhdx_ask"), contextlib.closing(Kernel()) as kernel:
        for disk in disks:
            kernel.call("hold", disk.node)
        yield kernel
