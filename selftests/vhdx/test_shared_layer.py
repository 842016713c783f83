#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_shared_layer - one container that several disks read
#
# What is known of it is in memory once, and each disk has its own descriptor of it: any of them
# can go at any time, and what happens to the container happens to all.
#
# vm: full=6.1:workers*+two_attaches*+written_in* takes=15
import contextlib
import errno
import os
import pathlib
import re
import signal
import sys
import threading
import uuid
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import dm, faulty, images, judge, ktap, mapper, uapi, udev  # noqa: E402
from vhdxtest.device import Control, outcome  # noqa: E402
from vhdxtest.disk import (Disk, attach_once, attached, detach_index, opened,  # noqa: E402
                           raw_attached, uses_of_the_driver)
from vhdxtest.images import KIB, MIB, forget_pages  # noqa: E402
from vhdxtest.kernel_log import KernelLog  # noqa: E402
import vhdxoracle  # noqa: E402
from vhdxoracle.log import Ring  # noqa: E402

# Its BAT has several pages; what looks for partitions needs the first one only.
DISK = 1024 * MIB
FAR = 900 * MIB
BLOCKS = 4
CONTENT = judge.pattern(1, BLOCKS * MIB)
READ_ONLY = uapi.ATTACH_READ_ONLY


def make(path):
    """A container with some blocks at its beginning, and one far from there."""
    return images.create(path, DISK, MIB, content=[(0, CONTENT), (FAR, CONTENT[:MIB])])


def reading(path, sidecar=None, flags=0):
    """A disk that reads it."""
    return raw_attached(path, sidecar, READ_ONLY | flags)


def reads_right(disk, content=CONTENT):
    """Some of each block that is there, and of one that is not."""
    ktap.check(disk.read(FAR, 16 * KIB) == CONTENT[:16 * KIB], "content far away")
    for at in range(0, len(content), MIB):
        ktap.check(disk.read(at, 16 * KIB) == content[at:at + 16 * KIB], f"content at {at}")
    ktap.check(not any(disk.read(8 * MIB, 16 * KIB)), "what is nowhere")


@contextlib.contextmanager
def on_device():
    """A container on a device, and ranges of it: all but headers and payload."""
    with images.directory() as scratch, faulty.device(scratch / "backing", 32 * MIB) as device:
        make(device.path)
        with vhdxoracle.Editor(device.path) as edit:
            structures = [(region.offset, region.length) for region in edit.regions]
        yield device, [(192 * KIB, 128 * KIB), *structures]


# ---- memory ---------------------------------------------------------------------------------

@ktap.case
def what_one_read_all_know():
    """Nothing but the header is read for those who come later; for the first after the last
    there is nothing left."""
    with on_device() as (device, structures):
        with contextlib.ExitStack() as first:
            reads_right(first.enter_context(reading(device.path)))
            device.fail(*structures)
            with reading(device.path) as second:
                reads_right(second)
                first.close()
                with reading(device.path) as third:
                    reads_right(third)
                reads_right(second)
        ktap.equal(outcome(attach_once, device.path, None, READ_ONLY)[0], errno.EIO, "the next")


@ktap.case
def two_attaches_at_once():
    """Both find nobody, and the one that is done later takes what the other one has."""
    with on_device() as (device, structures), contextlib.ExitStack() as disks:
        found = []

        def attach():
            found.append(disks.enter_context(reading(device.path)))

        threads = [threading.Thread(target=attach) for _ in range(2)]
        with mapper.hanging(device.name):
            for thread in threads:
                thread.start()
            for thread in threads:
                mapper.wait_until_stuck(thread)
        for thread in threads:
            thread.join()
        reads_right(found[0])
        device.fail(*structures)
        reads_right(found[1])


def is_stuck(pid):
    """A process that waits where no signal ends it."""
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    return stat.rpartition(")")[2].split()[0] == "D"


@ktap.case
def what_a_killed_task_read_is_for_nobody():
    """The attach ends before it looks at the sidecar, which would keep it."""
    with on_device() as (device, _), images.directory() as scratch, \
            faulty.device(scratch / "side", 16 * MIB, "side") as side:
        uses = uses_of_the_driver()
        with mapper.hanging(side.name):
            with mapper.hanging(device.name):
                child = os.fork()
                if not child:
                    try:
                        attach_once(device.path, side.path, READ_ONLY)
                    finally:
                        os._exit(0)
                ktap.eventually(lambda: is_stuck(child), "it waits for the container")
                os.kill(child, signal.SIGKILL)
                ktap.eventually(lambda: os.waitpid(child, os.WNOHANG)[0], "it dies")
                ktap.check(uses_of_the_driver() > uses, "the attach does not wait")
            ktap.eventually(lambda: uses_of_the_driver() == uses, "the attach ends")


@ktap.case
def cut_while_it_is_opened():
    """What is behind the new end was not missed by what was read."""
    with on_device() as (device, _):
        results = []
        thread = threading.Thread(target=lambda: results.append(
            outcome(attach_once, device.path, None, READ_ONLY)))
        with mapper.hanging(device.name):
            thread.start()
            mapper.wait_until_stuck(thread)
            dm.load(device.name, f"0 {31 * MIB // mapper.SECTOR} linear {device.below} 0")
        thread.join()
        ktap.equal(results, [(errno.EIO, uapi.IO)], "attach")
        with reading(device.path) as disk:
            ktap.check(disk.read(0, MIB) == CONTENT[:MIB], "the next")


@ktap.case
def header_that_cannot_be_read():
    """It is not another one: the layer stays for those who can read it."""
    with on_device() as (device, structures), reading(device.path) as first:
        reads_right(first)
        device.fail((64 * KIB, 4 * KIB))
        ktap.equal(outcome(attach_once, device.path, None, READ_ONLY)[0], errno.EIO, "header")
        device.fail(*structures)
        with reading(device.path) as second:
            reads_right(second)


# ---- each for itself ------------------------------------------------------------------------

class Reader(threading.Thread):
    """Somebody who reads a disk all the time, also what is not in memory any more."""

    def __init__(self, disk, content):
        super().__init__()
        self.disk, self.content = disk, content
        self.rounds, self.wrong, self.ends = 0, [], threading.Event()

    def run(self):
        while not self.ends.is_set() and not self.wrong:
            try:
                reads_right(self.disk, self.content)
            except (AssertionError, OSError) as error:
                self.wrong.append(error)
            self.rounds += 1

    def end(self):
        """Nothing was wrong."""
        self.ends.set()
        self.join()
        ktap.check(not self.wrong and self.rounds, f"{self.rounds} rounds, {self.wrong}")


def goes(which, dirty):
    """One of them is detached while both read; the other one reads on."""
    with images.directory() as scratch, Control() as control:
        path = make(scratch / "disk.vhdx")
        content = CONTENT
        if dirty:
            vhdxoracle.dirty(path, [(4 * MIB, judge.pattern(2, MIB))])
            content += judge.pattern(2, MIB)
        readers = []
        with opened(path, os.O_RDONLY) as one, opened(path, os.O_RDONLY) as other:
            for fd in (one, other):
                index = control.attach(fd, -1, READ_ONLY).index
                readers.append(Reader(Disk(index, path, True), content))
        for reader in readers:
            reader.start()
        for number in (which, 1 - which):
            forget_pages()
            seen = readers[number].rounds
            ktap.eventually(lambda r=readers[number], n=seen: r.rounds > n + 2 or r.wrong, "it reads")
            readers[number].end()
            readers[number].disk.close()
            detach_index(control, readers[number].disk.index)


for one_of_them, name in enumerate(("first", "second")):
    ktap.add(f"{name}_goes", goes, one_of_them, False)
    ktap.add(f"{name}_goes_with_a_log", goes, one_of_them, True)


@ktap.case
def descriptors_are_their_own():
    """What a disk was given is let go of when it is detached: locks, and a mount; and it makes no
    difference how it was opened."""
    with images.directory() as scratch:
        path = make(scratch / "disk.vhdx")
        mount = scratch / "mount"
        mount.mkdir()
        images.command("mount", "--bind", scratch, mount)
        try:
            with contextlib.ExitStack() as first:
                there = first.enter_context(attached(mount / "disk.vhdx", "--read-only"))
                alone = len(images.locks_of(path))
                with attached(path, "--read-only") as here:
                    ktap.equal(len(images.locks_of(path)), 2 * alone, "locks")
                    ktap.equal([there.sysfs("container"), here.sysfs("container")],
                               [str(mount / "disk.vhdx"), str(path)], "names")
                    first.close()
                    ktap.equal(len(images.locks_of(path)), alone, "locks of the other")
                    images.command("umount", mount)
                    forget_pages()
                    reads_right(here)
                    with Control() as control, opened(path, os.O_RDONLY | os.O_DIRECT) as fd:
                        direct = Disk(control.attach(fd, -1, READ_ONLY).index, path, True)
                        ktap.equal(direct.sysfs("io"), here.sysfs("io"), "io")
                        reads_right(direct)
                        direct.close()
                        detach_index(control, direct.index)
        finally:
            images.command("umount", mount, check=False)


# ---- what happens to the container ------------------------------------------------------------

@ktap.case
def lost_for_all():
    """It is cut. One of them sees it, and all fail, each with its own gap and its own message."""
    with images.directory() as scratch:
        path = make(scratch / "disk.vhdx")
        sidecar = scratch / "sidecar"
        with raw_attached(path) as disk:
            with opened(sidecar, os.O_RDWR | os.O_CREAT) as fd:
                point = disk.handle.enable(fd)
        with reading(path, sidecar) as one, reading(path, sidecar) as other:
            for disk in (one, other):
                reads_right(disk)
            os.truncate(path, path.stat().st_size - MIB)        # the block that is far away
            with KernelLog() as log:
                ktap.equal(outcome(one.read, 0, 4096), (errno.EIO, None), "who sees it")
                ktap.equal(other.sysfs("poisoned"), "1", "the other one")
                for disk in (one, other):
                    ktap.equal(outcome(disk.handle.changes, point),
                               (errno.ESTALE, uapi.CHANGED_OFFLINE), "changes")
                said = [text for level, text in log.records() if level <= 3]
            for disk in (one, other):
                ktap.equal(sum(f"vhdx{disk.index}: the container was cut" in text for text in said), 1,
                           f"messages: {said}")
                ktap.check(disk.handle.info().disk_flags & uapi.DISK_LOST, "flags")
                ktap.equal(outcome(disk.read, 0, 4096), (errno.EIO, None), "read")
                ktap.equal(outcome(disk.data.flush), (errno.EIO, None), "flush")
            # Whoever comes now finds a container that is as long as it is.
            with reading(path) as third:
                ktap.check(third.read(0, MIB) == CONTENT[:MIB], "what is left")
                ktap.equal(third.sysfs("poisoned"), "0", "the one that came later")


@ktap.case
def lost_and_gone():
    """Each says it once, also when it is detached as soon as it is lost."""
    with images.directory() as scratch, KernelLog() as log:
        path = make(scratch / "disk.vhdx")
        with contextlib.ExitStack() as disks:
            all_of_them = [disks.enter_context(reading(path)) for _ in range(4)]
            os.truncate(path, path.stat().st_size - MIB)
            outcome(all_of_them[0].read, 0, 4096)
        said = [text for level, text in log.records() if level <= 3]
        for disk in all_of_them:
            ktap.equal(sum(f"vhdx{disk.index}: the container was cut" in text for text in said), 1,
                       f"messages: {said}")


@ktap.case
def workers_say_it():
    """Not who sees it, for all: a slow console would hold his CPU for minutes."""
    tracing = pathlib.Path("/sys/kernel/tracing")
    event = tracing / "events/printk/console/enable"
    if not event.exists():
        ktap.skip("this kernel does not trace its messages")
    with images.directory() as scratch:
        path = make(scratch / "disk.vhdx")
        with reading(path) as one, reading(path):
            (tracing / "trace").write_text("", encoding="ascii")
            event.write_text("1", encoding="ascii")
            try:
                os.truncate(path, path.stat().st_size - MIB)
                outcome(one.read, 0, 4096)
                trace = tracing / "trace"
                ktap.eventually(lambda: trace.read_text().count("the container was cut") == 2,
                                "both say it")
                by = re.findall(r"^ *(\S+)-\d+ .*the container was cut", trace.read_text(), re.M)
            finally:
                event.write_text("0", encoding="ascii")
        ktap.check(len(by) == 2 and all(one.startswith("kworker") for one in by), f"said by {by}")


@ktap.case
def nothing_to_allocate():
    """An entry of the BAT that is no good is nobody's concern who only reads."""
    with images.directory() as scratch:
        path = make(scratch / "disk.vhdx")
        with vhdxoracle.Editor(path) as edit:
            edit.put_bat(edit.geometry.payload_index(9), 5)
        with KernelLog() as log, reading(path) as one, reading(path) as other:
            for disk in (one, other):
                reads_right(disk)
                ktap.equal(outcome(disk.read, 9 * MIB, 4096), (errno.EIO, None), "bad entry")
                ktap.check("BAT entry 9" in disk.sysfs("scan"), "scan")
            log.expect_quiet(("I/O error",))


@ktap.case
def header_of_another_program():
    """It has written one copy of the header, and then data: who comes now has a gap."""
    with images.directory() as scratch:
        path = make(scratch / "disk.vhdx")
        sidecar = scratch / "sidecar"
        with raw_attached(path) as disk, opened(sidecar, os.O_RDWR | os.O_CREAT) as fd:
            point = disk.handle.enable(fd)
        with reading(path, sidecar) as first:
            ktap.equal(outcome(first.handle.changes, point), None, "changes")
            with vhdxoracle.Editor(path) as edit:
                edit.update_one_header(data_write_guid=uuid.uuid4(), file_write_guid=uuid.uuid4())
            with reading(path, sidecar) as second:
                ktap.equal(images.uuid_of(second.handle.info().data_write_guid),
                           edit.header.data_write_guid, "DataWriteGuid")
                ktap.equal(outcome(second.handle.changes, point),
                           (errno.ESTALE, uapi.CHANGED_OFFLINE), "changes")


@ktap.case
def log_of_another_program():
    """Its header is the same from the first entry of the log to the last."""
    with images.directory() as scratch:
        path = make(scratch / "disk.vhdx")
        new = judge.pattern(2, MIB)
        vhdxoracle.dirty(path, [(4 * MIB, new), (5 * MIB, new)])
        with vhdxoracle.Image(path) as image:
            ring = Ring(image.container, image.header.log_offset, image.header.log_length)
            last = max(ring.entries(image.header.log_guid), key=lambda entry: entry.sequence)
            entry = ring.read(last.offset, last.length)
            where = ring.offset + last.offset
        with open(path, "r+b") as file:
            file.seek(where)
            file.write(bytes(len(entry)))
        with reading(path) as first:
            reads_right(first, CONTENT + new + bytes(MIB))
            with open(path, "r+b") as file:
                file.seek(where)
                file.write(entry)
            with reading(path) as second:
                reads_right(second, CONTENT + new + new)


@ktap.case
def written_in_between():
    """By somebody who has no lock: whoever comes then sees what is there then."""
    with images.directory() as scratch:
        path = make(scratch / "disk.vhdx")
        other = images.create(scratch / "other.vhdx", DISK, MIB, seed=2,
                              content=[(9 * MIB, CONTENT), (FAR, CONTENT[:MIB])])
        ktap.equal(other.stat().st_size, path.stat().st_size, "length")
        with reading(path) as before:
            reads_right(before)
            with open(path, "r+b") as file:
                file.write(other.read_bytes())
            with reading(path) as one, reading(path) as two:
                for disk in (one, two):
                    reads_right(disk, bytes(BLOCKS * MIB))
                    ktap.check(disk.read(9 * MIB, MIB) == CONTENT[:MIB], "the new content")


with udev.asleep():
    ktap.main()
