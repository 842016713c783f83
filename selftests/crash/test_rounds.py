#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_rounds - a machine is killed in the middle of writes, boots again, and is killed again
#
# Round after round, the same disk: attached, written, sealed, and at some moment the machine is
# gone, now and then before the attach has ended or at the first writes behind a recovery. What it
# leaves is judged as in test_log_writes, by the library; and the driver, when it attaches it the
# next time, has to say the same. The seed decides whether the disk is a child; of a chain, parents
# are as they were in the end.
#
# VHDX_CRASH_ROUNDS=N goes round so often.
#
# vm: on=uml takes=60
import json
import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
import layers  # noqa: E402
import plans  # noqa: E402
from vhdxtest import ktap  # noqa: E402
from vhdxtest.aftermath import Aftermath  # noqa: E402
from vhdxtest.chronicle import Chronicle  # noqa: E402

KERNEL = os.environ.get("VHDX_TEST_KERNEL", "uml")
ROUNDS = int(os.environ.get("VHDX_CRASH_ROUNDS") or 4)
# Seconds from the guest's first command: one that gets to write, and ones that hardly do.
KILLED_AFTER = ((2.5, 5), (0.5, 1.5), (0.8, 2.2))
# On a host that is too busy for any of them to write, there are more of these.
PATIENCE = (15, 60)
# Writes of a session, which no machine gets to the end of.
ENOUGH = 100000


class Disk:
    """The files of a disk, and all that is known of it."""

    def __init__(self, directory, chance):
        self.directory, self.chance = directory, chance
        self.plan = plans.plan(chance, sessions=1, writes=ENOUGH, pause=0.2,
                               parents=plans.chain(chance))
        self.made = layers.Disk(directory, self.plan, chance)
        self.chronicle = Chronicle()
        self.aftermath = Aftermath(*self.made.files, parents=self.made.parents)
        self.made.tell(self.chronicle, self.aftermath)
        self.answers = None

    def _told(self, path):
        """The events that the machine put down."""
        with open(path, "rb") as file:
            while (text := file.read(plans.ROOM)) and text.strip(b"\0"):
                yield json.loads(text)

    def _take(self, event):
        self.chronicle.take(event)
        if event[0] == "point":
            self.aftermath.remember_as_told(event[1], self.chronicle)
        elif event[0] == "answers" and self.answers is not None:
            ktap.equal(event[1], self.answers, "the driver's answers after the attach")

    def lose_power(self, seconds):
        """One round."""
        inside, told = self.directory / "in", self.directory / "told"
        inside.mkdir(exist_ok=True)
        (inside / "plan").write_text(json.dumps(self.plan), encoding="ascii")
        told.unlink(missing_ok=True)
        told.touch()
        os.truncate(told, 256 << 20)
        plans.machine(KERNEL, inside, ["/src/selftests/crash/guest/sessions.py", "until-killed"],
                      *self.made.files, told, *self.made.parents,
                      options=("--kill-after", f"{seconds:.3f}"))
        for event in self._told(told):
            self._take(event)

    def judge(self):
        """What the round left, which the next one begins with."""
        found = self.aftermath.judge(self.chronicle)
        self.aftermath.judge_by_qemu(self.directory / "copy")
        self.answers = json.loads(json.dumps(self.aftermath.answers())) \
            if self.chronicle.points else None
        self.chronicle.take(self.aftermath.crash_of(found))
        self.plan = plans.after_a_crash(self.plan, self.chance, self.chronicle)


def one_round(disk, seconds):
    """Did any machine get to write so far?"""
    disk.lose_power(seconds)
    done = len(disk.chronicle.done_at) - len(disk.made.written)
    disk.judge()
    ktap.diag(f"{len(disk.made.parents)} parents, killed after {seconds:.1f} s: {done} writes, "
              f"{len(disk.chronicle.points)} points; " + ", ".join(
                  f"{count} {what}" for what, count in sorted(disk.aftermath.counts.items())))
    return disk.chronicle.points and done


@ktap.case
def killed_again_and_again():
    """See the head of this file."""
    chance = ktap.chance()
    with tempfile.TemporaryDirectory(prefix="rounds-") as name:
        disk = Disk(pathlib.Path(name), chance)
        for number in range(ROUNDS):
            wrote = one_round(disk, chance.uniform(*KILLED_AFTER[number % len(KILLED_AFTER)]))
        for seconds in PATIENCE:
            wrote = wrote or one_round(disk, seconds)
        disk.made.same_parents()
        ktap.check(wrote, "no machine got to write")


ktap.main()
