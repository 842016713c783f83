#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The guest's part of test_shutdown: shutdown.py attach|hibernate|verify

attach      leaves disks attached, one on another, one whose sidecar was removed, one that can't
            be closed, and reboots
hibernate   finds them closed cleanly; leaves one attached and reboots like a machine whose
            memory is in an image
verify      finds that one as it was left
"""

import json
import mmap
import os
import pathlib
import subprocess
import sys
import threading

sys.path.insert(0, "/src/selftests/oracle")
import vhdxoracle  # noqa: E402

MIB = 1 << 20
UNIT = 16384
HOST = pathlib.Path("/mnt")
LOWER, UPPER = HOST / "lower.vhdx", HOST / "on-lower/upper.vhdx"
REMOVED = HOST / "removed.vhdx"
BLOCK, BLOCK_SIDECAR = pathlib.Path(os.environ["VHDX_DISK1"]), HOST / "block.lrct"
HUNG, HUNG_SIDECAR = HOST / "hung.vhdx", HOST / "hung.raw"
POINTS = HOST / "points.json"


def run(*command, status=0):
    """Runs a command; its standard output. Fails unless it has this exit status."""
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != status:
        raise SystemExit(f"{' '.join(map(str, command))}: exit status {done.returncode}, "
                         f"not {status}")
    return done.stdout.strip()


def attach(container, *options):
    """The block device."""
    return run("vhdxctl", "attach", *options, container)


def page(byte):
    """Memory for direct I/O."""
    memory = mmap.mmap(-1, UNIT)
    memory[:] = bytes([byte]) * UNIT
    return memory


def write(device, unit, byte):
    """Writes one unit and makes it durable."""
    node = os.open(device, os.O_RDWR | os.O_DIRECT | os.O_DSYNC)
    os.pwrite(node, page(byte), unit * UNIT)
    os.close(node)


def read(device, unit):
    """The first byte of a unit."""
    node = os.open(device, os.O_RDONLY | os.O_DIRECT)
    memory = page(0)
    os.preadv(node, [memory], unit * UNIT)
    os.close(node)
    return memory[0]


def make_hung():
    """A disk with a sidecar that does not answer any more."""
    HUNG_SIDECAR.touch()
    os.truncate(HUNG_SIDECAR, 8 * MIB)
    run("modprobe", "loop")
    run("modprobe", "dm-mod")
    loop = run("losetup", "--find", "--show", HUNG_SIDECAR)
    run("dmsetup", "create", "--noudevsync", "hung", "--table",
        f"0 {8 * MIB // 512} linear {loop} 0")
    vhdxoracle.create(str(HUNG), 16 * MIB, block_size=MIB)
    # By the node that the kernel gives it: names are udev's.
    sidecar = run("dmsetup", "info", "--columns", "--noheadings", "-o", "blkdevname", "hung")
    device = attach(HUNG, "--track", "--sidecar", f"/dev/{sidecar}")
    write(device, 0, 1)
    run("dmsetup", "suspend", "--noflush", "--nolockfs", "hung")


def watch(device):
    """Writes until that fails; then reads. The machine is being shut down by then, and waits for
    a disk that hangs: it is told to once more, by another task."""
    node = os.open(device, os.O_RDWR | os.O_DIRECT)
    memory = page(2)
    try:
        while True:
            os.pwrite(node, memory, 40 * UNIT)
    except OSError as failure:
        print(f"a write failed: {failure.strerror}", flush=True)
    print(f"read {read(device, 40)}", flush=True)
    pathlib.Path("/proc/sysrq-trigger").write_text("o", encoding="ascii")


def reboot():
    """As systemd does at the end; nobody comes back from here."""
    run("sync")
    pathlib.Path("/dev/kmsg").write_text("<5>vhdx-test: reboot\n", encoding="ascii")
    run("busybox", "reboot", "-f")
    threading.Event().wait()


def leave_attached():
    """See the module's text."""
    run("mke2fs", "-q", "-t", "ext4", "-F", os.environ["VHDX_DISK0"])
    run("mount", os.environ["VHDX_DISK0"], HOST)
    vhdxoracle.create(str(LOWER), 256 * MIB, block_size=MIB)
    devices = {"lower": attach(LOWER, "--track")}
    run("mke2fs", "-q", "-t", "ext4", "-F", devices["lower"])
    UPPER.parent.mkdir()
    run("mount", devices["lower"], UPPER.parent)
    vhdxoracle.create(str(UPPER), 64 * MIB, block_size=MIB)
    vhdxoracle.create(str(BLOCK), 64 * MIB, block_size=MIB)
    devices |= {"upper": attach(UPPER, "--track"),
                "block": attach(BLOCK, "--track", "--sidecar", BLOCK_SIDECAR)}
    points = {name: run("vhdxctl", "seal", device) for name, device in devices.items()}
    POINTS.write_text(json.dumps(points), encoding="ascii")
    for name in ("upper", "block"):
        write(devices[name], 7, 3)
        write(devices[name], 40, 2)
    vhdxoracle.create(str(REMOVED), 16 * MIB, block_size=MIB)
    write(attach(REMOVED, "--track"), 0, 1)
    pathlib.Path(f"{REMOVED}.lrct").unlink()
    make_hung()
    threading.Thread(target=watch, args=(devices["block"],), daemon=True).start()
    reboot()


def check_clean(container):
    """For everybody else, too."""
    faults = vhdxoracle.faults(vhdxoracle.check(str(container), clean=True))
    assert not faults, "\n".join(map(str, faults))


def check_disk(device, point, ranges=None):
    """Nothing was lost, and the changes are known."""
    status = json.loads(run("vhdxctl", "track", "status", "--json", device))
    assert status["enabled"] and status["reason"] is None, status
    changes = json.loads(run("vhdxctl", "changes", "--json", device, "--since", point))
    assert not changes["coarse"], changes
    if ranges is not None:
        assert changes["ranges"] == ranges, changes
        assert (read(device, 7), read(device, 40)) == (3, 2), "the data"


def find_closed():
    """See the module's text."""
    ranges = [{"offset": unit * UNIT, "length": UNIT, "zero": False} for unit in (7, 40)]
    run("mount", os.environ["VHDX_DISK0"], HOST)
    points = json.loads(POINTS.read_text(encoding="ascii"))
    for container in (LOWER, BLOCK, REMOVED):
        check_clean(container)
    lower = attach(LOWER)
    check_disk(lower, points["lower"])
    run("mount", lower, UPPER.parent)
    check_clean(UPPER)
    check_disk(attach(UPPER), points["upper"], ranges)
    block = attach(BLOCK, "--sidecar", BLOCK_SIDECAR)
    check_disk(block, points["block"], ranges)
    run("vhdxctl", "detach", UPPER)
    run("umount", UPPER.parent)
    run("vhdxctl", "detach", lower)
    print("all but one were closed", flush=True)
    write(block, 8, 4)
    with open("/dev/snapshot", "rb"):
        reboot()


def find_open():
    """See the module's text."""
    run("mount", os.environ["VHDX_DISK0"], HOST)
    block = attach(BLOCK, "--sidecar", BLOCK_SIDECAR)
    status = json.loads(run("vhdxctl", "track", "status", "--json", block))
    assert status["reason"] is None, status
    assert read(block, 8) == 4, "the data"
    point = json.loads(POINTS.read_text(encoding="ascii"))["block"]
    changes = json.loads(run("vhdxctl", "changes", "--json", block, "--since", point))
    assert changes["coarse"], changes
    assert any(one["offset"] <= 8 * UNIT and 9 * UNIT <= one["offset"] + one["length"]
               for one in changes["ranges"]), changes


{"attach": leave_attached, "hibernate": find_closed, "verify": find_open}[sys.argv[1]]()
