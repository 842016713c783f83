# SPDX-License-Identifier: GPL-2.0-only
"""Reading and judging the region tables."""

from .container import is_zero
from .crc32c import is_sealed
from .findings import UNSUPPORTED
from .layout import (BAT_REGION, HEADER_SECTION, MAX_TABLE_ENTRIES, METADATA_REGION, MIB,
                     REGION_TABLE_OFFSETS, TABLE_SIZE, unpack_region_table)

KNOWN = {BAT_REGION: "BAT", METADATA_REGION: "metadata"}


def copy_fault(raw):
    """Why a copy of the table is not valid, or an empty string."""
    if raw[:4] != b"regi":
        return "no signature"
    if not is_sealed(raw):
        return "wrong checksum"
    count, _ = unpack_region_table(raw)
    return f"{count} entries, at most 2047 fit" if count > MAX_TABLE_ENTRIES else ""


def overlaps(spans):
    """Pairs of (start, end, name) that share bytes; spans that lie inside each other too."""
    last = None
    for span in sorted(spans):
        if last and span[0] < last[1]:
            yield last, span
        if not last or span[1] > last[1]:
            last = span


def _judge_entry(number, region, where, limit, report):
    def fatal(message, *errno):
        report.fatal("region table", where, f"entry {number} ({region.name}): {message}", *errno)

    if region.guid not in KNOWN and region.required & 1:
        fatal("a required region that is not known", UNSUPPORTED)
    if region.required not in (0, 1):
        report.error("region table", where, f"entry {number}: reserved bits {region.required:#x}")
    elif region.guid in KNOWN and not region.required:
        report.warning("region table", where, f"entry {number} ({region.name}) is not marked required")
    if region.offset % MIB or region.offset < HEADER_SECTION:
        fatal(f"offset {region.offset:#x} is not a multiple of 1 MiB from 1 MiB on")
    if region.length % MIB or not region.length:
        fatal(f"length {region.length:#x} is not a positive multiple of 1 MiB")
    if region.end > limit:
        fatal(f"ends at {region.end:#x}, beyond the container ({limit:#x})")


def judge_regions(view, header, report):
    """The regions by GUID, from the first valid copy of the table."""
    raws = [view.read(offset, TABLE_SIZE) for offset in REGION_TABLE_OFFSETS]
    faults = [copy_fault(raw) for raw in raws]
    for number, fault in enumerate(faults):
        if fault:
            report.warning(f"region table {number + 1}", REGION_TABLE_OFFSETS[number], fault)
    if all(faults):
        report.stop("region table", REGION_TABLE_OFFSETS[0],
                    "neither copy is valid: " + ", ".join(faults))
    chosen = 0 if not faults[0] else 1
    where = REGION_TABLE_OFFSETS[chosen]
    if not any(faults) and unpack_region_table(raws[0]) != unpack_region_table(raws[1]):
        report.error("region table 2", REGION_TABLE_OFFSETS[1], "differs from the valid first copy")
    count, entries = unpack_region_table(raws[chosen])
    if not is_zero(raws[chosen][12:16]):
        report.error("region table", where, "reserved bytes are not zero")
    if not is_zero(raws[chosen][16 + 32 * count:]):
        report.info("region table", where, "bytes behind the last entry are not zero")

    regions = {}
    for number, region in enumerate(entries):
        _judge_entry(number, region, where, view.size, report)
        if region.guid in regions:
            report.fatal("region table", where, f"entry {number} ({region.name}) occurs twice")
        regions[region.guid] = region
    for guid, name in KNOWN.items():
        if guid not in regions:
            report.fatal("region table", where, f"there is no {name} region")
    spans = [(r.offset, r.end, r.name) for r in entries]
    if header.log_length:
        spans.append((header.log_offset, header.log_offset + header.log_length, "log"))
    for one, other in overlaps(spans):
        report.fatal("region table", where, f"the {one[2]} at {one[0]:#x}..{one[1]:#x} overlaps "
                     f"the {other[2]} at {other[0]:#x}..{other[1]:#x}")
    report.stop_if_fatal()
    return regions
