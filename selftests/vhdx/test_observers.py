#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_observers - what other modules hold and are told (selftests/modules/vhdx_watch)
#
# vm: on=uml full=6.1:counts*+events,6.12:counts*+events takes=40
import contextlib
import errno
import os
import pathlib
import sys
import threading
import time
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import dio, faulty, images, ktap, slow, uapi  # noqa: E402
from vhdxtest.device import Control, Handle, expect_failure  # noqa: E402
from vhdxtest.disk import attached, detach_index, opened, raw_attached  # noqa: E402
from vhdxtest.images import KIB, MIB  # noqa: E402
from vhdxtest.watch import DEBUGFS, loaded, settled, tell, told, watched  # noqa: E402

TRACING = pathlib.Path("/sys/kernel/tracing")


@contextlib.contextmanager
def traced(disk):
    """[(operation, sector, sectors)] of bios that reached the disk: filled in at the end."""
    event = TRACING / "events/block/block_bio_queue"
    found, dev = [], os.stat(disk.node).st_rdev
    number = os.major(dev) << 20 | os.minor(dev)
    (event / "filter").write_text(f"dev == {number}")
    (TRACING / "trace").write_text("")
    (event / "enable").write_text("1")
    try:
        yield found
    finally:
        (event / "enable").write_text("0")
        (event / "filter").write_text("0")
        for line in (TRACING / "trace").read_text().splitlines():
            if "block_bio_queue:" in line:
                # 252,0 WS 2048 + 8 [name]
                words = line.partition("block_bio_queue:")[2].split()
                found.append((words[1], int(words[2]), int(words[4])))


def write_all_sorts(disk):
    """Across blocks, to new ones and to old ones, with flushes."""
    for offset, length in ((0, 512), (MIB - 512, 1024), (0, 4 * KIB), (3 * MIB, 2 * MIB),
                           (9 * MIB + 512, 700 * KIB), (3 * MIB, 64 * KIB)):
        disk.write(offset, b"w" * length)
    disk.data.flush()


@ktap.case
def counts_each_write_once():
    """Whatever the driver cuts: their bytes, for one observer and for four."""
    for observers in (1, 4):
        with images.container(16 * MIB) as path, attached(path, "--track") as disk:
            with watched(disk, observers):
                write_all_sorts(disk)
                ktap.eventually(settled, "the end of all")
                figures, _ = told()
        ktap.equal(figures["completed_bytes"], figures["submitted_bytes"], "bytes that ended")
        ktap.equal(figures["submitted_bytes"],
                   512 + 1024 + 4 * KIB + 2 * MIB + 700 * KIB + 64 * KIB, "bytes")
        ktap.equal((figures["failed"], figures["flushes"] > 0), (0, True), "failed, flushes")


@ktap.case
def discards_and_zeroes_are_told():
    """Each as what it is, and whole, though a discard leaves parts of blocks alone."""
    with images.container(16 * MIB) as path, attached(path, "--track") as disk:
        disk.write(0, b"w" * 4 * MIB)
        with watched(disk):
            disk.data.discard(512, 2 * MIB)
            disk.data.zero(2 * MIB + 4096, MIB)
            disk.data.zero(4 * MIB, MIB, keep=True)
            ktap.eventually(settled, "the end of all")
            figures, _ = told()
        # The block layer cuts a discard where a block begins.
        ktap.equal([figures[name] for name in ("discards", "discarded", "zeroes", "zeroed")],
                   [2, 2, 2, 2], "discards, zeroes")
        ktap.equal((figures["submitted"], figures["failed"]), (0, 0), "writes, failed")
        ktap.equal(figures["completed_bytes"], 4 * MIB, "bytes")


@ktap.case
def long_chains_end():
    """Zeroing a device is a chain of bios, of which each ends when the one before has. The first
    ones wait for their regions, while all others are done: then they end at once, one by one, and
    not each inside of the one before."""
    with images.directory() as scratch, slow.device(scratch / "backing", 16 * MIB) as below:
        path = images.create(scratch / "disk.vhdx", 512 * MIB, block_size=32 * MIB)
        with attached(path, "--track", "--sidecar", below.path) as disk:
            for offset in range(0, 512, 4):
                if offset:
                    disk.write(offset * MIB, b"x" * 4 * KIB)
            with watched(disk):
                below.delay(write=1000)
                images.command("blkdiscard", "--zeroout", disk.node)
                below.delay()
                ktap.eventually(settled, "the end of all")
                figures, _ = told()
        ktap.equal((figures["completed_bytes"], figures["failed"]), (512 * MIB, 0), "bytes, failed")


def write_here_and_there(disk, name, count):
    """What the driver need not cut."""
    chance = ktap.chance(name)
    with dio.Direct(disk.node, write=True) as device:
        for _ in range(count):
            length = chance.randrange(1, 17) * 4 * KIB
            device.write(chance.randrange(16 * MIB // (64 * KIB)) * 64 * KIB, b"x" * length)


def together(*calls):
    """Each (function, argument, ...) in a thread of its own, until all are done."""
    threads = [threading.Thread(target=call[0], args=call[1:]) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@ktap.case
def counts_as_a_trace_does():
    """Bio by bio, from four tasks at once: how many, how long, and where."""
    if not (TRACING / "events/block").exists():
        ktap.skip("this kernel does not trace bios")
    with images.container(16 * MIB) as path, attached(path, "--track") as disk:
        with watched(disk, 2), traced(disk) as found:
            together(*((write_here_and_there, disk, f"trace {n}", 40) for n in range(4)))
            ktap.eventually(settled, "the end of all")
            figures, _ = told()
        writes = [(at, sectors) for kind, at, sectors in found if "W" in kind and sectors]
        right = (len(writes), 512 * sum(sectors for _, sectors in writes),
                 sum((at + 1) * sectors for at, sectors in writes))
        for when in ("submitted", "completed"):
            ktap.equal((figures[when], figures[f"{when}_bytes"], figures[f"{when}_sum"]), right,
                       f"writes, bytes, and where, {when}")
        ktap.equal((figures["others_submitted"], figures["others_completed"]),
                   (figures["submitted"] + figures["flushes"],) * 2, "what the other one was told")
        ktap.check(len(writes) >= 160, "too few writes")


@ktap.case
def events():
    """Seals, forgotten points and gaps, in order, with their ids."""
    with images.container(16 * MIB) as path, attached(path, "--track") as disk:
        with watched(disk):
            points = [disk.handle.seal() for _ in range(3)]
            disk.handle.forget(points[1])
            points.append(disk.handle.seal())
            disk.handle.disable()
            ktap.eventually(lambda: len(told()[1]) >= 6, "six events")
            _, found = told()
            shown = [(what, point) for what, point, _ in found[:5]]
            ktap.equal(shown, [("sealed", text(point)) for point in points[:3]] +
                       [("forgotten", text(points[1])), ("sealed", text(points[3]))], "events")
            ktap.equal((found[5][0], found[5][2]), ("gap", uapi.DISABLED), "gap")


def text(point):
    """As the module shows an id."""
    return str(point).removeprefix("rct:")


@ktap.case
def errors_are_told():
    """A write that fails is told as failed."""
    with images.directory() as directory, \
            faulty.device(directory / "backing", 64 * MIB) as below:
        images.create(below.path, 16 * MIB, block_size=MIB)
        with raw_attached(below.path, closes=None) as disk:
            disk.write(0, b"x" * 4096)
            with watched(disk):
                below.fail_writes()
                ktap.expect_errno(errno.EIO, disk.write, 0, b"y" * 4096)
                figures, _ = told()
                ktap.check(figures["failed"] >= 1, "no failure was told")
                below.heal()


@ktap.case
def registration_races_with_writes():
    """None of what is told is told twice, or after the end."""
    with images.container(16 * MIB) as path, attached(path, "--track") as disk, loaded():
        over = threading.Event()
        # Opened once, not by each thread.
        disk.write(0, b"r" * 512)

        def load(first):
            while not over.is_set():
                for number in range(first, 128, 4):
                    disk.write(number * 64 * KIB, b"r" * 4096)

        writers = [threading.Thread(target=load, args=(n,)) for n in range(4)]
        tell("hold", disk.node)
        for writer in writers:
            writer.start()
        end = time.monotonic() + 4
        turns = 0
        while time.monotonic() < end:
            tell("observe", turns % 4 + 1)
            if not turns % 3:
                disk.handle.seal()
            tell("unobserve")
            turns += 1
        over.set()
        for writer in writers:
            writer.join()
        figures, _ = told()
        ktap.equal((figures["unpaired"], figures["told_while_quiet"]), (0, 0), "unpaired, quiet")
        ktap.diag(f"{turns} turns")
        ktap.check(turns > 3, "too few turns")


@ktap.case
def detach_waits_for_a_holder():
    """Five seconds; who holds it is told, and named."""
    with images.container(16 * MIB) as path, attached(path, "--track") as disk, loaded(), \
            Control() as control:
        tell("hold", disk.node)
        tell("observe")
        disk.close()
        begun = time.monotonic()
        expect_failure(errno.ENODEV, uapi.ARGUMENT, control.detach, disk.index, disk_seq=2 ** 60)
        ktap.check(time.monotonic() - begun < 2, "it waited for a disk that was not meant")
        begun = time.monotonic()
        expect_failure(errno.EBUSY, uapi.IN_USE, control.detach, disk.index)
        took = time.monotonic() - begun
        ktap.check(4.5 < took < 9, f"it took {took:.1f} s")
        ktap.equal([what for what, _, _ in told()[1]], ["going_away"], "events")
        # It goes on as it was.
        with open(disk.node, "rb") as device:
            ktap.equal(len(device.read(4096)), 4096, "bytes")
        for which, patience in (disk.node, 9), ("--all", 19):
            begun = time.monotonic()
            shown = images.command("sh", "-c", f"vhdxctl detach {which} 2>&1 || true")
            took = time.monotonic() - begun
            ktap.check("vhdx_watch" in shown, f"vhdxctl says {shown!r}")
            ktap.check(took < patience, f"detach {which} took {took:.1f} s")
        # One who lets go while it waits lets it end.
        letting_go = threading.Timer(1, tell, ("put",))
        letting_go.start()
        begun = time.monotonic()
        detach_index(control, disk.index)
        ktap.check(time.monotonic() - begun < 4.5, "it waited for nobody")
        letting_go.join()
        ktap.check(not os.path.exists(disk.node), "it is still there")
        disk_is_gone(path)


def disk_is_gone(path):
    """It can be attached again; for the detach of attached()."""
    images.command("vhdxctl", "attach", path)


@ktap.case
def partition_is_held():
    """The disk that it is a part of; offsets are the disk's."""
    with images.container(64 * MIB) as path, attached(path, "--track") as disk:
        images.command("sfdisk", "-q", disk.node, stdin="2048,40960\n")
        images.command("udevadm", "settle")
        with loaded():
            tell("hold", f"{disk.node}p1")
            ktap.equal(disk.sysfs("holders"), "vhdx_watch", "holders")
            tell("observe")
            with open(f"{disk.node}p1", "r+b", buffering=0) as part:
                part.write(b"p" * 4096)
                os.fsync(part.fileno())
            ktap.eventually(settled, "the end of all")
            ktap.check(told()[0]["submitted_bytes"] >= 4096, "nothing was told")
            tell("put")
        ktap.expect_errno(errno.ENOENT, open, DEBUGFS / "told", "rb")


@ktap.case
def unload_in_any_order():
    """Whoever holds keeps the driver; who goes lets go of the disk."""
    with images.container(16 * MIB) as path, attached(path) as disk:
        images.command("modprobe", "vhdx_watch")
        tell("hold", disk.node)
        tell("observe", 2)
        shown = images.command("sh", "-c", "rmmod vhdx 2>&1 || true")
        ktap.check("in use" in shown, f"rmmod says {shown!r}")
        disk.write(0, b"x" * 4096)
        images.command("rmmod", "vhdx_watch")
        ktap.equal(disk.sysfs("holders"), "", "holders")
        disk.write(0, b"y" * 4096)


def over_and_over(over, step, turns):
    """Until it is over; that a disk or a module is not there at that moment is to be expected."""
    while not over.is_set():
        try:
            step()
            turns[step.__name__] = turns.get(step.__name__, 0) + 1
        except OSError as failure:
            if failure.errno not in EXPECTED:
                turns["bad"] = f"{step.__name__}: {failure}"
        time.sleep(0.01)


EXPECTED = (errno.EBUSY, errno.ENODEV, errno.ENOENT, errno.ENXIO, errno.EIO, errno.EINVAL,
            errno.EAGAIN, errno.ENODATA, errno.EEXIST)
INDEX = 77


class Races:
    """What tasks do to one disk, to the driver, and to a module that watches."""

    def __init__(self, path):
        self.path, self.node, self.char = path, f"/dev/vhdx{INDEX}", f"/dev/vhdxc{INDEX}"
        self.chance = ktap.chance("races")

    def comes_and_goes(self):
        """The disk."""
        with Control() as control, opened(self.path) as fd, opened(f"{self.path}.lrct") as sidecar:
            control.attach(fd, sidecar, index=INDEX)
            try:
                time.sleep(self.chance.uniform(0, 0.1))
            finally:
                self._detach(control)

    def _detach(self, control):
        end = time.monotonic() + 20
        while True:
            try:
                return control.detach(INDEX)
            except OSError as failure:
                if failure.errno != errno.EBUSY or time.monotonic() > end:
                    raise

    def is_written(self):
        """While others do the same."""
        with dio.Direct(self.node, write=True) as device:
            for number in range(20):
                device.write(number * 512 * KIB, b"r" * 4 * KIB)

    def is_sealed(self):
        """And a point is forgotten."""
        with Handle(self.char, write=True) as handle:
            handle.seal()
            handle.forget(handle.ids()[0])

    def is_watched(self):
        """Every other time the module goes without having let go."""
        images.command("modprobe", "vhdx_watch", check=False)
        try:
            tell("hold", self.node)
            for count in (1, 4):
                tell("observe", count)
                tell("unobserve")
            tell("observe", 3)
            if self.chance.randrange(2):
                tell("put")
        finally:
            if DEBUGFS.exists():
                figures, _ = told()
                ktap.equal((figures["unpaired"], figures["told_while_quiet"]), (0, 0),
                           "unpaired, quiet")
            images.command("rmmod", "vhdx_watch", check=False)

    @staticmethod
    def driver_goes():
        """If nobody uses it; then it is back at once."""
        images.command("rmmod", "vhdx", check=False)
        images.command("modprobe", "vhdx", check=False)


@ktap.case
def everything_races():
    """Attach, detach, writes, seals; a module that holds, observes, lets go, and goes; and the
    driver, which goes as soon as it may."""
    with images.container(16 * MIB) as path:
        with attached(path, "--track"):
            pass
        races, over, turns = Races(path), threading.Event(), {}
        steps = (races.comes_and_goes, races.is_written, races.is_sealed, races.is_watched,
                 races.driver_goes)
        ending = threading.Timer(180 if ktap.LONG else 3, over.set)
        ending.start()
        together(*((over_and_over, over, step, turns) for step in steps))
        images.command("modprobe", "vhdx")
        ktap.diag(turns)
        ktap.check("bad" not in turns, turns.get("bad"))
        ktap.check(len(turns) == len(steps), f"only {sorted(turns)} succeeded at all")
        with attached(path) as disk:
            ktap.equal(disk.sysfs("holders"), "", "holders")
            disk.write(0, b"x" * 4096)


@ktap.case
def no_disk():
    with images.blank_device() as device, loaded():
        for node in (device, "/dev/null", "/dev/vhdx-control"):
            ktap.expect_errno(errno.ENODEV, tell, "hold", node)


ktap.main()
