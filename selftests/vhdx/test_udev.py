#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_udev - what udev makes of a disk: the names that other disks have, and who may read it
#
# vm: timeout=400 long=6.12 takes=15
import os
import pathlib
import shutil
import sys
import time
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, ktap, udev  # noqa: E402
from vhdxtest.disk import attached  # noqa: E402
from vhdxtest.images import MIB, command, container  # noqa: E402

RULES = pathlib.Path(__file__).resolve().parents[2] / "userspace/udev/60-vhdx.rules"
BY = pathlib.Path("/dev/disk")


def install_rules():
    """Where an administrator's own are."""
    shutil.copy(RULES, "/etc/udev/rules.d/")
    udev.reload()
    # A daemon that rests with something to do gets a successor here.
    udev.settle()


def wait_for(link, node, patience=60):
    """Nobody tells udev to look: that it comes by itself is what is tested."""
    end = time.monotonic() + patience
    while not (BY / link).exists() or os.path.realpath(BY / link) != node:
        if time.monotonic() > end:
            raise AssertionError(f"{link} is not {node}: {command('ls', '-lR', BY, check=False)}")
        time.sleep(0.1)


def value(node, tag):
    """What blkid finds on a device itself."""
    return command("blkid", "-p", "-s", tag, "-o", "value", node).strip()


@ktap.case
def file_system_on_a_disk():
    """After mkfs, and after another attach."""
    with container(64 * MIB) as path:
        with attached(path) as disk:
            guid = disk.sysfs("virtual_disk_id")
            wait_for(f"by-id/vhdx-{guid}", disk.node)
            command("mkfs.ext4", "-q", "-L", "on vhdx", disk.node)
            wait_for("by-label/on\\x20vhdx", disk.node)
            uuid = value(disk.node, "UUID")
            wait_for(f"by-uuid/{uuid}", disk.node)
            command("mkfs.ext4", "-q", "-F", "-L", "again", disk.node)
            wait_for("by-label/again", disk.node)
        udev.settle()
        ktap.check(not (BY / "by-label/again").exists(), "the link outlives the disk")
        with attached(path) as disk:
            wait_for("by-label/again", disk.node)
            sequence = pathlib.Path(f"/sys/block/vhdx{disk.index}/diskseq").read_text("ascii")
            wait_for(f"by-diskseq/{sequence.strip()}", disk.node)
            ktap.equal(command("lsblk", "-nro", "FSTYPE,LABEL", disk.node), "ext4 again\n")
            where = path.with_name("mounted")
            where.mkdir()
            command("mount", "LABEL=again", where)
            udev.settle()
            command("umount", where)


@ktap.case
def partitions():
    with container(64 * MIB) as path, attached(path) as disk:
        command("sfdisk", "-q", disk.node, stdin="label: gpt\nsize=20M, name=first\nsize=20M\n")
        first, second = f"{disk.node}p1", f"{disk.node}p2"
        wait_for("by-partlabel/first", first)
        for node in (first, second):
            wait_for(f"by-partuuid/{value(node, 'PART_ENTRY_UUID')}", node)
        wait_for(f"by-id/vhdx-{disk.sysfs('virtual_disk_id')}-part2", second)
        # While udev looks at a disk it does not see who closes it.
        udev.settle()
        command("mkfs.ext4", "-q", "-L", "inside", second)
        wait_for("by-label/inside", second)
        wait_for(f"by-uuid/{value(second, 'UUID')}", second)
        udev.settle()


@ktap.case
def copies():
    """A copy takes no name from its original, and says so when it is attached."""
    with container(64 * MIB) as path:
        with attached(path) as disk:
            command("mkfs.ext4", "-q", "-L", "original", disk.node)
        copy = path.with_name("copy.vhdx")
        shutil.copy(path, copy)
        with attached(path) as first:
            by_id = f"by-id/vhdx-{first.sysfs('virtual_disk_id')}"
            wait_for(by_id, first.node)
            wait_for("by-label/original", first.node)
            done = ctl.run("attach", copy)
            second = done.stdout.strip()
            try:
                udev.settle()
                ktap.check(first.node in done.stderr and "copy" in done.stderr,
                           f"stderr: {done.stderr}")
                for link in (by_id, "by-label/original"):
                    ktap.equal(os.path.realpath(BY / link), first.node, link)
                # It is looked at again after each writer.
                os.close(os.open(second, os.O_RDWR))
                time.sleep(1)
                udev.settle()
                ktap.equal(os.path.realpath(BY / by_id), first.node, by_id)
            finally:
                ctl.run("detach", second)


@ktap.case
def readers():
    """Who is in group vhdx-backup asks and copies, and can neither write nor seal."""
    command("groupadd", "--force", "vhdx-backup")
    command("useradd", "--groups", "vhdx-backup", "agent")
    try:
        with container(64 * MIB) as path, attached(path, "--track") as disk:
            command("dd", "if=/dev/urandom", f"of={disk.node}", "bs=64k", "count=1",
                    "oflag=direct")
            udev.settle()
            point = disk.handle.ids()[0]
            for again in (False, True):
                if again:  # the mode of a node is given anew with every event
                    command("udevadm", "trigger", "--action=change", f"--name-match={disk.node}")
                    udev.settle()
                changes = ctl.json("changes", disk.node, "--since", point, user="agent")
                ktap.equal(changes["ranges"], [{"offset": 0, "length": 65536, "zero": False}],
                           "ranges")
                ctl.run("points", disk.node, user="agent")
                copied = path.with_name("copied")
                copied.touch()
                copied.chmod(0o666)
                path.parent.chmod(0o755)
                command("runuser", "-u", "agent", "--", "dd", f"if={disk.node}", f"of={copied}",
                        "bs=64k", "count=1", "iflag=direct")
                ktap.equal(copied.read_bytes(), disk.read(0, 65536), "what the agent copied")
                for words in (["seal"], ["track", "disable"], ["track", "reset"]):
                    refused = ctl.run(*words, disk.node, user="agent", status=ctl.FAILED)
                    ktap.check("permission denied" in refused.stderr, refused.stderr)
                refused = ctl.run("forget", disk.node, point, user="agent", status=ctl.FAILED)
                ktap.check("permission denied" in refused.stderr, refused.stderr)
                said = command("runuser", "-u", "agent", "--", "sh", "-c",
                               f"echo x >{disk.node} || echo refused", check=False)
                ktap.equal(said, "refused\n", "a write")
                ktap.equal(disk.handle.ids(), [point], "points")
                ctl.run("changes", disk.node, "--since", point, user="outsider",
                        status=ctl.FAILED)
                found = os.stat(disk.node)
                ktap.equal((oct(found.st_mode & 0o777), found.st_uid), ("0o660", 0), "mode")
            command("sfdisk", "-q", disk.node, stdin="label: gpt\nsize=20M\n")
            udev.settle()
            command("runuser", "-u", "agent", "--", "dd", f"if={disk.node}p1", "of=/dev/null",
                    "bs=64k", "count=1", "iflag=direct")
            said = command("runuser", "-u", "agent", "--", "sh", "-c",
                           f"echo x >{disk.node}p1 || echo refused", check=False)
            ktap.equal(said, "refused\n", "a write to a partition")
    finally:
        command("userdel", "agent", check=False)
        command("groupdel", "vhdx-backup")


install_rules()
ktap.main()
