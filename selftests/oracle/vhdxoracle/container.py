# SPDX-License-Identifier: GPL-2.0-only
"""Bytes of a container: a regular file or a block device, and a view with a log replayed."""

import errno
import fcntl
import os
import stat

from .layout import MIB, PAGE
from .ranges import RangeSet

_BLKFLSBUF = 0x1261


def is_zero(data):
    """True if data has no byte but zeros."""
    return data == bytes(len(data))


class Container:
    """A file or block device; its size is found by seeking, reads past it give zeros."""

    def __init__(self, path, writable=False, create=False):
        flags = os.O_RDWR if writable or create else os.O_RDONLY
        if create:
            flags |= os.O_CREAT
        self.path = str(path)
        self.fd = os.open(self.path, flags | os.O_CLOEXEC, 0o644)
        self.is_device = stat.S_ISBLK(os.fstat(self.fd).st_mode)
        if self.is_device:
            self._drop_cache()
        elif create:
            os.ftruncate(self.fd, 0)

    def _drop_cache(self):
        """A driver writes below the device's page cache; don't read what it holds."""
        try:
            fcntl.ioctl(self.fd, _BLKFLSBUF)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.ENOTTY):
                raise

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def size(self):
        return os.lseek(self.fd, 0, os.SEEK_END)

    @property
    def identity(self):
        status = os.fstat(self.fd)
        return (status.st_rdev,) if self.is_device else (status.st_dev, status.st_ino)

    def read(self, offset, length):
        parts, wanted = [], length
        while wanted:
            try:
                part = os.pread(self.fd, min(wanted, 64 * MIB), offset)
            except OverflowError:
                part = b""
            if not part:
                parts.append(bytes(wanted))
                break
            parts.append(part)
            offset += len(part)
            wanted -= len(part)
        return b"".join(parts)

    def write(self, offset, data):
        data = memoryview(data)
        while data:
            done = os.pwrite(self.fd, data, offset)
            data, offset = data[done:], offset + done

    def zero(self, offset, length):
        """Make a range read as zeros, without blocks of its own where the file allows it."""
        if not self.is_device and offset >= self.size:
            self.grow(offset + length)
            return
        while length:
            step = min(length, 4 * MIB)
            self.write(offset, bytes(step))
            offset, length = offset + step, length - step

    def grow(self, size):
        if self.size >= size:
            return
        if self.is_device:
            raise OSError(errno.ENOSPC, f"needs {size} bytes, the device has {self.size}", self.path)
        os.ftruncate(self.fd, size)

    def truncate(self, size):
        if not self.is_device:
            os.ftruncate(self.fd, size)

    def sync(self):
        os.fsync(self.fd)

    def data_extents(self, start, end):
        """The parts of [start, end) that may hold anything but zeros."""
        end = min(end, self.size)
        position = start
        while position < end:
            try:
                data = os.lseek(self.fd, position, os.SEEK_DATA)
                hole = os.lseek(self.fd, data, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return
                data, hole = position, end      # no SEEK_DATA here: all may be data
            if data >= end:
                return
            yield data, min(hole, end)
            position = hole


class Overlay:
    """A container with pages and zero runs laid over it, in memory only.

    Offers what Container offers for reading.  Zero runs are kept as ranges, so that a
    hostile one of 2^60 bytes costs nothing.
    """

    is_device = False

    def __init__(self, base):
        self.base = base
        self.path = base.path
        self.size = base.size
        self._pages = {}
        self._zeros = RangeSet()

    def close(self):
        self.base.close()

    @property
    def identity(self):
        return self.base.identity

    def put_page(self, offset, data):
        self._pages[offset] = bytes(data)
        self.size = max(self.size, offset + PAGE)

    def put_zeros(self, offset, length):
        end = offset + length
        self._pages = {o: d for o, d in self._pages.items() if not offset <= o < end}
        self._zeros |= RangeSet([(offset, end)])
        self.size = max(self.size, end)

    def _pages_in(self, start, end):
        first = start // PAGE * PAGE
        if (end - first) // PAGE < len(self._pages):
            return [o for o in range(first, end, PAGE) if o in self._pages]
        return sorted(o for o in self._pages if first <= o < end)

    def read(self, offset, length):
        data = bytearray(self.base.read(offset, length))
        end = offset + length
        for low, high in self._zeros.clip(offset, end):
            data[low - offset:high - offset] = bytes(high - low)
        for page in self._pages_in(offset, end):
            low, high = max(page, offset), min(page + PAGE, end)
            data[low - offset:high - offset] = self._pages[page][low - page:high - page]
        return bytes(data)

    def data_extents(self, start, end):
        extents = list(self.base.data_extents(start, end))
        extents += [(o, o + PAGE) for o in self._pages_in(start, end)]
        yield from RangeSet(extents).clip(start, end)
