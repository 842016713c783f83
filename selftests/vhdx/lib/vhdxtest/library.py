# SPDX-License-Identifier: GPL-2.0-only
"""libvhdx, asked about files that are not attached, without a process for each question.

    with Files(container, sidecar) as files:
        files.points()                      ids, oldest first
        files.changes(limit, target)        Answer; raises Refused
"""

import collections
import ctypes
import os

from vhdxoracle.ranges import RangeSet

from . import SELFTESTS, uapi

# size is that of the disk.
Answer = collections.namedtuple("Answer", "ranges coarse unit size")

_BUILT = SELFTESTS.parent / "build/userspace/libvhdx.so.0"
# What one answer has room for; a question is asked until all is told.
_RANGES = 4096


class Refused(Exception):
    """An answer that is none."""

    def __init__(self, number, reason, message):
        self.errno, self.reason = number, reason
        super().__init__(f"{os.strerror(number)}/{uapi.REASONS[reason]}: {message}")


def _load():
    """The library of this tree where it is built, or else the installed one."""
    lib = ctypes.CDLL(str(_BUILT) if _BUILT.exists() else "libvhdx.so.0")
    lib.vhdx_error_message.restype = ctypes.c_char_p
    lib.vhdx_disk_open.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint,
                                   ctypes.POINTER(ctypes.c_void_p)]
    lib.vhdx_disk_close.argtypes = [ctypes.c_void_p]
    lib.vhdx_disk_get_points.argtypes = [ctypes.c_void_p, ctypes.c_size_t,
                                         ctypes.POINTER(ctypes.POINTER(uapi.Point)),
                                         ctypes.POINTER(ctypes.c_size_t)]
    lib.vhdx_disk_get_changes_once.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    lib.vhdx_disk_get_info.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    return lib


_lib = _load()
_free = ctypes.CDLL(None).free
_free.argtypes = [ctypes.c_void_p]


def _checked(status):
    if status < 0:
        raise Refused(-status, _lib.vhdx_error_reason(),
                      _lib.vhdx_error_message().decode(errors="replace"))


class Files:
    """A container and its sidecar."""

    def __init__(self, container, sidecar):
        self._disk = ctypes.c_void_p()
        _checked(_lib.vhdx_disk_open(str(container).encode(), str(sidecar).encode(), 0,
                                     ctypes.byref(self._disk)))
        self._output = (uapi.Range * _RANGES)()
        info = uapi.Info()
        _checked(_lib.vhdx_disk_get_info(self._disk, ctypes.byref(info)))
        self.size = info.virtual_disk_size

    def close(self):
        """Closes them."""
        _lib.vhdx_disk_close(self._disk)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def points(self):
        """The ids of all points, oldest first."""
        array, count = ctypes.POINTER(uapi.Point)(), ctypes.c_size_t()
        _checked(_lib.vhdx_disk_get_points(self._disk, ctypes.sizeof(uapi.Point),
                                           ctypes.byref(array), ctypes.byref(count)))
        ids = [array[number].id.copy() for number in range(count.value)]
        _free(array)
        return ids

    def window(self, limit, target=uapi.NOW, offset=0, capacity=_RANGES):
        """One call: (struct vhdx_get_virtual_disk_changes, [(offset, length)])."""
        query = uapi.GetChanges(limit_id=limit, target_id=target, byte_offset=offset,
                                byte_length=self.size - offset,
                                output=ctypes.addressof(self._output), output_capacity=capacity)
        _checked(_lib.vhdx_disk_get_changes_once(self._disk, ctypes.byref(query)))
        return query, [(one.byte_offset, one.byte_length)
                       for one in self._output[:query.output_count]]

    def changes(self, limit, target=uapi.NOW):
        """All that changed between two points, or until now."""
        pairs, offset, coarse, unit = [], 0, False, 0
        while offset < self.size:
            query, found = self.window(limit, target, offset)
            pairs += found
            coarse |= bool(query.answer_flags & uapi.ANSWER_COARSE)
            unit = query.unit
            offset += query.processed_byte_length
        return Answer(RangeSet.of_lengths(pairs), coarse, unit, self.size)
