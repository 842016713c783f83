# SPDX-License-Identifier: GPL-2.0-only
"""Caller and library were compiled with different headers: each way round.

No second version of the header exists yet, so one is made: every structure that may grow
has one more field at its end. A library and a caller are compiled with it, too.
"""
import functools
import os
import re
import subprocess

from common import BUILD, TREE, USERSPACE, Fake, ctl, directory, make_image, make_sidecar

CC = os.environ.get("CC", "cc")
HEADERS = {"linux/vhdx.h": TREE / "uapi/linux/vhdx.h",
           "libvhdx.h": USERSPACE / "lib/include/libvhdx.h"}
SCRIPT_OF_POINTS = "seal first\nmark 0 16384\nmark 1048576 32768\nseal second\n"


def grow(text):
    """One more field in each structure that has a first published size."""
    names = re.findall(r"#define (VHDX_\w+)_SIZE_VER0", text)
    assert names
    for name in names:
        text, count = re.subn(rf"^(struct {name.lower()} \{{\n(?:\t.*\n)+)\}};",
                              r"\1\tunsigned long long newer;\n};", text, flags=re.M)
        assert count == 1, name
    return text


@functools.lru_cache
def newer():
    """A directory with the newer headers and the library made of them."""
    path = BUILD / "tests/newer"
    (path / "linux").mkdir(parents=True, exist_ok=True)
    for name, source in HEADERS.items():
        (path / name).write_text(grow(source.read_text()))
    sources = [*USERSPACE.glob("lib/*.c"), *TREE.glob("kmod/core/**/*.c")]
    subprocess.run([CC, "-D_GNU_SOURCE", "-D_FILE_OFFSET_BITS=64", "-DVERSION=\"0\"", "-O0", "-w",
                    "-shared",
                    "-fPIC", "-pthread", "-std=gnu11", f"-I{path}", f"-I{USERSPACE}/lib",
                    f"-I{TREE}/kmod", "-Wl,-soname,libvhdx.so.0",
                    f"-Wl,--version-script,{USERSPACE}/lib/libvhdx.map", *sources, "-o",
                    path / "libvhdx.so.0"], check=True)
    return path


def compile_caller(path, headers, *flags):
    program = path / "sizes"
    subprocess.run([CC, "-Wall", "-Wextra", "-Werror", *flags, *(f"-I{one}" for one in headers),
                    USERSPACE / "tests/sizes.c", "-o", program, BUILD / "libvhdx.so.0"],
                   check=True)
    return program


def run(program, library, fake, *arguments):
    env = {**os.environ, **(fake.env if fake else {}), "LD_LIBRARY_PATH": str(library)}
    done = subprocess.run([program, *arguments], env=env, text=True, capture_output=True,
                          check=False, timeout=60)
    assert "WRONG" not in done.stdout and not done.returncode, done.stdout + done.stderr
    return done.stdout


def tell_all(program, library, path):
    """All that is told of a file that is not attached, and of a disk."""
    image = make_image(path / "offline.vhdx")
    make_sidecar(image, SCRIPT_OF_POINTS)
    told = run(program, library, None, image)
    told = re.sub(r"rct:\S+", "ID", told)
    fake = Fake(path)
    fake.write("points.0", "1 0 -\n2 7 the second\n")
    fake.write("ranges.0", "0 16384\n1048576 32768\n")
    container = make_image(path / "disk.vhdx")
    return (told + run(program, library, fake, "0", container)).replace(str(path), "")


@functools.lru_cache
def what_is_right():
    with directory() as path:
        program = compile_caller(path, (USERSPACE / "lib/include", TREE / "uapi"))
        told = tell_all(program, BUILD, path)
    assert told.count("range 1048576 32768") == 2 and told.count("changes 1073741824 49152") == 2
    assert "attached /dev/vhdx0" in told and told.count("point") == 4, told
    assert "layout QEMU" in told and told.count("part ") == 5, told
    return told


def test_older_caller():
    """Compiled with today's header, run with a newer library: nothing of it is overwritten."""
    with directory() as path:
        program = compile_caller(path, (USERSPACE / "lib/include", TREE / "uapi"))
        assert tell_all(program, newer(), path) == what_is_right()


def test_newer_caller():
    """Compiled with a newer header, run with today's library."""
    with directory() as path:
        program = compile_caller(path, (newer(),), "-DNEWER")
        assert tell_all(program, BUILD, path) == what_is_right()


def test_newer_both():
    """The newer header itself is right: its own library answers it."""
    with directory() as path:
        program = compile_caller(path, (newer(),))
        assert tell_all(program, newer(), path) == what_is_right()


def test_debug():
    """LIBVHDX_DEBUG=1 tells each request; nothing else does."""
    with directory() as path:
        fake = Fake(path)
        image = make_image(path / "disk.vhdx")
        debugged = {**fake.env, "LIBVHDX_DEBUG": "1"}
        attach = ctl("attach", image, env=debugged)
        assert f"libvhdx: {image}: ATTACH: done, reason none" in attach.err, attach.err
        fake.fail("STATE", 5, "io")
        status = ctl("track", "status", "0", env=debugged)
        assert "libvhdx: /dev/vhdx0: GET_TRACKING_STATE: Input/output error, reason io" \
            in status.err
        assert "libvhdx: " not in fake.ctl("track", "status", "0").err
        detached = ctl("points", image, env={**fake.env, "LIBVHDX_DEBUG": "1"})
        assert "GET_POINTS: done" in detached.err


def test_debug_of_odd_names():
    """A path is shown as it is everywhere: no byte of it moves the cursor, or begins a line."""
    with directory() as path:
        image = make_image(path / os.fsdecode(b"a\n\x1b[2J\xff\xc2\x9b.vhdx"))
        for command, expected in (("points", "GET_POINTS: done"), ("info", "GET_INFO: done")):
            said = ctl(command, image, env={"LIBVHDX_DEBUG": "1"}).expect(0).err
            assert f"libvhdx: {path}/a\\x0a\\x1b[2J\\xff\\xc2\\x9b.vhdx: {expected}" in said, said
            assert all(byte >= " " or byte == "\n" for byte in said), said
