# SPDX-License-Identifier: GPL-2.0-only
"""Chains of differencing disks: which files are opened as parents, and which never are."""
import ctypes
import errno
import lzma
import os
import pathlib
import re
import shlex
import shutil
import sys
from uuid import UUID

from common import TREE, Fake, ctl, directory, ktap, load_library, make_sidecar, need_root, qemu_io

sys.path.append(str(TREE / "selftests/oracle"))

from vhdxoracle import Editor, create, dirty, locator  # noqa: E402
from vhdxoracle.layout import METADATA_REGION, PARENT_LOCATOR  # noqa: E402

MIB = 1 << 20
ABSENT = "{00000000-0000-0000-0000-000000000000}"
LAYERS_MAX = 256

library = load_library()


def make_base(path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    create(str(path), options.pop("size", 8 * MIB), block_size=MIB, **options)
    return path


def make_child(path, parent, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    create(str(path), parent=str(parent), block_size=MIB, **options)
    return path


def data_write_guid(path):
    with Editor(str(path)) as edit:
        return edit.header.data_write_guid


def write_again(path):
    """As a program does that changes the disk's content."""
    with Editor(str(path)) as edit:
        edit.change_headers(data_write_guid=UUID(int=7))


def pairs_of(parent, **paths):
    """A locator of this parent, with these paths alone."""
    return {"parent_linkage": locator.guid_text(data_write_guid(parent)), **paths}


def put_locator(path, pairs):
    raw = locator.pack(pairs)
    with Editor(str(path)) as edit:
        item = next(item for item in edit.items if item.guid == PARENT_LOCATOR)
        edit.put(edit.region(METADATA_REGION).offset + item.offset, raw)
        edit.change_item(PARENT_LOCATOR, length=len(raw))


class Driver(Fake):
    """What it is given below the leaf."""

    def parents(self, *arguments, sidecar=0):
        self.ctl("attach", *arguments).expect(0)
        self.ctl("detach", "--all").expect(0)
        parents = [line.removeprefix("PARENT ") for line in self.calls if line.startswith("PARENT ")]
        assert all(line.startswith(f"writable=0 sidecar={sidecar} ") for line in parents), parents
        return [pathlib.Path(line.split(" ", 2)[2]) for line in parents]

    def refuse(self, *arguments, said=()):
        result = self.ctl("attach", *arguments)
        result.expect(1, *map(str, said))
        assert not [line for line in self.calls if line.startswith("ATTACH")], "it was attached"
        return result


def test_down_to_the_base():
    """Across directories below the leaf's, and up again; through no link of the leaf's name."""
    with directory() as path:
        fake = Driver(path)
        base = make_base(path / "disks/base.vhdx", content=[(0, b"base" * 1024)])
        middle = make_child(path / "disks/sub/deeper/middle.avhdx", base)
        upper = make_child(path / "disks/other/upper.avhdx", middle)
        leaf = make_child(path / "disks/leaf.avhdx", upper)
        assert fake.parents(leaf) == [upper, middle, base]
        assert fake.parents("--read-only", leaf) == [upper, middle, base]
        (path / "link").symlink_to(leaf)
        assert fake.parents(path / "link") == [upper, middle, base]
        assert not fake.parents("--force", base)


def test_sidecars_of_parents():
    """Each is found beside its layer, and nowhere else; one that is named for the leaf is the leaf's."""
    with directory() as path:
        fake = Driver(path)
        base = make_base(path / "base.vhdx")
        leaf = make_child(path / "leaf.avhdx", base)
        (path / "base.vhdx.lrct").write_text("x")
        (path / "leaf.avhdx.lrct").write_text("x")
        assert fake.parents("--force", leaf, sidecar=1) == [base]
        assert fake.parents("--read-only", "--sidecar", path / "base.vhdx.lrct", leaf) == [base]
        (path / "base.vhdx.lrct").rename(path / "elsewhere")
        (path / "base.vhdx.lrct").symlink_to("elsewhere")
        assert fake.parents(leaf) == [base]
        assert "base.vhdx.lrct: the points in it are not known" in fake.ctl("attach", leaf).expect(0).err


def test_out_of_the_leafs_directory():
    """Root attaches what a tenant owns: no path in it leads to other people's files."""
    with directory() as path:
        fake = Driver(path)
        base = make_base(path / "base.vhdx")
        (path / "tenant/sub").mkdir(parents=True)
        (path / "tenant/link").symlink_to(path)
        (path / "tenant/base-link.vhdx").symlink_to(base)
        (path / "tenant/ok.vhdx").hardlink_to(base)
        leaf = make_child(path / "tenant/leaf.avhdx", base)
        for relative, why in (("..\\base.vhdx", "leads out"), ("sub\\..\\..\\base.vhdx", "leads out"),
                              (".\\link\\base.vhdx", "symbolic link"), ("base-link.vhdx", "symbolic link"),
                              ("link\\..\\base.vhdx", "symbolic link"), (".\\gone.vhdx", "No such file"),
                              (".\\sub", "no regular file"), (".", "no regular file"),
                              (".\\OK.VHDX", "No such file"), ("x\n\x1b[2J", "No such file")):
            put_locator(leaf, pairs_of(base, relative_path=relative))
            fake.refuse(leaf, said=(leaf, "parent is not found", why, "--parent", "--map-path"))
            assert fake.parents("--parent", base, leaf) == [base]
        put_locator(leaf, pairs_of(base, relative_path="x" * 30000, absolute_win32_path="C:" + "y" * 30000))
        fake.refuse(leaf, said=(leaf, "parent is not found", "too long", "nowhere", "--parent"))
        put_locator(leaf, pairs_of(base, relative_path="sub\\..\\ok.vhdx"))
        assert fake.parents(leaf) == [path / "tenant/ok.vhdx"]


def test_files_that_are_none():
    """A pipe, which would be waited for, and devices: nobody asked for them."""
    need_root()
    with directory() as path:
        fake = Driver(path)
        base = make_base(path / "elsewhere/base.vhdx")
        leaf = make_child(path / "leaf.avhdx", base)
        os.mkfifo(path / "pipe")
        os.mknod(path / "tape", 0o20600, os.makedev(9, 0))
        os.mknod(path / "disk", 0o60600, os.makedev(7, 200))
        for name in ("pipe", "tape", "disk"):
            put_locator(leaf, pairs_of(base, relative_path=f".\\{name}"))
            fake.refuse(leaf, said=(f"{name} in {path} (no regular file)",))
        for name in ("pipe", "tape"):
            fake.refuse("--parent", path / name, leaf, said=(leaf, path / name))
        for device in ("/dev/loop0", "\\\\.\\PhysicalDrive0", "\\dev\\loop0", "/dev/zero"):
            put_locator(leaf, pairs_of(base, relative_path=device, absolute_win32_path=device))
            fake.refuse(leaf, said=("looked for nowhere",))


VOLUME = "\\\\?\\Volume{01234567-89ab-cdef-0123-456789abcdef}"


def test_paths_that_are_mapped():
    """Drives, volumes and servers: where whoever attaches says."""
    with directory() as path:
        fake = Driver(path)
        base = make_base(path / "srv/vms/base.vhdx")
        middle = make_child(path / "srv/vms/sub/middle.avhdx", base)
        leaf = make_child(path / "disks/leaf.avhdx", middle)
        for key, text, origin in (
                ("absolute_win32_path", "C:\\VMs\\sub\\middle.avhdx", "c:/vms"),
                ("absolute_win32_path", "\\\\server\\Share\\sub\\middle.avhdx", "\\\\SERVER\\share\\"),
                ("volume_path", f"{VOLUME}\\sub\\middle.avhdx", VOLUME),
                ("relative_path", "..\\other\\sub\\middle.avhdx", "..\\other")):
            put_locator(leaf, pairs_of(middle, **{key: text}))
            fake.refuse(leaf, said=(leaf, text.split("\\")[-1]))
            # Paths within a mapped directory count as those within the leaf's do.
            assert fake.parents("--map-path", f"{origin}={path}/srv/vms", leaf) == [middle, base]
            assert fake.parents("--map-path", "D:=/", "--map-path", f"{origin}={path}/srv/vms",
                                leaf) == [middle, base]
            # All of a path names a file, in whose directory its own paths count.
            named = ("--map-path", f"{text}={middle}")
            fake.refuse(*named, leaf, said=(middle, "leads out"))
            assert fake.parents(*named, "--map-path", f"..={path}/srv/vms", leaf) == [middle, base]
            for wrong in (origin[:-2] + "=/", f"{origin}={path}/disks", f"{origin}={path}/gone"):
                fake.refuse("--map-path", wrong, leaf, said=(leaf, "not found"))
        # A part of a name is not the name.
        shutil.copytree(path / "srv/vms", path / "trap/s")
        put_locator(leaf, pairs_of(middle, absolute_win32_path="C:\\VMs\\sub\\middle.avhdx"))
        fake.refuse("--map-path", f"C:\\VM={path}/trap", leaf, said=("looked for nowhere",))
        # Out of the mapped directory leads no path, either.
        put_locator(leaf, pairs_of(middle, absolute_win32_path="C:\\..\\middle.avhdx"))
        (path / "srv/vms/sub/x").mkdir()
        fake.refuse("--map-path", f"C:={path}/srv/vms/sub/x", leaf, said=("leads out",))
        for nonsense in ("C:", "=/srv", "C:="):
            fake.ctl("attach", "--map-path", nonsense, leaf).expect(2, "--map-path", "FROM=TO")


def test_maps_of_whole_trees():
    """All that names no drive and no server; and the same directory, with and without "./"."""
    with directory() as path:
        fake = Driver(path)
        base = make_base(path / "elsewhere/sub/base.vhdx")
        leaf = make_child(path / "disks/leaf.avhdx", base)
        for text, origin, to in (("\\sub\\base.vhdx", "/", "elsewhere"),
                                 ("/sub/base.vhdx", "\\", "elsewhere"),
                                 ("sub\\base.vhdx", ".\\sub", "elsewhere/sub"),
                                 (".\\sub\\base.vhdx", "sub", "elsewhere/sub"),
                                 (".\\.\\sub\\base.vhdx", "./SUB/", "elsewhere/sub"),
                                 (".\\sub\\base.vhdx", ".", "elsewhere")):
            put_locator(leaf, pairs_of(base, absolute_win32_path=text))
            fake.refuse(leaf)
            assert fake.parents("--map-path", f"{origin}={path / to}", leaf) == [base], text
        for text in ("C:\\sub\\base.vhdx", "\\\\sub\\base.vhdx", "sub\\base.vhdx"):
            put_locator(leaf, pairs_of(base, absolute_win32_path=text))
            fake.refuse("--map-path", f"/={path / 'elsewhere'}", leaf)


def test_grandparent_that_is_not_found():
    """The advice names all that were found, and works with the file in its place."""
    with directory() as path:
        fake = Driver(path)
        base = make_base(path / "g h/a.vhdx")
        middle = make_child(path / "g h/b.avhdx", base)
        leaf = make_child(path / "g h/c.avhdx", middle)
        moved = base.rename(path / "moved.vhdx")
        done = fake.refuse(leaf, said=(f"(--parent '{middle}' --parent FILE)",))
        advice = shlex.split(re.search(r"\((--parent .*?FILE)\)", done.err).group(1))
        assert fake.parents(*[moved if word == "FILE" else word for word in advice],
                            leaf) == [middle, moved]
        fake.refuse("--parent", moved, leaf, said=(f"{moved} is not its parent",
                                                   "each parent has a --parent of its own"))


def test_order_of_the_paths():
    """The first that leads to a file; what comes behind it is not asked."""
    with directory() as path:
        fake = Driver(path)
        base = make_base(path / "base.vhdx")
        copy = path / "copy.vhdx"
        shutil.copy(base, copy)
        leaf = make_child(path / "leaf.avhdx", base)
        everywhere = ("--map-path", f"C:={path}", "--map-path", f"{VOLUME}={path}")
        put_locator(leaf, pairs_of(base, absolute_win32_path="C:\\gone.vhdx",
                                   volume_path=f"{VOLUME}\\copy.vhdx", relative_path=".\\base.vhdx"))
        assert fake.parents(*everywhere, leaf) == [base]
        put_locator(leaf, pairs_of(base, absolute_win32_path="C:\\base.vhdx",
                                   volume_path=f"{VOLUME}\\copy.vhdx", relative_path=".\\gone.vhdx"))
        assert fake.parents(*everywhere, leaf) == [copy]
        assert fake.parents(*everywhere[:2], leaf) == [base]
        put_locator(leaf, {"parent_linkage": locator.guid_text(data_write_guid(base))})
        fake.refuse(leaf, said=("has no path",))


def test_parents_that_are_named():
    with directory() as path:
        fake = Driver(path)
        base = make_base(path / "a/base.vhdx")
        middle = make_child(path / "b/middle.avhdx", base)
        leaf = make_child(path / "c/leaf.avhdx", middle)
        fake.refuse("--parent", middle, leaf, said=(middle, "leads out"))
        assert fake.parents("--parent", middle, "--parent", base, leaf) == [middle, base]
        # Its own directory is as good as the leaf's.
        beside = path / "b/base.vhdx"
        shutil.copy(base, beside)
        put_locator(middle, pairs_of(base, relative_path="base.vhdx"))
        assert fake.parents("--parent", middle, leaf) == [middle, beside]
        fake.refuse("--parent", base, leaf, said=(leaf, base, "is not its parent"))
        fake.refuse("--parent", path / "gone", leaf, said=(path / "gone", "No such file"))
        fake.refuse("--parent", path, leaf, said=(leaf, path, "not a VHDX"))
        fake.refuse("--parent", middle, "--parent", base, "--parent", leaf, leaf,
                    said=(base, "has no parent", leaf))
        fake.refuse("--parent", base, make_base(path / "alone.vhdx"), said=("has no parent", base))


def test_devices_that_are_named():
    """A chain of files and block devices; relative paths lead nowhere from a device."""
    need_root()
    with directory() as path:
        fake = Driver(path)
        base = make_base(path / "base.vhdx")
        middle = make_child(path / "middle.avhdx", base)
        leaf = make_child(path / "leaf.avhdx", middle)
        for number in range(100, 108):
            device = path / f"loop{number}"
            os.mknod(device, 0o60600, os.makedev(7, number))
            if os.system(f"losetup {device} {middle} 2>/dev/null") == 0:
                break
        else:
            ktap.skip("no loop devices")
        try:
            fake.refuse("--parent", device, leaf, said=("in no directory",))
            assert fake.parents("--parent", device, "--parent", base, leaf) == [device, base]
        finally:
            os.system(f"losetup -d {device}")


def test_another_parent():
    """What was expected, what was found, and in which files."""
    with directory() as path:
        fake = Driver(path)
        base = make_base(path / "base.vhdx")
        leaf = make_child(path / "leaf.avhdx", base)
        was = data_write_guid(base)
        write_again(base)
        fake.refuse(leaf, said=(leaf, f"{base} is not its parent", was, UUID(int=7), "--parent"))
        pairs = {"relative_path": "base.vhdx", "parent_linkage": locator.guid_text(was)}
        put_locator(leaf, {**pairs, "parent_linkage2": ABSENT})
        fake.refuse(leaf, said=(was, UUID(int=7)))
        put_locator(leaf, {**pairs, "parent_linkage2": locator.guid_text(UUID(int=8))})
        fake.refuse(leaf, said=(was, UUID(int=8), UUID(int=7)))
        # While a parent is merged it has the second one.
        put_locator(leaf, {**pairs, "parent_linkage2": locator.guid_text(UUID(int=7))})
        assert fake.parents(leaf) == [base]


def test_parents_that_do_not_fit():
    with directory() as path:
        fake = Driver(path)
        base = make_base(path / "base.vhdx")
        large = make_child(path / "large.avhdx", base, size=9 * MIB)
        assert fake.parents(large) == [base]
        small = make_child(path / "small.avhdx", base, size=8 * MIB - 4096)
        fake.refuse(small, said=(small, base, 8 * MIB, 8 * MIB - 4096))
        other = make_child(path / "other.avhdx", base, logical_sector=4096)
        fake.refuse(other, said=(other, base, "logical sectors of 512 bytes, not 4096"))


def test_parents_that_are_no_good():
    """The words tell of both files."""
    with directory() as path:
        fake = Driver(path)
        base = make_base(path / "base.vhdx")
        leaf = make_child(path / "leaf.avhdx", base)
        good = base.read_bytes()
        for bad, said in ((b"conectix" + good[8:], "VHD"), (good[:MIB], "not a VHDX"), (b"", "not a VHDX"),
                          (good[:192 << 10] + bytes(128 << 10) + good[320 << 10:], "region table")):
            base.write_bytes(bad)
            result = fake.ctl("attach", leaf)
            assert result.code == 1 and f"{leaf}: its parent cannot be used: {base}: " in result.err
            assert said in result.err or said == "not a VHDX", result.err
        base.write_bytes(good)
        with qemu_io(base):
            fake.refuse(leaf, said=(leaf, base, "in use"))
        assert fake.parents(leaf) == [base]


def test_leaf_that_is_no_good():
    """Is the driver's to refuse: it reads the same."""
    with directory() as path:
        fake = Driver(path)
        leaf = make_child(path / "leaf.avhdx", make_base(path / "base.vhdx"))
        put_locator(leaf, {"relative_path": "base.vhdx"})
        assert not fake.parents(leaf)


def test_chains_that_lead_back():
    with directory() as path:
        fake = Driver(path)
        one = make_child(path / "one.avhdx", make_base(path / "base.vhdx"))
        two = make_child(path / "two.avhdx", one)
        put_locator(one, pairs_of(two, relative_path="two.avhdx"))
        fake.refuse("--force", two, said=(one, two, "leads back to itself"))
        put_locator(one, pairs_of(one, relative_path="one.avhdx"))
        fake.refuse("--force", one, said=(one, "leads back to itself"))
        (path / "three.avhdx").hardlink_to(one)
        put_locator(one, pairs_of(one, relative_path="three.avhdx"))
        fake.refuse("--force", one, said=("three.avhdx", "leads back to itself"))


def make_chain(path, count):
    """Copies of one file, each the child of the next: all have the same DataWriteGuid."""
    base = make_base(path / "base.vhdx", log_length=MIB)
    one = make_child(path / "000.avhdx", base)
    with Editor(str(base)) as edit:
        edit.change_headers(data_write_guid=UUID(int=7))
    with Editor(str(one)) as edit:
        edit.change_headers(data_write_guid=UUID(int=7))
    put_locator(one, pairs_of(base, relative_path=".\\%03d.avhdx" % 1))
    with Editor(str(one)) as edit:
        item = next(item for item in edit.items if item.guid == PARENT_LOCATOR)
        at = edit.region(METADATA_REGION).offset + item.offset
        raw = edit.container.read(at, item.length)
    for number in range(1, count - 1):
        copy = path / f"{number:03}.avhdx"
        shutil.copy(one, copy)
        with open(copy, "r+b") as file:
            file.seek(at)
            file.write(raw.replace("001".encode("utf-16-le"), f"{number + 1:03}".encode("utf-16-le")))
    (path / f"{count - 1:03}.avhdx").hardlink_to(base)
    return one


def test_long_chains():
    with directory() as path:
        fake = Driver(path)
        leaf = make_chain(path, LAYERS_MAX + 1)
        fake.refuse("--force", leaf, said=(leaf, f"longer than {LAYERS_MAX} files"))
        assert len(fake.parents("--force", path / "001.avhdx")) == LAYERS_MAX - 1


def test_parent_with_a_dirty_log():
    """Is read through it, and not touched."""
    with directory() as path:
        fake = Driver(path)
        base = make_base(path / "base.vhdx")
        leaf = make_child(path / "leaf.avhdx", base)
        dirty(str(base), [(0, b"d" * 4096)], {})
        put_locator(leaf, {**pairs_of_dirty(base), "relative_path": "base.vhdx"})
        before = base.read_bytes()
        assert fake.parents(leaf) == [base]
        assert base.read_bytes() == before


def pairs_of_dirty(parent):
    """Of a file that can't be edited."""
    at = max((64 << 10, 128 << 10), key=lambda at: int.from_bytes(parent.read_bytes()[at + 8:at + 16], "little"))
    return {"parent_linkage": locator.guid_text(UUID(bytes_le=parent.read_bytes()[at + 32:at + 48]))}


# ---- parents that are to be written ----------------------------------------


def test_parent_of_a_file_beside_it():
    """A write to it would be the end of that one."""
    with directory() as path:
        fake = Driver(path)
        base = make_base(path / "base.vhdx")
        (path / "fifo.avhdx").symlink_to("/dev/zero")
        assert not fake.parents(base)
        leaf = make_child(path / "a leaf.AVHDX", base)
        fake.refuse(base, said=(base, "the parent of a leaf.AVHDX", "--force"))
        assert not fake.parents("--read-only", base)
        assert not fake.parents("--force", base)
        fake.ctl("attach", "--force", "--read-only", base).expect(2, "--force")
        assert fake.parents(leaf) == [base]
        linked = pairs_of(base)["parent_linkage"]
        put_locator(leaf, {"parent_linkage": locator.guid_text(UUID(int=9)), "parent_linkage2": linked})
        fake.refuse(base, said=("a leaf.AVHDX",))
        # It is the parent no more.
        write_again(base)
        assert not fake.parents(base)


# ---- the library -----------------------------------------------------------


class Layer(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("path", ctypes.c_char_p), ("disk_size", ctypes.c_uint64),
                ("disk_id", ctypes.c_uint8 * 16), ("data_write_guid", ctypes.c_uint8 * 16),
                ("block_size", ctypes.c_uint32), ("disk_flags", ctypes.c_uint32)]


class Options(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("parents", ctypes.POINTER(ctypes.c_char_p)),
                ("path_maps", ctypes.POINTER(ctypes.c_char_p))]


LayerFn = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(Layer))


def list_chain(path, options=None, layer_size=ctypes.sizeof(Layer), result=0):
    """(what vhdx_chain_list() returns, [(path, DataWriteGuid, size of the disk, flags)])"""
    told = []

    def tell(_, layer):
        found = layer[0]
        told.append((pathlib.Path(os.fsdecode(found.path)), UUID(bytes_le=bytes(found.data_write_guid)),
                     found.disk_size, found.disk_flags))
        return result
    code = library.vhdx_chain_list(str(path).encode(), options and ctypes.byref(options),
                                   ctypes.c_size_t(layer_size), LayerFn(tell), None)
    return code, told


def strings(*texts):
    return (ctypes.c_char_p * (len(texts) + 1))(*(str(text).encode() for text in texts), None)


def test_list():
    with directory() as path:
        base = make_base(path / "base.vhdx", kind="fixed")
        leaf = make_child(path / "leaf.avhdx", base, size=9 * MIB)
        of_leaf = (leaf, data_write_guid(leaf), 9 * MIB, 0)
        of_base = (base, data_write_guid(base), 8 * MIB, 2)
        assert list_chain(leaf) == (0, [of_leaf, of_base])
        assert list_chain(base) == (0, [of_base])
        assert list_chain(leaf, result=5) == (5, [of_leaf])
        assert list_chain(leaf, result=-errno.EUCLEAN) == (-errno.ECANCELED, [of_leaf])
        assert list_chain(leaf, layer_size=8) == (-errno.EINVAL, [])
        assert list_chain(path / "gone") == (-errno.ENOENT, [])
        moved = base.rename(path / "moved.vhdx")
        assert list_chain(leaf) == (-errno.ENOENT, [of_leaf])
        options = Options(ctypes.sizeof(Options), strings(moved), None)
        assert list_chain(leaf, options) == (0, [of_leaf, (moved, *of_base[1:])])
        options = Options(ctypes.sizeof(Options), None, strings(f".\\base.vhdx={moved}"))
        assert list_chain(leaf, options) == (0, [of_leaf, (moved, *of_base[1:])])
        options = Options(ctypes.sizeof(Options), None, strings("nothing"))
        assert list_chain(leaf, options) == (-errno.EINVAL, [])


def attached_chain(path):
    """A driver with a chain of three attached, and their paths, leaf first."""
    fake = Fake(path)
    base = make_base(path / "base.vhdx")
    middle = make_child(path / "middle.vhdx", base)
    leaf = make_child(path / "leaf.vhdx", middle)
    fake.ctl("attach", leaf).expect(0)
    return fake, [leaf, middle, base]


def test_files_of_an_attached_disk():
    """Their names, as the kernel has them now, and what became of them."""
    with directory() as path:
        fake, paths = attached_chain(path)
        chain = fake.ctl("info", "--json", "0").expect(0).json["chain"]
        assert [layer["container"] for layer in chain] == [str(each) for each in paths]
        assert [layer["data_write_guid"] for layer in chain[1:]] == \
            [str(data_write_guid(each)) for each in paths[1:]]
        assert not any(layer[f"container_{what}"] for layer in chain
                       for what in ("deleted", "lost", "changed"))
        assert f"{'Parent:':22} {paths[1]}" in fake.ctl("info", "0").lines
        assert fake.ctl("list", "-o", "parent").lines[1] == str(paths[1])
        # Written by a program that keeps the rules; and once more, so that it is as it was.
        guid = data_write_guid(paths[1])
        for now, changed in ((UUID(int=7), True), (guid, False)):
            with Editor(str(paths[1])) as edit:
                edit.change_headers(data_write_guid=now)
            chain = fake.ctl("info", "--json", "0").json["chain"]
            assert [layer["container_changed"] for layer in chain] == [False, changed, False]
            assert (f"{'Parent (changed):':22} {paths[1]}" in fake.ctl("info", "0").lines) is changed
        # Of what is no VHDX any more, too.
        before = paths[2].read_bytes()
        paths[2].write_bytes(bytes(len(before)))
        chain = fake.ctl("info", "--json", "0").json["chain"]
        assert [layer["container_changed"] for layer in chain] == [False, False, True]
        paths[2].write_bytes(before)

        fake.write("sys/block/vhdx0/parent2/lost", "1\n")
        assert fake.ctl("info", "--json", "0").json["chain"][2]["container_lost"]
        assert f"{'Parent (lost):':22} {paths[2]}" in fake.ctl("info", "0").lines
        assert fake.ctl("list", "--json").json["list"][0]["parent_lost"]
        assert fake.ctl("list").lines[1].endswith(f"{paths[0]} (parent lost)")


def test_parent_that_was_removed():
    """It is marked, and what that means is said when the disk is detached: then it is gone."""
    with directory() as path:
        fake, paths = attached_chain(path)
        paths[1].unlink()
        fake.write("sys/block/vhdx0/parent1/container", f"{paths[1]} (deleted)\n")
        chain = fake.ctl("info", "--json", "0").json["chain"]
        assert (chain[1]["container"], chain[1]["container_deleted"]) == (str(paths[1]), True)
        assert f"{'Parent (removed):':22} {paths[1]}" in fake.ctl("info", "0").lines
        disk = fake.ctl("list", "--json").json["list"][0]
        assert (disk["parent"], disk["parent_deleted"]) == (str(paths[1]), True)
        # It has another name: whoever has that can go on.
        fake.write("sys/block/vhdx0/parent1/container_unlinked", "0\n")
        assert not fake.ctl("detach", "0").expect(0).err
        fake, paths = attached_chain(path / "again")
        paths[1].unlink()
        fake.write("sys/block/vhdx0/parent1/container", f"{paths[1]} (deleted)\n")
        fake.write("sys/block/vhdx0/parent1/container_unlinked", "1\n")
        fake.ctl("detach", "0").expect(0, f"/dev/vhdx0: its parent {paths[1]} had been removed",
                                       "unless a file of the same content is there now")


def test_parent_in_use():
    """Who wants to write it is told which disk keeps it; who reads it is not kept from that."""
    with directory() as path:
        fake, paths = attached_chain(path)
        # What the driver keeps open.
        with qemu_io(paths[2], "-r"):
            for words in (("attach", "--force"), ("check", "--repair")):
                fake.ctl(*words, paths[2]).expect(
                    8 if words[0] == "check" else 1,
                    f"{paths[2]}: in use, as a parent of /dev/vhdx0, whose container is {paths[0]}")
            fake.ctl("attach", "--read-only", paths[2]).expect(0)
        assert not [line for line in fake.calls if "PARENT writable=1" in line]


def test_the_pair_of_windows():
    corpus = pathlib.Path(os.environ.get("VHDX_CORPUS", TREE.parent / "shared/corpus"))
    if not (corpus / "fat-differential.vhdx.xz").exists():
        ktap.skip("no corpus")
    with directory() as path:
        for name in ("fat-parent", "fat-differential"):
            with lzma.open(corpus / f"{name}.vhdx.xz") as packed:
                (path / f"{name}.vhdx").write_bytes(packed.read())
        code, told = list_chain(path / "fat-differential.vhdx")
        assert code == 0 and [layer[0].name for layer in told] == \
            ["fat-differential.vhdx", "fat-parent.vhdx"], (code, told, library.vhdx_error_message())
        assert locator.guid_text(told[1][1]) in (path / "fat-differential.vhdx").read_bytes() \
            .decode("utf-16-le", "ignore")
        fake = Driver(path)
        assert fake.parents(path / "fat-differential.vhdx") == [path / "fat-parent.vhdx"]


def test_questions_about_a_child():
    """Its sidecar has the answers about its own points; who is below it does not matter."""
    with directory() as path:
        base = make_base(path / "base.vhdx")
        leaf = make_child(path / "leaf.avhdx", base)
        first, = make_sidecar(leaf, "seal a\nmark 0 16384\n")
        for there in (True, False):
            points = ctl("points", leaf, "--noheadings", "--output", "ID").expect(0)
            assert points.lines[-1:] == [first] and len(points.lines) == 1 + there, points.out
            assert there or "points of parents are not known" in points.err, points.err
            answer = ctl("changes", leaf, "--since", first, "--json").expect(0).json
            assert [(one["offset"], one["length"]) for one in answer["ranges"]] == [(0, 16384)]
            info = ctl("info", "--json", leaf).expect(0).json
            assert info["size"] == 8 * MIB and info["points"] == len(points.lines), info
            base.unlink(missing_ok=True)


def test_parent_that_no_question_finds():
    """However long the paths: one message, one advice, and it works. No question takes --parent."""
    with directory() as path:
        path = path / ("d" * 100) / ("e" * 100)
        base = make_base(path / "base.vhdx")
        leaf = make_child(path / "snap/leaf.avhdx", base)
        point = data_write_guid(base)
        old = path / "old.raw"
        old.touch()
        os.truncate(old, 8 * MIB)
        for asked in (["changes", leaf, "--since", f"{{{point}}}"], ["allocated", leaf],
                      ["verify", "--base", old, "--since", f"{{{point}}}", leaf]):
            done = ctl(*asked).expect(1, f"vhdxctl: {leaf}: a differencing disk, whose parent is not found")
            advice = re.search(r"`vhdxctl (attach --read-only --parent) FILE DISK`\)", done.err)
            assert advice and done.err.count(str(leaf)) == 1 and "--map-path" not in done.err, done.err
        done = ctl("points", leaf).expect(0, f"warning: {leaf}: ", "points of parents are not known",
                                          "attach --read-only --parent FILE DISK")
        assert done.err.count(str(leaf)) == 1, done.err
        assert Driver(path).parents(*advice.group(1).split()[1:], base, leaf) == [base]


def test_sidecars_that_are_not_there():
    """Of the leaf, `points` says so; of any layer, who asks for a point that was in one."""
    with directory() as path:
        base = make_base(path / "base.vhdx")
        middle = make_child(path / "middle.avhdx", base)
        leaf = make_child(path / "leaf.avhdx", middle)
        ids = {one: make_sidecar(one, f"ids {number}\nseal a\n")[0]
               for number, one in enumerate((base, middle, leaf))}
        assert not ctl("points", leaf).expect(0).err
        for one in (base, middle):
            kept = (path / f"{one.name}.lrct").read_bytes()
            (path / f"{one.name}.lrct").write_bytes(b"")
            done = ctl("changes", leaf, "--since", ids[one]).expect(
                3, "does not know the point", f"; without a sidecar: {one}: make a full backup")
            assert "there is no" not in done.err, done.err
            assert not ctl("points", leaf).expect(0).err
            (path / f"{one.name}.lrct").write_bytes(kept)
        moved = leaf.rename(path / "moved.avhdx")
        left = f"there is no {moved}.lrct, but leaf.avhdx.lrct beside it belongs to this disk: name it"
        ctl("points", moved).expect(0, f"warning: {moved}: {left}")
        done = ctl("changes", moved, "--since", ids[leaf]).expect(3, "does not know the point", left)
        assert "without a sidecar: " not in done.err, done.err
        (path / "leaf.avhdx.lrct").unlink()
        none = f"change tracking is not enabled (there is no {moved}.lrct)"
        ctl("points", moved).expect(0, f"warning: {moved}: {none}")
        ctl("changes", moved, "--since", ids[leaf]).expect(3, "does not know the point", none)
