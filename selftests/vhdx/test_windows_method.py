#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_windows_method - the method of Windows and its jobs, from a real disk
#
# One case for each return value, and one that counts them: "14 of 14".
#
# vm: disk=64M timeout=300 takes=30
import contextlib
import os
import pathlib
import pwd
import sys
import time
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, faulty, images, ktap, mapper, method, sidecar, slow, uapi  # noqa: E402
from vhdxtest.disk import attach, attached, detach, tracked_container  # noqa: E402
from vhdxtest.images import GIB, KIB, MIB  # noqa: E402
from vhdxtest.method import (  # noqa: E402
    ACCESS_DENIED, BAD_TYPE, CODES, FAILED, FILE_NOT_FOUND, IN_USE, INVALID_PARAMETER,
    INVALID_STATE, JOB_STARTED, NOT_AVAILABLE, NOT_SUPPORTED, OK, OUT_OF_MEMORY, TIMEOUT, TO_END,
    UNKNOWN, Job)
import vhdxoracle  # noqa: E402
from vhdxoracle import vhd_set  # noqa: E402

UNIT = 16 * KIB
WRITTEN = [(MIB - UNIT, 2 * UNIT)]
# Reading all of the leaves takes three seconds.
READ_MS = 50
LEAVES = 60


def expect(path, limit, code, reason, *words, **question):
    """A call that fails: its code, its reason, and a line that names the subject."""
    found, processed, ranges = method.call(path, limit, **question)
    said, why = method.message(), method.reason()
    what = f"{path} since {limit}, {question}: {said}"
    ktap.equal(found, code, what)
    ktap.equal((processed, ranges), (0, []), f"answer, {what}")
    ktap.equal(uapi.REASONS[why], uapi.REASONS[reason], f"reason, {what}")
    ktap.check(said and "\n" not in said, f"not one line: {said!r}")
    for word in words:
        ktap.check(str(word) in said, f"'{word}' is not in: {said}")


@contextlib.contextmanager
def tracked(size=16 * MIB):
    """A tracked disk that is not attached, and its two points; 1 MiB was written between."""
    with images.directory() as directory:
        path = images.create(directory / "disk.vhdx", size, block_size=MIB)
        with attached(path, "--track") as disk:
            disk.write(MIB - 512, b"x" * 1024)
            second = disk.handle.seal()
            first = disk.handle.ids()[0]
        yield path, first, second


@contextlib.contextmanager
def slow_disk(attachment=attached):
    """An attached disk with many leaves between its two points, in a sidecar on a device that can
    be slow, or hang: (disk, device, first point)"""
    with images.directory() as directory, slow.device(directory / "backing", 16 * MIB) as below:
        path = images.create(directory / "disk.vhdx", 8 * GIB, block_size=MIB)
        with attached(path, "--track", "--sidecar", below.path, "--unit", 4 * KIB):
            pass
        nothing = sidecar.Delta({}, 0, 0)
        leaves = {number: sidecar.leaf_of([number]) for number in range(LEAVES)}
        # The newest delta is kept in memory: it is not the one that is read.
        sidecar.replace(below.path, [nothing, sidecar.Delta(leaves, 0, 0), nothing], nothing)
        with attachment(path, "--sidecar", below.path) as disk:
            yield disk, below, disk.handle.ids()[0]


def outsider(function):
    """Whether it is true for somebody without any rights."""
    user = pwd.getpwnam("outsider")
    child = os.fork()
    if not child:
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        os._exit(not function())
    _, status = os.waitpid(child, 0)
    return not os.waitstatus_to_exitcode(status)


# ---- every code ---------------------------------------------------------------------------

seen = set()


def provoked(*codes):
    """Registers a case that meets these codes."""
    def register(function):
        def run():
            function()
            seen.update(codes)
        ktap.add(function.__name__, run)
        return function
    return register


@provoked(OK)
def ok():
    """Attached and not, whole and in part; processed is what was asked for."""
    with tracked() as (path, first, second):
        for name in ("attached", "not attached"):
            with attached(path) if name == "attached" else contextlib.nullcontext() as disk:
                for subject in (path, disk.node) if disk else (path,):
                    def ask(limit=first, **question):
                        # pylint: disable-next=cell-var-from-loop
                        return method.call(subject, limit, **question)
                    ktap.equal(ask(length=16 * MIB), (OK, 16 * MIB, WRITTEN))
                    ktap.equal(ask(), (OK, MIB, [(MIB - UNIT, UNIT)]))
                    ktap.equal(ask(target=""), (OK, MIB, [(MIB - UNIT, UNIT)]))
                    ktap.equal(ask(offset=MIB + 1, length=UNIT), (OK, UNIT, [(MIB + 1, UNIT - 1)]))
                    ktap.equal(ask(str(first).upper()), (OK, MIB, [(MIB - UNIT, UNIT)]))
                    ktap.equal(ask(second, length=16 * MIB), (OK, 16 * MIB, []))
                    for offset in (0, MIB - 1, 16 * MIB):
                        ktap.equal(ask(offset=offset, length=0), (OK, 0, []))


@provoked(JOB_STARTED)
def job():
    """Between any two points, attached and not; what it tells can be had again."""
    with tracked() as (path, first, second):
        for place in ("attached", "not attached"):
            with attached(path) if place == "attached" else contextlib.nullcontext():
                for target, want in ((None, WRITTEN), (second, WRITTEN), (first, [])):
                    with Job(path, first, target) as it:
                        ktap.check(it.wait(), "it does not end")
                        info = it.info()
                        ktap.equal((info.state, info.percent, info.code, info.completion_status),
                                   (method.COMPLETED, 100, OK, 0))
                        for _ in range(2):
                            ktap.equal(it.result(), (OK, want))


@provoked(FAILED)
def failed():
    """Anything else: the device with the sidecar does not read. The command says so too."""
    device = os.environ["VHDX_DISK0"]
    images.command("blkdiscard", "--zeroout", device)
    with images.directory() as directory:
        path = images.create(directory / "disk.vhdx", 16 * MIB, block_size=MIB)
        with faulty.over(device) as below:
            with attached(path, "--track", "--sidecar", below.path) as disk:
                disk.write(0, b"x" * 512)
                first = disk.handle.ids()[0]
                disk.handle.seal()
                below.fail_all()
                # What was sealed just now is in memory: nobody would read it.
                images.forget_pages()
                expect(path, first, FAILED, uapi.IO, "read")
                said = method.message()
                done = ctl.run("changes", path, "--since", first, status=ctl.FAILED)
                ktap.check(said in done.stderr, done.stderr)
                with Job(path, first) as it:
                    it.wait()
                    ktap.equal(it.info().completion_status, 0x8007045d, "ERROR_IO_DEVICE")
                below.heal()
                ktap.equal(method.call(path, first), (OK, MIB, [(0, UNIT)]))


@provoked(ACCESS_DENIED)
def access_denied():
    """Permission to read is enough, and it takes that."""
    with tracked() as (path, first, _):
        path.parent.chmod(0o755)
        path.chmod(0o600)

        def denied(subject):
            return (method.call(subject, first)[0] == ACCESS_DENIED and
                    "denied" in method.message())
        with attached(path) as disk:
            for subject in (path, disk.node):
                ktap.check(outsider(lambda s=subject: denied(s)), f"not denied: {subject}")
        ktap.check(outsider(lambda: denied(path)), "not denied: a file")
        for name in (path, f"{path}.lrct"):
            os.chmod(name, 0o644)
        ktap.check(outsider(lambda: method.call(path, first)[0] == OK), "it may read both files")


@provoked(NOT_SUPPORTED)
def not_supported():
    with tracked() as (path, first, _):
        sidecar.edit(f"{path}.lrct", incompat_features=sidecar.COARSE | 2)
        expect(path, first, NOT_SUPPORTED, uapi.UNSUPPORTED)
        with attached(path):
            expect(path, first, NOT_SUPPORTED, uapi.UNSUPPORTED)


@provoked(UNKNOWN)
def unknown():
    """Detached under a job."""
    @contextlib.contextmanager
    def detached_by_hand(*arguments):
        yield attach(*arguments)
    with slow_disk(detached_by_hand) as (disk, below, first):
        below.delay(read=READ_MS)
        with Job(disk.node, first) as it:
            ktap.eventually(lambda: it.info().percent > 0, "progress")
            detach(disk)
            ktap.check(it.wait(), "it does not end")
            below.delay()
            info = it.info()
            ktap.check(info.percent < 100, "it was through: nothing was tested")
            ktap.equal((info.state, info.code), (method.EXCEPTION, UNKNOWN), "its end")
            ktap.check(b"detached" in info.description, info.description)
            ktap.equal(it.result(), (UNKNOWN, []))


@provoked(TIMEOUT)
def timeout():
    with slow_disk() as (disk, below, first):
        with mapper.hanging(below.name):
            begin = time.monotonic()
            with Job(disk.node, first, timeout_ms=100) as it:
                ktap.check(it.wait(5), "it does not end")
                ktap.equal(it.result(), (TIMEOUT, []))
                ktap.equal(it.info().completion_status, 0x800705b4, "ERROR_TIMEOUT")
            ktap.check(time.monotonic() - begin < 1, "it took a second")
        # The thread comes back, and lets go of the disk.
        ktap.equal(method.call(disk.node, first, length=8 * GIB)[0], OK)


@provoked(INVALID_PARAMETER)
def invalid_parameter():
    with tracked() as (path, first, second):
        for place in ("attached", "not attached"):
            with attached(path) if place == "attached" else contextlib.nullcontext() as disk:
                bad = (INVALID_PARAMETER, uapi.ARGUMENT)
                for limit in ("", "x", "rct:", str(first)[:-1], str(first) + "0",
                              str(first).replace("rct:", "rct;"), "{1234}"):
                    expect(path, limit, INVALID_PARAMETER, uapi.ID_MALFORMED)
                expect(path, None, *bad)
                subject = disk.node if disk else path
                for offset, length in ((16 * MIB, 1), (0, 16 * MIB + 1), (17 * MIB, 0),
                                       (2, TO_END - 1)):
                    expect(subject, first, *bad, subject, 16 * MIB, offset=offset, length=length)
                expect(path, first, *bad, path, length=TO_END)
                # A target is for VHD Sets only.
                for target in (second, "{12345678-1234-1234-1234-123456789abc}"):
                    expect(path, first, *bad, "VHD Set", target=target)
                # Names of disks are those of the command.
                for name in (disk.index, f"vhdx{disk.index}") if disk else (path.name, ""):
                    expect(name, first, *bad, "an absolute path")
        expect(None, first, *bad)


@provoked(IN_USE)
def in_use():
    """QEMU has it open for writing, and nobody else knows what is in it."""
    with tracked() as (path, first, _):
        qemu = images.process("qemu-io", "-f", "vhdx", "-c", "sleep 60000", path)
        with qemu:
            images.wait_until_locked(path)
            expect(path, first, IN_USE, uapi.IN_USE, path)
        ktap.equal(method.call(path, first)[0], OK)


@provoked(INVALID_STATE)
def invalid_state():
    with tracked() as (path, first, second), tracked() as (_, other, _):
        ids = (other, "{12345678-1234-1234-1234-123456789abc}",
               "12345678-1234-1234-1234-123456789abc",
               "rctX:12345678:1234:1234:1234:123456789abc:00000000", str(first)[:-1] + "9")
        for subject in ("attached", "not attached"):
            with attached(path) if subject == "attached" else contextlib.nullcontext() as disk:
                if disk:
                    disk.handle.forget(second)
                for limit in (*ids, second):
                    expect(path, limit, INVALID_STATE, uapi.ID_MISSING, "full backup")
                with Job(path, other) as it:
                    it.wait()
                    ktap.equal(it.info().completion_status, 0xc03a0030, "HRESULT")
                    ktap.equal(it.info().reason, uapi.ID_MISSING, "reason")
                    ktap.equal(it.result(), (INVALID_STATE, []))


@provoked(BAD_TYPE)
def bad_type():
    with tracked() as (path, first, _):
        other = path.with_suffix(".raw")
        other.write_bytes(b"z" * 100000)
        expect(other, first, BAD_TYPE, uapi.BAD_TYPE, other)
        vhdxoracle.mutate("headers-checksum", other)
        expect(other, first, BAD_TYPE, uapi.CORRUPT, other)
        expect("/dev/null", first, BAD_TYPE, uapi.BAD_TYPE, "/dev/null")


@provoked(NOT_AVAILABLE)
def not_available():
    """No such disk; no module."""
    with tracked() as (_, first, _):
        expect("/dev/vhdx77", first, NOT_AVAILABLE, uapi.NONE, "/dev/vhdx77")
        images.command("rmmod", "vhdx")
        try:
            expect("/dev/vhdx0", first, NOT_AVAILABLE, uapi.NONE, "modprobe")
        finally:
            images.command("modprobe", "vhdx")


@provoked(OUT_OF_MEMORY)
def out_of_memory():
    """More ranges than somebody has room for: none of them are told."""
    with slow_disk() as (disk, _, first):
        with Job(disk.node, first, max_ranges=1) as it:
            it.wait()
            ktap.equal(it.result(), (OUT_OF_MEMORY, []))
            ktap.check("vhdx_changes_begin" in method.message(), method.message())
        with Job(disk.node, first, max_ranges=LEAVES) as it:
            it.wait()
            code, ranges = it.result()
            ktap.equal((code, len(ranges)), (OK, LEAVES), "ranges")


@provoked(FILE_NOT_FOUND)
def file_not_found():
    with tracked() as (path, first, _):
        gone, loop = path.with_name("gone.vhdx"), path.with_name("loop")
        loop.symlink_to(loop)
        for name in (gone, path / "below", loop, path.with_name("n" * 300)):
            expect(name, first, FILE_NOT_FOUND, uapi.NONE, name)
        expect(r"C:\disks\a.vhdx", first, FILE_NOT_FOUND, uapi.NONE, "a path of Windows")


@ktap.case
def fourteen_codes():
    """After all of the above."""
    ktap.diag(f"{len(seen)} of {len(CODES)}")
    if not seen:
        ktap.skip("none of the others was run")
    ktap.equal(sorted(seen), sorted(CODES), "codes that were met")


# ---- states of tracking -------------------------------------------------------------------

@ktap.case
def gap():
    with tracked() as (path, first, _):
        images.command("qemu-io", "-f", "vhdx", "-c", "write 5M 4k", path)
        expect(path, first, INVALID_STATE, uapi.CHANGED_OFFLINE, path)
        with attached(path) as disk:
            expect(path, first, INVALID_STATE, uapi.CHANGED_OFFLINE, "full backup")
            new = disk.handle.reset()
            expect(disk.node, first, INVALID_STATE, uapi.RESET, "reset")
            ktap.equal(method.call(path, new)[0], OK)
            disk.handle.disable()
            disk.handle.enable()
            expect(path, new, INVALID_STATE, uapi.DISABLED)
    with tracked() as (path, first, _):
        copies = pathlib.Path(f"{path}.copy"), pathlib.Path(f"{path}.lrct.copy")
        with attached(path) as disk:
            disk.write(0, b"x" * 512)
            disk.data.flush()
            copies[0].write_bytes(path.read_bytes())
            copies[1].write_bytes(pathlib.Path(f"{path}.lrct").read_bytes())
        copies[0].rename(path)
        copies[1].rename(f"{path}.lrct")
        # As after power loss: more is told than was written, and not less.
        ktap.equal(method.call(path, first)[0], OK)
        with attached(path):
            ktap.equal(method.call(path, first)[0], OK)


@ktap.case
def damaged_sidecar():
    with tracked() as (path, first, _):
        pathlib.Path(f"{path}.lrct").write_bytes(b"y" * 100000)
        expect(path, first, INVALID_STATE, uapi.INCONSISTENT)
        with attached(path):
            expect(path, first, INVALID_STATE, uapi.INCONSISTENT, "reset")


@ktap.case
def not_tracked():
    with tracked() as (path, first, _):
        pathlib.Path(f"{path}.lrct").unlink()
        expect(path, first, INVALID_STATE, uapi.DISABLED)
        with attached(path):
            expect(path, first, INVALID_STATE, uapi.DISABLED, "track")
            with Job(path, first) as it:
                it.wait()
                ktap.equal(it.info().completion_status, 0xc03a002a, "HRESULT")


# ---- paths --------------------------------------------------------------------------------

@ktap.case
def parent_of_an_attached_chain():
    """It is not the disk: what it has is answered from the file, up to what froze it."""
    with tracked() as (parent, first, second):
        leaf = parent.with_name("leaf.avhdx")
        ctl.run("create", "--parent", parent, leaf)
        with attached(leaf, "--track") as disk:
            disk.write(4 * MIB, b"y" * 512)
            own = disk.handle.ids()[-1]
            ktap.equal(method.call(parent, first, length=16 * MIB), (OK, 16 * MIB, WRITTEN))
            ktap.equal(method.call(parent, second, length=16 * MIB), (OK, 16 * MIB, []))
            expect(parent, own, INVALID_STATE, uapi.ID_MISSING)
            ktap.equal(method.call(leaf, own, length=16 * MIB)[2], [(4 * MIB, UNIT)], "the leaf")


# ---- VHD Sets -----------------------------------------------------------------------------

@contextlib.contextmanager
def a_set():
    """(set, the paths of its chain, leaf first); the leaf is tracked, and was written twice."""
    with tracked() as (base, _, _):
        middle, leaf = base.with_name("middle.avhdx"), base.with_name("leaf.avhdx")
        for child, parent in ((middle, base), (leaf, middle)):
            ctl.run("create", "--parent", parent, child)
            with attached(child, "--track") as disk:
                disk.write(4 * MIB, b"y" * 512)
        vhds = base.with_name("disk.vhds")
        vhd_set.write(vhds, leaf.name)
        yield vhds, (leaf, middle, base)


def snapshot_of(path):
    """The id of a frozen file."""
    return "{" + ctl.json("info", path)["data_write_guid"] + "}"


@ktap.case
def set_is_its_file():
    """Attached by its name, asked about by it, attached and not; the parents stay closed to it."""
    with a_set() as (vhds, (leaf, middle, base)):
        snapshots = [snapshot_of(path) for path in (middle, base)]
        with attached(vhds) as disk:
            ktap.equal(disk.sysfs("container"), str(leaf), "container")
            first = disk.handle.seal()
            disk.write(8 * MIB, b"z" * 512)
            want = (OK, 16 * MIB, [(8 * MIB, UNIT)])
            for subject in (vhds, leaf, disk.node):
                ktap.equal(method.call(subject, first, length=16 * MIB), want, str(subject))
            found = ctl.json("info", vhds)
            ktap.equal((found["device"], found["vhd_set"]), (disk.node, str(vhds)), "info")
        ktap.equal(method.call(vhds, first, length=16 * MIB), want, "not attached")
        for place in ("attached", "not attached"):
            with attached(vhds) if place == "attached" else contextlib.nullcontext():
                expect(vhds, first, INVALID_PARAMETER, uapi.ARGUMENT, "{GUID}", target=first)
                foreign = "{12345678-1234-1234-1234-123456789abc}"
                for question in ({"target": foreign}, {"limit": foreign}):
                    expect(vhds, question.pop("limit", first), INVALID_STATE, uapi.ID_MISSING,
                           ", ".join(snapshots), **question)
                # Nobody makes it a point of another file.
                expect(leaf, first, INVALID_PARAMETER, uapi.ARGUMENT, target=snapshots[0])


# ---- jobs ---------------------------------------------------------------------------------

@ktap.case
def job_refused():
    """What is wrong with the question, or with the file, is said at once."""
    with tracked() as (path, first, _):
        other = path.with_suffix(".raw")
        other.write_bytes(b"z" * 100000)
        for subject, code, question in (
                (path, INVALID_PARAMETER, {"length": 17 * MIB}),
                (path, INVALID_PARAMETER, {"offset": 16 * MIB + 1}),
                (path.name, INVALID_PARAMETER, {}), (other, BAD_TYPE, {}),
                (path.with_name("gone"), FILE_NOT_FOUND, {})):
            try:
                Job(subject, first, **question).free()
            except method.Refused as refused:
                ktap.equal(refused.code, code, f"{subject}, {question}: {refused}")
            else:
                raise AssertionError(f"a job was started: {subject}, {question}")


@ktap.case
def job_terminated():
    """Between two calls of the driver, none of which takes long."""
    with slow_disk() as (disk, below, first):
        below.delay(read=READ_MS)
        with Job(disk.node, first) as it:
            ktap.eventually(lambda: it.info().percent > 0, "progress")
            begin = time.monotonic()
            ktap.equal(it.request(method.TERMINATE), OK)
            ktap.check(it.wait(), "it does not end")
            took = time.monotonic() - begin
            info = it.info()
            ktap.equal((info.state, info.code), (method.TERMINATED, UNKNOWN), "its end")
            ktap.check(0 < info.percent < 100, f"{info.percent} %: nothing was tested")
            ktap.check(took < LEAVES * READ_MS / 2000, f"it took {took:.2f} s")
            ktap.equal(it.request(method.TERMINATE), INVALID_STATE)
        below.delay()


@ktap.case
def job_killed_while_a_device_hangs():
    """Kill and free wait for nobody; the thread is gone when the device answers."""
    def threads():
        return len(os.listdir("/proc/self/task"))
    with slow_disk() as (disk, below, first):
        before = threads()
        with mapper.hanging(below.name):
            its = [Job(disk.node, first) for _ in range(3)]
            ktap.check(not its[0].wait(0.3), "it does not hang: nothing was tested")
            begin = time.monotonic()
            ktap.equal(its[0].request(method.TERMINATE), OK)
            ktap.check(not its[0].wait(0.2), "it does not hang: nothing was tested")
            ktap.equal(its[0].info().state, method.SHUTTING_DOWN, "its state")
            for it in its[:2]:
                ktap.equal(it.request(method.KILL), OK)
                ktap.equal(it.info().state, method.KILLED, "its state")
                ktap.check(it.wait(0), "it has not ended")
            for it in its:
                it.free()
            took = time.monotonic() - begin
            ktap.check(took < 1, f"it took {took:.2f} s")
            ktap.check(threads() > before, "no thread waits: nothing was tested")
        ktap.eventually(lambda: threads() == before, "the threads are gone")


@ktap.case
def process_ends_while_a_device_hangs():
    """With a job whose thread is in the driver: it is killed there (invariant 9)."""
    with slow_disk() as (disk, below, first):
        with mapper.hanging(below.name):
            child = os.fork()
            if not child:
                it = Job(disk.node, first)
                it.wait(0.3)
                it.free()
                # As a program ends; not by way of what the parent has to clean up.
                os._exit(0)  # pylint: disable=protected-access
            ktap.eventually(lambda: os.waitpid(child, os.WNOHANG)[0] == child, "its end",
                            patience=5)


@ktap.case
def jobs_at_the_same_time():
    """Sixty-four, of eight disks."""
    with contextlib.ExitStack() as stack:
        asked = []
        for number in range(8):
            path = stack.enter_context(tracked_container(
                GIB, sidecar.dense(number + 1), 4 * KIB, 32 * MIB))
            disk = stack.enter_context(attached(path))
            asked.append((disk.node, disk.handle.ids()[0], (number + 1) * 16384))
        jobs = [(stack.enter_context(Job(*asked[number % 8][:2])), asked[number % 8][2])
                for number in range(64)]
        for it, count in jobs:
            ktap.check(it.wait(), "it does not end")
            # Those of all jobs are millions.
            ktap.equal(it.count(), (OK, count), "ranges")


ktap.main()
