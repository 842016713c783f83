# SPDX-License-Identifier: GPL-2.0-only
"""Header, exported symbols, pkg-config, C and C++."""
import os
import re
import subprocess

from common import BUILD, TREE, USERSPACE, directory, need

HEADER = (USERSPACE / "lib/include/libvhdx.h").read_text()

PROGRAM = """
#include <libvhdx.h>
#include <stdio.h>

static int count(void *context, const struct vhdx_range *range)
{
	*(uint64_t *)context += range->byte_length;
	return 0;
}

int main(void)
{
	struct vhdx_attach_options options = { sizeof(options), NULL, 0, VHDX_INDEX_ANY, 0,
					       NULL, NULL };
	struct vhdx_attach argument;	/* the ioctl's structure, beside the function */
	struct vhdx_changes changes;
	struct vhdx_point_id id;
	uint64_t sum = 0;

	(void)options;
	(void)argument;
	(void)changes;
	(void)count;
	(void)sum;
	if (vhdx_id_parse("{00112233-4455-6677-8899-aabbccddeeff}", &id))
		return 1;
	puts(vhdx_reason_name(VHDX_REASON_UNCLEAN));
	return 0;
}
"""


def declared():
    return sorted(set(re.findall(r"^VHDX_API [^;]*?\b(vhdx_\w+)\(", HEADER, re.M)))


def test_symbols():
    """What the header declares is what the version script lists and the library exports."""
    listed = re.findall(r"^\t(vhdx_\w+);$", (USERSPACE / "lib/libvhdx.map").read_text(), re.M)
    out = subprocess.run(["nm", "-D", "--defined-only", BUILD / "libvhdx.so.0"], text=True,
                         capture_output=True, check=True).stdout
    exported = sorted(set(re.findall(r" T (\w+)@@LIBVHDX_0\.1$", out, re.M)))
    others = [line for line in out.splitlines()
              if "@@LIBVHDX_0.1" not in line and "A LIBVHDX_0.1" not in line]
    assert declared() == sorted(listed) == exported
    assert not others, others


def test_soname():
    out = subprocess.run(["readelf", "-d", BUILD / "libvhdx.so.0"], text=True,
                         capture_output=True, check=True).stdout
    assert "soname: [libvhdx.so.0]" in out
    assert set(re.findall(r"NEEDED.*\[(\S+)\]", out)) <= {"libc.so.6", "libpthread.so.0",
                                                         "ld-linux-x86-64.so.2"}


def test_documented():
    """Every function has a kernel-doc comment that names all of its arguments."""
    for name in declared():
        comment = re.search(rf"/\*\*\n \* {name}\(\) - .*?\*/\nVHDX_API (.*?);", HEADER, re.S)
        assert comment, f"{name} has no kernel-doc"
        inside = comment.group(1).split("(", 1)[1].rsplit(")", 1)[0]
        for argument in inside.split(","):
            word = re.findall(r"\w+", argument)[-1]
            assert word == "void" or f"@{word}:" in comment.group(0), f"{name}: {word}"


def compile_and_run(path, compiler, standard, suffix):
    need(compiler)
    source = path / f"program{suffix}"
    source.write_text(PROGRAM)
    flags = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-std={standard}",
             f"-I{USERSPACE}/lib/include", f"-I{TREE}/uapi"]
    subprocess.run([compiler, *flags, source, "-o", path / "program", f"-L{BUILD}", "-lvhdx",
                    f"-Wl,-rpath,{BUILD}"], check=True)
    done = subprocess.run([path / "program"], text=True, capture_output=True, check=True)
    assert done.stdout == "unclean\n"


def test_c99():
    with directory() as path:
        compile_and_run(path, os.environ.get("CC", "cc"), "c99", ".c")


def test_cxx():
    with directory() as path:
        for standard in ("c++11", "c++20"):
            compile_and_run(path, os.environ.get("CXX", "c++"), standard, ".cc")


def test_install():
    """What is installed below a DESTDIR is enough for pkg-config, the compiler and man."""
    need("pkg-config")
    with directory() as path:
        subprocess.run(["make", "-s", "-C", USERSPACE, f"O={BUILD}", "install",
                        f"DESTDIR={path}/root", "prefix=/usr"], check=True,
                       stdout=subprocess.DEVNULL)
        root = path / "root"
        env = {**os.environ, "PKG_CONFIG_PATH": f"{root}/usr/lib/pkgconfig",
               "PKG_CONFIG_SYSROOT_DIR": str(root), "PKG_CONFIG_ALLOW_SYSTEM_CFLAGS": "1",
               "PKG_CONFIG_ALLOW_SYSTEM_LIBS": "1"}
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libvhdx"], text=True,
                               env=env, capture_output=True, check=True).stdout.split()
        (path / "program.c").write_text(PROGRAM)
        subprocess.run([os.environ.get("CC", "cc"), path / "program.c", *flags, "-o",
                        path / "program"], check=True)
        env = {**os.environ, "LD_LIBRARY_PATH": f"{root}/usr/lib"}
        done = subprocess.run([root / "usr/bin/vhdxctl", "--version"], env=env, text=True,
                              capture_output=True, check=True)
        assert done.stdout.startswith("vhdxctl ")
        for name in ("man8/vhdxctl.8", "man3/libvhdx.3", "man4/vhdx.4"):
            assert (root / "usr/share/man" / name).exists()
        assert (root / "usr/share/bash-completion/completions/vhdxctl").exists()
        assert (root / "usr/lib/udev/rules.d/60-vhdx.rules").exists()
