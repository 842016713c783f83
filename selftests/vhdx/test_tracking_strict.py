#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_tracking_strict - a sidecar that alone went back in time within a session is found
#
# Container and sidecar are copied in the middle of a session, as a crash leaves them: at one moment
# both, or the sidecar earlier than the container. The first is no gap, ever; the second is one if
# the session was strict.
#
# vm: timeout=300 takes=70
import concurrent.futures
import contextlib
import dataclasses
import errno
import os
import pathlib
import shutil
import signal
import struct
import sys
import time
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, faulty, images, knob, ktap, mapper, sidecar, slow  # noqa: E402
from vhdxtest import uapi, udev  # noqa: E402
from vhdxtest.device import Control, Failure  # noqa: E402
from vhdxtest.disk import attached, opened, raw_attached  # noqa: E402
from vhdxtest.images import GIB, KIB, MIB, TIB  # noqa: E402
import vhdxoracle  # noqa: E402
from vhdxoracle.crc32c import crc32c  # noqa: E402
from vhdxoracle.layout import BAT_REGION  # noqa: E402

REGION = 4 * MIB
_TOKEN = struct.Struct("<4s4xQQ64s")


@dataclasses.dataclass
class Session:
    """A disk and what was written to it since a point; copies of its files, at any time."""

    path: pathlib.Path
    disk: object = None
    point: object = None
    written: set = dataclasses.field(default_factory=set)
    copies: int = 0

    @contextlib.contextmanager
    def open(self, *options):
        """Attached."""
        with attached(self.path, *options) as self.disk:
            if not self.point:
                self.point = self.disk.handle.ids()[0]
            yield

    def write(self, region):
        """The first write to a region makes a commit of the coarse area."""
        self.disk.write(region * REGION, b"w" * 512)
        self.written.add(region)

    def copy(self):
        """Both files as they are now: (container, sidecar)."""
        self.copies += 1
        target = self.path.parent / str(self.copies)
        target.mkdir()
        return (shutil.copy(self.path, target),
                shutil.copy(f"{self.path}.lrct", target))


@contextlib.contextmanager
def new_disk(size=64 * MIB):
    """See Session."""
    with images.directory() as directory:
        yield Session(images.create(directory / "disk.vhdx", size, block_size=MIB))


def after_crash(container, lrct):
    """These two lie side by side: the container's path."""
    target = pathlib.Path(container).parent / "crashed"
    target.mkdir(exist_ok=True)
    shutil.copy(lrct, target / "disk.vhdx.lrct")
    return pathlib.Path(shutil.copy(container, target))


def regions(changes):
    """Of these ranges."""
    return {region for offset, length in changes
            for region in range(offset // REGION, (offset + length - 1) // REGION + 1)}


def expect_told(crashed, at, written, *options):
    """No gap: what was written is told."""
    with attached(crashed, *options) as disk:
        found = regions(disk.handle.changes(at.point))
    ktap.check(written <= found, f"{sorted(written - found)} are missing")


def expect_gap(crashed, at, *options):
    """A gap behind the point, for whoever asks."""
    with attached(crashed, *options) as disk:
        failure = ktap.expect_errno(errno.ESTALE, disk.handle.changes, at.point)
        ktap.equal(failure.reason, uapi.CHANGED_OFFLINE, "reason")


def step_header(path):
    """What a program does that opens a container for writing, and writes nothing (MS-VHDX 2.2.2)."""
    with open(path, "r+b") as container:
        headers = []
        for offset in (64 * KIB, 128 * KIB):
            container.seek(offset)
            header = container.read(4096)
            headers.append((struct.unpack_from("<Q", header, 8)[0], offset, header))
        (_, offset, _), (sequence, _, newest) = sorted(headers)
        header = newest[:4] + bytes(4) + struct.pack("<Q", sequence + 1) + newest[16:]
        container.seek(offset)
        container.write(header[:4] + struct.pack("<I", crc32c(header)) + header[8:])


def tokens(lrct):
    """(commit, sequence, {sector, …}) of each slot that is intact, the newest first."""
    found = []
    data = pathlib.Path(lrct).read_bytes()
    for slot in (2, 3):
        block = data[slot * sidecar.BLOCK:(slot + 1) * sidecar.BLOCK]
        magic, commit, sequence, bits = _TOKEN.unpack_from(block)
        if magic == b"TOKN" and crc32c(block[:-4]) == struct.unpack("<I", block[-4:])[0]:
            bits = int.from_bytes(bits, "little")
            found.append((commit, sequence, {n for n in range(512) if bits >> n & 1}))
    return sorted(found, reverse=True)


def sequence_and_bat(path):
    """The SequenceNumber of a container, and where its BAT is: (offset, length)."""
    with vhdxoracle.open_disk(path) as image:
        bat = image.regions[BAT_REGION]
        return image.header.sequence, (bat.offset, bat.length)


# ---- older sidecars -----------------------------------------------------------------

@ktap.case
def older_sidecar():
    """Of the same session: it knows of one region, and the container has two. Whoever opens it
    sees that, with and without the flag, and the gap stays."""
    with new_disk() as at:
        with at.open("--track", "--strict"):
            at.write(0)
            older = at.copy()
            at.write(5)
            newer = at.copy()
        expect_told(after_crash(*newer), at, {0, 5})
        for options in ((), ("--strict",), ("--read-only",)):
            crashed = after_crash(newer[0], older[1])
            expect_gap(crashed, at, *options)
            expect_gap(crashed, at)
        crashed = after_crash(newer[0], older[1])
        done = ctl.run("changes", crashed, "--since", at.point, status=ctl.FULL_BACKUP)
        ktap.check("full backup" in done.stderr, done.stderr)
        with attached(crashed, "--strict") as disk:
            point = disk.handle.seal()
            disk.write(7 * REGION, b"x" * 512)
            ktap.equal(regions(disk.handle.changes(point)), {7}, "behind the gap")


@ktap.case
def not_found_without_strict():
    """What strict is for, and what Documentation/sidecar.rst says is not found without it."""
    with new_disk() as at:
        with at.open("--track"):
            at.write(0)
            older = at.copy()
            at.write(5)
            newer = at.copy()
        ktap.equal(tokens(newer[1]), [], "tokens")
        with attached(after_crash(newer[0], older[1])) as disk:
            found = regions(disk.handle.changes(at.point))
        ktap.check(0 in found and 5 not in found, f"{sorted(found)}")


@ktap.case
def every_older_sidecar():
    """At each step of a session: what is older is found as soon as a region was written since that
    it does not know of, and what is not older is no gap."""
    with new_disk() as at:
        taken = []
        with at.open("--track", "--strict"):
            for region in (0, 10, 2, 12, 5):
                at.write(region)
                if region == 2:
                    at.disk.data.flush()
                taken.append((at.copy(), set(at.written)))
        for number, ((container, lrct), written) in enumerate(taken):
            expect_told(after_crash(container, lrct), at, written)
            if number:
                expect_gap(after_crash(container, taken[number - 1][0][1]), at)
                # The other way round: what the sidecar was told of since is no write.
                expect_told(after_crash(taken[number - 1][0][0], lrct), at, written)


@ktap.case
def tracking_enabled_later():
    """In a session that goes on: it is strict from the first point on."""
    with new_disk() as at:
        with attached(at.path, "--strict") as at.disk:
            at.disk.write(0, b"x" * 512)
            at.point = uapi.PointId.parse(ctl.line("track", "enable", at.disk.node))
            at.write(3)
            older = at.copy()
            at.write(9)
            newer = at.copy()
        expect_told(after_crash(*newer), at, {3, 9})
        expect_gap(after_crash(newer[0], older[1]), at)


# ---- no false gaps ------------------------------------------------------------------

@ktap.case
def updates_of_the_log_in_between():
    """Each commit of the journal in a new generation writes the header."""
    with new_disk() as at, at.open("--track", "--strict"):
        for region in (0, 10, 2):
            at.write(region)
            at.disk.data.flush()
            expect_told(after_crash(*at.copy()), at, at.written)
            # LogGuid becomes zero here, and is set again by the next flush.
            at.disk.handle.seal()
            expect_told(after_crash(*at.copy()), at, at.written)


@ktap.case
def replayed_and_left_alone():
    """A replay at attach writes the header before any session; the next attach finds no gap,
    however often, and an older sidecar is found as before."""
    with new_disk() as at:
        with at.open("--track", "--strict"):
            at.write(0)
            older = at.copy()
            at.write(9)
            at.disk.data.flush()
            newer = at.copy()
        crashed = after_crash(*newer)
        for options in (("--read-only",), (), (), ("--strict",), ()):
            expect_told(crashed, at, {0, 9}, *options)
        with attached(crashed, "--strict") as disk:
            disk.write(7 * REGION, b"x" * 512)
        expect_told(crashed, at, {0, 7, 9})
        expect_gap(after_crash(newer[0], older[1]), at)


@ktap.case
def power_fails_in_a_replay():
    """At attach, between the header and what is replayed: the sidecar was told of that header."""
    with new_disk() as at:
        with at.open("--track", "--strict"):
            at.write(0)
            at.write(9)
            at.disk.data.flush()
            older = at.copy()
            at.write(3)
            at.disk.data.flush()
            newer = at.copy()
        backing = at.path.parent / "backing"
        for lrct, complete in (newer[1], True), (older[1], False):
            crashed = after_crash(newer[0], lrct)
            before, bat = sequence_and_bat(crashed)
            with faulty.device(backing, crashed.stat().st_size) as below:
                pathlib.Path(below.path).write_bytes(crashed.read_bytes())
                with below.read_only(backing, *bat):
                    done = ctl.run("attach", "--sidecar", f"{crashed}.lrct", below.path,
                                   status=ctl.FAILED)
                crashed.write_bytes(pathlib.Path(below.path).read_bytes())
            backing.unlink()
            ktap.check("replaying the log" in done.stderr, done.stderr)
            ktap.check(sequence_and_bat(crashed)[0] > before,
                       "the header was not written: nothing was tested")
            if complete:
                expect_told(crashed, at, {0, 3, 9})
            else:
                expect_gap(crashed, at)


@ktap.case
def killed_before_a_replay():
    """An attach that is killed while it looks at the sidecar replays nothing: the next attach finds
    no gap."""
    with new_disk() as at:
        with at.open("--track", "--strict"):
            at.write(0)
            at.disk.data.flush()
            crashed = after_crash(*at.copy())
        lrct = pathlib.Path(f"{crashed}.lrct")
        size = -(-lrct.stat().st_size // MIB) * MIB
        with slow.device(crashed.parent / "backing", size) as below:
            pathlib.Path(below.path).write_bytes(lrct.read_bytes())
            before = sequence_and_bat(crashed)[0]
            below.delay(read=1000)
            child = os.fork()
            if not child:
                with (contextlib.suppress(Failure), Control() as control,
                      opened(crashed) as container, opened(below.path) as side):
                    control.attach(container, side)
                os._exit(0)
            time.sleep(1.5)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            below.delay()
            ktap.equal(sequence_and_bat(crashed)[0], before, "SequenceNumber")
            with raw_attached(crashed, below.path) as disk:
                ktap.equal(disk.reason, uapi.NONE, disk.message)


@ktap.case
def many_sectors_in_one_commit():
    """Writes all over a large disk, many of them at once: where one of the two newest tokens is of
    such a commit, which takes a few turns on a slow machine."""
    with new_disk(4 * TIB) as at:
        with at.open("--track", "--strict"):
            at.write(1)
            older = at.copy()
            for turn in range(10):
                with concurrent.futures.ThreadPoolExecutor(20) as pool:
                    list(pool.map(at.write, [n * 90 * GIB // REGION + 2 * turn for n in range(40)]))
                named = max(len(sectors) for _, _, sectors in tokens(f"{at.path}.lrct"))
                if named > 8:
                    break
            newer = at.copy()
        ktap.check(named > 8, f"{named} sectors are named: all writes came one by one")
        expect_told(after_crash(*newer), at, at.written)
        expect_gap(after_crash(newer[0], older[1]), at)


@ktap.case
def seals_closes_and_other_sessions():
    """Nothing of an ordinary life is a gap: also where a session in between is not strict, whose
    tokens are those of the one before."""
    with new_disk() as at:
        with at.open("--track", "--strict"):
            for region in range(3):
                at.write(region)
                at.disk.handle.seal(f"{region}")
            both = at.copy()
        expect_told(at.path, at, at.written, "--read-only")
        expect_told(after_crash(*both), at, at.written)
        for region, options in (5, ("--strict",)), (7, ()), (9, ("--strict",)):
            with at.open(*options):
                at.write(region)
                older = at.copy()
                at.write(14 - region)
                both = at.copy()
            expect_told(at.path, at, at.written)
            expect_told(after_crash(*both), at, at.written)
            if options:
                expect_gap(after_crash(both[0], older[1]), at)


@ktap.case
def checkpoints_in_between():
    """Regions are cleared: their sectors are newer than the token that names them."""
    with new_disk() as at, \
            knob.turned("/sys/module/vhdx/parameters/checkpoint_idle_ms", "50"):
        with at.open("--track", "--strict"):
            for region in (0, 10):
                at.write(region)
                older = at.copy()
                ktap.eventually(lambda: at.disk.sysfs("coarse_regions") == "0", "clears")
                expect_told(after_crash(*at.copy()), at, at.written)
            at.write(5)
            newer = at.copy()
        expect_told(after_crash(*newer), at, at.written)
        expect_gap(after_crash(newer[0], older[1]), at)


@ktap.case
def opened_by_another_program():
    """Of a container that was closed the header may change without its contents: that is no gap. In
    the middle of a session it is one: nobody else had it open."""
    with new_disk() as at:
        with at.open("--track", "--strict"):
            at.write(0)
            both = at.copy()
        crashed = after_crash(*both)
        for one in (at.path, crashed):
            step_header(one)
        expect_told(at.path, at, {0})
        expect_gap(crashed, at)


# ---- tokens that can't be written (rule T7) -----------------------------------------

def first_write(at):
    """A commit of the coarse area."""
    at.write(9)


def update(at):
    """The journal begins a new generation."""
    at.disk.write(MIB, b"w" * 512)
    at.disk.data.flush()


def cannot_be_written(operation, hangs):
    """The sidecar fails, or hangs, where its tokens are, and nowhere else."""
    with new_disk() as at, faulty.device(at.path.parent / "side", 16 * MIB) as side, \
            knob.turned("/sys/module/vhdx/parameters/sidecar_timeout_ms", "1000"):
        with at.open("--track", "--strict", "--sidecar", side.path):
            at.write(0)
            if not hangs:
                side.fail((2 * sidecar.BLOCK, 2 * sidecar.BLOCK))
            with mapper.hanging(side.name) if hangs else contextlib.nullcontext():
                operation(at)
                at.write(12)
                at.disk.data.flush()
                ktap.eventually(lambda: at.disk.sysfs("tracking") == "off", "tracking is off")
            ktap.equal(at.disk.sysfs("reason"), uapi.REASONS[uapi.TRACKING_ERROR],
                       "reason")
            ktap.equal(at.disk.sysfs("poisoned"), "0", "poisoned")
            side.heal()
            lrct = pathlib.Path(side.path).read_bytes()
            crashed = shutil.copy(at.path, at.path.parent / "crashed.vhdx")
        for container in (crashed, at.path):
            pathlib.Path(f"{container}.lrct").write_bytes(lrct)
            with attached(container) as disk:
                failure = ktap.expect_errno(errno.ESTALE, disk.handle.changes, at.point)
                ktap.equal(failure.reason, uapi.TRACKING_ERROR, "reason")


for does in (first_write, update):
    ktap.add(f"{does.__name__}_without_a_token", cannot_be_written, does, False)
    ktap.add(f"{does.__name__}_while_it_hangs", cannot_be_written, does, True)


@ktap.case
def enabled_again_at_the_second_try():
    """Of a sidecar that is disabled, and could not be told of the header at the first one."""
    with new_disk() as at, faulty.device(at.path.parent / "side", 16 * MIB) as side:
        with at.open("--track", "--strict", "--sidecar", side.path):
            at.disk.handle.disable()
            side.fail((2 * sidecar.BLOCK, 2 * sidecar.BLOCK))
            ktap.expect_errno(errno.EIO, at.disk.handle.enable)
            side.heal()
            point = at.disk.handle.enable()
            at.write(5)
            ktap.equal(at.disk.sysfs("tracking"), "on", "tracking")
            ktap.equal(regions(at.disk.handle.changes(point)), {5}, "regions")


with udev.asleep():
    ktap.main()
