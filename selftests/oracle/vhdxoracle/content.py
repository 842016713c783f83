# SPDX-License-Identifier: GPL-2.0-only
"""Content for new disks: re-iterable (offset, bytes) pieces."""

from .container import Container, is_zero
from .layout import MIB


class RawFile:
    """The non-zero pieces of a raw file, at most 1 MiB each."""

    def __init__(self, path):
        self.path = path

    def __iter__(self):
        with Container(self.path) as raw:
            for start, end in raw.data_extents(0, raw.size):
                for at in range(start, end, MIB):
                    piece = raw.read(at, min(MIB, end - at))
                    if not is_zero(piece):
                        yield at, piece


def pieces(content):
    """content is the path of a raw file, or (offset, bytes) pairs."""
    if isinstance(content, (str, bytes)) or hasattr(content, "__fspath__"):
        return RawFile(content)
    return list(content)


def split(offset, data, unit):
    """(index of the unit, offset in it, part of data) for each unit that data touches."""
    view = memoryview(data)
    while view:
        index, within = divmod(offset, unit)
        part = view[:unit - within]
        yield index, within, part
        offset, view = offset + len(part), view[len(part):]


def apply_to_raw(path, geometry, writes=(), states=None):
    """Do to a raw file what dirty() does to the disk: the writes, then the states.

    A child's NOT_PRESENT is left alone: what its parent has there is not known here.
    """
    with Container(path, writable=True) as raw:
        for offset, data in writes:
            raw.write(offset, data)
        for block, state in (states or {}).items():
            if not (geometry.differencing and str(state).startswith("NOT_PRESENT")):
                offset, length = geometry.block_range(block)
                raw.write(offset, bytes(length))
