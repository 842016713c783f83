#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The guest's part of test_power: power.py prepare|write|verify LAYOUT...

LAYOUT is "file" (the container is a file on the file system of disk 0) or "block" (it is
disk 1 itself). The sidecar is always on disk 0. One of the two is a child, the seed decides which:
its parent, on disk 0, has some slots at version 0.

write tells what was acknowledged: a line "LAYOUT SLOT VERSION" for each write that power loss
must not take back, printed after the flush or the FUA write returned. verify gets those
lines in /in/acknowledged.

Behind the slots there are blocks that come and go, "LAYOUT block NUMBER VERSION": of every second
version a block is discarded, or zeroes, and its space is another one's soon. It is put down before,
durably, that this begins: so zeroes are one version, and no other.
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

sys.path[:0] = ["/src/selftests/oracle", "/src/selftests/vhdx/lib"]
import vhdxoracle  # noqa: E402
from vhdxtest import dio  # noqa: E402

SLOT = 4096
SLOTS = 2048
STRIDE = 12 * SLOT		# slots in many blocks, at many places of them
SIZE = 128 << 20
BLOCK = 1 << 20
# Blocks that come and go: which ones, where in them something is, and where it is put down that one
# is to go.
COMING, INSIDE = range(96, 108), 5 * SLOT
GOING = [(120 << 20) + number * STRIDE for number in range(len(COMING))]
# Slots that a parent has, and blocks.
OLD, OLD_BLOCKS = range(0, SLOTS, 6), COMING[::2]
CHILD = ("file", "block")[int(os.environ.get("VHDX_SEED") or 0) % 2]
MOUNT = pathlib.Path("/mnt")


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


def sidecar(layout):
    """Where its sidecar is."""
    return MOUNT / f"{layout}.lrct"


def parents(layout):
    """The containers below it."""
    return [MOUNT / "parent.vhdx"] if layout == CHILD else []


def below(layout):
    """The same, as options of attach."""
    return [word for parent in parents(layout) for word in ("--parent", str(parent))]


def saved_point(layout):
    """Where the point to ask from is written down."""
    return MOUNT / f"{layout}.point"


def mount():
    """The file system of disk 0."""
    run("mount", os.environ["VHDX_DISK0"], str(MOUNT))


def content(slot, version):
    """What a slot holds at a version: recognisable, and different everywhere."""
    head = f"{slot} {version} ".encode()
    seed = hashlib.sha256(head).digest()
    return head.ljust(64, b".") + seed * ((SLOT - 64) // len(seed))


def version_in(slot, data, child):
    """The version that a slot holds; 0: never written; None: garbage, or not what a parent has."""
    if not any(data):
        return None if child and slot in OLD else 0
    return number_in(slot, data)


def number_in(slot, data):
    """The version that is written there; None: garbage, or none."""
    try:
        found_slot, version = data[:64].split(b" ")[:2]
        if int(found_slot) == slot and data == content(slot, int(version)):
            return int(version)
    except ValueError:
        pass
    return None


def prepare_one(layout):
    """Makes the container, the sidecar, and a point to ask from."""
    image = container(layout)
    new = MOUNT / "new.vhdx"
    if layout == CHILD:
        parent, = parents(layout)
        vhdxoracle.create(str(parent), SIZE, block_size=2 << 20,
                          content=[(slot * STRIDE, content(slot, 0)) for slot in OLD] +
                          [(block * BLOCK + INSIDE, content(block, 0)) for block in OLD_BLOCKS])
        vhdxoracle.create(str(new), parent=str(parent), block_size=1 << 20)
    else:
        run("qemu-img", "create", "-q", "-f", "vhdx", "-o", "block_size=1M", str(new), str(SIZE))
    if layout == "file":
        new.rename(image)
    else:
        run("dd", f"if={new}", f"of={image}", "bs=1M", "conv=fsync", "status=none")
        new.unlink()
    device = run("vhdxctl", "attach", "--track", "--sidecar", str(sidecar(layout)), *below(layout),
                 str(image))
    saved_point(layout).write_text(run("vhdxctl", "seal", device), encoding="ascii")
    run("vhdxctl", "detach", device)


def prepare(layouts):
    """Makes the file system, and all of them."""
    run("mke2fs", "-q", "-F", "-t", "ext4", os.environ["VHDX_DISK0"])
    mount()
    for layout in layouts:
        prepare_one(layout)
    run("umount", str(MOUNT))


def writer(layout, device, number, flags):
    """Writes slots of its own for ever, telling each that is safe."""
    node = os.open(device, os.O_RDWR | os.O_DIRECT | flags)
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
        os.write(1, "".join(f"{layout} {slot} {versions[slot]}\n" for slot in batch).encode())


def is_gone(version):
    """Nothing is in a block then."""
    return version % 2 == 0


def comer(layout, device):
    """Has blocks come and go for ever, telling what is safe."""
    chance = random.Random(layout)
    versions = dict.fromkeys(COMING, 0)
    with dio.Direct(device, True) as data, \
            dio.Direct(device, True, os.O_DIRECT | os.O_DSYNC) as durable:
        while True:
            batch = chance.sample(COMING, 4)
            for block in batch:
                versions[block] += 1
                version = versions[block]
                if not is_gone(version):
                    data.write(block * BLOCK + INSIDE, content(block, version))
                    continue
                durable.write(GOING[block - COMING[0]], content(block, version))
                if version % 4:
                    data.discard(block * BLOCK, BLOCK)
                else:
                    data.zero(block * BLOCK, BLOCK)
            data.flush()
            os.write(1, "".join(f"{layout} block {block} {versions[block]}\n"
                                for block in batch).encode())


def write(layouts):
    """Writes until the power goes: with flushes, and with FUA."""
    mount()
    devices = {layout: run("vhdxctl", "attach", "--sidecar", str(sidecar(layout)), *below(layout),
                           str(container(layout))) for layout in layouts}
    threads = [threading.Thread(target=writer, args=(layout, device, number, flags))
               for layout, device in devices.items()
               for number, flags in enumerate((0, os.O_DSYNC, 0, os.O_DSYNC))]
    threads += [threading.Thread(target=comer, args=one) for one in devices.items()]
    for thread in threads:
        thread.start()
    threads[0].join()


def check_container(layout):
    """The dirty container, judged by others before we touch it. Returns its content."""
    image = container(layout)
    faults = vhdxoracle.faults(vhdxoracle.check(str(image)))
    assert not faults, "\n".join(map(str, faults))
    with vhdxoracle.open_disk(str(image), parents(layout)) as disk:
        vhdxoracle.write_raw(disk, "/tmp/oracle.raw")
    if layout == CHILD:
        return          # QEMU opens none
    copy = pathlib.Path("/tmp/copy.vhdx")
    run("dd", f"if={image}", f"of={copy}", "bs=1M", "conv=sparse", "status=none")
    run("qemu-img", "check", "-q", "-r", "all", str(copy))
    run("qemu-img", "convert", "-O", "raw", str(copy), "/tmp/qemu.raw")
    run("cmp", "/tmp/qemu.raw", "/tmp/oracle.raw")


def acknowledged(layout):
    """{slot: version}, {block: version}"""
    slots, blocks = {}, {}
    for line in pathlib.Path("/in/acknowledged").read_text(encoding="ascii").splitlines():
        where, *what, number, version = line.split()
        if where == layout:
            wanted = blocks if what else slots
            wanted[int(number)] = max(int(version), wanted.get(int(number), 0))
    return slots, blocks


def version_of_block(block, data, child):
    """The version of a block that comes and goes; None: garbage."""
    whole = data[block * BLOCK:(block + 1) * BLOCK]
    inside = whole[INSIDE:INSIDE + SLOT]
    if any(whole[:INSIDE]) or any(whole[INSIDE + SLOT:]):
        return None
    if any(inside):
        return number_in(block, inside)
    at = GOING[block - COMING[0]]
    going = data[at:at + SLOT]
    if any(going):
        return number_in(block, going)
    return None if child and block in OLD_BLOCKS else 0


def check_blocks(wanted, data, child):
    """What came is there, what went is zeroes, and nothing is there that was another one's."""
    for block in COMING:
        found = version_of_block(block, data, child)
        assert found is not None, f"block {block} holds garbage"
        assert found >= wanted.get(block, 0), \
            f"block {block} is back at version {found}; {wanted[block]} was acknowledged"


def check_content(layout):
    """Every acknowledged write is there, or a later one of the same slot."""
    wanted, blocks = acknowledged(layout)
    data = pathlib.Path("/tmp/ours.raw").read_bytes()
    check_blocks(blocks, data, layout == CHILD)
    for slot in range(SLOTS):
        found = version_in(slot, data[slot * STRIDE:slot * STRIDE + SLOT], layout == CHILD)
        assert found is not None, f"slot {slot} holds garbage"
        assert found >= wanted.get(slot, 0), \
            f"slot {slot} is back at version {found}; {wanted[slot]} was acknowledged"
    return wanted, blocks


def check_changes(layout, changes):
    """All that was written since the point, acknowledged or not, is told, if coarsely."""
    data = pathlib.Path("/tmp/ours.raw").read_bytes()
    told = [(one["offset"], one["offset"] + one["length"]) for one in changes["ranges"]]
    for slot in range(SLOTS):
        first = slot * STRIDE
        if version_in(slot, data[first:first + SLOT], layout == CHILD):
            assert any(begin <= first and first + SLOT <= end for begin, end in told), \
                f"slot {slot} was written, and nobody is told"
    for block in COMING:
        first = block * BLOCK + INSIDE
        if version_of_block(block, data, layout == CHILD):
            assert any(begin <= first and first + SLOT <= end for begin, end in told), \
                f"block {block} came or went, and nobody is told"
    assert changes["coarse"], "the answer does not say that it has more"


def check_tracking(layout, device):
    """The changes since the point are known; then it goes on."""
    point = saved_point(layout).read_text(encoding="ascii")
    status = json.loads(run("vhdxctl", "track", "status", "--json", device))
    assert status["enabled"] and status["reason"] is None, status
    assert status["most_recent_id"] == point, status
    check_changes(layout, json.loads(run("vhdxctl", "changes", "--json", device, "--since", point)))
    fresh = run("vhdxctl", "seal", device)
    run("dd", "if=/dev/urandom", f"of={device}", "bs=4k", "count=1", "seek=100", "oflag=direct",
        "status=none")
    changes = json.loads(run("vhdxctl", "changes", "--json", device, "--since", fresh))
    assert changes["ranges"] == [{"offset": 25 * 16384, "length": 16384, "zero": False}], changes
    assert not changes["coarse"], "what a seal began is exact"


def verify(layouts):
    """After the power came back; of one layout."""
    layout, = layouts
    if not MOUNT.is_mount():
        mount()
    check_container(layout)
    image = str(container(layout))
    device = run("vhdxctl", "attach", "--sidecar", str(sidecar(layout)), *below(layout), image)
    run("dd", f"if={device}", "of=/tmp/ours.raw", "bs=1M", "iflag=direct", "status=none")
    run("cmp", "/tmp/ours.raw", "/tmp/oracle.raw")
    slots, blocks = check_content(layout)
    check_tracking(layout, device)
    run("vhdxctl", "detach", device)
    faults = vhdxoracle.faults(vhdxoracle.check(image, clean=True))
    assert not faults, "\n".join(map(str, faults))
    print(f"{len(slots)} slots with acknowledged writes are there, {len(blocks)} blocks came, "
          f"{sum(version > 1 for version in blocks.values())} of them went", file=sys.stderr)


{"prepare": prepare, "write": write, "verify": verify}[sys.argv[1]](sys.argv[2:])
