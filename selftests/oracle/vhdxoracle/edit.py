# SPDX-License-Identifier: GPL-2.0-only
"""Byte-level changes to an existing container, checksums repaired unless told otherwise."""

from dataclasses import replace

from .bat import ENTRY_SIZE, HAS_DATA, entry_offset, entry_state
from .container import Container
from .image import Image
from .layout import (BAT_REGION, HEADER_OFFSETS, METADATA_REGION, REGION_TABLE_OFFSETS, TABLE_SIZE,
                     pack_metadata_table, pack_region_table, unpack_metadata_table)


def _block_ends(image):
    for index, entry in image.nonzero_entries():
        if entry_state(entry) in HAS_DATA and not image.fault(index, entry):
            yield entry_offset(entry) + image.geometry.block_size


class Editor:
    """Opens a valid, clean container; knows where its structures were at that time."""

    def __init__(self, path):
        with Image(path) as image:
            if image.is_dirty:
                raise ValueError(f"{path}: the log is dirty; only a clean container can be edited")
            self.header = image.header
            self.regions = list(image.regions.values())
            self.parameters = image.parameters
            self.geometry = image.geometry
            self.used_end = max([end for _, end, _ in image.structures] + list(_block_ends(image)))
            self.slot = next(c.slot for c in image.copies if not c.fault and c.header == image.header)
        self.container = Container(path, writable=True)

    def close(self):
        self.container.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def put(self, offset, data):
        self.container.write(offset, data)

    # -- headers --

    def put_header(self, slot, header, raw=None):
        self.put(HEADER_OFFSETS[slot], raw if raw is not None else header.pack())

    def change_headers(self, **fields):
        """Both headers as the current one with changes; the numbers move on by one and two."""
        number = fields.pop("sequence", self.header.sequence + 1)
        self.header = self.header.changed(sequence=number + 1, **fields)
        self.put_header(1 - self.slot, self.header.changed(sequence=number))
        self.put_header(self.slot, self.header)

    def update_one_header(self, **fields):
        """What an update begins with (MS-VHDX 2.2.2): the copy that is not current becomes it."""
        self.slot = 1 - self.slot
        self.header = self.header.changed(sequence=self.header.sequence + 1, **fields)
        self.put_header(self.slot, self.header)

    # -- regions and metadata --

    def region(self, guid):
        return next(r for r in self.regions if r.guid == guid)

    def put_regions(self, regions, copies=(0, 1), count=None):
        raw = pack_region_table(regions, count)
        for copy in copies:
            self.put(REGION_TABLE_OFFSETS[copy], raw)

    def change_region(self, guid, **fields):
        """The table with one region's fields replaced."""
        self.put_regions([replace(r, **fields) if r.guid == guid else r for r in self.regions])

    @property
    def items(self):
        at = self.region(METADATA_REGION).offset
        return unpack_metadata_table(self.container.read(at, TABLE_SIZE))[1]

    def put_items(self, items, count=None):
        self.put(self.region(METADATA_REGION).offset, pack_metadata_table(items, count))

    def change_item(self, guid, **fields):
        self.put_items([replace(i, **fields) if i.guid == guid else i for i in self.items])

    def put_value(self, guid, value):
        """Overwrite a metadata item's value in place."""
        item = next(i for i in self.items if i.guid == guid)
        self.put(self.region(METADATA_REGION).offset + item.offset, value)

    # -- BAT --

    def bat_offset(self, index):
        return self.region(BAT_REGION).offset + index * ENTRY_SIZE

    def bat(self, index):
        return int.from_bytes(self.container.read(self.bat_offset(index), ENTRY_SIZE), "little")

    def put_bat(self, index, entry):
        self.put(self.bat_offset(index), entry.to_bytes(ENTRY_SIZE, "little"))
