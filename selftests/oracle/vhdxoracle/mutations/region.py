# SPDX-License-Identifier: GPL-2.0-only
"""Faults of the region tables; both copies are changed, checksums are right."""

from uuid import UUID

from ..layout import (BAT_REGION, METADATA_REGION, MIB, REGION_TABLE_OFFSETS, Region,
                      VIRTUAL_DISK_SIZE)
from .registry import EOPNOTSUPP, EUCLEAN, OK, mutation

_TABLE = ("region",)
UNKNOWN = UUID("0DDBA115-0000-4000-8000-000000000001")


@mutation("region-tables-checksum", EUCLEAN, structure=_TABLE)
def _both_checksums(target):
    for offset in REGION_TABLE_OFFSETS:
        target.flip(offset + 4)


def _count(name, count):
    @mutation(name, EUCLEAN, structure=_TABLE)
    def lie(target):
        """The table claims another number of entries than it has."""
        target.edit.put_regions(target.edit.regions, count=count)


_count("region-count-zero", 0)
_count("region-count-2048", 2048)
_count("region-count-max", 0xFFFFFFFF)


def _without(name, guid):
    @mutation(f"region-{name}-missing", EUCLEAN, structure=_TABLE)
    def missing(target):
        target.edit.put_regions([r for r in target.edit.regions if r.guid != guid])

    @mutation(f"region-{name}-twice", EUCLEAN, structure=_TABLE)
    def twice(target):
        """The second entry of that GUID has a place of its own."""
        end = target.edit.container.size
        target.edit.container.grow(end + MIB)
        target.edit.put_regions(target.edit.regions + [Region(guid, end, MIB)])


def _changed(name, guid, what, **fields):
    @mutation(f"region-{name}-{what}", EUCLEAN, structure=_TABLE)
    def change(target):
        values = {k: v(target) if callable(v) else v for k, v in fields.items()}
        target.edit.change_region(guid, **values)


for _name, _guid in (("bat", BAT_REGION), ("metadata", METADATA_REGION)):
    _without(_name, _guid)
    _changed(_name, _guid, "offset-unaligned", offset=3 * MIB + 4096)
    _changed(_name, _guid, "offset-zero", offset=0)
    _changed(_name, _guid, "length-unaligned", length=MIB - 4096)
    _changed(_name, _guid, "length-zero", length=0)
    _changed(_name, _guid, "at-end-of-file", offset=lambda t: t.edit.container.size)
    _changed(_name, _guid, "reaches-beyond-end-of-file",
             offset=lambda t: t.edit.container.size - MIB, length=2 * MIB)
    _changed(_name, _guid, "offset-2-to-63", offset=1 << 63)
    _changed(_name, _guid, "end-wraps", offset=(1 << 64) - MIB, length=2 * MIB)
    _changed(_name, _guid, "over-log", offset=lambda t: t.edit.header.log_offset)
_changed("bat", BAT_REGION, "over-metadata",
         offset=lambda t: t.edit.region(METADATA_REGION).offset)
_changed("bat", BAT_REGION, "length-max", length=0xFFF00000)


@mutation("region-bat-too-short", EUCLEAN, structure=("BAT",))
def _too_short(target):
    """The virtual size needs more entries than the region holds."""
    target.edit.put_value(VIRTUAL_DISK_SIZE, (1 << 40).to_bytes(8, "little"))


def _extra(name, attach, note, region):
    @mutation(name, attach, structure=_TABLE)
    def extra(target):
        end = target.edit.container.size
        target.edit.container.grow(end + MIB)
        target.edit.put_regions(target.edit.regions + [region(target, end)])
    extra.__doc__ = note


_extra("region-unknown-required", EOPNOTSUPP, "", lambda t, end: Region(UNKNOWN, end, MIB, 1))
_extra("region-unknown-optional", OK, "Must be kept.", lambda t, end: Region(UNKNOWN, end, MIB, 0))
_extra("region-unknown-over-bat", EUCLEAN, "",
       lambda t, end: Region(UNKNOWN, t.edit.region(BAT_REGION).offset, MIB, 0))
_extra("region-unknown-over-log", EUCLEAN, "",
       lambda t, end: Region(UNKNOWN, t.edit.header.log_offset, MIB, 0))
_extra("region-unknown-beyond-end-of-file", EUCLEAN, "",
       lambda t, end: Region(UNKNOWN, end + MIB, MIB, 0))


@mutation("region-over-payload", OK, same_content=False, alloc_refused=True, structure=("BAT",))
def _over_payload(target):
    """An unknown optional region where a payload block is: that block is not to be trusted."""
    _, _, entry = next(target.data_entries())
    target.edit.put_regions(target.edit.regions + [Region(UNKNOWN, entry & ~(MIB - 1), MIB, 0)])


@mutation("region-reserved-bits", OK, EUCLEAN, structure=_TABLE)
def _reserved_bits(target):
    """Bits 1 to 31 of Required are set."""
    target.edit.change_region(BAT_REGION, required=0xFFFFFFFF)


@mutation("region-tables-conflict", OK, EUCLEAN, structure=_TABLE)
def _conflict(target):
    """Two valid copies with different content; the first one is right here."""
    end = target.edit.container.size
    target.edit.container.grow(end + MIB)
    target.edit.put_regions([Region(r.guid, end, MIB) if r.guid == BAT_REGION else r
                             for r in target.edit.regions], copies=(1,))
