#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The guest's part of test_power: power.py prepare|write|verify LAYOUT

LAYOUT is "file" (the container is a file on the file system of disk 0) or "block" (it is
disk 1 itself). The sidecar is always on disk 0.

write tells what was acknowledged: a line "SLOT VERSION" for each write that power loss
must not take back, printed after the flush or the FUA write returned. verify gets those
lines in /in/acknowledged.
"""

import hashlib
import json
import mmap
import os
import pathlib
import random
import subprocess
import sys
import threading

sys.path.insert(0, "/src/selftests/oracle")
import vhdxoracle  # noqa: E402

SLOT = 4096
SLOTS = 2048
STRIDE = 24 * SLOT		# slots in many blocks, at many places of them
MOUNT = pathlib.Path("/mnt")
SIDECAR = MOUNT / "disk.lrct"
POINT = MOUNT / "point"


def run(*command, status=0):
    """Runs a command; its standard output. Fails unless it has this exit status."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != status:
        raise SystemExit(f"{' '.join(map(str, command))}: exit status {done.returncode}, "
                         f"not {status}")
    return done.stdout.strip()


def container(layout):
    """Where the VHDX is."""
    return MOUNT / "disk.vhdx" if layout == "file" else pathlib.Path(os.environ["VHDX_DISK1"])


def content(slot, version):
    """What a slot holds at a version: recognisable, and different everywhere."""
    head = f"{slot} {version} ".encode()
    seed = hashlib.sha256(head).digest()
    return head.ljust(64, b".") + seed * ((SLOT - 64) // len(seed))


def version_in(slot, data):
    """The version that a slot holds; 0: never written; None: garbage."""
    if not any(data):
        return 0
    try:
        found_slot, version = data[:64].split(b" ")[:2]
        if int(found_slot) == slot and data == content(slot, int(version)):
            return int(version)
    except ValueError:
        pass
    return None


def prepare(layout):
    """Makes the file system, the container, the sidecar, and a point to ask from."""
    run("mke2fs", "-q", "-F", os.environ["VHDX_DISK0"])
    run("mount", os.environ["VHDX_DISK0"], str(MOUNT))
    image = container(layout)
    new = MOUNT / "new.vhdx"
    run("qemu-img", "create", "-q", "-f", "vhdx", "-o", "block_size=1M", str(new), "256M")
    if layout == "file":
        new.rename(image)
    else:
        run("dd", f"if={new}", f"of={image}", "bs=1M", "conv=fsync", "status=none")
        new.unlink()
    run("vhdxctl", "attach", "--track", "--sidecar", str(SIDECAR), str(image))
    POINT.write_text(run("vhdxctl", "seal", "vhdx0"), encoding="ascii")
    run("vhdxctl", "detach", "vhdx0")
    run("umount", str(MOUNT))


def writer(number, flags):
    """Writes slots of its own for ever, telling each that is safe."""
    node = os.open("/dev/vhdx0", os.O_RDWR | os.O_DIRECT | flags)
    chance = random.Random(number)
    page = mmap.mmap(-1, SLOT)
    mine = range(number, SLOTS, 4)
    versions = dict.fromkeys(mine, 0)
    while True:
        batch = chance.sample(mine, 1 if flags else 8)
        for slot in batch:
            versions[slot] += 1
            page[:] = content(slot, versions[slot])
            os.pwrite(node, page, slot * STRIDE)
        if not flags:
            os.fdatasync(node)
        os.write(1, "".join(f"{slot} {versions[slot]}\n" for slot in batch).encode())


def write(layout):
    """Writes until the power goes: with flushes, and with FUA."""
    run("mount", os.environ["VHDX_DISK0"], str(MOUNT))
    run("vhdxctl", "attach", "--sidecar", str(SIDECAR), str(container(layout)))
    threads = [threading.Thread(target=writer, args=(number, flags))
               for number, flags in enumerate((0, os.O_DSYNC, 0, os.O_DSYNC))]
    for thread in threads:
        thread.start()
    threads[0].join()


def check_container(layout):
    """The dirty container, judged by others before we touch it. Returns its content."""
    image = container(layout)
    faults = vhdxoracle.faults(vhdxoracle.check(str(image)))
    assert not faults, "\n".join(map(str, faults))
    copy = pathlib.Path("/tmp/copy.vhdx")
    run("dd", f"if={image}", f"of={copy}", "bs=1M", "conv=sparse", "status=none")
    run("qemu-img", "check", "-q", "-r", "all", str(copy))
    run("qemu-img", "convert", "-O", "raw", str(copy), "/tmp/qemu.raw")
    with vhdxoracle.open_disk(str(image)) as disk:
        vhdxoracle.write_raw(disk, "/tmp/oracle.raw")
    run("cmp", "/tmp/qemu.raw", "/tmp/oracle.raw")


def check_content():
    """Every acknowledged write is there, or a later one of the same slot."""
    wanted = {}
    for line in pathlib.Path("/in/acknowledged").read_text(encoding="ascii").splitlines():
        slot, version = map(int, line.split())
        wanted[slot] = max(version, wanted.get(slot, 0))
    data = pathlib.Path("/tmp/ours.raw").read_bytes()
    for slot in range(SLOTS):
        found = version_in(slot, data[slot * STRIDE:slot * STRIDE + SLOT])
        assert found is not None, f"slot {slot} holds garbage"
        assert found >= wanted.get(slot, 0), \
            f"slot {slot} is back at version {found}; {wanted[slot]} was acknowledged"
    return len(wanted)


def check_tracking():
    """The changes since the point are lost, and everybody is told so; then it goes on."""
    point = POINT.read_text(encoding="ascii")
    status = json.loads(run("vhdxctl", "track", "status", "--json", "vhdx0"))
    assert status["enabled"] and status["reason"] == "unclean", status
    assert status["most_recent_id"] == point, status
    run("vhdxctl", "changes", "vhdx0", "--since", point, status=3)
    fresh = run("vhdxctl", "seal", "vhdx0")
    run("dd", "if=/dev/urandom", "of=/dev/vhdx0", "bs=4k", "count=1", "seek=100", "oflag=direct",
        "status=none")
    changes = json.loads(run("vhdxctl", "changes", "--json", "vhdx0", "--since", fresh))
    assert changes["ranges"] == [{"offset": 25 * 16384, "length": 16384}], changes
    run("vhdxctl", "changes", "vhdx0", "--since", point, status=3)


def verify(layout):
    """After the power came back."""
    run("mount", os.environ["VHDX_DISK0"], str(MOUNT))
    check_container(layout)
    image = str(container(layout))
    run("vhdxctl", "attach", "--sidecar", str(SIDECAR), image)
    run("dd", "if=/dev/vhdx0", "of=/tmp/ours.raw", "bs=1M", "iflag=direct", "status=none")
    run("cmp", "/tmp/ours.raw", "/tmp/oracle.raw")
    slots = check_content()
    check_tracking()
    run("vhdxctl", "detach", "vhdx0")
    faults = vhdxoracle.faults(vhdxoracle.check(image, clean=True))
    assert not faults, "\n".join(map(str, faults))
    print(f"{slots} slots with acknowledged writes are there", file=sys.stderr)


{"prepare": prepare, "write": write, "verify": verify}[sys.argv[1]](sys.argv[2])
