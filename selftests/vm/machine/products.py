# SPDX-License-Identifier: GPL-2.0-only
"""Kernels, the guest's user land, and what this tree builds for them."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import time
from pathlib import Path

VM = Path(__file__).resolve().parent.parent
TREE = VM.parent.parent
BUILD = TREE / "build"


class BuildError(Exception):
    """Something that the machine needs could not be made."""


def say(text):
    """Tells the user about something that takes long or went wrong."""
    os.write(2, f"vm: {text}\n".encode())


@contextlib.contextmanager
def locked(path):
    """Holds the lock file at path: runners share the tree and the caches."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def with_module():
    """The module is to be built and loaded."""
    return os.environ.get("VHDX_NO_MODULE") != "1"


def coverage():
    """The directory for the counters of the module, if they are wanted."""
    return os.environ.get("VHDX_COVERAGE") if with_module() else None


def output_of(*command):
    """Runs one of the scripts beside this and returns what it prints."""
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode:
        raise BuildError(f"{Path(command[0]).name} failed")
    return result.stdout.strip()


class Kernel:
    """A kernel directory: a version that is fetched, or a path."""

    def __init__(self, name):
        root = Path(name).resolve() if "/" in name else \
            Path(output_of(VM / "kernel", "--root", name))
        if not (root / "release").is_file():
            raise BuildError(f"{root}: not a kernel directory (see selftests/vm/kernel)")
        self.root = root
        # What runs it: qemu or uml.
        self.machine = self.property("machine", "qemu")
        self.release = (root / "release").read_text(encoding="ascii").strip()
        self.image = root / "image"
        self.modules = root / "modules.img"
        self.build = (root / "build").resolve()
        # Bytes that a machine gets on top of what is asked for.
        self.extra_memory = int(self.property("extra-memory", "0")) << 20
        self.parameters = self.property("parameters", "")
        self.userland = Path(output_of(VM / "userland"))
        self.initramfs = Path(output_of(VM / "bootable", root, self.userland))

    def property(self, name, default):
        """What the kernel's directory says about it, if it does."""
        file = self.root / name
        return file.read_text(encoding="ascii").strip() if file.exists() else default


def make(*targets):
    """Brings targets up to date; says nothing unless that fails."""
    # Not the jobs and variables of a make that this runs under.
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")}
    result = subprocess.run(["make", "-s", f"-j{os.cpu_count()}", "-C", TREE, *targets],
                            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, check=False)
    if result.returncode:
        os.write(2, result.stdout)
        raise BuildError(f"make {' '.join(targets)} failed")


def index_modules(kernel, variant, modules):
    """A directory with this tree's modules, and the index of these and the kernel's."""
    base = BUILD / "vm" / f"modules-{variant}"
    index = base / "usr/lib/modules" / kernel.release
    newest = max(module.stat().st_mtime_ns for module in modules)
    dep = index / "modules.dep"
    names = sorted(module.name for module in modules)
    if dep.exists() and dep.stat().st_mtime_ns > newest and \
            sorted(os.listdir(index / "updates")) == names:
        return index
    shutil.rmtree(base, ignore_errors=True)
    (index / "updates").mkdir(parents=True)
    for module in modules:
        # What debuggers want is ten times the rest, and an emulated machine reads all of it.
        subprocess.run(["strip", "--strip-debug", "-o", index / "updates" / module.name, module],
                       check=True)
    theirs = kernel.root / "usr/lib/modules" / kernel.release
    for name in ("kernel", "modules.order", "modules.builtin", "modules.builtin.modinfo"):
        (index / name).symlink_to(theirs / name)
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    subprocess.run(["depmod", "-b", base / "usr", kernel.release], check=True,
                   env={**os.environ, "PATH": path})
    return index


def compiled_python():
    """Compiles this tree's Python for the guest, what is newer than the last time; the directory of
    the results. The host's own Python is of the same release; what another one made, the guest's
    ignores."""
    results = BUILD / "vm/pycache"
    with locked(BUILD / "vm/pycache.lock"):
        subprocess.run(["/usr/bin/python3", "-m", "compileall", "-q", "-s", TREE, "-p", "/src",
                        TREE / "selftests", TREE / "userspace"], check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       env={**os.environ, "PYTHONPYCACHEPREFIX": str(results)})
    return results / TREE.relative_to("/")


def newest_source():
    """When what the module is made of was changed last; a directory is, when a file goes."""
    paths = [TREE / "Kbuild", TREE / "Makefile"]
    for room in ("kmod", "uapi"):
        for base, _, files in os.walk(TREE / room):
            paths += [Path(base), *(Path(base, name) for name in files)]
    # Somebody may be editing the tree.
    return max(path.stat().st_mtime_ns if path.exists() else time.time_ns() for path in paths)


def make_modules(objects, *variables):
    """Builds this tree's modules, if a source is newer than the last time. make takes two seconds
    to find that none is, and each machine asks."""
    stamp, begun = objects / "made-with", time.time_ns()
    if any(objects.glob("*.ko")) and stamp.exists() and \
            stamp.read_text(encoding="utf-8") == str(variables) and \
            stamp.stat().st_mtime_ns > newest_source():
        return
    make("modules", *variables)
    if not objects.is_dir():
        return
    stamp.write_text(str(variables), encoding="utf-8")
    # What was changed meanwhile is newer.
    os.utime(stamp, ns=(begun, begun))


def make_consumers(kernel, objects):
    """Builds modules that use the in-kernel API against what is installed for them; their paths."""
    sources = TREE / "selftests/modules"
    work = BUILD / "consumers" / objects.name
    newest = max(path.stat().st_mtime_ns for path in (*sources.rglob("*"), objects / "vhdx.ko"))
    made = []
    for source in sorted(path.parent for path in sources.glob("*/*.c")):
        module = work / source.name / f"{source.name}.ko"
        made.append(module)
        if not module.exists() or module.stat().st_mtime_ns < newest:
            make("install-api", f"KDIR={kernel.build}", f"DESTDIR={work}/installed")
            make("-C", str(sources), f"MODULE={source.name}", f"KDIR={kernel.build}",
                 f"VHDX={work}/installed", f"OUT={module.parent}")
            os.utime(module)
    return made


def variables_of(kernel):
    """What make is told for a kernel. Nobody debugs the modules of a brief run: what is for that
    takes a fifth of the time."""
    if coverage():
        return ["GCOV=y"]
    if os.environ.get("VHDX_BRIEF") and kernel.machine == "qemu":
        return ["KCFLAGS=-g0", "CONFIG_DEBUG_INFO_BTF_MODULES="]
    return []


def install(kernel, files):
    """Builds this tree for kernel and installs it below files.

    False if there is no module to load.
    """
    if not with_module():
        return False
    if not (TREE / "Makefile").exists():
        say("this tree has no Makefile: booting without its module")
        return False
    objects = BUILD / (kernel.release + ("-gcov" if coverage() else ""))
    with locked(BUILD / "vm/build.lock"):
        make_modules(objects, f"KDIR={kernel.build}", *variables_of(kernel))
        make("userspace")
        make("-C", "selftests/vhdx/src")
        make("-C", "selftests/debug/src")
        built = list(objects.glob("*.ko"))
        if not built:
            raise BuildError(f"make modules left no module in {objects}")
        built += make_consumers(kernel, objects)
        index = index_modules(kernel, objects.name, built)
        shutil.copytree(index, files / "usr/lib/modules" / kernel.release, symlinks=True,
                        ignore=lambda _, names: [n for n in names if (index / n).is_symlink()])
        (files / "usr/bin").mkdir(parents=True)
        shutil.copy(BUILD / "userspace/vhdxctl", files / "usr/bin")
        libraries = files / "usr/lib/x86_64-linux-gnu"
        libraries.mkdir(parents=True)
        shutil.copy(BUILD / "userspace/libvhdx.so.0", libraries)
        shutil.copytree(BUILD / "selftests", files / "usr/libexec/vhdx-selftests")
    return True
