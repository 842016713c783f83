# SPDX-License-Identifier: GPL-2.0-only
"""The locks on a container are QEMU's: both sides refuse each other as two QEMUs would."""
import contextlib
import subprocess

from common import BUILD, Fake, ctl, directory, make_image, make_sidecar, need, qemu_io
import loop

READ = ["read", "0", "512"]
WRITE = ["write", "0", "512"]


@contextlib.contextmanager
def held(mode, image):
    """The container is open as an attach opens it."""
    with subprocess.Popen([BUILD / "tests/hold_lock", mode, image], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == "held\n"
        yield
        process.stdin.close()
        assert process.wait(10) == 0


def qemu_holds(mode, image):
    return qemu_io(image, *(["-r"] if mode == "r" else []))


def hold_fails(mode, image):
    done = subprocess.run([BUILD / "tests/hold_lock", mode, image], text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.returncode in (0, 1), done
    if done.returncode:
        assert "in use by another process" in done.stderr, done.stderr
    return bool(done.returncode)


def qemu_refuses(*command):
    need(command[0])
    done = subprocess.run(command, text=True, capture_output=True, check=False,
                          stdin=subprocess.DEVNULL)
    if done.returncode:
        assert "lock" in done.stderr, done.stderr
    return bool(done.returncode)


def qemu_fails(image, options, command):
    return qemu_refuses("qemu-io", *options, "-c", " ".join(command), image)


def test_writer_keeps_qemu_out():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        with held("w", image):
            assert qemu_refuses("qemu-img", "info", image)
            assert qemu_refuses("qemu-img", "check", image)
            assert qemu_fails(image, ["-r", "-f", "vhdx"], READ)
            assert qemu_fails(image, ["-f", "vhdx"], WRITE)
            assert qemu_fails(image, ["-f", "raw"], WRITE)
        assert not qemu_fails(image, ["-f", "vhdx"], WRITE)


def test_writer_lets_forced_sharing_in():
    """As a running machine does: qemu-img info -U."""
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        with held("w", image):
            assert not qemu_refuses("qemu-img", "info", "-U", image)


def test_reader_keeps_writers_out():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        with held("r", image):
            assert qemu_fails(image, ["-f", "vhdx"], WRITE)
            assert qemu_fails(image, ["-f", "raw"], WRITE)


def test_reader_lets_readers_in():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        with held("r", image):
            assert not qemu_refuses("qemu-img", "info", image)
            assert not qemu_fails(image, ["-r", "-f", "vhdx"], READ)


def test_qemu_writer_keeps_us_out():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        with qemu_holds("w", image):
            assert hold_fails("w", image)
            assert hold_fails("r", image)
            ctl("info", image).expect(1, "in use by another process (QEMU, vhdxctl, another attach)")
        assert not hold_fails("w", image)


def test_qemu_reader_lets_readers_in():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        with qemu_holds("r", image):
            assert hold_fails("w", image)
            assert not hold_fails("r", image)
            ctl("info", image).expect(0)


def test_two_of_us():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        with held("w", image):
            assert hold_fails("w", image)
            assert hold_fails("r", image)
        with held("r", image):
            assert hold_fails("w", image)
            assert not hold_fails("r", image)


def test_query_while_qemu_writes():
    """An answer that is being made wrong is none."""
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        first, = make_sidecar(image, "seal first\n")
        with qemu_holds("w", image):
            ctl("changes", image, "--since", first).expect(1, "in use")
        ctl("changes", image, "--since", first).expect(0)


def test_block_device():
    with directory() as path, loop.device(make_image(path / "disk.vhdx")) as device:
        with held("w", device):
            assert qemu_fails(device, ["-f", "vhdx"], WRITE)
            assert hold_fails("r", device)
        with qemu_holds("w", device):
            assert hold_fails("w", device)
        ctl("info", device).expect(0)
        fake = Fake(path)
        fake.ctl("attach", "--track", device).expect(1, "--sidecar")
        assert not fake.calls
        fake.ctl("attach", device).expect(0)
        assert fake.calls == ["ATTACH flags=0 index=-1 writable=1 sidecar=0"]
