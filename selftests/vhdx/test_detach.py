#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_detach - several disks at once, all of them, and at the last close
#
# vm: timeout=300 long=uml-lockdep,debug full=6.1:all_of_a_stack+held+autoclear_after*+autoclear_of*+autoclear_beside*+stuck* takes=75
import contextlib
import ctypes
import errno
import fcntl
import os
import pathlib
import struct
import sys
import threading
import time
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, filesystem, images, knob, ktap, mapper, slow, uapi, udev  # noqa: E402
from vhdxtest.device import Control, Failure, ioctl  # noqa: E402
from vhdxtest.disk import attached, detach_index, opened, raw_attached  # noqa: E402
from vhdxtest.images import MIB  # noqa: E402
from vhdxoracle import check, faults  # noqa: E402


F_OFD_SETLK = 37


@contextlib.contextmanager
def containers(count=1, size=64 * MIB):
    """Paths of containers that are not attached; what is attached in the end is detached."""
    with images.directory() as directory:
        try:
            yield [images.create(directory / f"{number}.vhdx", size, block_size=MIB)
                   for number in range(count)]
        finally:
            ctl.run("detach", "--all")


def attached_now():
    """Indices."""
    return sorted(one["disk"] for one in ctl.json("list")["list"])


def wait_until_gone(patience=20):
    """Until no disk is attached."""
    ktap.eventually(lambda: not list(pathlib.Path("/sys/block").glob("vhdx*")) and
                    not attached_now(), "no disk is attached", patience)


def must_be_clean(path):
    """For the oracle, and free for everybody: that may take a moment longer."""
    ktap.eventually(lambda: not images.locks_of(path), f"{path} is not locked", 10)
    found = faults(check(str(path), clean=True))
    ktap.check(not found, found)


# ---- by the command -----------------------------------------------------------------------

@ktap.case
def several():
    with containers(3) as paths:
        nodes = [ctl.line("attach", path) for path in paths]
        ctl.run("detach", nodes[0], "/dev/vhdx77", status=ctl.FAILED)
        ktap.equal(attached_now(), [0, 1, 2], "attached: one of the names was wrong")
        ktap.equal(ctl.json("detach", nodes[0], paths[2], "vhdx0")["list"],
                   [{"disk": 0, "device": nodes[0]}, {"disk": 2, "device": nodes[2]}])
        ktap.equal(attached_now(), [1], "attached")


@ktap.case
def all_of_a_stack():
    """Whatever the order: the lower disk has the lower number, or the higher one."""
    for index in (0, 5):
        with containers(2) as (path, inner):
            lower = ctl.line("attach", "--index", index, path)
            images.command("dd", f"if={inner}", f"of={lower}", "bs=1M", "conv=fsync")
            upper = ctl.line("attach", "--index", 3, lower)
            with opened(upper, os.O_WRONLY) as fd:
                os.pwrite(fd, b"x" * 4096, 0)
                os.fsync(fd)
            ktap.equal(attached_now(), sorted((index, 3)), "attached")
            ctl.run("detach", "--all")
            ktap.equal(attached_now(), [], "attached")
            must_be_clean(path)


@ktap.case
def all_but_one():
    with containers(3) as paths:
        nodes = [ctl.line("attach", path) for path in paths]
        udev.settle()
        with opened(nodes[1], os.O_RDONLY):
            done = ctl.run("detach", "--all", status=ctl.FAILED)
            ktap.check(nodes[1] in done.stderr and "busy" in done.stderr, done.stderr)
            ktap.check(nodes[0] not in done.stderr, done.stderr)
            ktap.equal(attached_now(), [1], "attached")
        ctl.run("detach", "--all")
        ktap.equal(ctl.json("detach", "--all")["list"], [], "nothing is left")


@ktap.case
def all_while_others_come():
    """Nothing that was attached before it returned is left."""
    with containers(8) as paths:
        ctl.line("attach", paths[0])
        coming = [threading.Thread(target=ctl.run, args=("attach", path)) for path in paths[1:]]
        for one in coming:
            one.start()
        while any(one.is_alive() for one in coming):
            ctl.run("detach", "--all")
        ctl.run("detach", "--all")
        ktap.equal(attached_now(), [], "attached")
        for path in paths:
            must_be_clean(path)


# ---- who keeps it, and for how long ---------------------------------------------------------

def detached_in(node, status=ctl.DONE):
    """Seconds that it took, and what was said."""
    begin = time.monotonic()
    said = ctl.run("detach", node, status=status).stderr
    return time.monotonic() - begin, said


@ktap.case
def opened_for_a_while():
    """As udev and others do, who look into it: for these it waits, for a second say."""
    with containers() as (path,), udev.asleep():
        node = ctl.line("attach", path)
        looking = os.open(node, os.O_RDONLY | os.O_CLOEXEC)
        letting_go = threading.Timer(1, os.close, (looking,))
        letting_go.start()
        took, _ = detached_in(node)
        letting_go.join()
        ktap.check(0.9 < took < 5, f"it took {took:.1f} s")


@ktap.case
def opened_for_ever():
    with containers() as (path,), udev.asleep():
        node = ctl.line("attach", path)
        with opened(node, os.O_RDONLY):
            took, said = detached_in(node, ctl.FAILED)
        ktap.check(4.9 < took < 15, f"it took {took:.1f} s")
        ktap.check("busy" in said and node in said, said)
        ktap.equal(attached_now(), [0], "attached")


@contextlib.contextmanager
def mounted(node, where):
    """A file system."""
    with filesystem.mounted_at(node, where):
        yield f"{node} is mounted on {where}"


@contextlib.contextmanager
def swapped(node, _):
    """Swap."""
    with filesystem.swap(node):
        yield f"{node} is used as swap"


@contextlib.contextmanager
def mapped(node, _):
    """A linear device on it."""
    with mapper.mapped("held", f"0 2048 linear {node} 0") as above:
        yield f"{node} is used by {above.removeprefix('/dev/')}"


@ktap.case
def at_once():
    """Nobody has a disk open that was attached just now, neither does the driver."""
    with containers() as (path,), udev.asleep(), Control() as control:
        for _ in range(10):
            with opened(path, os.O_RDWR) as fd:
                control.detach(control.attach(fd).index)


@ktap.case
def held():
    """What keeps a disk until an administrator ends it is named and not waited for; once it
    has let go, udev's look at the disk is waited for."""
    with containers() as (path,):
        for held_by, partition in ((mounted, False), (mounted, True), (swapped, False),
                                   (mapped, True)):
            node = ctl.line("attach", path)
            if partition:
                images.command("sfdisk", "-q", node, stdin="1M,20M\n")
                udev.settle()
            with held_by(f"{node}p1" if partition else node, path.with_name("a b")) as holder:
                took, said = detached_in(node, ctl.FAILED)
                ktap.check(took < 3, f"{holder}: it took {took:.1f} s")
                ktap.check(holder.replace("/a b", r"/a\040b") in said,
                           f"{said}: not {holder}")
            detached_in(node)


# ---- at the last close --------------------------------------------------------------------

@ktap.case
def autoclear_after_umount():
    with containers() as (path,):
        node = ctl.line("attach", "--autoclear", path)
        udev.settle()
        for _ in range(5):
            os.close(os.open(node, os.O_RDONLY))
        time.sleep(1.5)
        ktap.equal(attached_now(), [0], "attached: it was only looked at")
        images.command("mkfs.ext4", "-q", "-F", node)
        wait_until_gone()
        must_be_clean(path)
        node = ctl.line("attach", "--autoclear", "--track", path)
        where = path.with_name("mount")
        where.mkdir()
        images.command("mount", node, where)
        (where / "file").write_bytes(b"x" * 100000)
        ctl.run("detach", node, status=ctl.FAILED)
        images.command("umount", where)
        wait_until_gone()
        must_be_clean(path)
        with attached(path) as disk:
            ktap.equal(disk.sysfs("reason"), "none", "reason")
            ktap.check(disk.handle.changes(disk.handle.ids()[0]), "no changes are known")


@ktap.case
def autoclear_of_a_partition():
    with containers() as (path,):
        with attached(path) as disk:
            images.command("sfdisk", "-q", disk.node, stdin="1M,20M\n")
            udev.settle()
            images.command("mkfs.ext4", "-q", "-F", f"{disk.node}p1")
            udev.settle()
        node = ctl.line("attach", "--autoclear", "--read-only", path)
        udev.settle()
        where = path.with_name("mount")
        where.mkdir()
        images.command("mount", "-o", "ro,noload", f"{node}p1", where)
        ktap.equal(attached_now(), [0], "attached")
        images.command("umount", where)
        wait_until_gone()


def lock_of(path, kind):
    """Takes a byte of a file as QEMU does, on a descriptor that is returned; None: it is taken."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.fcntl(fd, F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, 100, 1, 0))
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


@ktap.case
def autoclear_frees_the_container_first():
    """Whoever gets the index finds no locks, and no claim, of the disk that had it."""
    with containers(40, 4 * MIB) as paths, udev.asleep(), Control() as control, \
            opened(images.create(paths[0].with_name("next.vhdx"), 4 * MIB, block_size=MIB),
                   os.O_RDONLY) as successor:
        late, rounds = 0, 5 if ktap.LONG else 2
        for _ in range(rounds):
            for index, path in enumerate(paths):
                container = lock_of(path, fcntl.F_WRLCK)
                take_index(control, container, index, uapi.ATTACH_AUTOCLEAR)
                os.close(container)
            for index, _ in enumerate(paths):
                os.close(os.open(f"/dev/vhdx{index}", os.O_RDWR))
            for index, path in enumerate(paths):
                take_index(control, successor, index, uapi.ATTACH_READ_ONLY)
                free = lock_of(path, fcntl.F_WRLCK)
                if free is None:
                    late += 1
                else:
                    os.close(free)
            for index, _ in enumerate(paths):
                detach_index(control, index)
        ktap.equal(late, 0, f"of {rounds * len(paths)} containers were locked still")


def take_index(control, container, index, flags):
    """Attaches as soon as the index is free: the disk that had it may be going still."""
    end = time.monotonic() + 20
    while True:
        try:
            return control.attach(container, flags=flags, index=index)
        except Failure as failure:
            ktap.check(failure.errno == errno.EBUSY and time.monotonic() < end, control.message)


def attach_again(control, container):
    """The disk is gone from sight a moment before its container is free."""
    for _ in range(100):
        with contextlib.suppress(Failure):
            return control.attach(container, flags=uapi.ATTACH_AUTOCLEAR)
        time.sleep(0.05)
    raise AssertionError(control.message)


@ktap.case
def autoclear_beside_detach():
    """Who is last, and who detaches, meet in all ways; each attach ends in one detach."""
    with containers() as (path,), Control() as control, opened(path) as container:
        for number in range(24):
            index = attach_again(control, container).index
            node = f"/dev/vhdx{index}"

            def use():
                with contextlib.suppress(OSError):
                    for _ in range(3):
                        os.close(os.open(node, os.O_RDWR))
            users = [threading.Thread(target=use) for _ in range(3)]
            for one in users:
                one.start()
            if number % 3 == 1:
                with contextlib.suppress(Failure):
                    control.detach(index)
            for one in users:
                one.join()
            if number % 3 == 2:
                time.sleep(0.95 + number / 100)
            if number % 3:
                with contextlib.suppress(Failure):
                    detach_index(control, index)
            wait_until_gone()


# ---- a sidecar that does not keep what it was told -------------------------------------------

LEAF = 128 * MIB
REGION = 4 * MIB
AROUND = "/sys/module/vhdx/parameters/regions_around"


@contextlib.contextmanager
def written_with_spoilt_sidecar(spoil):
    """(container, sidecar, device) of a tracked disk whose sidecar was spoilt, and which was
    written then: in the first unit of many leaves of the live delta. Regions around are not set,
    however fast one write follows the other."""
    with knob.turned(AROUND, "1"), filesystem.mounted("tmpfs", 8 * MIB) as where, \
            containers(size=8192 * MIB) as (path,):
        lrct = where / "the.lrct"
        device = ctl.line("attach", "--track", "--sidecar", lrct, "--unit", 4096, path)
        disk = os.open(device, os.O_RDWR | os.O_SYNC)
        os.pwrite(disk, b"a" * 4096, 0)
        spoil(lrct)
        for number in range(64):
            os.pwrite(disk, b"b" * 4096, number * LEAF)
        os.close(disk)
        yield path, lrct, device


def removed(*which):
    """Detach works, and says what was lost."""
    with written_with_spoilt_sidecar(pathlib.Path.unlink) as (path, lrct, device):
        said = ctl.run("detach", *which or (device,)).stderr
        ktap.check("warning: " in said and f"{device}: detached, but" in said and
                   "make a full backup" in said and str(lrct) in said, f"detach says {said!r}")
        must_be_clean(path)


ktap.add("sidecar_is_removed", removed)
ktap.add("sidecar_is_removed_all", removed, "--all")


@ktap.case
def sidecar_is_full():
    """What was written can't be saved: the regions that are set say it, and more, of which detach
    warns; nothing is lost."""
    hog = []

    def fill(lrct):
        hog.append(lrct.with_name("hog"))
        filesystem.fill_up(hog[0])
    with written_with_spoilt_sidecar(fill) as (path, lrct, device):
        said = ctl.run("detach", device).stderr
        ktap.check("warning: " in said and "tells more than was written" in said and
                   "is full" in said, f"detach says {said!r}")
        must_be_clean(path)
        for full, length in ((True, REGION), (False, REGION)):
            with attached(path, "--sidecar", lrct) as disk:
                point = disk.handle.ids()[0]
                ktap.equal(disk.handle.changes(point),
                           [(number * LEAF, length) for number in range(64)], "changes")
                ktap.equal({page["coarse"] for page in
                            disk.handle.pages(point, uapi.NOW, 0, None, 4096)}, {True}, "coarse")
                if full:
                    hog[0].unlink()
                    disk.write(0, b"c" * 4096)
                else:
                    ktap.equal(disk.sysfs("coarse_regions"), "0", "regions that are set")


@ktap.case
def sidecar_is_removed_without_a_write():
    """By ioctl: it works, with a reason and a text."""
    with containers() as (path,), Control() as control:
        lrct = path.with_name("the.lrct")
        with attached(path, "--track", "--sidecar", lrct):
            pass
        with opened(path) as container, opened(lrct) as sidecar:
            index = control.attach(container, sidecar).index
        lrct.unlink()
        message = ctypes.create_string_buffer(256)
        detach = uapi.Detach(index=index, message=ctypes.addressof(message),
                             message_capacity=len(message))
        ktap.eventually(lambda: ioctl(control.fd, uapi.DETACH, detach) != errno.EBUSY,
                        "it is detached")
        ktap.equal((detach.reason, attached_now()), (uapi.TRACKING_ERROR, []), "reason, disks")
        ktap.check(lrct.name in message.value.decode(), message.value)


# ---- a disk whose container does not answer -------------------------------------------------

@ktap.case
def stuck_disk_keeps_no_other():
    """Somebody reads its partitions, and somebody detaches it: other disks come and go."""
    with images.directory() as directory, slow.device(directory / "backing", 64 * MIB) as below, \
            udev.asleep():
        images.create(below.path, 32 * MIB, block_size=MIB, fixed=True)
        other = images.create(directory / "other.vhdx", 16 * MIB, block_size=MIB)
        with raw_attached(below.path) as disk, Control() as control:
            below.delay(read=15000)
            reading = threading.Thread(target=images.command,
                                       args=("blockdev", "--rereadpt", disk.node))
            reading.start()
            time.sleep(2)
            numbers = []
            detaching = threading.Thread(target=lambda: numbers.append(
                ioctl(control.fd, uapi.DETACH, uapi.Detach(index=disk.index))))
            detaching.start()
            time.sleep(0.5)
            begin = time.monotonic()
            with raw_attached(other):
                pass
            took = time.monotonic() - begin
            stuck = reading.is_alive()
            # What is read arrives.
            below.delay()
            detaching.join()
            reading.join()
            ktap.check(took < 5, f"another disk took {took:.1f} s")
            ktap.check(stuck, "partitions were read: nothing was tested")
            ktap.equal(numbers, [errno.EBUSY], "errno of detach")


ktap.main()
