# SPDX-License-Identifier: GPL-2.0-only
"""Images as plain data, for JSON and for the eye."""

from .bat import HAS_DATA, STATES, State, entry_offset, entry_state
from .log import Data, Ring


def info(image):
    """Everything but the blocks."""
    p, g, header = image.parameters, image.geometry, image.header
    return {
        "path": image.path, "container_size": image.container.size,
        "virtual_disk_id": str(p.disk_id), "size": p.size, "type": p.kind,
        "block_size": p.block_size, "logical_sector_size": p.logical_sector,
        "physical_sector_size": p.physical_sector,
        "current_header": next(c.slot for c in image.copies if not c.fault and c.header == header) + 1,
        "headers": [{"valid": not c.fault, "sequence": c.header.sequence,
                     "file_write_guid": str(c.header.file_write_guid),
                     "data_write_guid": str(c.header.data_write_guid),
                     "log_guid": str(c.header.log_guid)} for c in image.copies],
        "log": {"offset": header.log_offset, "length": header.log_length, "dirty": image.is_dirty,
                "entries_to_replay": len(image.sequence.replayed) if image.is_dirty else 0},
        "regions": [{"name": r.name, "offset": r.offset, "length": r.length, "required": r.required}
                    for r in image.regions.values()],
        "bat_entries": g.entries, "chunk_ratio": g.chunk_ratio, "payload_blocks": g.payload_blocks,
        "parent_locator": p.locator or None,
    }


def block_map(image, every=False):
    """The payload blocks of the top layer; every also lists those of all-zero entries."""
    entries = {}
    for index, entry in image.nonzero_entries():
        kind, block = image.geometry.slot(index)
        if kind == "payload":
            entries[block] = entry
    blocks = range(image.geometry.payload_blocks) if every else sorted(entries)
    for block in blocks:
        yield _block(image, block, entries.get(block, 0))


def _block(image, block, entry):
    state, index = entry_state(entry), image.geometry.payload_index(block)
    offset, length = image.geometry.block_range(block)
    line = {"block": block, "offset": offset, "length": length,
            "state": State(state).name if state in STATES else str(state),
            "file_offset": entry_offset(entry) if entry_offset(entry) or state in HAS_DATA else None}
    fault = image.fault(index, entry)
    if fault:
        line["fault"] = fault
    elif state == State.PARTIALLY_PRESENT:
        bits = image.sector_bitmap(block)
        line["present_sectors"] = bits.bit_count() if bits is not None else None
    return line


def log_entries(image):
    """Every valid entry in the log's space, in the order of their offsets."""
    header = image.header
    if not header.log_length:
        return
    replayed = {e.offset for e in image.sequence.replayed} if image.is_dirty else set()
    for entry in Ring(image.container, header.log_offset, header.log_length).entries():
        yield {"offset": entry.offset, "length": entry.length, "tail": entry.tail,
               "sequence": entry.sequence, "log_guid": str(entry.log_guid),
               "flushed_file_offset": entry.flushed_file_offset,
               "last_file_offset": entry.last_file_offset, "replayed": entry.offset in replayed,
               "descriptors": [{"kind": "data" if isinstance(d, Data) else "zero",
                                "offset": d.offset, "length": d.length} for d in entry.descriptors]}
