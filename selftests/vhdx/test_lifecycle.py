#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_lifecycle - attach, detach, and everything in between that must not go wrong
#
# vm: disk=64M timeout=400 long=uml-lockdep takes=60 full=6.1:detach_with_p*+file_sys*+unload+second_attach_of_a_block*+nodes*+sysfs_is_right
import contextlib
import errno
import os
import pathlib
import re
import select
import shutil
import sys
import threading
import time
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, filesystem, images, ktap, uapi, udev  # noqa: E402
from vhdxtest.device import Control, Handle  # noqa: E402
from vhdxtest.disk import attach, attached, detach, detach_index, opened, raw_attached  # noqa: E402
from vhdxtest.images import KIB, MIB, container  # noqa: E402


# ---- busy -----------------------------------------------------------------------------

@ktap.case
def detach_while_open():
    with container() as path, Control() as control:
        disk = attach(path, "--track")
        udev.settle()
        index, node = disk.index, disk.node
        for flags in (os.O_RDONLY, os.O_RDWR, os.O_RDONLY | os.O_EXCL):
            with opened(node, flags):
                failure = ktap.expect_errno(errno.EBUSY, control.detach, index)
                ktap.equal(failure.reason, uapi.IN_USE, "reason")
                disk.handle.info()
        # The command tries for a few seconds, then gives up; or succeeds as soon as it can.
        with opened(node):
            begin = time.monotonic()
            done = ctl.run("detach", node, status=ctl.FAILED)
            ktap.check(time.monotonic() - begin > 3, "it did not try again")
            ktap.check(node in done.stderr, done.stderr)
        fd = os.open(node, os.O_RDONLY)
        timer = threading.Timer(1.5, os.close, [fd])
        timer.start()
        detach(disk)
        timer.join()
        ktap.expect_errno(errno.ENODEV, control.detach, index)


@ktap.case
def detach_while_mounted():
    with container(64 * MIB) as path:
        disk = attach(path, "--track")
        with filesystem.mounted_at(disk.node, path.with_name("mount")) as where:
            (where / "file").write_bytes(b"x" * 100000)
            ctl.run("detach", disk.node, status=ctl.FAILED)
            (where / "other").write_bytes(b"y" * 100000)
        detach(disk)
        with attached(path) as disk:
            where = path.with_name("mount")
            images.command("mount", "-o", "ro", disk.node, where)
            ktap.equal((where / "other").read_bytes(), b"y" * 100000, "a file")
            images.command("umount", where)


@ktap.case
def detach_with_partitions():
    """They appear, they keep the disk busy, and they are there again after a reattach."""
    with container(64 * MIB) as path:
        disk = attach(path)
        images.command("sfdisk", "-q", disk.node, stdin="1M,20M\n21M,\n")
        udev.settle()
        part = f"{disk.node}p2"
        ktap.check(os.path.exists(part), f"{part} is not there")
        with opened(part):
            with Control() as control:
                ktap.expect_errno(errno.EBUSY, control.detach, disk.index)
        detach(disk)
        ktap.check(not os.path.exists(part), f"{part} is still there")
        with attached(path) as disk:
            part = f"{disk.node}p2"
            ktap.check(os.path.exists(part), f"{part} is not there")
            with filesystem.mounted_at(part, path.with_name("mount")):
                with Control() as control:
                    ktap.expect_errno(errno.EBUSY, control.detach, disk.index)


@ktap.case
def file_system_below_is_free_at_once():
    """When detach returns the kernel has let go of the files: umount does not fail."""
    with images.directory() as directory:
        where = directory / "mount"
        with images.blank_device(128 * MIB) as device:
            for number in range(5):
                with filesystem.mounted_at(device, where):
                    path = images.create(where / "disk.vhdx", 16 * MIB, block_size=MIB)
                    with attached(path, "--track") as disk:
                        disk.write(0, bytes([number]) * 4096)
                        disk.handle.seal()


# ---- descriptors that outlive the disk ----------------------------------------------------

@ktap.case
def open_across_detach():
    with container() as path:
        disk = attach(path, "--track")
        with Handle(disk.char, write=True) as handle, Handle(disk.char) as reading:
            poll = select.poll()
            poll.register(handle.fd, select.POLLIN)
            ktap.equal(poll.poll(0), [], "poll of an attached disk")
            woken = []
            waiter = threading.Thread(target=lambda: woken.extend(poll.poll(30000)))
            waiter.start()
            time.sleep(0.2)
            ktap.check(waiter.is_alive(), "poll returned before detach")
            index = disk.index
            detach(disk)
            waiter.join()
            ktap.check(woken and woken[0][1] & select.POLLHUP, f"poll says {woken}")
            for one in (handle, reading):
                for call in (one.info, one.state, one.points):
                    ktap.expect_errno(errno.ENODEV, call)
            ktap.check(not os.path.exists(f"/dev/vhdxc{index}"), "the node is still there")
            # Another disk with the same number is another disk.
            with attached(path) as again:
                ktap.equal(again.index, index, "index")
                ktap.expect_errno(errno.ENODEV, handle.info)
                ktap.expect_errno(errno.ENODEV, handle.seal)
                ktap.equal(len(again.handle.ids()), 1, "points")
                ktap.equal(poll.poll(0)[0][1] & select.POLLHUP, select.POLLHUP, "poll")


@ktap.case
def unload():
    """Not while a disk is attached or a node is open; then at once."""
    with container() as path:
        disk = attach(path)
        ktap.check("in use" in refuse_unload(), "rmmod says something else")
        ktap.equal(disk.handle.info().virtual_disk_size, 16 * MIB, "size")
        handle = Handle(disk.char)
        detach(disk)
        refuse_unload()
        handle.close()
        images.command("rmmod", "vhdx")
        ktap.check(not os.path.exists("/dev/vhdx-control"), "the control device is still there")
        ktap.check(not os.path.exists("/sys/class/vhdx"), "the class is still there")
        images.command("modprobe", "vhdx")
        ktap.check(os.path.exists("/dev/vhdx-control"), "no control device")


def refuse_unload():
    """rmmod fails; what it says."""
    text = images.command("sh", "-c", "rmmod vhdx 2>&1 && echo UNLOADED || true")
    ktap.check("UNLOADED" not in text, "the module was unloaded under its users")
    return text


# ---- the same container twice ---------------------------------------------------------------

def refuse_second(path, disk):
    """Attaching once more fails, by the command and by the bare ioctl; both name the disk."""
    for options in ((), ("--read-only",)):
        done = ctl.run("attach", *options, path, status=ctl.FAILED)
        ktap.check(disk.node in done.stderr, done.stderr)
    with Control() as control, opened(path) as fd:
        for flags in (0, uapi.ATTACH_READ_ONLY):
            failure = ktap.expect_errno(errno.EBUSY, control.attach, fd, flags=flags)
            ktap.equal(failure.reason, uapi.IN_USE, "reason")
            ktap.check(disk.node in control.message, control.message)


@ktap.case
def second_attach_of_a_file():
    with container() as path:
        names = [path.with_name("hard"), path.with_name("soft"), path.with_name("bind")]
        os.link(path, names[0])
        names[1].symlink_to(path)
        names[2].touch()
        images.command("mount", "--bind", path, names[2])
        try:
            with attached(path) as disk:
                for name in (path, *names):
                    refuse_second(name, disk)
                    # And it is found by each of its names.
                    ktap.equal(ctl.json("info", name)["disk"], disk.index, f"{name}")
            with attached(names[0]) as disk:
                refuse_second(path, disk)
        finally:
            images.command("umount", names[2])


@ktap.case
def second_attach_of_a_block_device():
    device = os.environ["VHDX_DISK0"]
    images.command("blkdiscard", "--zeroout", device)
    images.create(device, 16 * MIB, block_size=MIB)
    with images.directory() as directory, attached(device) as disk:
        found = os.stat(device)
        other = directory / "other-node"
        os.mknod(other, found.st_mode, found.st_rdev)
        for name in (device, other):
            refuse_second(name, disk)
        # Nobody mounts or claims what we hold.
        text = images.command("sh", "-c", f"mkfs.ext4 -q {device} 2>&1 </dev/null; echo $?")
        ktap.check(not text.endswith("\n0\n") and text != "0\n", f"mkfs over it: {text}")


@ktap.case
def many_readers():
    """Read-only twice is fine; a writer beside a reader is not, nor the other way round."""
    with container() as path:
        with attached(path, "--track") as disk:
            disk.write(0, b"x" * 512)
        lrct = f"{path}.lrct"
        with attached(path, "--read-only") as one, attached(path, "--read-only") as two:
            ktap.check(one.index != two.index, "both have the same index")
            point = one.handle.ids()[0]
            for disk in (one, two):
                ktap.equal(disk.handle.changes(point), [(0, 16 * KIB)], "changes")
                ktap.equal(disk.read(0, 512), b"x" * 512, "data")
            done = ctl.run("attach", path, status=ctl.FAILED)
            ktap.check("use" in done.stderr or "attached" in done.stderr, done.stderr)
            with Control() as control, opened(path) as fd, opened(lrct) as lrct_fd:
                ktap.expect_errno(errno.EBUSY, control.attach, fd, lrct_fd)


# ---- QEMU -----------------------------------------------------------------------------------

def qemu_status(*words):
    """Exit status of one of QEMU's tools."""
    return int(images.command("sh", "-c", '"$@" >/dev/null 2>&1; echo $?', "sh", *words))


QEMU_READS = (("qemu-img", "info"), ("qemu-img", "check", "-f", "vhdx"),
              ("qemu-io", "-r", "-f", "vhdx", "-c", "read 0 512"))
QEMU_WRITES = (("qemu-io", "-f", "vhdx", "-c", "write 0 512"),
               ("qemu-img", "check", "-r", "all", "-f", "vhdx"))


@ktap.case
def qemu_and_an_attached_file():
    """QEMU's tools refuse while it is attached, and take it at once after detach."""
    with container() as path:
        for round_ in range(2):
            with attached(path) as disk:
                # Whoever insists on reading may, as long as there is no log to replay.
                ktap.equal(qemu_status("qemu-img", "info", "-U", path), 0, "info -U")
                disk.write(round_ * MIB, b"x" * 512)
                for words in (*QEMU_READS, *QEMU_WRITES):
                    ktap.check(qemu_status(*words, path), f"{words} while it is attached")
            ktap.equal(images.locks_of(path), [], "locks after detach")
            for words in (*QEMU_READS, *QEMU_WRITES):
                ktap.equal(qemu_status(*words, path), 0, f"{words} after detach")
        with attached(path, "--read-only"):
            for words in QEMU_READS:
                ktap.equal(qemu_status(*words, path), 0, f"{words} beside a read-only attach")
            for words in QEMU_WRITES:
                ktap.check(qemu_status(*words, path), f"{words} beside a read-only attach")


@ktap.case
def qemu_and_an_attached_block_device():
    """On a device node QEMU's locks are all there is between us: it opens without O_EXCL."""
    device = os.environ["VHDX_DISK0"]
    images.command("blkdiscard", "--zeroout", device)
    images.create(device, 16 * MIB, block_size=MIB)
    with attached(device) as disk:
        # A block to write to: QEMU allocates behind the end, where a device has nothing.
        disk.write(0, b"x" * 512)
        for words in (*QEMU_READS, *QEMU_WRITES):
            ktap.check(qemu_status(*words, device), f"{words} while it is attached")
    for words in (*QEMU_READS, *QEMU_WRITES):
        ktap.equal(qemu_status(*words, device), 0, f"{words} after detach")
    with images.process("qemu-io", "-f", "vhdx", "-c", "sleep 60000", device):
        images.wait_until_locked(device)
        ctl.run("attach", device, status=ctl.FAILED)
        ctl.run("attach", "--read-only", device, status=ctl.FAILED)


@ktap.case
def attach_while_qemu_has_it():
    with container() as path:
        for options, read_only in (((), ctl.FAILED), (("-r",), ctl.DONE)):
            with images.process("qemu-io", *options, "-f", "vhdx", "-c", "sleep 60000", path):
                images.wait_until_locked(path)
                done = ctl.run("attach", path, status=ctl.FAILED)
                ktap.check("in use" in done.stderr and str(path) in done.stderr, done.stderr)
                done = ctl.run("attach", "--read-only", path, status=read_only)
                if done.stdout:
                    ctl.run("detach", done.stdout.strip())
        socket = path.with_name("socket")
        with images.process("qemu-nbd", "-f", "vhdx", "-k", socket, path):
            images.wait_until_locked(path)
            ctl.run("attach", path, status=ctl.FAILED)
        ktap.eventually(lambda: not images.locks_of(path), "QEMU has let go")
        with attached(path):
            pass


@ktap.case
def qemu_and_a_parent():
    """Both read it, and nobody writes it, whoever was first."""
    with container() as path:
        child = path.with_name("child.vhdx")
        ctl.run("create", "--parent", path, child)
        with attached(child):
            for words in QEMU_READS:
                ktap.equal(qemu_status(*words, path), 0, f"{words} of a parent")
            for words in QEMU_WRITES:
                ktap.check(qemu_status(*words, path), f"{words} of a parent")
        for options, status in (((), ctl.FAILED), (("-r",), ctl.DONE)):
            with images.process("qemu-io", *options, "-f", "vhdx", "-c", "sleep 60000", path):
                images.wait_until_locked(path)
                done = ctl.run("attach", child, status=status)
                if done.stdout:
                    ctl.run("detach", done.stdout.strip())
        ktap.eventually(lambda: not images.locks_of(path), "QEMU has let go")


# ---- numbers -----------------------------------------------------------------------------

@ktap.case
def wanted_index():
    with container() as path, container() as other:
        for index in (0, 7, 4095):
            with attached(path, "--index", index) as disk:
                ktap.equal(disk.node, f"/dev/vhdx{index}", "node")
                ctl.run("attach", "--index", index, other, status=ctl.FAILED)
                with attached(other) as second:
                    ktap.equal(second.index, 1 if index == 0 else 0, "the first free index")
        with raw_attached(path, index=5) as disk:
            ktap.equal(disk.index, 5, "index")


@ktap.case
def twenty_times():
    with container() as path:
        begin = time.monotonic()
        for number in range(20):
            with attached(path, *(["--track"] if not number else [])) as disk:
                ktap.equal(disk.index, 0, "index")
                if number % 5 == 0:
                    disk.write(number * 16 * KIB, b"x" * 512)
                    disk.handle.seal(f"{number}")
        ktap.diag(f"{(time.monotonic() - begin) / 20:.2f} s each")
        points = ctl.json("points", path)["points"]
        ktap.equal([one["label"] for one in points][1:], [f"{n}" for n in range(0, 20, 5)])


@ktap.case
def nodes_can_be_opened_when_attach_returns():
    """Without waiting for udev, by the ioctl too; and they are gone when detach returns."""
    with container() as path, Control() as control, opened(path) as fd:
        for _ in range(30):
            index = control.attach(fd).index
            os.close(os.open(f"/dev/vhdx{index}", os.O_RDWR))
            os.close(os.open(f"/dev/vhdxc{index}", os.O_RDWR))
            detach_index(control, index)
            for node in (f"/dev/vhdx{index}", f"/dev/vhdxc{index}"):
                ktap.check(not os.path.exists(node), f"{node} is still there")


@ktap.case
def forty_disks():
    with images.directory() as directory:
        paths = [images.create(directory / f"{number}.vhdx", 4 * MIB, block_size=MIB)
                 for number in range(40)]
        disks = [attach(path, "--track") for path in paths]
        try:
            ktap.equal([disk.index for disk in disks], list(range(40)), "indices")
            for disk in disks:
                disk.write(MIB, disk.index.to_bytes(2, "little") * 256)
            # All of them at one instant.
            points = Control.seal_of(*(disk.handle for disk in disks), label="all")
            ktap.equal(len(set(points)), 40, "ids")
            shown = ctl.json("list")["list"]
            ktap.equal([one["disk"] for one in shown], list(range(40)), "list")
            ktap.equal({one["tracking"] for one in shown}, {"on"}, "tracking")
            for disk, point in zip(disks, points):
                ktap.equal(disk.handle.changes(point), [], "changes")
                ktap.equal(disk.handle.changes(disk.handle.ids()[0]), [(MIB, 16 * KIB)])
                ktap.equal(disk.read(MIB, 512), disk.index.to_bytes(2, "little") * 256, "data")
        finally:
            for disk in disks:
                detach(disk)
        ktap.equal(ctl.json("list")["list"], [], "disks that are left")


@ktap.case
def attach_and_detach_by_many():
    """Several at once want the same container: one gets it, and nothing is left behind."""
    with container() as path:
        outcome = []

        def work():
            for _ in range(8):
                done = ctl.run("attach", path, status=None)
                outcome.append(done.returncode)
                if not done.returncode:
                    ctl.run("detach", done.stdout.strip())
        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        ktap.diag(f"{outcome.count(0)} of {len(outcome)} attached")
        ktap.check(set(outcome) <= {ctl.DONE, ctl.FAILED} and ctl.DONE in outcome, outcome)
        ktap.equal(ctl.json("list")["list"], [], "disks that are left")
        ktap.equal(images.locks_of(path), [], "locks that are left")


# ---- a disk on itself -------------------------------------------------------------------------

@ktap.case
def sidecar_on_its_own_disk():
    with container(64 * MIB) as path, attached(path) as disk:
        with filesystem.mounted_at(disk.node, path.with_name("mount")) as where:
            done = ctl.run("track", "enable", "--sidecar", where / "lrct", disk.node,
                           status=ctl.FAILED)
            ktap.check("on the disk that it is to track" in done.stderr, done.stderr)
            ktap.check(not (where / "lrct").exists(), "a sidecar is left behind")
            lrct = where / "own"
            lrct.touch()
            with opened(lrct) as fd:
                ktap.expect_errno(errno.ELOOP, disk.handle.enable, fd)
        with opened(disk.node) as fd:
            ktap.expect_errno((errno.ELOOP, errno.EBUSY), disk.handle.enable, fd)


@ktap.case
def sidecar_on_a_disk_above():
    """The disk lies on another disk of ours, and its sidecar is to be there where it leads."""
    with container(256 * MIB) as path, attached(path) as below:
        with filesystem.mounted_at(below.node, path.with_name("mount")) as where:
            inner = images.create(where / "inner.vhdx", 64 * MIB, block_size=MIB)
            with attached(inner) as above, \
                    filesystem.mounted_at(above.node, path.with_name("above")) as top:
                lrct = top / "lrct"
                lrct.touch()
                with opened(lrct) as fd:
                    ktap.expect_errno(errno.ELOOP, below.handle.enable, fd)
            # Stacked the right way round it works.
            with attached(inner, "--track") as above:
                above.write(0, b"x" * 512)
                ktap.equal(above.handle.changes(above.handle.ids()[0]), [(0, 16 * KIB)])


# ---- sysfs ------------------------------------------------------------------------------------

@ktap.case
def sysfs_is_documented():
    """Every attribute is in Documentation/ABI, and every one that is there exists."""
    text = (pathlib.Path(__file__).resolve().parents[2] /
            "Documentation/ABI/testing/sysfs-block-vhdx").read_text(encoding="utf-8")
    documented = {match[1] for match in re.finditer(
        r"^What:\s+/sys/block/vhdx<N>/vhdx/(\w+)$", text, re.MULTILINE)}
    with container() as path, attached(path, "--track") as disk:
        here = pathlib.Path(f"/sys/block/vhdx{disk.index}/vhdx")
        found = {one.name for one in here.iterdir()}
        ktap.equal(found, documented, "attributes")
        for name in found:
            # Of these there is none.
            ktap.check(disk.sysfs(name) or name in ("former_sidecar", "holders"),
                       f"{name} is empty")
            ktap.equal(oct((here / name).stat().st_mode & 0o777), oct(0o444), f"mode of {name}")


@ktap.case
def sysfs_is_right():
    with container(sector_size=4096) as path, attached(path, "--track", "--unit", "64K") as disk:
        found = path.stat()
        info = disk.handle.info()
        guid = str(images.uuid_of(info.virtual_disk_id))
        for name, value in (
                ("container", str(path)), ("container_ino", str(found.st_ino)),
                ("container_dev", f"{os.major(found.st_dev)}:{os.minor(found.st_dev)}"),
                ("read_only", "0"), ("poisoned", "0"), ("virtual_disk_id", guid),
                ("block_size", str(MIB)), ("tracking", "on"), ("reason", "none"),
                ("unit", "65536"), ("copy_of", "none")):
            ktap.equal(disk.sysfs(name), value, name)
        ktap.check(disk.sysfs("io") in ("direct", "buffered"), "io")
        disk.write(0, b"x" * 4096)
        ktap.equal(disk.sysfs("scan"), "ok", "scan after the first allocation")
        queue = f"/sys/block/vhdx{disk.index}/queue"
        with open(f"{queue}/logical_block_size", encoding="ascii") as attribute:
            ktap.equal(attribute.read(), "4096\n", "logical_block_size")
        ktap.check(os.path.exists(f"/sys/class/vhdx/vhdxc{disk.index}"), "no class device")
        disk.handle.disable()
        ktap.equal((disk.sysfs("tracking"), disk.sysfs("reason")), ("disabled", "disabled"))
    device = os.environ["VHDX_DISK0"]
    images.command("blkdiscard", "--zeroout", device)
    images.create(device, 16 * MIB, block_size=MIB)
    with attached(device, "--read-only") as disk:
        found = os.stat(device)
        ktap.equal([disk.sysfs(name) for name in ("container", "container_ino", "container_dev",
                                                  "read_only", "io", "tracking", "unit")],
                   [device, "0", f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}", "1",
                    "block", "off", "0"])
        with open(f"/sys/block/vhdx{disk.index}/ro", encoding="ascii") as attribute:
            ktap.equal(attribute.read(), "1\n", "ro")
        try:
            os.close(os.open(disk.node, os.O_RDWR | os.O_DIRECT))
        except OSError:
            pass
        ktap.equal(ctl.json("list")["list"][0]["read_only"], True, "read_only in the list")


@ktap.case
def container_unlinked():
    """What has another name stays when the name that it was attached by is removed."""
    with container() as path:
        other = path.with_name("other")
        with attached(path) as disk:
            os.link(path, other)
            said = [disk.sysfs("container_unlinked")]
            for name in (path, other):
                name.unlink()
                said.append(disk.sysfs("container_unlinked"))
    ktap.equal(said, ["0", "0", "1"], "container_unlinked")


@ktap.case
def copies():
    """Of disks with one VirtualDiskId each tells of the oldest, which may come and go."""
    with container() as path, container() as stranger, contextlib.ExitStack() as stack:
        with attached(path, "--index", 7) as first:
            for name in ("second", "third"):
                shutil.copy(path, path.with_name(name))
            younger = [stack.enter_context(attached(one)) for one in (
                path.with_name("second"), path.with_name("third"), stranger)]

            def said():
                return [disk.sysfs("copy_of") for disk in younger]
            ktap.equal(first.sysfs("copy_of"), "none", "copy_of of the oldest")
            ktap.equal(said(), ["vhdx7", "vhdx7", "none"], "copy_of of the others")
        second = younger[0].node.removeprefix("/dev/")
        ktap.equal(said(), ["none", second, "none"], "copy_of without the oldest")
        with attached(path) as again:
            ktap.equal(again.sysfs("copy_of"), second, "copy_of of the youngest")


@ktap.case
def sysfs_under_way():
    """Readers of every attribute while disks come and go."""
    with container() as path:
        stop = threading.Event()
        faults = []

        def read():
            while not stop.is_set():
                for attribute in pathlib.Path("/sys/block").glob("vhdx*/vhdx/*"):
                    try:
                        attribute.read_text(encoding="utf-8")
                    except OSError as failure:
                        if failure.errno not in (errno.ENOENT, errno.ENODEV):
                            faults.append(f"{attribute}: {failure}")
                ctl.json("list")
        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        try:
            for number in range(12):
                with attached(path, "--track") as disk:
                    disk.write(0, bytes([number]) * 4096)
        finally:
            stop.set()
            for reader in readers:
                reader.join()
        ktap.check(not faults, "\n".join(faults))


ktap.main()
