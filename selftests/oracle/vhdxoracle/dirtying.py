# SPDX-License-Identifier: GPL-2.0-only
"""Turning a clean container into one whose changes are only in its log.

Payload is written in place, as every implementation does; BAT entries and sector
bitmaps change only in log entries.  What the disk reads as after replay is therefore
the old content with the writes and states applied (see content.apply_to_raw).
"""

import random
import struct
from uuid import UUID

from .bat import (BITMAP_BLOCK_SIZE, HAS_DATA, State, entry_offset, entry_state, pack_entry)
from .content import split
from .builder import parse_state, set_bits
from .edit import Editor
from .layout import MIB, PAGE, round_down, round_up
from .log import Data, Ring, Zero, compose
from .space import Space

_TORN = ("sector", "checksum", "header")


class _Changes:
    """Metadata changes that pile up in memory, by page."""

    def __init__(self, editor):
        self.editor = editor
        self.geometry = editor.geometry
        self.pages = {}
        self.dirtied = {}          # page offset: None, in order of first change
        size = 0 if editor.container.is_device else editor.container.size
        self.space = Space(round_up(max(size, editor.used_end), MIB))

    def page(self, offset):
        """The page around a container offset, about to be changed."""
        start = round_down(offset, PAGE)
        if start not in self.pages:
            self.pages[start] = bytearray(self.editor.container.read(start, PAGE))
        self.dirtied[start] = None
        return self.pages[start]

    def bat(self, index):
        at = self.editor.bat_offset(index)
        page = self.pages.get(round_down(at, PAGE))
        return struct.unpack_from("<Q", page, at % PAGE)[0] if page else self.editor.bat(index)

    def put_bat(self, index, entry):
        at = self.editor.bat_offset(index)
        struct.pack_into("<Q", self.page(at), at % PAGE, entry)

    def allocate(self, length):
        offset = self.space.allocate(length)
        self.editor.container.grow(offset + length)
        if self.editor.container.is_device:
            self.editor.container.zero(offset, length)
        return offset

    def set_state(self, block, text):
        state, has_space = parse_state(text)
        offset = self.allocate(self.geometry.block_size) if has_space else 0
        self.put_bat(self.geometry.payload_index(block), pack_entry(state, offset))

    def write(self, offset, data):
        for block, within, part in split(offset, data, self.geometry.block_size):
            self._write_block(block, within, part)

    def _write_block(self, block, within, data):
        index = self.geometry.payload_index(block)
        old = State(entry_state(self.bat(index)))
        at, new = entry_offset(self.bat(index)), old
        if old not in HAS_DATA:
            at, new = self.allocate(self.geometry.block_size), State.FULLY_PRESENT
            whole = len(data) == self.geometry.block_range(block)[1]
            if self.geometry.differencing and old == State.NOT_PRESENT and not whole:
                new = State.PARTIALLY_PRESENT
            self.put_bat(index, pack_entry(new, at))
        if new == State.PARTIALLY_PRESENT:
            self._mark_present(block, within, len(data))
        self.editor.put(at + within, data)

    def _mark_present(self, block, within, length):
        index = self.geometry.bitmap_index(block // self.geometry.chunk_ratio)
        if entry_state(self.bat(index)) != State.FULLY_PRESENT:
            self.put_bat(index, pack_entry(State.FULLY_PRESENT, self.allocate(BITMAP_BLOCK_SIZE)))
        bits = self.geometry.sector_bit(block, within)
        count = length // self.geometry.logical_sector
        at = entry_offset(self.bat(index))
        while count:
            within_page = bits % (PAGE * 8)
            part = min(count, PAGE * 8 - within_page)
            set_bits(self.page(at + bits // 8), within_page, part)
            bits, count = bits + part, count - part

    def taken(self, zero_pages):
        """Descriptors of what changed since the last call, pages copied."""
        items = [Zero(o, PAGE) if zero_pages and not any(self.pages[o])
                 else Data(o, bytes(self.pages[o])) for o in self.dirtied]
        self.dirtied = {}
        return items


def _descriptor_groups(changes, writes, states, pages, zeros, group, zero_pages):
    """Apply all changes; a list of descriptors for each log entry."""
    steps = [(changes.write, w) for w in writes] + [(changes.set_state, s) for s in states.items()]
    groups = []
    for first in range(0, len(steps), group or len(steps) or 1):
        for step, arguments in steps[first:first + (group or len(steps))]:
            step(*arguments)
        groups.append(changes.taken(zero_pages))
    extra = [Data(o, p) for o, p in pages] + [Zero(o, n) for o, n in zeros]
    return groups + [extra] if extra else groups


def _apply(editor, descriptors):
    for item in descriptors:
        editor.put(item.offset, item.page if isinstance(item, Data) else bytes(item.length))


class _LogWriter:
    """Puts entries one behind the other into the ring."""

    def __init__(self, ring, start, flushed, last):
        self.ring = ring
        self.at = start
        self.flushed, self.last = flushed, last
        self.used = 0

    def put(self, guid, number, descriptors, tail=None, torn=None):
        """Write an entry; tail None means itself.  Returns where it is."""
        where = self.at
        raw = bytearray(compose(guid, number, where if tail is None else tail, descriptors,
                                self.flushed, self.last))
        if torn == "sector":
            raw[-PAGE:] = bytes(PAGE)
        elif torn == "checksum":
            raw[4] ^= 1
        elif torn == "header":
            raw[:PAGE] = bytes(PAGE)
        self.used += len(raw)
        if self.used > self.ring.length:
            raise ValueError("the entries don't fit into the log")
        self.ring.write(where, raw)
        self.at = (where + len(raw)) % self.ring.length
        return where


def dirty(path, writes=(), states=None, *, pages=(), zeros=(), group=1, first_empty=True,
          guid_per_entry=False, applied=0, poison=False, torn=None, stale=0, older=0, start=0,
          wrap=False, sequence=None, zero_pages=False, flushed=None, last=None, seed=None):
    """Make the clean container at path dirty.  Changes, in this order, each in the log:

    writes          (offset, bytes) of the virtual disk; a child's in whole sectors
    states          {block: "ZERO" ...} as for create()
    pages, zeros    (container offset, 4096 bytes), (container offset, length)

    How they are logged:

    group           this many writes and states in one entry; 0: all in one
    first_empty     begin with an entry without descriptors, as Windows does
    guid_per_entry  QEMU's way: each entry its own LogGuid, all but the last applied
    applied         the first so many entries are applied and before the last one's tail
    poison          ... and what the log holds for them would do damage if replayed
    zero_pages      use zero descriptors for pages that become zero
    start, wrap     where in the ring; wrap splits the first change's entry at the ring's end
    sequence        number of the first entry; default random, as Windows does

    What must not be replayed (each of them would empty the BAT's first page):

    torn            "sector", "checksum" or "header": a further entry, broken there
    stale           so many entries with the next numbers of another LogGuid behind the head
    older           so many entries of this LogGuid with lower numbers

    flushed, last   override FlushedFileOffset and LastFileOffset
    """
    if torn and torn not in _TORN:
        raise ValueError(f"torn is one of {_TORN}")
    rng = random.Random(seed)

    def guid():
        return UUID(int=rng.getrandbits(128), version=4)

    with Editor(path) as editor:
        changes = _Changes(editor)
        groups = _descriptor_groups(changes, writes, states or {}, pages, zeros, group, zero_pages)
        if not groups:
            groups = [[]]
        container, header = editor.container, editor.header
        ring = Ring(container, header.log_offset, header.log_length)
        harm = [Data(editor.bat_offset(0), bytes(PAGE))]
        if wrap:
            start = ring.length - (2 * PAGE if first_empty and not guid_per_entry else PAGE)
        end = changes.space.cursor if container.is_device else container.size
        log = _LogWriter(ring, start, round_down(container.size, MIB) if flushed is None else flushed,
                         round_up(end, MIB) if last is None else last)
        number = sequence or rng.getrandbits(62) + (1 << 20)
        if older and number <= older + 1000:
            raise ValueError("older entries need a sequence number above 1000")
        log_guid, before = guid(), number

        tail = start
        if first_empty and not guid_per_entry:
            log.put(log_guid, number, [], start)
            number += 1
        count = len(groups)
        applied = count - 1 if guid_per_entry else min(applied, count - 1)
        for index, descriptors in enumerate(groups):
            if index < applied:
                _apply(editor, descriptors)
            if index == applied:
                tail = log.at
            if guid_per_entry:
                own = log_guid if index == count - 1 else guid()
                log.put(own, number, descriptors)
            else:
                log.put(log_guid, number, harm if poison and index < applied else descriptors,
                        tail if applied and index >= applied else start)
            number += 1
        if torn:
            log.put(log_guid, number, harm, tail, torn)
        other = guid()
        for index in range(stale):
            log.put(other, number + index, harm)
        for index in range(older):
            log.put(log_guid, before - older - 1000 + index, harm)
        editor.change_headers(log_guid=log_guid, file_write_guid=guid(), data_write_guid=guid())
