# SPDX-License-Identifier: GPL-2.0-only
"""Differencing disks that come to be as users make them: written, frozen, written on in children.

    with Family(scratch, rng, devices) as family:
        family.grow()           layer after layer is made, attached, and written
        family.judge()          all that have no child, attached together

What a layer must read as is known from the writes alone: what its parent read as, and what was
written since. Chance says of each how large its blocks are, who makes it (the oracle, or vhdxctl
create), where it is (in a file, or on one of the devices), and whose child it is.
"""

import contextlib
import os

import ktap
import vhdxoracle

from . import ctl, judge
from .disk import opened, raw_attached
from .images import KIB, MIB, command
from .uapi import ATTACH_READ_ONLY

UNIT = 16 * KIB
WRITES = 12
# Those on devices, which are small, have one of the first two.
BLOCKS = (MIB, 2 * MIB, 32 * MIB, 256 * MIB)


class Layer:
    """One of them, and what its disk must read as."""

    def __init__(self, path, parent, truth):
        self.path, self.parent, self.truth = path, parent, truth
        self.fingerprint = None

    @property
    def parents(self):
        """Their paths, the nearest first."""
        return [self.parent.path, *self.parent.parents] if self.parent else []

    def attached(self, *options):
        """Its disk."""
        return raw_attached(self.path, *options, parents=self.parents)


class Family(contextlib.ExitStack):
    """See the module's text. count: of all layers."""

    def __init__(self, scratch, rng, devices, count=6):
        super().__init__()
        self.scratch, self.rng, self.devices, self.count = scratch, rng, list(devices), count
        self.sector = rng.choice((512, 4096))
        self.size = rng.randrange(16 * MIB, 24 * MIB, self.sector)
        self.layers = []

    def _make(self, path, parent, block):
        # Not on devices, nor beside what is on one.
        by_command = self.rng.randrange(2) and not os.path.exists(path) and \
            not str(parent).startswith("/dev")
        ktap.diag(f"{path}: blocks of {block // MIB} MiB, by {'vhdxctl' if by_command else 'the oracle'}, "
                  f"child of {parent}")
        if not by_command:
            vhdxoracle.create(path, self.size, parent=parent, block_size=block, logical_sector=self.sector,
                              seed=self.rng.getrandbits(30))
        elif parent:
            ctl.run("create", "--parent", parent, "--block-size", block, path)
        else:
            ctl.run("create", "--size", self.size, "--block-size", block, "--sector-size", self.sector, path)

    def _new(self):
        """One more: most often a child of the newest."""
        number = len(self.layers)
        parent = self.layers[-1 if self.rng.randrange(3) else self.rng.randrange(number)] if number else None
        on_device = self.devices and not self.rng.randrange(3)
        path = self.devices.pop() if on_device else self.scratch / f"{number}.vhdx"
        self._make(path, parent and parent.path, self.rng.choice(BLOCKS[:2] if on_device else BLOCKS))
        truth = self.enter_context(judge.Truth(self.scratch / f"{number}.truth", self.size))
        if parent:
            command("cp", "--sparse=always", parent.truth.path, truth.path)
        self.layers.append(Layer(path, parent, truth))
        return self.layers[-1]

    def _some_writes(self):
        """(offset, length): sectors, runs of them, and what goes across blocks."""
        for _ in range(WRITES):
            length = self.rng.choice((1, 3, 64, 300)) * self.sector
            offset = self.rng.randrange(0, self.size, self.sector)
            if not self.rng.randrange(4):
                offset = max(0, offset // MIB * MIB - length // 2 // self.sector * self.sector)
            yield offset, min(length, self.size - offset)

    def _write(self, disk, truth):
        """Writes, and then a seal; what a question since the point before must say."""
        written = list(self._some_writes())
        for offset, length in written:
            data = self.rng.randbytes(length)
            disk.write(offset, data)
            truth.write(offset, data)
        changed = vhdxoracle.RangeSet.of_lengths(written).widened(UNIT).clip(0, self.size)
        return changed.lengths()

    def grow(self):
        """All of them. Each is written before it has a child, and never again."""
        for number in range(self.count):
            layer = self._new()
            sidecar = self.scratch / f"{number}.lrct"
            with layer.attached() as disk, opened(sidecar, os.O_RDWR | os.O_CREAT) as fd:
                points = [disk.handle.enable(fd)]
                wanted = []
                for _ in range(2):
                    wanted.append(self._write(disk, layer.truth))
                    points.append(disk.handle.seal())
                for first, second, ranges in zip(points, points[1:], wanted):
                    ktap.equal(disk.handle.changes(first, second), list(ranges), "changes")
                judge.same_disk(disk, layer.truth)
            judge.valid(layer.path)
            layer.fingerprint = judge.fingerprint(layer.path)

    def judge(self):
        """Content of all that have no child; the oracle reads the same; nobody wrote a layer."""
        parents = {layer.parent for layer in self.layers}
        with contextlib.ExitStack() as disks:
            attached = [(disks.enter_context(layer.attached(None, ATTACH_READ_ONLY)), layer)
                        for layer in self.layers if layer not in parents]
            for disk, layer in attached:
                judge.same_disk(disk, layer.truth)
        for _, layer in attached:
            raw = f"{layer.truth.path}.oracle"
            with vhdxoracle.open_disk(layer.path, layer.parents) as image:
                vhdxoracle.write_raw(image, raw)
            different = vhdxoracle.compare(raw, layer.truth.path)
            ktap.check(not different, f"the oracle reads {layer.path} otherwise at {list(different)[:3]}")
        for layer in self.layers:
            ktap.check(judge.fingerprint(layer.path) == layer.fingerprint, f"{layer.path} was written")
