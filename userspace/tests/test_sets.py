# SPDX-License-Identifier: GPL-2.0-only
"""VHD Sets: what they name, what their disks were made of, and what is refused."""
import ctypes
import errno
import os
import random
import subprocess

import sets
from common import (Changes, Fake, JobInfo, PointId, REASONS, ctl, directory, ktap,
                    load_library, make_sidecar, need)
from test_method import Call, refused
from vhdxoracle import crc32c, vhd_set

library = load_library()
libc = ctypes.CDLL(None)
libc.free.argtypes = [ctypes.c_void_p]
library.vhdx_set_find_active.argtypes = [ctypes.c_char_p, ctypes.c_void_p]

MIB = 1 << 20
EXAMPLE = "rsvd_9ac15b72-2a6d-44b2-ba7c-f5f06831c74a.avhdx"


def active_of(path):
    """(what the library returns, the path)"""
    active = ctypes.c_char_p()
    found = library.vhdx_set_find_active(str(path).encode(), ctypes.byref(active))
    text = active.value
    libc.free(ctypes.cast(active, ctypes.c_void_p))
    assert (found == 1) == (text is not None)
    return found, text and text.decode()


def message():
    return library.vhdx_error_message().decode()


class Snapshot(ctypes.Structure):
    """struct vhdx_set_snapshot"""
    _fields_ = [("size", ctypes.c_size_t), ("path", ctypes.c_char_p), ("id", PointId),
                ("parent", PointId), ("time_ns", ctypes.c_uint64)]


CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(Snapshot))
library.vhdx_set_list_snapshots.argtypes = [ctypes.c_char_p, ctypes.c_size_t, CALLBACK,
                                            ctypes.c_void_p]


def text_of(point):
    text = ctypes.create_string_buffer(64)
    library.vhdx_id_format(ctypes.byref(point), text)
    return text.value.decode()


def snapshots_of(path, result=0):
    """[(path, id, parent, time)]; result: what each call of the callback returns."""
    found = []

    def take(_, snapshot):
        one = snapshot.contents
        assert one.size == ctypes.sizeof(Snapshot)
        parent = None if library.vhdx_id_is_none(ctypes.byref(one.parent)) else text_of(one.parent)
        found.append((one.path.decode(), text_of(one.id), parent, one.time_ns))
        return result
    err = library.vhdx_set_list_snapshots(str(path).encode(), ctypes.sizeof(Snapshot),
                                          CALLBACK(take), None)
    assert err == result, (err, message())
    return found


def guid_of(path):
    return "{" + ctl("info", "--json", path).json["data_write_guid"] + "}"


# ---- what it names ---------------------------------------------------------------------------

def test_example():
    """Microsoft's own; a file of the name that it has is made here."""
    with directory() as path:
        vhds = path / "rsvd.vhds"
        vhds.write_bytes(sets.example())
        assert active_of(vhds)[0] == -errno.ENOENT and EXAMPLE in message()
        ctl("info", vhds).expect(1, EXAMPLE, "No such file")
        ctl("create", "--size", "16M", path / EXAMPLE).expect(0)
        assert active_of(vhds) == (1, f"{path}/{EXAMPLE}")
        assert ctl("info", "--json", vhds).json["size"] == 16 * MIB


def test_the_writer_writes_what_the_example_has():
    ours = vhd_set.content(EXAMPLE)
    theirs = bytearray(sets.example())
    # The creator alone is another one.
    assert ours[0x10000:] == theirs[0x10000:]


def test_names():
    """Any that a file has on both systems."""
    with directory() as path:
        for name in ("a.avhdx", "ä \U0001f600 b.avhdx", "..a", "x" * 100):
            (path / name).touch()
            assert active_of(vhd_set.write(path / "a.vhds", name)) == (1, f"{path}/{name}")


def test_the_newer_header_counts():
    with directory() as path:
        for name in ("old.avhdx", "new.avhdx"):
            (path / name).touch()
        vhds = path / "a.vhds"
        for at, sequences in ((1, (4, 5)), (0, (6, 5)), (0, (7, 7))):
            data = vhd_set.content("new.avhdx", headers=sequences)
            data[0x40800:0x40812] = "old.avhdx".encode("utf-16-le")
            other = vhd_set.HEADERS[1 - at]
            data[other:other + 4096] = vhd_set.header(sequences[1 - at], at=0x40800, length=18)
            vhds.write_bytes(data)
            assert active_of(vhds) == (1, f"{path}/new.avhdx"), sequences
            # If that one is damaged, the other one does.
            data[vhd_set.HEADERS[at] + 100] ^= 1
            vhds.write_bytes(data)
            assert active_of(vhds) == (1, f"{path}/old.avhdx"), sequences


def test_no_set():
    """Whatever is no set is what it was; a pipe is not waited for."""
    with directory() as path:
        base, *_ = sets.make_chain(path)
        os.mkfifo(path / "pipe")
        for name in (base, path / "pipe", path, "/dev/null", path / "nothing"):
            assert active_of(name) == (0, None), name
        assert library.vhdx_set_list_snapshots(str(base).encode(), ctypes.sizeof(Snapshot),
                                               CALLBACK(lambda *_: 0), None) == -errno.EMEDIUMTYPE
        assert active_of(os.devnull)[0] == 0
        assert library.vhdx_set_find_active(None, ctypes.byref(ctypes.c_char_p())) == \
            -errno.EINVAL


# ---- what is refused -------------------------------------------------------------------------

def test_unknown_version():
    with directory() as path:
        (path / "a.avhdx").touch()
        for version in (0, 2, 0xffffffff):
            vhds = vhd_set.write(path / "a.vhds", "a.avhdx", version=version)
            assert active_of(vhds)[0] == -errno.EOPNOTSUPP, version
            assert f"version {version}" in message() and "name the .avhdx" in message()
            refused(32770, path=vhds, limit=b"{01010101-0101-0101-0101-010101010101}",
                    reason="unsupported")
        # The newer one decides, although the older one would do.
        data = vhd_set.content("a.avhdx", headers=(0, vhd_set.header(1, version=2, length=14)))
        (path / "a.vhds").write_bytes(data)
        assert active_of(path / "a.vhds")[0] == -errno.EOPNOTSUPP


def test_names_that_lead_elsewhere():
    with directory() as path:
        beside, inside = path / "beside.avhdx", path / "directory"
        inside.mkdir()
        ctl("create", "--size", "16M", beside).expect(0)
        (inside / "link").symlink_to("../beside.avhdx")
        (inside / "below").mkdir()
        ctl("create", "--size", "16M", inside / "below/a.avhdx").expect(0)
        vhds = inside / "a.vhds"
        for name in ("../beside.avhdx", str(beside), "below/a.avhdx", "..\\beside.avhdx", "C:a",
                     ".", "..", "a\0b", "a\nb", b"\x00\xd8", b"\x00\xdc" * 2, b"a"):
            assert active_of(vhd_set.write(vhds, name))[0] == -errno.EUCLEAN, (name, message())
            ctl("info", vhds).expect(1, str(vhds))
        for name, number in (("link", errno.EMEDIUMTYPE), ("below", errno.EMEDIUMTYPE),
                             ("gone", errno.ENOENT), ("x" * 255, errno.ENOENT),
                             ("\U0001f600" * 100, errno.ENAMETOOLONG)):
            assert active_of(vhd_set.write(vhds, name))[0] == -number, (name, message())
        os.mkfifo(inside / "pipe")
        assert active_of(vhd_set.write(vhds, "pipe"))[0] == -errno.EMEDIUMTYPE
        # The set itself is a regular file, but no disk.
        ctl("info", vhd_set.write(vhds, "a.vhds")).expect(1, "VHD Set")
        link = path / "link.vhds"
        link.symlink_to(vhd_set.write(vhds, "gone"))
        assert active_of(link)[0] == -errno.ENOENT


def test_damaged():
    with directory() as path:
        (path / "a.avhdx").touch()
        vhds = path / "a.vhds"
        sound = vhd_set.content("a.avhdx")
        for length in (8, 9, 0x10000, 0x10fff, 0x11000, 0x20000, 0x21000, 0x40000, 0x4000d):
            vhds.write_bytes(sound[:length])
            assert active_of(vhds)[0] == -errno.EUCLEAN, (hex(length), message())
        vhds.write_bytes(sound[:0x4000e])
        assert active_of(vhds)[0] == 1
        for fields in ({"length": 0}, {"length": 512}, {"length": 0xffffffff},
                       {"at": 0xffffffff}, {"at": vhd_set.SIZE - 13}, {"signature": b"head"}):
            vhd_set.write(vhds, "a.avhdx", **fields)
            assert active_of(vhds)[0] == -errno.EUCLEAN, (fields, message())


def test_any_bytes():
    """None of them is anything but an answer or a message; fuzz/vhds has more of them."""
    rng = random.Random(ktap.SEED)
    with directory() as path:
        (path / "a.avhdx").touch()
        vhds = path / "a.vhds"
        for _ in range(500):
            data = vhd_set.content("a.avhdx")
            at = rng.choice((0, *vhd_set.HEADERS, vhd_set.NAME))
            for _ in range(rng.choice((1, 2, 8))):
                data[at + rng.randrange(48)] = rng.randrange(256)
            for offset in vhd_set.HEADERS:
                data[offset:offset + 4096] = crc32c.sealed(data[offset:offset + 4096], 0x14)
            vhds.write_bytes(data[:rng.choice((len(data), len(data), rng.randrange(len(data))))])
            found, _ = active_of(vhds)
            assert found >= 0 or message(), data[at:at + 48]


def test_left_behind():
    """A set that is older than its chain: what it names was frozen, and is not the disk."""
    with directory() as path:
        _, middle, leaf = sets.make_chain(path)
        vhds = vhd_set.write(path / "a.vhds", middle.name)
        fake = Fake(path)
        for command in (["info", vhds], ["points", vhds], ["attach", "--read-only", vhds],
                        ["attach", vhds], ["attach", "--force", vhds],
                        ["convert", vhds, path / "new.vhdx"]):
            fake.ctl(*command).expect(1, "leaf.avhdx beside it was made of it")
        assert not fake.calls
        refused(32776, path=vhds, limit=b"{01010101-0101-0101-0101-010101010101}")
        leaf.unlink()
        ctl("info", vhds).expect(0)


# ---- its disk --------------------------------------------------------------------------------

def test_snapshots():
    with directory() as path:
        base, middle, leaf = sets.make_chain(path)
        vhds = vhd_set.write(path / "a.vhds", leaf.name)
        os.utime(middle, ns=(5, 1234567890123456789))
        ids = guid_of(middle), guid_of(base)
        found = snapshots_of(vhds)
        assert [one[:3] for one in found] == [(str(middle), ids[0], ids[1]),
                                              (str(base), ids[1], None)], found
        assert found[0][3] == 1234567890123456789 and found[1][3] == base.stat().st_mtime_ns
        assert len(snapshots_of(vhds, result=7)) == 1
        alone = path / "alone.vhdx"
        ctl("create", "--size", "16M", alone).expect(0)
        assert not snapshots_of(vhd_set.write(path / "b.vhds", alone.name))


def test_commands():
    """They say which file it is."""
    with directory() as path:
        base, _, leaf = sets.make_chain(path)
        need("qemu-img")
        first, = make_sidecar(leaf, "seal a\nmark 0 1\n")
        vhds = vhd_set.write(path / "a.vhds", leaf.name)
        info = ctl("info", "--json", vhds).json
        assert (info["vhd_set"], info["container"]) == (str(vhds), str(leaf)), info
        assert [layer["container"] for layer in info["chain"]][-1] == str(base), info
        assert ctl("info", "--json", leaf).json["vhd_set"] is None
        text = ctl("info", vhds)
        assert any(line.split() == ["VHD", "Set:", str(vhds)] for line in text.lines), text.out
        assert first in [point["id"] for point in ctl("points", "--json", vhds).json["points"]]
        assert ctl("changes", "--since", first, vhds).out == \
            ctl("changes", "--since", first, leaf).out
        ctl("track", "verify", vhds).expect(0)
        for source, target in ((leaf, "d.vhdx"), (vhds, "e.vhdx")):
            ctl("convert", source, path / target).expect(0)
        subprocess.run(["qemu-img", "compare", "-q", path / "d.vhdx", path / "e.vhdx"], check=True)
        # What is about one file is not about a set.
        ctl("check", vhds).expect(8, "VHD Set", "name the .avhdx")
        ctl("create", "--parent", vhds, path / "c.avhdx").expect(1, "VHD Set", "name the .avhdx")


def test_attached():
    """Its file is what is attached, and the set is a name of that."""
    with directory() as path:
        _, _, leaf = sets.make_chain(path)
        vhds = vhd_set.write(path / "a.vhds", leaf.name)
        fake = Fake(path)
        fake.ctl("attach", vhds).expect(0)
        assert (fake.root / "sys/block/vhdx0/vhdx/container").read_text().strip() == str(leaf)
        assert [line.split()[-1] for line in fake.calls if line.startswith("PARENT")] == \
            [str(path / name) for name in ("middle.avhdx", "base.vhdx")]
        assert fake.ctl("info", "--json", vhds).json["device"] == "/dev/vhdx0"
        fake.ctl("detach", vhds).expect(0)
        assert fake.ctl("info", "--json", vhds).json["device"] is None


# ---- the method ------------------------------------------------------------------------------

def test_method():
    with directory() as path:
        base, middle, leaf = sets.make_chain(path)
        other = path / "other.avhdx"
        ctl("create", "--parent", base, other).expect(0)
        first, = make_sidecar(leaf, "seal a\nmark 0 1\n")
        vhds = vhd_set.write(path / "a.vhds", leaf.name)
        call = Call(vhds, first.encode(), length=16 * MIB)
        assert (call.code, call.pairs) == (0, [(0, 16384)]), call.message

        def bad(code, reason, *words, limit=first, target=None):
            refused(code, *words, path=vhds, limit=limit.encode(), length=MIB, reason=reason,
                    target=target and target.encode())
        bad(32773, "argument", "{GUID}", target=first)
        bad(32773, "argument", target="rctX:5bfde23b:ce75:4303:b54f:6c18394f105c:00000001")
        bad(32773, "id_malformed", target="nonsense")
        # Points of another branch, and any other: with what there is.
        there = f"{guid_of(middle)}, {guid_of(base)}"
        for wanted in (guid_of(other), "{01010101-0101-0101-0101-010101010101}",
                       guid_of(leaf)):
            bad(32775, "id_missing", wanted, there, target=wanted)
            bad(32775, "id_missing", wanted, there, limit=wanted)
        # Of a single file there is no chain to tell of.
        refused(32773, "VHD Set", path=leaf, limit=first.encode(), target=guid_of(middle).encode())


# ---- points of the chain: as far as the library tells of changes across its files -------------

def between(vhds, limit, target=None):
    """[(offset, length)] of a call and of a job; a skip where files have no points in common."""
    call = Call(vhds, limit.encode(), length=16 * MIB, target=target and target.encode())
    if call.code == 32775 and call.reason != REASONS["id_missing"]:
        ktap.skip("what changed across files of a chain is not told yet")
    assert not call.code, call.message
    pairs = call.pairs
    job = Call(vhds, limit.encode(), length=16 * MIB, target=target and target.encode(), job=True)
    assert job.result() == 0 and job.pairs == pairs, (job.message, job.pairs, pairs)
    return pairs


def has(pairs, *offsets):
    """All of these half KiB, and nothing that is far from them."""
    for offset in offsets:
        assert any(at <= offset and at + length >= offset + 512 for at, length in pairs), pairs
    for at, length in pairs:
        assert any(abs(at - offset) < MIB and length < MIB for offset in offsets), pairs


def test_target_snapshot():
    """The answer is about the snapshot's state, whatever came after it."""
    with directory() as path:
        (base, _), (middle, second), (leaf, third) = sets.make_written_chain(path)
        vhds = vhd_set.write(path / "a.vhds", leaf.name)
        has(between(vhds, guid_of(base)), second, third)
        has(between(vhds, guid_of(base), guid_of(middle)), second)
        has(between(vhds, guid_of(middle)), third)
        assert between(vhds, guid_of(middle), guid_of(middle)) == []
        refused(32773, path=vhds, limit=guid_of(middle).encode(), target=guid_of(base).encode())


def test_layer_that_failed():
    """A job says which file it was, and what its parent should be."""
    with directory() as path:
        (base, _), (middle, _), (leaf, _) = sets.make_written_chain(path)
        vhds = vhd_set.write(path / "a.vhds", leaf.name)
        limit = guid_of(base)
        between(vhds, limit)
        base.unlink()
        question = Changes(length=1 << 24)
        assert not library.vhdx_id_parse(limit.encode(), ctypes.byref(question.limit))
        job = ctypes.c_void_p()
        code = library.vhdx_job_start(str(leaf).encode(), ctypes.byref(question), None,
                                      ctypes.byref(job))
        assert code == 4096, (code, message())
        library.vhdx_job_wait(job, -1)
        info = JobInfo()
        assert not library.vhdx_job_get_info(job, ctypes.byref(info))
        library.vhdx_job_free(job)
        assert info.code == 32779, (info.code, info.description)
        assert info.child.decode() == str(middle), info.child
        assert info.parent.decode().endswith("base.vhdx"), info.parent
