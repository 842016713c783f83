# SPDX-License-Identifier: GPL-2.0-only
"""The method of Windows, and its jobs, from the installed library.

    code, processed, ranges = method.call(path, limit)
    with method.Job(path, limit, timeout_ms=100) as job:
        job.wait()
        job.info().state, job.result()
"""

import ctypes
import select

from . import ktap, uapi
from .images import MIB

(OK, JOB_STARTED, FAILED, ACCESS_DENIED, NOT_SUPPORTED, UNKNOWN, TIMEOUT, INVALID_PARAMETER,
 IN_USE, INVALID_STATE, BAD_TYPE, NOT_AVAILABLE, OUT_OF_MEMORY, FILE_NOT_FOUND) = (
     0, 4096, *range(32768, 32780))
CODES = (OK, JOB_STARTED, *range(32768, 32780))

STARTING, RUNNING, SHUTTING_DOWN, COMPLETED, TERMINATED, KILLED, EXCEPTION = 3, 4, 6, 7, 8, 9, 10
TERMINATE, KILL = 4, 5
TO_END = (1 << 64) - 1


class Changes(ctypes.Structure):
    """struct vhdx_changes"""
    _fields_ = [("size", ctypes.c_size_t), ("limit", uapi.PointId), ("target", uapi.PointId),
                ("offset", ctypes.c_uint64), ("length", ctypes.c_uint64),
                ("range_size", ctypes.c_size_t), ("flags", ctypes.c_uint),
                ("unit", ctypes.c_uint32), ("processed", ctypes.c_uint64),
                ("disk_size", ctypes.c_uint64), ("changed_bytes", ctypes.c_uint64),
                ("disk_seq", ctypes.c_uint64), ("gap_time_ns", ctypes.c_uint64),
                ("answer_flags", ctypes.c_uint32), ("granularity", ctypes.c_uint64),
                ("min_gap", ctypes.c_uint64)]


class Options(ctypes.Structure):
    """struct vhdx_job_options"""
    _fields_ = [("size", ctypes.c_size_t), ("timeout_ms", ctypes.c_uint),
                ("max_ranges", ctypes.c_size_t)]


class Info(ctypes.Structure):
    """struct vhdx_job_info"""
    _fields_ = [("size", ctypes.c_size_t), ("state", ctypes.c_uint), ("percent", ctypes.c_uint),
                ("code", ctypes.c_uint), ("reason", ctypes.c_uint),
                ("completion_status", ctypes.c_uint32), ("cancellable", ctypes.c_bool),
                ("start_time_ns", ctypes.c_uint64), ("elapsed_ns", ctypes.c_uint64),
                ("description", ctypes.c_char * 1024), ("child", ctypes.c_char * 4096),
                ("parent", ctypes.c_char * 4096)]


def _load():
    library = ctypes.CDLL("libvhdx.so.0")
    library.vhdx_error_message.restype = ctypes.c_char_p
    library.vhdx_id_parse.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    library.vhdx_get_virtual_disk_changes.argtypes = [
        ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint64, ctypes.c_uint64,
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    library.vhdx_job_start.argtypes = [ctypes.c_char_p] + [ctypes.c_void_p] * 3
    for name, arguments in {"fd": [], "free": [], "wait": [ctypes.c_int],
                            "get_info": [ctypes.c_void_p],
                            "request_state_change": [ctypes.c_uint],
                            "get_result": [ctypes.c_void_p] * 3}.items():
        getattr(library, f"vhdx_job_{name}").argtypes = [ctypes.c_void_p, *arguments]
    return library


lib = _load()
_free = ctypes.CDLL(None).free
_free.argtypes = [ctypes.c_void_p]


def message():
    """What the library says about its last failure."""
    return lib.vhdx_error_message().decode(errors="replace")


def reason():
    """The VHDX_REASON_* of it."""
    return lib.vhdx_error_reason()


def _text(value):
    return None if value is None else str(value).encode()


def _pairs(ranges, count):
    return [(one.byte_offset, one.byte_length) for one in ranges[:count]]


def call(path, limit, target=None, offset=0, length=MIB):
    """(code, processed, ranges) of a call that waits; nothing is left of them after a failure."""
    processed, count = ctypes.c_uint64(77), ctypes.c_size_t(77)
    ranges = ctypes.POINTER(uapi.Range)()
    code = lib.vhdx_get_virtual_disk_changes(
        _text(path), _text(limit), _text(target), offset, length, ctypes.byref(processed),
        ctypes.byref(ranges), ctypes.byref(count), None)
    found = _pairs(ranges, count.value)
    _free(ranges)
    return code, processed.value, found


class Refused(Exception):
    """No job was started."""

    def __init__(self, code):
        self.code, self.reason = code, reason()
        super().__init__(f"{code}: {message()}")


class Job:
    """A job, which is freed in the end."""

    def __init__(self, path, limit, target=None, offset=0, length=TO_END, **options):
        question = Changes(size=ctypes.sizeof(Changes), offset=offset, length=length,
                           range_size=ctypes.sizeof(uapi.Range))
        for text, where in ((limit, question.limit), (target, question.target)):
            if text is not None and lib.vhdx_id_parse(_text(text), ctypes.byref(where)):
                raise AssertionError(message())
        options = Options(size=ctypes.sizeof(Options), **options)
        self._job = ctypes.c_void_p()
        code = lib.vhdx_job_start(_text(path), ctypes.byref(question), ctypes.byref(options),
                                  ctypes.byref(self._job))
        if code != JOB_STARTED:
            raise Refused(code)

    def info(self):
        """How it stands."""
        info = Info(size=ctypes.sizeof(Info))
        ktap.equal(lib.vhdx_job_get_info(self._job, ctypes.byref(info)), 0, "the job's state")
        return info

    def wait(self, seconds=20):
        """Has it ended within this time? By its descriptor, and by the call."""
        readable, _, _ = select.select([lib.vhdx_job_fd(self._job)], [], [], seconds)
        ended = not lib.vhdx_job_wait(self._job, 0)
        ktap.equal(ended, bool(readable), "its end, and its descriptor")
        return ended

    def request(self, state):
        """The code of a change of state."""
        return lib.vhdx_job_request_state_change(self._job, state)

    def result(self):
        """(code, ranges)"""
        ranges, count = ctypes.POINTER(uapi.Range)(), ctypes.c_size_t()
        code = lib.vhdx_job_get_result(self._job, None, ctypes.byref(ranges),
                                       ctypes.byref(count))
        return code, _pairs(ranges, count.value)

    def count(self):
        """(code, how many ranges)"""
        ranges, count = ctypes.POINTER(uapi.Range)(), ctypes.c_size_t()
        code = lib.vhdx_job_get_result(self._job, None, ctypes.byref(ranges), ctypes.byref(count))
        return code, count.value

    def free(self):
        """Lets go of it."""
        lib.vhdx_job_free(self._job)
        self._job = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.free()
