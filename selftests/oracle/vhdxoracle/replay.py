# SPDX-License-Identifier: GPL-2.0-only
"""Finding the active sequence of a log, and applying it in memory."""

from dataclasses import dataclass

from .container import Overlay
from .layout import REGION_TABLE_OFFSETS
from .log import Data, EntryFault, Ring, parse


@dataclass
class Sequence:
    """Consecutive valid entries of the ring; head is where the next one would be."""
    entries: list
    head: int

    @property
    def number(self):
        return self.entries[-1].sequence if self.entries else 0

    @property
    def replayed(self):
        """The entries from the last one's tail on; None if the tail is none of them."""
        tail = self.entries[-1].tail
        for index, entry in enumerate(self.entries):
            if entry.offset == tail:
                return self.entries[index:]
        return None


def _sequence_from(start, entry_at, log_length):
    """The longest run of entries with consecutive numbers from start."""
    entries, head, used = [], start, 0
    while True:
        entry = entry_at(head)
        if entry is None or used + entry.length > log_length:
            break
        if entries and entry.sequence != entries[-1].sequence + 1:
            break
        entries.append(entry)
        used += entry.length
        head = (head + entry.length) % log_length
        if used == log_length:
            break
    return Sequence(entries, head)


def active_sequence(ring, log_guid):
    """The sequence to replay, or None for a log without a valid one (MS-VHDX 2.3.2)."""
    cache, read = {}, ring.at_rest()

    def entry_at(offset):
        if offset not in cache:
            try:
                cache[offset] = parse(read, offset, ring.length, log_guid)
            except EntryFault:
                cache[offset] = None
        return cache[offset]

    candidate, tail = None, 0
    while True:
        current = _sequence_from(tail, entry_at, ring.length)
        valid = bool(current.entries) and current.replayed is not None
        if valid and (candidate is None or current.number > candidate.number):
            candidate = current
        old = tail
        tail = current.head if valid else (tail + 4096) % ring.length
        if tail <= old:            # equal: the sequence fills the ring
            return candidate


def replayed_view(container, header, report):
    """The container as it is after replay of its log; nothing is written.

    Also returns the sequence, for those who show it.
    """
    ring = Ring(container, header.log_offset, header.log_length)
    sequence = active_sequence(ring, header.log_guid)
    if sequence is None:
        report.stop("log", header.log_offset,
                    f"the header names log {header.log_guid}, but no entry of it is valid")
    head = sequence.entries[-1]
    at = header.log_offset + head.offset
    if container.size < head.flushed_file_offset:
        report.stop("log entry", at, f"the container was truncated: it has {container.size} bytes, "
                    f"{head.flushed_file_offset} were there when the entry was written")
    log_end = header.log_offset + header.log_length
    view = Overlay(container)
    for entry in sequence.replayed:
        for item in entry.descriptors:
            # A multiple of 4 KiB is 0 as well (MS-VHDX 2.3.1.2): nothing is written then.
            if not item.length:
                continue
            end = item.offset + item.length
            if item.offset < REGION_TABLE_OFFSETS[0]:
                report.stop("log entry", header.log_offset + entry.offset,
                            f"a descriptor writes {item.offset:#x}, where the headers are")
            if item.offset < log_end and header.log_offset < end:
                report.stop("log entry", header.log_offset + entry.offset,
                            f"a descriptor writes {item.offset:#x}, inside the log")
            if end >= 1 << 63:
                report.stop("log entry", header.log_offset + entry.offset,
                            f"a descriptor ends at {end:#x}, beyond any file")
            if isinstance(item, Data):
                view.put_page(item.offset, item.page)
            else:
                view.put_zeros(item.offset, item.length)
    view.size = max(view.size, head.last_file_offset)
    if container.is_device and view.size > container.size:
        report.stop("log entry", at, f"replay needs {view.size} bytes, "
                    f"the device has {container.size}")
    return view, sequence
