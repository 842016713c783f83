# SPDX-License-Identifier: GPL-2.0-only
"""What `vhdxctl info` tells of a container that is not attached."""
import errno
import sys
import uuid

from common import TREE, Fake, ctl, directory, make_image

sys.path.append(str(TREE / "selftests/oracle"))

import vhdxoracle  # noqa: E402
from vhdxoracle import describe  # noqa: E402
from vhdxoracle.edit import Editor  # noqa: E402
from vhdxoracle.image import Image  # noqa: E402
from vhdxoracle.layout import Item, MIB, Region  # noqa: E402

STATES = {"not_present": "NOT_PRESENT", "undefined": "UNDEFINED", "zero": "ZERO",
          "unmapped": "UNMAPPED", "present": "FULLY_PRESENT",
          "partially_present": "PARTIALLY_PRESENT"}
STRANGER = uuid.UUID("01234567-89ab-cdef-0123-456789abcdef")


def told(image):
    return ctl("info", "--json", image).expect(0).json


def counted(image):
    """The oracle's count of payload blocks in each state."""
    with Image(image) as opened:
        found = dict.fromkeys(STATES.values(), 0)
        for block in describe.block_map(opened, True):
            found[block["state"]] += 1
        return found


def expect_blocks(image):
    blocks = told(image)["file"]["blocks"]
    wanted = counted(image)
    assert {STATES[key]: blocks[key] for key in STATES} == wanted, (blocks, wanted)
    assert blocks["count"] == sum(wanted.values())
    return blocks


def test_blocks():
    with directory() as path:
        image = path / "disk.vhdx"
        vhdxoracle.create(image, 48 * MIB, block_size=2 * MIB, content=[(0, b"x" * 5 * MIB)],
                          states={4: "ZERO", 5: "UNMAPPED", 6: "UNMAPPED+", 7: "UNDEFINED+"})
        assert expect_blocks(image)["payload_bytes"] == 6 * MIB
        assert f"Blocks:                {24}: 17 not present, 1 undefined, 1 zero, 2 unmapped, " \
            "3 present" in ctl("info", image).lines
        vhdxoracle.create(path / "fixed.vhdx", 5 * MIB, kind="fixed", block_size=MIB)
        assert expect_blocks(path / "fixed.vhdx")["present"] == 5
        # More than is read of the table at once.
        vhdxoracle.create(path / "large.vhdx", 1 << 40, block_size=MIB,
                          content=[(at << 30, b"x") for at in (0, 31, 32, 33, 64, 1023)])
        assert expect_blocks(path / "large.vhdx")["present"] == 6


def test_bad_entries():
    """They are no blocks in any state, and keep nobody from looking at the rest."""
    with directory() as path:
        image = path / "disk.vhdx"
        for name in ("bat-state-4", "bat-into-log", "bat-reserved-bit-3"):
            vhdxoracle.mutate(name, image)
            blocks = told(image)["file"]["blocks"]
            assert blocks["bad"] == 1, (name, blocks)
            assert blocks["count"] == 1 + sum(blocks[state] for state in STATES), (name, blocks)
            assert "Bad BAT entries:       1" in ctl("info", image).lines


def test_child():
    """A differencing disk is looked into without its parent."""
    with directory() as path:
        parent, child = path / "parent.vhdx", path / "child.avhdx"
        vhdxoracle.create(parent, 16 * MIB, block_size=2 * MIB)
        vhdxoracle.create(child, parent=parent, block_size=2 * MIB,
                          content=[(4096, b"x" * 4096), (2 * MIB, b"y" * 2 * MIB)])
        parent.unlink()
        blocks = expect_blocks(child)
        assert (blocks["partially_present"], blocks["present"], blocks["bitmaps"]) == (1, 1, 1)
        reply = told(child)
        assert reply["type"] == "differencing"
        assert [item["name"] for item in reply["file"]["metadata"]][-1] == "parent locator"


def test_chain():
    """The files that it is made of; a parent that is lost keeps nobody from the rest."""
    with directory() as path:
        base, middle, leaf = path / "base.vhdx", path / "middle.avhdx", path / "leaf.avhdx"
        vhdxoracle.create(base, 16 * MIB, block_size=2 * MIB)
        vhdxoracle.create(middle, parent=base, block_size=MIB)
        vhdxoracle.create(leaf, parent=middle, block_size=2 * MIB)
        vhdxoracle.dirty(leaf, [(0, b"z" * MIB)])
        reply = told(leaf)
        assert reply["chain_fault"] is None
        assert [layer["container"] for layer in reply["chain"]] == [str(leaf), str(middle), str(base)]
        assert [layer["block_size"] for layer in reply["chain"]] == [2 * MIB, MIB, 2 * MIB]
        assert [layer["log_replayed"] for layer in reply["chain"]] == [True, False, False]
        assert reply["chain"][0]["data_write_guid"] == reply["data_write_guid"]
        done = ctl("info", leaf)
        assert done.lines[-2:] == [f"Parent:                {middle}", f"Parent:                {base}"]
        assert not done.err
        base.rename(path / "moved")
        done = ctl("info", leaf).expect(0)
        assert "warning: " in done.err and str(middle) in done.err and "--parent" in done.err
        assert done.lines[-1] == "Parents:               not all of them are known"
        reply = told(leaf)
        assert len(reply["chain"]) == 2 and reply["chain_fault"] in done.err
        done = ctl("info", "--map-path", f".\\base.vhdx={path / 'moved'}", leaf).expect(0)
        assert done.lines[-1] == f"Parent:                {path / 'moved'}" and not done.err
        ctl("info", "--parent", leaf, path / "moved").expect(1, "it has no parent")
        ctl("info", "--map-path", "x", leaf).expect(2, "FROM=TO")


def test_strangers():
    """Regions and items that are not known are shown."""
    with directory() as path:
        image = path / "disk.vhdx"
        vhdxoracle.create(image, 16 * MIB, extra_items=[(STRANGER, b"abc", 1)],
                          extra_regions=[Region(STRANGER, 40 * MIB, MIB, 0)])
        reply = told(image)["file"]
        assert reply["regions"][-1] == {"guid": str(STRANGER), "name": None,
                                        "offset": 40 * MIB, "length": MIB, "required": False}
        item = reply["metadata"][-1]
        assert (item["guid"], item["name"], item["length"]) == (str(STRANGER), None, 3)
        assert (item["user"], item["virtual_disk"], item["required"]) == (True, False, False)
        lines = ctl("info", image).lines
        assert f"Region:                {STRANGER}: {MIB} bytes at {40 * MIB}, not known" in lines
        with Editor(image) as edit:
            edit.put_items([*edit.items, Item(uuid.UUID(int=5), 0, 0, 0)])
        item = told(image)["file"]["metadata"][-1]
        assert (item["offset"], item["length"]) == (0, 0)


def test_headers_and_log():
    with directory() as path:
        image = path / "disk.vhdx"
        vhdxoracle.mutate("header-1-checksum", image)
        first, second = told(image)["file"]["headers"]
        assert not first["current"] and first["sequence"] is None
        assert "checksum 0x" in first["fault"]
        assert (second["current"], second["fault"], second["offset"]) == (True, None, 128 << 10)
        assert any(line.startswith("Header 1:              bad: checksum 0x")
                   for line in ctl("info", image).lines)
        vhdxoracle.create(path / "dirty.vhdx", 16 * MIB, block_size=2 * MIB)
        vhdxoracle.dirty(path / "dirty.vhdx", [(0, b"z" * MIB)])
        before = (path / "dirty.vhdx").read_bytes()
        reply = told(path / "dirty.vhdx")
        assert reply["log_replayed"] and reply["file"]["log_entries"] > 0
        assert reply["file"]["headers"][1]["log_guid"] != str(uuid.UUID(int=0))
        # The block is there in the log only.
        assert expect_blocks(path / "dirty.vhdx")["present"] == 1
        assert (path / "dirty.vhdx").read_bytes() == before


def test_windows_files():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        assert told(image)["file"]["windows_rct"] is None
        (path / "disk.vhdx.mrt").touch()
        reply = told(image)["file"]
        assert (reply["windows_rct"], reply["windows_mrt"]) == (None, f"{image}.mrt")
        assert f"Windows' tracking:     {image}.mrt" in ctl("info", image).lines


def test_creator():
    """It may be anything, also no UTF-16; nothing that a terminal obeys is printed."""
    with directory() as path:
        image = path / "disk.vhdx"
        vhdxoracle.create(image, 16 * MIB)
        for raw, text in (("a\x1b[2Jb".encode("utf-16-le"), "a\x1b[2Jb"),
                          ("ü€\U0001F600".encode("utf-16-le"), "ü€\U0001F600"),
                          (b"\x00\xd8x\x00", "\ufffdx"), (b"\x00\xdc", "\ufffd"),
                          (b"\xff\xff" * 256, "\uffff" * 256), (b"\x00\xd8" * 256, "\ufffd" * 256),
                          (b"", None)):
            with Editor(image) as edit:
                edit.put(8, raw.ljust(512, b"\0"))
            assert told(image)["file"]["creator"] == text, raw
            assert "\x1b" not in ctl("info", image).out


def test_attached():
    """The driver has it: then there is nothing to look into."""
    with directory() as path:
        fake = Fake(path)
        fake.ctl("attach", make_image(path / "disk.vhdx")).expect(0)
        assert fake.ctl("info", "--json", "0").expect(0).json["file"] is None


def test_refused():
    with directory() as path:
        image = path / "disk.vhdx"
        vhdxoracle.mutate("metadata-signature", image)
        ctl("info", "--json", image).expect_error(1, errno.EUCLEAN, "corrupt",
                                                  f"{image}: metadata table at 0x200000")
