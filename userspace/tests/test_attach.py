# SPDX-License-Identifier: GPL-2.0-only
"""Attach: sidecars, Windows' own tracking files, what is passed to the driver."""
import errno
import os
import pathlib
import random
import re
import shutil
import stat
import subprocess
import sys
import uuid

from common import (BUILD, ID, Fake, ctl, directory, make_image, make_sidecar, need_root,
                    qemu_io, TREE)

sys.path.append(str(TREE / "selftests/oracle"))
import vhdxoracle  # noqa: E402

# Flags of VHDX_ATTACH.
READ_ONLY, FAIL, WILL_TRACK = 1 << 0, 1 << 2, 1 << 5


def call(fake, name):
    found = [line for line in fake.calls if line.startswith(name)]
    assert len(found) == 1, found
    return found[0]


def setup(path):
    return Fake(path), make_image(path / "disk.vhdx")


def test_file_under_the_name_of_a_node():
    """Somebody wrote to the device before it was there: that file is no device."""
    for name in ("vhdx0", "vhdxc0", "vhdx-control"):
        with directory() as path:
            fake, image = setup(path)
            stray = fake.root / "dev" / name
            before = stray.read_text() if stray.exists() else None
            stray.write_text("swallowed")
            fake.ctl("attach", image).expect(1, f"/dev/{name}: not the device", f"rm /dev/{name}")
            assert stray.read_text() == "swallowed"
            assert not fake.ctl("list", "--json").json["list"]
            # As the message says:
            stray.unlink()
            if before is not None:
                stray.write_text(before)
            fake.ctl("attach", image).expect(0)


def test_without_sidecar():
    with directory() as path:
        fake, image = setup(path)
        fake.ctl("attach", image).expect(0)
        assert call(fake, "ATTACH") == "ATTACH flags=0 index=-1 writable=1 sidecar=0"
        assert not os.path.exists(f"{image}.lrct")


def test_with_sidecar():
    with directory() as path:
        fake, image = setup(path)
        (path / "disk.vhdx.lrct").write_text("x")
        fake.ctl("attach", "--read-only", "--index", "4", image).expect(0)
        assert call(fake, "ATTACH") == "ATTACH flags=1 index=4 writable=0 sidecar=1"


def test_sidecar_beside_the_real_file():
    with directory() as path:
        fake, image = setup(path)
        (path / "disk.vhdx.lrct").write_text("x")
        (path / "links").mkdir()
        os.symlink(image, path / "links/a.vhdx")
        fake.ctl("attach", path / "links/a.vhdx").expect(0)
        assert call(fake, "ATTACH").endswith("sidecar=1")


def test_given_sidecar():
    with directory() as path:
        fake, image = setup(path)
        (path / "elsewhere").write_text("x")
        fake.ctl("attach", "--sidecar", path / "elsewhere", image).expect(0)
        assert call(fake, "ATTACH").endswith("sidecar=1")


def test_given_sidecar_is_missing():
    with directory() as path:
        fake, image = setup(path)
        fake.ctl("attach", "--sidecar", path / "gone", image).expect(0, "warning", "gone")
        assert call(fake, "ATTACH").endswith("sidecar=0")


def test_nothing_to_record_in():
    """Writes are to fail rather than go unrecorded: no disk is attached whose writes would."""
    fail = "--tracking-errors=fail"
    with directory() as path:
        fake, image = setup(path)
        missing, empty = path / "missing", path / "disk.vhdx.lrct"
        def refused(words, *options):
            fake.ctl("attach", fail, *options, image).expect(1, *words, "--track", "--sidecar")
            assert not [call for call in fake.calls if call.startswith("ATTACH")]
        refused([f"{image}: "])
        refused([f"{missing}: "], "--sidecar", missing)
        empty.touch()
        refused([f"{image}: "])
        refused([f"{empty}: "], "--sidecar", empty)
        # What is not written leaves nothing to record; and one may be begun, as the words say.
        for option, flags in (("--read-only", FAIL | READ_ONLY), ("--track", FAIL | WILL_TRACK)):
            fake.ctl("attach", fail, option, image).expect(0)
            assert f"flags={flags} " in call(fake, "ATTACH"), option
            fake.ctl("detach", "0").expect(0)


def test_unusable_sidecar_never_blocks():
    with directory() as path:
        fake, image = setup(path)
        (path / "disk.vhdx.lrct").mkdir()
        fake.ctl("attach", "--track", image).expect(1, "disk.vhdx.lrct")
        assert not fake.calls
        result = fake.ctl("attach", image).expect(0, "warning", "disk.vhdx.lrct",
                                                  "changes are not tracked")
        assert result.out == "/dev/vhdx0\n"
        assert call(fake, "ATTACH").endswith("sidecar=0")


def test_sidecar_of_another_disk():
    """A new container under the name of an attached one finds that one's sidecar."""
    with directory() as path:
        fake, image = setup(path)
        (path / "disk.vhdx.lrct").write_text("x")
        fake.ctl("attach", image).expect(0)
        fake.ctl("attach", f"--sidecar={image}.lrct", make_image(path / "other.vhdx")).expect(
            1, f"in use, as the sidecar of /dev/vhdx0, whose container is {image}: detach")
        image.unlink()
        make_image(image)
        fake.attribute(0, "container", f"{image} (deleted)")
        fake.calls
        for option in ("--track", f"--sidecar={image}.lrct"):
            fake.ctl("attach", option, image).expect(
                1, "disk.vhdx.lrct", "the sidecar of /dev/vhdx0",
                f"whose container is {image} (removed): detach", "--sidecar")
        assert not fake.calls
        fake.ctl("attach", image).expect(0, "warning", "the sidecar of /dev/vhdx0")
        assert call(fake, "ATTACH").endswith("sidecar=0")
        # Two that only read may share it.
        for name in ("0", "1"):
            fake.ctl("detach", name).expect(0)
        fake.ctl("attach", "--read-only", image).expect(0)
        fake.calls
        fake.ctl("attach", "--read-only", f"--sidecar={image}.lrct",
                 path / "other.vhdx").expect(0)
        assert call(fake, "ATTACH").endswith("sidecar=1")


def test_renamed_container():
    """The sidecar that it left behind is named, and only that."""
    with directory() as path:
        fake, image = setup(path)
        make_sidecar(image, "seal a\n")
        fake.write("real-ids", "")
        sidecar = path / "disk.vhdx.lrct"
        os.mkfifo(path / "pipe.lrct")
        os.symlink(sidecar, path / "link.lrct")
        make_sidecar(make_image(path / "stranger"), "seal a\n", sidecar=path / "lost.vhdx.lrct")
        copy = path / "copy.vhdx"
        shutil.copy(image, copy)
        # The sidecar has its container: it is not the copy's.
        assert not fake.ctl("attach", copy).expect(0).err
        fake.ctl("detach", copy).expect(0)
        renamed = path / "renamed.vhdx"
        image.rename(renamed)
        ctl("changes", renamed, "--since", ID).expect(
            3, "disk.vhdx.lrct beside it", "--sidecar", "full backup")
        assert not ctl("changes", renamed, "--since", ID, "--sidecar", sidecar).out
        for options in ([], ["--read-only"]):
            fake.ctl("attach", *options, renamed).expect(
                0, "warning", f"{renamed}: attached without disk.vhdx.lrct", "--sidecar")
            fake.ctl("detach", renamed).expect(0)
        # As the message says:
        assert not fake.ctl("attach", "--sidecar", sidecar, renamed).expect(0).err
        assert fake.ctl("info", "--json", renamed).json["sidecar"] == str(sidecar)
        # Now it is in use, and is nobody else's.
        assert not fake.ctl("attach", copy).expect(0).err
        fake.ctl("detach", renamed).expect(0)
        sidecar.rename(path / "renamed.vhdx.lrct")
        assert not fake.ctl("attach", renamed).expect(0).err


def test_sidecar_of_a_copy():
    """One of this disk's id, but of another state: whose it is, is not said, and what is beside
    it may begin a history of its own."""
    with directory() as path:
        fake, image = setup(path)
        copy = path / "copy.vhdx"
        shutil.copy(image, copy)
        with qemu_io(image, commands=("write 0 512",)):
            pass
        sidecar = path / "elsewhere.lrct"
        make_sidecar(image, "seal a\n", sidecar=sidecar)
        fake.write("real-ids", "")
        before = sidecar.read_bytes()
        done = fake.ctl("attach", copy).expect(0, "elsewhere.lrct", "a copy of it")
        assert "--sidecar" not in done.err and "belongs to this disk" not in done.err, done.err
        fake.ctl("track", "enable", copy).expect(0)
        assert (path / "copy.vhdx.lrct").exists() and sidecar.read_bytes() == before


def test_nothing_else_is_overwritten():
    """What is no sidecar, and another disk's sidecar that was named: left as it is."""
    with directory() as path:
        fake, image = setup(path)
        fake.write("real-ids", "")
        other = path / "other.lrct"
        make_sidecar(make_image(path / "other"), "seal a\n", sidecar=other)
        text = path / "text"
        text.write_text("somebody's letters\n" * 10000)
        late = path / "late"
        late.write_bytes(bytes(65536) + b"_BHRfS_M" + bytes(65536))
        fake.ctl("attach", image).expect(0)
        for file, words in ((other, "the sidecar of another disk"), (text, "neither empty nor"),
                            (late, "neither empty nor"), (image, "a VHDX, not a sidecar"),
                            (path / "other", "a VHDX, not a sidecar")):
            before = file.read_bytes()
            fake.calls
            for command in ("enable", "reset"):
                fake.ctl("track", command, "--sidecar", file, "0").expect(
                    1, str(file), words, "name another file")
            # Nobody is told to empty a disk, or what a disk uses.
            said = fake.ctl("track", "enable", "--sidecar", file, "0").err
            assert "empty" not in said.replace("neither empty nor", ""), said
            assert not fake.calls
            assert file.read_bytes() == before
        fake.ctl("detach", "0").expect(0)
        for file, words in ((other, "the sidecar of another disk"), (text, "neither empty nor")):
            fake.write("state-at-attach", "0 1 4 0 0")
            done = fake.ctl("attach", "--track", "--sidecar", file, image).expect(1, words)
            assert "track reset" not in done.err, done.err
        # Its owner may empty it, and then has it used.
        fake.ctl("attach", image).expect(0)
        text.write_text("")
        fake.ctl("track", "enable", "--sidecar", text, "0").expect(0)


def test_second_history():
    """Beside a sidecar that was left behind none is begun, unless it is named."""
    with directory() as path:
        fake, image = setup(path)
        make_sidecar(image, "seal a\n")
        fake.write("real-ids", "")
        renamed = image.rename(path / "renamed.vhdx")
        words = f"{renamed}: disk.vhdx.lrct lies beside it", "--sidecar", "rename it"
        before = renamed.read_bytes()
        for lrct in (False, True):
            if lrct:  # empty: of no use yet
                (path / "renamed.vhdx.lrct").touch()
            fake.ctl("attach", "--track", renamed).expect(1, *words)
            assert not [call for call in fake.calls if call.startswith("ENABLE")]
            assert not fake.ctl("list", "--json").json["list"]
            fake.ctl("attach", renamed).expect(0, "warning")
            fake.ctl("track", "enable", renamed).expect(1, *words)
            assert not [call for call in fake.calls if call.startswith("ENABLE")]
            fake.ctl("detach", renamed).expect(0)
            assert (path / "renamed.vhdx.lrct").exists() == lrct
        assert renamed.read_bytes() == before
        # As the message says: to go on,
        assert not fake.ctl("attach", "--track", "--sidecar", path / "disk.vhdx.lrct",
                            renamed).expect(0).err
        fake.ctl("detach", renamed).expect(0)
        # to give it up,
        (path / "renamed.vhdx.lrct").unlink()
        fake.ctl("attach", "--track", "--sidecar", path / "new", renamed).expect(
            0, "warning", "attached without disk.vhdx.lrct")
        fake.ctl("detach", renamed).expect(0)
        (path / "disk.vhdx.lrct").rename(path / "renamed.vhdx.lrct")
        assert not fake.ctl("attach", "--track", renamed).expect(0).err


def test_linked_container():
    """A link under its old name: the sidecar of that name is its own all the same."""
    for link in (os.symlink, os.link):
        with directory() as path:
            fake, image = setup(path)
            make_sidecar(image, "seal a\n")
            fake.write("real-ids", "")
            renamed = image.rename(path / "renamed.vhdx")
            link(renamed, image)
            fake.ctl("attach", "--track", renamed).expect(1, "disk.vhdx.lrct lies beside it")
            fake.ctl("attach", renamed).expect(0, "warning", "disk.vhdx.lrct")


def test_own_sidecar():
    """One that can't be used is no second history: the driver has the word."""
    with directory() as path:
        fake, image = setup(path)
        make_sidecar(image, "seal a\n")
        fake.write("real-ids", "")
        fake.write("state-at-attach", "0 1 4 0 0")
        fake.ctl("attach", image).expect(0)
        fake.attribute(0, "sidecar", "")
        fake.fail("ENABLE", errno.EEXIST, "inconsistent", message="header 0: bad checksum")
        fake.ctl("track", "enable", "0").expect(1, "header 0: bad checksum")


def test_copy():
    with directory() as path:
        fake, image = setup(path)
        fake.write("copy-of", "vhdx3")
        done = fake.ctl("attach", "--json", image).expect(0, "VirtualDiskId of /dev/vhdx3")
        assert "a copy of the other" in done.json["warning"]
        # A second thing to say does not hide the first.
        (path / "again.vhdx.lrct").mkdir()
        fake.ctl("attach", make_image(path / "again.vhdx")).expect(
            0, "again.vhdx.lrct: ", "VirtualDiskId of /dev/vhdx3")


def test_a_relative_is_no_copy():
    """A differencing disk has its parent's id. What has its DataWriteGuid, too, is a copy of it."""
    with directory() as path:
        fake, image = setup(path)
        fake.ctl("attach", "--index", "3", make_image(path / "other.vhdx")).expect(0)
        fake.write("copy-of", "vhdx3")
        for layers, guid, words in (("2", b"\x33", False), ("1", b"\x33", True), ("2", b"\x22", True)):
            fake.write("layers.3", layers)
            (fake.root / "id.3").write_bytes(b"\x11" * 16 + guid * 16)
            said = fake.ctl("attach", image).expect(0).err
            assert ("VirtualDiskId" in said) == words, said
            fake.ctl("detach", "0").expect(0)


def test_another_reader_is_no_copy():
    with directory() as path:
        fake, image = setup(path)
        os.link(image, path / "hard")
        fake.ctl("attach", "--read-only", image).expect(0)
        fake.write("copy-of", "vhdx0")
        for name in (image, path / "hard"):
            done = fake.ctl("attach", "--json", "--read-only", name).expect(0)
            assert done.json["warning"] is None and not done.err, done.err
        # A copy of it is one still.
        copy = path / "copy.vhdx"
        shutil.copy(image, copy)
        fake.ctl("attach", "--read-only", copy).expect(0, "VirtualDiskId of /dev/vhdx0")


def test_sidecar_behind_a_link():
    """Or else whoever owns the directory has root write where they like."""
    with directory() as path:
        fake, image = setup(path)
        (path / "victim").write_text("x")
        os.symlink(path / "victim", path / "disk.vhdx.lrct")
        fake.ctl("attach", image).expect(0, "warning", "symbolic link")
        assert call(fake, "ATTACH").endswith("sidecar=0")
        fake.ctl("track", "reset", "0").expect(1, "symbolic link")
        assert (path / "victim").read_text() == "x"


def test_sidecar_behind_a_link_to_nothing():
    """What it leads to may be back any time: it is not taken for no sidecar at all."""
    with directory() as path:
        fake, image = setup(path)
        link = path / "disk.vhdx.lrct"
        link.symlink_to(path / "unmounted")
        here = [f"{link}: a symbolic link to {path / 'unmounted'}, which is not there"]
        fake.ctl("attach", "--track", image).expect(1, *here, "remove it, or name")
        fake.ctl("attach", image).expect(0, *here, "changes are not tracked")
        for word in (["enable"], ["reset"], ["verify", "--sidecar", link]):
            fake.ctl("track", *word, "0").expect(1, *here)
        for word in (["enable", "0"], ["reset", "0"]):
            fake.ctl("track", *word, "--sidecar", link).expect(1, *here, "remove the link, or bring")
        assert not (path / "unmounted").exists()
        link.unlink()
        fake.ctl("track", "enable", "0").expect(0)


def test_name_that_is_too_long():
    """A sidecar of its name can't be: nobody is bothered who wants none."""
    with directory() as path:
        fake = Fake(path)
        image = make_image(path / f"{'x' * 246}.vhdx")
        fake.ctl("attach", "--track", image).expect(1, "too long a name", "--sidecar FILE")
        assert not fake.ctl("attach", image).expect(0).err
        fake.ctl("track", "enable", "0").expect(1, f"{image}.lrct: too long a name", "--sidecar")
        fake.ctl("track", "enable", "0", "--sidecar", path / "short").expect(0)
        assert ctl("info", "--json", image).expect(0).json["tracking"] == "off"
        ctl("changes", image, "--since", ID).expect(3, f"there is no {path}/xxxx")


def test_no_track():
    with directory() as path:
        fake, image = setup(path)
        (path / "disk.vhdx.lrct").write_text("x")
        fake.ctl("attach", "--no-track", image).expect(0, "warning", "gap")
        assert call(fake, "ATTACH").startswith("ATTACH flags=2 ")
        fake.ctl("detach", image).expect(0)
        # What is not written leaves none.
        fake.fail("ATTACH", 0, "disabled")
        assert not fake.ctl("attach", "--no-track", "--read-only", image).expect(0).err


def test_kernel_message_is_a_warning():
    with directory() as path:
        fake, image = setup(path)
        (path / "disk.vhdx.lrct").write_text("x")
        fake.fail("ATTACH", 0, "unclean", message="sidecar: not detached cleanly")
        result = fake.ctl("attach", image)
        result.expect(0, f"warning: {image}: sidecar: not detached cleanly")
        assert result.out == "/dev/vhdx0\n"


def test_words_about_a_named_sidecar():
    """They are not about the container, which may be sound."""
    words = "sidecar: this is none"
    with directory() as path:
        fake, image = setup(path)
        named = path / "named"
        named.write_text("x")
        fake.fail("ATTACH", 0, "inconsistent", message=words)
        fake.ctl("attach", "--sidecar", named, image).expect(0, f"warning: {named}: {words}")
        fake.ctl("detach", "0").expect(0)
        fake.fail("ATTACH", errno.EUCLEAN, "inconsistent", message=words)
        fake.ctl("attach", "--sidecar", named, image).expect(1, f"vhdxctl: {named}: {words}")
        fake.fail("ATTACH", 0)
        fake.ctl("attach", image).expect(0)
        named.unlink()
        fake.fail("ENABLE", errno.EEXIST, "inconsistent", message=words)
        for word in ("enable", "reset"):
            fake.ctl("track", word, "--sidecar", named, "0").expect(1, f"vhdxctl: {named}: {words}")
        other = make_image(path / "other.vhdx")
        named.write_bytes(b"garbage" * 10000)
        for command in (["changes", "--since", ID], ["points"]):
            done = ctl(*command, "--sidecar", named, other)
            assert f"{named}: {words}" in done.err and f"{other}: " not in done.err, done.err


def test_track():
    need_root()
    with directory() as path:
        fake, image = setup(path)
        os.chmod(image, 0o640)
        os.chown(image, 12345, 23456)
        result = fake.ctl("attach", "--track", "--unit", "64K", image).expect(0)
        assert result.out == "/dev/vhdx0\n"
        assert fake.calls == ["ATTACH flags=0 index=-1 writable=1 sidecar=0",
                              "ENABLE flags=0 sidecar=1 unit=65536"]
        sidecar = os.stat(f"{image}.lrct")
        assert (sidecar.st_uid, sidecar.st_gid) == (12345, 23456)
        assert stat.S_IMODE(sidecar.st_mode) == 0o640


def test_track_when_tracked():
    with directory() as path:
        fake, image = setup(path)
        (path / "disk.vhdx.lrct").write_text("x")
        fake.ctl("attach", "--track", image).expect(0)
        assert len(fake.calls) == 1


def test_track_in_an_empty_sidecar():
    with directory() as path:
        fake, image = setup(path)
        (path / "disk.vhdx.lrct").touch()
        fake.ctl("attach", "--track", image).expect(0)
        assert fake.calls == ["ATTACH flags=0 index=-1 writable=1 sidecar=0",
                              "ENABLE flags=0 sidecar=1 unit=0"]


def test_track_fails():
    """All or nothing: no new file, no device."""
    with directory() as path:
        fake, image = setup(path)
        fake.fail("ENABLE", errno.ENOSPC, "no_space")
        fake.ctl("attach", "--track", image).expect(1, "room in the sidecar")
        assert fake.calls[-1] == "DETACH index=0"
        assert not os.path.exists(f"{image}.lrct")
        assert not fake.ctl("list", "--json").json["list"]


def test_track_cannot_use_the_sidecar():
    """What it holds is the administrator's to give up; without tracking it is attached."""
    with directory() as path:
        fake, image = setup(path)
        make_sidecar(image, "seal a\n")
        before = (path / "disk.vhdx.lrct").read_bytes()
        fake.fail("ATTACH", 0, "inconsistent", message="sidecar: header 0: bad checksum")
        fake.write("state-at-attach", "0 1 4 0 0")
        fake.ctl("attach", "--track", image).expect(1, "bad checksum", "vhdxctl track reset")
        assert [line.split()[0] for line in fake.calls] == ["ATTACH", "DETACH"]
        assert (path / "disk.vhdx.lrct").read_bytes() == before
        assert not fake.ctl("list", "--json").json["list"]
        fake.fail("ATTACH", 0, "inconsistent")
        fake.write("state-at-attach", "0 1 4 0 0")
        fake.ctl("attach", "--track", image).expect(1, "the sidecar is damaged", "track reset")
        # One way out is enough.
        for message in ("sidecar damaged: header; to begin a new one, `vhdxctl track reset`", ""):
            fake.fail("ATTACH", 0, "inconsistent", message=message)
            fake.write("state-at-attach", "0 1 4 0 0")
            done = fake.ctl("attach", "--track", image).expect(1, "track reset")
            assert done.err.count("track reset") == 1, done.err
        # As the message says:
        fake.ctl("attach", image).expect(0, "warning")
        fake.write("state.0", "0 1 4 0 0")
        fake.fail("ENABLE", errno.EEXIST, "inconsistent", message="the file holds something else")
        fake.ctl("track", "enable", "0").expect(1, "the file holds something else")
        assert (path / "disk.vhdx.lrct").read_bytes() == before
        fake.fail("ENABLE", 0, times=0)
        fake.calls
        assert fake.ctl("track", "reset", "0").expect(0).out == ID + "\n"
        assert fake.calls == ["ENABLE flags=1 sidecar=1 unit=0"]


def test_verify_what_is_in_use():
    """Whatever lies under the container's name; unless another one is named."""
    with directory() as path:
        fake, image = setup(path)
        used = path / "elsewhere"
        make_sidecar(image, "seal a\nseal b\n", sidecar=used)
        fake.ctl("attach", "--sidecar", used, image).expect(0)
        for name in ("0", image):
            assert fake.ctl("track", "verify", "--json", name).expect(0).json == {"points": 2}
        make_sidecar(image, "seal a\n")
        sound = used.read_bytes()
        used.write_bytes(b"garbage" * 10000)
        for name in ("0", image):
            fake.ctl("track", "verify", name).expect(1, f"{used}: sidecar: this is none")
        other = ("--sidecar", f"{image}.lrct")
        assert fake.ctl("track", "verify", "--json", *other, "0").expect(0).json == {"points": 1}
        used.unlink()
        fake.attribute(0, "sidecar", f"{used} (deleted)")
        fake.ctl("track", "verify", "0").expect(1, f"{used}: removed", "/dev/vhdx0 uses it still")
        used.write_bytes(sound)
        # Tracking is off: the advice of recovery.rst looks at the one of the container's name.
        fake.attribute(0, "sidecar", "")
        assert fake.ctl("track", "verify", "--json", "0").expect(0).json == {"points": 1}


def test_reset_without_sidecar():
    with directory() as path:
        fake, image = setup(path)
        fake.ctl("attach", image).expect(0)
        fake.ctl("track", "reset", "0").expect(1, "no sidecar of the container's name", "track enable",
                                             "--sidecar")
        assert not os.path.exists(f"{image}.lrct")


def test_reset_into_a_new_sidecar():
    """One that is named is made, as by enable, and removed again if that fails."""
    with directory() as path:
        fake, image = setup(path)
        new = path / "new"
        fake.ctl("attach", image).expect(0)
        fake.ctl("track", "reset", "--sidecar", path / "no/new", "0").expect(
            1, f"{path}/no/new: cannot make the sidecar: No such file")
        fake.fail("ENABLE", errno.ENOSPC, "no_space")
        fake.ctl("track", "reset", "--sidecar", new, "0").expect(1, "room in the sidecar")
        assert not new.exists()
        fake.fail("ENABLE", 0)
        fake.calls
        assert fake.ctl("track", "reset", "--sidecar", new, "0").expect(0).out == ID + "\n"
        assert fake.calls == ["ENABLE flags=1 sidecar=1 unit=0"]
        assert new.exists() and not os.path.exists(f"{image}.lrct")


def test_enable_fails():
    """What was made for it is removed again, unless it is somebody else's by now."""
    with directory() as path:
        fake, image = setup(path)
        sidecar = pathlib.Path(f"{image}.lrct")
        fake.ctl("attach", image).expect(0)
        for rival in (None, "opened", "took", "renamed"):
            if rival:
                fake.write("rival", rival)
            fake.fail("ENABLE", errno.EALREADY)
            done = fake.ctl("track", "enable", "0").expect(1, "enabled already")
            assert sidecar.exists() == bool(rival), rival
            # On NFS and SMB it looks like this, whoever has it open.
            assert (f"{sidecar} was made for it and stays" in done.err) == (rival == "opened"), rival
            sidecar.unlink(missing_ok=True)
            fake.write("sys/block/vhdx0/vhdx/sidecar", "")


def test_enable_where_one_stays():
    """The advice: to enable again goes on with it."""
    with directory() as path:
        fake, image = setup(path)
        sidecar = pathlib.Path(f"{image}.lrct")
        fake.ctl("attach", image).expect(0)
        fake.write("rival", "opened")
        fake.fail("ENABLE", errno.ENOSPC, "host_full")
        fake.ctl("track", "enable", "0").expect(1, "make room there; ", "enable again goes on with it")
        made = sidecar.stat()
        fake.fail("ENABLE", 0)
        fake.ctl("track", "enable", "0").expect(0)
        assert sidecar.stat().st_ino == made.st_ino


def test_enable_elsewhere():
    with directory() as path:
        fake, image = setup(path)
        fake.ctl("attach", image).expect(0)
        fake.ctl("track", "enable", "--sidecar", path / "elsewhere", "0").expect(0)
        assert (path / "elsewhere").exists() and not os.path.exists(f"{image}.lrct")


def test_enable_what_is_disabled():
    """In the sidecar that is there: another one, or another unit, can't be chosen."""
    with directory() as path:
        fake, image = setup(path)
        fake.ctl("attach", image).expect(0)
        fake.write("state.0", "2 0 5 16384 0")
        for choice in (["--unit", "4K"], ["--sidecar", path / "elsewhere"]):
            fake.ctl("track", "enable", *choice, "0").expect(1, "can be chosen now")
            fake.ctl("track", "reset", *choice, "0").expect(1, "can be chosen now")
        assert not (path / "elsewhere").exists()
        fake.calls
        fake.ctl("track", "enable", "0").expect(0)
        assert fake.calls == ["ENABLE flags=0 sidecar=0 unit=0"]


def test_enable_of_a_moved_container():
    with directory() as path:
        fake, image = setup(path)
        fake.ctl("attach", image).expect(0)
        os.rename(image, path / "moved.vhdx")
        make_image(image)
        fake.ctl("track", "enable", "0").expect(1, "--sidecar")
        assert not os.path.exists(f"{image}.lrct")


def rct(path):
    for name in ("disk.vhdx.rct", "disk.vhdx.mrt"):
        (path / name).write_text(name)


def present(path):
    return sorted(entry.name for entry in path.iterdir() if entry.name.startswith("disk.vhdx."))


def test_windows_rct_refuses():
    with directory() as path:
        fake, image = setup(path)
        rct(path)
        fake.ctl("attach", image).expect(1, "*.rct, *.mrt", "--retire-windows-rct", "read-only")
        assert not fake.calls and present(path) == ["disk.vhdx.mrt", "disk.vhdx.rct"]


def test_windows_rct_read_only():
    with directory() as path:
        fake, image = setup(path)
        rct(path)
        fake.ctl("attach", "--read-only", image).expect(0)
        assert present(path) == ["disk.vhdx.mrt", "disk.vhdx.rct"]


def test_windows_rct_retires():
    with directory() as path:
        fake, image = setup(path)
        rct(path)
        fake.ctl("attach", "--retire-windows-rct", image).expect(0)
        assert present(path) == ["disk.vhdx.mrt.stale", "disk.vhdx.rct.stale"]
        assert (path / "disk.vhdx.rct.stale").read_text() == "disk.vhdx.rct"


def test_windows_rct_one_file():
    with directory() as path:
        fake, image = setup(path)
        (path / "disk.vhdx.mrt").touch()
        fake.ctl("attach", image).expect(1, "(*.mrt)")
        fake.ctl("attach", "--retire-windows-rct", image).expect(0)
        assert present(path) == ["disk.vhdx.mrt.stale"]


def test_windows_rct_nothing_there():
    with directory() as path:
        fake, image = setup(path)
        fake.ctl("attach", "--retire-windows-rct", image).expect(0)


def test_windows_rct_older_stale():
    """Nothing is overwritten, and both or none are renamed."""
    with directory() as path:
        fake, image = setup(path)
        rct(path)
        (path / "disk.vhdx.mrt.stale").write_text("older")
        stale = path / "disk.vhdx.mrt.stale"
        fake.ctl("attach", "--retire-windows-rct", image).expect(
            1, f"{stale}: it is there already", "move it away or remove it, then attach again")
        assert not fake.calls and stale.read_text() == "older"
        assert present(path) == ["disk.vhdx.mrt", "disk.vhdx.mrt.stale", "disk.vhdx.rct"]
        # As the message says:
        stale.rename(path / "moved")
        fake.ctl("attach", "--retire-windows-rct", image).expect(0)
        assert present(path) == ["disk.vhdx.mrt.stale", "disk.vhdx.rct.stale"]


def test_windows_rct_where_renames_have_no_flags():
    """On NFS."""
    with directory() as path:
        fake, image = setup(path)
        fake.write("plain-renames", "")
        rct(path)
        fake.fail("ATTACH", errno.EBUSY, "in_use", times=1)
        fake.ctl("attach", "--retire-windows-rct", image).expect(1, "in use")
        assert present(path) == ["disk.vhdx.mrt", "disk.vhdx.rct"]
        (path / "disk.vhdx.mrt.stale").write_text("older")
        fake.ctl("attach", "--retire-windows-rct", image).expect(1, "it is there already")
        assert present(path) == ["disk.vhdx.mrt", "disk.vhdx.mrt.stale", "disk.vhdx.rct"]
        assert (path / "disk.vhdx.mrt.stale").read_text() == "older"
        (path / "disk.vhdx.mrt.stale").unlink()
        fake.ctl("attach", "--retire-windows-rct", image).expect(0)
        assert present(path) == ["disk.vhdx.mrt.stale", "disk.vhdx.rct.stale"]


def test_windows_rct_of_a_long_name():
    """That can't be lengthened; and one to which nothing can be added at all."""
    with directory() as path:
        fake, _ = setup(path)
        for length in (os.pathconf(path, "PC_NAME_MAX") - 4, os.pathconf(path, "PC_NAME_MAX")):
            image = make_image(path / ("n" * (length - 5) + ".vhdx"))
            if length < 255:
                pathlib.Path(f"{image}.rct").touch()
                fake.ctl("attach", image).expect(1, "--retire-windows-rct")
                fake.ctl("attach", "--retire-windows-rct", image).expect(
                    1, f"{image}.rct: with \".stale\" behind it", "rename it yourself")
                assert not fake.calls
                pathlib.Path(f"{image}.rct").rename(path / "aside")
            fake.ctl("attach", image).expect(0)


def test_windows_rct_behind_a_link():
    """It lies beside the file itself."""
    with directory() as path:
        fake, image = setup(path)
        rct(path)
        (path / "links").mkdir()
        link = path / "links/disk.vhdx"
        link.symlink_to(image)
        fake.ctl("attach", link).expect(1, f"{image}: Windows' change tracking")
        fake.ctl("attach", "--retire-windows-rct", link).expect(0)
        assert present(path) == ["disk.vhdx.mrt.stale", "disk.vhdx.rct.stale"]
        assert list(link.parent.iterdir()) == [link]


def test_windows_rct_of_a_parent():
    """A parent is never written, so what Windows knows of it stays right."""
    with directory() as path:
        fake = Fake(path)
        parent, leaf = path / "disk.vhdx", path / "leaf.avhdx"
        vhdxoracle.create(parent, 16 << 20, block_size=1 << 20)
        vhdxoracle.create(leaf, parent=parent, block_size=1 << 20)
        rct(path)
        fake.ctl("attach", "--retire-windows-rct", leaf).expect(0)
        assert present(path) == ["disk.vhdx.mrt", "disk.vhdx.rct"]


def test_windows_rct_comes_back():
    """A refused attach wrote nothing, so Windows' files are still right."""
    with directory() as path:
        fake, image = setup(path)
        rct(path)
        fake.fail("ATTACH", errno.EBUSY, "in_use")
        fake.ctl("attach", "--retire-windows-rct", image).expect(1, "in use")
        assert present(path) == ["disk.vhdx.mrt", "disk.vhdx.rct"]
        # Nor did one that is taken back.
        fake.fail("ATTACH", 0)
        fake.fail("ENABLE", errno.ENOSPC, "no_space")
        fake.ctl("attach", "--track", "--retire-windows-rct", image).expect(1, "room in")
        assert present(path) == ["disk.vhdx.mrt", "disk.vhdx.rct"]
        # But a disk that stays may be written.
        fake.fail("DETACH", errno.EPERM)
        fake.ctl("attach", "--track", "--retire-windows-rct", image).expect(1, "room in")
        assert present(path) == ["disk.vhdx.mrt.stale", "disk.vhdx.rct.stale"]


def test_windows_rct_of_something_else():
    """What is not a VHDX is refused before anything is renamed."""
    with directory() as path:
        fake, image = setup(path)
        rct(path)
        image.write_bytes(b"not a VHDX" * 100000)
        fake.ctl("attach", "--retire-windows-rct", image).expect(1, str(image))
        assert not fake.calls and present(path) == ["disk.vhdx.mrt", "disk.vhdx.rct"]


def test_log_that_was_never_begun():
    """A parent's, too: it is read as it is, and who attaches is told. (For writing the driver says it.)"""
    with directory() as path:
        fake, _ = setup(path)
        parent, leaf = path / "parent.vhdx", path / "leaf.vhdx"
        vhdxoracle.create(parent, 16 << 20, block_size=1 << 20)
        vhdxoracle.create(leaf, parent=parent, block_size=1 << 20)
        for image, options in ((parent, ()), (leaf, ("--read-only",))):
            with vhdxoracle.Editor(image) as edit:
                edit.change_headers(log_guid=uuid.uuid4())
            fake.ctl("attach", *options, leaf).expect(
                0, f"warning: {image}: its header names a log", f"`vhdxctl check --repair {image}`")
            ctl("check", "--repair", image)


def test_not_a_container():
    with directory() as path:
        fake, _ = setup(path)
        os.mkfifo(path / "pipe")
        (path / "empty").touch()
        for option in ([], ["--read-only"]):
            for name in (path / "pipe", path, "/dev/null"):
                fake.ctl("attach", *option, name).expect(
                    1, "not a VHDX: neither a regular file nor a block device")
        for name in ("/proc/version", "/etc/passwd", path / "empty"):
            fake.ctl("attach", "--read-only", name).expect(1, "not a VHDX: ")
        fake.ctl("attach", "--read-only", "/proc/self/mem").expect(1, "cannot read it")
        assert not fake.calls


def test_other_files():
    """Images of other formats, and what is no image at all, from a byte on."""
    with directory() as path:
        fake, _ = setup(path)
        for suffix, options in (("qcow2", "-fqcow2"), ("vmdk", "-fvmdk"), ("vdi", "-fvdi"),
                                ("raw", "-fraw"), ("vhd", "-fvpc -osubformat=fixed")):
            subprocess.run(["qemu-img", "create", "-q", *options.split(), path / f"image.{suffix}",
                            "8M"], check=True)
        (path / "image.zip").write_bytes(b"PK\3\4" + bytes(1000))
        (path / "image.one").write_bytes(b"v")
        (path / "image.text").write_text("vhdxfil")
        for image in path.glob("image.*"):
            for option in ([], ["--read-only"]):
                result = fake.ctl("attach", *option, image).expect(1, f"{image}: not a VHDX: ")
                assert result.err.count("\n") == 1, result.err
        assert not fake.calls


def test_relatives():
    with directory() as path:
        fake, _ = setup(path)
        (path / "a.vhds").write_bytes(b"vhdsetv1" + bytes(1000))
        fake.ctl("attach", path / "a.vhds").expect(1, "a VHD Set", "neither is intact")
        assert not fake.calls


def test_images_of_other_formats():
    """The command that the message has makes a VHDX of it, with the same content."""
    with directory() as path:
        fake, _ = setup(path)
        raw = path / "raw"
        raw.write_bytes(bytes(510) + b"\x55\xaa" + random.randbytes(1 << 20) + bytes(7 << 20))
        for name, *form in (("a VHD", "vpc"), ("a VHD", "vpc", "-o", "subformat=fixed"),
                            ("a QCOW2 image", "qcow2"), ("a VMDK", "vmdk"), ("a VDI", "vdi"),
                            ("a raw image", "raw")):
            image, new = path / "image", path / "new.vhdx"
            subprocess.run(["qemu-img", "convert", "-O", *form, raw, image], check=True)
            for command in ("attach", "info"):
                done = fake.ctl(command, image).expect(1, f"not a VHDX: it is {name}")
            advice = re.search("`(.* convert .* IMAGE NEW.vhdx)`", done.err).group(1).split()
            env = {**os.environ, "PATH": f"{BUILD}:{os.environ['PATH']}"}
            new.unlink(missing_ok=True)
            subprocess.run([*advice[:-2], image, new], env=env, check=True)
            fake.ctl("info", new).expect(0)
            done = subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", "vhdx", raw, new],
                                  stdout=subprocess.DEVNULL, check=False)
            assert done.returncode == 0, form
        assert not fake.calls


def test_no_permission():
    need_root()
    with directory() as path:
        fake, image = setup(path)
        os.chmod(path, 0o755)
        os.chmod(image, 0o444)
        for entry in fake.root.rglob("*"):
            os.chmod(entry, 0o777)
        os.chmod(fake.root, 0o777)
        fake.ctl("attach", image, user=65534, cwd="/").expect(
            1, "Permission denied", "a read-only attach by root may do")


def test_no_permission_for_a_node():
    """Who may read is told of the group that can write no disk."""
    need_root()
    with directory() as path:
        fake, image = setup(path)
        fake.ctl("attach", image).expect(0)
        for entry in [path, fake.root, *fake.root.rglob("*")]:
            os.chmod(entry, 0o777)
        for mode, command, words in (
                (0o600, ["points", "0"], "be root, or a member of group vhdx-backup"),
                (0o604, ["seal", "0"], "sealing, forgetting and switching tracking need root"),
                (0o604, ["track", "disable", "0"], "(who is in group vhdx-backup may ask and copy)")):
            os.chmod(fake.root / "dev/vhdxc0", mode)
            fake.ctl(*command, user=65534, cwd="/").expect(1, "/dev/vhdxc0: permission denied",
                                                          words)
