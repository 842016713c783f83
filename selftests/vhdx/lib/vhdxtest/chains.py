# SPDX-License-Identifier: GPL-2.0-only
"""Differencing chains, made by the oracle.

    chain = Chain(scratch, random.Random(1), depth=3)
    with chain.attached() as disk: ...          read-only; chain.attached(0) for writing
    chain.truth(scratch / "truth")              what it must read as
"""

import pathlib
import random

import vhdxoracle

from . import judge
from .disk import raw_attached
from .images import MIB, command
from .uapi import ATTACH_READ_ONLY

STATES = ("ZERO", "UNMAPPED", "UNDEFINED", "ZERO+", "UNMAPPED+", "UNDEFINED+", "NOT_PRESENT+")


def content(rng, size, block, sector, pieces):
    """Random writes of whole sectors: short ones, some that go together, and whole blocks."""
    found = []
    for number in range(pieces):
        length = rng.choice((sector, sector, 3 * sector, 64 * sector, 300 * sector))
        offset = rng.randrange(0, size // sector) * sector
        if not rng.randrange(6) and block <= 4 * MIB:
            offset, length = offset // block * block, block
        if rng.randrange(4) == 0:
            # One that begins or ends with a block.
            edge = rng.randrange(0, size // block + 1) * block
            offset = max(0, edge - (length if number % 2 else 0))
        length = min(length, size - offset)
        if length:
            found.append((offset, judge.pattern(rng.getrandbits(30), length)))
    return found


def parents_of(path):
    """Of a container that the oracle mutated: its parent lies beside it, if it has one."""
    parent = pathlib.Path(f"{path}.parent")
    return [parent] if parent.exists() else []


def copies(first, parent, count, **shape):
    """Containers, the first at this path, each of which is a child of each other one and of the
    parent: all of them have its DataWriteGuid. So they make chains of any length, in any order, which
    takes no longer than to copy them."""
    vhdxoracle.create(first, parent=parent, **shape)
    with vhdxoracle.Image(parent) as image:
        guid = image.header.data_write_guid
    with vhdxoracle.Editor(first) as edit:
        edit.change_headers(data_write_guid=guid)
    paths = [first, *(f"{first}.{number}" for number in range(1, count))]
    for path in paths[1:]:
        command("cp", "--sparse=always", first, path)
    return paths


class Chain:
    """Containers, the leaf first: .paths

    depth       layers
    size        of each layer's disk, in bytes: the leaf's first; one number: of all
    blocks      a block size for each, or one for all
    places      {position: path} of a block device to make that layer on
    """

    # pylint: disable-next=too-many-arguments
    def __init__(self, scratch, rng, depth, size=24 * MIB, blocks=MIB, sector=512, pieces=20,
                 places=None, states=True):
        self.sector = sector
        self.sizes = [size] * depth if isinstance(size, int) else list(size)
        self.blocks = [blocks] * depth if isinstance(blocks, int) else list(blocks)
        self.paths = [(places or {}).get(i, scratch / f"layer{i}.vhdx") for i in range(depth)]
        for i in reversed(range(depth)):
            layer_states = {}
            count = self.sizes[i] // self.blocks[i]
            if states and i < depth - 1 and count > 4:
                layer_states = {block: rng.choice(STATES)
                                for block in rng.sample(range(count), count // 6)}
            vhdxoracle.create(self.paths[i], self.sizes[i], block_size=self.blocks[i],
                              logical_sector=sector, seed=rng.getrandbits(30), shuffle=True,
                              parent=self.paths[i + 1] if i < depth - 1 else None,
                              states=layer_states,
                              content=content(rng, self.sizes[i], self.blocks[i], sector, pieces))

    @property
    def leaf(self):
        """The path of the leaf."""
        return self.paths[0]

    @property
    def parents(self):
        """The paths of the others."""
        return self.paths[1:]

    def attached(self, flags=ATTACH_READ_ONLY, **options):
        """The disk."""
        return raw_attached(self.leaf, flags=flags, parents=self.parents, **options)

    def truth(self, path):
        """What it must read as, in the eyes of the oracle."""
        truth = judge.Truth(path, self.sizes[0])
        with vhdxoracle.open_disk(self.leaf, self.parents) as image:
            for offset, piece in image.data():
                truth.write(offset, piece)
        return truth

    def fingerprints(self):
        """Of all layers."""
        return [judge.fingerprint(path) for path in self.paths]


def random_chain(scratch, seed, **shape):
    """One of a few layers, whose geometries differ as they may."""
    rng = random.Random(seed)
    depth = shape.pop("depth", None) or rng.randint(2, 5)
    sector = rng.choice((512, 4096))
    shape.setdefault("sector", sector)
    shape.setdefault("blocks", [rng.choice((MIB, MIB, 2 * MIB, 4 * MIB, 32 * MIB))
                                for _ in range(depth)])
    # A parent is never larger than its child.
    shape.setdefault("size", sorted((rng.randint(16 * MIB // 4096, 28 * MIB // 4096) * 4096
                                     for _ in range(depth)), reverse=True))
    return Chain(scratch, rng, depth, **shape)
