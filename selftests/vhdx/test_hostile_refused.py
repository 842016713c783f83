#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# vm: takes=30
"""Containers that must be refused: the right error, a message that names structure and
place, and not one byte changed.

Each of the oracle's mutations that must not attach is a case of its own.
"""

import contextlib
import errno
import os
import pathlib
import random
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
from vhdxtest import ctl, images, judge, ktap, uapi, udev
from vhdxtest.device import Control, Failure, name_of
from vhdxtest.chains import parents_of
from vhdxtest.disk import detach_index, opened, raw_attached
from vhdxtest.images import KIB, MIB
from vhdxtest.kernel_log import KernelLog
from vhdxoracle import MUTATIONS, mutate, verdicts
from vhdxoracle.crc32c import sealed

REASON_OF = {"EMEDIUMTYPE": uapi.BAD_TYPE, "EUCLEAN": uapi.CORRUPT, "EOPNOTSUPP": uapi.UNSUPPORTED}


def outcome(path, flags):
    """("ok" or the errno's name, the reason, the message)"""
    mode = os.O_RDONLY if flags & uapi.ATTACH_READ_ONLY else os.O_RDWR
    with Control() as control, contextlib.ExitStack() as files:
        layers = [uapi.Layer(files.enter_context(opened(path, mode)), -1)]
        layers += [uapi.Layer(files.enter_context(opened(parent, os.O_RDONLY)), -1) for parent in parents_of(path)]
        try:
            index = control.attach_layers(layers, flags, uapi.INDEX_ANY).index
        except Failure as failure:
            return name_of(failure.errno), failure.reason, control.message
        detach_index(control, index)
        return "ok", uapi.NONE, ""


def refused(name):
    """One mutation, attached for reading, unless that is right, and for writing."""
    with images.directory() as scratch, KernelLog() as log:
        path = str(scratch / "disk.vhdx")
        wanted = mutate(name, path)
        before = judge.fingerprint(path)
        for flags in (uapi.ATTACH_READ_ONLY, 0):
            got, reason, message = outcome(path, flags)
            if flags and wanted.readable:
                ktap.equal(got, "ok", message)
                continue
            ktap.check(got in wanted.attach, f"{got} instead of {wanted.attach}: {message}")
            ktap.equal(reason, REASON_OF[got], "reason")
            ktap.check(any(word.lower() in message.lower() for word in wanted.structure),
                       f"'{message}' names none of {wanted.structure}")
            ktap.check(got != "EUCLEAN" or re.search(r"0x[0-9a-f]+|\d+ bytes", message),
                       f"'{message}' names no place")
            verdict = verdicts.refused(uapi.REASONS[reason], message)
            judge.agreed(name, verdicts.read_only(verdict) if wanted.readable else verdict)
        ktap.check(judge.fingerprint(path) == before, "the container was changed")
        log.expect_quiet(("nothing was ever written",) if wanted.readable else ())


for _name, _mutation in MUTATIONS.items():
    if "ok" not in _mutation.attach:
        ktap.add(_name.replace("-", "_"), refused, _name)


@ktap.case
def what_the_command_says():
    """vhdxctl: exit status 1, the file's name and the driver's sentence on stderr."""
    with images.directory() as scratch:
        for name in ("headers-checksum", "region-tables-checksum", "metadata-signature",
                     "log-guid-without-entry", "zero-all"):
            path = str(scratch / f"{name}.vhdx")
            mutate(name, path)
            said = ctl.run("attach", path, status=ctl.FAILED)
            ktap.equal(said.stdout, "", "standard output")
            ktap.check(f"{name}.vhdx" in said.stderr, said.stderr)
            ktap.check(any(word in said.stderr for word in MUTATIONS[name].structure), said.stderr)


@ktap.case
def containers_of_other_sizes():
    """Empty, smaller than a sector, random, all of one byte; files and a loop device."""
    with images.directory() as scratch:
        order = random.Random(4)
        path = scratch / "disk.vhdx"
        for content in (b"", b"v", b"vhdxfile", b"vhdxfile" + bytes(4096), order.randbytes(3 * MIB + 7),
                        b"\xff" * (2 * MIB), b"vhdxfile" * (256 * KIB)):
            path.write_bytes(content)
            got, _, message = outcome(path, 0)
            ktap.check(got in ("EMEDIUMTYPE", "EUCLEAN"), f"{got}: {message}")
            ktap.check(path.read_bytes() == content, "the container was changed")
        path.write_bytes(order.randbytes(2 * MIB))
        with images.loop(path) as device:
            got, _, message = outcome(device, 0)
            ktap.equal(got, "EMEDIUMTYPE", message)


def random_damage(seed):
    """Numbers everywhere in the structures, checksums made right: refused, or attached and
    read to the end with the driver's own idea of it; never a splat, a hang or a write."""
    with images.directory() as scratch, KernelLog() as log:
        path, order = scratch / "disk.vhdx", random.Random(seed)
        mutate("log-dirty" if seed % 2 else "header-1-zero", str(path))
        good = path.read_bytes()[:4 * MIB]
        places = [(64 * KIB, 4096), (128 * KIB, 4096), (192 * KIB, 65536), (256 * KIB, 65536),
                  (MIB, None), (2 * MIB, None), (2 * MIB + 65536, None), (3 * MIB, None)]
        outcomes = set()
        for _ in range(40):
            raw = bytearray(good)
            for start, length in order.sample(places, 2):
                at = start + order.choice((0, 8, 16, 64, 4096)) + order.randrange(64)
                raw[at:at + 4] = order.choice((order.randbytes(4), bytes(4), b"\xff" * 4, b"\0\0\x10\0"))
                if length:
                    raw[start:start + length] = sealed(raw[start:start + length])
            with open(path, "r+b") as file:
                file.write(raw)
            before = judge.fingerprint(path)
            try:
                with raw_attached(path, flags=uapi.ATTACH_READ_ONLY) as disk:
                    outcomes.add("ok")
                    for offset in range(0, disk.size - 4096, 2 * MIB):
                        try:
                            disk.read(offset, 4096)
                        except OSError as error:
                            ktap.equal(error.errno, errno.EIO, "errno")
            except Failure as failure:
                outcomes.add(name_of(failure.errno))
            ktap.check(judge.fingerprint(path) == before, "the container was changed")
        ktap.check(outcomes <= {"ok", "EUCLEAN", "EMEDIUMTYPE", "EOPNOTSUPP"}, outcomes)
        ktap.diag(f"outcomes: {sorted(outcomes)}")
        log.expect_quiet(("no more blocks are allocated", "I/O error", "nothing was ever written"))


for _seed in (1, 2):
    ktap.add(f"random_damage_{_seed}", random_damage, _seed)


@ktap.case
def not_a_container_at_all():
    """Directories, character devices, pipes, files of no file system: refused, at once."""
    with images.directory() as scratch:
        (scratch / "directory").mkdir()
        os.mkfifo(scratch / "pipe")
        for path, mode in ((scratch / "directory", uapi.ATTACH_READ_ONLY), (scratch / "pipe", 0),
                           ("/dev/null", 0), ("/dev/zero", 0), ("/proc/version", uapi.ATTACH_READ_ONLY)):
            got, _, message = outcome(path, mode)
            ktap.check(got in ("EINVAL", "EMEDIUMTYPE", "EOPNOTSUPP", "EIO"), f"{path}: {got}: {message}")


with udev.asleep():
    ktap.main()
