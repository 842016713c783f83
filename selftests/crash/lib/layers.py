# SPDX-License-Identifier: GPL-2.0-only
"""The disk that machines begin with: a container, or the leaf of a chain, that is not tracked yet.

    disk = layers.Disk(directory, plan, chance)
    disk.files, disk.parents            container and sidecar; the layers below, its parent first
    disk.tell(chronicle, aftermath)     what it holds, for those who judge what becomes of it
    disk.same_parents()                 fails where one was written

Of a chain, all layers hold what later writes hold too: sectors that say what write they are of,
as if the base had been written first, and the leaf last.
"""

import os

import plans
from plans import CONTAINER, SIDECAR
import vhdxoracle
from vhdxtest import images, judge, ktap, stamps
from vhdxtest.chronicle import SECTOR
from vhdxtest.images import MIB

FILES = ("container", "sidecar")
# What the container's device held before.
STALE = 0xA5
# Of the windows, how many a parent has something of, and the leaf; lengths of it in sectors.
PARENTS_SHARE, LEAFS_SHARE = 0.8, 0.3
LENGTHS = (1, 8, 100, 700, 2048)
# Of the windows that the leaf has nothing of, how many hide what is below them.
HIDDEN = 0.2


class Disk:
    """See the module's text."""

    def __init__(self, directory, plan, chance):
        self.files = [directory / name for name in FILES]
        self.parents = [directory / f"parent{number}" for number in range(plan["parents"])]
        self.plan, self.chance = plan, chance
        self.written = []           # (number, offset, length)
        for position in reversed(range(plan["parents"])):
            self._make_parent(position)
        self._make_leaf()
        _put_on_device(self.files[0])
        self.files[1].touch()
        os.truncate(self.files[1], SIDECAR)
        self.before = [judge.fingerprint(path) for path in self.parents]

    def _content(self, size, share):
        """(offset, data) of what a layer has itself."""
        for start, end in self.plan["windows"]:
            if end > size or self.chance.random() > share:
                continue
            for _ in range(self.chance.randrange(1, 4)):
                length = self.chance.choice(LENGTHS) * SECTOR
                room = (end - start - length) // SECTOR
                offset = start + self.chance.randrange(room + 1) * SECTOR
                number = len(self.written) + 1
                self.written.append((number, offset, length))
                yield offset, stamps.content(number, offset, length)

    def _make_parent(self, position):
        base = position + 1 == len(self.parents)
        # One that is smaller ends among what is written.
        size = self.plan["size"] - (self.chance.choice((0, plans.DISK // 3)) if base else 0)
        vhdxoracle.create(self.parents[position], size,
                          parent=None if base else self.parents[position + 1],
                          block_size=self.chance.choice((MIB, 2 * MIB)),
                          content=list(self._content(size, PARENTS_SHARE)))

    def _make_leaf(self):
        if not self.parents:
            images.create(self.files[0], self.plan["size"], MIB)
            return
        content = list(self._content(self.plan["size"], LEAFS_SHARE))
        there = {offset // MIB for offset, _ in content}
        hidden = {start // MIB: self.chance.choice(("ZERO", "UNMAPPED"))
                  for start, _ in self.plan["windows"]
                  if start // MIB not in there and self.chance.random() < HIDDEN}
        vhdxoracle.create(self.files[0], self.plan["size"], parent=self.parents[0], block_size=MIB,
                          content=content, states=hidden)

    def tell(self, chronicle, aftermath):
        """All that the layers have was written before, and now the disk holds what it holds. The
        plan goes on behind that."""
        for number, offset, length in self.written:
            chronicle.take(["write", number, offset, length])
            chronicle.take(["done", number])
        if self.parents:
            chronicle.take(aftermath.crash_of(aftermath.read()))
        self.plan["number"] = len(self.written)

    def same_parents(self):
        """They are byte for byte as they were."""
        ktap.check([judge.fingerprint(path) for path in self.parents] == self.before,
                   "a parent was written")


def _put_on_device(container):
    """The container is all of a device that had another owner."""
    made = os.path.getsize(container)
    os.truncate(container, CONTAINER)
    with open(container, "r+b") as file:
        file.seek(made)
        for _ in range(made, CONTAINER, MIB):
            file.write(bytes([STALE]) * MIB)
