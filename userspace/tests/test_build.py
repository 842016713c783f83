# SPDX-License-Identifier: GPL-2.0-only
"""What make knows of what it built."""
import os
import re
import subprocess

from common import BUILD, TREE, USERSPACE

INCLUDED_FROM = [USERSPACE / "lib/include", TREE / "kmod", TREE / "uapi"]


def prerequisites():
    """{a file, by the name that make has for it: paths of what it is made of}"""
    database = subprocess.run(["make", "-pn", "-C", USERSPACE, f"O={BUILD}", "tests"], text=True,
                              stdout=subprocess.PIPE, check=True,
                              env={**os.environ, "MAKEFLAGS": ""}).stdout
    return {target: {os.path.normpath(USERSPACE / name) for name in names.split()}
            for target, names in re.findall(r"^([^#\s:=]+): ?([^=\n]*)$", database, re.M)}


def included(source):
    """The tree's headers that a file names."""
    for name in re.findall(r'^#include [<"]([^">]*)[">]', source.read_text(), re.M):
        for directory in (source.parent, *INCLUDED_FROM):
            if (directory / name).exists():
                yield os.path.normpath(directory / name)
                break


def test_headers_rebuild_what_includes_them():
    known = prerequisites()
    objects = [*BUILD.glob("obj/**/*.o")]
    assert len(objects) > 50, objects
    for path in objects:
        part = path.relative_to(BUILD / "obj").with_suffix(".c")
        source = (TREE / "kmod" if part.parts[0] == "core" else USERSPACE) / part
        if not source.exists():
            continue
        missing = set(included(source)) - known.get(str(path), set())
        assert not missing, f"{path} is not rebuilt for {missing}"
    for program in "fake_kernel.so", "hold_lock", "jobs-threads":
        assert str(TREE / "uapi/linux/vhdx.h") in known[str(BUILD / "tests" / program)], program
