# SPDX-License-Identifier: GPL-2.0-only
"""The register of mutations, the image that they start from, and what they expect."""

import random
import shutil
from dataclasses import dataclass, field

from ..bat import HAS_DATA, entry_state
from ..builder import create
from ..chain import open_disk
from ..dirtying import dirty
from ..edit import Editor
from ..findings import VhdxError
from ..layout import KIB, MIB

OK = "ok"
EMEDIUMTYPE, EUCLEAN, EOPNOTSUPP = "EMEDIUMTYPE", "EUCLEAN", "EOPNOTSUPP"

REGISTER = {}


@dataclass(frozen=True)
class Mutation:
    name: str
    apply: callable
    attach: tuple                  # outcomes that are right; more than one where it is a choice
    structure: tuple               # words of which an error message should have one
    base: str                      # "dynamic" or "differencing"
    same_content: bool             # after a successful attach the disk reads as before
    alloc_refused: bool            # ... and writes that need a new block must fail
    readable: bool                 # an attach that only reads succeeds, whatever .attach has
    note: str


@dataclass
class Expectation:
    """What a driver must do with a mutated image."""
    name: str
    attach: list
    structure: list
    note: str
    same_content: bool
    alloc_refused: bool
    readable: bool = False
    eio: list = field(default_factory=list)    # (offset, length) of the disk that must not read


# pylint: disable-next=too-many-arguments
def mutation(name, *attach, structure=(), base="dynamic", same_content=True, alloc_refused=False,
             readable=False):
    """Register a function that changes a Target; its docstring is the note."""
    def register(function):
        if name in REGISTER:
            raise ValueError(f"two mutations are named {name}")
        REGISTER[name] = Mutation(name, function, attach, structure, base, same_content,
                                  alloc_refused, readable, (function.__doc__ or "").strip())
        return function
    return register


class Target:
    """The image that a mutation works on."""

    def __init__(self, path, seed, rebuildable):
        self.path = str(path)
        self.rng = random.Random(seed)
        self.rebuildable = rebuildable
        self.edit = Editor(path)

    def close(self):
        self.edit.close()

    def rebuild(self, **shape):
        """Make the base again, with another shape."""
        if not self.rebuildable:
            raise ValueError("this mutation makes its own image; it cannot be applied to another")
        self.edit.close()
        make_base(self.path, **shape)
        self.edit = Editor(self.path)

    def dirty(self, *arguments, **options):
        """Make the image dirty; the Editor knows the log's place from before."""
        dirty(self.path, *arguments, **options)

    def put(self, offset, data):
        self.edit.put(offset, data)

    def garbage(self, offset, length):
        self.put(offset, self.rng.randbytes(length))

    def flip(self, offset):
        """Invert one byte."""
        old = self.edit.container.read(offset, 1)[0]
        self.put(offset, bytes([old ^ 0xFF]))

    def data_entries(self):
        """(block, BAT index, entry) of blocks with data, ascending."""
        for block in range(self.edit.geometry.payload_blocks):
            index = self.edit.geometry.payload_index(block)
            entry = self.edit.bat(index)
            if entry_state(entry) in HAS_DATA:
                yield block, index, entry


_SIZE = 48 * MIB + 3 * 4096
_CONTENT = [(0, b"first block " * 1000), (2 * MIB - KIB, b"across two blocks " * 1000),
            (6 * MIB, b"\x5A" * (2 * MIB)), (_SIZE - 4096, b"last sector " * 300)]
_STATES = {4: "ZERO", 5: "UNMAPPED", 6: "UNMAPPED+", 7: "UNDEFINED+"}


def make_base(path, *, size=_SIZE, content=_CONTENT, states=None, seed=7, **shape):
    """A small dynamic disk with a block in every state and a partial last block."""
    create(path, size, block_size=2 * MIB, content=content, seed=seed,
           states=_STATES if states is None else states, **shape)


def _make_child(path):
    """A differencing disk with partial and whole blocks; its parent is path + ".parent"."""
    make_base(path + ".parent")
    create(path, parent=path + ".parent", seed=8, block_size=2 * MIB, states={9: "ZERO"},
           content=[(4096, b"C" * 8192), (10 * MIB, b"D" * 2 * MIB)])


def mutate(name, destination, source=None, seed=1):
    """Write the mutated image; returns its Expectation.

    source   the image to start from (not changed); without it, one that suits is made
    """
    chosen = REGISTER[name]
    if source is not None:
        shutil.copyfile(source, destination)
    elif chosen.base == "differencing":
        _make_child(str(destination))
    else:
        make_base(str(destination))
    target = Target(destination, seed, source is None)
    try:
        chosen.apply(target)
    finally:
        target.close()
    expectation = Expectation(name, list(chosen.attach), list(chosen.structure), chosen.note,
                              chosen.same_content, chosen.alloc_refused, chosen.readable)
    if OK in chosen.attach:
        try:
            with open_disk(destination) as image:
                expectation.eio = list(image.faulty_ranges())
        except VhdxError:
            pass                   # one of several right outcomes
    return expectation
