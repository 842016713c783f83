# SPDX-License-Identifier: GPL-2.0-only
"""What a caller's own function returns is never taken for what the library says."""
import ctypes
import errno

from common import PointId, Range, directory, load_library, make_image, make_sidecar

library = load_library()

RangeFn = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(Range))


class Changes(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("limit", PointId), ("target", PointId),
                ("offset", ctypes.c_uint64), ("length", ctypes.c_uint64),
                ("range_size", ctypes.c_size_t), ("flags", ctypes.c_uint),
                ("unit", ctypes.c_uint32), ("results", ctypes.c_uint64 * 5),
                ("answer_flags", ctypes.c_uint32)]


def test_ranges():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        point, = make_sidecar(image, "seal a\nmark 0 1\nmark 1000000 1\n")
        question = Changes(size=ctypes.sizeof(Changes), length=(1 << 64) - 1,
                           range_size=ctypes.sizeof(Range))
        assert not library.vhdx_id_parse(point.encode(), ctypes.byref(question.limit))
        disk = ctypes.c_void_p()
        assert not library.vhdx_disk_open(str(image).encode(), None, 0, ctypes.byref(disk))
        told = []

        def ask(result):
            told.clear()

            def tell(_, found):
                told.append(found[0].offset)
                return result
            return library.vhdx_disk_get_changes(disk, ctypes.byref(question), RangeFn(tell),
                                                 None)
        assert ask(0) == 0 and len(told) == 2
        for result in (1, 3, errno.ESTALE):
            assert ask(result) == result and len(told) == 1
        # That of an NFS target, say: no word about history.
        for result in (-1, -errno.ESTALE, -errno.ENODATA):
            err = ask(result)
            assert err == -errno.ECANCELED and len(told) == 1
            assert not library.vhdx_full_backup_needed(err, library.vhdx_error_reason())
            assert str(result).encode() in library.vhdx_error_message()
        library.vhdx_disk_close(disk)
