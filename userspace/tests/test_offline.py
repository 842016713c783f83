# SPDX-License-Identifier: GPL-2.0-only
"""A file that is not attached answers like the driver, and is not written."""
import ctypes
import errno
import hashlib
import os
import random
import subprocess
import sys

from common import (TREE, PointId, ctl, directory, load_library, make_image, make_sidecar, need,
                    need_root)

GIB = 1 << 30
UNIT = 16384
FOREIGN = "rct:01010101-0101-0101-0101-010101010101:0000000000000001"
SNAPSHOT = "{01010101-0101-0101-0101-010101010101}"


def ranges(image, since, *options):
    reply = ctl("changes", image, "--since", since, "--json", *options).expect(0).json
    return [(r["offset"], r["length"]) for r in reply["ranges"]]


def test_no_sidecar():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        ctl("changes", image, "--since", FOREIGN).expect(
            3, "not enabled", "`vhdxctl attach --track FILE`", "full backup")
        points = ctl("points", image, "--json").expect(0).json
        assert points["points"] == [] and points["disk_seq"] is None
        state = ctl("track", "status", image, "--json").expect(0).json
        assert not state["enabled"] and state["most_recent_id"] is None
        assert state["newer_changes"] is None
        assert state["strict"] is None and state["tracking_errors"] is None


def test_empty_sidecar():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        (path / "disk.vhdx.lrct").touch()
        ctl("changes", image, "--since", FOREIGN).expect(
            3, "not enabled", "`vhdxctl attach --track FILE`")
        ctl("track", "verify", image).expect(1, "never enabled")


def test_verify_what_is_not_its_own():
    """A file that is no VHDX has no sidecar to look for; a sidecar may be another disk's."""
    with directory() as path:
        text = path / "text"
        text.write_text("no VHDX")
        done = ctl("track", "verify", text).expect(1, f"{text}: not a VHDX: ")
        assert "lrct" not in done.err, done.err
        image, other = make_image(path / "disk.vhdx"), make_image(path / "other.vhdx")
        for one in (image, other):
            make_sidecar(one, "seal a\n")
        for one in (image, other):
            done = ctl("track", "verify", "--sidecar", f"{image}.lrct", one).expect(0)
            assert done.lines == [f"{image}.lrct: the sidecar is sound, points: 1"], done.out
            assert done.err == ("" if one == image else f"vhdxctl: warning: {image}.lrct: it is "
                                f"the sidecar of another disk, not of {other}\n"), done.err


def test_points_and_changes():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        a, b, c = make_sidecar(image, "seal a\nmark 5 1\nmark 1000000 70000\nseal b b\n"
                                      "mark 5000000 1\nseal c\nmark 16384 16384\n")
        points = ctl("points", image, "--json").expect(0).json["points"]
        assert [p["id"] for p in points] == [a, b, c]
        assert [p["label"] for p in points] == ["a", "b b", "c"]
        assert ranges(image, a, "--target", b) == [(0, UNIT), (61 * UNIT, 5 * UNIT)]
        assert ranges(image, b, "--target", c) == [(305 * UNIT, UNIT)]
        assert ranges(image, a, "--target", a) == []
        assert ranges(image, c) == [(UNIT, UNIT)]
        assert ranges(image, a) == [(0, 2 * UNIT), (61 * UNIT, 5 * UNIT), (305 * UNIT, UNIT)]
        assert ranges(image, a, "--offset", "100", "--length", "1000") == [(100, 1000)]
        state = ctl("track", "status", image, "--json").json
        assert state["enabled"] and state["newer_changes"] and state["most_recent_id"] == c
        assert state["unit"] == UNIT and state["points"] == 3


class Query(ctypes.Structure):
    """struct vhdx_get_virtual_disk_changes"""

    _fields_ = [("size", ctypes.c_uint32), ("flags", ctypes.c_uint32), ("limit", PointId),
                ("target", PointId), ("offset", ctypes.c_uint64), ("length", ctypes.c_uint64),
                ("later", ctypes.c_uint64 * 2), ("output", ctypes.c_uint64),
                ("output_capacity", ctypes.c_uint32), ("output_count", ctypes.c_uint32),
                ("range_size", ctypes.c_uint32), ("time_limit_ms", ctypes.c_uint32),
                ("processed", ctypes.c_uint64), ("changed_bytes", ctypes.c_uint64),
                ("others", ctypes.c_uint64 * 10)]


def test_time_limit():
    """A call that has no time processes something all the same; the rest follows."""
    with directory() as path:
        size = 1024 * GIB
        image = make_image(path / "disk.vhdx", "1T")
        point, = make_sidecar(image, f"seal a\nmark 0 {size}\n", unit=4096)
        library, disk = load_library(), ctypes.c_void_p()
        assert not library.vhdx_disk_open(str(image).encode(), None, 0, ctypes.byref(disk))
        for limit, whole in ((1, False), (600000, True)):
            query = Query(size=ctypes.sizeof(Query), flags=2, time_limit_ms=limit)
            assert not library.vhdx_id_parse(point.encode(), ctypes.byref(query.limit))
            changed = calls = 0
            while query.offset < size:
                query.length = size - query.offset
                assert not library.vhdx_disk_get_changes_once(disk, ctypes.byref(query))
                assert query.processed > 0
                query.offset += query.processed
                changed += query.changed_bytes
                calls += 1
            assert changed == size and (calls == 1) == whole, (changed, calls)
        library.vhdx_disk_close(disk)


def test_errors_like_the_driver():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        a, b = make_sidecar(image, "seal a\nseal b\n")
        ctl("changes", image, "--since", FOREIGN).expect(3, "does not know the point")
        ctl("changes", image, "--since", SNAPSHOT).expect(3, "does not know the point")
        ctl("changes", image, "--since", a, "--target", FOREIGN).expect(3, "does not know")
        ctl("changes", image, "--since", b, "--target", a).expect(1, "older point")
        ctl("changes", image, "--since", a, "--offset", GIB + 1).expect(
            1, "has only")
        ctl("changes", image, "--since", a, "--length", GIB + 1).expect(
            1, "has only")
        ctl("changes", image, "--since", a, "--offset", 1, "--length", GIB).expect(1)
        reply = ctl("changes", image, "--since", a, "--offset", GIB, "--json").expect(0).json
        assert reply["processed"] == 0 and reply["ranges"] == []


def test_gaps():
    """The newest gap's cause is the reason; what lies beside it can be told."""
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        a, b, c, d = make_sidecar(image, "seal a\ngap 6\nseal b\nmark 0 1\nseal c\ngap 8\n"
                                         "seal d\nmark 0 1\n")
        ctl("changes", image, "--since", a).expect(3, "could not be written")
        ctl("changes", image, "--since", a, "--target", b).expect(3, "was reset")
        ctl("changes", image, "--since", c).expect(3, "could not be written")
        assert ranges(image, b, "--target", c) == [(0, UNIT)]
        assert ranges(image, d) == [(0, UNIT)]
        points = ctl("points", image, "--json").json["points"]
        assert [p["gap"] for p in points] == [None, "reset", None, "tracking_error"]


def test_not_detached():
    """What was saved, and all of the regions that were set: more than was written, not less."""
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        a, b = make_sidecar(image, "seal a\nmark 0 1\nseal b\nmark 20971520 1\nmark 8388608 1\n"
                                   "region 2\nregion 4\n")
        region = 4 << 20
        assert ranges(image, b) == [(2 * region, region), (4 * region, region + UNIT)]
        assert ranges(image, a, "--target", b) == [(0, UNIT)]
        assert ctl("changes", image, "--since", b, "--json").json["coarse"]
        assert not ctl("changes", image, "--since", a, "--target", b, "--json").json["coarse"]
        state = ctl("track", "status", image, "--json").json
        assert state["enabled"] and state["newer_changes"] and not state["reason"]
        # A sector that says nothing: anything may have been written.
        with open(f"{image}.lrct", "r+b") as file:
            file.seek(4 * 4096 + 100)
            file.write(b"?")
        assert ranges(image, b) == [(0, GIB)]


def test_regions_say_what_was_saved():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        a, = make_sidecar(image, f"seal a\nmark 0 {4 << 20}\nregion 0\n")
        assert not ctl("changes", image, "--since", a, "--json").json["coarse"]


def test_newest_header_is_lost():
    """The older one is left, but a region was set or cleared under the newest one."""
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        a, = make_sidecar(image, "seal a\nmark 0 1\nregion 1\n")
        sidecar = path / "disk.vhdx.lrct"
        data = bytearray(sidecar.read_bytes())
        slots = [int.from_bytes(data[at + 24:at + 32], "little") for at in (0, 4096)]
        data[slots.index(max(slots)) * 4096 + 200] ^= 1
        sidecar.write_bytes(data)
        ctl("changes", image, "--since", a).expect(3, "newest header is lost", "track reset")


def test_disabled():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        a, = make_sidecar(image, "seal a\ngap 5\nstate 2\n")
        ctl("changes", image, "--since", a).expect(3, "not enabled")
        state = ctl("track", "status", image, "--json").json
        assert state["state"] == "disabled" and not state["enabled"]


def test_coarse():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        a, b = make_sidecar(image, "seal a\ncoarse\nmark 0 4194304\nseal b\nmark 0 1\n")
        assert ctl("changes", image, "--since", a, "--json").json["coarse"]
        assert not ctl("changes", image, "--since", b, "--json").json["coarse"]


def test_written_by_qemu():
    need("qemu-io")
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        a, b = make_sidecar(image, "seal a\nmark 0 1\nseal b\n")
        assert ranges(image, a) == [(0, UNIT)]
        subprocess.run(["qemu-io", "-f", "vhdx", "-c", "write 1M 4k", image], check=True,
                       stdout=subprocess.DEVNULL)
        ctl("changes", image, "--since", b).expect(3, "written without this sidecar")
        assert ranges(image, a, "--target", b) == [(0, UNIT)]
        assert ctl("track", "status", image, "--json").json["reason"] == "changed_offline"


def test_sidecar_of_another_disk():
    with directory() as path:
        one = make_image(path / "one.vhdx")
        two = make_image(path / "two.vhdx")
        a, = make_sidecar(one, "seal a\n", sidecar=f"{two}.lrct")
        ctl("changes", two, "--since", a).expect(3, "of disk")
        assert ctl("track", "status", two, "--json").json["reason"] == "changed_offline"
        ctl("info", two).expect(0)


def test_damaged_sidecar():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        a, = make_sidecar(image, "seal a\nmark 0 1\n")
        sidecar = path / "disk.vhdx.lrct"
        sound = sidecar.read_bytes()
        for damage in (b"garbage" * 10000, sound[:4096], bytes(len(sound))):
            sidecar.write_bytes(damage)
            ctl("changes", image, "--since", a).expect(3, "sidecar")
            ctl("track", "verify", image).expect(1, "disk.vhdx.lrct: sidecar")
            assert ctl("track", "status", image, "--json").json["reason"] == "inconsistent"
            ctl("info", image).expect(0)
        sidecar.write_bytes(sound)
        assert ranges(image, a) == [(0, UNIT)]


def test_damaged_leaf():
    """Every bit of every block that is in use: found by verify, never a wrong answer."""
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        a, = make_sidecar(image, "seal a\nmark 0 1\nmark 100000000 5\nmark 900000000 5\n")
        right = ranges(image, a)
        sidecar = path / "disk.vhdx.lrct"
        sound = sidecar.read_bytes()
        assert ctl("track", "verify", image, "--json").expect(0).json == {"points": 1}
        found = 0
        for block in range(2, len(sound) // 4096):
            damaged = bytearray(sound)
            damaged[block * 4096 + 7] ^= 0x10
            sidecar.write_bytes(damaged)
            verdict = ctl("track", "verify", image)
            answer = ctl("changes", image, "--since", a, "--json")
            # The only sector of the coarse area: anything may have been written.
            coarse = block == 4
            if verdict.code:
                verdict.expect(1, "disk.vhdx.lrct: ")
                found += 1
            if verdict.code and not coarse:
                answer.expect_error(3, errno.ESTALE, "inconsistent", "sidecar")
            else:
                told = [(r["offset"], r["length"]) for r in answer.json["ranges"]]
                assert (told, answer.json["coarse"]) == ([(0, GIB)] if coarse else right, coarse)
        assert found >= 3, found


def test_unreadable_sidecar():
    """What is asked of the container alone is answered, with a warning."""
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        sidecar = path / "disk.vhdx.lrct"
        other = path / "elsewhere"
        for kind, make, text in (
                ("directory", sidecar.mkdir, "neither a regular file nor a block device"),
                ("pipe", lambda: os.mkfifo(sidecar), "neither a regular file nor a block device"),
                ("loop", lambda: sidecar.symlink_to(sidecar), "Too many levels of symbolic links"),
                ("nothing", lambda: sidecar.symlink_to(other), "which is not there"),
                ("link", other.touch, "a symbolic link is not followed here")):
            if kind != "link":
                make()
            else:
                sidecar.symlink_to(other)
                make()
            words = [f"{sidecar}: ", text]
            facts = ctl("info", "--json", image).expect(0, "warning: ", *words).json
            assert facts["size"] == GIB and facts["container"] == str(image), kind
            assert [facts[key] for key in ("tracking", "reason", "points", "sidecar")] == [None] * 4
            assert "unknown" in ctl("info", image).expect(0, *words).out
            for command in (["points"], ["track", "status"], ["track", "verify"],
                            ["changes", "--since", FOREIGN]):
                ctl(*command, image).expect(1, *words)
            if kind == "directory":
                sidecar.rmdir()
            else:
                sidecar.unlink()
        ctl("info", "--sidecar", path / "gone", image).expect(0, f"warning: {path / 'gone'}: No such")


def test_why_there_are_no_points():
    """Nothing is printed in silence: what was looked for is said."""
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        sidecar = path / "disk.vhdx.lrct"
        found = ctl("points", image).expect(0, f"{image}: change tracking is not enabled",
                                            f"there is no {sidecar}")
        assert not found.out.strip() or found.lines[0].startswith("ID"), found.out
        sidecar.touch()
        ctl("points", image, "--json").expect(0, f"{sidecar} is empty")
        a, = make_sidecar(image, "seal a\n")
        assert not ctl("points", image).expect(0).err
        image.rename(path / "moved.vhdx")
        ctl("points", path / "moved.vhdx").expect(
            0, f"there is no {path / 'moved.vhdx.lrct'}", "disk.vhdx.lrct beside it belongs", "--sidecar")
        assert a in ctl("points", path / "moved.vhdx", "--sidecar", sidecar).expect(0).out
        sidecar.write_bytes(b"garbage" * 1000)
        # There may have been some.
        lost = ctl("points", path / "moved.vhdx", "--sidecar", sidecar).expect(3, f"{sidecar}: ")
        assert not lost.out, lost.out
        ctl("points", path / "moved.vhdx", "--sidecar", sidecar, "--json").expect_error(
            3, errno.ESTALE, "inconsistent", "sidecar")
        shown = ctl("info", path / "moved.vhdx", "--sidecar", sidecar)
        assert "Points:                unknown" in shown.expect(0).lines, shown.out
        shown = ctl("track", "status", path / "moved.vhdx", "--sidecar", sidecar, "--json")
        assert shown.expect(0).json["points"] is None, shown.out


def test_not_written():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        a, = make_sidecar(image, "seal a\nmark 0 1\nregion 3\n")
        files = [image, path / "disk.vhdx.lrct"]

        def state():
            return [(hashlib.sha256(f.read_bytes()).hexdigest(), os.stat(f).st_mtime_ns)
                    for f in files]
        before = state()
        for command in (["info"], ["points"], ["track", "status"], ["track", "verify"]):
            ctl(*command, image).expect(0)
        ctl("changes", image, "--since", a).expect(0)
        assert state() == before and sorted(os.listdir(path)) == ["disk.vhdx", "disk.vhdx.lrct"]


def test_read_permission_is_enough():
    need_root()
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        a, = make_sidecar(image, "seal a\nmark 0 1\n")
        os.chmod(path, 0o755)
        for name in (image, path / "disk.vhdx.lrct"):
            os.chmod(name, 0o444)
        ctl("changes", image, "--since", a, user=65534, cwd="/").expect(0)


def test_dirty_log():
    """A disk that is not clean is read through its log, in memory."""
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        a, = make_sidecar(image, "seal a\nmark 0 1\n")
        subprocess.run([sys.executable, "-m", "vhdxoracle", "dirty", image, "--write",
                        "1048576:65536:7"], check=True, cwd=TREE / "selftests/oracle")
        before = image.read_bytes()
        reply = ctl("info", image, "--json").expect(0).json
        assert reply["log_replayed"] and reply["size"] == GIB
        assert "Log:                   not empty: replayed in memory only" in ctl("info", image).lines
        # Who left it behind wrote the disk without this sidecar.
        ctl("changes", image, "--since", a).expect(3, "written without this sidecar")
        assert image.read_bytes() == before


def test_damaged_container():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        sound = image.read_bytes()
        cases = {
            "signature": (0, b"XHDXFILE", "not a VHDX"),
            "headers": (65536, bytes(131072), ""),
            "regions": (196608, bytes(131072), ""),
        }
        for name, (offset, damage, text) in cases.items():
            image.write_bytes(sound[:offset] + damage + sound[offset + len(damage):])
            ctl("info", image).expect(1, f"vhdxctl: {image}: ", text)
            assert "0x" in ctl("info", image).err or text, name


def test_random_against_a_model():
    """Any pair of points, any piece: what was marked between them, in whole units."""
    rng = random.Random(20)
    size, unit = 64 << 20, 4096
    with directory() as path:
        image = make_image(path / "disk.vhdx", size)
        script, deltas = [], []
        for point in range(4):
            delta = set()
            for _ in range(rng.randrange(1, 30) if point else 0):
                offset = rng.randrange(size)
                length = min(rng.choice([1, 512, 4096, 100000]), size - offset)
                script.append(f"mark {offset} {length}")
                delta.update(range(offset // unit, (offset + length - 1) // unit + 1))
            deltas.append(delta)
            script.append(f"seal {point}")
        ids = make_sidecar(image, "\n".join(script) + "\n", unit)
        for _ in range(60):
            first, last = sorted(rng.sample(range(4), 2))
            offset = rng.randrange(size)
            length = rng.randrange(size - offset) + 1
            answer = ranges(image, ids[first], "--target", ids[last], "--offset", offset,
                            "--length", length)
            units = set().union(*deltas[first + 1:last + 1])
            assert answer == expected(units, unit, offset, offset + length)


def expected(units, unit, start, end):
    """The ranges of these units, joined and clipped."""
    found = []
    for number in sorted(units):
        begin, behind = max(number * unit, start), min((number + 1) * unit, end)
        if begin >= behind:
            continue
        if found and sum(found[-1]) == begin:
            found[-1] = (found[-1][0], behind - found[-1][0])
        else:
            found.append((begin, behind - begin))
    return found
