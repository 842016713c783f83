# SPDX-License-Identifier: GPL-2.0-only
"""Reading and judging the file identifier, the two headers and the log's place."""

from dataclasses import dataclass

from .container import is_zero
from .crc32c import is_sealed
from .findings import NOT_VHDX, UNSUPPORTED
from .layout import (FILE_SIGNATURE, HEADER_OFFSETS, HEADER_SECTION, HEADER_SIZE, MAX_LOG_LENGTH,
                     MIB, Header)

RESERVED_AT = 80                   # the rest of a header is zero


@dataclass(frozen=True)
class HeaderCopy:
    slot: int
    raw: bytes
    fault: str                     # empty if signature and checksum are right
    header: Header

    @property
    def offset(self):
        return HEADER_OFFSETS[self.slot]


def read_copy(container, slot):
    raw = container.read(HEADER_OFFSETS[slot], HEADER_SIZE)
    fault = ""
    if raw[:4] != b"head":
        fault = "no signature"
    elif not is_sealed(raw):
        fault = "wrong checksum"
    return HeaderCopy(slot, raw, fault, Header.unpack(raw))


def judge_identifier(container, report):
    if container.read(0, len(FILE_SIGNATURE)) != FILE_SIGNATURE:
        report.stop("file identifier", 0, "not a VHDX: no 'vhdxfile' signature", NOT_VHDX)


def _pick(copies, report):
    """The current one of the two copies."""
    valid = [c for c in copies if not c.fault]
    for copy in copies:
        if copy.fault:
            report.warning(f"header {copy.slot + 1}", copy.offset, copy.fault)
    if not valid:
        report.stop("header", HEADER_OFFSETS[0],
                    "neither header is valid: " + ", ".join(c.fault for c in copies))
    if len(valid) == 2 and valid[0].header.sequence == valid[1].header.sequence:
        if valid[0].raw == valid[1].raw:
            report.warning("header 2", HEADER_OFFSETS[1], "same sequence number as header 1")
        else:
            report.error("header 2", HEADER_OFFSETS[1],
                         "same sequence number as header 1, but another content")
        return valid[0]
    return max(valid, key=lambda c: c.header.sequence)


def _judge_log(copy, container, report):
    header, where = copy.header, f"header {copy.slot + 1}"
    start, end = header.log_offset, header.log_offset + header.log_length
    if header.log_version and header.log_guid.int:
        report.fatal(where, copy.offset, f"log version {header.log_version} is not known", UNSUPPORTED)
    elif header.log_version:
        report.warning(where, copy.offset, f"log version {header.log_version}, but the log is empty")
    if not header.log_length:
        if header.log_guid.int:
            report.fatal(where, copy.offset, "the log has a GUID but no length")
        else:
            report.warning(where, copy.offset, "there is no log")
        return
    if start % MIB or start < HEADER_SECTION:
        report.fatal(where, copy.offset, f"log offset {start:#x} is not a multiple of 1 MiB from 1 MiB on")
    if header.log_length % MIB:
        report.fatal(where, copy.offset, f"log length {header.log_length:#x} is not a multiple of 1 MiB")
    if header.log_length > MAX_LOG_LENGTH:
        report.fatal(where, copy.offset, f"log length {header.log_length:#x} exceeds 1 GiB")
    if end > container.size:
        report.fatal(where, copy.offset,
                     f"the log ends at {end:#x}, beyond the container ({container.size:#x})")


def judge_headers(container, report):
    """(both copies, the current one)"""
    copies = [read_copy(container, slot) for slot in (0, 1)]
    current = _pick(copies, report)
    if current.header.version != 1:
        report.stop(f"header {current.slot + 1}", current.offset,
                    f"version {current.header.version} is not known", UNSUPPORTED)
    for copy in copies:
        if not copy.fault and not is_zero(copy.raw[RESERVED_AT:]):
            report.error(f"header {copy.slot + 1}", copy.offset, "reserved bytes are not zero")
    _judge_log(current, container, report)
    report.stop_if_fatal()
    return copies, current
