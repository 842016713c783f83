# SPDX-License-Identifier: GPL-2.0-only
"""One opened VHDX container: its structures, its BAT, and where each virtual byte is.

Opening never writes.  A dirty log is replayed in memory, before anything but the
headers is looked at.
"""

from array import array
from collections import namedtuple
import sys

from .bat import (BITMAP_BLOCK_SIZE, ENTRY_SIZE, Geometry, State, entry_fault,
                  entry_offset, entry_state)
from .container import Container, is_zero
from .findings import ERROR, Finding, Report, VhdxError
from .headers import judge_headers, judge_identifier
from .layout import BAT_REGION, HEADER_SECTION, METADATA_REGION, MIB
from .metadata import judge_metadata
from .ranges import RangeSet
from .regions import judge_regions
from .replay import replayed_view

_NO_DATA = frozenset((State.UNDEFINED, State.ZERO, State.UNMAPPED))

# Where bytes of the virtual disk come from: view and its offset, or zeros if view is None.
Segment = namedtuple("Segment", "offset length view at")


class Image:
    """Raises VhdxError with the first fatal finding; report has them all."""

    def __init__(self, path, report=None):
        self.path = str(path)
        self.report = report or Report(self.path)
        self.parent = None
        self.sequence = None       # the replayed one, if the log was dirty
        self.container = self.view = Container(path)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self):
        judge_identifier(self.container, self.report)
        self.copies, current = judge_headers(self.container, self.report)
        self.header = current.header
        if self.header.log_guid.int:
            self.view, self.sequence = replayed_view(self.container, self.header, self.report)
        self.regions = judge_regions(self.view, self.header, self.report)
        self.parameters = p = judge_metadata(self.view, self.regions[METADATA_REGION], self.report)
        self.geometry = Geometry(p.size, p.block_size, p.logical_sector, p.has_parent)
        bat = self.regions[BAT_REGION]
        if self.geometry.bat_bytes > bat.length:
            self.report.stop("BAT", bat.offset, f"the region has {bat.length} bytes, "
                             f"{self.geometry.entries} entries need {self.geometry.bat_bytes}")
        self.structures = [(0, HEADER_SECTION, "header section")]
        self.structures += [(r.offset, r.end, f"{r.name} region") for r in self.regions.values()]
        if self.header.log_length:
            self.structures.append((self.header.log_offset,
                                    self.header.log_offset + self.header.log_length, "log"))

    def close(self):
        self.container.close()
        if self.parent:
            self.parent.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def size(self):
        return self.parameters.size

    @property
    def is_dirty(self):
        return self.sequence is not None

    # -- BAT --

    def bat_offset(self, index):
        """Where entry index is in the container."""
        return self.regions[BAT_REGION].offset + index * ENTRY_SIZE

    def bat_entry(self, index):
        return int.from_bytes(self.view.read(self.bat_offset(index), ENTRY_SIZE), "little")

    def fault(self, index, entry):
        return entry_fault(self.geometry, index, entry, self.view.size, self.structures)

    def _unreadable(self, index, message):
        """An error for one block; the image as such stays usable."""
        return VhdxError(Finding(ERROR, f"BAT entry {index}", self.bat_offset(index), message), self.path)

    def _valid_entry(self, index):
        entry = self.bat_entry(index)
        fault = self.fault(index, entry)
        if fault:
            raise self._unreadable(index, fault)
        return entry

    def nonzero_entries(self, count=None):
        """(index, entry) of all entries that are not zero, the needed ones by default."""
        start = self.bat_offset(0)
        end = self.bat_offset(self.geometry.entries if count is None else count)
        for low, high in self.view.data_extents(start, end):
            low, high = (low - start) // 8 * 8 + start, min(-(-(high - start) // 8) * 8 + start, end)
            for at in range(low, high, MIB):
                raw = self.view.read(at, min(MIB, high - at))
                if is_zero(raw):
                    continue
                entries = array("Q", raw)
                if sys.byteorder == "big":
                    entries.byteswap()
                first = (at - start) // ENTRY_SIZE
                yield from ((first + i, e) for i, e in enumerate(entries) if e)

    def block_entry(self, block):
        """(State, offset) of a payload block; raises on an entry that may not be used."""
        entry = self._valid_entry(self.geometry.payload_index(block))
        return State(entry_state(entry)), entry_offset(entry)

    # -- content --

    def segments(self, offset, length):
        """Where each byte of a virtual range comes from, in order, through the chain."""
        end = min(offset + length, self.size)
        while offset < end:
            block, within = divmod(offset, self.geometry.block_size)
            part = min(end - offset, self.geometry.block_size - within)
            yield from self._block_segments(block, within, part)
            offset += part

    def _block_segments(self, block, within, length):
        state, at = self.block_entry(block)
        offset = block * self.geometry.block_size + within
        if state == State.FULLY_PRESENT:
            yield Segment(offset, length, self.view, at + within)
        elif state == State.PARTIALLY_PRESENT:
            for here, start, end in self._present_runs(block, within, within + length):
                if here:
                    yield Segment(offset + start - within, end - start, self.view, at + start)
                else:
                    yield from self._parent_segments(offset + start - within, end - start)
        elif state == State.NOT_PRESENT and self.geometry.differencing:
            yield from self._parent_segments(offset, length)
        else:
            yield Segment(offset, length, None, 0)

    def _parent_segments(self, offset, length):
        if self.parent is None:
            raise VhdxError(Finding(ERROR, "parent locator", 0, "the data is in a parent that is "
                                    "not open"), self.path)
        covered = max(0, min(length, self.parent.size - offset))
        yield from self.parent.segments(offset, covered)
        if covered < length:
            yield Segment(offset + covered, length - covered, None, 0)

    def sector_bitmap(self, block):
        """The bits of one block's sectors as an int (LSB first), or None without bitmap."""
        chunk = block // self.geometry.chunk_ratio
        entry = self._valid_entry(self.geometry.bitmap_index(chunk))
        if entry_state(entry) != State.FULLY_PRESENT:
            return None
        sectors = self.geometry.block_size // self.geometry.logical_sector
        at = entry_offset(entry) + self.geometry.sector_bit(block) // 8
        return int.from_bytes(self.view.read(at, sectors // 8), "little")

    def _present_runs(self, block, start, end):
        """(present, start, end) runs of a partially present block, in bytes of the block."""
        bits = self.sector_bitmap(block)
        if bits is None:
            raise self._unreadable(self.geometry.payload_index(block),
                                   "partially present, but the chunk has no sector bitmap")
        sector = self.geometry.logical_sector
        while start < end:
            rest = bits >> start // sector
            here = rest & 1
            flips = ~rest if here else rest
            count = (flips & -flips).bit_length() - 1 if flips else self.geometry.block_size
            stop = min(end, (start // sector + count) * sector)
            yield bool(here), start, stop
            start = stop

    def read(self, offset, length):
        """The virtual disk's bytes; UNDEFINED and UNMAPPED blocks give zeros."""
        return b"".join(s.view.read(s.at, s.length) if s.view else bytes(s.length)
                        for s in self.segments(offset, length))

    def touched(self):
        """A RangeSet outside of which the whole chain is known to read as zeros."""
        size, ranges = self.geometry.block_size, []
        for index, entry in self.nonzero_entries():
            if entry in _NO_DATA:
                continue
            kind, block = self.geometry.slot(index)
            if kind == "payload":
                ranges.append((block * size, min((block + 1) * size, self.size)))
        own = RangeSet(ranges)
        return own | self.parent.touched().clip(0, self.size) if self.parent else own

    def faulty_ranges(self):
        """(offset, length) of the blocks that cannot be read."""
        for start, end in self.touched():
            for block in range(start // self.geometry.block_size, -(-end // self.geometry.block_size)):
                offset, length = self.geometry.block_range(block)
                try:
                    for _ in self.segments(offset, length):
                        pass
                except VhdxError:
                    yield offset, length

    def data(self, without=RangeSet()):
        """(offset, bytes) pieces of at most 1 MiB that hold all non-zero bytes, ascending."""
        for start, end in self.touched() - without:
            for segment in self.segments(start, end - start):
                if not segment.view:
                    continue
                for low, high in segment.view.data_extents(segment.at, segment.at + segment.length):
                    for at in range(low, high, MIB):
                        piece = segment.view.read(at, min(MIB, high - at))
                        if not is_zero(piece):
                            yield segment.offset + at - segment.at, piece

    def bitmap_blocks(self):
        """(chunk, offset, length) of the sector bitmap blocks in use."""
        for index, entry in self.nonzero_entries():
            kind, chunk = self.geometry.slot(index)
            if kind == "bitmap" and self.geometry.differencing and \
                    entry_state(entry) == State.FULLY_PRESENT:
                yield chunk, entry_offset(entry), BITMAP_BLOCK_SIZE
