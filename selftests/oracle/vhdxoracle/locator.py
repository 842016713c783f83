# SPDX-License-Identifier: GPL-2.0-only
"""Parent locators: key-value pairs of a differencing disk that lead to its parent."""

import struct
from pathlib import Path
from uuid import UUID

VHDX_LOCATOR = UUID("B04AEFB7-D19E-4A81-B789-25B8E9445913")
MAX_PAIRS = 256
_HEAD = struct.Struct("<16sHH")
_PAIR = struct.Struct("<IIHH")


class LocatorFault(ValueError):
    """The item is not a parent locator that can be used."""


def guid_text(guid):
    """GUIDs in locators are lower case, in braces."""
    return "{" + str(guid) + "}"


def pack(pairs, kind=VHDX_LOCATOR):
    head = _HEAD.pack(kind.bytes_le, 0, len(pairs))
    position = _HEAD.size + _PAIR.size * len(pairs)
    table, text = b"", b""
    for key, value in pairs.items():
        key, value = key.encode("utf-16-le"), value.encode("utf-16-le")
        table += _PAIR.pack(position, position + len(key), len(key), len(value))
        text += key + value
        position += len(key) + len(value)
    return head + table + text


def _text(raw, offset, length, what):
    if not length or length % 2 or offset + length > len(raw):
        raise LocatorFault(f"{what} at {offset} with {length} bytes is outside of the item")
    try:
        text = raw[offset:offset + length].decode("utf-16-le")
    except UnicodeDecodeError as error:
        raise LocatorFault(f"{what} at {offset} is not UTF-16") from error
    if "\0" in text:
        raise LocatorFault(f"{what} at {offset} contains a NUL")
    return text


def unpack(raw):
    """The pairs, in their order."""
    if len(raw) < _HEAD.size:
        raise LocatorFault(f"{len(raw)} bytes are too few for a locator")
    kind, _, count = _HEAD.unpack_from(raw)
    if UUID(bytes_le=kind) != VHDX_LOCATOR:
        raise LocatorFault(f"locator type {UUID(bytes_le=kind)} is not VHDX's")
    if count > MAX_PAIRS or _HEAD.size + count * _PAIR.size > len(raw):
        raise LocatorFault(f"{count} pairs do not fit")
    pairs = {}
    for index in range(count):
        key_at, value_at, key_length, value_length = _PAIR.unpack_from(raw, _HEAD.size + index * _PAIR.size)
        key = _text(raw, key_at, key_length, "key")
        if key in pairs:
            raise LocatorFault(f"key {key} occurs twice")
        pairs[key] = _text(raw, value_at, value_length, "value")
    return pairs


def linkages(pairs):
    """The DataWriteGuids that the parent may have."""
    allowed = []
    for key in ("parent_linkage", "parent_linkage2"):
        try:
            guid = UUID(pairs.get(key, "").strip("{}"))
        except ValueError:
            continue
        if guid.int:
            allowed.append(guid)
    return allowed


def candidates(child_path, pairs):
    """Paths where the parent may be, in the order of the specification."""
    directory = Path(child_path).resolve().parent
    for key in ("relative_path", "volume_path", "absolute_win32_path"):
        if key in pairs:
            path = pairs[key].replace("\\", "/")
            if key == "relative_path" or path.startswith("/") and not path.startswith("//?/"):
                yield directory / path
