#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_tracking_gaps - whatever happened behind the driver's back, nobody is told "no change"
#
# Each case does something to a disk with three points and tells what must come of it: the
# reason of the gap, by ioctl and by the command, which points are still there to ask
# between, and that tracking works again behind the gap.
#
# vm: timeout=600 takes=65
import contextlib
import dataclasses
import errno
import json
import os
import pathlib
import random
import shutil
import sys
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, images, ktap, sidecar, uapi, udev  # noqa: E402
from vhdxtest.device import Control, Failure  # noqa: E402
from vhdxtest.disk import attach, attached, detach, opened, raw_attached  # noqa: E402
from vhdxtest.images import KIB, MIB  # noqa: E402

UNIT = 16 * KIB


@dataclasses.dataclass
class Case:
    """A disk that is not attached, with three points: 1 MiB + n was written behind point n."""

    path: pathlib.Path
    lrct: pathlib.Path
    points: list

    def between(self, first, last):
        """What is true between two points, or until "now"."""
        last = 3 if last == "now" else last
        return [((1 + n) * MIB, UNIT) for n in range(first, last)]


@contextlib.contextmanager
def case_of_three():
    """See Case."""
    with images.directory() as directory:
        path = images.create(directory / "disk.vhdx", 16 * MIB, block_size=MIB)
        with attached(path, "--track") as disk:
            for number in range(3):
                if number:
                    disk.handle.seal()
                disk.write((1 + number) * MIB, b"x" * 512)
            points = disk.handle.ids()
        yield Case(path, pathlib.Path(f"{path}.lrct"), points)


def refused(handle, limit, target=uapi.NOW):
    """(errno, reason) of a query."""
    failure = ktap.expect_errno((errno.ESTALE, errno.ENODATA, errno.EOPNOTSUPP), handle.changes,
                                limit, target)
    ktap.equal(failure.argument.output_count, 0, "output_count")
    ktap.equal(failure.argument.processed_byte_length, 0, "processed_byte_length")
    return failure.errno, failure.reason


def expect_gap(case, disk, reason):
    """A gap behind the newest point; what lies before it can be asked for."""
    ktap.equal(disk.handle.ids(), case.points, "points")
    for first, limit in enumerate(case.points):
        ktap.equal(refused(disk.handle, limit), (errno.ESTALE, reason), f"{first} to now")
        for last in range(first, 3):
            ktap.equal(disk.handle.changes(limit, case.points[last]), case.between(first, last),
                       f"{first} to {last}")
    state = disk.handle.state()
    ktap.equal((state.gap_reason, state.newer_changes), (reason, 1), "state")
    expect_words(case, disk, reason)


def expect_words(case, disk, reason):
    """What the command makes of it."""
    name = uapi.REASONS[reason]
    done = ctl.run("changes", disk.node, "--since", case.points[0], status=ctl.FULL_BACKUP)
    ktap.equal(done.stdout, "", "stdout of a failed query")
    ktap.check("full backup" in done.stderr and done.stderr.startswith("vhdxctl: /dev/vhdx"),
               f"the message says too little: {done.stderr}")
    ktap.equal(ctl.json("track", "status", disk.node)["reason"], name, "reason in JSON")
    ktap.equal(ctl.json("list")["list"][0]["reason"], name, "reason in the list")
    ktap.equal(disk.sysfs("reason"), name, "reason in sysfs")


def works_behind(case, disk):
    """A new point, and from there on all is as usual; the gap stays where it is."""
    new = disk.handle.seal()
    disk.write(9 * MIB, b"y" * 512)
    ktap.equal(disk.handle.changes(new), [(9 * MIB, UNIT)], "changes behind the gap")
    ktap.equal(disk.handle.changes(case.points[0], case.points[2]), case.between(0, 2))
    return new, refused(disk.handle, case.points[2]), refused(disk.handle, case.points[2], new)


def gap_and_life_after_it(case, reason):
    """The usual story of a gap, until the next attach."""
    with attached(case.path) as disk:
        expect_gap(case, disk, reason)
        new, *both = works_behind(case, disk)
        ktap.equal(both, [(errno.ESTALE, reason)] * 2, "across the gap")
    with attached(case.path) as disk:
        ktap.equal(disk.handle.changes(new), [(9 * MIB, UNIT)], "changes after a reattach")
        ktap.equal(refused(disk.handle, case.points[2]), (errno.ESTALE, reason), "across it")
        # The point behind the gap goes: the gap is now before "now".
        disk.handle.forget(new)
        ktap.equal(refused(disk.handle, case.points[2]), (errno.ESTALE, reason), "across it")
    with attached(case.path) as disk:
        expect_gap(case, disk, reason)
    # It was there before this attach, which says so all the same.
    shown = ctl.json("attach", case.path)
    ctl.run("detach", shown["device"])
    ktap.equal(shown["reason"], uapi.REASONS[reason], "reason at attach")
    ktap.check(shown["warning"], "no warning")


def expect_lost(case, reason, number=errno.ESTALE, exit_status=ctl.FULL_BACKUP):
    """The sidecar is not used at all. Whoever asks for a known id is told why."""
    with attached(case.path) as disk:
        state = disk.handle.state()
        ktap.equal((state.state, state.gap_reason), (uapi.TRACKING_OFF, reason), "state")
        for limit in case.points:
            ktap.equal(refused(disk.handle, limit), (number, reason))
            ktap.equal(refused(disk.handle, limit, case.points[2]), (number, reason))
        ctl.run("changes", disk.node, "--since", case.points[0], status=exit_status)
        ktap.equal(disk.sysfs("reason"), uapi.REASONS[reason], "reason in sysfs")
        disk.write(0, b"z" * 512)


def reset_makes_it_new(case):
    """`track reset` writes a new sidecar over one that is of no use."""
    with attached(case.path) as disk:
        done = ctl.run("track", "enable", disk.node, status=ctl.FAILED)
        ktap.check("reset" in done.stderr, f"enable does not say what helps: {done.stderr}")
        point = uapi.PointId.parse(ctl.line("track", "reset", disk.node))
        disk.write(5 * MIB, b"y" * 512)
        ktap.equal(disk.handle.changes(point), [(5 * MIB, UNIT)])
        ktap.equal(refused(disk.handle, case.points[0]), (errno.ENODATA, uapi.ID_MISSING))
    with attached(case.path) as disk:
        ktap.equal(disk.handle.changes(point), [(5 * MIB, UNIT)])


def reset_changes_the_unit(case):
    """The way that the refusal of --unit names."""
    with attached(case.path) as disk:
        done = ctl.run("track", "reset", "--unit", "64K", disk.node, status=ctl.FAILED)
        ktap.check("--no-track" in done.stderr, done.stderr)
    with attached(case.path, "--no-track") as disk:
        point = uapi.PointId.parse(ctl.line("track", "reset", "--unit", "64K", disk.node))
        disk.write(5 * MIB, b"y" * 512)
        ktap.equal(disk.handle.changes(point), [(5 * MIB, 64 * KIB)])
        ktap.equal(refused(disk.handle, case.points[0]), (errno.ENODATA, uapi.ID_MISSING))


def qemu_write(path, offset):
    """Another program that follows the rules of MS-VHDX."""
    images.command("qemu-io", "-f", "vhdx", "-c", f"write -P 7 {offset} 64k", path)


# ---- somebody else ------------------------------------------------------------------

@ktap.case
def nothing_happened():
    with case_of_three() as case, attached(case.path) as disk:
        for first, limit in enumerate(case.points):
            ktap.equal(disk.handle.changes(limit), case.between(first, "now"))
        read = sidecar.Sidecar(case.lrct)
        for first in range(3):
            ktap.equal(read.changes(first), case.between(first, "now"), "what the file says")
            for last in range(first, 3):
                ktap.equal(read.changes(first, last), case.between(first, last))
        ktap.equal([(str(point.guid), point.sequence) for point in read.points],
                   [(str(point)[4:40], point.sequence) for point in case.points])


@ktap.case
def written_by_qemu():
    with case_of_three() as case:
        qemu_write(case.path, 5 * MIB)
        gap_and_life_after_it(case, uapi.CHANGED_OFFLINE)


@ktap.case
def read_by_qemu():
    """Somebody who only reads leaves no gap."""
    with case_of_three() as case:
        images.command("qemu-io", "-r", "-f", "vhdx", "-c", "read 0 1M", case.path)
        images.command("qemu-img", "check", case.path)
        with attached(case.path) as disk:
            ktap.equal(disk.handle.changes(case.points[0]), case.between(0, "now"))


@ktap.case
def written_without_tracking():
    with case_of_three() as case:
        done = ctl.run("attach", "--no-track", case.path)
        ktap.check("full" in done.stderr, f"no warning: {done.stderr}")
        images.command("dd", "if=/dev/urandom", f"of={done.stdout.strip()}", "bs=4k", "count=1",
                       "oflag=direct")
        ctl.run("detach", done.stdout.strip())
        gap_and_life_after_it(case, uapi.CHANGED_OFFLINE)


@ktap.case
def written_by_ioctl_without_its_sidecar():
    with case_of_three() as case:
        with raw_attached(case.path) as disk:
            disk.write(7 * MIB, b"w" * 512)
        gap_and_life_after_it(case, uapi.CHANGED_OFFLINE)


@ktap.case
def taken_up_while_attached():
    """Enabling begins with an empty map, and the sidecar of before does not know what was written
    since: there is a gap behind its points, for good."""
    with case_of_three() as case:
        with raw_attached(case.path) as disk, opened(case.lrct, os.O_RDWR) as lrct:
            new = disk.handle.enable(lrct)
            expected = [(errno.ESTALE, uapi.CHANGED_OFFLINE)] * 2
            ktap.equal([refused(disk.handle, case.points[2]),
                        refused(disk.handle, case.points[2], new)], expected, "across")
            ktap.equal(disk.handle.ids(), [*case.points, new], "points")
            ktap.equal(disk.handle.changes(case.points[0], case.points[2]), case.between(0, 2))
            disk.write(9 * MIB, b"y" * 512)
            ktap.equal(disk.handle.changes(new), [(9 * MIB, UNIT)], "behind the gap")
        with attached(case.path) as disk:
            ktap.equal(refused(disk.handle, case.points[2], new), expected[0], "later")


@ktap.case
def another_unit():
    with case_of_three() as case:
        reset_changes_the_unit(case)


@ktap.case
def attached_without_tracking_and_not_written():
    """Nothing changed: the sidecar still fits, or says that it does not know."""
    with case_of_three() as case:
        with attached(case.path, "--no-track") as disk:
            ktap.equal(disk.handle.state().state, uapi.TRACKING_OFF)
            ktap.equal(refused(disk.handle, case.points[0]), (errno.EOPNOTSUPP, uapi.DISABLED))
        with attached(case.path) as disk:
            ktap.equal(disk.handle.changes(case.points[0]), case.between(0, "now"))


# ---- copies ------------------------------------------------------------------------

@ktap.case
def older_container():
    """Restored from a copy that was made before the last session."""
    with case_of_three() as case:
        copy = case.path.read_bytes()
        with attached(case.path) as disk:
            disk.write(6 * MIB, b"w" * 512)
        case.path.write_bytes(copy)
        gap_and_life_after_it(case, uapi.CHANGED_OFFLINE)


@ktap.case
def older_sidecar():
    with case_of_three() as case:
        copy = case.lrct.read_bytes()
        with attached(case.path) as disk:
            disk.write(6 * MIB, b"w" * 512)
        case.lrct.write_bytes(copy)
        gap_and_life_after_it(case, uapi.CHANGED_OFFLINE)


@ktap.case
def older_sidecar_of_a_session_with_a_seal():
    with case_of_three() as case:
        copy = case.lrct.read_bytes()
        with attached(case.path) as disk:
            disk.write(6 * MIB, b"w" * 512)
            lost = disk.handle.seal()
        case.lrct.write_bytes(copy)
        with attached(case.path) as disk:
            ktap.equal(refused(disk.handle, lost), (errno.ENODATA, uapi.ID_MISSING))
            expect_gap(case, disk, uapi.CHANGED_OFFLINE)


@ktap.case
def both_older():
    """Restored together they fit, and an id of the lost time is not known."""
    with case_of_three() as case:
        copies = case.path.read_bytes(), case.lrct.read_bytes()
        with attached(case.path) as disk:
            disk.write(6 * MIB, b"w" * 512)
            lost = disk.handle.seal()
        case.path.write_bytes(copies[0])
        case.lrct.write_bytes(copies[1])
        with attached(case.path) as disk:
            ktap.equal(disk.handle.changes(case.points[0]), case.between(0, "now"))
            again = disk.handle.seal()
            ktap.check(again != lost, "an id names two states")
            ktap.equal(refused(disk.handle, lost), (errno.ENODATA, uapi.ID_MISSING))


def copy_in_session(case, before_copy):
    """A copy of the container out of a session that went on, put back after its end."""
    copy = case.path.with_suffix(".copy")
    with attached(case.path) as disk:
        before_copy(disk)
        disk.write(6 * MIB, b"w" * 512)
        disk.data.flush()
        shutil.copy(case.path, copy)
        disk.write(8 * MIB, b"w" * 512)
        case.points.append(disk.handle.seal())
        disk.write(10 * MIB, b"w" * 512)
    shutil.move(copy, case.path)


@ktap.case
def copy_from_within_a_session():
    """Rule T5: the copy has neither what followed in its session nor its end."""
    with case_of_three() as case:
        copy_in_session(case, lambda disk: None)
        with attached(case.path) as disk:
            for limit in case.points:
                ktap.equal(refused(disk.handle, limit), (errno.ESTALE, uapi.CHANGED_OFFLINE))


@ktap.case
def copy_from_before_the_first_write_of_a_session():
    with case_of_three() as case:
        copy = case.path.with_suffix(".copy")
        disk = attach(case.path)
        shutil.copy(case.path, copy)
        disk.write(8 * MIB, b"w" * 512)
        new = disk.handle.seal()
        detach(disk)
        shutil.move(copy, case.path)
        with attached(case.path) as disk:
            for limit in (*case.points, new):
                ktap.equal(refused(disk.handle, limit), (errno.ESTALE, uapi.CHANGED_OFFLINE))


@ktap.case
def both_copied_from_within_a_session():
    """Not detached, as after power loss: more is told than was written, and it says so."""
    with case_of_three() as case:
        copies = case.path.with_suffix(".copy"), case.lrct.with_suffix(".copy")
        with attached(case.path) as disk:
            disk.write(6 * MIB, b"w" * 512)
            disk.data.flush()
            shutil.copy(case.path, copies[0])
            shutil.copy(case.lrct, copies[1])
            disk.write(8 * MIB, b"w" * 512)
        shutil.move(copies[0], case.path)
        shutil.move(copies[1], case.lrct)
        # The same from the files alone, and read-only; then with a session of its own.
        expect_coarse(case, ask_file(case.path))
        with attached(case.path, "--read-only") as disk:
            expect_coarse(case, ask_handle(disk.handle))
        with attached(case.path) as disk:
            expect_coarse(case, ask_handle(disk.handle))
            ktap.equal(disk.handle.pages(case.points[2])[0]["coarse"], True, "coarse")
            new = disk.handle.seal()
            disk.write(10 * MIB, b"w" * 512)
            ktap.equal(disk.handle.pages(new)[0]["coarse"], False, "coarse behind a new point")
            ktap.equal(disk.handle.pages(case.points[2], new)[0]["coarse"], True, "before it")
        with attached(case.path) as disk:
            ktap.equal(disk.handle.changes(new), [(10 * MIB, UNIT)], "after a clean close")


def expect_coarse(case, ask):
    """What follows the newest point is told, and more; what lies before it is exact."""
    told = ask(case.points[2], None)
    for offset in (3 * MIB, 6 * MIB):
        ktap.equal(any(start <= offset < start + length for start, length in told), True,
                   f"{offset} in {told}")
    ktap.equal(ask(case.points[0], case.points[2]), case.between(0, 2), "before the newest")


@ktap.case
def sidecar_of_another_disk():
    with case_of_three() as case, case_of_three() as other:
        shutil.copy(other.lrct, case.lrct)
        expect_lost(case, uapi.CHANGED_OFFLINE)
        ktap.equal(case.lrct.read_bytes(), other.lrct.read_bytes(), "a foreign sidecar")
        reset_makes_it_new(case)


@ktap.case
def sidecar_of_a_copy_that_was_resized():
    """Same VirtualDiskId, another size."""
    with case_of_three() as case:
        sidecar.edit(case.lrct, disk_size=32 * MIB)
        expect_lost(case, uapi.CHANGED_OFFLINE)


# ---- damage -------------------------------------------------------------------------

@ktap.case
def sidecar_is_gone():
    with case_of_three() as case:
        case.lrct.unlink()
        with attached(case.path) as disk:
            ktap.equal(disk.handle.state().state, uapi.TRACKING_OFF)
            ktap.equal(refused(disk.handle, case.points[0]), (errno.EOPNOTSUPP, uapi.DISABLED))
            ctl.run("changes", disk.node, "--since", case.points[0], status=ctl.FULL_BACKUP)


@ktap.case
def sidecar_is_empty():
    with case_of_three() as case:
        case.lrct.write_bytes(b"")
        for kind in (raw_attached(case.path, case.lrct), attached(case.path)):
            with kind as disk:
                ktap.equal(refused(disk.handle, case.points[0]),
                           (errno.EOPNOTSUPP, uapi.DISABLED))
        with raw_attached(case.path, case.lrct) as disk, opened(case.lrct) as lrct_fd:
            ktap.equal((disk.reason, "empty" in disk.message), (uapi.DISABLED, True), "why")
            disk.handle.enable(lrct_fd)
            ktap.equal(disk.sysfs("tracking"), "on", "tracking in what was empty")


@ktap.case
def sidecar_is_cut():
    """At every block, and in the middle of some."""
    with case_of_three() as case:
        whole = case.lrct.read_bytes()
        needed = max(sidecar.Sidecar(case.lrct).blocks()) * sidecar.BLOCK
        for length in (1, 100, 4096, 5000, *range(8192, needed + 1, 4096), needed + 4095):
            case.lrct.write_bytes(whole[:length])
            with attached(case.path, "--read-only") as disk:
                ktap.equal(refused(disk.handle, case.points[0]),
                           (errno.ESTALE, uapi.INCONSISTENT), f"cut to {length} bytes")
        case.lrct.write_bytes(whole[:4096 * 3])
        expect_lost(case, uapi.INCONSISTENT)
        reset_makes_it_new(case)


def ask_everything(case, ask):
    """Every answer is right, or an error: {True} if all were answered."""
    results = set()
    for first, limit in enumerate(case.points):
        for last in (*range(first, 3), "now"):
            answer = ask(limit, case.points[last] if last != "now" else None)
            ktap.check(answer in (None, case.between(first, last)),
                       f"{first} to {last}: {answer}")
            results.add(answer is not None)
    return results


def ask_handle(handle):
    """A question for ask_everything()."""
    def ask(limit, target):
        try:
            return handle.changes(limit, target or uapi.NOW)
        except Failure as failure:
            ktap.check(failure.errno == errno.ESTALE and failure.reason != uapi.NONE, failure)
            return None
    return ask


def ask_file(path):
    """The same, of a file that is not attached."""
    def ask(limit, target):
        done = ctl.run("changes", "--json", path, "--since", limit,
                       *(["--target", target] if target else []), status=None)
        if done.returncode == ctl.FULL_BACKUP:
            return None
        ktap.equal(done.returncode, ctl.DONE, f"exit status ({done.stderr})")
        return [(one["offset"], one["length"]) for one in json.loads(done.stdout)["ranges"]]
    return ask


@ktap.case
def flipped_bits():
    """In every block that the header leads to: an error, or the truth."""
    rng = random.Random(4)
    with case_of_three() as case:
        whole = case.lrct.read_bytes()
        read = sidecar.Sidecar(case.lrct)
        kinds = {"PNTS", "ROOT of PNTS", "INDX", "ROOT of INDX", "leaf"}
        ktap.check(kinds <= set(read.blocks().values()), "blocks are missing")
        noticed = 0
        for number, what in read.blocks().items():
            for _ in range(3):
                # In a header, where something is; elsewhere the checksum is over all.
                offset = rng.randrange(184 if what == "header" else sidecar.BLOCK)
                bit = rng.randrange(8)
                sidecar.flip(case.lrct, number * sidecar.BLOCK + offset, bit)
                with attached(case.path, "--read-only") as disk:
                    results = ask_everything(case, ask_handle(disk.handle))
                # Tokens and the coarse area are not in use.
                ktap.check(what in ("header", "token", "coarse") or False in results,
                           f"a flipped bit in block {number} ({what}) was not noticed")
                noticed += False in results
                case.lrct.write_bytes(whole)
        ktap.diag(f"{noticed} of {3 * len(read.blocks())} made answers fail")
        sidecar.flip(case.lrct, max(read.blocks()) * sidecar.BLOCK)
        ask_everything(case, ask_file(case.path))


@ktap.case
def both_headers_are_damaged():
    with case_of_three() as case:
        for slot in (0, 1):
            sidecar.flip(case.lrct, slot * sidecar.BLOCK + 60)
        expect_lost(case, uapi.INCONSISTENT)
        reset_makes_it_new(case)


@ktap.case
def newest_header_is_damaged():
    """The one before it is of an older state: whatever is told, it is not less."""
    with case_of_three() as case:
        slot = sidecar.newest_slot(case.lrct.read_bytes())
        sidecar.flip(case.lrct, slot * sidecar.BLOCK + 60)
        with attached(case.path) as disk:
            ask_everything(case, ask_handle(disk.handle))


@ktap.case
def newest_header_is_damaged_behind_a_region():
    """Something was set or cleared since: it can't be known what."""
    with case_of_three() as case:
        read = sidecar.Sidecar(case.lrct)
        sidecar.set_regions(case.lrct, [1], generation=read.header["sequence"])
        sidecar.flip(case.lrct, read.slot * sidecar.BLOCK + 60)
        expect_lost(case, uapi.INCONSISTENT)
        reset_makes_it_new(case)


@ktap.case
def regions_that_are_set():
    """The file says it, so it is so: attached or not, and after a session without a write."""
    with case_of_three() as case:
        sidecar.set_regions(case.lrct, [2])
        whole = [(3 * MIB, UNIT), (8 * MIB, 4 * MIB)]
        ktap.equal(sidecar.Sidecar(case.lrct).changes(2), whole, "second reader")
        ktap.equal(ask_file(case.path)(case.points[2], None), whole, "offline")
        for _ in range(2):
            with attached(case.path) as disk:
                ktap.equal(disk.handle.changes(case.points[2]), whole, "attached")
                ktap.equal(disk.handle.pages(case.points[2])[0]["coarse"], True, "coarse")
        sidecar.flip(case.lrct, 4 * sidecar.BLOCK + 30)
        ktap.equal(sidecar.Sidecar(case.lrct).changes(2), [(0, 16 * MIB)], "second reader")
        with attached(case.path) as disk:
            ktap.equal(disk.handle.changes(case.points[2]), [(0, 16 * MIB)], "damaged sector")
        told = ctl.run("track", "verify", case.path, status=ctl.FAILED).stderr
        ktap.check(f"offset {4 * sidecar.BLOCK}: answers have all of them" in told, told)
        # As it says.
        with attached(case.path) as disk:
            disk.write(0, b"x" * 512)
        ctl.run("track", "verify", case.path)


@ktap.case
def damaged_while_attached():
    """A leaf that is read for an answer, and is not what it was: an error, not less."""
    with case_of_three() as case:
        with attached(case.path) as disk:
            for number, what in sidecar.Sidecar(case.lrct).blocks().items():
                if what == "leaf":
                    sidecar.flip(case.lrct, number * sidecar.BLOCK + 1)
            images.command("sh", "-c", "echo 1 >/proc/sys/vm/drop_caches")
            ktap.equal(False in ask_everything(case, ask_handle(disk.handle)), True, "noticed")
            done = ctl.run("track", "verify", disk.node, status=ctl.FAILED)
        # As the message says: while the disk uses it, a reset would keep the damage.
        ktap.check("attach anew with --no-track, then `vhdxctl track reset`" in done.stderr,
                   f"verify does not say what helps: {done.stderr}")
        with attached(case.path, "--no-track") as disk:
            point = uapi.PointId.parse(ctl.line("track", "reset", disk.node))
            ktap.equal(disk.handle.ids(), [point], "points")
            ctl.run("track", "verify", disk.node)
        with attached(case.path) as disk:
            ktap.equal(disk.handle.changes(point), [], "changes")
            ctl.run("track", "verify", disk.node)


@ktap.case
def newer_incompatible_feature():
    with case_of_three() as case:
        sidecar.edit(case.lrct, incompat_features=1 << 7)
        whole = case.lrct.read_bytes()
        expect_lost(case, uapi.UNSUPPORTED, errno.EOPNOTSUPP, ctl.FAILED)
        ktap.check(case.lrct.read_bytes() == whole, "a newer driver's sidecar was written")


@ktap.case
def newer_version():
    with case_of_three() as case:
        sidecar.edit(case.lrct, version=3)
        expect_lost(case, uapi.UNSUPPORTED, errno.EOPNOTSUPP, ctl.FAILED)


@ktap.case
def version_of_before_the_first_release():
    with case_of_three() as case:
        sidecar.edit(case.lrct, version=1)
        expect_lost(case, uapi.UNSUPPORTED, errno.EOPNOTSUPP, ctl.FAILED)
        reset_makes_it_new(case)


@ktap.case
def newer_feature_that_allows_reading():
    with case_of_three() as case:
        sidecar.edit(case.lrct, ro_compat_features=1)
        with attached(case.path, "--read-only") as disk:
            ktap.equal(ask_everything(case, ask_handle(disk.handle)), {True}, "answered")
        expect_lost(case, uapi.UNSUPPORTED, errno.EOPNOTSUPP, ctl.FAILED)


@ktap.case
def newer_compatible_feature():
    with case_of_three() as case:
        sidecar.edit(case.lrct, compat_features=1 << 3)
        with attached(case.path) as disk:
            ktap.equal(ask_everything(case, ask_handle(disk.handle)), {True}, "answered")
            disk.handle.seal()
        ktap.equal(sidecar.Sidecar(case.lrct).header["compat_features"], 0, "compat_features")


# ---- the administrator ----------------------------------------------------------------

@ktap.case
def disabled_and_enabled():
    with case_of_three() as case:
        with attached(case.path) as disk:
            ctl.run("track", "disable", disk.node)
            ktap.equal(disk.handle.state().state, uapi.TRACKING_DISABLED)
            ktap.equal(disk.sysfs("tracking"), "disabled")
            ktap.equal(refused(disk.handle, case.points[0]), (errno.EOPNOTSUPP, uapi.DISABLED))
            ktap.equal(ctl.run("track", "disable", disk.node, status=ctl.FAILED).stdout, "")
            disk.write(6 * MIB, b"w" * 512)
        with attached(case.path) as disk:
            ktap.equal(disk.handle.state().state, uapi.TRACKING_DISABLED)
            ctl.run("changes", disk.node, "--since", case.points[0], status=ctl.FULL_BACKUP)
            new = uapi.PointId.parse(ctl.line("track", "enable", disk.node))
            ktap.equal(disk.handle.ids(), [*case.points, new], "points")
            ktap.equal(refused(disk.handle, case.points[2]), (errno.ESTALE, uapi.DISABLED))
            ktap.equal(refused(disk.handle, case.points[2], new), (errno.ESTALE, uapi.DISABLED))
            ktap.equal(disk.handle.changes(case.points[0], case.points[2]), case.between(0, 2))
            disk.write(9 * MIB, b"y" * 512)
            ktap.equal(disk.handle.changes(new), [(9 * MIB, UNIT)])
            ktap.equal(disk.handle.points()[-1].gap_reason, uapi.DISABLED, "gap of the point")


@ktap.case
def reset():
    with case_of_three() as case, attached(case.path) as disk:
        new = uapi.PointId.parse(ctl.line("track", "reset", disk.node))
        ktap.equal(disk.handle.ids(), [*case.points, new], "points")
        ktap.equal(refused(disk.handle, case.points[1]), (errno.ESTALE, uapi.RESET))
        ktap.equal(disk.handle.changes(case.points[0], case.points[2]), case.between(0, 2))
        ktap.equal(disk.handle.changes(new), [], "changes since the reset")
        expect_words_of_points(disk, {new: "reset"})


def expect_words_of_points(disk, gaps):
    """`points` shows which points have a gap before them."""
    shown = ctl.json("points", disk.node)["points"]
    ktap.equal({one["id"]: one["gap"] for one in shown if one["gap"]},
               {str(point): name for point, name in gaps.items()}, "gaps")


@ktap.case
def several_gaps():
    """The reason is that of the newest gap in the span."""
    with case_of_three() as case:
        qemu_write(case.path, 5 * MIB)
        with attached(case.path) as disk:
            second = disk.handle.seal()
            third = disk.handle.reset()
            fourth = disk.handle.seal()
            old = case.points[2]
            for limit, target, reason in ((old, second, uapi.CHANGED_OFFLINE),
                                          (old, third, uapi.RESET), (old, fourth, uapi.RESET),
                                          (old, uapi.NOW, uapi.RESET),
                                          (second, third, uapi.RESET),
                                          (second, uapi.NOW, uapi.RESET)):
                ktap.equal(refused(disk.handle, limit, target), (errno.ESTALE, reason))
            ktap.equal(disk.handle.changes(third), [], "behind both gaps")
            expect_words_of_points(disk, {second: "changed_offline", third: "reset"})
            # Forgetting the point between them joins them; none gets lost.
            disk.handle.forget(second)
            ktap.equal(refused(disk.handle, old, third), (errno.ESTALE, uapi.RESET))
            disk.handle.forget(third)
            disk.handle.forget(fourth)
            ktap.equal(refused(disk.handle, old), (errno.ESTALE, uapi.RESET))


@ktap.case
def foreign_and_forgotten_ids_behind_a_gap():
    """An id that is not known is not called a gap."""
    with case_of_three() as case, case_of_three() as other:
        qemu_write(case.path, 5 * MIB)
        with attached(case.path) as disk:
            ktap.equal(refused(disk.handle, other.points[0]), (errno.ENODATA, uapi.ID_MISSING))
            changed = case.points[0].copy()
            changed.sequence += 100
            ktap.equal(refused(disk.handle, changed), (errno.ENODATA, uapi.ID_MISSING))


@ktap.case
def sidecar_in_use():
    """Two disks never share a sidecar."""
    with case_of_three() as case, case_of_three() as other, attached(case.path) as disk:
        with opened(other.path) as container, opened(case.lrct) as lrct:
            try:
                with Control() as control:
                    control.attach(container, lrct)
                raise AssertionError("a sidecar serves two disks")
            except Failure as failure:
                ktap.equal((failure.errno, failure.reason), (errno.EBUSY, uapi.IN_USE))
        ktap.equal(disk.handle.changes(case.points[0]), case.between(0, "now"))


with udev.asleep():
    ktap.main()
