# SPDX-License-Identifier: GPL-2.0-only
"""What commands print: shapes of JSON, tables, lines that scripts read."""
import errno
import os
import subprocess

from common import BUILD, ID, REASONS, Fake, attached, ctl, directory, make_image, make_sidecar

GIB = 1 << 30
SECOND = ID.replace("01", "02")
# The first attachment of a fake driver.
WHICH = {"virtual_disk_id": "11111111-1111-1111-1111-111111111111", "disk_seq": 101}


def test_attach():
    with directory() as path:
        fake = Fake(path)
        image = make_image(path / "disk.vhdx")
        result = fake.ctl("attach", image).expect(0)
        assert result.out == "/dev/vhdx0\n" and not result.err
        reply = fake.ctl("attach", "--json", make_image(path / "other.vhdx")).expect(0).json
        assert reply == {"disk": 1, "device": "/dev/vhdx1", **WHICH, "disk_seq": 102,
                         "reason": None, "warning": None}


def test_list():
    with attached("--read-only") as (fake, image):
        fake.attribute(0, "reason", "unclean")
        reply = fake.ctl("list", "--json").expect(0).json
        assert reply == {"list": [{
            "disk": 0, "device": "/dev/vhdx0", **WHICH, "container": str(image),
            "container_deleted": False, "parent": None, "parent_deleted": False,
            "parent_lost": False, "sidecar": f"{image}.lrct", "sidecar_deleted": False, "former_sidecar": None, "read_only": True, "size": GIB,
            "tracking": "on", "reason": "unclean", "unit": 16384, "io": "direct",
            "scan": "pending"}]}


def test_removed_container():
    """The kernel's mark is no part of the name; a name that ends so is one."""
    with directory() as path:
        fake = Fake(path)
        image = make_image(path / "a (deleted)")
        fake.ctl("attach", image).expect(0)

        def shown():
            disk = fake.ctl("list", "--json").json["list"][0]
            info = fake.ctl("info", "--json", "0").json
            for key in ("container", "container_deleted", "sidecar"):
                assert info[key] == disk[key], key
            return disk["container"], disk["container_deleted"]
        assert shown() == (str(image), False)
        assert f"Container:             {image}" in fake.ctl("info", "0").lines
        image.unlink()
        fake.attribute(0, "container", f"{image} (deleted)")
        assert shown() == (str(image), True)
        assert f"Container (removed):   {image}" in fake.ctl("info", "0").lines
        make_image(image)
        assert shown() == (str(image), True)
        assert f"{image} (deleted)" not in fake.ctl("list").out
        assert fake.ctl("list").lines[1].endswith(f"{image} (removed)")
        fake.ctl("detach", "0").expect(0, f"warning: /dev/vhdx0: {image} had been removed", "copy")


def test_removed_name():
    """What has other names is not gone, and nobody is told so."""
    for unlinked, words in (("0", "the file has other names"), ("1", "is gone; next time, copy")):
        with attached() as (fake, image):
            fake.attribute(0, "container", f"{image} (deleted)")
            fake.attribute(0, "container_unlinked", unlinked)
            image.unlink()
            done = fake.ctl("detach", "0").expect(0, f"{image} had been removed", words)
            assert ("gone" in done.err) == (unlinked == "1"), done.err


def test_removed_sidecar():
    with attached() as (fake, image):
        lrct = f"{image}.lrct"
        os.unlink(lrct)
        fake.attribute(0, "sidecar", f"{lrct} (deleted)")
        for shown in (fake.ctl("list", "--json").json["list"][0],
                      fake.ctl("info", "--json", "0").json):
            assert (shown["sidecar"], shown["sidecar_deleted"]) == (lrct, True), shown
        assert f"Sidecar (removed):     {lrct}" in fake.ctl("info", "0").lines
        assert fake.ctl("list", "-o", "sidecar").lines[1] == f"{lrct} (removed)"
        assert "Sidecar:         removed: " in fake.ctl("track", "status", "0").out


def test_former_sidecar():
    """What failed, or is of no use, is named, and its points are not said to be none."""
    with attached() as (fake, image):
        former = image.parent / "elsewhere"
        former.touch()
        fake.attribute(0, "sidecar", "")
        fake.write("state.0", f"0 1 {REASONS['tracking_error']} 0 0\n")
        for mark, removed in (("", False), (" (deleted)", True)):
            if removed:
                former.unlink()
            fake.attribute(0, "former_sidecar", f"{former}{mark}")
            word = "removed" if removed else "not used"
            for shown in (fake.ctl("list", "--json").json["list"][0],
                          fake.ctl("info", "--json", "0").json,
                          fake.ctl("track", "status", "--json", "0").json):
                assert shown["former_sidecar"] == str(former), shown
                assert shown.get("sidecar") is None and shown.get("points") is None, shown
            assert f"{f'Sidecar ({word}):':22} {former}" in fake.ctl("info", "0").lines
            assert "Points:                unknown" in fake.ctl("info", "0").lines
            assert fake.ctl("list", "-o", "sidecar").lines[1] == f"{former} ({word})"
            shown = fake.ctl("track", "status", "0").lines
            assert f"Sidecar:         {word}: {former}" in shown, shown
            assert "Points:          unknown" in shown, shown


def test_list_absent_is_null():
    with attached() as (fake, _):
        fake.attribute(0, "tracking", "off")
        fake.attribute(0, "unit", "0")
        fake.attribute(0, "sidecar", "")
        entry = fake.ctl("list", "--json").expect(0).json["list"][0]
        assert entry["reason"] is None and entry["tracking"] == "off"
        assert entry["unit"] is None and entry["sidecar"] is None


def test_list_of_nothing():
    with directory() as path:
        fake = Fake(path)
        assert fake.ctl("list", "--json").expect(0).json == {"list": []}
        assert not fake.ctl("list").expect(0).out


def test_list_order_and_strangers():
    with directory() as path:
        fake = Fake(path)
        for index in (7, 2, 5):
            fake.ctl("attach", "--index", index, make_image(path / f"{index}.vhdx")).expect(0)
        for stranger in ("vhdx", "vhdxc2", "vda", "vhdx2p1", "vhdx11"):
            (fake.root / "sys/block" / stranger).mkdir()
        found = [disk["disk"] for disk in fake.ctl("list", "--json").json["list"]]
        assert found == [2, 5, 7]


def test_list_table():
    with attached() as (fake, image):
        lines = fake.ctl("list").expect(0).lines
        assert lines[0].split() == ["DEVICE", "SIZE", "RO", "TRACKING", "REASON", "CONTAINER"]
        assert lines[1].split() == ["/dev/vhdx0", str(GIB), "0", "on", str(image)]
        columns = fake.ctl("list", "--noheadings", "--output", "size,disk,scan").lines
        assert columns == [f"{GIB}    0 pending"], columns
        why = "failed: " + "BAT entry 2 … " * 15  # as long as the driver's messages can be
        fake.attribute(0, "scan", why)
        assert fake.ctl("list", "--json").json["list"][0]["scan"] == why


def test_odd_path():
    with directory() as path:
        fake = Fake(path)
        image = make_image(path / 'a "quoted" \\ ü.vhdx')
        fake.ctl("attach", image).expect(0)
        assert fake.ctl("list", "--json").json["list"][0]["container"] == str(image)
        fake.attribute(0, "container", "/x/bad\udcff.vhdx".encode(
            "utf-8", "surrogateescape").decode("latin-1"))
        (fake.root / "sys/block/vhdx0/vhdx/container").write_bytes(b"/x/bad\xff.vhdx\n")
        assert fake.ctl("list", "--json").json["list"][0]["container"] == "/x/bad\ufffd.vhdx"


def test_path_on_a_terminal():
    """Bytes of a name that are no text, or that a terminal obeys, are told as tables tell them."""
    names = {b"bad\xff": "bad\\xff", b"cut\xc3": "cut\\xc3", b"csi\xc2\x9b2J": "csi\\xc2\\x9b2J",
             b"as \\xff": "as \\x5cxff", "ü \\ n".encode(): "ü \\ n"}
    with directory() as path:
        fake = Fake(path)
        for name, shown in names.items():
            done = subprocess.run([BUILD / "vhdxctl", "info", bytes(path) + b"/" + name],
                                  capture_output=True, env=fake.env, check=False)
            assert done.stderr.decode("utf-8") == (
                f"vhdxctl: {path}/{shown}: No such file or directory\n"), done.stderr
        fake.ctl("attach", make_image(path / "disk.vhdx")).expect(0)
        for name, shown in names.items():
            (fake.root / "sys/block/vhdx0/vhdx/container").write_bytes(b"/" + name + b"\n")
            assert fake.ctl("list", "-o", "container").lines[1] == f"/{shown}"
            assert f"Container:             /{shown}" in fake.ctl("info", "0").lines


def test_path_of_lines():
    with directory() as path:
        fake = Fake(path)
        image = make_image(path / "two\nlines\x1b[2J\n")
        fake.ctl("attach", image).expect(0)
        assert fake.ctl("list", "--json").json["list"][0]["container"] == str(image)
        shown = "two\\x0alines\\x1b[2J\\x0a"
        assert f"Container:             {path}/{shown}" in fake.ctl("info", "0").lines
        shown = "two?lines?[2J?"
        fake.fail("ATTACH", errno.EBUSY, "in_use")
        done = fake.ctl("attach", image)
        done.expect(1, f"vhdxctl: {path}/{shown}: ")
        assert done.err.count("\n") == 1
        # However long a path is, the message comes to what is wrong.
        assert fake.ctl("info", "d/" * 2000).err.endswith("No such file or directory\n")


def test_info():
    with attached() as (fake, image):
        reply = fake.ctl("info", "--json", "0").expect(0).json
        assert reply == {
            "disk": 0, "device": "/dev/vhdx0", "container": str(image), **WHICH,
            "container_deleted": False, "sidecar": f"{image}.lrct", "sidecar_deleted": False,
            "former_sidecar": None, "data_write_guid": "22222222-2222-2222-2222-222222222222", "type": "dynamic",
            "size": GIB, "block_size": 8 << 20, "logical_sector_size": 512,
            "physical_sector_size": 4096, "read_only": False, "log_replayed": False, "log_unwritten": False,
            "write_failed": False, "container_lost": False, "io": "direct", "scan": "pending",
            "tracking": "on", "reason": None, "points": 0, "file": None,
            "chain": [{"container": str(image), "virtual_disk_id": WHICH["virtual_disk_id"],
                       "data_write_guid": "22222222-2222-2222-2222-222222222222", "size": GIB,
                       "block_size": 8 << 20, "log_replayed": False, "log_unwritten": False,
                       "container_deleted": False, "container_lost": False, "container_changed": False}],
            "chain_fault": None}
        assert "Device:" in fake.ctl("info", "0").expect(0).lines[0]


def test_seal():
    with attached() as (fake, _):
        fake.ctl("attach", make_image(fake.root / "b.vhdx")).expect(0)
        result = fake.ctl("seal", "--label", "nightly", "1", "0").expect(0)
        assert result.lines == [ID, ID] and not result.err
        assert "SEAL count=2 label=nightly" in fake.calls
        reply = fake.ctl("seal", "--json", "vhdx0").expect(0).json
        assert reply == {"points": [
            {"disk": 0, "device": "/dev/vhdx0", **WHICH, "id": SECOND}]}


REST = {"layer": 0, "has_data": False, "coarse": False, "derived": False, "size": 0,
        "changed_bytes": 0}


def test_points():
    with attached() as (fake, _):
        fake.write("points.0", "1 0 -\n2 7 the second\n")
        reply = fake.ctl("points", "--json", "0").expect(0).json
        assert reply == {**WHICH, "points": [
            {"id": ID, "kind": "reference", "sequence": 1,
             "time": "2023-11-14T22:13:20.123456790Z", "label": None, "gap": None, **REST},
            {"id": SECOND, "kind": "reference", "sequence": 2,
             "time": "2023-11-14T22:13:20.123456791Z", "label": "the second",
             "gap": "unclean", **REST}]}
        lines = fake.ctl("points", "0").expect(0).lines
        assert lines[0].split() == ["ID", "KIND", "TIME", "GAP", "LABEL"]
        assert lines[2].split()[0] == SECOND and "unclean" in lines[2]


def test_no_points():
    with attached() as (fake, _):
        assert fake.ctl("points", "--json", "0").expect(0).json == {**WHICH, "points": []}


def test_forget():
    with attached() as (fake, _):
        assert not fake.ctl("forget", "0", ID).expect(0).out
        assert fake.calls == ["FORGET sequence=1"]
        assert fake.ctl("forget", "--json", "0", ID).expect(0).json == {"id": ID}


def test_track():
    with attached() as (fake, _):
        fake.write("state.0", "2 1 5 16384 0")
        reply = fake.ctl("track", "status", "--json", "0").expect(0).json
        assert reply == {"enabled": False, "state": "disabled", "newer_changes": None,
                         "most_recent_id": None, "reason": "disabled", "gap_time": None, "unit": 16384,
                         "points": 0, "strict": False, "tracking_errors": "continue",
                         "former_sidecar": None}
        assert "Newer changes:   unknown" in fake.ctl("track", "status", "0").lines
        for state, text, value in (("1 0 0", "no", False), ("1 1 0", "yes", True),
                                   ("1 1 7", "unknown", None), ("0 1 4", "unknown", None)):
            fake.write("state.0", f"{state} 16384 0")
            assert f"Newer changes:   {text}" in fake.ctl("track", "status", "0").lines, state
            assert fake.ctl("track", "status", "--json", "0").json["newer_changes"] is value
        fake.write("state.0", "2 1 5 16384 0")
        assert fake.ctl("track", "enable", "0").expect(0).out == ID + "\n"
        reply = fake.ctl("track", "reset", "--json", "0").expect(0).json
        assert reply == {"first_point": SECOND}
        assert not fake.ctl("track", "disable", "0").expect(0).out
        fake.attribute(0, "strict", "1")
        fake.attribute(0, "tracking_errors", "fail")
        reply = fake.ctl("track", "status", "--json", "0").expect(0).json
        assert (reply["strict"], reply["tracking_errors"]) == (True, "fail")
        lines = fake.ctl("track", "status", "0").lines
        assert {"Strict:          yes", "Tracking errors: fail"} <= set(lines), lines


def test_differencing():
    """Attached, a differencing disk is one still."""
    with attached() as (fake, _):
        fake.write("layers.0", "2")
        assert fake.ctl("info", "--json", "0").expect(0).json["type"] == "differencing"
        assert "differencing" in fake.ctl("info", "0").expect(0).out


def test_changes():
    with attached() as (fake, _):
        fake.write("ranges.0", "0 16384\n1048576 32768\n")
        reply = fake.ctl("changes", "0", "--since", ID, "--json").expect(0).json
        assert reply == {
            **WHICH, "changed_bytes": 49152, "limit": ID, "target": None, "offset": 0, "length": GIB, "processed": GIB,
            "size": GIB, "unit": 16384, "coarse": False, "derived": False,
            "ranges": [{"offset": 0, "length": 16384}, {"offset": 1048576, "length": 32768}]}
        reply = fake.ctl("changes", "0", "--since", ID, "--target", SECOND, "--offset", "8K",
                         "--length", "16K", "--json").expect(0).json
        assert (reply["target"], reply["offset"], reply["length"]) == (SECOND, 8192, 16384)
        assert reply["ranges"] == [{"offset": 8192, "length": 8192}]


def test_changes_summary():
    """Sums, without a range having been asked for."""
    with attached() as (fake, _):
        fake.write("ranges.0", "0 16384\n1048576 32768\n")
        fake.write("step.0", str(1 << 29))
        reply = fake.ctl("changes", "0", "--since", ID, "--summary", "--json").expect(0).json
        assert reply == {
            **WHICH, "changed_bytes": 49152, "limit": ID, "target": None, "offset": 0,
            "length": GIB, "processed": GIB, "size": GIB, "unit": 16384, "coarse": False, "derived": False}
        assert fake.calls == [f"CHANGES offset={offset} length={GIB - offset} capacity=0"
                              for offset in (0, 1 << 29)]
        lines = fake.ctl("changes", "0", "--since", ID, "--summary").expect(0).lines
        assert lines[0].split() == ["Changed:", "49152"]


def test_changes_table():
    with attached() as (fake, _):
        fake.write("ranges.0", "0 16384\n1048576 32768\n")
        lines = fake.ctl("changes", "0", "--since", ID).expect(0).lines
        assert [line.split() for line in lines] == [
            ["OFFSET", "LENGTH"], ["0", "16384"], ["1048576", "32768"]]
        lines = fake.ctl("changes", "0", "--since", ID, "--noheadings", "--output",
                         "length").expect(0).lines
        assert [line.strip() for line in lines] == ["16384", "32768"]


def test_changes_asks_until_the_end():
    """However the driver cuts its answers, what is told is whole and joined."""
    with attached() as (fake, _):
        fake.write("ranges.0", "100000 1000000\n3000000 10\n9999999 7000000\n")
        fake.write("step.0", "65536")
        reply = fake.ctl("changes", "0", "--since", ID, "--json").expect(0).json
        assert [(r["offset"], r["length"]) for r in reply["ranges"]] == [
            (100000, 1000000), (3000000, 10), (9999999, 7000000)]
        assert reply["processed"] == GIB
        assert len(fake.calls) == GIB // 65536


def test_changes_more_than_a_call_holds():
    with attached() as (fake, _):
        fake.write("ranges.0", "".join(f"{i * 32768} 16384\n" for i in range(10000)))
        reply = fake.ctl("changes", "0", "--since", ID, "--json").expect(0).json
        assert len(reply["ranges"]) == 10000 and len(fake.calls) == 3


def test_changes_without_progress():
    with attached() as (fake, _):
        fake.write("step.0", "0")
        fake.ctl("changes", "0", "--since", ID).expect(1, "no progress")


def test_changes_coarse():
    with attached() as (fake, _):
        fake.write("state.0", "1 0 0 16384 1")
        result = fake.ctl("changes", "0", "--since", ID, "--json").expect(0)
        assert result.json["coarse"] and "after a crash" in result.err


def test_map():
    with attached() as (fake, _):
        fake.write("ranges.0", "0 1\n536870912 536870912\n")
        marks = fake.ctl("changes", "0", "--since", ID, "--map").expect(0).lines
        picture = "".join(line.split()[1] for line in marks[:16])
        assert len(picture) == 1024
        assert picture == "░" + "·" * 511 + "█" * 512, picture
        ascii_map = ctl("changes", "0", "--since", ID, "--map",
                        env={**fake.env, "LC_ALL": "C"}).lines
        assert ascii_map[0].split()[1].startswith("-..")


def test_detach():
    with attached() as (fake, image):
        assert fake.ctl("detach", "--json", image).expect(0).json == {
            "disk": 0, "device": "/dev/vhdx0"}
    with attached() as (fake, image):
        assert fake.ctl("detach", "--all", "--json").expect(0).json == {
            "list": [{"disk": 0, "device": "/dev/vhdx0"}]}
        assert fake.ctl("detach", "--all", "--json").expect(0).json == {"list": []}


def test_verify():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        ctl("track", "verify", image).expect(1, "disk.vhdx.lrct")
        make_sidecar(image, "seal a\n")
        done = ctl("track", "verify", image).expect(0)
        assert (done.err, done.lines) == ("", [f"{image}: the sidecar is sound, points: 1"])


def run_into(where, fake, *arguments):
    """vhdxctl with its standard output there; None: closed."""
    target = "1>&-" if where is None else f">{where}"
    done = subprocess.run(["sh", "-c", f'exec "$@" {target}', "sh", BUILD / "vhdxctl",
                           *map(str, arguments)], stderr=subprocess.PIPE, text=True,
                          env={**os.environ, **fake.env}, check=False)
    return done.returncode, done.stderr


def test_full_disk():
    with attached() as (fake, _):
        code, said = run_into("/dev/full", fake, "list")
        assert code == 1 and "cannot write the output" in said


def test_nobody_listens_to_a_tracked_disk():
    """A sidecar that was made for it goes with it; one that was there before stays."""
    with attached() as (fake, image):
        new, elsewhere = make_image(fake.root / "b.vhdx"), image.parent / "elsewhere"
        for options, sidecar in (([], fake.root / "b.vhdx.lrct"),
                                 (["--sidecar", elsewhere], elsewhere)):
            for there in (False, True):
                if there:
                    sidecar.touch()
                code, said = run_into("/dev/full", fake, "attach", "--track", *options, new)
                assert code == 1 and "/dev/vhdx1 is detached again" in said, said
                assert sidecar.exists() == there, (sidecar, there)
            sidecar.unlink()


def test_nobody_listens():
    """What has no name that arrived is not left behind."""
    for where in ("/dev/full", None):
        for option in ((), ("--json",)):
            with attached() as (fake, image):
                before = image.read_bytes()
                code, said = run_into(where, fake, "attach", *option,
                                      make_image(fake.root / "b.vhdx"))
                assert code == 1 and "/dev/vhdx1 is detached again" in said, said
                assert said.count("cannot write the output") == 1, said
                assert [call.split()[0] for call in fake.calls] == ["ATTACH", "DETACH"]
                code, said = run_into(where, fake, "seal", *option, image)
                assert code == 1 and f"{ID} is forgotten again" in said, said
                assert [call.split()[0] for call in fake.calls] == ["SEAL", "FORGET"]
                fake.fail("FORGET", errno.EIO, "io")
                code, said = run_into(where, fake, "seal", *option, image)
                assert code == 1 and f"{SECOND} stays: /dev/vhdx0: " in said, said
                for word in ("enable", "reset"):
                    fake.write("state.0", "0 1 0 0 0" if word == "enable" else "1 0 0 16384 0")
                    (fake.root / "points.0").unlink(missing_ok=True)
                    code, said = run_into(where, fake, "track", word, *option, image)
                    assert code == 1 and f"begins with {ID}" in said, said
                assert image.read_bytes() == before
