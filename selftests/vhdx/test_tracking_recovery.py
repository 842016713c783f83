#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_tracking_recovery - after a crash ids stay valid, and answers have all that was written
#
# They may have more: every unit of the regions that were written since the last checkpoint, and
# then they say so. What a seal began afterwards is exact again.
#
# vm: timeout=400 takes=60
import contextlib
import errno
import os
import pathlib
import select
import socket
import sys
import threading
import time
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, filesystem, images, judge, knob, ktap, mapper, power  # noqa: E402
from vhdxtest import sidecar, slow, uapi, udev  # noqa: E402
from vhdxtest.device import Control, Failure, Handle  # noqa: E402
from vhdxtest.disk import attach, attached, detach, detach_index, opened  # noqa: E402
from vhdxtest.disk import raw_attached  # noqa: E402
from vhdxtest.images import KIB, MIB, TIB  # noqa: E402
from vhdxtest.kernel_log import KernelLog  # noqa: E402
from vhdxtest.workload import Workload  # noqa: E402
from vhdxoracle.ranges import RangeSet  # noqa: E402

SIZE = 256 * MIB
UNIT = 16 * KIB
REGION = 4 * MIB
# Regions that are set ahead of who writes one after the other.
AHEAD = 8
# Of the kernel's uapi/linux/netlink.h.
NETLINK_KOBJECT_UEVENT = 15
PARAMETERS = "/sys/module/vhdx/parameters/"
AROUND = PARAMETERS + "regions_around"


def is_coarse(disk, limit, target=uapi.NOW):
    """Does the answer say that it may have more than was written?"""
    flags = {page["coarse"] for page in disk.handle.pages(limit, target, 0, None, 4096)}
    ktap.equal(len(flags), 1, "what the pages say")
    return flags.pop()


def told(disk, limit, target=uapi.NOW):
    """The answer, as a RangeSet."""
    return RangeSet.of_lengths(disk.handle.changes(limit, target))


def regions_of(writes, ahead=AHEAD):
    """What may be told of these (offset, length): their regions, and some behind them."""
    return RangeSet((offset // REGION * REGION,
                     min(SIZE, ((offset + length - 1) // REGION + 1 + ahead) * REGION))
                    for offset, length in writes)


def number_of(disk, name):
    """A statistic."""
    return int(disk.sysfs(name))


def checkpoint(disk, patience=20):
    """Waits until everything is saved: no region is set."""
    with knob.turned(PARAMETERS + "checkpoint_idle_ms", "100"):
        disk.write(SIZE - 512, b"c" * 512)
        ktap.eventually(lambda: number_of(disk, "coarse_regions") == 0, "a checkpoint", patience)


# ---- crashes ------------------------------------------------------------------------------

def expect_recovered(disk, point, before, writes):
    """All that differs is told, and no more than it may be: regions that were set before the point
    are set behind it, too."""
    answer = told(disk, point)
    after = images.raw_copy(disk.node, before.with_suffix(".after"))
    where = images.differences(before, after, answer.lengths())
    ktap.check(not where, f"changed, and not told: {where[:5]}")
    extra = answer - regions_of(writes)
    ktap.check(not extra, f"too much is told: {extra.lengths()[:5]}")
    # The container is as before, so it is known how much at most was not written.
    written = RangeSet.of_lengths(writes).widened(UNIT)
    ktap.check((answer - written).total() <= number_of(disk, "recovered_bytes"),
               "more is told than the statistics say")


def journal_of(load):
    """(offset, length) of what was written, or might have been."""
    return [(write.offset, write.length) for write in load.journal()]


def write_and_crash(machine, load, seconds):
    """journal_of() what was written until the power was lost, and what came before."""
    with load.running(threads=3, processes=0):
        time.sleep(seconds)
        machine.lose_power()
    return journal_of(load)


@contextlib.contextmanager
def checkpoints(**when):
    """When they are written: "interval_ms", "regions" and "idle_ms"; for no other reason. And no
    region is set but where somebody writes, or is about to."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(knob.turned(AROUND, "1"))
        for name in ("interval_ms", "regions", "idle_ms"):
            stack.enter_context(knob.turned(f"{PARAMETERS}checkpoint_{name}",
                                            str(when.get(name, 0))))
        yield


@ktap.case
def in_mid_write_again_and_again():
    """Each recovery begins with what the one before it has found."""
    chance = ktap.chance("again")
    with checkpoints(), power.machine(SIZE, block_size=MIB) as machine:
        with machine.attached("--track") as disk:
            load = Workload(disk.node, SIZE, 512, seed=chance.randrange(1000), pause=0.02)
            with load.running(threads=2, processes=0):
                time.sleep(0.5)
            older = disk.handle.seal()
            with load.running(threads=2, processes=0):
                time.sleep(0.3)
            point = disk.handle.seal()
            before = images.raw_copy(disk.node, machine.backing.with_name("before"))
            middle = disk.handle.changes(older, point)
            writes = write_and_crash(machine, load, chance.uniform(0.1, 0.8))
        for _ in range(3):
            with machine.attached() as disk:
                ktap.equal(disk.handle.ids()[-2:], [older, point], "points")
                ktap.equal(disk.handle.state().gap_reason, uapi.NONE, "gap")
                ktap.equal(disk.handle.changes(older, point), middle, "between the points")
                ktap.equal((is_coarse(disk, point), is_coarse(disk, older, point)), (True, False))
                expect_recovered(disk, point, before, writes)
                load.node = disk.node
                writes += write_and_crash(machine, load, chance.uniform(0.1, 0.6))
        load.close()


@ktap.case
def nothing_is_written_before_the_first_write():
    """So a crash in a recovery finds what it found (rule T4)."""
    with power.machine(SIZE, block_size=MIB) as machine:
        with machine.attached("--track") as disk:
            point = disk.handle.ids()[0]
            disk.write(3 * REGION + MIB, b"x" * 512)
            machine.lose_power()
        found = judge.fingerprint(machine.backing)
        for _ in range(2):
            with machine.attached() as disk:
                ktap.equal(disk.handle.changes(point), [(3 * REGION, REGION)])
                time.sleep(0.3)
            ktap.check(judge.fingerprint(machine.backing) == found, "an attach wrote something")
        with machine.attached("--read-only") as disk:
            ktap.equal(disk.handle.changes(point), [(3 * REGION, REGION)])
            ktap.equal(is_coarse(disk, point), True)


@ktap.case
def what_is_coarse_stays_so_until_a_seal():
    with power.machine(SIZE, block_size=MIB) as machine:
        with machine.attached("--track") as disk:
            point = disk.handle.ids()[0]
            disk.write(3 * REGION + MIB, b"x" * 512)
            machine.lose_power()
        with machine.attached() as disk:
            ktap.equal(number_of(disk, "recovered_bytes"), REGION)
            ktap.equal(number_of(disk, "coarse_regions"), 1)
            disk.write(9 * REGION, b"y" * 512)
        expected = [(3 * REGION, REGION), (9 * REGION, UNIT)]
        with machine.attached() as disk:
            # Saved, and cleared, by the detach.
            ktap.equal(number_of(disk, "recovered_bytes"), 0)
            ktap.equal(number_of(disk, "coarse_regions"), 0)
            ktap.equal(disk.handle.changes(point), expected)
            ktap.equal(is_coarse(disk, point), True)
            new = disk.handle.seal()
            disk.write(5 * REGION, b"z" * 512)
            ktap.equal((is_coarse(disk, point, new), is_coarse(disk, new), is_coarse(disk, point)),
                       (True, False, True))
            ktap.equal(disk.handle.changes(new), [(5 * REGION, UNIT)])
            shown = ctl.json("changes", disk.node, "--since", point)
            ktap.equal(shown["coarse"], True, "coarse in JSON")
        with machine.attached() as disk:
            ktap.equal(disk.handle.changes(point, new), expected)
            ktap.equal((is_coarse(disk, point, new), is_coarse(disk, new)), (True, False))


@ktap.case
def points_sealed_just_before():
    """The regions that were set before the seal are set behind it, too: that is told, not less."""
    with power.machine(SIZE, block_size=MIB) as machine:
        with machine.attached("--track") as disk:
            first = disk.handle.ids()[0]
            disk.write(2 * REGION, b"x" * 512)
            second = disk.handle.seal()
            machine.lose_power()
        with machine.attached() as disk:
            ktap.equal(disk.handle.ids(), [first, second])
            ktap.equal(disk.handle.changes(first, second), [(2 * REGION, UNIT)])
            ktap.equal(disk.handle.changes(second), [(2 * REGION, REGION)])
            disk.handle.forget(second)
            ktap.equal(disk.handle.changes(first), [(2 * REGION, REGION)])
            machine.lose_power()
        with machine.attached() as disk:
            ktap.equal(disk.handle.changes(first), [(2 * REGION, REGION)])


# ---- checkpoints --------------------------------------------------------------------------

@ktap.case
def what_a_checkpoint_has_saved_is_exact():
    with power.machine(SIZE, block_size=MIB) as machine:
        with machine.attached("--track") as disk:
            point = disk.handle.ids()[0]
            for number in range(1, 20, 3):
                disk.write(number * REGION + MIB, b"x" * 512)
            checkpoint(disk)
            ktap.check(number_of(disk, "checkpoints") >= 1, "none was counted")
            machine.lose_power()
        exact = [(number * REGION + MIB, UNIT) for number in range(1, 20, 3)]
        exact += [(SIZE - UNIT, UNIT)]
        with machine.attached() as disk:
            ktap.equal(disk.handle.changes(point), exact)
            ktap.equal(is_coarse(disk, point), False)
            ktap.equal(number_of(disk, "recovered_bytes"), 0)
            # What is cleared is set again.
            disk.write(REGION, b"y" * 512)
            machine.lose_power()
        with machine.attached() as disk:
            ktap.equal(disk.handle.changes(point), [(REGION, REGION), *exact[1:]])
            checkpoint(disk)
            machine.lose_power()
        with machine.attached() as disk:
            # Regions that were recovered are saved as such.
            ktap.equal(disk.handle.changes(point), [(REGION, REGION), *exact[1:]])
            ktap.equal(is_coarse(disk, point), True)
            ktap.equal(number_of(disk, "recovered_bytes"), 0)


@ktap.case
def checkpoints_beside_writes_and_seals():
    """All the time, while it is written: nothing is missed, and seals go on."""
    chance = ktap.chance("beside")
    with checkpoints(idle_ms=1, interval_ms=20), power.machine(SIZE, block_size=MIB) as machine:
        with machine.attached("--track") as disk:
            load = Workload(disk.node, SIZE, 512, seed=chance.randrange(1000), pause=0.02)
            with load.running(threads=2, processes=0):
                time.sleep(0.3)
            point = disk.handle.seal()
            before = images.raw_copy(disk.node, machine.backing.with_name("before"))
            with load.running(threads=3, processes=0):
                for _ in range(3):
                    time.sleep(0.3)
                    disk.handle.seal()
                # What is told of this is the checkpoint's.
                time.sleep(1)
                machine.lose_power()
            writes = journal_of(load)
            ktap.diag(f"{number_of(disk, 'checkpoints')} checkpoints, "
                      f"{number_of(disk, 'coarse_commits')} commits")
            ktap.check(number_of(disk, "checkpoints") > 5, "there were few checkpoints")
        load.close()
        with machine.attached() as disk:
            expect_recovered(disk, point, before, writes)


# ---- how much it costs --------------------------------------------------------------------

@ktap.case
def one_after_the_other_needs_few_commits():
    with power.machine(SIZE, block_size=MIB) as machine, machine.attached("--track") as disk:
        before = number_of(disk, "coarse_commits")
        for number in range(SIZE // REGION):
            disk.write(number * REGION, b"x" * 512)
        commits = number_of(disk, "coarse_commits") - before
        ktap.check(1 <= commits <= SIZE // REGION // AHEAD + 5, f"{commits} commits")
        # What is set is not set again.
        for number in range(SIZE // REGION):
            disk.write(number * REGION, b"y" * 512)
        ktap.equal(number_of(disk, "coarse_commits") - before, commits, "commits")


@contextlib.contextmanager
def slowly_tracked():
    """(disk, slow device with its sidecar)"""
    with images.directory() as directory, \
            slow.device(directory / "backing", 16 * MIB) as below:
        path = images.create(directory / "disk.vhdx", SIZE, block_size=MIB)
        with attached(path, "--track", "--sidecar", below.path) as disk:
            disk.write(0, b"x" * 512)
            yield disk, below


@ktap.case
def one_commit_serves_all_that_wait():
    with slowly_tracked() as (disk, below):
        before = number_of(disk, "coarse_commits")
        below.delay(write=300)
        threads = [threading.Thread(target=disk.write, args=(2 * number * REGION, b"x" * 512))
                   for number in range(1, 30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        below.delay()
        commits = number_of(disk, "coarse_commits") - before
        ktap.check(1 <= commits <= 5, f"{commits} commits for 29 writes")


def here_and_there(around):
    """How many commits it takes to write to every second region, in no order, one after the other,
    where up to so many are set around each."""
    places = list(range(2, SIZE // REGION, 2))
    ktap.chance(str(around)).shuffle(places)
    with knob.turned(AROUND, str(around)), slowly_tracked() as (disk, below):
        before = number_of(disk, "coarse_commits")
        below.delay(write=20)
        for place in places:
            disk.write(place * REGION, b"x" * 512)
        below.delay()
        ktap.equal(len(disk.handle.changes(disk.handle.ids()[0])), 1 + len(places), "changes")
        commits = number_of(disk, "coarse_commits") - before
        ktap.diag(f"{commits} commits for {len(places)} writes")
        return commits, len(places)


@ktap.case
def here_and_there_needs_few_commits():
    commits, writes = here_and_there(16)
    ktap.check(commits <= writes / 3, f"{commits} commits for {writes} writes")


@ktap.case
def here_and_there_sets_nothing_else_where_it_is_told_so():
    commits, writes = here_and_there(1)
    # Behind two that follow each other, by chance.
    ktap.check(commits > writes * 0.8, f"{commits} commits for {writes} writes")


# ---- a sidecar that can't be written ------------------------------------------------------

def expect_untracked(disk, point):
    """Soon: nobody is told that nothing changed."""
    ktap.eventually(lambda: disk.handle.state().state == uapi.TRACKING_OFF, "tracking is off")
    ktap.equal(disk.sysfs("reason"), "tracking_error")
    try:
        disk.handle.changes(point)
        raise AssertionError("changes are told")
    except Failure as failure:
        ktap.equal(failure.reason, uapi.TRACKING_ERROR)


def expect_gap_for_ever(path, lrct, point):
    """However it ends, the next attach says so."""
    with raw_attached(path, lrct) as disk:
        try:
            disk.handle.changes(point)
            raise AssertionError("changes are told")
        except Failure as failure:
            ktap.check(failure.reason in (uapi.TRACKING_ERROR, uapi.CHANGED_OFFLINE), failure)


@contextlib.contextmanager
def tracked_on_a_device():
    """(disk, the device below its sidecar's, "sidecar"); a region is set already."""
    with images.directory() as directory, \
            images.loop(directory / "backing", size=16 * MIB) as below, \
            mapper.mapped("sidecar", f"0 {16 * MIB // 512} linear {below} 0") as lrct:
        path = images.create(directory / "disk.vhdx", SIZE, block_size=MIB)
        with attached(path, "--track", "--sidecar", lrct) as disk:
            disk.write(0, b"x" * 512)
            disk.point = disk.handle.ids()[0]
            yield disk, below
        expect_gap_for_ever(path, lrct, disk.point)


@ktap.case
def writes_go_on_when_the_sidecar_hangs():
    with tracked_on_a_device() as (disk, _), \
            knob.turned(PARAMETERS + "sidecar_timeout_ms", "1000"):
        begin = time.monotonic()
        with mapper.hanging("sidecar"):
            # What needs no new region does not even wait.
            disk.write(MIB, b"x" * 512)
            ktap.check(time.monotonic() - begin < 1, "a write to a region that is set has waited")
            threads = [threading.Thread(target=disk.write, args=(number * 3 * REGION, b"y" * 512))
                       for number in range(1, 12)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            took = time.monotonic() - begin
            ktap.check(1 <= took < 10, f"writes took {took:.1f} s")
        expect_untracked(disk, disk.point)


@ktap.case
def writes_go_on_when_the_sidecar_fails():
    with tracked_on_a_device() as (disk, below):
        mapper.load("sidecar", f"0 {16 * MIB // 512} error")
        disk.write(MIB, b"x" * 512)
        ktap.equal(disk.handle.state().state, uapi.TRACKING_ON)
        disk.write(7 * REGION, b"y" * 512)
        expect_untracked(disk, disk.point)
        mapper.load("sidecar", f"0 {16 * MIB // 512} linear {below} 0")


@contextlib.contextmanager
def uevents():
    """A socket that the kernel sends them to."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK,
                       NETLINK_KOBJECT_UEVENT) as sent:
        sent.bind((0, 1))
        yield sent


def told_by_uevent(sent, disk):
    """Was it that the disk's tracking is not what it was?"""
    with contextlib.suppress(BlockingIOError):
        while True:
            fields = sent.recv(8192).decode(errors="replace").split("\0")
            if fields[0].startswith("change@") and f"DEVNAME=vhdx{disk.index}" in fields and \
                    {"VHDX_TRACKING=off", "VHDX_REASON=tracking_error"} <= set(fields):
                return True
    return False


@contextlib.contextmanager
def everybody_is_told(disk):
    """That tracking ends in it: who polls, udev, and who reads the kernel's messages."""
    with Handle(disk.char) as watched, KernelLog() as log, uevents() as sent:
        poll = select.poll()
        poll.register(watched.fd, select.POLLPRI)
        ktap.equal(poll.poll(0), [], "events before")
        yield
        ktap.check(poll.poll(1000), "nobody who polls is told")
        ktap.eventually(lambda: told_by_uevent(sent, disk), "a uevent")
        said = [text for level, text in log.records() if level <= 3]
        ktap.check(any("the next backup must be a full one" in text for text in said), said)


@ktap.case
def writes_go_on_when_the_file_system_is_frozen():
    """The gap is durable before a write goes on; and everybody is told of it."""
    with images.directory() as directory, filesystem.mounted("ext4", 64 * MIB) as where:
        path = images.create(directory / "disk.vhdx", SIZE, block_size=MIB)
        with attached(path, "--track", "--sidecar", where / "lrct") as disk, \
                knob.turned(PARAMETERS + "sidecar_timeout_ms", "1000"):
            disk.write(0, b"x" * 512)
            point = disk.handle.ids()[0]
            images.command("fsfreeze", "--freeze", where)
            try:
                with everybody_is_told(disk):
                    begin = time.monotonic()
                    disk.write(20 * REGION, b"y" * 512)
                    took = time.monotonic() - begin
                    ktap.check(0.9 < took < 10, f"the write took {took:.1f} s")
                    images.command("cp", "--sparse=always", path, directory / "copy.vhdx")
                    expect_untracked(disk, point)
            finally:
                images.command("fsfreeze", "--unfreeze", where)
        # As if power had been lost right behind the write.
        for found in (directory / "copy.vhdx", path):
            with attached(found, "--sidecar", where / "lrct", "--read-only") as disk:
                ktap.equal(disk.sysfs("reason"), "tracking_error", "reason at the next attach")


def fails(below):
    """From now on every request to it."""
    below.load(f"0 {below.size // 512} error\n")


def heals(below):
    """It is as it was."""
    below.load(below.table())


def refuses(*arguments, status=ctl.FAILED, said=()):
    """A command fails, prints nothing, and says why."""
    done = ctl.run(*arguments, status=status)
    ktap.equal(done.stdout, "", "output of a failure")
    for words in said:
        ktap.check(words in done.stderr, f"{words!r} is not in: {done.stderr}")


@ktap.case
def sidecar_elsewhere_that_failed():
    """It is named, nobody is told that there are no points, and to enable goes on with it."""
    with images.directory() as directory, slow.device(directory / "backing", 16 * MIB) as below:
        path = images.create(directory / "disk.vhdx", SIZE, block_size=MIB)
        with attached(path, "--track", "--sidecar", below.path, "--unit", UNIT) as disk:
            disk.write(0, b"x" * 512)
            points = [disk.handle.ids()[0], disk.handle.seal()]
            ktap.equal(disk.sysfs("former_sidecar"), "", "former one of a disk that has one")
            fails(below)
            disk.write(40 * REGION, b"y" * 512)
            expect_untracked(disk, points[1])
            failure = ktap.expect_errno(errno.ESTALE, disk.handle.points)
            ktap.equal(failure.reason, uapi.TRACKING_ERROR, "reason of points")
            refuses("points", disk.node, status=ctl.FULL_BACKUP, said=[disk.node])
            for command in (("info",), ("track", "status")):
                shown = ctl.json(*command, disk.node)
                ktap.equal((shown["former_sidecar"], shown["points"]), (below.path, None), command)
            refuses("track", "verify", disk.node, said=[below.path])
            refuses("track", "enable", disk.node, said=[below.path])
            ktap.equal(disk.sysfs("former_sidecar"), below.path, "after it failed again")
            heals(below)
            ctl.run("track", "verify", disk.node)
            points.append(uapi.PointId.parse(ctl.line("track", "enable", disk.node)))
            ktap.equal(disk.handle.ids(), points, "points")
            ktap.equal(disk.handle.changes(*points[:2]), [(0, UNIT)], "changes before the gap")
            ktap.equal([point.gap_reason for point in disk.handle.points()],
                       [0, 0, uapi.TRACKING_ERROR], "gaps")
            ktap.equal((disk.sysfs("sidecar"), disk.sysfs("former_sidecar")), (below.path, ""))
        ktap.check(not (directory / "disk.vhdx.lrct").exists(), "a second history was begun")


def attach_below(root, control, *names):
    """By a task whose root that is, as in a container."""
    child = os.fork()
    if not child:
        try:
            os.chroot(root)
            with opened(f"/{names[0]}") as fd, opened(f"/{names[1]}") as lrct:
                control.attach(fd, lrct, index=5)
            os._exit(0)
        finally:
            os._exit(1)
    ktap.equal(os.waitpid(child, 0)[1], 0, "status of who attaches")


@ktap.case
def sidecar_is_called_what_who_attaches_calls_it():
    """Whose root is another one than that of the threads that do it."""
    with images.directory() as directory, Control() as control:
        path = images.create(directory / "disk.vhdx", SIZE, block_size=MIB)
        (directory / "lrct").write_bytes(b"x" * MIB)
        attach_below(directory, control, path.name, "lrct")
        former = pathlib.Path("/sys/block/vhdx5/vhdx/former_sidecar").read_text(encoding="utf-8")
        detach_index(control, 5)
        ktap.equal(former, "/lrct\n", "path")


@ktap.case
def sidecar_elsewhere_that_is_gone():
    """None is begun in its place, but where the disk used it when it was removed."""
    with images.directory() as directory:
        path = images.create(directory / "disk.vhdx", SIZE, block_size=MIB)
        lrct, aside = directory / "lrct", directory / "aside"
        with attached(path, "--track", "--sidecar", lrct) as disk:
            disk.write(0, b"x" * 512)
            lrct.unlink()
            ktap.expect_errno(errno.ESTALE, disk.handle.seal)
            ktap.equal(disk.sysfs("former_sidecar"), f"{lrct} (deleted)", "former one")
            refuses("track", "verify", disk.node, said=[f"{lrct}: removed while {disk.node}"])
            ctl.line("track", "enable", disk.node)
            ktap.equal(disk.sysfs("sidecar"), str(lrct), "sidecar")
        # Both headers, but for what says that it is a sidecar.
        with open(lrct, "r+b") as file:
            for at in (0, sidecar.BLOCK):
                file.seek(at + 64)
                file.write(b"\xff" * 64)
        before = lrct.read_bytes()
        with attached(path, "--sidecar", lrct) as disk:
            refuses("points", disk.node, status=ctl.FULL_BACKUP)
            refuses("track", "enable", disk.node, said=["track reset"])
            lrct.rename(aside)
            for word in ("enable", "reset"):
                refuses("track", word, disk.node, said=[f"{lrct}: ", "not there", "--sidecar"])
            refuses("track", "verify", disk.node, said=[f"{lrct}: no such file", "was the sidecar"])
            lrct.touch()
            for word in ("enable", "reset"):
                refuses("track", word, disk.node, said=[f"{lrct}: ", "empty", "--sidecar"])
            ktap.equal(lrct.stat().st_size, 0, "size of what is no sidecar of ours")
            aside.rename(lrct)
            ktap.equal(lrct.read_bytes(), before, "what was refused")
            # As the driver says; it need not be named again.
            ctl.line("track", "reset", disk.node)
            ktap.equal(disk.sysfs("sidecar"), str(lrct), "sidecar")
        ktap.check(not (directory / "disk.vhdx.lrct").exists(), "a second history was begun")


@contextlib.contextmanager
def left_alone(disk):
    """It is detached in here, or, after a failure, at the end."""
    try:
        yield
    except BaseException:
        detach(disk)
        raise


@ktap.case
def writes_go_on_when_the_file_system_turns_read_only():
    """As ext4 does when it finds an error; nobody can do that by hand while the sidecar is open."""
    with images.directory() as directory, filesystem.mounted("ext4", 64 * MIB) as where:
        path = images.create(directory / "disk.vhdx", SIZE, block_size=MIB)
        with attached(path, "--track", "--sidecar", where / "lrct") as disk:
            disk.write(0, b"x" * 512)
            point = disk.handle.ids()[0]
            images.command("sh", "-c", f"! mount -o remount,ro {where} 2>&1")
            ktap.equal(told(disk, point).lengths(), [(0, UNIT)])
            with everybody_is_told(disk):
                images.command("mount", "-o", "remount,abort", where)
                disk.write(20 * REGION, b"y" * 512)
                expect_untracked(disk, point)
            disk.write(30 * REGION, b"z" * 512)
            ktap.equal([disk.read(number * REGION, 512)[:1] for number in (20, 30)], [b"y", b"z"])
        with attached(path, "--sidecar", where / "lrct", "--read-only") as disk:
            ktap.equal(disk.sysfs("reason"), "tracking_error", "reason at the next attach")


@ktap.case
def full_file_system_and_detach():
    """Somebody else filled it: nothing is lost, neither meanwhile nor by the detach."""
    with images.directory() as directory, filesystem.mounted("ext4", 32 * MIB) as where, \
            knob.turned(AROUND, "1"):
        path = images.create(directory / "disk.vhdx", SIZE, block_size=MIB)
        lrct = where / "lrct"
        disk = attach(path, "--track", "--sidecar", lrct, "--unit", UNIT)
        with left_alone(disk):
            points = [disk.handle.ids()[0], disk.handle.seal()]
            filesystem.fill_up(where / "hog")
            writes = [(number * 3 * REGION, 512) for number in range(12)]
            for offset, _ in writes:
                disk.write(offset, b"y" * 512)
            refused = ctl.run("seal", disk.node, status=ctl.FAILED).stderr
            ktap.check(f"full: make room there ({lrct})" in refused, refused)
            disk.handle.forget(points[0])
            exact = RangeSet((offset, offset + UNIT) for offset, _ in writes)
            ktap.check(not exact - told(disk, points[1]), "changes are missed")
            disk.close()
            with KernelLog() as log:
                said = ctl.run("detach", disk.node).stderr
                logged = [text for level, text in log.records() if level == 4]
            for text in (said, *logged):
                ktap.check("tells more than was written" in text and str(lrct) in text, text)
            ktap.equal(len(logged), 1, "warnings in the kernel log")
        with attached(path, "--sidecar", lrct) as disk:
            ktap.equal(disk.sysfs("reason"), "none", "reason")
            ktap.equal(disk.handle.ids(), points[1:], "points")
            answer = told(disk, points[1])
            ktap.check(not exact - answer, "changes are missed behind a detach")
            ktap.check(not answer - regions_of(writes), "too much is told")
            (where / "hog").unlink()
            disk.handle.seal()


@ktap.case
def full_file_system_and_enabling():
    """A new sidecar has room for its headers and for no more: that is what is said."""
    with images.directory() as directory, filesystem.mounted("tmpfs", 64 * KIB) as where:
        with raw_attached(images.create(directory / "disk.vhdx", 4 * TIB)) as disk, \
                opened(where / "lrct", os.O_RDWR | os.O_CREAT) as fd:
            failure = ktap.expect_errno(errno.ENOSPC, disk.handle.enable, fd)
            ktap.equal(failure.reason, uapi.HOST_FULL, "reason")
            ktap.equal(disk.sysfs("tracking"), "off", "tracking")
            images.command("mount", "-o", f"remount,size={4 * MIB}", where)
            os.truncate(fd, 0)
            point = disk.handle.enable(fd)
            disk.write(TIB, b"x" * 512)
            ktap.check(told(disk, point), "nothing is told")


with udev.asleep():
    ktap.main()
