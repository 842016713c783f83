# SPDX-License-Identifier: GPL-2.0-only
"""Where chance comes from: the tree that is tested."""

import hashlib
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PARTS = ("kmod", "uapi", "userspace", "selftests")
# What running and building leaves there
LEFT_BEHIND = ("__pycache__",)
OBJECTS = (".o", ".ko", ".mod", ".mod.c", ".cmd")


def _files():
    for part in PARTS:
        for path, folders, names in os.walk(ROOT / part):
            folders[:] = sorted(name for name in folders if name not in LEFT_BEHIND)
            for name in sorted(names):
                if not name.endswith(OBJECTS):
                    yield Path(path) / name


def of_the_tree():
    """A number that belongs to what is in the tree: what passes once passes again, wherever it is
    checked out, and a change is tried with other numbers than what was there before it."""
    contents = hashlib.sha256()
    for file in _files():
        contents.update(str(file.relative_to(ROOT)).encode() + b"\0")
        contents.update(os.readlink(file).encode() if file.is_symlink() else file.read_bytes())
    return int.from_bytes(contents.digest()[:8], "little") % 10 ** 9
