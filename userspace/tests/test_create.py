# SPDX-License-Identifier: GPL-2.0-only
"""What `vhdxctl create` makes, held against others that read VHDX; and what it leaves alone."""
import contextlib
import ctypes
import hashlib
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time

from common import BUILD, TREE, ctl, directory, load_library, need, qemu_io
import loop
from test_chain import LAYERS_MAX, make_chain

sys.path.append(str(TREE / "selftests/oracle"))

import vhdxoracle  # noqa: E402
from vhdxoracle.checker import check, faults  # noqa: E402
from vhdxoracle.image import Image  # noqa: E402
from vhdxoracle.layout import KIB, MIB  # noqa: E402

GIB, TIB = 1 << 30, 1 << 40


def expect_sound(image, clean=True):
    """Nothing at all is to be said against it."""
    found = faults(check(image, clean), strict=True)
    assert not found, "\n".join(map(str, found))


def create(image, *options, warning=""):
    done = ctl("create", *options, image).expect(0, warning)
    assert not done.out and bool(done.err) == bool(warning), done.out + done.err
    expect_sound(image)
    with Image(image) as opened:
        return opened.parameters, opened.geometry


def test_defaults():
    with directory() as path:
        parameters, geometry = create(path / "disk.vhdx", "--size", "10G")
        assert (geometry.size, geometry.block_size) == (10 * GIB, 32 * MIB)
        assert (geometry.logical_sector, parameters.physical_sector) == (512, 4096)
        assert parameters.kind == "dynamic"
        assert os.stat(path / "disk.vhdx").st_size == 4 * MIB
        # Metadata, headers and region tables; no more than that is written.
        assert os.stat(path / "disk.vhdx").st_blocks * 512 < MIB
        parameters, geometry = create(path / "fixed.vhdx", "--size", "10M", "--type", "fixed")
        assert parameters.kind == "fixed" and geometry.block_size == 2 * MIB
        assert os.stat(path / "fixed.vhdx").st_size == 14 * MIB
        assert os.stat(path / "fixed.vhdx").st_blocks * 512 >= 10 * MIB


def test_every_option():
    with directory() as path:
        for number, (kind, size, block, logical, physical, log) in enumerate((
                ("dynamic", 512, MIB, 512, 512, MIB), ("dynamic", 4096, MIB, 4096, 4096, MIB),
                ("dynamic", 64 * TIB, 256 * MIB, 512, 4096, 32 * MIB),
                ("dynamic", 64 * TIB, MIB, 4096, 512, MIB),
                ("fixed", 5 * MIB + 512, MIB, 512, 4096, MIB),
                ("fixed", 40 * MIB, 32 * MIB, 4096, 4096, 8 * MIB),
                ("dynamic", 300 * GIB + 4096, 2 * MIB, 4096, 4096, MIB))):
            image = path / f"{number}.vhdx"
            parameters, geometry = create(
                image, "--type", kind, "--size", size, "--block-size", block, "--sector-size",
                logical, "--physical-sector-size", physical, "--log-size", log)
            assert (parameters.kind, geometry.size, geometry.block_size, geometry.logical_sector,
                    parameters.physical_sector) == (kind, size, block, logical, physical)
            with Image(image) as opened:
                assert opened.header.log_length == log


def test_ids_are_drawn():
    with directory() as path:
        seen = set()
        for number in range(3):
            reply = ctl("create", "--json", "--size", "1M", path / f"{number}").expect(0).json
            assert reply.pop("container") == str(path / f"{number}")
            assert (reply["size"], reply["block_size"], reply["type"], reply["warning"]) == \
                (MIB, 32 * MIB, "dynamic", None)
            seen |= {reply["virtual_disk_id"], reply["data_write_guid"]}
            # Version 4, of the usual variant.
            assert all(text[14] == "4" and text[19] in "89ab" for text in seen)
        assert len(seen) == 6


def test_qemu():
    """QEMU finds nothing wrong, reads zeroes, and can write it; the oracle reads what it wrote."""
    need("qemu-img")
    with directory() as path:
        for kind, block in (("dynamic", "1M"), ("fixed", "1M"), ("dynamic", "32M")):
            image = path / f"{kind}{block}.vhdx"
            create(image, "--size", "100M", "--type", kind, "--block-size", block)
            checked = subprocess.run(["qemu-img", "check", "-f", "vhdx", "--output=json", image],
                                     capture_output=True, text=True, check=True)
            assert not json.loads(checked.stdout)["check-errors"], checked.stdout
            found = json.loads(subprocess.run(
                ["qemu-img", "info", "-f", "vhdx", "--output=json", image], capture_output=True,
                text=True, check=True).stdout)
            assert found["virtual-size"] == 100 * MIB
            with qemu_io(image, commands=("read -P 0 0 100M", "write -P 7 999k 3M")):
                pass
            expect_sound(image)
            with vhdxoracle.open_disk(image) as disk:
                assert disk.read(0, 100 * MIB) == bytes(999 * KIB) + b"\7" * 3 * MIB + \
                    bytes(100 * MIB - 3 * MIB - 999 * KIB)


def test_libvhdi():
    need("vhdiinfo")
    with directory() as path:
        for kind in ("dynamic", "fixed"):
            image = path / f"{kind}.vhdx"
            create(image, "--size", "100M", "--type", kind)
            done = subprocess.run(["vhdiinfo", image], capture_output=True, text=True, check=True)
            assert "(104857600 bytes)" in done.stdout and kind in done.stdout.lower(), done.stdout


def test_never_overwrites():
    with directory() as path:
        there = path / "there"
        there.write_text("somebody's")
        (path / "link").symlink_to(path / "nothing")
        for name in (there, path, path / "link"):
            ctl("create", "--size", "1M", name).expect(1, f"{name}: ", "is there already")
        assert there.read_text() == "somebody's"
        assert sorted(os.listdir(path)) == ["link", "there"]
        ctl("create", "--size", "1M", path / "none/x").expect(1, "none/x", "No such file")


def test_refused_sizes():
    """Said by the library, which knows what can be; and nothing is made."""
    with directory() as path:
        image = path / "disk.vhdx"
        for options, words in (
                (("--size", "65T"), "a size of 71468255805440 bytes"),
                (("--size", "1000"), "a multiple of the logical sector size 512"),
                (("--size", "1M", "--block-size", "3M"), "a power of two"),
                (("--size", "1M", "--block-size", "512K"), "a power of two"),
                (("--size", "1M", "--sector-size", "1K"), "a logical sector size of 1024"),
                (("--size", "1M", "--physical-sector-size", "520"), "a physical sector size"),
                (("--size", "1M", "--log-size", "1.5M"), "a log of 1572864 bytes"),
                (("--size", "1M", "--log-size", "8G"), "a log of 8589934592 bytes")):
            ctl("create", *options, image).expect(1, f"{image}: ", words)
            assert not os.listdir(path)


def test_no_room():
    """What there was of it is removed."""
    with directory() as path:
        image = path / "disk.vhdx"
        done = subprocess.run(["bash", "-c", 'ulimit -f 8192; trap "" XFSZ; exec "$@"', "-",
                               BUILD / "vhdxctl", "create", "--type", "fixed", "--size", "64M",
                               image], capture_output=True, text=True, check=False)
        assert done.returncode == 1 and str(image) in done.stderr, done.stderr
        assert not os.listdir(path)


def expect_child(child, parent, relative):
    """The oracle finds the parent, and reads what it has."""
    with Image(child) as opened, Image(parent) as above:
        locator = opened.parameters.locator
        guid = f"{{{above.header.data_write_guid}}}"
        absolute = str(parent).replace("/", "\\")
        assert list(locator.items()) == [
            ("parent_linkage", guid), ("absolute_win32_path", absolute),
            ("relative_path", relative), ("volume_path", "\\\\?\\Volume{00000000-0000-0000-"
                                          f"0000-000000000000}}{absolute}"),
            ("parent_linkage2", "{00000000-0000-0000-0000-000000000000}")], locator
        assert opened.size == above.size
        assert opened.parameters.disk_id == above.parameters.disk_id
        assert opened.geometry.logical_sector == above.geometry.logical_sector
        assert opened.parameters.physical_sector == above.parameters.physical_sector
        assert opened.header.data_write_guid != above.header.data_write_guid
    with vhdxoracle.open_disk(child) as disk, vhdxoracle.open_disk(parent) as above:
        assert disk.read(0, disk.size) == above.read(0, disk.size)


def test_child():
    with directory() as path:
        path = path.resolve()
        (path / "a/b").mkdir(parents=True)
        (path / "other dir").mkdir()
        (path / "link").symlink_to("a/b")
        parent, umlaut = path / "parent.vhdx", path / "a/übér \U0001F600.vhdx"
        vhdxoracle.create(parent, 5 * MIB + 4096, block_size=MIB, logical_sector=4096,
                          physical_sector=4096, content=[(MIB, b"p" * 4096)])
        vhdxoracle.create(umlaut, 8 * MIB, physical_sector=512, content=[(0, b"u" * MIB)])
        for above, where, relative in (
                (parent, "child", r".\parent.vhdx"), (parent, "a/child", r"..\parent.vhdx"),
                (parent, "link/child", r"..\..\parent.vhdx"),
                (parent, "other dir/child", r"..\parent.vhdx"),
                (umlaut, "child2", ".\\a\\übér \U0001F600.vhdx"),
                (umlaut, "a/b/child2", "..\\übér \U0001F600.vhdx"),
                (umlaut, "other dir/child2", "..\\a\\übér \U0001F600.vhdx")):
            before = hashlib.sha256(above.read_bytes()).digest()
            found = not relative.startswith("..")
            create(path / where, "--parent", above, warning="" if found else
                   f"warning: {path / where}: made, but attach looks for parents only below")
            expect_child(path / where, above, relative)
            assert hashlib.sha256(above.read_bytes()).digest() == before
        # Named as one would, from where one is.
        ctl("create", "--parent", "../parent.vhdx", "here", cwd=path / "a").expect(0)
        expect_child(path / "a/here", parent, r"..\parent.vhdx")
        # A child is a parent, too; and another block size may suit.
        create(path / "grandchild", "--parent", path / "child", "--block-size", "1M")
        expect_child(path / "grandchild", path / "child", r".\child")


def map_advised(warning):
    """The option that the warning names, as a shell reads it."""
    return shlex.split(re.search(r"\((--map-path .+)\)$", warning).group(1))


def test_child_that_is_elsewhere():
    """Whoever attaches it has to say where its parent lies: what the warning advises works."""
    with directory() as path:
        path = path.resolve()
        for name in ("a b", "c"):
            (path / name).mkdir()
        parent, child = path / "a b/parent.vhdx", path / "c/child.vhdx"
        create(parent, "--size", "8M")
        reply = ctl("create", "--json", "--parent", parent, child).expect(0, "warning: ")
        warning = reply.json["warning"]
        assert reply.err == f"vhdxctl: warning: {warning}\n"
        assert reply.json["type"] == "differencing"
        assert f"(--parent '{parent}')" in warning, warning
        assert ctl("info", "--json", child).json["chain_fault"]
        for advice in (["--parent", str(parent)], map_advised(warning)):
            chain = ctl("info", "--json", *advice, child).expect(0).json
            assert not chain["chain_fault"], (advice, chain)
            assert [one["container"] for one in chain["chain"]] == [str(child), str(parent)]
        # Beside its child, but that one's own parent is not.
        grandchild = path / "c/grandchild.vhdx"
        create(grandchild, "--parent", child, warning=f"{grandchild}: made, but attach will not "
               f"find all of its chain: {child}: a differencing disk, whose parent is not found")


def test_advice_is_of_any_path():
    """What a shell would take for something else is quoted; what no map can have, is not advised."""
    with directory() as path:
        path = path.resolve()
        (path / "c").mkdir()
        child = path / "c/child.vhdx"
        for name in ("it's", "$(x) `y`", "a;b&c", "a\"b*", "a(b)", "#~!", "öde", "a=b", "a= b"):
            parent = path / name / "parent.vhdx"
            parent.parent.mkdir()
            create(parent, "--size", "8M")
            warning = ctl("create", "--json", "--parent", parent, child).expect(0).json["warning"]
            named = shlex.split(re.search(r"\((--parent .+?)\)(, or|$)", warning).group(1))
            advices = [named] + ([] if "=" in name else [map_advised(warning)])
            assert ("--map-path" in warning) == ("=" not in name), warning
            for advice in advices:
                assert not ctl("info", "--json", *advice, child).json["chain_fault"], warning
            child.unlink()


def test_damaged_parent():
    """It can be attached, and so can its child; but there is something to be looked at."""
    with directory() as path:
        path = path.resolve()
        for place in ("a", "b c"):
            (path / place).mkdir()
        parent, child = path / "b c/parent.vhdx", path / "a/child.vhdx"
        create(parent, "--size", "8M", "--block-size", "1M")
        with vhdxoracle.Editor(str(parent)) as edit:
            edit.put_bat(1, (1 << 50) | 6)
        before = parent.read_bytes()
        for made, words in ((child, "will not find"), (path / "b c/child.vhdx", "made, but `")):
            done = ctl("create", "--json", "--parent", parent, made).expect(0, "warning: ", words)
            advice = re.search("`(vhdxctl check .*)`", done.json["warning"]).group(1)
            assert shlex.split(advice)[2:] == [str(parent)], done.err
            expect_sound(made)
        assert ctl("check", parent).code == 4 and parent.read_bytes() == before
        assert ctl("create", "--parent", made, path / "b c/next").expect(0).err == ""


def test_long_chains():
    """A child that could not be attached is not made."""
    with directory() as path:
        # 000.avhdx is made of 001.avhdx, and so on.
        make_chain(path, LAYERS_MAX)
        child = path / "child.vhdx"
        ctl("create", "--parent", path / "000.avhdx", child).expect(
            1, f"{path / '000.avhdx'}: its chain is {LAYERS_MAX} files long already",
            "vhdxctl convert")
        assert not child.exists()
        create(child, "--parent", path / "001.avhdx")
        assert len(ctl("info", "--json", child).json["chain"]) == LAYERS_MAX
        # What the message advises.
        ctl("convert", path / "000.avhdx", path / "one.vhdx").expect(0)
        create(path / "new.vhdx", "--parent", path / "one.vhdx")


def test_child_of_libvhdi():
    need("vhdiinfo")
    with directory() as path:
        vhdxoracle.create(path / "parent.vhdx", 8 * MIB, content=[(0, b"u" * MIB)])
        create(path / "child.vhdx", "--parent", path / "parent.vhdx")
        done = subprocess.run(["vhdiinfo", path / "child.vhdx"], capture_output=True, text=True,
                              check=True)
        with Image(path / "parent.vhdx") as above:
            assert str(above.header.data_write_guid) in done.stdout, done.stdout
        assert "ifferen" in done.stdout and "parent.vhdx" in done.stdout, done.stdout


def test_refused_parents():
    """Nothing is made, and the parent stays as it is."""
    with directory() as path:
        parent = path / "parent.vhdx"
        vhdxoracle.create(parent, 8 * MIB)
        child = path / "child.vhdx"
        for name, words in (("headers-checksum", "no valid header"),
                            ("zero-write-guids", "its DataWriteGuid is zero")):
            vhdxoracle.mutate(name, path / name)
            ctl("create", "--parent", path / name, child).expect(1, f"{path / name}: ", words)
        ctl("create", "--parent", path / "none", child).expect(1, f"{path / 'none'}: No such")
        back = path / "back\\slash"
        vhdxoracle.create(back, 8 * MIB)
        ctl("create", "--parent", back, child).expect(1, "a backslash in its path")
        odd = os.fsdecode(bytes(path) + b"/odd\xff")
        os.link(parent, odd)
        ctl("create", "--parent", odd, child).expect(1, "no UTF-8", "rename")
        with qemu_io(parent, commands=("write 0 512",)):
            ctl("create", "--parent", parent, child).expect(1, f"{parent}: in use")
        for options in (("--size", "8M"), ("--type", "fixed"), ("--sector-size", "512")):
            ctl("create", "--parent", parent, *options, child).expect(2, "leave them out")
        assert not child.exists()
        name = str(parent).encode()
        for options in ({"disk_size": 4 * MIB}, {"type": 1}, {"logical_sector_size": 4096}):
            assert by_library(child, lambda *_: 0, parent=name, **options) == -22, options
        assert not by_library(child, lambda *_: 0, parent=name, disk_size=8 * MIB)
        expect_sound(child)


PROGRESS = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64)


class Options(ctypes.Structure):
    """struct vhdx_create_options"""

    _fields_ = [("size", ctypes.c_size_t), ("parent", ctypes.c_char_p), ("disk_size", ctypes.c_uint64),
                ("type", ctypes.c_uint), ("block_size", ctypes.c_uint32),
                ("logical_sector_size", ctypes.c_uint32),
                ("physical_sector_size", ctypes.c_uint32), ("log_size", ctypes.c_uint64),
                ("progress", PROGRESS), ("context", ctypes.c_void_p)]


def by_library(image, progress, **options):
    return load_library().vhdx_create(str(image).encode(), ctypes.byref(Options(
        size=ctypes.sizeof(Options), progress=PROGRESS(progress), **options)))


def test_progress():
    """It is told of all of the space, in order; meanwhile nobody else gets at it."""
    with directory() as path:
        image, told, tried = path / "disk.vhdx", [], []

        def progress(_, done, total):
            told.append((done, total))
            tried.append(ctl("info", image))
            return 0
        assert not by_library(image, progress, disk_size=GIB, type=1)
        assert told == [(part << 28, GIB) for part in range(5)], told
        for one in tried:
            one.expect(1, f"{image}: in use")
        expect_sound(image)


SHIM = """
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
static void tell(const char *what, long at)
{
	static int count;
	FILE *log = fopen(getenv("SHIM_LOG"), "a");
	fprintf(log, "%s %ld\\n", what, at);
	fclose(log);
	if (count++ == atoi(getenv("SHIM_CRASH")))
		_exit(9);
}
ssize_t pwrite64(int fd, const void *buf, size_t length, off_t at)
{
	tell("write", at);
	return syscall(SYS_pwrite64, fd, buf, length, at);
}
int fsync(int fd)
{
	tell("sync", 0);
	return syscall(SYS_fsync, fd);
}
"""


def compile_shim(path, text):
    """A library to be preloaded."""
    (path / "shim.c").write_text(text)
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-w", "-o", path / "shim.so",
                    path / "shim.c"], check=True)
    return path / "shim.so"


def shimmed(path, image, crash, *options):
    """The calls of a run that ends at one of them."""
    log = path / "log"
    log.unlink(missing_ok=True)
    code = ctl("create", *options, image, env={
        "LD_PRELOAD": str(path / "shim.so"), "SHIM_LOG": str(log), "SHIM_CRASH": str(crash)}).code
    return code, log.read_text().splitlines()


def test_crash():
    """Whenever it is killed, what is there is no VHDX. All is durable before it becomes one."""
    with directory() as path:
        compile_shim(path, SHIM)
        for options in (("--size", "10M"), ("--size", "10M", "--type", "fixed")):
            code, calls = shimmed(path, path / "whole", -1, *options)
            (path / "whole").unlink()
            # The file identifier is the only thing at 0; then the file, and its name.
            assert not code and calls.count("write 0") == 1, calls
            assert calls[-4:] == ["sync 0", "write 0", "sync 0", "sync 0"], calls
            for crash in range(len(calls) - 2):
                image = path / f"{crash}.vhdx"
                code, _ = shimmed(path, image, crash, *options)
                assert code == 9
                ctl("info", image).expect(1, f"{image}: not a VHDX")
                image.unlink()


def test_ended():
    """The caller's number comes back, and the file is gone; of a dynamic disk too."""
    with directory() as path:
        for kind in (0, 1):
            for answer, wanted in ((5, 5), (-5, -125)):
                got = by_library(path / "disk.vhdx", lambda *_, answer=answer: answer,
                                 disk_size=GIB, type=kind)
                assert got == wanted and not os.listdir(path), (kind, got)


SLOW = """
#include <sys/types.h>
#include <unistd.h>
int fallocate64(int f, int m, off_t o, off_t l)
{
	usleep(100000);
	return 0;
}
int fallocate(int f, int m, off_t o, off_t l)
{
	return fallocate64(f, m, o, l);
}
"""


def test_interrupted():
    """^C, or a signal to end: no file is left, and the status says so."""
    with directory() as path:
        slow = compile_shim(path, SLOW)
        image = path / "disk.vhdx"
        for number in (signal.SIGINT, signal.SIGTERM):
            with subprocess.Popen(["env", "--default-signal", BUILD / "vhdxctl", "create",
                                   "--json", "--type", "fixed", "--size", "16G", image],
                                  stdout=subprocess.PIPE, text=True,
                                  stderr=subprocess.PIPE,
                                  env={**os.environ, "LD_PRELOAD": str(slow)}) as run:
                while not image.exists():
                    time.sleep(0.01)
                run.send_signal(number)
                out, err = run.communicate(timeout=30)
            assert run.returncode == 1 and "interrupted" in err, err
            assert json.loads(out)["error"]["message"] in err
            assert not image.exists()


def on_terminal(command):
    """What a terminal with 80 columns gets to see of it."""
    parent, child = pty.openpty()
    with subprocess.Popen(["sh", "-c", f"stty cols 80; exec {command}"], stdin=child,
                          stderr=child, stdout=child) as run:
        run.wait(30)
    os.close(child)
    shown = b""
    with contextlib.suppress(OSError):
        while data := os.read(parent, 65536):
            shown += data
    os.close(parent)
    return shown


def test_bar():
    """On a terminal there is one, and it is wiped away; elsewhere there is none."""
    with directory() as path:
        shown = on_terminal(f"{BUILD}/vhdxctl create --type fixed --size 2G {path}/disk.vhdx")
        assert b"\rcreate [" in shown and b"% of 2.0G" in shown, shown
        assert shown.endswith(b"\r\x1b[K"), shown


@contextlib.contextmanager
def loop_device(path, size, sector=512):
    file = path / "device"
    file.write_bytes(b"")
    os.truncate(file, size)
    with loop.device(file, "-b", str(sector)) as device:
        yield device


def test_block_device():
    """One that holds something is left alone; what is made has zeroes where there was anything."""
    with directory() as path, loop_device(path, 40 * MIB) as device:
        with open(device, "r+b") as opened:
            for at in range(MIB, 40 * MIB, MIB):
                opened.seek(at)
                opened.write(b"\xee" * MIB)
            opened.seek(512 * KIB)
            opened.write(b"x")
        before = hashlib.sha256((path / "device").read_bytes()).digest()
        ctl("create", "--size", "16M", device).expect(
            1, f"{device}: something is on this device (at 0x80000)",
            f"dd if=/dev/zero of={device} bs=1M count=1")
        assert hashlib.sha256((path / "device").read_bytes()).digest() == before
        for kind in ("dynamic", "fixed"):
            subprocess.run(["dd", "if=/dev/zero", f"of={device}", "bs=1M", "count=1"], check=True,
                           stderr=subprocess.DEVNULL)
            ctl("create", "--size", "16M", "--type", kind, device).expect(0)
            expect_sound(device)
            with vhdxoracle.open_disk(device) as disk:
                assert disk.read(0, 16 * MIB) == bytes(16 * MIB)
        subprocess.run(["dd", "if=/dev/zero", f"of={device}", "bs=1M", "count=1"], check=True,
                       stderr=subprocess.DEVNULL)
        ctl("create", "--size", "64M", "--type", "fixed", device).expect(1, "are needed")
        assert by_library(device, lambda *_: 9, disk_size=16 * MIB, type=1) == 9
        with open(device, "rb") as opened:
            assert opened.read(MIB) == bytes(MIB)
