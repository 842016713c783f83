#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_tracking_points - points come and go, and no change is lost for those that stay
#
# vm: timeout=400 takes=20
import errno
import itertools
import pathlib
import random
import select
import sys
import threading
import time
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, images, ktap, sidecar, uapi  # noqa: E402
from vhdxtest.device import Control, Failure, Handle, expect_failure  # noqa: E402
from vhdxtest.disk import attach, attached, detach, detach_index  # noqa: E402
from vhdxtest.disk import tracked_container  # noqa: E402
from vhdxtest.images import KIB, MIB, container  # noqa: E402
from vhdxtest.workload import History, Workload  # noqa: E402

UNIT = 16 * KIB
SIZE = 64 * MIB


def write_some(disk, rng, written):
    """A few writes; adds their units to written."""
    for _ in range(rng.randint(1, 4)):
        unit = rng.randrange(SIZE // UNIT)
        disk.write(unit * UNIT + 512 * rng.randrange(UNIT // 512), rng.randbytes(512))
        written.add(unit)


def ranges_of(units):
    """Units as an answer has them."""
    ranges = []
    for unit in sorted(units):
        if ranges and sum(ranges[-1]) == unit * UNIT:
            ranges[-1] = (ranges[-1][0], ranges[-1][1] + UNIT)
        else:
            ranges.append((unit * UNIT, UNIT))
    return ranges


class Line:
    """Points and the sets of units between them: what a timeline must amount to."""

    def __init__(self, disk):
        self.points = disk.handle.ids()
        self.deltas = [set() for _ in self.points]

    def seal(self, disk):
        """A point."""
        self.points.append(disk.handle.seal())
        self.deltas.append(set())

    def forget(self, disk, position):
        """One less."""
        disk.handle.forget(self.points.pop(position))
        behind = self.deltas.pop(position)
        if position:
            self.deltas[position - 1] |= behind

    def check(self, handle):
        """Every pair, and now."""
        ktap.equal(handle.ids(), self.points, "points")
        for first, limit in enumerate(self.points):
            for last in range(first, len(self.points)):
                units = set().union(*self.deltas[first:last])
                ktap.equal(handle.changes(limit, self.points[last]), ranges_of(units),
                           f"{first} to {last}")
            units = set().union(*self.deltas[first:])
            ktap.equal(handle.changes(limit), ranges_of(units), f"{first} to now")


def written_line(disk, count, rng):
    """A disk with count points and writes between them, and behind the last one."""
    line = Line(disk)
    while True:
        write_some(disk, rng, line.deltas[-1])
        if len(line.points) == count:
            return line
        line.seal(disk)


@ktap.case
def forget_in_every_position():
    for position in range(4):
        with container(SIZE) as path, attached(path, "--track") as disk:
            line = written_line(disk, 4, random.Random(position))
            line.check(disk.handle)
            forgotten = line.points[position]
            line.forget(disk, position)
            line.check(disk.handle)
            for limit, target in ((forgotten, uapi.NOW), (line.points[0], forgotten)):
                expect_failure(errno.ENODATA, uapi.ID_MISSING, disk.handle.changes, limit, target)


@ktap.case
def forget_all_but_one():
    with container(SIZE) as path, attached(path, "--track") as disk:
        rng = random.Random(5)
        line = written_line(disk, 12, rng)
        while len(line.points) > 1:
            line.forget(disk, rng.randrange(len(line.points)))
            line.check(disk.handle)
        expect_failure(errno.EBUSY, uapi.IN_USE, disk.handle.forget, line.points[0])
        line.check(disk.handle)
        # An id that is not known does not become an error of another kind.
        expect_failure(errno.ENODATA, uapi.ID_MISSING, disk.handle.forget,
                       uapi.PointId(sequence=7, kind=uapi.POINT_REFERENCE))


def load_anew():
    """The module, out and in again."""
    images.command("rmmod", "vhdx")
    images.command("modprobe", "vhdx")


def lasting(state):
    """What of a state does not change with the attachment, nor with writes."""
    state.generation = state.sidecar_used = state.live_bytes = 0
    return bytes(state)


@ktap.case
def survive_detach_and_unload():
    """Points, labels, times and deltas, the live one too, come back; forgetting goes on."""
    rng = random.Random(9)
    with container(SIZE) as path:
        with attached(path, "--track") as disk:
            line = written_line(disk, 3, rng)
            disk.handle.seal("the label")
            line.points = disk.handle.ids()
            line.deltas.append(set())
            write_some(disk, rng, line.deltas[-1])
            before = [bytes(point) for point in disk.handle.points()]
            state = lasting(disk.handle.state())
        for number in range(3):
            if number == 1:
                load_anew()
            with attached(path) as disk:
                ktap.equal([bytes(point) for point in disk.handle.points()], before, "points")
                ktap.equal(lasting(disk.handle.state()), state, "state")
                line.check(disk.handle)
                if number == 1:
                    write_some(disk, rng, line.deltas[-1])
        with attached(path) as disk:
            line.forget(disk, 1)
            line.check(disk.handle)
        # Nothing is written in this session but what is forgotten.
        with attached(path) as disk:
            line.forget(disk, len(line.points) - 1)
        with attached(path) as disk:
            line.check(disk.handle)


@ktap.case
def read_only_attach():
    """Answers, and refuses whatever would write; the files stay as they are."""
    with container(SIZE) as path:
        with attached(path, "--track") as disk:
            line = written_line(disk, 3, random.Random(3))
        lrct = pathlib.Path(f"{path}.lrct")
        before = path.read_bytes(), lrct.read_bytes()
        with attached(path, "--read-only") as disk:
            line.check(disk.handle)
            ktap.equal(disk.handle.state().state, uapi.TRACKING_ON)
            for refused in (disk.handle.seal, lambda: disk.handle.forget(line.points[1]),
                            disk.handle.reset, disk.handle.disable, disk.handle.enable):
                expect_failure(errno.EROFS, uapi.READ_ONLY, refused)
            line.check(disk.handle)
        ktap.check((path.read_bytes(), lrct.read_bytes()) == before,
                   "a read-only attach wrote to a file")


@ktap.case
def attach_and_detach_alone_write_nothing():
    with container(SIZE) as path:
        with attached(path, "--track") as disk:
            written_line(disk, 2, random.Random(3))
        lrct = pathlib.Path(f"{path}.lrct")
        before = path.read_bytes(), lrct.read_bytes()
        with attached(path) as disk:
            disk.handle.changes(disk.handle.ids()[0])
            disk.read(0, MIB)
        ktap.check((path.read_bytes(), lrct.read_bytes()) == before,
                   "without a write or a seal, something was written")


@ktap.case
def newer_changes():
    with container(SIZE) as path, attached(path, "--track") as disk:
        def newer():
            return disk.handle.state().newer_changes
        ktap.equal(newer(), 0, "newer_changes of a fresh disk")
        disk.read(0, MIB)
        ktap.equal(newer(), 0, "newer_changes after a read")
        disk.write(SIZE - 512, b"x" * 512)
        ktap.equal(newer(), 1, "newer_changes after a write")
        disk.handle.seal()
        ktap.equal(newer(), 0, "newer_changes after a seal")
        ktap.equal(disk.handle.changes(disk.handle.ids()[0]), [(SIZE - UNIT, UNIT)])
    # Where nobody recorded, anything may have happened: a fresh file, then a damaged sidecar.
    with container(SIZE) as path:
        for content in (None, b"x" * 16384):
            if content:
                pathlib.Path(f"{path}.lrct").write_bytes(content)
            with attached(path) as disk:
                state = disk.handle.state()
                ktap.equal((state.state, state.newer_changes), (uapi.TRACKING_OFF, 1), "state")


@ktap.case
def units():
    """From 4 KiB to 1 MiB; nothing else."""
    for shift in range(11, 22):
        with container(SIZE) as path, attached(path) as disk:
            lrct = pathlib.Path(f"{path}.lrct")
            with open(lrct, "w+b") as file:
                try:
                    disk.handle.enable(file.fileno(), 1 << shift)
                except Failure as failure:
                    ktap.check(shift in (11, 21), failure)
                    ktap.equal((failure.errno, failure.reason), (errno.EINVAL, uapi.ARGUMENT))
                    ktap.equal(lrct.stat().st_size, 0, "size of a sidecar that was not made")
                    continue
            ktap.check(shift not in (11, 21), f"a unit of {1 << shift} was taken")
            disk.write(5 * MIB + 4096, b"x" * 512)
            argument, ranges = disk.handle.query(disk.handle.ids()[0])
            ktap.equal(argument.unit, 1 << shift, "unit")
            start = (5 * MIB + 4096) >> shift << shift
            ktap.equal(ranges, [(start, 1 << shift)], "changes")
    for unit in (1, 5000, 12 * KIB):
        with container(SIZE) as path:
            ctl.run("attach", "--track", "--unit", unit, path, status=ctl.USAGE)


@ktap.case
def unit_grows_with_the_disk():
    """A map has at most 128 MiB: 2^30 units."""
    for size, wanted, unit in ((16 * images.TIB, 0, 16 * KIB), (64 * images.TIB, 0, 64 * KIB),
                               (16 * images.TIB, 4 * KIB, 16 * KIB),
                               (4 * images.TIB, 4 * KIB, 4 * KIB)):
        with container(size, block_size=256 * MIB) as path, \
                attached(path, "--track", *(["--unit", wanted] if wanted else [])) as disk:
            ktap.equal(disk.handle.state().unit, unit, f"unit of {size >> 40} TiB")
            disk.write(size - 512, b"x" * 512)
            ktap.equal(disk.handle.changes(disk.handle.ids()[0]), [(size - unit, unit)])


def memory():
    """Bytes that the kernel keeps, and can't give back."""
    fields = dict(line.split(":") for line in
                  pathlib.Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    return sum(int(fields[name].split()[0]) * KIB
               for name in ("SUnreclaim", "VmallocUsed", "Percpu"))


def noise():
    """By so much that may be wrong: KASAN keeps what was freed for a while."""
    return (64 if "kasan_" in pathlib.Path("/proc/kallsyms").read_text(encoding="ascii") else 4) * MIB


@ktap.case
def memory_of_64_tib():
    """What README says: 4 MiB, and 4 KiB wherever something changed. A map of all of the disk would
    have 128 MiB. And however large it is, its state is told, beside seals."""
    count, beside = 512, 4 * MIB
    with container(64 * images.TIB, block_size=256 * MIB) as path:
        with attached(path, "--track"):
            pass
        before = memory()
        with attached(path) as disk:
            alone = memory() - before
            first, unit = disk.handle.ids()[0], disk.handle.state().unit
            for number in range(count):
                disk.write(number * disk.size // count, b"x" * 512)
            written = memory() - before
            ktap.diag(f"{alone >> 10} KiB when attached, {written >> 10} KiB with {count} leaves")
            ktap.check(alone < beside + noise(), f"{alone >> 20} MiB when it is attached")
            # The page of the block table is counted, too.
            ktap.check(written < beside + 2 * 4 * KIB * count + noise(), f"{written >> 20} MiB")
            ktap.equal(disk.handle.state().live_bytes, count * unit, "live_bytes")
            stop, seen = threading.Event(), set()

            def ask():
                while not stop.is_set():
                    seen.add(disk.handle.state().live_bytes)
            asking = threading.Thread(target=ask)
            asking.start()
            for _ in range(20):
                disk.handle.seal()
            stop.set()
            asking.join()
            ktap.check(seen <= {0, count * unit}, f"live_bytes: {seen}")
            ktap.equal(len(disk.handle.changes(first)), count, "changes")


@ktap.case
def limit_of_points():
    """4096, then ENOSPC; forgetting one makes room for one."""
    nothing = sidecar.Delta({}, 0, 0)
    with tracked_container(4 * MIB, [nothing] * (uapi.POINTS_MAX - 1)) as path:
        with attached(path) as disk:
            disk.handle.seal("the last one")
            points = disk.handle.ids()
            ktap.equal(len(points), uapi.POINTS_MAX, "points")
            disk.write(MIB, b"x" * 512)
            for _ in range(2):
                expect_failure(errno.ENOSPC, uapi.NO_SPACE, disk.handle.seal)
                ktap.equal(disk.handle.ids(), points, "points")
                ktap.equal(disk.handle.changes(points[0]), [(MIB, UNIT)], "changes")
            disk.handle.forget(points[100])
            last = disk.handle.seal()
            ktap.equal(disk.handle.changes(points[0], last), [(MIB, UNIT)], "changes")
        with attached(path) as disk:
            ktap.equal(disk.handle.changes(points[-1], last), [(MIB, UNIT)], "changes")


@ktap.case
def points_by_pieces():
    """GET_POINTS behind any point, into an array of any length; what a forget leaves is whole."""
    with container(SIZE) as path, attached(path, "--track") as disk:
        for number in range(9):
            disk.handle.seal(f"{number}")
        points = [bytes(point) for point in disk.handle.points()]
        ktap.equal(len(points), 10, "points")
        ids = [uapi.NOW, *disk.handle.ids()]
        for first, capacity in itertools.product((0, 1, 9, 10), (1, 3, 10, 100)):
            part = disk.handle.points(ids[first], capacity)
            ktap.equal([bytes(point) for point in part], points[first:first + capacity],
                       f"points behind number {first}, at most {capacity}")
        # A page, a point of it is forgotten, the next page: none is missed.
        disk.handle.forget(ids[2])
        part = disk.handle.points(ids[3], 100)
        ktap.equal([bytes(point) for point in part], points[3:], "points behind number 3")
        for after, number, reason in ((ids[2], errno.ENODATA, uapi.ID_MISSING),
                                      (uapi.PointId(kind=9), errno.EINVAL, uapi.ID_MALFORMED)):
            expect_failure(number, reason, disk.handle.points, after)


@ktap.case
def how_much_changed_and_when_a_gap_came():
    """Of every point what the question says; a gap has a time, wherever it is told of."""
    with container(SIZE) as path:
        with attached(path, "--track") as disk:
            for count in (3, 0, 1):
                for number in range(count):
                    disk.write(number * MIB, b"x" * 512)
                disk.handle.seal()
            before = time.time_ns()
            disk.handle.reset()
            after = time.time_ns()
        with attached(path) as disk:
            points = disk.handle.points()
            ktap.equal([point.changed_bytes for point in points],
                       [uapi.BYTES_UNKNOWN, 3 * UNIT, 0, UNIT, uapi.BYTES_UNKNOWN], "changed")
            ktap.equal([bool(point.gap_time_ns) for point in points], [False] * 4 + [True], "gap")
            gap = points[-1].gap_time_ns
            ktap.check(before <= gap <= after, f"{gap} is not from {before} to {after}")
            failure = ktap.expect_errno(errno.ESTALE, disk.handle.changes, points[0].id)
            ktap.equal(failure.argument.gap_time_ns, gap, "of a question")
            disk.handle.forget(points[-1].id)
            ktap.equal(disk.handle.state().gap_time_ns, gap, "of the state")


# ---- all at once -------------------------------------------------------------------

class Crowd:
    """Threads that ask and change one disk until it is gone."""

    ALLOWED = {
        "seal": {errno.ENOSPC},
        "forget": {errno.ENODATA, errno.EBUSY},
        "query": {errno.ENODATA, errno.EINVAL},
        "look": set(),
    }

    def __init__(self, disk, seed):
        self.char = disk.char
        self.seed = seed
        self.keep = disk.handle.ids()[0]
        self.sealed = []
        self.forgotten = set()
        self.faults = []
        self.calls = dict.fromkeys(self.ALLOWED, 0)
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(kind, number))
                        for number, kind in enumerate([*self.ALLOWED, "query"])]
        for thread in self.threads:
            thread.start()

    def seal(self, handle, _):
        """A point; two of three are kept."""
        point = handle.seal()
        with self.lock:
            self.sealed.append(point)

    def forget(self, handle, rng):
        """Some point but the first."""
        point = rng.choice(handle.ids()[1:] or [self.keep])
        if point == self.keep or rng.random() < 0.3:
            return
        with self.lock:
            self.forgotten.add(point)
        handle.forget(point)

    def query(self, handle, rng):
        """Changes between two points, or until now, in small pieces."""
        ids = handle.ids()
        limit = rng.randrange(len(ids))
        target = rng.choice([uapi.NOW, *ids[limit:]])
        handle.changes(ids[limit], target, capacity=rng.choice((1, 7, 4096)))

    def look(self, handle, _):
        """What never fails."""
        handle.state()
        handle.info()
        handle.points()

    def run(self, kind, number):
        """One thread: until ENODEV, and then POLLHUP."""
        rng = random.Random(f"{self.seed} {number}")
        with Handle(self.char, write=True) as handle:
            while True:
                try:
                    getattr(self, kind)(handle, rng)
                    self.calls[kind] += 1
                except Failure as failure:
                    if failure.errno == errno.ENODEV:
                        break
                    if failure.errno not in self.ALLOWED[kind]:
                        self.faults.append(f"{kind}: {failure}")
                except BaseException as failure:  # pylint: disable=broad-exception-caught
                    self.faults.append(f"{kind}: {failure!r}")
                    return
            poll = select.poll()
            poll.register(handle.fd, select.POLLIN)
            events = poll.poll(10000)
            if not events or not events[0][1] & select.POLLHUP:
                self.faults.append(f"{kind}: no POLLHUP after ENODEV")

    def wait_for_each(self, seconds):
        """Until a call of each kind has come through; many fail, as the others go on."""
        end = time.monotonic() + seconds
        while not all(self.calls.values()) and time.monotonic() < end:
            time.sleep(0.05)

    def gone(self):
        """Waits for all of them."""
        for thread in self.threads:
            thread.join()
        ktap.check(not self.faults, "\n".join(self.faults[:5]))


@ktap.case
def everything_at_once_and_then_detach():
    """Seals, forgets, queries and writes; detach in the middle of all but the writes."""
    with container(SIZE) as path:
        disk = attach(path, "--track")
        history = History(disk.size, UNIT)
        history.sealed("first", lambda: disk.handle.ids()[0])
        for round_ in range(4):
            crowd = Crowd(disk, round_)
            load = Workload(disk.node, disk.size, 512, seed=round_)
            with load.running(threads=2, processes=0):
                time.sleep(1)
            crowd.wait_for_each(60)
            history.writes += load.journal()
            load.close()
            index = disk.index
            disk.close()
            with Control() as control:
                detach_index(control, index)
            crowd.gone()
            ktap.diag(f"round {round_}: {crowd.calls}")
            for kind, calls in crowd.calls.items():
                ktap.check(calls, f"no {kind} came through")
            disk = attach(path)
            known = disk.handle.ids()
            ktap.equal(disk.sysfs("reason"), "none", "reason")
            # A call that detach interrupts may have been carried out, or not.
            for point in crowd.sealed:
                ktap.check(point in known or point in crowd.forgotten, f"{point} is lost")
            faults = history.faults(lambda limit, target=uapi.NOW:
                                    disk.handle.changes(limit, target))
            ktap.check(not faults, "\n".join(faults))
            for limit, target in itertools.pairwise(known):
                disk.handle.changes(limit, target)
        detach(disk)


ktap.main()
