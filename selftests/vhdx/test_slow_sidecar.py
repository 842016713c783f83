#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_slow_sidecar - a sidecar that is slow holds up nobody, and who waits for it can be killed
#
# vm: timeout=400 long=uml-lockdep takes=120
import contextlib
import errno
import os
import pathlib
import signal
import sys
import threading
import time
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, images, knob, ktap, mapper, sidecar, slow, udev, uapi  # noqa: E402
from vhdxtest.device import Control, Failure  # noqa: E402
from vhdxtest.disk import attached, detach_index, opened, raw_attached, uses_of_the_driver  # noqa: E402
from vhdxtest.images import GIB, KIB, MIB  # noqa: E402
from vhdxtest.kernel_log import KernelLog  # noqa: E402
from vhdxtest.sidecar import Delta, leaf_of  # noqa: E402

TIMEOUT = "/sys/module/vhdx/parameters/sidecar_timeout_ms"
UNIT = 4 * KIB
READ_MS = 25
DELTAS = 200
# Reading one block of each delta takes this long.
ALL = DELTAS * READ_MS / 1000


@contextlib.contextmanager
def prepared(deltas=(), live=None, size=8 * GIB, name="slow", room=16 * MIB):
    """(path of a container, slow device with its sidecar), not attached.

    deltas      what lies before each point behind the first one
    name        of the device
    room        how large that is
    """
    with images.directory() as directory, \
            slow.device(directory / "backing", room, name) as below:
        path = images.create(directory / "disk.vhdx", size, block_size=MIB)
        with attached(path, "--track", "--sidecar", below.path, "--unit", UNIT):
            pass
        nothing = Delta({}, 0, 0)
        sidecar.replace(below.path, [nothing, *deltas], live or nothing)
        yield path, below


def one_unit_each(count=DELTAS):
    """Deltas: the second unit behind the first point, the fourth behind the next, and so on."""
    return [Delta({0: leaf_of([2 * number])}, 0, 0) for number in range(1, count + 1)]


def told_by(count=DELTAS):
    """What they add up to."""
    return [(2 * number * UNIT, UNIT) for number in range(1, count + 1)]


def expect_told(ranges, count=DELTAS):
    """An answer has them all, and nothing else."""
    missed = [one for one in told_by(count) if one not in ranges]
    ktap.check(not missed, f"{len(missed)} ranges are missing, the first: {missed[:3]}")
    ktap.equal(len(ranges), count, "ranges")


def killed(function, after):
    """Kills a child that is so many seconds into function(); how long it takes to die."""
    child = os.fork()
    if not child:
        try:
            function()
        finally:
            os._exit(0)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    begin = time.monotonic()
    _, status = os.waitpid(child, 0)
    ktap.check(os.WIFSIGNALED(status), "it had ended before it was killed")
    took = time.monotonic() - begin
    ktap.diag(f"it took {took:.2f} s to die")
    return took


# ---- questions --------------------------------------------------------------------------

@ktap.case
def killed_while_it_asks():
    """A single leaf, of two hundred deltas."""
    with prepared(one_unit_each()) as (path, below), raw_attached(path, below.path) as disk:
        first = disk.handle.ids()[0]
        below.delay(read=READ_MS)
        took = killed(lambda: disk.handle.changes(first), ALL / 5)
        ktap.check(took < ALL / 5, f"it died {took:.1f} s after it was killed")
        below.delay()
        expect_told(disk.handle.changes(first))


# Of the kernel's include/linux/sched.h.
PF_MEMALLOC_NOIO, PF_LOCAL_THROTTLE = 0x00080000, 0x00100000


class Workers:
    """Those that answer questions to a disk: found now and then, and looked at often."""

    AGAIN = 20

    def __init__(self, index):
        self.name, self.asked, self.found = f"vhdx{index}-question", 0, []

    def _find(self):
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self.name in (process / "comm").read_text(encoding="ascii"):
                    yield process / "stat"

    def waiting(self):
        """Flags of those that wait for something as they answer."""
        if not self.found or self.asked % self.AGAIN == 0:
            self.found = list(self._find())
        self.asked += 1
        for one in self.found:
            with contextlib.suppress(OSError):
                name, _, rest = one.read_text(encoding="ascii").rpartition(")")
                state, *fields = rest.split()
                if state == "D" and self.name in name:
                    yield int(fields[5])


@ktap.case
def a_question_waits_for_no_writer():
    """Writes may wait for its lock: memory that it needs is not made by writing (rule K3)."""
    with prepared(one_unit_each()) as (path, below), raw_attached(path, below.path) as disk:
        first = disk.handle.ids()[0]
        below.delay(read=READ_MS)
        asking = threading.Thread(target=disk.handle.changes, args=(first,))
        asking.start()
        seen, workers = [], Workers(disk.index)
        while asking.is_alive():
            seen += workers.waiting()
            time.sleep(READ_MS / 5000)
        ktap.check(len(seen) > DELTAS / 4, f"it was seen to wait {len(seen)} times")
        both = PF_MEMALLOC_NOIO | PF_LOCAL_THROTTLE
        outside = [f"{flags:#x}" for flags in seen if flags & both != both]
        ktap.check(not outside, f"{len(outside)} times of {len(seen)} outside: {outside[:3]}")


def forget_blocks():
    """What is kept of sidecars goes: the second time nothing was used since the first one."""
    images.forget_pages()
    images.forget_pages()


@ktap.case
def what_is_in_memory_waits_for_no_device():
    """Who asks answers it himself. What is not in memory is read, and told as well."""
    deltas = [Delta({number: leaf_of([number])}, 0, 0) for number in range(40)]
    should = [((number * sidecar.LEAF_UNITS + number) * UNIT, UNIT) for number in range(40)]
    with prepared(deltas) as (path, below), raw_attached(path, below.path) as disk:
        first, *_, last = disk.handle.ids()
        for question in ((first,), (first, last)):
            ktap.equal(disk.handle.changes(*question), should, "what was read")
        below.delay(read=2000)
        begin = time.monotonic()
        for question in ((first,), (first, last)):
            ktap.equal(disk.handle.changes(*question), should, "what is in memory")
        ktap.check(time.monotonic() - begin < 2, "it waited for the device")
        below.delay(read=READ_MS)
        forget_blocks()
        begin = time.monotonic()
        ktap.equal(disk.handle.changes(first, last), should, "what is read again")
        ktap.check(time.monotonic() - begin > READ_MS / 1000, "it was in memory still")
        below.delay()
        # The blocks of what is sealed now are there, and those of some before.
        forget_blocks()
        disk.handle.changes(disk.handle.ids()[20], disk.handle.ids()[30])
        disk.write(0, b"x" * UNIT)
        disk.handle.seal()
        ktap.equal(disk.handle.changes(first), should, "with some of it in memory")


@ktap.case
def seals_beside_a_long_question():
    with prepared(one_unit_each()) as (path, below), raw_attached(path, below.path) as disk:
        first = disk.handle.ids()[0]
        below.delay(read=2 * READ_MS)
        answers = []
        asking = threading.Thread(target=lambda: answers.append(disk.handle.changes(first)))
        asking.start()
        time.sleep(ALL / 10)
        begin = time.monotonic()
        disk.handle.seal()
        took = time.monotonic() - begin
        ktap.check(asking.is_alive(), "the question was answered: nothing was tested")
        below.delay()
        asking.join()
        ktap.diag(f"the seal took {took:.2f} s")
        ktap.check(took < ALL, f"a seal took {took:.1f} s")
        expect_told(answers[0])


def seal_until_full(disk):
    """The last seal finds no room; what it was for is in all leaves."""
    while True:
        for offset in range(0, disk.size, sidecar.LEAF_UNITS * UNIT):
            disk.write(offset, b"x" * 512)
        try:
            disk.handle.seal()
        except Failure as failure:
            ktap.equal((failure.errno, failure.reason), (errno.ENOSPC, uapi.NO_SPACE), "a seal")
            return


@ktap.case
def no_room_beside_a_long_question():
    """Who needs room waits until the question keeps no block from use, which is soon: a sidecar
    that is only full is not given up, though the question reads on and on in one leaf."""
    with prepared(one_unit_each(), room=4 * MIB) as (path, below), \
            raw_attached(path, below.path) as disk, knob.turned(TIMEOUT, "4000"):
        first, last = disk.handle.ids()[0], disk.handle.ids()[-1]
        seal_until_full(disk)
        below.delay(read=2 * READ_MS)
        asking = threading.Thread(target=disk.handle.changes, args=(first, last))
        asking.start()
        time.sleep(0.5)
        ktap.expect_errno(errno.ENOSPC, disk.handle.seal)
        ktap.check(asking.is_alive(), "the question was answered: nothing was tested")
        ktap.equal(disk.sysfs("tracking"), "on", "tracking")
        below.delay()
        asking.join()
        expect_told(disk.handle.changes(first, last))


@ktap.case
def tracking_fails_beside_a_question():
    """Which is told so, also while somebody holds up that tracking is turned off."""
    leaves = range(8 * GIB // (sidecar.LEAF_UNITS * UNIT))
    wide = [Delta({number: leaf_of([unit]) for number in leaves}, 0, 0) for unit in (1, 3)]
    with prepared([*wide, *one_unit_each(8)]) as (path, below), \
            raw_attached(path, below.path) as disk:
        ids = disk.handle.ids()
        disk.write(0, b"x" * 512)
        # The walk that this began.
        time.sleep(1)
        below.delay(read=READ_MS)
        failures = []

        def ask():
            try:
                disk.handle.changes(ids[0])
            except Failure as failure:
                failures.append(failure.reason)

        def forget():
            with contextlib.suppress(Failure):
                disk.handle.forget(ids[1])
        asking, forgetting = threading.Thread(target=ask), threading.Thread(target=forget)
        asking.start()
        forgetting.start()
        time.sleep(0.3)
        # The first block of the coarse area can't be written any more.
        at, rest = 4 * sidecar.BLOCK // 512, below.size // 512 - 5 * sidecar.BLOCK // 512
        below.load(f"0 {at} delay {below.below} 0 {READ_MS} {below.below} 0 0\n"
                   f"{at} 8 error\n"
                   f"{at + 8} {rest} delay {below.below} {at + 8} {READ_MS} {below.below} {at + 8} 0")
        disk.write(4 * GIB, b"y" * 512)
        asking.join()
        ktap.check(forgetting.is_alive(), "nobody held it up: nothing was tested")
        ktap.equal(failures, [uapi.TRACKING_ERROR], "what the question was told")
        below.delay()
        forgetting.join()
        ktap.eventually(lambda: disk.handle.state().state == uapi.TRACKING_OFF, "tracking is off")


def seal_of_both_beside(first, second, task, devices):
    """Three threads for each of two disks do this all the time: a seal of both gets its turn. Then
    their devices are fast again: what the threads are at is not waited for."""
    stop = threading.Event()

    def repeated(disk):
        while not stop.is_set():
            task(disk)
    beside = [threading.Thread(target=repeated, args=(disk,)) for disk in (first, second) * 3]
    seal = threading.Thread(target=Control.seal_of, args=(first.handle, second.handle))
    for thread in beside:
        thread.start()
    time.sleep(0.5)
    begin = time.monotonic()
    seal.start()
    seal.join(15)
    took = time.monotonic() - begin
    stop.set()
    for below in devices:
        below.delay()
    for thread in (seal, *beside):
        thread.join()
    ktap.diag(f"the seal took {took:.2f} s")
    ktap.check(took < 10, "a seal of two disks does not get its turn")


@ktap.case
def seal_of_two_disks_beside_questions():
    with contextlib.ExitStack() as stack:
        disks, devices = [], []
        for name in ("slow", "slow2"):
            path, below = stack.enter_context(prepared(one_unit_each(), name=name))
            disks.append(stack.enter_context(raw_attached(path, below.path)))
            devices.append(below)
            below.delay(read=READ_MS)
        points = {disk: disk.handle.ids()[0] for disk in disks}
        seal_of_both_beside(*disks, lambda disk: disk.handle.changes(points[disk]), devices)


@ktap.case
def seal_of_two_disks_beside_seals_of_each():
    with contextlib.ExitStack() as stack:
        disks, devices = [], []
        for name in ("slow", "slow2"):
            directory = stack.enter_context(images.directory())
            below = stack.enter_context(slow.device(directory / "backing", 16 * MIB, name))
            disks.append(stack.enter_context(tracked(directory, name, below.path)))
            devices.append(below)
            below.delay(write=READ_MS)
        seal_of_both_beside(*disks, lambda disk: disk.handle.seal(), devices)


def change_often(disk, stop):
    """Seals and forgets what it sealed, all the time."""
    while not stop.is_set():
        disk.handle.forget(disk.handle.seal())


def seal_often(disk, stop):
    """The same without a pause between two."""
    while not stop.is_set():
        disk.handle.seal()


def question_beside(task):
    """Several threads do this all the time: questions are answered, and none gives up."""
    with images.directory() as directory, \
            slow.device(directory / "backing", 64 * MIB) as below, \
            tracked(directory, "disk", below.path) as disk:
        first, generation = disk.handle.ids()[0], disk.handle.state().generation
        stop = threading.Event()
        beside = [threading.Thread(target=task, args=(disk, stop)) for _ in range(3)]
        below.delay(write=READ_MS)
        for thread in beside:
            thread.start()
        try:
            for _ in range(3):
                time.sleep(1)
                asking = threading.Thread(target=disk.handle.changes, args=(first,))
                begin = time.monotonic()
                asking.start()
                asking.join(10)
                ktap.check(not asking.is_alive(), "a question is not answered")
                ktap.diag(f"the question took {time.monotonic() - begin:.2f} s")
            ktap.check(all(thread.is_alive() for thread in beside), "a change failed")
        finally:
            stop.set()
            below.delay()
            for thread in (*beside, asking):
                thread.join()
        changes = disk.handle.state().generation - generation
        ktap.check(changes > 6, f"only {changes} changes: nothing was tested")


ktap.add("question_beside_seals", question_beside, seal_often)
ktap.add("question_beside_changes", question_beside, change_often)


def forget_meanwhile(order):
    """Points are forgotten while their deltas are read, and move about: none is missed."""
    count = DELTAS // 2
    with prepared(one_unit_each(count)) as (path, below), raw_attached(path, below.path) as disk:
        ids = disk.handle.ids()
        # A question reads three blocks of each delta: its root, a table, a leaf.
        below.delay(read=READ_MS // 6)
        answers = []
        asking = threading.Thread(target=lambda: answers.append(disk.handle.changes(ids[0])))
        asking.start()
        forgotten = 0
        for point in dict.fromkeys(order(ids[1:])):
            if not asking.is_alive():
                break
            disk.handle.forget(point)
            forgotten += 1
        asking.join()
        below.delay()
        ktap.diag(f"{forgotten} points were forgotten")
        ktap.check(forgotten > 5, "too few were forgotten in time")
        expect_told(answers[0], count)


for name, how in {
        "first": lambda ids: ids,
        "last": lambda ids: ids[::-1],
        # The one that a question goes on with after it gave up the lock.
        "next": lambda ids: ids[16::16] + ids,
        "any": lambda ids: ktap.chance().sample(ids, len(ids)),
}.items():
    ktap.add(f"{name}_points_are_forgotten_beside_a_question", forget_meanwhile, how)


# ---- attach, seal -----------------------------------------------------------------------

def attach_and_be_killed(path, below, after):
    """An attach that is killed leaves no disk, and goes no further than it got; the next one finds
    everything."""
    def attach():
        with Control() as control, opened(path) as container, opened(below.path) as lrct:
            control.attach(container, lrct)
    below.delay(read=READ_MS)
    uses = uses_of_the_driver()
    with KernelLog() as log:
        killed(attach, after)
        begin = time.monotonic()
        ktap.eventually(lambda: uses_of_the_driver() == uses, "it ends")
        took = time.monotonic() - begin
        said = [text for level, text in log.records() if level <= 4]
    left = sorted(one.name for one in pathlib.Path("/sys/block").glob("vhdx*"))
    below.delay()
    for name in left:
        with Control() as control:
            control.detach(int(name.removeprefix("vhdx")))
    ktap.check(not left, f"attached by somebody who is dead: {left}")
    ktap.check(not said, f"kernel log: {said}")
    ktap.check(took < ALL / 5, f"it ended {took:.1f} s after it was killed")
    with raw_attached(path, below.path) as disk:
        ktap.equal((disk.reason, disk.message), (uapi.NONE, ""), "reason")
        ktap.equal(disk.handle.state().state, uapi.TRACKING_ON, "state")
        return disk.handle.changes(disk.handle.ids()[0])


@ktap.case
def killed_while_points_are_read():
    # Twenty-one of them are in a block.
    many = [Delta({}, 0, 0)] * 20 * DELTAS
    with prepared(one_unit_each() + many[DELTAS + 1:]) as (path, below):
        expect_told(attach_and_be_killed(path, below, ALL / 5))


@ktap.case
def killed_while_the_live_delta_is_read():
    leaves = 8 * GIB // (sidecar.LEAF_UNITS * UNIT)
    live = Delta({number: leaf_of([7]) for number in range(leaves)}, 0, 0)
    with prepared(live=live) as (path, below):
        ktap.equal(attach_and_be_killed(path, below, 0.5),
                   [((number * sidecar.LEAF_UNITS + 7) * UNIT, UNIT) for number in range(leaves)],
                   "changes")


@contextlib.contextmanager
def in_memory(directory):
    """A tmpfs: writes go through the page cache, and a killed task's end early."""
    where = directory / "tmpfs"
    where.mkdir()
    images.command("mount", "-t", "tmpfs", "none", where)
    try:
        yield where
    finally:
        images.command("umount", where)


@ktap.case
def killed_while_it_seals():
    """The container is not to be written off because somebody killed a backup."""
    with images.directory() as directory, in_memory(directory) as where, \
            slow.device(directory / "backing", 16 * MIB) as below:
        path = images.create(where / "disk.vhdx", 64 * MIB, block_size=MIB)
        with attached(path, "--track", "--sidecar", below.path, "--unit", UNIT) as disk:
            first = disk.handle.ids()[0]
            disk.write(0, b"x" * 4096)
            # Two writes to the sidecar, or three, then one to the container.
            below.delay(write=300)
            killed(disk.handle.seal, 0.4)
            below.delay()
            ktap.equal(disk.sysfs("poisoned"), "0", "poisoned")
            ktap.equal(disk.sysfs("tracking"), "on", "tracking")
            disk.write(8 * MIB, b"y" * 4096)
            wanted = [(0, UNIT), (8 * MIB, UNIT)]
            ktap.equal(disk.handle.changes(first), wanted, "changes")
        with attached(path, "--sidecar", below.path) as disk:
            ktap.equal(disk.handle.changes(first), wanted, "changes after a reattach")


# ---- one that hangs ---------------------------------------------------------------------

@contextlib.contextmanager
def tracked(directory, name, side):
    """A disk of its own that was written and sealed."""
    path = images.create(directory / f"{name}.vhdx", 64 * MIB, block_size=MIB)
    with raw_attached(path) as disk:
        with opened(side, os.O_RDWR | os.O_CREAT) as lrct:
            disk.handle.enable(lrct)
        disk.write(0, b"x" * 4096)
        yield disk


def took(function, *arguments):
    """What it returns, and how many seconds it took."""
    begin = time.monotonic()
    result = function(*arguments)
    return result, time.monotonic() - begin


def failing(function):
    """It does."""
    try:
        function()
        raise AssertionError("it did not fail")
    except Failure:
        pass


def expect_given_up(disk):
    """Tracking is off, the disk is not."""
    state = disk.handle.state()
    ktap.equal((state.state, state.gap_reason), (uapi.TRACKING_OFF, uapi.TRACKING_ERROR))
    ktap.equal(disk.sysfs("reason"), "tracking_error", "reason")
    disk.write(2 * MIB, b"w" * 4096)


def is_free(path, side):
    """No disk has the sidecar any more: it can be read."""
    with Control() as control, opened(path) as container, opened(side) as lrct:
        try:
            detach_index(control, control.attach(container, lrct, uapi.ATTACH_READ_ONLY).index)
        except Failure as failure:
            ktap.equal((failure.errno, failure.reason), (errno.EBUSY, uapi.IN_USE), "attach")
            ktap.check("try again once its device works" in control.message, control.message)
            return False
        return True


def hangs_in(change):
    """Beyond its deadline the sidecar is given up, the disk goes on, and is detached without it."""
    with images.directory() as directory, slow.device(directory / "backing", 16 * MIB) as below:
        path = images.create(directory / "disk.vhdx", 64 * MIB, block_size=MIB)
        with knob.turned(TIMEOUT, "1000"), contextlib.ExitStack() as stack:
            with raw_attached(path) as disk:
                with opened(below.path, os.O_RDWR) as lrct:
                    disk.handle.enable(lrct)
                disk.write(0, b"x" * 4096)
                disk.handle.seal()
                disk.write(MIB, b"x" * 4096)
                stack.enter_context(mapper.hanging(below.name))
                seconds = took(failing, lambda: change(disk.handle))[1]
                ktap.check(0.9 < seconds < 8, f"it took {seconds:.1f} s")
                expect_given_up(disk)
                begin = time.monotonic()
            seconds = time.monotonic() - begin
            ktap.check(seconds < 5, f"the detach took {seconds:.1f} s")
            # The number of the disk that had it is free.
            ktap.check(not is_free(path, below.path), "attached with what hangs")
        # It is closed once it goes on, and what it has is not believed.
        ktap.eventually(lambda: is_free(path, below.path), "the sidecar is closed")
        with attached(path, "--sidecar", below.path) as disk:
            ktap.equal(disk.sysfs("reason"), "tracking_error", "reason at the next attach")


for name, what in {
        "seal": lambda handle: handle.seal(),
        "forget": lambda handle: handle.forget(handle.ids()[-1]),
        "disable": lambda handle: handle.disable(),
        "reset": lambda handle: handle.reset(),
}.items():
    ktap.add(f"given_up_in_a_{name}", hangs_in, what)


@ktap.case
def enabled_while_the_former_one_hangs():
    """Refused, by its name, and with advice that helps."""
    with images.directory() as directory, slow.device(directory / "backing", 16 * MIB) as below, \
            knob.turned(TIMEOUT, "1000"):
        path = images.create(directory / "disk.vhdx", 64 * MIB, block_size=MIB)
        with attached(path, "--track", "--sidecar", below.path) as disk:
            disk.write(0, b"x" * 4096)
            with mapper.hanging(below.name):
                failing(disk.handle.seal)
                expect_given_up(disk)
                said = ctl.run("track", "enable", disk.node, status=ctl.FAILED).stderr
                for words in (f"{below.path}: sidecar: a write to it has not ended",
                              "enable tracking when its device answers",
                              "or detach the disk, and attach it with another one"):
                    ktap.check(words in said, said)
            ctl.line("track", "enable", disk.node)
        with contextlib.ExitStack() as stack:
            with attached(path, "--sidecar", below.path) as disk:
                disk.write(0, b"x" * 4096)
                stack.enter_context(mapper.hanging(below.name))
                failing(disk.handle.seal)
            with attached(path, "--track", "--sidecar", directory / "another") as disk:
                ktap.equal(disk.sysfs("tracking"), "on", "tracking in another one")


@ktap.case
def slow_in_each_transfer():
    """A commit takes longer than the deadline, none of its transfers does."""
    with images.directory() as directory, slow.device(directory / "backing", 16 * MIB) as below, \
            tracked(directory, "disk", below.path) as disk, knob.turned(TIMEOUT, "1000"):
        for _ in range(2):
            disk.handle.seal()
        point = disk.handle.ids()[1]
        below.delay(write=600)
        seconds = took(disk.handle.forget, point)[1]
        below.delay()
        ktap.check(seconds > 1.1, f"it took {seconds:.1f} s: nothing was tested")
        ktap.equal(disk.sysfs("tracking"), "on", "tracking")


@ktap.case
def several_of_which_one_hangs():
    """Its deadline is what the seal costs; no disk has a point, and the others are tracked."""
    with images.directory() as directory, slow.device(directory / "backing", 16 * MIB) as below, \
            tracked(directory, "first", directory / "lrct1") as first, \
            tracked(directory, "hung", below.path) as hung, \
            tracked(directory, "last", directory / "lrct2") as last, \
            knob.turned(TIMEOUT, "1000"), mapper.hanging(below.name):
        points = [first.handle.ids()[0], last.handle.ids()[0]]
        handles = [disk.handle for disk in (first, hung, last)]
        seconds = took(failing, lambda: Control.seal_of(*handles))[1]
        ktap.check(0.9 < seconds < 8, f"it took {seconds:.1f} s")
        expect_given_up(hung)
        for disk, point in zip((first, last), points):
            ktap.equal(len(disk.handle.ids()), 1, "points")
            disk.write(MIB, b"y" * 4096)
            ktap.equal(len(disk.handle.changes(point)), 2, "changes")
            disk.handle.seal()


@ktap.case
def sessions_of_several_begin_side_by_side():
    """A disk that has not been written yet tells its sidecar so: all at the same time."""
    with images.directory() as directory, contextlib.ExitStack() as stack:
        handles = []
        for number in range(8):
            below = stack.enter_context(slow.device(directory / f"backing{number}", MIB,
                                                    f"slow{number}"))
            path = images.create(directory / f"{number}.vhdx", 8 * MIB, block_size=MIB)
            with attached(path, "--track", "--sidecar", below.path):
                pass
            handles.append(stack.enter_context(raw_attached(path, below.path)).handle)
            below.delay(write=100)
        alone = took(handles[0].seal)[1]
        together = took(Control.seal_of, *handles[1:])[1]
        ktap.diag(f"one: {alone:.1f} s, seven: {together:.1f} s")
        ktap.check(together < 1.5 * alone, f"{together:.1f} s, alone {alone:.1f} s")


@contextlib.contextmanager
def sealing(disk, below):
    """Meanwhile somebody seals it, and its sidecar hangs."""
    seal = threading.Thread(target=disk.handle.seal)
    with mapper.hanging(below.name):
        seal.start()
        time.sleep(0.5)
        yield
        ktap.check(seal.is_alive(), "the seal has ended: nothing was tested")
    seal.join()


@ktap.case
def one_that_hangs_holds_up_no_other():
    """Its sidecar hangs in a seal: others are sealed and detached, and it can be looked at."""
    with images.directory() as directory, slow.device(directory / "backing", 16 * MIB) as below, \
            tracked(directory, "hung", below.path) as hung, \
            knob.turned(TIMEOUT, "100000"), contextlib.ExitStack() as stack:
        first = hung.handle.ids()[0]
        before = hung.handle.changes(first)
        stack.enter_context(sealing(hung, below))
        with tracked(directory, "other", directory / "lrct") as other:
            ktap.check(took(other.handle.seal)[1] < 5, "another disk's seal")
            ktap.check(took(hung.handle.info)[1] < 1, "its description")
            for attribute, value in (("sidecar", below.path), ("tracking", "on"),
                                     ("reason", "none"), ("unit", str(16 * KIB))):
                found, seconds = took(hung.sysfs, attribute)
                ktap.check(seconds < 1, f"{attribute} took {seconds:.1f} s")
                ktap.check(attribute == "sidecar" or found == value, f"{attribute}: {found}")
            rows, seconds = took(ctl.json, "list")
            ktap.check(seconds < 5 and len(rows["list"]) == 2, f"list: {rows}, {seconds:.1f} s")
            for command in (("track", "status"), ("info",), ("points",)):
                seconds = took(lambda c=command: ctl.run(*c, hung.node))[1]
                ktap.check(seconds < 5, f"{command} took {seconds:.1f} s")
            # The map that the seal took away is told as well, and the point is not there yet.
            ktap.equal(took(hung.handle.changes, first)[0], before, "changes")
            for question in (lambda: hung.handle.state().point_count,
                             lambda: len(hung.handle.ids())):
                found, seconds = took(question)
                ktap.check(found == 1 and seconds < 1, f"{found} points after {seconds:.1f} s")
            hung.write(MIB, b"z" * 4096)
            after = hung.handle.changes(first)
            ktap.check(len(after) > len(before), f"{before}, then {after}")
            for change in (lambda: hung.handle.forget(first), hung.handle.disable):
                ktap.check(killed(change, 0.5) < 1, "a change that waits")
            # Whose session can't begin waits for nobody.
            with raw_attached(images.create(directory / "ro.vhdx", 8 * MIB, block_size=MIB),
                              flags=uapi.ATTACH_READ_ONLY) as read_only:
                both = (read_only.handle, hung.handle)
                ktap.check(took(failing, lambda: Control.seal_of(*both))[1] < 5, "a refused seal")
            # Who seals both waits, can be killed, and leaves nothing behind.
            both = (other.handle, hung.handle)
            ktap.check(killed(lambda: Control.seal_of(*both), 0.5) < 1, "a seal of both")
            ktap.check(took(other.handle.seal)[1] < 5, "another disk's seal afterwards")
            other.write(0, b"y" * 4096)
            begin = time.monotonic()
        ktap.check(time.monotonic() - begin < 5, "another disk's detach")
        stack.close()
        ktap.equal(len(hung.handle.ids()), 2, "points")


@ktap.case
def one_that_is_waited_for_holds_up_no_other():
    """Nor do those who wait for it with others, wherever it is among them."""
    with images.directory() as directory, slow.device(directory / "backing", 16 * MIB) as below, \
            tracked(directory, "first", directory / "lrct1") as first, \
            tracked(directory, "hung", below.path) as hung, \
            tracked(directory, "last", directory / "lrct2") as last:

        def sealing_of(*disks):
            handles = [disk.handle for disk in disks]
            thread = threading.Thread(target=Control.seal_of, args=handles)
            thread.start()
            return thread
        with sealing(hung, below):
            waiting = [sealing_of(*disks) for disks in ((first, hung), (hung, last), (last, hung),
                                                        (first, last, hung))]
            time.sleep(0.5)
            for disks in (first,), (last,), (first, last), (last, first):
                beside = sealing_of(*disks)
                beside.join(5)
                ktap.check(not beside.is_alive(), f"a seal of {len(disks)} others hangs")
            ktap.check(all(seal.is_alive() for seal in waiting), "a seal did not wait")
        for seal in waiting:
            seal.join(30)
            ktap.check(not seal.is_alive(), "a seal of it does not end")
        for disk, seals in ((first, 2 + 3), (hung, 4 + 1), (last, 3 + 3)):
            ktap.equal(len(disk.handle.ids()), 1 + seals, "points")


@ktap.case
def closed_late():
    """Its last close has to write what somebody else left in the page cache: that holds up
    neither a question nor a write.

    udev, which looks at a device that has another table, would have it open for longer.
    """
    late, half = 8, 8 * MIB // 512
    with images.directory() as directory, slow.device(directory / "backing", 16 * MIB) as below, \
            tracked(directory, "disk", below.path) as disk:
        with open(below.path, "r+b", buffering=0) as node:
            node.seek(12 * MIB)
            node.write(bytes(MIB))
        below.load(f"0 {half} error\n"
                   f"{half} {half} delay {below.below} {half} 0 {below.below} {half} {late * 1000}")
        begin = time.monotonic()
        seal = threading.Thread(target=failing, args=(disk.handle.seal,))
        seal.start()
        while disk.sysfs("tracking") != "off":
            ktap.check(time.monotonic() - begin < late / 2, "tracking is on")
            time.sleep(0.05)
        ktap.equal(disk.handle.state().gap_reason, uapi.TRACKING_ERROR, "reason")
        disk.write(0, b"z" * 4096)
        ktap.check(time.monotonic() - begin < late / 2, f"after {time.monotonic() - begin:.1f} s")
        seal.join()
        ktap.eventually(lambda: not mapper.is_open(below.name), "it is closed", 2 * late)
        ktap.check(time.monotonic() - begin > late / 2, "the close took no time: nothing was tested")


@ktap.case
def seals_of_the_same_disks_in_any_order():
    """None waits for another for ever."""
    with images.directory() as directory, contextlib.ExitStack() as stack:
        disks = [stack.enter_context(tracked(directory, str(number), directory / f"lrct{number}"))
                 for number in range(3)]
        orders = [(0, 1), (1, 0), (2, 1, 0), (0, 2), (1, 2, 0)]

        def seal_often(order):
            for _ in range(20):
                Control.seal_of(*(disks[number].handle for number in order))
        threads = [threading.Thread(target=seal_often, args=(order,)) for order in orders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=120)
            ktap.check(not thread.is_alive(), "a seal does not end")
        for number, disk in enumerate(disks):
            wanted = 1 + 20 * sum(number in order for order in orders)
            ktap.equal(len(disk.handle.ids()), wanted, f"points of disk {number}")


with udev.asleep():
    ktap.main()
