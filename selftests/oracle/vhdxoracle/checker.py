# SPDX-License-Identifier: GPL-2.0-only
"""The strict structural checker: everything that MS-VHDX says about a container at rest.

A container with a dirty log is judged as it is after replay, which is what its next
user will see; the dirty log itself is reported, and is an error where the container
should have been closed.
"""

from .bat import BITMAP_BLOCK_SIZE, HAS_DATA, State, entry_offset, entry_state
from .findings import FATAL, ERROR, WARNING, Report, VhdxError
from .image import Image
from .layout import BAT_REGION, MIB, NULL_GUID
from .log import Ring
from .regions import overlaps

MAX_REPORTED = 100                 # faulty BAT entries; one is enough to fail


def _judge_padding(image, padding, report):
    """padding: (index, entry) of slots that belong to no block."""
    inside = [p for p in padding if p[0] < image.geometry.entries]
    behind = padding[len(inside):]
    if inside:
        index, entry = inside[0]
        report.error(f"BAT entry {index}", image.bat_offset(index), f"{entry:#x}, but the block is beyond "
                     f"the disk's end ({len(inside)} such entries)")
    if behind:
        index, entry = behind[0]
        report.warning(f"BAT entry {index}", image.bat_offset(index), f"{entry:#x} behind the last entry, "
                       f"ignored ({len(behind)} such entries)")


def _judge_state(image, index, block, entry, bitmaps, report):
    """What is odd about a payload entry that may be used."""
    state, where = entry_state(entry), image.bat_offset(index)
    if state == State.PARTIALLY_PRESENT and block // image.geometry.chunk_ratio not in bitmaps:
        report.error(f"BAT entry {index}", where, "partially present, but the chunk has no sector bitmap")
    if state in HAS_DATA and entry_offset(entry) + image.geometry.block_size > image.view.size:
        report.warning(f"BAT entry {index}", where, "the container ends inside the block, behind the disk's end")
    if state in (State.NOT_PRESENT, State.ZERO) and entry_offset(entry):
        report.warning(f"BAT entry {index}", where, f"{State(state).name} with an offset (reserved)")


def _judge_bat(image, report):
    """Every entry, and the space that blocks take; returns [(start, end, name)]."""
    geometry, spans, padding, faulty = image.geometry, [], [], 0
    bitmaps = {chunk for chunk, _, _ in image.bitmap_blocks()}
    region_entries = image.regions[BAT_REGION].length // 8
    for index, entry in image.nonzero_entries(region_entries):
        kind, number = geometry.slot(index)
        if kind == "padding":
            padding.append((index, entry))
            continue
        if kind == "bitmap" and not geometry.differencing:
            report.warning(f"BAT entry {index}", image.bat_offset(index),
                           f"{entry:#x}, but the disk has no parent: ignored")
            continue
        fault = image.fault(index, entry)
        if fault:
            report.error(f"BAT entry {index}", image.bat_offset(index), f"{kind} {number}: {fault}")
            faulty += 1
            if faulty == MAX_REPORTED:
                break
        else:
            if kind == "payload":
                _judge_state(image, index, number, entry, bitmaps, report)
            if entry_state(entry) in HAS_DATA:
                length = BITMAP_BLOCK_SIZE if kind == "bitmap" else geometry.block_size
                start = entry_offset(entry)
                spans.append((start, start + length, f"{kind} block {number}"))
    _judge_padding(image, padding, report)
    for one, other in overlaps(spans):
        report.error("BAT", image.bat_offset(0), f"{one[2]} at {one[0]:#x}..{one[1]:#x} and "
                     f"{other[2]} at {other[0]:#x}..{other[1]:#x} overlap")
    return spans


def _judge_log(image, report, clean):
    header = image.header
    if image.is_dirty:
        count = len(image.sequence.replayed)
        report.add(ERROR if clean else "info", "log", header.log_offset, f"dirty: {count} entries to replay")
    if not header.log_length:
        return
    ring = Ring(image.container, header.log_offset, header.log_length)
    active = {e.offset for e in image.sequence.entries} if image.is_dirty else set()
    stale = sum(e.offset not in active for e in ring.entries())
    if stale:
        report.info("log", header.log_offset, f"{stale} entries of earlier sessions (ignored)")


def _judge_headers(image, report):
    for copy in image.copies:
        where = f"header {copy.slot + 1}"
        if copy.fault:
            continue
        if copy.header.version != 1 or copy.header.log_version:
            report.error(where, copy.offset, f"version {copy.header.version}, log version "
                         f"{copy.header.log_version}")
        if NULL_GUID in (copy.header.file_write_guid, copy.header.data_write_guid):
            report.warning(where, copy.offset, "FileWriteGuid or DataWriteGuid is zero")


def _judge_size(image, spans, report):
    size = image.view.size
    if size % MIB and not image.container.is_device:
        report.warning("container", size, f"its size {size} is not a multiple of 1 MiB")
    used = max((end for _, end, _ in spans + image.structures), default=0)
    if not image.container.is_device and size > used:
        report.info("container", used, f"{size - used} bytes behind the last structure")
    taken = sum(end - start for start, end, _ in spans + image.structures)
    if used > taken:
        report.info("container", 0, f"{used - taken} bytes between structures are unused")


def check(path, clean=False):
    """All findings about the container at path; clean also asks for an empty log."""
    report = Report(str(path))
    try:
        with Image(path, report) as image:
            _judge_headers(image, report)
            _judge_log(image, report, clean)
            spans = _judge_bat(image, report)
            _judge_size(image, spans, report)
    except VhdxError:
        pass                       # the report holds it
    return report.findings


def faults(findings, strict=False):
    """Those findings that make a container invalid."""
    wanted = (FATAL, ERROR, WARNING) if strict else (FATAL, ERROR)
    return [f for f in findings if f.severity in wanted]
