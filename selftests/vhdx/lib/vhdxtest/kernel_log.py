# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel says while something runs.

    with KernelLog() as log:
        ...
        log.expect_quiet()
"""

import os

import ktap

WARNING = 4


class KernelLog:
    """The records from now on."""

    def __init__(self):
        self.fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(self.fd, 0, os.SEEK_END)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)

    def records(self):
        """(level, text) of what came since the last call."""
        while True:
            try:
                record = os.read(self.fd, 8192).decode(errors="replace")
            except BlockingIOError:
                return
            except BrokenPipeError:
                continue           # overwritten before it was read
            head, _, text = record.partition(";")
            yield int(head.split(",")[0]) & 7, text.split("\n")[0]

    def expect_quiet(self, known=()):
        """Nothing at the level of a warning or above, but for texts that hold one of known."""
        loud = [text for level, text in self.records()
                if level <= WARNING and not any(one in text for one in known)]
        ktap.check(not loud, f"{len(loud)} messages, the first: {loud[:3]}")
