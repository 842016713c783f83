# SPDX-License-Identifier: GPL-2.0-only
"""Chains that VHD Sets are about; the sets themselves are written by the oracle."""
import os
import pathlib
import sys

from common import TREE, ctl, ktap

sys.path.append(str(TREE / "selftests/oracle"))

import vhdxoracle  # noqa: E402


def make_chain(path, names=("base.vhdx", "middle.avhdx", "leaf.avhdx")):
    """Files that are made of each other, the first of them of none; their paths."""
    paths = [path / name for name in names]
    ctl("create", "--size", "16M", paths[0]).expect(0)
    for parent, child in zip(paths, paths[1:]):
        ctl("create", "--parent", parent, child).expect(0)
    return paths


def make_written_chain(path):
    """The same, where each child has half a KiB of its own; [(path, offset of that)], leaf last."""
    chain = [(path / "base.vhdx", 0), (path / "middle.avhdx", 1 << 20), (path / "leaf.avhdx", 5 << 20)]
    vhdxoracle.create(chain[0][0], 16 << 20, block_size=1 << 20)
    for (parent, _), (child, offset) in zip(chain, chain[1:]):
        vhdxoracle.create(child, parent=parent, block_size=1 << 20, content=[(offset, b"x" * 512)])
    return chain


def example():
    """Of the corpus."""
    corpus = pathlib.Path(os.environ.get("VHDX_CORPUS", TREE.parent / "shared/corpus"))
    path = corpus / "rsvd.vhds"
    if not path.exists():
        ktap.skip(f"{path} is not there")
    return path.read_bytes()
