# SPDX-License-Identifier: GPL-2.0-only
"""Compilers that remember (ccache): what was compiled before is not compiled again.

A module is built for four kernels, kmod/core for as many compilers and machines; most of it is what
it was in the run before, or in that of another checkout.
"""

import os
from pathlib import Path

from harness.suites import TREE

# Debian's links: each has a compiler's name, and finds that compiler behind it in PATH.
LINKS = Path("/usr/lib/ccache")


def remember():
    """From here on, for all that this process starts; without ccache, nothing changes."""
    if not LINKS.is_dir():
        return
    cache = Path(os.environ.get("VHDX_CACHE") or Path.home() / ".cache/vhdx")
    os.environ["PATH"] = f"{LINKS}:{os.environ['PATH']}"
    os.environ.setdefault("CCACHE_DIR", str(cache / "ccache"))
    os.environ.setdefault("CCACHE_MAXSIZE", "2G")
    # Where the tree is does not matter.
    os.environ.setdefault("CCACHE_BASEDIR", str(TREE))
    # Debian's kernels name their compiler by its path, and look here for what to put before it.
    os.environ.setdefault("DEBIAN_KERNEL_USE_CCACHE", "1")
    os.environ.setdefault("CCACHE", "ccache")
