# SPDX-License-Identifier: GPL-2.0-only
"""Memory that answers late: userfaultfd, for rule K4.

    memory = LateMemory(65536)
    thread, results = stuck(memory, lambda address: ioctl(fd, command, address))
    ...                             the call waits in the memory, and nobody else waits
    memory.let_go()
    thread.join()
"""

import ctypes
import mmap
import os
import threading

import ktap

from .device import ioctl

_libc = ctypes.CDLL(None, use_errno=True)
SYS_USERFAULTFD = 323
UFFDIO_API = 0xC018AA3F
UFFDIO_REGISTER = 0xC020AA00
UFFDIO_COPY = 0xC028AA03


class LateMemory:
    """A mapping that nobody can touch until it is let go."""

    def __init__(self, length=1 << 20):
        self.length = length
        self.fd = _libc.syscall(SYS_USERFAULTFD, os.O_CLOEXEC)
        if self.fd < 0:
            ktap.skip("no userfaultfd")
        api = (ctypes.c_uint64 * 3)(0xAA)
        ktap.equal(ioctl(self.fd, UFFDIO_API, api), 0, "UFFDIO_API")
        self.memory = mmap.mmap(-1, length, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        register = (ctypes.c_uint64 * 4)(self.address, length, 1)
        ktap.equal(ioctl(self.fd, UFFDIO_REGISTER, register), 0, "UFFDIO_REGISTER")

    def wait_for_fault(self):
        """Until somebody is stuck in it."""
        os.read(self.fd, 32)

    def let_go(self, content=b""):
        """From now on it is plain memory, with this at its beginning."""
        source = mmap.mmap(-1, self.length)
        source.write(content)
        copy = (ctypes.c_uint64 * 5)(self.address,
                                     ctypes.addressof(ctypes.c_char.from_buffer(source)),
                                     self.length)
        ktap.equal(ioctl(self.fd, UFFDIO_COPY, copy), 0, "UFFDIO_COPY")
        os.close(self.fd)


def stuck(memory, call):
    """Has call(address) stuck in the memory; its thread, and a list for its result."""
    results = []
    thread = threading.Thread(target=lambda: results.append(call(memory.address)))
    thread.start()
    memory.wait_for_fault()
    return thread, results
