# SPDX-License-Identifier: GPL-2.0-only
"""Containers that are cut off, blanked or something else altogether."""

from ..bat import entry_offset
from ..layout import BAT_REGION, KIB, METADATA_REGION, MIB
from .registry import EMEDIUMTYPE, EUCLEAN, OK, mutation

# Lengths at which the base image is cut: around each structure of the first 4 MiB.
_NOT_EVEN_A_SIGNATURE = (0, 1, 7)
_CUT = (8, 512, 4 * KIB, 64 * KIB, 64 * KIB + 79, 68 * KIB, 128 * KIB, 132 * KIB, 192 * KIB,
        192 * KIB + 16, 256 * KIB, 256 * KIB + 80, 320 * KIB, MIB, MIB + 4 * KIB, 2 * MIB - 1,
        2 * MIB, 2 * MIB + 64 * KIB, 3 * MIB - 512, 3 * MIB, 3 * MIB + 8, 4 * MIB - 1)


def _truncation(length, errno):
    @mutation(f"truncated-{length}", errno, structure=("signature", "header", "log", "region"))
    def cut(target):
        target.edit.container.truncate(length)
    cut.__doc__ = f"The container ends after {length} bytes."


for _length in _NOT_EVEN_A_SIGNATURE:
    _truncation(_length, EMEDIUMTYPE)
for _length in _CUT:
    _truncation(_length, EUCLEAN)


@mutation("truncated-in-last-block", OK, structure=("BAT",), alloc_refused=True)
def _cut_payload(target):
    """The container ends inside the last payload block, before the disk's end."""
    _, _, entry = max(target.data_entries(), key=lambda e: e[2])
    target.edit.container.truncate(entry_offset(entry) + 4096)


@mutation("zero-identifier", EMEDIUMTYPE, structure=("signature",))
def _zero_identifier(target):
    target.put(0, bytes(64 * KIB))


@mutation("zero-header-section", EMEDIUMTYPE, structure=("signature",))
def _zero_section(target):
    target.put(0, bytes(MIB))


@mutation("zero-headers", EUCLEAN, structure=("header",))
def _zero_headers(target):
    target.put(64 * KIB, bytes(128 * KIB))


@mutation("zero-region-tables", EUCLEAN, structure=("region table",))
def _zero_tables(target):
    target.put(192 * KIB, bytes(128 * KIB))


@mutation("zero-all", EMEDIUMTYPE, structure=("signature",))
def _zero_all(target):
    target.put(0, bytes(target.edit.container.size))


@mutation("random-all", EMEDIUMTYPE, structure=("signature",))
def _random_all(target):
    target.garbage(0, target.edit.container.size)


@mutation("random-header-section", EMEDIUMTYPE, structure=("signature",))
def _random_section(target):
    target.garbage(0, MIB)


@mutation("random-headers", EUCLEAN, structure=("header",))
def _random_headers(target):
    target.garbage(64 * KIB, 128 * KIB)


@mutation("random-region-tables", EUCLEAN, structure=("region table",))
def _random_tables(target):
    target.garbage(192 * KIB, 128 * KIB)


def _garbage_region(target, guid):
    region = target.edit.region(guid)
    target.garbage(region.offset, region.length)


@mutation("random-metadata", EUCLEAN, structure=("metadata",))
def _random_metadata(target):
    _garbage_region(target, METADATA_REGION)


@mutation("random-bat", OK, structure=("BAT",), same_content=False, alloc_refused=True)
def _random_bat(target):
    """Entries with reserved bits in every slot: all blocks are unreadable, attach is not."""
    _garbage_region(target, BAT_REGION)


@mutation("random-log", OK)
def _random_log(target):
    """The log is empty (LogGuid zero): what its space holds means nothing."""
    target.garbage(target.edit.header.log_offset, target.edit.header.log_length)


@mutation("signature-upper-case", EMEDIUMTYPE, structure=("signature",))
def _upper_case(target):
    target.put(0, b"VHDXFILE")


@mutation("signature-qcow2", EMEDIUMTYPE, structure=("signature",))
def _qcow2(target):
    target.put(0, b"QFI\xfb\0\0\0\3")


@mutation("signature-vhd", EMEDIUMTYPE, structure=("signature",))
def _vhd(target):
    target.put(0, b"conectix")
