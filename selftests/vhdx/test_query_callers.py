#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_query_callers - who may ask: 32-bit programs, unprivileged users, those in a hurry
#
# vm: timeout=300 on=uml,6.1:*_the_same+*_32_bits+modes*+sealer*+stuck* full=6.1:signals*,6.12:*_the_same+*_32_bits+stuck*,newest:answers*+*_32_bits takes=15
import contextlib
import ctypes
import errno
import mmap
import os
import pathlib
import pwd
import signal
import stat
import subprocess
import sys
import time
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, images, ktap, uapi, udev  # noqa: E402
from vhdxtest.device import Control, Handle, ioctl  # noqa: E402
from vhdxtest.disk import attach, attached, detach, detach_index  # noqa: E402
from vhdxtest.disk import tracked_container  # noqa: E402
from vhdxtest.images import KIB, MIB  # noqa: E402
from vhdxtest.late_memory import LateMemory, stuck  # noqa: E402
from vhdxtest.sidecar import LEAF_UNITS, dense  # noqa: E402

PROGRAMS = pathlib.Path("/usr/libexec/vhdx-selftests")


@contextlib.contextmanager
def tracked(size=64 * MIB, deltas=None, unit=4 * KIB):
    """See tracked_container(); any user can read it."""
    with tracked_container(size, deltas, unit) as path:
        path.parent.chmod(0o755)
        yield path


# ---- 32 bits ------------------------------------------------------------------------

def ask(bits, *words):
    """What the C program says, in lines."""
    program = PROGRAMS / f"ask{bits}"
    try:
        return images.command(program, *words).splitlines()
    except OSError as failure:
        if failure.errno == errno.ENOEXEC:
            ktap.skip("this kernel runs no 32-bit programs")
        raise


@ktap.case
def layout_is_the_same():
    both = [ask(bits, "layout") for bits in (32, 64)]
    ktap.equal(both[0], both[1], "layout")
    sizes = dict(line.split() for line in both[0])
    for structure, name in (
            (uapi.PointId, "point_id"), (uapi.Range, "range"), (uapi.Layer, "layer"),
            (uapi.Attach, "attach"), (uapi.Detach, "detach"), (uapi.Seal, "seal"),
            (uapi.Info, "info"), (uapi.TrackingState, "tracking_state"),
            (uapi.TrackingEnable, "tracking_enable"),
            (uapi.TrackingDisable, "tracking_disable"),
            (uapi.TrackingReset, "tracking_reset"), (uapi.Point, "point"),
            (uapi.GetPoints, "get_points"), (uapi.Forget, "forget"),
            (uapi.GetChanges, "get_virtual_disk_changes")):
        ktap.equal(int(sizes[f"vhdx_{name}"]), ctypes.sizeof(structure), f"size of {name}")


@ktap.case
def answers_are_the_same():
    with tracked(deltas=dense(1)) as path, attached(path) as disk:
        disk.write(40 * MIB + 512, b"x" * 512)
        first, second = (bytes(point).hex() for point in disk.handle.ids())
        now = "00" * ctypes.sizeof(uapi.PointId)
        unknown = bytes(uapi.PointId(sequence=9, kind=1)).hex()
        for words in ((first, second, 0, disk.size, 4096), (first, now, 12345, MIB, 7),
                      (second, now, 0, disk.size, 10), (second, first, 0, disk.size, 10),
                      (unknown, now, 0, disk.size, 10), (first, now, disk.size, 1, 10),
                      (first, now, 0, 0, 1), (first, now, 1 << 40, 1 << 63, 1)):
            both = [ask(bits, "questions", disk.char, *words) for bits in (32, 64)]
            ktap.equal(both[0], both[1], f"answers to {words[2:]}")


@ktap.case
def seal_and_forget_with_32_bits():
    with tracked() as path, attached(path) as disk:
        answer = ask(32, "seal", disk.char, "thirty-two")
        ktap.equal(answer[0], "seal errno 0")
        newest = disk.handle.points()[-1]
        ktap.equal(answer[1], f"id {bytes(newest.id).hex()}")
        ktap.equal(newest.text, "thirty-two", "label")
        ktap.equal(ask(32, "forget", disk.char, answer[1][3:]), ["forget errno 0"])
        ktap.equal(len(disk.handle.ids()), 1, "points")


# ---- users --------------------------------------------------------------------------

def as_user(name, function):
    """Runs function() in a child that is this user, with the user's groups; what it returned."""
    user = pwd.getpwnam(name)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.initgroups(name, user.pw_gid)
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
            result = function()
        except BaseException as failure:  # pylint: disable=broad-exception-caught
            result = f"raised {failure!r}"
        os.write(writing, repr(result).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        result = pipe.read().decode()
    os.waitpid(child, 0)
    return result


@ktap.case
def modes_of_the_nodes():
    """The block device's group is udev's own default, as that of any other."""
    with tracked() as path, attached(path) as disk:
        udev.settle()
        for node in (disk.node, disk.char):
            found = os.stat(node)
            ktap.equal(oct(stat.S_IMODE(found.st_mode)), oct(0o660), f"mode of {node}")
            ktap.equal((found.st_uid, found.st_gid), (0, 6), f"owner of {node}")


@ktap.case
def reader_in_the_group():
    """Opens for reading, asks everything, changes nothing."""
    with tracked(deltas=dense(1)) as path, attached(path) as disk:
        first, second = disk.handle.ids()
        wanted = disk.handle.changes(first)

        def read():
            with Handle(disk.char) as handle:
                handle.info()
                handle.state()
                return (len(handle.points()), handle.changes(first) == wanted,
                        handle.changes(first, second) == wanted)
        ktap.equal(as_user("tester", read), repr((2, True, True)))
        shown = ctl.json("changes", disk.node, "--since", first, user="tester")
        ktap.equal(len(shown["ranges"]), len(wanted), "ranges")
        for word in ("list", "points", "info"):
            ctl.run(word, *([] if word == "list" else [disk.node]), user="tester")


@ktap.case
def sealer_in_the_group():
    """No capability is needed to seal and forget; one is to attach, detach."""
    with tracked() as path, attached(path) as disk:
        def seal():
            with Handle(disk.char, write=True) as handle:
                point = handle.seal("by tester")
                handle.forget(handle.ids()[0])
                return point in handle.ids(), len(handle.ids())
        ktap.equal(as_user("tester", seal), repr((True, 1)))
        ctl.run("seal", disk.node, user="tester")

        def detach_it():
            with Control() as control:
                argument = uapi.Detach(index=disk.index)
                return ioctl(control.fd, uapi.DETACH, argument)
        ktap.equal(as_user("tester", detach_it), repr(errno.EPERM))

        def attach_it():
            with Control() as control:
                return ioctl(control.fd, uapi.ATTACH, uapi.Attach(layer_count=1))
        ktap.equal(as_user("tester", attach_it), repr(errno.EPERM))
        done = ctl.run("detach", disk.node, status=ctl.FAILED, user="tester")
        ktap.check(done.stderr, "no message")


@ktap.case
def outsider():
    with tracked(deltas=dense(1)) as path, attached(path) as disk:
        for node in (disk.char, disk.node):
            def opens():
                try:
                    os.close(os.open(node, os.O_RDONLY))
                except PermissionError:
                    return "refused"
                return "opened"
            ktap.equal(as_user("outsider", opens), repr("refused"))
        point = disk.handle.ids()[0]
        done = ctl.run("changes", disk.node, "--since", point, status=ctl.FAILED, user="outsider")
        ktap.check("ermission" in done.stderr, f"message: {done.stderr}")


@ktap.case
def descriptor_for_reading():
    """Whatever writes is EBADF, and does nothing."""
    with tracked() as path, attached(path) as disk, Handle(disk.char) as reading:
        for command, (structure, needs_write) in uapi.OF_DISK.items():
            argument = structure()
            number = ioctl(reading.fd, command, argument)
            ktap.equal(number == errno.EBADF, needs_write, f"{structure.__name__}: EBADF")
        ktap.expect_errno(errno.EBADF, reading.seal)
        ktap.equal(len(disk.handle.ids()), 1, "points")
        ktap.equal(disk.handle.state().state, uapi.TRACKING_ON, "state")


@ktap.case
def file_that_is_not_attached():
    """Reading it is enough; nothing is written."""
    with tracked(deltas=dense(1)) as path:
        lrct = pathlib.Path(f"{path}.lrct")
        before = path.read_bytes(), lrct.read_bytes()
        point = uapi.PointId.parse(ctl.json("points", path)["points"][0]["id"])
        for file in (path, lrct):
            file.chmod(0o444)
        shown = ctl.json("changes", path, "--since", point, user="outsider")
        ktap.equal(len(shown["ranges"]), LEAF_UNITS // 2 // 2, "ranges")
        ktap.check((path.read_bytes(), lrct.read_bytes()) == before, "a question wrote")
        lrct.chmod(0o000)
        done = ctl.run("changes", path, "--since", point, status=None, user="outsider")
        ktap.check(done.returncode in (ctl.FAILED, ctl.FULL_BACKUP) and done.stderr, done)


# ---- in a hurry ------------------------------------------------------------------------

LEAVES = 128
RANGES = LEAVES * LEAF_UNITS // 2


class LongQuery:
    """One call for two million ranges."""

    def __init__(self, handle, ids):
        self.fd = handle.fd
        self.output = mmap.mmap(-1, RANGES * ctypes.sizeof(uapi.Range))
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.output))
        self.argument = uapi.GetChanges(limit_id=ids[0], target_id=ids[1],
                                        byte_length=handle.info().virtual_disk_size,
                                        output=address, output_capacity=RANGES)

    def run(self):
        """0 or errno."""
        return ioctl(self.fd, uapi.GET_CHANGES, self.argument)


@contextlib.contextmanager
def long_query():
    """A disk on which a question takes a while."""
    size = LEAVES * LEAF_UNITS * 4 * KIB
    with tracked(size, dense(LEAVES)) as path, attached(path) as disk:
        yield disk


@ktap.case
def signals_end_a_call_early():
    """What is processed until then counts; the rest follows, and nothing is missing."""
    with long_query() as disk:
        ids = disk.handle.ids()
        query = LongQuery(disk.handle, ids)
        query.run()
        ktap.equal(query.argument.output_count, RANGES, "ranges of an undisturbed call")
        signals = []
        signal.signal(signal.SIGALRM, lambda *_: signals.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
        try:
            offset, size, told, calls = 0, disk.size, 0, 0
            while offset < size:
                query.argument.byte_offset = offset
                query.argument.byte_length = size - offset
                number = query.run()
                ktap.equal(number, 0, "errno of an interrupted query")
                processed = query.argument.processed_byte_length
                ktap.check(processed >= 4 * KIB, f"processed {processed} bytes")
                told += query.argument.output_count
                offset += processed
                calls += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        ktap.diag(f"{calls} calls, {len(signals)} signals")
        ktap.check(calls > 1, "no signal came in time")
        ktap.equal(told, RANGES, "ranges")


@ktap.case
def killed_in_the_middle():
    with long_query() as disk:
        ids = disk.handle.ids()
        for delay in (0.01, 0.05, 0.2):
            child = os.fork()
            if not child:
                query = LongQuery(disk.handle, ids)
                while True:
                    query.run()
            time.sleep(delay)
            begin = time.monotonic()
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            took = time.monotonic() - begin
            ktap.check(os.WIFSIGNALED(status), "it was not killed")
            ktap.check(took < 3, f"it died {took:.1f} s after it was killed")
        ktap.equal(disk.handle.query(ids[0], ids[1], capacity=1)[0].output_count, 1)


@ktap.case
def seals_do_not_wait_for_long_queries():
    with long_query() as disk:
        ids = disk.handle.ids()
        child = os.fork()
        if not child:
            query = LongQuery(disk.handle, ids)
            while True:
                query.run()
        try:
            slowest = 0
            for _ in range(10):
                begin = time.monotonic()
                disk.handle.seal()
                slowest = max(slowest, time.monotonic() - begin)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        ktap.diag(f"the slowest seal took {slowest:.2f} s")
        ktap.check(slowest < 10, f"a seal took {slowest:.1f} s")


# ---- memory that answers late: userfaultfd, rule K4 -------------------------------------

def query_into(fd, point):
    """A query whose ranges go to an address."""
    return lambda address: ioctl(fd, uapi.GET_CHANGES, uapi.GetChanges(
        limit_id=point, byte_length=64 * MIB, output=address, output_capacity=16384))


@ktap.case
def stuck_output_holds_up_nobody():
    """Seal, forget, writes and detach go on while a caller's memory is missing."""
    with tracked(deltas=dense(1)) as path:
        disk = attach(path)
        ids = disk.handle.ids()
        fd = disk.handle.fd
        memories = [LateMemory(), LateMemory()]
        waiting = [stuck(memories[0], query_into(fd, ids[0])),
                   stuck(memories[1], lambda address: ioctl(fd, uapi.GET_POINTS, uapi.GetPoints(
                       output=address, output_capacity=100)))]
        begin = time.monotonic()
        disk.write(0, b"x" * 4096)
        new = disk.handle.seal()
        disk.handle.forget(ids[0])
        ktap.equal(disk.handle.changes(new), [], "changes")
        took = time.monotonic() - begin
        for memory, (thread, _) in zip(memories, waiting):
            ktap.check(thread.is_alive(), "it was not stuck: nothing was tested")
            memory.let_go()
            thread.join()
        ktap.check(took < 10, f"that took {took:.1f} s")
        # The limit was forgotten between two batches: an error, not half an answer.
        ktap.equal(waiting[0][1], [errno.ENODATA], "errno of the query")
        ktap.equal(waiting[1][1], [0], "errno of the points")
        detach(disk)


@ktap.case
def detach_does_not_wait_for_memory():
    with tracked(deltas=dense(1)) as path:
        disk = attach(path)
        with Handle(disk.char) as handle, Control() as control:
            memory = LateMemory()
            thread, results = stuck(memory, query_into(handle.fd, disk.handle.ids()[0]))
            index = disk.index
            disk.close()
            begin = time.monotonic()
            detach_index(control, index)
            took = time.monotonic() - begin
            ktap.check(thread.is_alive(), "it was not stuck: nothing was tested")
            memory.let_go()
            thread.join()
            ktap.equal(results, [errno.ENODEV], "errno of the query")
            ktap.check(took < 10, f"detach took {took:.1f} s")


@ktap.case
def many_at_once():
    """Twenty processes ask the same disk; all get the same."""
    with tracked(deltas=dense(1)) as path, attached(path) as disk:
        point = disk.handle.ids()[0]
        jobs = [subprocess.Popen(["vhdxctl", "changes", "--json", disk.node, "--since",
                                  str(point)], stdout=subprocess.PIPE, text=True)
                for _ in range(20)]
        outputs = {job.communicate()[0] for job in jobs}
        ktap.equal({job.returncode for job in jobs}, {0}, "exit status")
        ktap.equal(len(outputs), 1, "different answers")


ktap.main()
