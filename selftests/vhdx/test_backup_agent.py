#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_backup_agent - the program of Documentation/backup-agent.rst, through all that it is to stand
#
# vm: takes=10
import contextlib
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, images, knob, ktap  # noqa: E402
from vhdxtest.disk import attached  # noqa: E402
from vhdxtest.images import KIB, MIB  # noqa: E402

AGENT = "/usr/libexec/vhdx-selftests/agent"
SIZE, UNIT = 64 * MIB, 16 * KIB


class Store:
    """Where an agent keeps its copy of a disk."""

    def __init__(self, directory, name="nightly"):
        self.path = directory / name
        self.path.mkdir()
        self.label = name

    def run(self, disk, limit=resource.RLIM_INFINITY):
        """The agent runs; the kernel kills it when it writes behind the limit."""
        return subprocess.run(
            [AGENT, disk.node, self.path, self.label], capture_output=True, text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
            check=False)

    def backup(self, disk, kind, most=None):
        """A run that ends well: of this kind; the copy is the disk, and one point is left."""
        done = self.run(disk)
        ktap.equal(done.returncode, 0, f"status of the agent: {done.stderr}")
        said = re.fullmatch(r"(\w+): (\d+) bytes\n", done.stdout)
        ktap.equal(said and said.group(1), kind, f"kind: {done.stdout}{done.stderr}")
        if most is not None:
            ktap.check(int(said.group(2)) <= most, f"{said.group(2)} bytes were copied")
        self.check(disk)
        points = [one.id for one in disk.handle.points() if one.text == self.label]
        ktap.equal([str(one) for one in points], [self.id], "points")
        return done.stderr

    def check(self, disk):
        """Byte for byte."""
        copy = images.raw_copy(disk.node, self.path / "now")
        ktap.equal(images.differences(copy, self.path / "image", []), [], "where it differs")
        ktap.equal(os.stat(self.path / "image").st_size, disk.size, "size of the copy")

    @property
    def id(self):
        """The text of the stored id."""
        return (self.path / "id").read_text()


def write(disk, offset, text, sectors=1):
    """Sectors full of a text."""
    disk.write(offset, (text * 512)[:512] * sectors)


@contextlib.contextmanager
def scene():
    """A tracked disk with something on it, its directory, and a store."""
    with images.directory() as directory:
        path = images.create(directory / "disk.vhdx", SIZE, block_size=MIB)
        with attached(path, "--track", "--unit", UNIT) as disk:
            for at in (0, 10, 30, 63):
                write(disk, at * MIB, bytes([at + 1]), 137)
            yield disk, directory, Store(directory)


@ktap.case
def full_then_incremental_then_restored():
    with scene() as (disk, directory, store):
        store.backup(disk, "full", 4 * MIB)
        ktap.equal(store.backup(disk, "incremental", 0), "", "complaints")
        write(disk, 10 * MIB + 512, b"changed")
        write(disk, 40 * MIB, b"new", 60)
        store.backup(disk, "incremental", 3 * UNIT)
        ctl.run("verify", "--base", store.path / "image", "--since", store.id, disk.node)
        restored = directory / "restored.vhdx"
        ctl.run("convert", "--from", "raw", store.path / "image", restored)
        with attached(restored) as copy:
            store.check(copy)


@ktap.case
def killed_while_it_copies():
    """The id of before is asked from again; nothing of either run is missing, nothing is left."""
    with scene() as (disk, _, store):
        done = store.run(disk, 20 * MIB)
        ktap.equal(done.returncode, -signal.SIGXFSZ, "a full backup is killed")
        ktap.check(not (store.path / "image").exists(), "half a copy counts")
        store.backup(disk, "full")
        before = store.id
        write(disk, 5 * MIB, b"first", 50)
        write(disk, 50 * MIB, b"first", 50)
        done = store.run(disk, 20 * MIB)
        ktap.equal(done.returncode, -signal.SIGXFSZ, "an incremental one is killed")
        ktap.equal(store.id, before, "id")
        write(disk, 7 * MIB, b"second", 60)
        write(disk, 5 * MIB, b"second")
        store.backup(disk, "incremental", 8 * UNIT)


@ktap.case
def machine_crashed():
    """Copies of container and sidecar while they are in use: what power loss would leave."""
    with knob.turned("/sys/module/vhdx/parameters/regions_around", "1"), \
            scene() as (disk, directory, store):
        store.backup(disk, "full")
        write(disk, 20 * MIB, b"before the crash", 30)
        after = directory / "after"
        after.mkdir()
        for name in ("disk.vhdx", "disk.vhdx.lrct"):
            shutil.copy(directory / name, after / name)
        with attached(after / "disk.vhdx") as again:
            write(again, 21 * MIB, b"after it", 30)
            # Whole regions of 4 MiB, and not all of the disk.
            store.backup(again, "incremental", SIZE // 2)


@ktap.case
def history_is_lost():
    """It says why, and makes a full backup; what is gone from the disk is gone from the copy."""
    with scene() as (disk, directory, store):
        other = Store(directory, "weekly")
        store.backup(disk, "full")
        other.backup(disk, "full")
        disk.handle.reset()
        write(disk, 12 * MIB, b"x", 200)
        ktap.check("full backup" in store.backup(disk, "full", 6 * MIB), "not a word")
        store.backup(disk, "incremental", 0)
        # The other one's point is still there, on the other side of the gap.
        ktap.check("full backup" in other.backup(disk, "full"), "not a word")
        # Its disk is another one now, under the same name.
        new = images.create(directory / "other.vhdx", SIZE, block_size=MIB)
        with attached(new, "--track") as stranger:
            write(stranger, MIB, b"stranger", 8)
            ktap.check("does not know" in store.backup(stranger, "full", MIB), "not a word")


ktap.main()
