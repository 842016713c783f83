# SPDX-License-Identifier: GPL-2.0-only
"""What the suites share: the command, the driver made of files, images."""
import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
USERSPACE = HERE.parent
TREE = USERSPACE.parent
sys.path.append(str(TREE / "selftests/lib"))

import ktap  # noqa: E402

BUILD = pathlib.Path(os.environ.get("VHDX_BUILD", TREE / "build/userspace"))

# VHDX_REASON_* that tests name.
REASONS = {
    "none": 0, "argument": 1, "id_missing": 2, "changed_offline": 3, "inconsistent": 4,
    "disabled": 5, "reset": 6, "unclean": 7, "tracking_error": 8, "unsupported": 9,
    "bad_type": 10, "corrupt": 11, "in_use": 12, "read_only": 13, "no_space": 14, "io": 15,
    "id_malformed": 16, "host_full": 17,
}

ID = "rct:01010101-0101-0101-0101-010101010101:0000000000000001"


def need(command):
    if not shutil.which(command):
        ktap.skip(f"{command} is not installed")


def need_root():
    if os.geteuid():
        ktap.skip("needs root")


@contextlib.contextmanager
def directory():
    with tempfile.TemporaryDirectory(prefix="vhdx-user-") as path:
        yield pathlib.Path(path)


class Result:
    """What came of a run of vhdxctl."""

    def __init__(self, process):
        self.code = process.returncode
        self.out = process.stdout
        self.err = process.stderr

    @property
    def lines(self):
        return self.out.splitlines()

    @property
    def json(self):
        reply = json.loads(self.out)
        assert self.out.count("\n") == 1, self.out
        assert reply.pop("version") == 1, self.out
        return reply

    def expect(self, code, *parts):
        """The exit code, and what standard error must say."""
        assert self.code == code, f"exit {self.code}, want {code}\n{self.out}{self.err}"
        for part in parts:
            assert part in self.err, f"{part!r} is not in {self.err!r}"
        if not code:
            assert "error" not in self.err, self.err
        else:
            assert not self.out, f"output of a failure: {self.out!r}"
        return self

    def expect_error(self, code, error, reason, *parts):
        """A failure with --json: the same words on both outputs."""
        said = self.json["error"]
        assert sorted(said) == ["errno", "full_backup_needed", "message", "reason"], said
        assert f"vhdxctl: {said['message']}\n" == self.err, self.err
        assert (said["errno"], said["reason"]) == (error, reason), said
        assert said["full_backup_needed"] is (code == 3), said
        self.out = ""
        self.expect(code, *parts)


def ctl(*arguments, env=None, **options):
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **(env or {})}
    return Result(subprocess.run([BUILD / "vhdxctl", *map(str, arguments)], text=True,
                                 capture_output=True, env=environment, timeout=60,
                                 check=False, **options))


class Fake:
    """A driver made of files; see fake_kernel.c."""

    def __init__(self, path):
        self.root = path / "fake"
        for name in ("sys/block", "sys/module/vhdx", "dev", "fail"):
            (self.root / name).mkdir(parents=True)
        (self.root / "dev/vhdx-control").touch()

    @property
    def env(self):
        return {"FAKE_ROOT": str(self.root), "LD_PRELOAD": str(BUILD / "tests/fake_kernel.so")}

    def ctl(self, *arguments, **options):
        return ctl(*arguments, env=self.env, **options)

    def popen(self, *arguments):
        """vhdxctl, running."""
        return subprocess.Popen([BUILD / "vhdxctl", *map(str, arguments)],
                                env={**os.environ, **self.env}, stderr=subprocess.PIPE)

    def fail(self, call, error, reason="none", times=-1, message=""):
        """The next calls of an ioctl fail."""
        text = f"{error} {REASONS[reason]} {times} {message}"
        (self.root / "fail" / call).write_text(text)

    def write(self, name, text):
        (self.root / name).write_text(text)

    def attribute(self, index, name, text):
        (self.root / f"sys/block/vhdx{index}/vhdx/{name}").write_text(text + "\n")

    @property
    def calls(self):
        """The ioctls since the last look."""
        path = self.root / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.write_text("")
        return lines


@contextlib.contextmanager
def attached(*options):
    """A fake driver with one disk attached."""
    with directory() as path:
        fake = Fake(path)
        image = make_image(path / "disk.vhdx")
        make_sidecar(image, "")
        fake.ctl("attach", *options, image).expect(0)
        fake.calls
        yield fake, image


def make_image(path, size="1G", subformat="dynamic"):
    need("qemu-img")
    subprocess.run(["qemu-img", "create", "-q", "-f", "vhdx", "-o", f"subformat={subformat}",
                    path, str(size)], check=True)
    return path


@contextlib.contextmanager
def qemu_io(image, *options, commands=("read 0 512",)):
    """qemu-io has the image open, and has done these commands."""
    need("qemu-io")
    with subprocess.Popen(["stdbuf", "-oL", "qemu-io", "-f", "vhdx", *options, image], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        for command in commands:  # one by one: it reads ahead and then waits for more
            process.stdin.write(f"{command}\n")
            process.stdin.flush()
            while "ops;" not in process.stdout.readline():
                assert process.poll() is None
        yield process
        process.stdin.close()
        process.wait(10)


def make_sidecar(image, script, unit=16384, sidecar=None):
    """The ids of the points that the script seals; see make_sidecar.c."""
    sidecar = sidecar or f"{image}.lrct"
    done = subprocess.run([BUILD / "tests/make_sidecar", image, sidecar, str(unit)],
                          input=script, text=True, capture_output=True, check=True)
    return done.stdout.split()


# ---- the library ----------------------------------------------------------


class Range(ctypes.Structure):
    _fields_ = [("offset", ctypes.c_uint64), ("length", ctypes.c_uint64),
                ("flags", ctypes.c_uint32), ("reserved", ctypes.c_uint32)]


class PointId(ctypes.Structure):
    _fields_ = [("guid", ctypes.c_uint8 * 16), ("sequence", ctypes.c_uint64),
                ("kind", ctypes.c_uint32), ("reserved", ctypes.c_uint32)]


class Changes(ctypes.Structure):
    """struct vhdx_changes"""
    _fields_ = [("size", ctypes.c_size_t), ("limit", PointId), ("target", PointId),
                ("offset", ctypes.c_uint64), ("length", ctypes.c_uint64),
                ("range_size", ctypes.c_size_t), ("flags", ctypes.c_uint),
                ("unit", ctypes.c_uint32), ("processed", ctypes.c_uint64),
                ("disk_size", ctypes.c_uint64), ("changed_bytes", ctypes.c_uint64),
                ("disk_seq", ctypes.c_uint64), ("gap_time_ns", ctypes.c_uint64),
                ("answer_flags", ctypes.c_uint32), ("granularity", ctypes.c_uint64),
                ("min_gap", ctypes.c_uint64)]

    def __init__(self, **fields):
        super().__init__(size=ctypes.sizeof(self), **fields)


class JobOptions(ctypes.Structure):
    """struct vhdx_job_options"""
    _fields_ = [("size", ctypes.c_size_t), ("timeout_ms", ctypes.c_uint),
                ("max_ranges", ctypes.c_size_t)]

    def __init__(self, **fields):
        super().__init__(size=ctypes.sizeof(self), **fields)


class JobInfo(ctypes.Structure):
    """struct vhdx_job_info"""
    _fields_ = [("size", ctypes.c_size_t), ("state", ctypes.c_uint), ("percent", ctypes.c_uint),
                ("code", ctypes.c_uint), ("reason", ctypes.c_uint),
                ("completion_status", ctypes.c_uint32), ("cancellable", ctypes.c_bool),
                ("start_time_ns", ctypes.c_uint64), ("elapsed_ns", ctypes.c_uint64),
                ("description", ctypes.c_char * 1024), ("child", ctypes.c_char * 4096),
                ("parent", ctypes.c_char * 4096)]

    def __init__(self):
        super().__init__(size=ctypes.sizeof(self))


def load_library():
    library = ctypes.CDLL(str(BUILD / "libvhdx.so.0"))
    library.vhdx_error_message.restype = ctypes.c_char_p
    library.vhdx_reason_name.restype = ctypes.c_char_p
    library.vhdx_full_backup_needed.restype = ctypes.c_bool
    library.vhdx_id_is_none.restype = ctypes.c_bool
    library.vhdx_hresult.restype = ctypes.c_uint32
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
