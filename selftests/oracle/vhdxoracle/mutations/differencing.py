# SPDX-License-Identifier: GPL-2.0-only
"""Faults of differencing disks; the parent lies beside the image, as NAME.parent.

A driver without differencing disks refuses them all with EOPNOTSUPP.
"""

from uuid import UUID

from .. import locator
from ..bat import State, pack_entry
from ..layout import BAT_REGION, METADATA_REGION, PARENT_LOCATOR
from .registry import EOPNOTSUPP, EUCLEAN, OK, mutation

_PARENT = ("parent", "differencing")


def _child(name, *attach, **options):
    options = {"structure": _PARENT, "base": "differencing", **options}
    return mutation(f"child-{name}", *attach, EOPNOTSUPP, **options)


@_child("valid", OK)
def _valid(_):
    """Nothing is wrong with it."""


@_child("without-locator", EUCLEAN)
def _without(target):
    target.edit.put_items([i for i in target.edit.items if i.guid != PARENT_LOCATOR])


def _locator(name, change, *attach):
    """change(raw locator) -> raw locator of the same or another length."""
    @_child(f"locator-{name}", *(attach or (EUCLEAN,)))
    def put(target):
        item = next(i for i in target.edit.items if i.guid == PARENT_LOCATOR)
        at = target.edit.region(METADATA_REGION).offset + item.offset
        raw = change(target.edit.container.read(at, item.length))
        target.put(at, raw)
        target.edit.change_item(PARENT_LOCATOR, length=len(raw))


def _patched(offset, data):
    return lambda raw: raw[:offset] + data + raw[offset + len(data):]


_locator("other-type", _patched(0, UUID(int=5).bytes), EUCLEAN)
_locator("truncated", lambda raw: raw[:len(raw) // 2])
_locator("too-short", lambda raw: raw[:10])
_locator("count-max", _patched(18, b"\xff\xff"))
_locator("key-outside", _patched(20, b"\xff\xff\xff\xff"))
_locator("key-odd-length", _patched(28, b"\x03\0"))
_locator("key-empty", _patched(28, b"\0\0"))
_locator("key-nul", lambda raw: _patched(int.from_bytes(raw[20:24], "little"), b"\0\0")(raw))
_locator("key-not-utf16", lambda raw: _patched(int.from_bytes(raw[20:24], "little"), b"\x00\xd8")(raw))
_locator("key-twice", lambda raw: _patched(32, raw[20:32])(raw))
_locator("value-outside", _patched(24, b"\xff\xff\xff\xff"))
_locator("value-longer-than-item", _patched(30, b"\xfe\xff"))
_locator("value-odd-length", _patched(30, b"\x03\0"))
_locator("value-empty", _patched(30, b"\0\0"))
_locator("value-nul", lambda raw: _patched(int.from_bytes(raw[24:28], "little"), b"\0\0")(raw))
_locator("value-not-utf16", lambda raw: _patched(int.from_bytes(raw[24:28], "little"), b"\x00\xdc")(raw))


def _linkage(name, pairs, *attach):
    @_child(f"linkage-{name}", *attach)
    def link(target):
        item = next(i for i in target.edit.items if i.guid == PARENT_LOCATOR)
        old = dict(target.edit.parameters.locator)
        raw = locator.pack(pairs(old))
        target.put(target.edit.region(METADATA_REGION).offset + item.offset, raw)
        target.edit.change_item(PARENT_LOCATOR, length=len(raw))


_OTHER = locator.guid_text(UUID(int=99))
_linkage("mismatch", lambda old: {**old, "parent_linkage": _OTHER}, EUCLEAN)
_linkage("missing", lambda old: {"relative_path": old["relative_path"]}, EUCLEAN)
_linkage("zero", lambda old: {**old, "parent_linkage": locator.guid_text(UUID(int=0))}, EUCLEAN)
_linkage("no-guid", lambda old: {**old, "parent_linkage": "{" + "x" * 36 + "}"}, EUCLEAN)
_linkage("without-braces", lambda old: {**old, "parent_linkage": old["parent_linkage"].strip("{}")}, OK, EUCLEAN)
_linkage("upper-case", lambda old: {**old, "parent_linkage": old["parent_linkage"].upper()}, OK)
_linkage("key-upper-case", lambda old: {"PARENT_LINKAGE": old.pop("parent_linkage"), **old}, EUCLEAN)
_linkage("unknown-key", lambda old: {"future": "x", **old}, OK)
_linkage("second-no-guid", lambda old: {**old, "parent_linkage2": "none"}, OK, EUCLEAN)
_linkage("second", lambda old: {**old, "parent_linkage": _OTHER, "parent_linkage2": old["parent_linkage"]}, OK)


@_child("partial-without-bitmap", OK, same_content=False, alloc_refused=True, structure=_PARENT + ("BAT",))
def _no_bitmap(target):
    target.edit.put_bat(target.edit.geometry.bitmap_index(0), 0)


@_child("bitmap-into-bat", OK, same_content=False, alloc_refused=True, structure=_PARENT + ("BAT",))
def _bitmap_into_bat(target):
    target.edit.put_bat(target.edit.geometry.bitmap_index(0),
                        pack_entry(State.FULLY_PRESENT, target.edit.region(BAT_REGION).offset))


@_child("bitmap-is-payload", OK, same_content=False, alloc_refused=True, structure=_PARENT + ("BAT",))
def _bitmap_is_payload(target):
    """The sector bitmap shares its space with a payload block."""
    _, _, entry = list(target.data_entries())[1]
    target.edit.put_bat(target.edit.geometry.bitmap_index(0), entry & ~7 | State.FULLY_PRESENT)
