#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_errors_library - every return value of the Windows method, from a real disk
#
# One case for each row of the table of errors; libvhdx.so.0 through ctypes.
#
# vm: disk=64M timeout=300 takes=20
import contextlib
import ctypes
import errno
import os
import pathlib
import pwd
import sys
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, faulty, images, ktap, sidecar, uapi  # noqa: E402
from vhdxtest.disk import attach, attached, detach, tracked_container  # noqa: E402
from vhdxtest.images import KIB, MIB  # noqa: E402
import vhdxoracle  # noqa: E402

(OK, JOB_STARTED, FAILED, ACCESS_DENIED, NOT_SUPPORTED, UNKNOWN, TIMEOUT, INVALID_PARAMETER,
 IN_USE, INVALID_STATE, BAD_TYPE, NOT_AVAILABLE, OUT_OF_MEMORY, FILE_NOT_FOUND) = (
     0, 4096, *range(32768, 32780))

UNIT = 16 * KIB
TO_END = (1 << 64) - 1

lib = ctypes.CDLL("libvhdx.so.0", use_errno=True)
libc = ctypes.CDLL(None)
lib.vhdx_error_message.restype = ctypes.c_char_p
lib.vhdx_get_virtual_disk_changes.argtypes = [
    ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint64, ctypes.c_uint64,
    ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
for function in (lib.vhdx_job_wait, lib.vhdx_job_cancel, lib.vhdx_job_free,
                 lib.vhdx_job_progress):
    function.argtypes = [ctypes.c_void_p]
lib.vhdx_job_wait.argtypes = [ctypes.c_void_p, ctypes.c_int]
lib.vhdx_job_result.argtypes = [ctypes.c_void_p] * 4
libc.free.argtypes = [ctypes.c_void_p]


class Result:
    """Where the method puts what it found."""

    def __init__(self):
        self.processed = ctypes.c_uint64(77)
        self.ranges = ctypes.POINTER(uapi.Range)()
        self.count = ctypes.c_size_t(77)

    def references(self):
        """The three output arguments."""
        return ctypes.byref(self.processed), ctypes.byref(self.ranges), ctypes.byref(self.count)

    def take(self):
        """(processed, [(offset, length)]); the memory is given back."""
        found = [(one.byte_offset, one.byte_length) for one in self.ranges[:self.count.value]]
        libc.free(self.ranges)
        return self.processed.value, found


def text(value):
    """As a C string, or NULL."""
    return None if value is None else str(value).encode()


def method(path, limit, target=None, offset=0, length=MIB):
    """(code, processed, ranges) of a synchronous call."""
    result = Result()
    code = lib.vhdx_get_virtual_disk_changes(text(path), text(limit), text(target), offset,
                                             length, *result.references(), None)
    if code:
        return code, None, None
    return code, *result.take()


def message():
    """What the library says about its last failure."""
    return lib.vhdx_error_message().decode()


def expect(path, limit, code, reason, *words, **question):
    """A call that fails: its code, its reason, and a line that names the subject."""
    found, _, _ = method(path, limit, **question)
    what = f"{path} since {limit}, {question}: {message()}"
    ktap.equal(found, code, what)
    ktap.equal(uapi.REASONS[lib.vhdx_error_reason()], uapi.REASONS[reason], f"reason, {what}")
    ktap.check(message() and "\n" not in message(), f"not one line: {message()!r}")
    for word in words:
        ktap.check(str(word) in message(), f"'{word}' is not in: {message()}")


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


WRITTEN = [(MIB - UNIT, 2 * UNIT)]


@ktap.case
def ok():
    """Attached and not, whole and in part; processed is what was asked for."""
    with tracked() as (path, first, second):
        for name in ("attached", "not attached"):
            with attached(path) if name == "attached" else contextlib.nullcontext() as disk:
                for subject in (path, disk.node, disk.index) if disk else (path,):
                    ktap.equal(method(subject, first, length=16 * MIB), (OK, 16 * MIB, WRITTEN))
                    ktap.equal(method(subject, first), (OK, MIB, [(MIB - UNIT, UNIT)]))
                    ktap.equal(method(subject, first, offset=MIB + 1, length=UNIT),
                               (OK, UNIT, [(MIB + 1, UNIT - 1)]))
                    ktap.equal(method(subject, second, length=16 * MIB), (OK, 16 * MIB, []))
                    ktap.equal(method(subject, first, offset=16 * MIB, length=0), (OK, 0, []))


@ktap.case
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
                    expect(path, first, *bad, subject, str(16 * MIB), offset=offset,
                           length=length)
                expect(path, first, *bad, path, length=TO_END)
                # A target is for VHD Sets only.
                expect(path, first, *bad, "VHD Set", target=str(second))
        expect(None, first, *bad)


@ktap.case
def invalid_state_unknown_id():
    with tracked() as (path, first, second), tracked() as (_, other, _):
        ids = (other, "{12345678-1234-1234-1234-123456789abc}",
               "rctX:12345678:1234:1234:1234:123456789abc:00000000", str(first)[:-1] + "9")
        for subject in ("attached", "not attached"):
            with attached(path) if subject == "attached" else contextlib.nullcontext() as disk:
                if disk:
                    disk.handle.forget(second)
                for limit in (*ids, second):
                    expect(path, limit, INVALID_STATE, uapi.ID_MISSING, "full backup")


@ktap.case
def invalid_state_gap():
    with tracked() as (path, first, _):
        images.command("qemu-io", "-f", "vhdx", "-c", "write 5M 4k", path)
        expect(path, first, INVALID_STATE, uapi.CHANGED_OFFLINE, path)
        with attached(path) as disk:
            expect(path, first, INVALID_STATE, uapi.CHANGED_OFFLINE, "full backup")
            new = disk.handle.reset()
            expect(disk.node, first, INVALID_STATE, uapi.RESET, "reset")
            ktap.equal(method(path, new)[0], OK)
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
        ktap.equal(method(path, first)[0], OK)
        with attached(path):
            ktap.equal(method(path, first)[0], OK)


@ktap.case
def invalid_state_damaged_sidecar():
    with tracked() as (path, first, _):
        pathlib.Path(f"{path}.lrct").write_bytes(b"y" * 100000)
        expect(path, first, INVALID_STATE, uapi.INCONSISTENT)
        with attached(path):
            expect(path, first, INVALID_STATE, uapi.INCONSISTENT, "reset")


@ktap.case
def invalid_state_not_tracked():
    with tracked() as (path, first, _):
        pathlib.Path(f"{path}.lrct").unlink()
        expect(path, first, INVALID_STATE, uapi.DISABLED)
        with attached(path):
            expect(path, first, INVALID_STATE, uapi.DISABLED, "track")


@ktap.case
def not_supported():
    with tracked() as (path, first, _):
        sidecar.edit(f"{path}.lrct", incompat_features=sidecar.COARSE | 2)
        expect(path, first, NOT_SUPPORTED, uapi.UNSUPPORTED)
        with attached(path):
            expect(path, first, NOT_SUPPORTED, uapi.UNSUPPORTED)


@ktap.case
def bad_type():
    with tracked() as (path, first, _):
        other = path.with_suffix(".raw")
        other.write_bytes(b"z" * 100000)
        expect(other, first, BAD_TYPE, uapi.BAD_TYPE, other)
        vhdxoracle.mutate("headers-checksum", other)
        expect(other, first, BAD_TYPE, uapi.CORRUPT, other)
        expect("/dev/null", first, BAD_TYPE, uapi.BAD_TYPE, "/dev/null")


@ktap.case
def in_use():
    """QEMU has it open for writing, and nobody else knows what is in it."""
    with tracked() as (path, first, _):
        qemu = images.process("qemu-io", "-f", "vhdx", "-c", "sleep 60000", path)
        with qemu:
            images.wait_until_locked(path)
            expect(path, first, IN_USE, uapi.IN_USE, path)
        ktap.equal(method(path, first)[0], OK)


@ktap.case
def access_denied():
    with tracked() as (path, first, _):
        path.parent.chmod(0o755)
        path.chmod(0o600)
        user = pwd.getpwnam("outsider")
        with attached(path) as disk:
            for subject in (path, disk.node):
                child = os.fork()
                if not child:
                    os.setgroups([])
                    os.setgid(user.pw_gid)
                    os.setuid(user.pw_uid)
                    code, _, _ = method(subject, first)
                    os._exit(code == ACCESS_DENIED and "denied" in message())
                _, status = os.waitpid(child, 0)
                ktap.equal(os.waitstatus_to_exitcode(status), 1, f"ACCESS_DENIED for {subject}")


@ktap.case
def file_not_found():
    with tracked() as (path, first, _):
        gone = path.with_name("gone.vhdx")
        expect(gone, first, FILE_NOT_FOUND, uapi.NONE, gone)


@ktap.case
def not_available():
    """No such disk; no module."""
    with tracked() as (_, first, _):
        for name in ("/dev/vhdx77", "vhdx77", "77"):
            expect(name, first, NOT_AVAILABLE, uapi.NONE, name)
        images.command("rmmod", "vhdx")
        try:
            expect("vhdx0", first, NOT_AVAILABLE, uapi.NONE, "modprobe")
        finally:
            images.command("modprobe", "vhdx")


@ktap.case
def out_of_memory():
    """A million ranges, and an address space that has no room for them."""
    with tracked_container(16 << 30, sidecar.dense(64), 4 * KIB, 256 * MIB) as path:
        with attached(path) as disk:
            first = disk.handle.ids()[0]
            ktap.equal(len(method(path, first, length=16 << 30)[2]), 1 << 20, "ranges")
            child = os.fork()
            if not child:
                import resource  # pylint: disable=import-outside-toplevel
                with open("/proc/self/statm", encoding="ascii") as statm:
                    used = int(statm.read().split()[0]) * 4096
                resource.setrlimit(resource.RLIMIT_AS, (used + 6 * MIB, used + 6 * MIB))
                code, _, _ = method(path, first, length=16 << 30)
                os._exit(code == OUT_OF_MEMORY and bool(message()))
            _, status = os.waitpid(child, 0)
            ktap.equal(os.waitstatus_to_exitcode(status), 1, "OUT_OF_MEMORY")


@ktap.case
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
                expect(path, first, FAILED, uapi.IO, "read")
                done = ctl.run("changes", path, "--since", first, status=ctl.FAILED)
                ktap.check(message() in done.stderr, done.stderr)
                below.heal()
                ktap.equal(method(path, first), (OK, MIB, [(0, UNIT)]))


# ---- jobs ---------------------------------------------------------------------------------

def start(path, limit, length=16 * MIB):
    """A job."""
    job = ctypes.c_void_p()
    code = lib.vhdx_get_virtual_disk_changes(text(path), text(limit), None, 0, length, None,
                                             None, None, ctypes.byref(job))
    ktap.equal(code, JOB_STARTED, f"code of an asynchronous call ({message()})")
    return job


@ktap.case
def job():
    with tracked() as (path, first, _):
        for subject in ("attached", "not attached"):
            with attached(path) if subject == "attached" else contextlib.nullcontext():
                it = start(path, first)
                ktap.equal(lib.vhdx_job_wait(it, -1), 0, "wait")
                ktap.equal(lib.vhdx_job_progress(it), 100, "progress")
                result = Result()
                ktap.equal(lib.vhdx_job_result(it, *result.references()), OK)
                ktap.equal(result.take(), (16 * MIB, WRITTEN))
                # The result is handed out once.
                ktap.equal(lib.vhdx_job_result(it, *Result().references()), UNKNOWN)
                lib.vhdx_job_free(it)


@ktap.case
def job_that_fails():
    """The call starts it, or says at once what is wrong; the result has the code."""
    with tracked() as (path, first, _), tracked() as (_, other, _):
        with attached(path):
            it = start(path, other)
            ktap.equal(lib.vhdx_job_result(it, *Result().references()), INVALID_STATE)
            ktap.equal(lib.vhdx_error_reason(), uapi.ID_MISSING)
            lib.vhdx_job_free(it)
            it = start(path, first, 17 * MIB)
            ktap.equal(lib.vhdx_job_result(it, *Result().references()), INVALID_PARAMETER)
            lib.vhdx_job_free(it)


@ktap.case
def job_whose_disk_goes():
    """Detached under way: UNKNOWN, or it was through already."""
    size = 16 << 30
    with tracked_container(size, sidecar.dense(128), 4 * KIB, 256 * MIB) as path:
        lost = 0
        for _ in range(3):
            disk = attach(path)
            it = start(disk.node, disk.handle.ids()[0], size)
            detach(disk)
            code = lib.vhdx_job_result(it, *(result := Result()).references())
            ktap.check(code in (OK, UNKNOWN), f"code {code}: {message()}")
            if code == OK:
                result.take()
            lost += code == UNKNOWN
            lib.vhdx_job_free(it)
        ktap.check(lost, "no job was interrupted: nothing was tested")


@ktap.case
def job_cancelled():
    size = 16 << 30
    with tracked_container(size, sidecar.dense(128), 4 * KIB, 256 * MIB) as path:
        with attached(path) as disk:
            it = start(disk.node, disk.handle.ids()[0], size)
            ktap.equal(lib.vhdx_job_wait(it, 0), -errno.ETIMEDOUT, "waiting for no time")
            lib.vhdx_job_cancel(it)
            ktap.equal(lib.vhdx_job_result(it, *Result().references()), UNKNOWN)
            lib.vhdx_job_free(it)
            # Freeing one that runs cancels it.
            lib.vhdx_job_free(start(disk.node, disk.handle.ids()[0], size))


ktap.main()
