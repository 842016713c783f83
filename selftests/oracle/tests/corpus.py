# SPDX-License-Identifier: GPL-2.0-only
"""Images that Windows, Hyper-V and QEMU wrote, with known content.

The corpus' README.md lists the sha256 of each disk's content.
"""

import re

import ktap
from vhdxoracle import check, content_sha256, corpus, faults, open_disk
from vhdxoracle.crc32c import is_sealed
from vhdxoracle.layout import BAT_REGION, METADATA_REGION, Header, unpack_region_table

from .support import digest

_ROW = re.compile(r"\| (\S+\.vhdx)\.[xg]z \|.*\| ([0-9a-f]{64}) \| ([0-9a-f]{64}) \|")


def _file(name):
    path = corpus.DIRECTORY / name
    if not path.exists():
        ktap.skip(f"no {path}")
    return path


def _unpack(name, scratch):
    return corpus.unpacked(name, scratch) or ktap.skip(f"no {name} in {corpus.DIRECTORY}")


def _expect_known(name, scratch):
    sums = {n: (container, content) for n, container, content in _ROW.findall(_file("README.md").read_text())}
    path = _unpack(name, scratch)
    ktap.equal(digest(path), sums[name][0], "container")
    with open_disk(path) as image:
        ktap.equal(content_sha256(image), sums[name][1], "content")
        ktap.check(not image.is_dirty, "the image is clean")
    wrong = faults(check(path, clean=True))
    ktap.check(not wrong, f"{wrong}")


def test_qemu_dynamic(scratch):
    _expect_known("ext2.vhdx", scratch)


def test_windows_fixed(scratch):
    _expect_known("fat-parent.vhdx", scratch)


def test_windows_differencing(scratch):
    _unpack("fat-parent.vhdx", scratch)
    _expect_known("fat-differential.vhdx", scratch)


def test_hyperv_dynamic(scratch):
    """10 GiB to hash: the longest test."""
    _expect_known("swap.vhdx", scratch)


def test_single_structures(_):
    raw = _file("structs/image_header.1").read_bytes()
    ktap.check(is_sealed(raw), "the header's checksum")
    ktap.equal(Header.unpack(raw).pack(), raw, "the header, packed again")
    count, regions = unpack_region_table(_file("structs/region_table.1").read_bytes())
    ktap.equal((count, [r.guid for r in regions]), (2, [BAT_REGION, METADATA_REGION]), "regions")
