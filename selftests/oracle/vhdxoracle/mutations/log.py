# SPDX-License-Identifier: GPL-2.0-only
"""Dirty logs: those that must be replayed, and those that must be refused.

Every image here logs the same change: block 8 gets data, block 0 becomes zeros.
"""

import struct
from dataclasses import replace
from uuid import UUID

from ..bat import State, pack_entry
from ..crc32c import sealed
from ..layout import (BAT_REGION, METADATA_REGION, MIB, PAGE, REGION_TABLE_OFFSETS, TABLE_SIZE,
                      pack_region_table)
from ..log import Data, Ring, Zero, compose
from .registry import EUCLEAN, OK, mutation

_LOG = ("log",)
GUID = UUID("10610610-6106-4106-8106-106106106106")
CHANGES = ([(16 * MIB + 512, b"only in the log " * 64)], {0: "ZERO"})


def _good(name, note, **options):
    @mutation(f"log-{name}", OK, same_content=False)
    def make_dirty(target):
        target.dirty(*CHANGES, seed=11, **options)
    make_dirty.__doc__ = note


_good("dirty", "Windows' way: an empty entry first, one LogGuid.")
_good("one-entry", "", group=0, first_empty=False)
_good("guid-per-entry", "QEMU's way.", guid_per_entry=True, sequence=1)
_good("wrapped", "The entries go around the ring's end.", wrap=True)
_good("wrapped-inside-entry", "", wrap=True, first_empty=False, group=0)
_good("torn-sector", "The last entry's last sector is missing.", torn="sector")
_good("torn-checksum", "The last entry's checksum is wrong.", torn="checksum")
_good("torn-header", "The last entry's first sector is missing.", torn="header")
_good("stale-entries", "Entries of another LogGuid go on behind the head.", stale=3)
_good("older-sequence", "An older run of the same LogGuid, with lower numbers.", older=3)
_good("applied-before-tail", "What lies before the last entry's tail is not replayed.",
      applied=1, poison=True)
_good("last-offset-beyond-file", "Replay extends the file to LastFileOffset.", last=200 * MIB)
_good("flushed-zero", "Windows 6.2 writes FlushedFileOffset 0.", flushed=0)


@mutation("log-only-empty-entry", OK)
def _only_empty(target):
    """A session that changed nothing."""
    target.dirty(first_empty=True)


def _put_log(target, *raws):
    """Entries one behind the other, and both headers naming their log."""
    header = target.edit.header
    ring, at = Ring(target.edit.container, header.log_offset, header.log_length), 0
    for raw in raws:
        ring.write(at, raw)
        at += len(raw)
    target.edit.change_headers(log_guid=GUID)


def _bat_page(target):
    """The BAT's first page with block 0 made zeros."""
    page = bytearray(target.edit.container.read(target.edit.bat_offset(0), PAGE))
    struct.pack_into("<Q", page, 0, pack_entry(State.ZERO))
    return Data(target.edit.bat_offset(0), bytes(page))


def _entry(target, descriptors=None, *, tail=0, number=500, flushed=0, last=0, guid=GUID):
    if descriptors is None:
        descriptors = [_bat_page(target)]
    return compose(guid, number, tail, descriptors, flushed, last)


@mutation("log-zero-descriptor", OK, same_content=False)
def _zero_descriptor(target):
    """The BAT's first page becomes zeros: the whole disk reads as zeros."""
    _put_log(target, _entry(target, [Zero(target.edit.bat_offset(0), PAGE)]))


@mutation("log-many-descriptors", OK, same_content=False)
def _many(target):
    """More descriptors than the first sector holds (126), and than the second (128)."""
    base = target.edit.bat_offset(0) + PAGE
    zeros = [Zero(base + PAGE * i, PAGE) for i in range(254)]
    _put_log(target, _entry(target, zeros + [_bat_page(target)]))


@mutation("log-entry-fills-log", OK, same_content=False)
def _fills_log(target):
    """The longest entry there can be."""
    # Two sectors hold as many descriptors.
    sectors = target.edit.header.log_length // PAGE - 2
    _put_log(target, _entry(target, [_bat_page(target)] * sectors))


@mutation("log-writes-behind-end-of-file", OK, same_content=False)
def _behind_end(target):
    """Replay extends the file to hold what a descriptor writes."""
    end = target.edit.container.size
    _put_log(target, _entry(target, [Data(end + 3 * MIB, bytes(PAGE)), _bat_page(target)], last=end + 4 * MIB))


@mutation("log-writes-behind-the-end-it-names", OK, same_content=False)
def _behind_named_end(target):
    """LastFileOffset is the size at least that the file must have, not a bound."""
    end = target.edit.container.size
    _put_log(target, _entry(target, [Data(end + 3 * MIB, bytes(PAGE)), _bat_page(target)], last=end))


@mutation("log-gap-in-sequence", OK, same_content=False)
def _gap(target):
    """The second entry's number skips one and its tail is the first: not part of the log."""
    harm = [Zero(target.edit.bat_offset(0), PAGE)]
    _put_log(target, _entry(target), _entry(target, harm, number=502))


@mutation("log-higher-sequence-with-foreign-tail", OK, same_content=False)
def _foreign_tail(target):
    """A run with higher numbers is no sequence if its tail is none of its entries."""
    harm = [Zero(target.edit.bat_offset(0), PAGE)]
    _put_log(target, _entry(target), _entry(target, harm, number=900, tail=0x40000))


@mutation("log-repairs-region-tables", OK, same_content=False)
def _repairs_tables(target):
    """Both region tables are torn in place; the log has them whole."""
    raw = pack_region_table(target.edit.regions)
    pages = [Data(offset + at, raw[at:at + PAGE]) for offset in REGION_TABLE_OFFSETS
             for at in range(0, TABLE_SIZE, PAGE)]
    _put_log(target, _entry(target, pages + [_bat_page(target)]))
    for offset in REGION_TABLE_OFFSETS:
        target.put(offset, b"torn" * 128)


@mutation("log-repairs-metadata", OK, same_content=False)
def _repairs_metadata(target):
    """The metadata table is torn in place; the log has it whole."""
    at = target.edit.region(METADATA_REGION).offset
    _put_log(target, _entry(target, [Data(at, target.edit.container.read(at, PAGE)), _bat_page(target)]))
    target.put(at, b"torn" * 128)


@mutation("log-moves-bat-onto-log", EUCLEAN, structure=("region", "log"))
def _moves_bat(target):
    """After replay the region table says that the BAT is where the log is."""
    regions = [replace(r, offset=target.edit.header.log_offset) if r.guid == BAT_REGION else r
               for r in target.edit.regions]
    raw = pack_region_table(regions)
    _put_log(target, _entry(target, [Data(offset + at, raw[at:at + PAGE])
                                     for offset in REGION_TABLE_OFFSETS
                                     for at in range(0, TABLE_SIZE, PAGE)]))


def _bad(name, build, note="", **more):
    @mutation(f"log-{name}", EUCLEAN, structure=_LOG, **more)
    def bad(target):
        _put_log(target, build(target))
    bad.__doc__ = note


def _patched(offset, data, *, reseal=True):
    """An entry builder that overwrites bytes of an otherwise good entry."""
    def build(target):
        raw = bytearray(_entry(target))
        raw[offset:offset + len(data)] = data
        return sealed(raw) if reseal else bytes(raw)
    return build


def _too_long(target):
    """The last data sector is there twice."""
    raw = _entry(target)
    raw = raw[:8] + struct.pack("<I", len(raw) + PAGE) + raw[12:] + raw[-PAGE:]
    return sealed(raw)


_bad("entry-signature", _patched(0, b"LOGE"))
_bad("entry-checksum", _patched(100, b"\xff", reseal=False))
_bad("entry-length-zero", _patched(8, struct.pack("<I", 0)))
_bad("entry-length-unaligned", _patched(8, struct.pack("<I", PAGE + 512)))
_bad("entry-length-over-log", _patched(8, struct.pack("<I", 2 * MIB)))
_bad("entry-length-max", _patched(8, struct.pack("<I", 0xFFFFF000)))
_bad("entry-too-short", lambda t: sealed(_patched(8, struct.pack("<I", PAGE))(t)[:PAGE]),
     "The data sector of its descriptor is not in the entry.")
_bad("entry-too-long", _too_long, "One data sector more than data descriptors.")
_bad("tail-unaligned", _patched(12, struct.pack("<I", 512)))
_bad("tail-over-log", _patched(12, struct.pack("<I", MIB)))
_bad("tail-elsewhere", _patched(12, struct.pack("<I", 0x8000)), "The tail is no entry of the sequence.")
_bad("sequence-zero", lambda t: _entry(t, number=0))
_bad("other-guid", lambda t: _entry(t, guid=UUID(int=1)), readable=True)
_bad("descriptor-count-max", _patched(24, struct.pack("<I", 0xFFFFFFFF)))
_bad("descriptor-count-too-many", _patched(24, struct.pack("<I", 127)))
_bad("descriptor-signature", _patched(64, b"DESC"))
_bad("descriptor-sequence", _patched(64 + 24, struct.pack("<Q", 501)))
_bad("descriptor-unaligned", _patched(64 + 16, struct.pack("<Q", 3 * MIB + 512)))
_bad("data-signature", _patched(PAGE, b"DATA"))
_bad("data-sequence", _patched(2 * PAGE - 4, struct.pack("<I", 499)), "A torn data sector.")
_bad("flushed-beyond-file", lambda t: _entry(t, flushed=1 << 40),
     "The container was truncated after the entry was written.")
_bad("flushed-unaligned", lambda t: _entry(t, flushed=512))
_bad("last-unaligned", lambda t: _entry(t, last=512))
_bad("writes-identifier", lambda t: _entry(t, [Data(0, bytes(PAGE))]))
_bad("writes-header", lambda t: _entry(t, [Data(64 * 1024, bytes(PAGE))]))
_bad("writes-log", lambda t: _entry(t, [Data(t.edit.header.log_offset, bytes(PAGE))]))
_bad("zeroes-log", lambda t: _entry(t, [Zero(192 * 1024, 2 * MIB)]))
_bad("zero-unaligned", lambda t: _entry(t, [Zero(3 * MIB, 512)]))
_bad("zero-2-to-63", lambda t: _entry(t, [Zero(1 << 62, 1 << 63)]), "Ends beyond any file.")
_bad("zero-wraps", lambda t: _entry(t, [Zero(3 * MIB, (1 << 64) - PAGE)]), "Its end wraps beyond 2^64.")
_bad("data-2-to-63", lambda t: _entry(t, [Data(1 << 63, bytes(PAGE))]))


@mutation("log-zero-run-1-tib", OK, EUCLEAN, structure=_LOG)
def _zero_run(target):
    """1 TiB of zeros behind the last structure: legal, and must not be written out."""
    _put_log(target, _entry(target, [Zero(target.edit.container.size, 1 << 40)]))
