# SPDX-License-Identifier: GPL-2.0-only
"""A disk goes by its numbers and by its container, whatever that is called."""
import os

from common import ID, Fake, attached, directory, make_image


def disk_of(fake, name):
    return fake.ctl("info", "--json", name).expect(0).json["disk"]


def test_numbers():
    with directory() as path:
        fake = Fake(path)
        fake.ctl("attach", "--index", "3", make_image(path / "a.vhdx")).expect(0)
        for name in ("3", "vhdx3", "/dev/vhdx3"):
            assert disk_of(fake, name) == 3


def test_container():
    with attached() as (fake, image):
        os.link(image, image.parent / "hard")
        os.symlink(image, image.parent / "soft")
        for name in (image, image.parent / "hard", image.parent / "soft",
                     f"{image.parent}/./fake/../disk.vhdx"):
            assert disk_of(fake, name) == 0


def test_another_file():
    with attached() as (fake, image):
        assert disk_of(fake, make_image(image.parent / "other.vhdx")) is None


def test_same_inode_of_another_device():
    with attached() as (fake, image):
        fake.attribute(0, "container_dev", "0:0")
        fake.attribute(0, "container", "/elsewhere")
        assert disk_of(fake, image) is None


def test_device_that_stat_does_not_show():
    """btrfs gives stat(2) another device than the kernel's own."""
    with attached() as (fake, image):
        fake.attribute(0, "container_dev", "0:0")
        assert disk_of(fake, image) == 0


def test_replaced_file():
    """The path in sysfs names another file now: that one is not attached."""
    with attached() as (fake, image):
        os.rename(image, image.parent / "moved.vhdx")
        make_image(image)
        assert disk_of(fake, image.parent / "moved.vhdx") == 0
        assert disk_of(fake, image) is None


def test_file_that_is_called_like_a_disk():
    """A number is a disk; who means the file is told how to say so."""
    with attached() as (fake, image):
        for name in ("7", "vhdx3"):
            make_image(image.parent / name)
            for command in ("attach", "info"):
                fake.ctl(command, f"./{name}", cwd=image.parent).expect(0)
            fake.ctl("info", name, cwd=image.parent).expect(
                1, f"{name}: no such disk", f"the file of this name is ./{name}")
            fake.ctl("detach", f"./{name}", cwd=image.parent).expect(0)
            # To attach, a disk can't be meant.
            fake.ctl("attach", name, cwd=image.parent).expect(0)


def test_odd_numbers():
    with attached() as (fake, _):
        for name in ("00", "vhdx00", "/dev/vhdx00"):
            assert disk_of(fake, name) == 0
        fake.ctl("info", "1234567890").expect(1, "No such file")
        fake.ctl("info", "-1").expect(2)
        fake.ctl("info", "/dev/0").expect(1, "No such file")
        fake.ctl("info", "vhdx0p1").expect(1, "No such file")


def test_one_file_by_several_names():
    """Of several disks that read one file, a path is the one that was attached by it, or none."""
    with directory() as path:
        fake = Fake(path)
        image = make_image(path / "disk.vhdx")
        hard, soft = path / "hard", path / "soft"
        os.link(image, hard)
        soft.symlink_to(hard)
        for name in (image, hard):
            fake.ctl("attach", "--read-only", name).expect(0)
        for name, disk in ((image, 0), (hard, 1), (soft, 1), (f"{path}/./fake/../hard", 1)):
            assert disk_of(fake, name) == disk
        third = path / "third"
        os.link(image, third)
        several = "the container of several disks: name the disk, one of /dev/vhdx0, /dev/vhdx1"
        for command in (["info"], ["points"], ["detach"], ["seal"], ["track", "verify"],
                        ["changes", "--since", ID]):
            fake.ctl(*command, third).expect(1, f"{third}: {several}")
        fake.ctl("attach", "--read-only", soft).expect(0)
        fake.ctl("detach", hard).expect(1, f"{hard}: {several}, /dev/vhdx2")
        assert not [call for call in fake.calls if call.startswith("DETACH")]
        # As the message says; and what is left is nobody else's.
        fake.ctl("detach", "/dev/vhdx1").expect(0)
        fake.ctl("detach", hard).expect(0)
        assert disk_of(fake, third) == 0
