# SPDX-License-Identifier: GPL-2.0-only
"""Files by their pages that are not zero, as programs in C are given them.

    u64 size of the file, then for each page: u64 offset, 4096 bytes
"""

import struct

PAGE = 4096
_ZEROES = bytes(PAGE)


def pack(file, pages_max=1 << 32, size_max=1 << 64):
    """The content of an open file, or as much of its beginning as is wanted."""
    pages, size = [], 0
    while size < size_max and (page := file.read(PAGE)):
        if len(pages) < pages_max and page != _ZEROES[:len(page)]:
            pages.append(struct.pack("<Q", size) + page.ljust(PAGE, b"\0"))
        size += len(page)
    return struct.pack("<Q", size) + b"".join(pages)
