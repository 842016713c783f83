# SPDX-License-Identifier: GPL-2.0-only
"""Faults of the headers and of the log's place that they give."""

from uuid import UUID

from ..crc32c import sealed
from ..headers import read_copy
from ..layout import GIB, HEADER_OFFSETS, METADATA_REGION, MIB
from .registry import EOPNOTSUPP, EUCLEAN, OK, mutation

_HEADER = ("header",)
_LOG = ("header", "log")
_SOME_GUID = UUID("11111111-2222-4333-8444-555555555555")


@mutation("headers-checksum", EUCLEAN, structure=_HEADER)
def _both_checksums(target):
    for offset in HEADER_OFFSETS:
        target.flip(offset + 4)


@mutation("headers-signature", EUCLEAN, structure=_HEADER)
def _both_signatures(target):
    """Checksums are right for the changed signature."""
    for offset in HEADER_OFFSETS:
        raw = bytearray(target.edit.container.read(offset, 4096))
        raw[:4] = b"HEAD"
        target.put(offset, sealed(raw))


@mutation("headers-version-2", EOPNOTSUPP, structure=("version",))
def _both_versions(target):
    target.edit.change_headers(version=2)


@mutation("header-current-version-2", EOPNOTSUPP, OK, structure=("version",))
def _current_version(target):
    """By the letter the file must not be used; others fall back to the other header."""
    target.edit.put_header(target.edit.slot, target.edit.header.changed(version=2))


@mutation("log-version-1-clean", OK, EOPNOTSUPP, structure=("log version",))
def _log_version_clean(target):
    """An unknown log version matters only where there is a log to replay."""
    target.edit.change_headers(log_version=1)


@mutation("log-version-1-dirty", EOPNOTSUPP, structure=("log version",))
def _log_version_dirty(target):
    target.dirty([(0, b"x" * 512)])
    for slot in (0, 1):
        header = read_copy(target.edit.container, slot).header
        target.edit.put_header(slot, header.changed(log_version=1))


@mutation("log-guid-without-entry", EUCLEAN, structure=("log",), readable=True)
def _no_entry(target):
    """The header names a log, but the log's space is empty."""
    target.put(target.edit.header.log_offset, bytes(target.edit.header.log_length))
    target.edit.change_headers(log_guid=_SOME_GUID)


def _log_place(name, note, *attach, grow=0, dirty=False, **fields):
    @mutation(name, *attach, structure=_LOG)
    def place(target):
        changes = {k: v(target) if callable(v) else v for k, v in fields.items()}
        if dirty:
            changes["log_guid"] = _SOME_GUID
        if grow:
            target.edit.container.grow(grow)
        target.edit.change_headers(**changes)
    place.__doc__ = note


_log_place("log-offset-unaligned", "", EUCLEAN, log_offset=MIB + 4096)
_log_place("log-offset-zero", "The log lies over the headers.", EUCLEAN, log_offset=0)
_log_place("log-length-unaligned", "", EUCLEAN, log_length=MIB - 4096)
_log_place("log-length-zero-clean", "No log at all: nothing to replay, but also nowhere to log.",
           OK, EUCLEAN, log_length=0)
_log_place("log-length-zero-dirty", "", EUCLEAN, log_length=0, dirty=True)
_log_place("log-at-end-of-file", "", EUCLEAN, log_offset=lambda t: t.edit.container.size)
_log_place("log-beyond-end-of-file", "", EUCLEAN, log_offset=1 << 40)
_log_place("log-reaches-beyond-end-of-file", "", EUCLEAN,
           log_offset=lambda t: t.edit.container.size - MIB, log_length=2 * MIB)
_log_place("log-offset-2-to-63", "", EUCLEAN, log_offset=1 << 63)
_log_place("log-end-wraps", "Offset plus length is beyond 2^64.", EUCLEAN,
           log_offset=(1 << 64) - MIB, log_length=2 * MIB)
_log_place("log-over-metadata", "", EUCLEAN,
           log_offset=lambda t: t.edit.region(METADATA_REGION).offset)
_log_place("log-over-bat", "", EUCLEAN, log_length=3 * MIB)
_log_place("log-too-long", "More than 1 GiB of log in a container that has the space.",
           EUCLEAN, EOPNOTSUPP, log_offset=GIB, log_length=2 * GIB, grow=4 * GIB)


@mutation("header-reserved-bytes", OK, EUCLEAN, structure=_HEADER)
def _reserved(target):
    """Bytes behind the last field are not zero; the checksum covers them."""
    for offset in HEADER_OFFSETS:
        raw = bytearray(target.edit.container.read(offset, 4096))
        raw[80:96] = b"reserved, not 0!"
        target.put(offset, sealed(raw))


@mutation("headers-equal-sequence-different", OK, EUCLEAN, structure=_HEADER)
def _equal_but_different(target):
    """Neither header is the current one, by the letter."""
    header = target.edit.header
    target.edit.put_header(0, header)
    target.edit.put_header(1, header.changed(file_write_guid=_SOME_GUID))


@mutation("header-sequence-max", OK, EUCLEAN, structure=_HEADER)
def _sequence_max(target):
    """The sequence number cannot be raised any more; reading is still possible."""
    target.edit.change_headers(sequence=(1 << 64) - 2)
