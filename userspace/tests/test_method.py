# SPDX-License-Identifier: GPL-2.0-only
"""vhdx_get_virtual_disk_changes(), parameter by parameter."""
import contextlib
import ctypes
import errno
import os
import subprocess
import sys

from common import (HERE, REASONS, Range, attached, directory, load_library, make_image,
                    make_sidecar)

library = load_library()

GIB = 1 << 30
FOREIGN = b"rct:01010101-0101-0101-0101-010101010101:0000000000000001"
WANT = [(0, 16384), (999997440, 16384)]


class Call:
    """One call of the method and what it gave."""

    def __init__(self, path, limit, offset=0, length=GIB, target=None, job=False):
        self.processed = ctypes.c_uint64(99)
        self.ranges = ctypes.POINTER(Range)()
        self.count = ctypes.c_size_t(99)
        self.job = ctypes.c_void_p()
        path = None if path is None else str(path).encode()
        self.code = library.vhdx_get_virtual_disk_changes(
            path, limit, target, offset, length, ctypes.byref(self.processed),
            ctypes.byref(self.ranges), ctypes.byref(self.count),
            ctypes.byref(self.job) if job else None)
        self.reason = library.vhdx_error_reason()
        self.message = library.vhdx_error_message().decode()

    def result(self):
        """Of a job: waits for it, keeps what it has, and frees it."""
        library.vhdx_job_wait(self.job, -1)
        code = library.vhdx_job_get_result(self.job, None, ctypes.byref(self.ranges),
                                           ctypes.byref(self.count))
        self.message = library.vhdx_error_message().decode()
        self.ranges = self.ranges[:self.count.value]
        library.vhdx_job_free(self.job)
        return code

    @property
    def pairs(self):
        return [(r.offset, r.length) for r in self.ranges[:self.count.value]]


@contextlib.contextmanager
def disk():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        first, = make_sidecar(image, "seal a\nmark 0 1\nmark 1000000000 1\n")
        yield image, first.encode()


def refused(code, *words, reason=None, **question):
    """A call that fails, in both forms: nothing is answered, and no job begins."""
    for job in (False, True):
        call = Call(job=job, **question)
        assert call.code == code and not call.job, (call.code, question, call.message)
        assert job or (call.processed.value, call.count.value) == (0, 0), question
        assert reason is None or call.reason == REASONS[reason], (call.reason, question)
        for word in words:
            assert str(word) in call.message, (word, call.message)


def test_done():
    with disk() as (image, first):
        call = Call(image, first)
        assert call.code == 0, call.message
        assert call.processed.value == GIB and call.pairs == WANT


def test_clipped():
    with disk() as (image, first):
        call = Call(image, first, 100, 1000)
        assert call.code == 0 and call.processed.value == 1000 and call.pairs == [(100, 1000)]
        for offset in (0, 5, GIB):
            call = Call(image, first, offset, 0)
            assert call.code == 0 and call.processed.value == 0 and call.pairs == []


def test_path():
    """Absolute, and of a file or a device: what the command takes besides is not for programs."""
    with disk() as (image, first):
        def bad(path, code, *words):
            refused(code, *words, path=path, limit=first)
        for name in ("0", "vhdx0", "disk.vhdx", "./disk.vhdx", ""):
            bad(name, 32773, "an absolute path")
        bad(None, 32773)
        for name in (r"C:\disks\a.vhdx", "d:/disks/a.vhdx", r"\\server\share\a.vhdx",
                     r"\\?\Volume{1}\a.vhdx"):
            bad(name, 32779, "a path of Windows", name)
        bad(f"{image}.gone", 32779, image)
        bad(f"{image}/disk.vhdx", 32779)
        loop = image.with_name("loop")
        loop.symlink_to(loop)
        bad(loop, 32779)
        bad(image.with_name("n" * 300), 32779)
        bad("/dev/vhdx99", 32777)
        bad(f"{image}.lrct", 32776)
        bad("/dev/null", 32776)
        link = image.with_name("link")
        link.symlink_to(image)
        # Its sidecar lies where the file does.
        assert Call(link, first).pairs == WANT


def test_limit():
    with disk() as (image, first):
        for limit in (b"", b"nonsense", first[:-1], first + b"0", b"{1234}"):
            refused(32773, "not the id of a point", path=image, limit=limit,
                    reason="id_malformed")
        refused(32773, "NULL", path=image, limit=None)
        assert Call(image, first.upper()).pairs == WANT
        for limit in (FOREIGN, b"{01010101-0101-0101-0101-010101010101}",
                      b"01010101-0101-0101-0101-010101010101",
                      b"rctX:5bfde23b:ce75:4303:b54f:6c18394f105c:00000001",
                      b"RCTX:5BFDE23B:CE75:4303:B54F:6C18394F105C:00000001"):
            call = Call(image, limit)
            assert (call.code, call.reason) == (32775, REASONS["id_missing"]), (limit, call.code)


def test_target_is_for_vhd_sets():
    with disk() as (image, first):
        for target in (first, b"{01010101-0101-0101-0101-010101010101}", b"nonsense"):
            refused(32773, "VHD Set", path=image, limit=first, target=target)
        assert Call(image, first, target=b"").pairs == WANT


def test_range():
    with disk() as (image, first):
        for offset, length in ((GIB + 1, 0), (1, GIB), (0, (1 << 64) - 1), (1, (1 << 64) - 2),
                               ((1 << 64) - 1, 2)):
            refused(32773, "beyond", path=image, limit=first, offset=offset, length=length)


def test_job():
    with disk() as (image, first):
        call = Call(image, first, job=True)
        assert call.code == 4096, call.message
        # The outputs are those of a call without a job.
        assert (call.processed.value, call.count.value) == (99, 99)
        assert call.result() == 0 and call.pairs == WANT


def test_job_that_fails():
    with disk() as (image, _):
        call = Call(image, FOREIGN, job=True)
        assert call.code == 4096
        assert call.result() == 32775 and "does not know the point" in call.message
        assert call.count.value == 0


# The driver made of files is preloaded, so this needs a process of its own.
ATTACHED = """
import sys
from test_method import Call, FOREIGN
call = Call("/dev/vhdx0", FOREIGN, job=sys.argv[1] == "job")
print(call.result() if call.job else call.code, call.count.value)
"""


def attached_call(fake, form):
    done = subprocess.run([sys.executable, "-c", ATTACHED, form], cwd=HERE, text=True,
                          env={**os.environ, **fake.env}, capture_output=True, check=True)
    return [int(word) for word in done.stdout.split()]


def test_attached():
    with attached() as (fake, _):
        fake.write("ranges.0", "0 16384\n500000000 16384\n")
        fake.write("step.0", str(GIB // 8))
        assert attached_call(fake, "call") == [0, 2]
        assert len(fake.calls) == 8
        assert attached_call(fake, "job") == [0, 2]


def test_detached_under_way():
    with attached() as (fake, _):
        fake.fail("CHANGES", errno.ENODEV)
        assert attached_call(fake, "call") == [32777, 0]
        assert attached_call(fake, "job") == [32771, 0]


def test_failures_of_the_driver():
    with attached() as (fake, _):
        for error, reason, code in ((errno.ESTALE, "unclean", 32775), (errno.EIO, "io", 32768),
                                    (errno.ENOMEM, "none", 32778)):
            fake.fail("CHANGES", error, reason)
            assert attached_call(fake, "call") == [code, 0]
            assert attached_call(fake, "job") == [code, 0]
