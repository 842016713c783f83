# SPDX-License-Identifier: GPL-2.0-only
"""Block devices that take their time for flushes, and for nothing else.

    with flushing.devices(1, data=8 * GIB, sidecar=64 * MIB) as nodes:
        nodes["data"]       a block device; a flush of it takes a millisecond

All lie on one device in memory. Their flushes go to another one, which answers that much later: to
the nanosecond, where the delays of dm-delay are multiples of the kernel's tick. A write with FUA is
no flush to either.
"""

import contextlib
from pathlib import Path

from measure import MIB, command
from vhdxtest import mapper
from vhdxtest.mapper import SECTOR

_CONFIG = Path("/sys/kernel/config/nullb")
# Answers by a timer.
_IRQ_TIMER = 2


@contextlib.contextmanager
def _memory(name, **settings):
    """The node of a device in memory, of which what is never written takes none."""
    device = _CONFIG / name
    device.mkdir()
    try:
        for setting, value in (settings | {"memory_backed": 1, "blocksize": 512,
                                           "power": 1}).items():
            (device / setting).write_text(f"{value}\n")
        yield f"/dev/{name}"
    finally:
        device.rmdir()


@contextlib.contextmanager
def devices(milliseconds, **sizes):
    """The nodes of devices of these names and sizes, all zero."""
    command("modprobe", "--all", "dm-delay", "null_blk")
    if not _CONFIG.exists():
        command("mount", "-t", "configfs", "none", _CONFIG.parent)
    at, nodes = 0, {}
    with contextlib.ExitStack() as stack:
        size = sum(sizes.values()) // MIB
        data = stack.enter_context(_memory("nullb_data", size=size))
        # Without a cache it would not be sent flushes, and dm wants it as large as the other.
        flush = stack.enter_context(_memory("nullb_flush", size=size, cache_size=1,
                                            irqmode=_IRQ_TIMER,
                                            completion_nsec=milliseconds * 10 ** 6))
        for name, size in sizes.items():
            place = f"{data} {at // SECTOR} 0"
            nodes[name] = stack.enter_context(mapper.mapped(
                name, f"0 {size // SECTOR} delay {place} {place} {flush} 0 0"))
            at += size
        yield nodes
