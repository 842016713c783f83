# SPDX-License-Identifier: GPL-2.0-only
"""Opening a disk with the parents that it needs, and writing out its content."""

import hashlib

from . import locator
from .container import Container
from .findings import VhdxError
from .image import Image
from .layout import MIB
from .ranges import RangeSet

MAX_DEPTH = 256


def _open_parent(child, path):
    parent = Image(path)
    allowed = locator.linkages(child.parameters.locator)
    if parent.header.data_write_guid not in allowed:
        parent.close()
        child.report.stop("parent locator", 0,
                          f"parent {path} has DataWriteGuid {parent.header.data_write_guid}, linked "
                          "is " + " or ".join(map(str, allowed) or ("none",)))
    if parent.geometry.logical_sector != child.geometry.logical_sector:
        parent.close()
        child.report.stop("parent locator", 0, f"parent {path} has another logical sector size")
    return parent


def _find_parent(child):
    paths = list(locator.candidates(child.path, child.parameters.locator))
    for path in paths:
        if path.exists():
            return path
    tried = ", ".join(map(str, paths)) or "no path that this system can use"
    return child.report.stop("parent locator", 0, f"parent not found: {tried}")


def open_disk(path, parents=()):
    """The Image at path with its chain; parents overrides the locators' paths, child first."""
    leaf = layer = Image(path)
    seen, parents = {leaf.container.identity}, list(parents)
    try:
        while layer.parameters.has_parent:
            layer.parent = _open_parent(layer, parents.pop(0) if parents else _find_parent(layer))
            if layer.parent.container.identity in seen or len(seen) >= MAX_DEPTH:
                layer.report.stop("parent locator", 0, "the chain leads back to itself or is too long")
            seen.add(layer.parent.container.identity)
            layer = layer.parent
    except (OSError, VhdxError):
        leaf.close()
        raise
    return leaf


def write_raw(image, path, skip_faulty=False):
    """The virtual disk's content as a sparse file (or onto a block device).

    With skip_faulty, blocks that cannot be read stay zeros; returns their (offset, length).
    """
    skipped = list(image.faulty_ranges()) if skip_faulty else []
    with Container(path, create=True) as out:
        if out.is_device:
            out.zero(0, image.size)
        out.truncate(image.size)
        for offset, piece in image.data(without=RangeSet.of_lengths(skipped)):
            out.write(offset, piece)
    return skipped


def content_sha256(image):
    """The sha256 of the virtual disk's content."""
    digest, position, zeros = hashlib.sha256(), 0, bytes(MIB)

    def fill(end):
        nonlocal position
        while position < end:
            digest.update(zeros[:end - position])
            position = min(end, position + MIB)

    for offset, piece in image.data():
        fill(offset)
        digest.update(piece)
        position += len(piece)
    fill(image.size)
    return digest.hexdigest()
