# SPDX-License-Identifier: GPL-2.0-only
"""Changes between any two points of a chain that is not attached."""
import lzma
import os
import pathlib
import random
import sys

from common import TREE, ctl, directory, make_sidecar

import ktap

sys.path.append(str(TREE / "selftests/oracle"))

import vhdxoracle  # noqa: E402
from vhdxoracle.crc32c import crc32c  # noqa: E402
from vhdxoracle.history import Layer, Line, own_ranges  # noqa: E402
from vhdxoracle.ranges import RangeSet  # noqa: E402

KIB, MIB = 1 << 10, 1 << 20
STATES = ("ZERO", "UNMAPPED", "UNDEFINED", "NOT_PRESENT+")


def history(rng, path, size, unit):
    """A script of random marks, and the layer that has them."""
    script, names, deltas = [f"ids {path.stem}"], rng.randrange(4), []
    changed = RangeSet()
    for number in range(names):
        script.append(f"seal {number}")
        if number:
            deltas.append(changed)
        changed = RangeSet()
        for _ in range(rng.randrange(6)):
            offset = rng.randrange(size)
            length = min(rng.choice((1, 512, 70000, 3 * MIB)), size - offset)
            script.append(f"mark {offset} {length}")
            changed |= RangeSet([(offset, offset + length)])
    if not names:
        return Layer(path)
    ids = make_sidecar(path, "\n".join(script) + "\n", unit)
    return Layer(path, unit, ids, deltas, changed)


def make_line(path, seed):
    """Files of random geometry, each with a sidecar or without; the leaf last."""
    rng = random.Random(seed)
    sector, layers, parent = rng.choice((512, 4096)), [], None
    depth = rng.randrange(2, 5)
    sizes = sorted(rng.randrange(20 * MIB, 30 * MIB, 4096) for _ in range(depth))
    for number in range(depth):
        name, block = path / f"{number}.vhdx", rng.choice((MIB, 2 * MIB, 32 * MIB))
        blocks = sizes[number] // block
        states = {rng.randrange(blocks): rng.choice(STATES) for _ in range(3)} if parent and blocks else {}
        pieces = [(rng.randrange(sizes[number] // sector - 8) * sector, bytes([n + 1]) * sector * rng.randrange(1, 8))
                  for n in range(12)]
        vhdxoracle.create(name, sizes[number], block_size=block, logical_sector=sector, parent=parent,
                          seed=rng.getrandbits(30), states=states, content=pieces)
        layers.append(history(rng, name, sizes[number], rng.choice((4, 16, 64, 1024)) * KIB))
        parent = name
    return Line(layers)


def ask(leaf, limit, target, *options):
    """(RangeSet, the reply)"""
    reply = ctl("changes", leaf, "--since", limit, *(("--target", target) if target else ()), "--json",
                *options).expect(0).json
    return RangeSet.of_lengths((one["offset"], one["length"]) for one in reply["ranges"]), reply


def check_pair(line, limit, target):
    wanted, unit, coarse, derived = line.answer(limit, target)
    found, reply = ask(line.layers[-1].path, limit, target)
    assert found == wanted, f"{limit} to {target}: {found - wanted} too much, {wanted - found} missing"
    assert (reply["unit"], reply["coarse"], reply["derived"]) == (unit, coarse, derived), reply
    assert reply["processed"] == line.layers[-1].size, reply


def test_every_pair():
    """Of any two points, in any layers, to the byte; in the other direction it is refused."""
    for seed in range(int(os.environ.get("SEEDS", "5"))):
        with directory() as path:
            line = make_line(path, seed)
            points = line.points()
            ktap.diag(f"seed {seed}: {len(points)} points in {len(line.layers)} layers")
            for position, limit in enumerate(points[:-1]):
                for target in points[position:]:
                    check_pair(line, limit, target)
            if len(points) > 2:
                ctl("changes", line.layers[-1].path, "--since", points[1], "--target", points[0]).expect(
                    1, "older point")


def test_all_points_are_listed():
    """In order, with what is known of each."""
    with directory() as path:
        line = make_line(path, 3)
        shown = ctl("points", line.layers[-1].path, "--json").expect(0).json["points"]
        assert [one["id"] for one in shown] == line.points()[:-1], shown
        for one in shown:
            number, position = line.places[one["id"]]
            layer = line.layers[number]
            snapshot = position == len(layer.points)
            assert one["kind"] == ("snapshot" if snapshot else "reference"), one
            assert one["layer"] == len(line.layers) - 1 - number, one
            assert one["has_data"] is snapshot and one["size"] == layer.size, one
            if not snapshot and position:
                assert one["changed_bytes"] == layer.deltas[position].widened(layer.unit).total() or \
                    layer.size % layer.unit, one


def test_smallest():
    """MS-RSVD's case: 512 bytes are written at 0, and asked for within 1024."""
    with directory() as path:
        vhdxoracle.create(path / "parent.vhdx", 8 * MIB, block_size=MIB)
        vhdxoracle.create(path / "child.vhdx", parent=path / "parent.vhdx", block_size=MIB,
                          content=[(0, b"x" * 512)])
        snapshot = Layer(path / "parent.vhdx").snapshot
        found, reply = ask(path / "child.vhdx", snapshot, None, "--offset", 0, "--length", 1024)
        assert found.lengths() == [(0, 512)] and reply["unit"] == 512, reply
        assert ask(path / "child.vhdx", snapshot.upper(), snapshot)[0] == RangeSet()


def test_pair_of_windows():
    """What Windows made: every byte that differs is told, and nothing that is not in the bitmap."""
    corpus = pathlib.Path(os.environ.get("VHDX_CORPUS", TREE.parent / "shared/corpus"))
    if not (corpus / "fat-parent.vhdx.xz").exists():
        ktap.skip("no corpus")
    with directory() as path:
        for name in ("fat-parent.vhdx", "fat-differential.vhdx"):
            (path / name).write_bytes(lzma.decompress((corpus / f"{name}.xz").read_bytes()))
        parent, child = path / "fat-parent.vhdx", path / "fat-differential.vhdx"
        snapshot, = (one["id"] for one in ctl("points", child, "--json").expect(0).json["points"])
        assert snapshot == Layer(parent).snapshot, snapshot
        found, _ = ask(child, snapshot, None)
        for name, parents in (("old", []), ("new", [parent])):
            with vhdxoracle.open_disk(child if parents else parent, parents) as image:
                vhdxoracle.write_raw(image, path / name)
        different = vhdxoracle.compare(path / "old", path / "new")
        assert not RangeSet(different) - found, "a byte is missing"
        assert found == own_ranges(child), found


def lost(path, break_it, reason, text):
    """The parent's sidecar is of no use: its points are a gap, snapshots are what they are."""
    vhdxoracle.create(path / "parent.vhdx", 8 * MIB, block_size=MIB)
    known, = make_sidecar(path / "parent.vhdx", "seal a\nmark 0 1\n")
    vhdxoracle.create(path / "child.vhdx", parent=path / "parent.vhdx", block_size=MIB,
                      content=[(MIB, b"x" * 512)])
    leaf, = make_sidecar(path / "child.vhdx", "ids 1\nseal b\nmark 0 1\n")
    break_it(path / "parent.vhdx.lrct")
    failed = ctl("changes", path / "child.vhdx", "--since", known, "--json")
    assert failed.code == 3 and failed.json["error"]["reason"] == reason, failed.out
    message = failed.json["error"]["message"]
    # Nothing of the leaf is to be begun anew for it.
    assert text in message and "since a snapshot" in message and "reset" not in message, message
    snapshot = Layer(path / "parent.vhdx").snapshot
    assert ask(path / "child.vhdx", snapshot, None)[0].lengths() == [(MIB, 512)]
    assert ask(path / "child.vhdx", leaf, None)[0].lengths() == [(0, 16 * KIB)]
    shown = ctl("points", path / "child.vhdx", "--json").expect(0)
    assert [one["id"] for one in shown.json["points"]] == [snapshot, leaf], shown.out
    return shown


def damage(sidecar):
    """Both headers."""
    with open(sidecar, "r+b") as file:
        file.write(b"x" * 8192)


def test_sidecar_of_a_parent_is_damaged():
    with directory() as path:
        assert "layer 1" in lost(path, damage, "inconsistent", "layer 1: parent.vhdx.lrct: sidecar").err


def make_stale(sidecar):
    """It knows another DataWriteGuid than the container has."""
    with open(sidecar, "r+b") as file:
        data = bytearray(file.read(8192))
        with vhdxoracle.Image(sidecar.with_suffix("")) as image:
            guid = image.header.data_write_guid.bytes_le
        for start in (0, 4096):
            block = data[start:start + 4096].replace(guid, bytes(15) + b"x")
            block[-4:] = crc32c(bytes(block[:-4])).to_bytes(4, "little")
            data[start:start + 4096] = block
        file.seek(0)
        file.write(data)


def test_sidecar_of_a_parent_is_stale():
    """The parent was written without it, or it is another copy's."""
    with directory() as path:
        lost(path, make_stale, "changed_offline", "layer 1: parent.vhdx.lrct: sidecar")


def test_sidecar_of_a_parent_is_not_there():
    """Nobody knows its points; it says so."""
    with directory() as path:
        vhdxoracle.create(path / "parent.vhdx", 8 * MIB, block_size=MIB)
        known, = make_sidecar(path / "parent.vhdx", "seal a\n")
        vhdxoracle.create(path / "child.vhdx", parent=path / "parent.vhdx", block_size=MIB)
        (path / "parent.vhdx.lrct").unlink()
        failed = ctl("changes", path / "child.vhdx", "--since", known, "--json")
        assert failed.code == 3 and failed.json["error"]["reason"] == "id_missing", failed.out


def test_gap_in_a_parent():
    """References before it fail; from snapshot to snapshot, and behind it, there is no gap."""
    with directory() as path:
        names = [path / f"{number}.vhdx" for number in range(3)]
        vhdxoracle.create(names[0], 8 * MIB, block_size=MIB)
        vhdxoracle.create(names[1], parent=names[0], block_size=MIB, content=[(MIB, b"x" * 512)])
        before, behind = make_sidecar(names[1], "seal a\ngap 5\nseal b\nmark 0 1\n")
        vhdxoracle.create(names[2], parent=names[1], block_size=MIB, content=[(4 * MIB, b"x" * 512)])
        snapshots = [Layer(name).snapshot for name in names[:2]]
        for target in (None, behind, snapshots[1]):
            failed = ctl("changes", names[2], "--since", before, *(("--target", target) if target else ()),
                         "--json")
            assert failed.code == 3 and failed.json["error"]["reason"] == "disabled", failed.out
        assert ask(names[2], behind, None)[0].lengths() == [(0, 16 * KIB), (4 * MIB, 16 * KIB)]
        assert ask(names[2], *snapshots)[0].lengths() == [(MIB, 512)]
        assert ask(names[2], snapshots[0], behind)[0].lengths() == [(MIB, 512)]
        # What it had there may have been another copy's.
        ctl("changes", names[2], "--since", snapshots[0], "--target", before).expect(3)


def test_regions_of_a_parent():
    """It was not detached, and frozen as it was found: whole regions, and it says so."""
    with directory() as path:
        vhdxoracle.create(path / "parent.vhdx", 64 * MIB, block_size=MIB)
        known, = make_sidecar(path / "parent.vhdx", "seal a\nmark 0 1\nregion 3\n")
        vhdxoracle.create(path / "child.vhdx", parent=path / "parent.vhdx", block_size=MIB)
        found, reply = ask(path / "child.vhdx", known, None)
        assert found.lengths() == [(0, 16 * KIB), (12 * MIB, 4 * MIB)] and reply["coarse"], reply


def test_parent_that_is_gone():
    """What the leaf alone knows is answered still; of the rest it is said why not."""
    with directory() as path:
        vhdxoracle.create(path / "parent.vhdx", 8 * MIB, block_size=MIB)
        snapshot = Layer(path / "parent.vhdx").snapshot
        vhdxoracle.create(path / "child.vhdx", parent=path / "parent.vhdx", block_size=MIB)
        leaf, = make_sidecar(path / "child.vhdx", "ids 1\nseal b\nmark 0 1\n")
        (path / "parent.vhdx").rename(path / "elsewhere.vhdx")
        assert ask(path / "child.vhdx", leaf, None)[0].lengths() == [(0, 16 * KIB)]
        shown = ctl("points", path / "child.vhdx", "--json").expect(0)
        assert [one["id"] for one in shown.json["points"]] == [leaf] and "parent" in shown.err, shown.err
        done = ctl("changes", path / "child.vhdx", "--since", snapshot)
        assert done.code != 0 and "parent.vhdx" in done.err, done.err
