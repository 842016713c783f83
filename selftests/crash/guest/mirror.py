#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The guest's part of test_mirror: mirror.py PHASE FULL

Attaches disk 0 with the sidecar on disk 1, and mirrors it to disk 2. What an earlier crash left is
made whole by one round, with FULL copies of everything, or "any"; then both are equal. It is
written until a round is in PHASE, and in it until the machine is gone; "end": it is detached.
"""

import json
import os
import pathlib
import random
import sys
import threading
import time

sys.path.insert(0, "/src/selftests/vhdx/lib")
# pylint: disable=wrong-import-position
from vhdxtest import mirror  # noqa: E402
from vhdxtest.disk import attached  # noqa: E402
from vhdxtest.images import KIB  # noqa: E402

CONTAINER, SIDECAR, TARGET = (os.environ[f"VHDX_DISK{number}"] for number in range(3))


def write(disk, chance, count):
    """Anywhere."""
    for _ in range(count):
        disk.write(chance.randrange(disk.size // (4 * KIB)) * 4 * KIB, chance.randbytes(4 * KIB))


def forget_rounds(disk):
    """Only a full copy helps."""
    disk.handle.seal()
    for point in disk.handle.ids()[:-1]:
        disk.handle.forget(point)


def die_in(phase, disk, one, chance):
    """The host ends the machine."""
    if phase == "full":
        forget_rounds(disk)
    pathlib.Path(mirror.STOP_IN).write_text(phase, encoding="ascii")
    threading.Thread(target=one.round, daemon=True).start()
    while one.phase != phase:
        write(disk, chance, 1)
    write(disk, chance, 20)
    disk.data.flush()
    print(json.dumps({"in": phase}), flush=True)
    while True:
        write(disk, chance, 1)
        time.sleep(0.05)


def main(phase, full):
    """See the head."""
    chance = random.Random(f"{os.environ.get('VHDX_SEED')} {phase}")
    with attached(CONTAINER, "--track", "--sidecar", SIDECAR) as disk, mirror.loaded(), \
            mirror.mirrored(disk, TARGET) as one:
        one.round()
        mirror.same(disk, TARGET)
        assert full in (str(one.full), "any"), f"{one.full} full copies, not {full}; why: {one.why}"
        assert mirror.points(disk) == 1, f"{mirror.points(disk)} points"
        if phase != "end":
            write(disk, chance, 50)
            one.round()
            write(disk, chance, 50)
            die_in(phase, disk, one, chance)
    print(json.dumps({"in": phase}), flush=True)


main(*sys.argv[1:])
