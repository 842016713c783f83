# SPDX-License-Identifier: GPL-2.0-only
"""vhdx_get_virtual_disk_changes() and its jobs."""
import contextlib
import ctypes
import errno
import os
import subprocess
import sys

from common import HERE, Range, attached, directory, load_library, make_image, make_sidecar

library = load_library()

GIB = 1 << 30
FOREIGN = b"rct:01010101-0101-0101-0101-010101010101:0000000000000001"


class Call:
    """One call of the method and what it gave."""

    def __init__(self, path, limit, offset=0, length=GIB, target=None, job=False):
        self.processed = ctypes.c_uint64(99)
        self.ranges = ctypes.POINTER(Range)()
        self.count = ctypes.c_size_t(99)
        self.job = ctypes.c_void_p()
        path = str(path).encode() if path else None
        self.code = library.vhdx_get_virtual_disk_changes(
            path, limit, target, offset, length, *self.outputs(),
            ctypes.byref(self.job) if job else None)
        self.message = library.vhdx_error_message().decode()

    def outputs(self):
        return (ctypes.byref(self.processed), ctypes.byref(self.ranges),
                ctypes.byref(self.count))

    def result(self):
        return library.vhdx_job_result(self.job, *self.outputs())

    @property
    def pairs(self):
        return [(r.offset, r.length) for r in self.ranges[:self.count.value]]


@contextlib.contextmanager
def disk():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        first, = make_sidecar(image, "seal a\nmark 0 1\nmark 1000000000 1\n")
        yield image, first.encode()


WANT = [(0, 16384), (999997440, 16384)]


def test_done():
    with disk() as (image, first):
        call = Call(image, first)
        assert call.code == 0, call.message
        assert call.processed.value == GIB and call.pairs == WANT


def test_clipped():
    with disk() as (image, first):
        call = Call(image, first, 100, 1000)
        assert call.code == 0 and call.processed.value == 1000 and call.pairs == [(100, 1000)]
        call = Call(image, first, GIB, 0)
        assert call.code == 0 and call.processed.value == 0 and call.pairs == []


def test_codes():
    with disk() as (image, first):
        assert Call(image, FOREIGN).code == 32775
        assert Call(image, b"nonsense").code == 32773
        assert Call(image, None).code == 32773
        assert Call(None, first).code == 32773
        assert Call(image, first, GIB + 1, 0).code == 32773
        assert Call(image, first, 1, GIB).code == 32773
        assert Call(image, first, 0, (1 << 64) - 1).code == 32773
        assert Call(image, first, 1, (1 << 64) - 2).code == 32773
        assert Call(f"{image}.gone", first).code == 32779
        assert Call("vhdx99", first).code == 32777
        assert Call(f"{image}.lrct", first).code == 32776
        assert Call("/dev/null", first).code == 32776


def test_target_is_for_vhd_sets():
    with disk() as (image, first):
        call = Call(image, first, target=first)
        assert call.code == 32773 and "VHD Set" in call.message


def test_job():
    with disk() as (image, first):
        call = Call(image, first, job=True)
        assert call.code == 4096
        assert library.vhdx_job_wait(call.job, 10000) == 0
        assert library.vhdx_job_progress(call.job) == 100
        assert call.result() == 0
        assert call.processed.value == GIB and call.pairs == WANT
        # The ranges are handed out once.
        assert call.result() == 32771
        library.vhdx_job_free(call.job)


def test_job_that_cannot_begin():
    with disk() as (image, _):
        call = Call(image, b"nonsense")
        assert (call.code, call.processed.value, call.count.value) == (32773, 0, 0)
        call = Call(image, b"nonsense", job=True)
        assert call.code == 32773 and not call.job


def test_job_that_fails():
    with disk() as (image, _):
        call = Call(image, FOREIGN, job=True)
        assert call.code == 4096
        assert call.result() == 32775
        assert b"does not know the point" in library.vhdx_error_message()
        assert call.processed.value == 0 and call.count.value == 0
        library.vhdx_job_free(call.job)


def test_job_is_freed_under_way():
    with disk() as (image, first):
        for _ in range(20):
            library.vhdx_job_free(Call(image, first, job=True).job)
        library.vhdx_job_free(None)


def test_job_is_cancelled():
    """Too late or in time: then there is no result, and no part of one."""
    with disk() as (image, first):
        codes = set()
        for _ in range(20):
            call = Call(image, first, job=True)
            library.vhdx_job_cancel(call.job)
            codes.add(call.result())
            library.vhdx_job_free(call.job)
        assert codes <= {0, 32771}, codes


def test_wait_times_out_or_not():
    with disk() as (image, first):
        call = Call(image, first, job=True)
        assert library.vhdx_job_wait(call.job, 0) in (0, -errno.ETIMEDOUT)
        assert library.vhdx_job_wait(call.job, -1) == 0
        library.vhdx_job_free(call.job)


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
