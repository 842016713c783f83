#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_mirror - a machine is killed in each phase of a mirror's round, and the next one goes on
#
# The disk is written all the time. What goes on is exact, and copies everything only where the full
# copy itself was what the crash came upon. A brief run has two phases, which the seed decides.
#
# vm: on=- long=uml takes=60
import json
import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
import plans  # noqa: E402
import vhdxoracle  # noqa: E402
from vhdxtest import ktap  # noqa: E402
from vhdxtest.images import MIB  # noqa: E402

KERNEL = os.environ.get("VHDX_TEST_KERNEL", "uml")
SIZE = 24 * MIB
PHASES = ("seal", "changes", "copy", "durable", "forget", "full")
# Seconds; the second is for a host that is too busy.
PATIENCE = (5, 20, 60)


def machine(directory, disks, phase, full):
    """Killed in the phase, or detached."""
    for seconds in PATIENCE:
        options = () if phase == "end" else ("--kill-after", f"{seconds}")
        command = ["/src/selftests/crash/guest/mirror.py", phase, full]
        said = plans.machine(KERNEL, directory, command, *disks, options=options)
        if any(json.loads(line) == {"in": phase} for line in said.splitlines()):
            return
        # It has not come so far, wherever it was.
        full = "any"
    raise AssertionError(f"the machine did not get to {phase}")


@ktap.case
def killed_in_each_phase():
    """See the head of this file."""
    chance = ktap.chance()
    phases = chance.sample(PHASES, 2 if ktap.BRIEF else len(PHASES))
    with tempfile.TemporaryDirectory(prefix="mirror-") as name:
        directory = pathlib.Path(name)
        disks = [directory / one for one in ("container", "sidecar", "target")]
        vhdxoracle.create(str(disks[0]), SIZE, block_size=MIB)
        for disk, size in zip(disks, (64 * MIB, 16 * MIB, SIZE + MIB)):
            disk.touch()
            os.truncate(disk, size)
        (directory / "in").mkdir()
        before = None
        for phase in (*phases, "end"):
            machine(directory / "in", disks, phase, str(int(before in (None, "full"))))
            ktap.diag(f"killed in {phase}")
            before = phase


ktap.main()
