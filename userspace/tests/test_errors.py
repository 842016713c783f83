# SPDX-License-Identifier: GPL-2.0-only
"""Every failure of a query has its exit code and says what to do."""
import ctypes
import errno
import os
import time

from common import ID, Fake, attached, directory, load_library, make_image

# Exit status 3 where the next backup has to be a full one.
QUERY_FAILURES = [
    (errno.EINVAL, "argument", 1, "not valid for this disk"),
    (errno.ENODATA, "id_missing", 3, "does not know the point"),
    (errno.ESTALE, "changed_offline", 3, "written without this sidecar"),
    (errno.ESTALE, "inconsistent", 3, "the sidecar is damaged"),
    (errno.ESTALE, "disabled", 3, "disabled"),
    (errno.ESTALE, "reset", 3, "was reset"),
    (errno.ESTALE, "unclean", 3, "not detached"),
    (errno.ESTALE, "tracking_error", 3, "could not be written"),
    (errno.EOPNOTSUPP, "disabled", 3, "track enable"),
    (errno.EOPNOTSUPP, "unsupported", 1, "not supported"),
    (errno.EIO, "io", 1, "kernel log"),
    (errno.ENOMEM, "none", 1, "Cannot allocate memory"),
    (errno.ENODEV, "none", 1, "No such device"),
    (errno.EINTR, "none", 1, "Interrupted"),
]


def test_queries():
    with attached() as (fake, _):
        for error, reason, code, text in QUERY_FAILURES:
            fake.fail("CHANGES", error, reason)
            result = fake.ctl("changes", "0", "--since", ID)
            result.expect(code, "vhdxctl: /dev/vhdx0: ", text)
            fake.ctl("changes", "--json", "0", "--since", ID).expect_error(
                code, error, None if reason == "none" else reason, text)
            if code == 3:
                assert "full backup" in result.err, result.err


def test_query_of_a_read_only_disk():
    """Tracking can't be enabled there: the way out is another one."""
    with attached("--read-only") as (fake, _):
        fake.fail("CHANGES", errno.EOPNOTSUPP, "disabled")
        done = fake.ctl("changes", "0", "--since", ID).expect(
            3, "attached read-only: detach it and attach it for writing: make a full backup")
        assert "track enable" not in done.err
        fake.fail("SEAL", errno.EROFS, "read_only")
        fake.ctl("seal", "0").expect(1, "read-only: detach it and attach it for writing")


def test_ids_from_storage():
    """Cut, empty, with the end of a line: what can't be an id any more needs a full backup."""
    with attached() as (fake, _):
        for text in ("", "not-an-id", ID[:-1], ID + "0", "rct:", " \n"):
            for question in (["--since", text], ["--since", ID, "--target", text]):
                fake.ctl("changes", "0", *question).expect(3, "not the id of a point",
                                                           "full backup")
                fake.ctl("changes", "0", *question, "--json").expect_error(
                    3, errno.EINVAL, "id_malformed")
        assert not fake.calls
        for text in (f"{ID}\n", f" {ID.upper()}\t"):
            assert fake.ctl("changes", "0", "--since", text, "--json").json["limit"] == ID


def test_ids_from_storage_to_forget():
    """The same, but there is no history to lose: neither wrong usage nor a full backup."""
    with attached() as (fake, _):
        for text in ("", "not-an-id", ID[:-1], " \n"):
            for options in ([], ["--ignore-missing"]):
                fake.ctl("forget", *options, "0", text).expect(1, "not the id of a point")
                fake.ctl("forget", *options, "0", text, "--json").expect_error(
                    1, errno.EINVAL, "id_malformed")
        assert not fake.calls
        fake.ctl("forget", "0", f" {ID.upper()}\n").expect(0)


def test_failure_in_the_middle():
    """A part of an answer is never printed."""
    with attached() as (fake, _):
        fake.write("ranges.0", "0 16384\n")
        fake.write("step.0", str(1 << 29))
        fake.fail("CHANGES", 0, times=1)
        fake.ctl("changes", "0", "--since", ID).expect(0)
        # The second of two calls fails: the first one takes away the failure that is none.
        fake.fail("CHANGES", errno.ESTALE, "reset")
        fake.ctl("changes", "0", "--since", ID).expect(3)


ATTACH_FAILURES = [
    (errno.EMEDIUMTYPE, "bad_type", "", "not a VHDX"),
    (errno.EUCLEAN, "corrupt", "BAT entry 5 at offset 3145768: bad", "BAT entry 5 at offset"),
    (errno.EUCLEAN, "corrupt", "", "damaged"),
    (errno.EOPNOTSUPP, "unsupported", "a differencing disk", "a differencing disk"),
    (errno.EBUSY, "in_use", "the index is taken", "the index is taken"),
    (errno.EPERM, "none", "", "CAP_SYS_ADMIN"),
    (errno.EIO, "io", "", "kernel log"),
    (errno.ENOMEM, "none", "", "Cannot allocate memory"),
]


def test_attach():
    with directory() as path:
        fake = Fake(path)
        image = make_image(path / "disk.vhdx")
        for error, reason, message, text in ATTACH_FAILURES:
            fake.fail("ATTACH", error, reason, message=message)
            fake.ctl("attach", image).expect(1, f"vhdxctl: {image}: ", text)


def test_seal():
    failures = [
        (errno.EROFS, "read_only", 1, "read-only"),
        (errno.EOPNOTSUPP, "disabled", 3, "track enable"),
        (errno.ENOSPC, "no_space", 1, "forget points"),
        (errno.EIO, "io", 1, "kernel log"),
        (errno.ESTALE, "tracking_error", 3, "full backup"),
    ]
    with attached() as (fake, _):
        for error, reason, code, text in failures:
            fake.fail("SEAL", error, reason)
            fake.ctl("seal", "0").expect(code, "/dev/vhdx0", text)
            fake.ctl("seal", "--json", "0").expect_error(code, error, reason, text)


def test_seal_twice():
    with attached() as (fake, image):
        fake.ctl("seal", "0", image).expect(1, "/dev/vhdx0: named twice")
        assert not fake.calls


def test_track_and_forget():
    calls = [
        ("ENABLE", ["track", "enable", "0"], errno.EALREADY, "none", 1, "enabled already"),
        ("ENABLE", ["track", "enable", "0"], errno.EEXIST, "inconsistent", 1, "track reset"),
        ("ENABLE", ["track", "enable", "0"], errno.EROFS, "read_only", 1, "read-only"),
        ("DISABLE", ["track", "disable", "0"], errno.EALREADY, "disabled", 1,
         "disabled already"),
        ("DISABLE", ["track", "disable", "0"], errno.EOPNOTSUPP, "disabled", 1,
         "not enabled"),
        ("RESET", ["track", "reset", "0"], errno.EOPNOTSUPP, "disabled", 1, "track enable"),
        ("FORGET", ["forget", "0", ID], errno.ENODATA, "id_missing", 1, "does not know"),
        ("FORGET", ["forget", "0", ID], errno.EBUSY, "in_use", 1, "in use"),
    ]
    with attached() as (fake, _):
        for call, arguments, error, reason, code, text in calls:
            fake.fail(call, error, reason)
            done = fake.ctl(*arguments).expect(code, "vhdxctl: /dev/vhdx0: ", text)
            assert "full backup" not in done.err, done.err
            fake.ctl(*arguments, "--json").expect_error(
                code, error, None if reason == "none" else reason, text)


def test_forget_what_is_gone():
    with attached() as (fake, _):
        fake.fail("FORGET", errno.ENODATA, "id_missing")
        fake.ctl("forget", "--ignore-missing", "0", ID).expect(0)
        assert fake.ctl("forget", "--ignore-missing", "--json", "0", ID).json == {"id": ID}
        fake.fail("FORGET", errno.ENODATA, "io")
        fake.ctl("forget", "--ignore-missing", "0", ID).expect(1)
        fake.fail("FORGET", errno.EBUSY, "in_use")
        fake.ctl("forget", "--ignore-missing", "0", ID).expect(1, "in use")


def test_not_of_tracking():
    """What a file system says of its own files is no word about history."""
    with directory() as path:
        fake = Fake(path)
        image = make_image(path / "disk.vhdx")
        for error in (errno.ESTALE, errno.ENODATA):
            fake.fail("ATTACH", error, "io")
            fake.ctl("attach", image).expect(1)
    with attached() as (fake, _):
        for error in (errno.ESTALE, errno.ENODATA):
            fake.fail("CHANGES", error, "none")
            fake.ctl("changes", "0", "--since", ID).expect(1, "/dev/vhdx0: ")


def test_kernel_messages():
    """The driver's own words, whatever it was asked."""
    with attached() as (fake, _):
        for call, *arguments in (
                ("ENABLE", "track", "enable", "0"), ("DISABLE", "track", "disable", "0"),
                ("RESET", "track", "reset", "0"), ("FORGET", "forget", "0", ID),
                ("SEAL", "seal", "0"), ("POINTS", "points", "0"),
                ("STATE", "track", "status", "0"), ("INFO", "info", "0"),
                ("CHANGES", "changes", "0", "--since", ID)):
            fake.fail(call, errno.ELOOP, "argument", message="sidecar: it lives on the disk")
            fake.ctl(*arguments).expect(1, "/dev/vhdx0: sidecar: it lives on the disk")
            fake.fail(call, 0)


def test_module_absent():
    with directory() as path:
        fake = Fake(path)
        (fake.root / "dev/vhdx-control").unlink()
        (fake.root / "sys/module/vhdx").rmdir()
        image = make_image(path / "disk.vhdx")
        fake.ctl("attach", image).expect(1, "modprobe vhdx")
        fake.ctl("info", "0").expect(1, "modprobe vhdx")
        fake.ctl("detach", "/dev/vhdx0").expect(1, "modprobe vhdx")
        fake.ctl("list").expect(1, "modprobe vhdx")
        fake.ctl("list", "--json").expect_error(1, errno.ENODEV, None, "modprobe vhdx")


def test_no_such_disk():
    with attached() as (fake, _):
        for name in ("1", "vhdx1", "/dev/vhdx1"):
            for command in (["info"], ["detach"], ["seal"], ["points"], ["track", "status"]):
                fake.ctl(*command, name).expect(1, f"{name}: no such disk", "vhdxctl list")


def test_no_such_file():
    with attached() as (fake, _):
        for command in (["attach"], ["info"], ["detach"], ["seal"], ["points"]):
            fake.ctl(*command, "/no/such/file").expect(1, "/no/such/file: No such file")


def test_odd_names():
    """What is said is true of the file that was named, and what is advised would work."""
    with attached() as (fake, image):
        path = image.parent
        other = make_image(path / "other.vhdx")
        (path / "nowhere").symlink_to(path / "unmounted")
        os.mkfifo(path / "pipe")
        every = (["info"], ["points"], ["seal"], ["detach"], ["track", "status"], ["track", "enable"],
                 ["track", "verify"], ["changes", "--since", ID], ["forget", ID])
        fake.ctl("attach", path / "nowhere").expect(1, f"a symbolic link to {path / 'unmounted'}, ")
        for command in every:
            command, rest = command[:1] if command[0] == "forget" else command, command[1:]
            rest = rest if command[0] == "forget" else []
            fake.ctl(*command, path / "nowhere", *rest).expect(
                1, f"{path / 'nowhere'}: a symbolic link to {path / 'unmounted'}, which is not there")
            # To attach it would be no good advice.
            for name in (path, path / "pipe", "/dev/null"):
                fake.ctl(*command, name, *rest).expect(1, f"{name}: not a VHDX: neither a regular")
            fake.ctl(*command, "", *rest).expect(1, "an empty name, where a disk or a file is wanted")
        fake.ctl("attach", "").expect(1, "an empty name")
        fake.ctl("track", "verify", other).expect(1, f"{other}.lrct: no such file", "never enabled")


def test_no_name():
    """Of the library: a caller's mistake is an error like any other."""
    library = load_library()
    index = ctypes.c_int()
    disk = ctypes.c_void_p()
    calls = ((library.vhdx_disk_open, None, 0, ctypes.byref(disk)),
             (library.vhdx_disk_open, None, 1 << 31, ctypes.byref(disk)),
             (library.vhdx_attach, None, None), (library.vhdx_detach, 0),
             (library.vhdx_find, ctypes.byref(index)), (library.vhdx_tracking_verify, None, None))
    child = os.fork()
    if not child:  # it may crash
        os._exit(any(call(None, *rest) != -errno.EINVAL or
                     b"no name (NULL)" not in library.vhdx_error_message()
                     for call, *rest in calls))
    assert os.waitpid(child, 0)[1] == 0


def test_not_attached():
    with attached() as (fake, image):
        other = make_image(image.parent / "other.vhdx")
        fake.ctl("detach", other).expect(1, "not attached")
        fake.ctl("seal", other).expect(1, "not attached", "vhdxctl attach")
        fake.ctl("track", "enable", other).expect(1, "not attached")
        fake.ctl("forget", other, ID).expect(1, "not attached")


def test_busy():
    with attached() as (fake, _):
        fake.fail("DETACH", errno.EBUSY, "in_use", times=3)
        fake.ctl("detach", "0").expect(0)
        assert len(fake.calls) == 4


def test_busy_for_long():
    with attached() as (fake, _):
        fake.fail("DETACH", errno.EBUSY, "in_use")
        fake.ctl("detach", "0").expect(1, "busy", "mounted")
        assert len(fake.calls) > 50


def test_held():
    """By device mapper, say: nobody waits for that, unless it is all disks."""
    with attached() as (fake, image):
        (fake.root / "sys/block/vhdx0/holders/dm-3").mkdir(parents=True)
        fake.fail("DETACH", errno.EBUSY, "in_use")
        fake.ctl("detach", "0").expect(1, "busy: /dev/vhdx0 is used by dm-3")
        assert len(fake.calls) <= 2
        fake.ctl("detach", "--all").expect(1, "busy: /dev/vhdx0 is used by dm-3")
        assert len(fake.calls) > 50
        (fake.root / "sys/block/vhdx0/holders/dm-3").rmdir()
        (fake.root / "sys/block/vhdx0/vhdx0p2/holders/md0").mkdir(parents=True)
        fake.ctl("detach", image).expect(1, "busy: /dev/vhdx0p2 is used by md0")


def test_several_detached():
    with attached() as (fake, image):
        other = make_image(image.parent / "other.vhdx")
        fake.ctl("attach", other).expect(0)
        fake.ctl("detach", "0", "nothing").expect(1, "nothing")
        assert len(fake.ctl("list", "--noheadings").lines) == 2, "one went all the same"
        fake.ctl("detach", other, "0", image).expect(0)
        assert not fake.ctl("list", "--noheadings").lines


def test_one_of_all_fails():
    with attached() as (fake, image):
        fake.ctl("attach", make_image(image.parent / "other.vhdx")).expect(0)
        fake.fail("DETACH", errno.EIO, "io", times=1, message="detached, but not cleanly")
        result = fake.ctl("detach", "--all")
        result.expect(1, "/dev/vhdx0: detached, but not cleanly")
        assert fake.ctl("list", "--noheadings").lines[0].split()[0] == "/dev/vhdx0"
        assert len(fake.ctl("list", "--noheadings").lines) == 1


def test_some_of_several_fail():
    """One line of JSON has all: what went, what did not, and why."""
    with attached() as (fake, image):
        held = [{"disk": index, "device": f"/dev/vhdx{index}",
                 "error": {"errno": errno.EBUSY, "reason": "in_use", "full_backup_needed": False,
                           "message": f"/dev/vhdx{index}: busy: /dev/vhdx{index} is used by dm-3"}}
                for index in (0, 2)]
        for index in (1, 2):
            fake.ctl("attach", make_image(image.parent / f"{index}.vhdx")).expect(0)
        for disk in held:
            (fake.root / f"sys/block/vhdx{disk['disk']}/holders/dm-3").mkdir(parents=True)
            fake.write(f"busy.{disk['disk']}", "")
        for names, gone in (["0", "1", "2"], [1]), (["2", "0"], []):
            done = fake.ctl("detach", "--json", *names)
            assert done.code == 1
            failed = sorted(held, key=lambda disk: names.index(str(disk["disk"])))
            assert done.json == {
                "error": failed[0]["error"], "failed": failed,
                "list": [{"disk": index, "device": f"/dev/vhdx{index}"} for index in gone]}
            assert done.err == "".join(f"vhdxctl: {disk['error']['message']}\n"
                                       for disk in failed)
        fake.ctl("detach", "--json", "0", "77").expect_error(1, errno.ENODEV, None, "77: no such")
        fake.ctl("detach", "--json", "0").expect_error(1, errno.EBUSY, "in_use", "dm-3")


def test_another_disk_gets_the_name():
    """While it was busy somebody detached it and attached another: that one is left alone."""
    with attached() as (fake, _):
        fake.fail("DETACH", errno.EBUSY, "in_use", times=20)
        with fake.popen("detach", "0") as waiting:
            while not fake.calls:
                time.sleep(0.01)
            fake.write("sys/block/vhdx0/diskseq", "102\n")
            waiting.communicate(timeout=30)
        assert waiting.returncode == 1
        assert (fake.root / "sys/block/vhdx0").exists()


def test_unclean_detach():
    """Only the driver knows what becomes of the container: its words are the command's."""
    with attached() as (fake, _):
        for words in ("detached, but not closed: its log is replayed at the next attach",
                      "detached, but the container was cut: it was left as it is"):
            fake.fail("DETACH", errno.EIO, "io", message=words)
            result = fake.ctl("detach", "0")
            result.expect(1)
            assert result.err == f"vhdxctl: /dev/vhdx0: {words}\n", result.err
            fake.ctl("detach", "--json", "0").expect_error(1, errno.EIO, "io", words)
        fake.fail("DETACH", errno.EPERM)
        fake.ctl("detach", "0").expect(1, "CAP_SYS_ADMIN")
