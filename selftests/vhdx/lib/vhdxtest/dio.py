# SPDX-License-Identifier: GPL-2.0-only
"""Direct I/O from Python: buffers that are aligned, and no short transfers."""

import ctypes
import errno
import fcntl
import mmap
import os
import struct
import threading

ALIGNMENT = mmap.PAGESIZE
# What one request carries at most; Linux transfers a little less than 2 GiB at once.
REQUEST = 64 << 20

# Of the kernel's include/uapi/linux/fs.h and falloc.h.
_BLKDISCARD = 0x1277
_KEEP_SIZE, _PUNCH_HOLE, _ZERO_RANGE = 1, 2, 16
_libc = ctypes.CDLL(None, use_errno=True)


def _fallocate(fd, mode, offset, length):
    if _libc.fallocate(fd, mode | _KEEP_SIZE, ctypes.c_int64(offset), ctypes.c_int64(length)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def punch(fd, offset, length):
    """Makes a hole of a part of a file."""
    _fallocate(fd, _PUNCH_HOLE, offset, length)


def aligned(length):
    """A buffer of length bytes at the beginning of a page."""
    return memoryview(mmap.mmap(-1, max(length, 1)))[:length]


# A page that is touched for the first time is dear: in User Mode Linux a signal, two switches of
# processes and a mapping, for every 4 KiB that is read. So each thread keeps its buffer, up to REQUEST;
# and what Python frees stays with this process (mallopt(3): M_TRIM_THRESHOLD, M_TOP_PAD,
# M_MMAP_THRESHOLD). What a read leaves out must not look like what was read before: it is POISON.
POISON = 0xdb
_mine = threading.local()
for _parameter, _value in ((-1, 1 << 30), (-2, 4 << 20), (-3, 32 << 20)):
    _libc.mallopt(_parameter, _value)


def _buffer(length):
    """A buffer of this thread, at the beginning of a page, until it asks for another one."""
    if length > REQUEST:
        return aligned(length)
    there = getattr(_mine, "buffer", b"")
    if len(there) < length:
        there = _mine.buffer = aligned(max(1 << (length - 1).bit_length(), ALIGNMENT))
    return there[:length]


class Direct:
    """A file or block device open with O_DIRECT. Threads may share it."""

    def __init__(self, path, write=False, flags=os.O_DIRECT):
        self.fd = os.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC | flags)

    def read(self, offset, length):
        """length bytes."""
        buffer = _buffer(length)
        if length:
            ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(buffer)), POISON, length)
        done = 0
        while done < length:
            got = os.preadv(self.fd, [buffer[done:done + REQUEST]], offset + done)
            if not got:
                raise OSError(errno.EIO, f"end of file at {offset + done}")
            done += got
        return bytes(buffer)

    def write(self, offset, data):
        """Writes data in one request, if it is not larger than REQUEST."""
        buffer = _buffer(len(data))
        buffer[:] = data
        done = 0
        while done < len(data):
            done += os.pwritev(self.fd, [buffer[done:done + REQUEST]], offset + done)

    def flush(self):
        """Makes what was written durable."""
        os.fdatasync(self.fd)

    def discard(self, offset, length):
        """Of a block device: nobody needs these bytes."""
        fcntl.ioctl(self.fd, _BLKDISCARD, struct.pack("=QQ", offset, length))

    def zero(self, offset, length, keep=False):
        """Of a block device: they are zeroes, and their space is kept, or need not be."""
        _fallocate(self.fd, _ZERO_RANGE if keep else _PUNCH_HOLE, offset, length)

    def size(self):
        """In bytes."""
        return os.lseek(self.fd, 0, os.SEEK_END)

    def close(self):
        """Closes it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def buffered(path, write=False):
    """The same interface through the page cache; flush() is the write's other half."""
    return Direct(path, write, 0)
