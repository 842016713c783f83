# SPDX-License-Identifier: GPL-2.0-only
"""vhdx_disk_read() of a file that is not attached."""
import ctypes
import errno
import random
import sys

from common import TREE, directory, load_library
from test_allocated import MIB, make_chain

sys.path.append(str(TREE / "selftests/oracle"))

import vhdxoracle  # noqa: E402

SIZE = 16 * MIB

library = load_library()
library.vhdx_disk_read.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p,
                                   ctypes.c_size_t]


class Disk:
    def __init__(self, path):
        self.disk = ctypes.c_void_p()
        assert not library.vhdx_disk_open(str(path).encode(), None, 0, ctypes.byref(self.disk))

    def read(self, offset, length):
        """The bytes, or the errno."""
        room = ctypes.create_string_buffer(b"u" * (length + 16), length + 16)
        err = library.vhdx_disk_read(self.disk, offset, room, length)
        assert room.raw[length:] == b"u" * 16, "overrun"
        return err or room.raw[:length]

    def close(self):
        library.vhdx_disk_close(self.disk)


def test_any_bytes():
    """At any offset, of any length, from whichever layer has them."""
    rng = random.Random(21)
    with directory() as path:
        for sector in (512, 4096):
            place = path / str(sector)
            place.mkdir()
            names = make_chain(place, rng, sector)
            with vhdxoracle.open_disk(names[0], names[1:]) as image:
                content = image.read(0, SIZE)
            disk = Disk(names[0])
            assert disk.read(0, SIZE) == content
            for _ in range(200):
                start, end = sorted(rng.randrange(SIZE + 1) for _ in range(2))
                end = min(end, start + rng.choice((1, 100, 5000, 3 * MIB)))
                assert disk.read(start, end - start) == content[start:end], (start, end)
            assert disk.read(SIZE, 0) == b""
            disk.close()


def test_failures():
    with directory() as path:
        name = path / "bad.vhdx"
        vhdxoracle.create(name, SIZE, block_size=MIB, content=[(3 * MIB, b"x" * 4096)])
        with vhdxoracle.open_disk(name) as image:
            at = image.bat_offset(5)
        with open(name, "r+b") as file:
            file.seek(at)
            file.write((7 | 1 << 50).to_bytes(8, "little"))
        disk = Disk(name)
        for offset, length in ((SIZE, 1), (SIZE - 1, 2), (SIZE + 1, 0), ((1 << 64) - 1, 1)):
            assert disk.read(offset, length) == -errno.EINVAL, (offset, length)
            assert f"beyond the disk, which has {SIZE}".encode() in library.vhdx_error_message()
        assert disk.read(5 * MIB, 1) == -errno.EUCLEAN
        assert b"bad.vhdx: " in library.vhdx_error_message()
        assert disk.read(3 * MIB, 1) == b"x"
        disk.close()
        names = make_chain(path, random.Random(1), 512)
        names[1].unlink()
        disk = Disk(names[0])
        assert disk.read(0, 1) == -errno.ENOENT
        assert b"1.vhdx" in library.vhdx_error_message()
        disk.close()
