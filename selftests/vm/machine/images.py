# SPDX-License-Identifier: GPL-2.0-only
"""The disk images of one run."""

import contextlib
import os
import shlex
import shutil
import subprocess
from pathlib import Path

from products import TREE, VM, BuildError, compiled_python, coverage

TMP_SIZE = 16 << 30
OUT_SIZE = 64 << 30
# Free space that a copy of --in has for what is written to it.
IN_SLACK = 8 << 30
# What a file system takes for itself: most of it is the journal.
JOB_SLACK = 256 << 20


def sparse(path, size):
    """An empty image."""
    with open(path, "wb") as image:
        image.truncate(size)
    return path


def ext4(path, size, content=None):
    """An ext4 image, with a copy of the directory content in it."""
    command = ["mke2fs", "-q", "-t", "ext4", "-m", "0", "-J", "size=64",
               "-E", "root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1"]
    if content:
        command += ["-d", content]
    result = subprocess.run([*command, path, f"{size >> 10}k"], stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, text=True, check=False,
                            env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})
    if result.returncode:
        raise BuildError(f"cannot make {path}: {result.stderr.strip()}")
    return path


def allocated(directory):
    """What the files below directory take up at most, in bytes."""
    total = 0
    for base, dirs, files in os.walk(directory):
        for name in dirs + files:
            total += os.lstat(os.path.join(base, name)).st_blocks * 512 + 4096
    return total


def corpus():
    """The directory of sample images, if there is one."""
    path = Path(os.environ.get("VHDX_CORPUS") or TREE / "../shared/corpus")
    return path if path.is_dir() else None


def copy_if_there(source, target):
    """Somebody may be editing the tree."""
    with contextlib.suppress(FileNotFoundError):
        shutil.copy2(source, target)


def copy_of_tree(target):
    """The sources, as a test needs them."""
    shutil.copytree(TREE, target, symlinks=True, copy_function=copy_if_there,
                    ignore=shutil.ignore_patterns(".git", "build", "__pycache__", "*.o"))
    # Where Python looks for it: /src is read-only, and to compile all that a suite imports takes
    # a second of each program.
    compiled = compiled_python()
    for path in compiled.rglob("*.pyc"):
        beside = target / path.relative_to(compiled).parent
        if beside.is_dir():
            (beside / "__pycache__").mkdir(exist_ok=True)
            shutil.copy2(path, beside / "__pycache__")


def environment(kernel):
    """What COMMAND finds in its environment, besides its disks."""
    variables = {
        "VHDX_KERNEL": kernel.release,
        "VHDX_SRC": "/src",
        "VHDX_IN": "/in",
        "VHDX_OUT": "/out",
        "TMPDIR": "/tmp",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if corpus():
        variables["VHDX_CORPUS"] = "/corpus"
    for name in ("VHDX_BRIEF", "VHDX_LONG", "VHDX_SEED"):
        if os.environ.get(name):
            variables[name] = os.environ[name]
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def job(directory, kernel, options, token, has_module):
    """The image that tells the guest what to do; guest/start says what is in it.

    directory/job/files is there already.
    """
    content = directory / "job"
    shutil.copytree(VM / "guest", content / "guest")
    copy_of_tree(content / "src")
    if corpus():
        shutil.copytree(corpus(), content / "corpus")
    else:
        (content / "corpus").mkdir()
    (content / "environment").write_text(environment(kernel), encoding="utf-8")
    (content / "command").write_text(f"exec {shlex.join(options.command)}\n", encoding="utf-8",
                                     errors="surrogateescape")
    (content / "token").write_text(token + "\n", encoding="ascii")
    if not has_module:
        (content / "no-module").touch()
    if has_module and coverage():
        (content / "coverage").touch()
    if options.input:
        (content / "has-in").touch()
    if options.fed:
        (content / "fed").touch()
    return ext4(directory / "job.img", allocated(content) + JOB_SLACK, content)
