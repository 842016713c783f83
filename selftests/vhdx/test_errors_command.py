#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_errors_command - what scripts may rely on: exit status, one line of words, JSON keys
#
# vm: timeout=300 takes=50
import json
import os
import pathlib
import re
import sys
import uuid
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, images, ktap, sidecar, uapi, udev  # noqa: E402
from vhdxtest.disk import attached, tracked_container  # noqa: E402
from vhdxtest.images import KIB, MIB, container  # noqa: E402
from vhdxtest.sidecar import Delta, dense  # noqa: E402
import vhdxoracle  # noqa: E402

ID = r"rct:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:[0-9a-f]{16}"
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"


def refuse(status, *words, said=()):
    """A command that fails: nothing on stdout, one line on stderr that says so much."""
    done = ctl.run(*words, status=status)
    lines = done.stderr.splitlines()
    if "--json" in words and status != ctl.USAGE:
        error = json.loads(done.stdout)["error"]
        ktap.equal(lines, [f"vhdxctl: {error['message']}"], "the message on stderr")
        ktap.equal(error["full_backup_needed"], status == ctl.FULL_BACKUP, "full_backup_needed")
    else:
        ktap.equal(done.stdout, "", f"stdout of {words}")
    ktap.check(lines and lines[0].startswith("vhdxctl: "), f"stderr of {words}: {done.stderr!r}")
    if status != ctl.USAGE:
        ktap.equal(len(lines), 1, f"lines of {done.stderr!r}")
    for word in said:
        ktap.check(str(word) in done.stderr, f"'{word}' is not in: {done.stderr}")


# ---- exit status 2 ---------------------------------------------------------------------

@ktap.case
def wrong_usage():
    with tracked_container() as path, attached(path) as disk:
        point = disk.handle.ids()[0]
        for words in ((), ("frobnicate",), ("attach",), ("attach", path, path),
                      ("attach", "--frobnicate", path), ("attach", "--track", "--no-track", path),
                      ("attach", "--read-only", "--track", path), ("attach", "--unit", "4K", path),
                      ("attach", "--track", "--unit", "5000", path),
                      ("attach", "--track", "--unit", "2M", path),
                      ("attach", "--track", "--unit", "many", path),
                      ("attach", "--index", "-1", path), ("attach", "--index", "x", path),
                      ("detach",), ("detach", "--all", "1"), ("list", "x"), ("info",), ("track",),
                      ("track", "frobnicate", disk.node), ("track", "enable"),
                      ("seal",), ("seal", "--label", "x" * 65, disk.node), ("points",),
                      ("forget", disk.node), ("changes", disk.node), ("changes", "--since", point),
                      ("changes", disk.node, "--since", point, "--offset", "-1"),
                      ("changes", disk.node, "--since", point, "--length", "1Q"),
                      ("changes", disk.node, "--since", point, "--offset", "20E"),
                      ("changes", disk.node, "--since", point, "--map", "--json"),
                      ("list", "--output", "NONSENSE")):
            refuse(ctl.USAGE, *words)
        ktap.equal(disk.handle.ids(), [point], "points")


@ktap.case
def help_is_no_error():
    for words in ((), ("attach",), ("detach",), ("list",), ("info",), ("track",),
                  ("track", "enable"), ("seal",), ("points",), ("forget",), ("changes",)):
        done = ctl.run(*words, "--help")
        ktap.check(done.stdout.startswith("Usage: vhdxctl") and not done.stderr, done)
    ktap.check(re.fullmatch(r"vhdxctl \d+(\.\d+)*\n", ctl.run("--version").stdout), "version")


# ---- exit status 3 ---------------------------------------------------------------------

@ktap.case
def full_backup_is_needed():
    """Any gap, an unknown id, no tracking; attached or not. Nothing else."""
    with tracked_container() as path, tracked_container() as other:
        foreign = ctl.json("points", other)["points"][0]["id"]
        mine = ctl.json("points", path)["points"][0]["id"]
        with attached(path) as disk:
            refuse(3, "changes", disk.node, "--since", foreign, said=["full backup", disk.node])
            refuse(3, "changes", disk.node, "--since", mine, "--target", foreign,
                   said=["full backup"])
            refuse(3, "changes", disk.node, "--since", str(mine)[:-1],
                   said=["not the id", "full backup"])
            refuse(1, "forget", disk.node, str(mine)[:-1], "--json", said=["not the id"])
            fresh = disk.handle.reset()
            refuse(3, "changes", disk.node, "--since", mine, said=["reset", "full backup"])
            ctl.run("changes", disk.node, "--since", fresh)
            disk.handle.disable()
            refuse(3, "changes", disk.node, "--since", fresh, said=["not enabled", "full backup"])
            refuse(3, "seal", disk.node, "--json", said=["not enabled"])
            refuse(1, "forget", disk.node, foreign, said=["not enabled"])
            refuse(1, "track", "disable", disk.node, said=["disabled already"])
        refuse(3, "changes", path, "--since", foreign)
        images.command("qemu-io", "-f", "vhdx", "-c", "write 5M 4k", other)
        refuse(3, "changes", other, "--since", foreign, said=["full backup", other])
        with attached(other) as disk:
            refuse(3, "changes", disk.node, "--since", foreign, said=["full backup"])
            refuse(3, "changes", disk.node, "--since", foreign, "--json")
    with container() as path:
        refuse(3, "changes", path, "--since", mine, said=["track"])
        with attached(path) as disk:
            refuse(3, "changes", disk.node, "--since", mine, said=["track enable"])
            refuse(3, "seal", disk.node, said=["track"])
            for word in ("disable", "reset"):
                refuse(1, "track", word, disk.node, said=["enable"])


@ktap.case
def every_gap():
    """Between each two points another cause; attached or not the words say which it was."""
    causes = {"changed_offline": "without this sidecar", "inconsistent": "damaged",
              "disabled": "disabled", "reset": "reset", "unclean": "power loss",
              "tracking_error": "could not be written"}
    deltas = [Delta({}, 0, uapi.REASONS.index(cause)) for cause in ("none", *causes)]
    with tracked_container(deltas=deltas) as path:

        def ask(name):
            points = ctl.json("points", name)["points"]
            ktap.equal([point["gap"] for point in points], [None, *causes], "gaps")
            for limit, target, cause in zip(points, points[1:], causes):
                refuse(3, "changes", name, "--since", limit["id"], "--target", target["id"],
                       said=[name, causes[cause], "full backup"])
        ask(path)
        with attached(path) as disk:
            ask(disk.node)


# ---- exit status 1 ---------------------------------------------------------------------

@ktap.case
def failures_of_attach():
    with tracked_container() as path:
        other = path.with_name("other")
        refuse(1, "attach", other, said=[other, "No such file"])
        other.write_bytes(b"x" * 100000)
        refuse(1, "attach", other, said=[other, "VHDX"])
        other.write_bytes(b"conectix" + b"x" * 100000)
        refuse(1, "attach", other, said=[other, "VHD", "qemu-img convert"])
        refuse(1, "attach", path.parent, said=[path.parent])
        for odd in ("/dev/null", "/dev/vhdx-control", "/proc/version",
                    "/sys/kernel/uevent_seqnum", path.parent):
            for option in ((), ("--read-only",)):
                refuse(1, "attach", *option, odd, said=[odd])
        for odd in ("/dev/null", "/proc/version", path.parent):
            refuse(1, "attach", "--read-only", odd, said=[odd, "not a VHDX"])
        vhdxoracle.mutate("metadata-signature", other)
        refuse(1, "attach", other, said=[other, "metadata"])
        child = path.with_name("child.avhdx")
        vhdxoracle.create(child, parent=path, kind="differencing")
        refuse(1, "attach", path, said=[path, "the parent of child.avhdx", "--force"])
        moved = path.rename(path.with_name("moved"))
        refuse(1, "attach", child, said=[child, path.name, "parent is not found", "--parent"])
        moved.rename(path)
        child.unlink()
        with attached(path) as disk:
            refuse(1, "attach", path, said=[path, "attached already", disk.node])
            refuse(1, "attach", "--read-only", path, said=[disk.node])
            third = images.create(path.with_name("third"), 16 * MIB, block_size=MIB)
            refuse(1, "attach", "--index", disk.index, third,
                   said=[f"index {disk.index} is taken", "another index"])
            refuse(1, "attach", "--index", 4096, third, said=["4095"])
        ktap.equal(ctl.json("list")["list"], [], "disks that are left attached")
        path.with_name("disk.vhdx.rct").touch()
        refuse(1, "attach", path, said=[path, "*.rct", "--retire-windows-rct"])


@ktap.case
def tracking_of_windows():
    """Its files are put aside before the first write; where the driver refuses the container, or it
    is only read, or is a parent, they are what they were."""
    with container() as path:
        child = path.with_name("child.avhdx")
        vhdxoracle.create(child, parent=path, block_size=MIB)

        def names():
            return sorted(one.name for one in path.parent.glob("disk.vhdx.[rm]*"))
        path.with_name("disk.vhdx.rct").write_text("of Windows")
        with attached(child) as disk, attached(path, "--read-only"):
            disk.write(0, b"x" * 4096)
        ktap.equal(names(), ["disk.vhdx.rct"], "a parent's")
        child.unlink()
        with vhdxoracle.Editor(path) as edit:
            edit.change_headers(log_guid=uuid.uuid4())
        refuse(1, "attach", "--retire-windows-rct", path, said=[path, "check --repair"])
        ktap.equal(names(), ["disk.vhdx.rct"], "after the driver's refusal")
        ctl.run("check", "--repair", path, status=1)
        with attached(path, "--retire-windows-rct") as disk:
            ktap.equal(names(), ["disk.vhdx.rct.stale"], "before the first write")
            disk.write(0, b"x" * 4096)
        ktap.equal(path.with_name("disk.vhdx.rct.stale").read_text(), "of Windows", "what was put aside")
        with attached(path):
            pass


@ktap.case
def failures_of_others():
    with tracked_container() as path, attached(path) as disk:
        point = disk.handle.ids()[0]
        for word in (["detach"], ["info"], ["points"], ["seal"], ["track", "status"],
                     ["track", "enable"], ["changes", "--since", point]):
            refuse(1, *word, "/dev/vhdx77", said=["/dev/vhdx77", "vhdxctl list"])
            refuse(1, *word, "/gone.vhdx", said=["/gone.vhdx"])
        refuse(1, "track", "enable", disk.node, said=["enabled already"])
        refuse(1, "forget", disk.node, point, said=[disk.node])
        refuse(1, "changes", disk.node, "--since", point, "--offset", "17M", said=[disk.node])
        second = disk.handle.seal()
        refuse(1, "changes", disk.node, "--since", second, "--target", point, said=[disk.node])
        disk.write(0, b"x" * 512)
        refuse(1, "detach", disk.node, said=[disk.node, "use"])
        refuse(1, "seal", disk.node, "/dev/vhdx77", said=["/dev/vhdx77"])
        ktap.equal(disk.handle.ids(), [point, second], "points after seals that failed")
        ctl.run("changes", disk.node, "--since", second)
    with tracked_container() as path, attached(path, "--read-only") as disk:
        for word in ("seal", ["track", "disable"], ["track", "reset"]):
            refuse(1, *([word] if isinstance(word, str) else word), disk.node,
                   said=["read-only"])
    with container() as path, attached(path, "--read-only") as disk:
        refuse(1, "track", "enable", disk.node, said=["read-only"])
        ktap.check(not pathlib.Path(f"{path}.lrct").exists(), "a sidecar is left behind")


@ktap.case
def detach_of_what_was_cut():
    """The disk is gone, and nobody is told that the next attach mends its container."""
    for form in ((), ("--json",)):
        with tracked_container() as path:
            node = ctl.line("attach", path)
            os.truncate(path, MIB)
            refuse(1, "detach", *form, node, said=[f"{node}: detached", "was cut", "left as it is"])
            ktap.equal(ctl.json("list")["list"], [], "disks that are left attached")


@ktap.case
def what_is_no_disk():
    """Its other device, its partitions: each is called what it is."""
    with tracked_container() as path, attached(path) as disk:
        images.command("sfdisk", "-q", disk.node, stdin="label: gpt\nsize=4M\n")
        link = path.with_name("link")
        link.symlink_to(f"{disk.node}p1")
        point = disk.handle.ids()[0]
        for word in (["detach"], ["info"], ["points"], ["seal"], ["track", "status"],
                     ["changes", "--since", point]):
            refuse(1, *word, disk.char, said=["change-tracking device", f"itself, {disk.node}"])
            for name in (f"{disk.node}p1", link):
                refuse(1, *word, name, said=[name, "a partition", f"on, {disk.node} "])
        udev.settle()


@ktap.case
def odd_paths():
    """A container may be called anything; what is printed stays one line."""
    with tracked_container() as path:
        odd = path.with_name("a\nb \x1b[2J ü \udcff (deleted)")
        path.rename(odd)
        path.with_name("disk.vhdx.lrct").rename(f"{odd}.lrct")
        with attached(odd) as disk:
            ktap.equal(ctl.json("info", odd)["disk"], disk.index, "found by its path")
            shown = one_line("list")["list"][0]
            clean = str(odd).replace("\udcff", "\ufffd")
            ktap.equal((shown["container"], shown["container_deleted"], shown["sidecar"]),
                       (clean, False, f"{clean}.lrct"), "paths")
            refuse(1, "attach", odd, said=["attached already"])
            ktap.equal(ctl.run("list").stdout.count("\n"), 2, "lines of a table")
            disk.write(0, b"x" * 512)
            ktap.equal(ctl.json("info", disk.node)["sidecar"], f"{clean}.lrct", "sidecar")
            disk.handle.seal()
        ctl.run("track", "verify", odd)


@ktap.case
def out_of_memory():
    """A million ranges, and room for less of them: no half of an answer."""
    with tracked_container(8 << 30, dense(64), 4 * KIB, 256 * MIB) as path:
        point = ctl.json("points", path)["points"][0]["id"]
        for form in ("--json", "--noheadings"):
            done = images.command("sh", "-c", "ulimit -v 20000; vhdxctl changes "
                                  f"{path} --since {point} {form} 2>&1; echo $?")
            said, *reply, status = done.splitlines()
            ktap.equal((said, status), ("vhdxctl: Cannot allocate memory", "1"), "stderr, status")
            ktap.equal([list(json.loads(line)) for line in reply],
                       [["version", "error"]] if form == "--json" else [], "stdout")


@ktap.case
def sidecar_of_a_newer_driver():
    """Not 3: a newer program can still answer."""
    with tracked_container() as path:
        point = ctl.json("points", path)["points"][0]["id"]
        sidecar.edit(f"{path}.lrct", incompat_features=sidecar.COARSE | 2)
        refuse(1, "changes", path, "--since", point, said=["newer", path])
        with attached(path) as disk:
            refuse(1, "changes", disk.node, "--since", point)
            done = ctl.run("track", "status", disk.node)
            ktap.check("unsupported" in done.stdout, done.stdout)


@ktap.case
def no_module():
    with tracked_container() as path:
        point = ctl.json("points", path)["points"][0]["id"]
        images.command("rmmod", "vhdx")
        try:
            for words in (["attach", path], ["detach", "0"], ["seal", "vhdx0"], ["list"],
                          ["list", "--json"]):
                refuse(1, *words, said=["modprobe vhdx"])
            # A file needs no module.
            ctl.run("changes", path, "--since", point)
            ctl.run("info", path)
        finally:
            images.command("modprobe", "vhdx")


@ktap.case
def warnings_of_attach():
    """The disk is attached, its path is on stdout, and stderr says what is not as it should be."""
    with tracked_container() as path:
        lrct = pathlib.Path(f"{path}.lrct")
        good = lrct.read_bytes()

        def attach(*options):
            done = ctl.run("attach", *options, path)
            ctl.run("detach", done.stdout.strip())
            ktap.check(re.fullmatch(r"/dev/vhdx\d+\n", done.stdout), f"stdout {done.stdout!r}")
            return done.stderr
        ktap.equal(attach(), "", "stderr where all is well")
        for content in (b"x" * 100000, good[:5000]):
            lrct.write_bytes(content)
            said = attach()
            ktap.check(said.startswith("vhdxctl: warning: ") and said.count("\n") == 1 and
                       "sidecar" in said, f"stderr: {said!r}")
            shown = ctl.json("attach", path)
            ktap.equal(sorted(shown), ["device", "disk", "disk_seq", "reason", "version",
                                       "virtual_disk_id", "warning"], "keys")
            ktap.equal((shown["reason"], bool(shown["warning"])), ("inconsistent", True))
            ctl.run("detach", shown["device"])
        lrct.write_bytes(good)
        ktap.check("full" in attach("--no-track"), "no warning of a gap to come")
        ktap.check("gone" in attach("--sidecar", path.with_name("gone")), "no word of a sidecar")


@ktap.case
def track_or_nothing():
    """With --track a sidecar that can't be used is refused, and nothing is written anywhere."""
    with tracked_container() as path:
        lrct = pathlib.Path(f"{path}.lrct")
        good = lrct.read_bytes()
        for content in (b"x" * 100000, good[:5000]):
            lrct.write_bytes(content)
            before = path.read_bytes()
            helps = "vhdxctl track reset" if content in good else "name another file"
            side = () if content in good else ("--sidecar", path.with_name("another"))
            for form in ((), ("--json",)):
                refuse(1, "attach", "--track", *form, path, said=[path, helps])
            ktap.equal(ctl.json("list")["list"], [], "disks that are left attached")
            ktap.check((path.read_bytes(), lrct.read_bytes()) == (before, content),
                       "something was written")
            # As the message says.
            with attached(path) as disk:
                if content not in good:
                    refuse(1, "track", "reset", disk.node, said=[lrct, "name another file"])
                    ktap.equal(lrct.read_bytes(), content, "what is no sidecar")
                ctl.run("track", "reset", *side, disk.node)
                ktap.equal(disk.sysfs("tracking"), "on", "tracking")
            with attached(path, "--track", *side) as disk:
                ktap.equal(len(disk.handle.ids()), 1, "points")


@ktap.case
def second_history():
    """Beside the sidecar that a renamed container left behind none is begun; as the message
    says, that one goes on."""
    with tracked_container() as path:
        point = ctl.json("points", path)["points"][0]["id"]
        renamed = path.rename(path.with_name("renamed.vhdx"))
        old = pathlib.Path(f"{path}.lrct")
        before = renamed.read_bytes()
        refuse(1, "attach", "--track", renamed, said=[renamed, old.name, "--sidecar"])
        ktap.equal(ctl.json("list")["list"], [], "disks that are left attached")
        ktap.equal(sorted(one.name for one in path.parent.iterdir()),
                   sorted([renamed.name, old.name]), "files")
        ktap.check(renamed.read_bytes() == before, "the container was written")
        with attached(renamed, "--track", "--sidecar", str(old)) as disk:
            disk.write(0, b"x" * 4096)
        old.rename(f"{renamed}.lrct")
        with attached(renamed, "--track") as disk:
            ktap.equal(ctl.json("changes", disk.node, "--since", point)["ranges"],
                       [{"offset": 0, "length": 16 * KIB, "zero": False}], "changes")


# ---- JSON --------------------------------------------------------------------------------

def check(value, shape, where):
    """Is this JSON of this shape? Exactly these keys; a string is a pattern of a text."""
    if isinstance(shape, dict):
        ktap.check(isinstance(value, dict), f"{where} is no object: {value!r}")
        ktap.equal(sorted(value), sorted(shape), f"keys of {where}")
        for key, inner in shape.items():
            check(value[key], inner, f"{where}.{key}")
    elif isinstance(shape, list):
        ktap.check(isinstance(value, list) and value, f"{where} is no list, or empty: {value!r}")
        for number, item in enumerate(value):
            check(item, shape[0], f"{where}[{number}]")
    elif isinstance(shape, tuple):
        ktap.check(any(matches(value, one) for one in shape), f"{where} is {value!r}")
    else:
        ktap.check(matches(value, shape), f"{where} is {value!r}")


def matches(value, shape):
    """A single value."""
    if shape is None or isinstance(shape, bool):
        return value is shape
    if isinstance(shape, str):
        return isinstance(value, str) and re.fullmatch(shape, value) is not None
    if shape is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, shape)


def one_line(*words):
    """What is printed is one line of JSON, and nothing else."""
    done = ctl.run(*words, "--json")
    ktap.equal((done.stdout.count("\n"), done.stderr), (1, ""), f"lines of {words}")
    value = json.loads(done.stdout)
    ktap.equal(list(value)[0], "version", "the first key")
    ktap.equal(value["version"], 1, "version")
    return value


RANGES = [{"offset": int, "length": int, "zero": bool}]
# Which disk, and which attachment of it.
WHICH = {"virtual_disk_id": UUID, "disk_seq": (int, None)}
CHANGES = WHICH | {"version": int, "limit": ID, "target": (ID, None), "offset": int,
                   "length": int, "processed": int, "size": int, "unit": int, "coarse": bool,
                   "derived": bool, "changed_bytes": int, "ranges": RANGES}
POINTS = [{"id": ID, "kind": "reference", "sequence": int, "time": TIME, "label": (".*", None),
           "gap": (None, "[a-z_]+"), "layer": int, "has_data": bool, "coarse": bool, "derived": bool,
           "size": int, "changed_bytes": (int, None)}]
INFO = WHICH | {
        "version": int, "disk": (int, None), "device": (r"/dev/vhdx\d+", None),
        "container": "/.*", "container_deleted": bool, "sidecar": ("/.*\\.lrct", None),
        "sidecar_deleted": bool, "former_sidecar": ("/.*", None), "data_write_guid": UUID,
        "type": "fixed|dynamic", "size": int, "block_size": int, "logical_sector_size": int,
        "physical_sector_size": int, "read_only": bool, "log_replayed": bool, "log_unwritten": bool,
        "write_failed": bool, "container_lost": bool, "io": ("direct|buffered|block", None),
        "scan": ("ok|pending|failed: .*", None), "tracking": "on|off|disabled",
        "reason": (None, "[a-z_]+"), "points": (int, None), "file": None, "vhd_set": None,
        "chain": [{"container": "/.*", "virtual_disk_id": UUID, "data_write_guid": UUID, "size": int,
                   "block_size": int, "log_replayed": bool, "log_unwritten": bool,
                   "container_deleted": bool, "container_lost": bool, "container_changed": bool}],
        "chain_fault": None}
INFO_OF_FILE = INFO | {"file": dict}
STATUS = {"version": int, "enabled": bool, "state": "on|off|disabled",
          "newer_changes": (bool, None), "most_recent_id": (ID, None),
          "reason": (None, "[a-z_]+"), "gap_time": (TIME, None), "unit": (int, None),
          "points": (int, None), "strict": (bool, None),
          "tracking_errors": ("continue|fail", None), "former_sidecar": ("/.*", None)}
LIST = {"version": int, "list": [WHICH | {
    "disk": int, "device": r"/dev/vhdx\d+", "container": "/.*", "container_deleted": bool,
    "parent": ("/.*", None), "parent_deleted": bool, "parent_lost": bool,
    "sidecar": ("/.*\\.lrct", None), "sidecar_deleted": bool, "former_sidecar": ("/.*", None),
    "read_only": bool, "size": int, "tracking": "on|off|disabled",
    "reason": (None, "[a-z_]+"), "unit": (int, None),
    "io": "direct|buffered|block", "scan": "ok|pending|failed: .*"}]}


@ktap.case
def json_of_everything():
    with container() as path:
        shown = one_line("attach", "--track", path)
        check(shown, WHICH | {"version": int, "disk": int, "device": r"/dev/vhdx\d+",
                              "reason": None, "warning": None}, "attach")
        node = shown["device"]
        try:
            sealed = one_line("seal", "--label", 'q"uo\\te ü', node)
            check(sealed, {"version": int, "points": [
                WHICH | {"disk": int, "device": node, "id": ID}]}, "seal")
            images.command("dd", "if=/dev/urandom", f"of={node}", "bs=64k", "count=1",
                           "oflag=direct")
            first = one_line("points", node)["points"][0]["id"]
            second = sealed["points"][0]["id"]
            for words in ([node], [node, "--offset", "4K", "--length", "1M"],
                          [node, "--target", second]):
                shown = one_line("changes", *words, "--since", first)
                check(shown, CHANGES | {"ranges": list} if "--target" in words else CHANGES,
                      "changes")
            check(one_line("points", node), WHICH | {"version": int, "points": POINTS}, "points")
            ktap.equal(one_line("points", node)["points"][1]["label"], 'q"uo\\te ü', "label")
            ktap.equal(one_line("points", node)["points"][0]["label"], None, "no label")
            for name in (node, path):
                check(one_line("info", name), INFO, "info")
                check(one_line("track", "status", name), STATUS, "track status")
            check(one_line("list"), LIST, "list")
            check(one_line("forget", node, first), {"version": int, "id": ID}, "forget")
            for word in ("disable", "enable", "reset"):
                keys = {} if word == "disable" else {"first_point": ID}
                check(one_line("track", word, node), {"version": int} | keys, word)
        finally:
            shown = one_line("detach", node)
        check(shown, {"version": int, "disk": int, "device": node}, "detach")
        for words, shape in ((["info"], INFO_OF_FILE), (["track", "status"], STATUS),
                             (["points"], WHICH | {"version": int, "points": POINTS}),
                             (["changes", "--since", second], CHANGES | {"ranges": list})):
            if words[0] == "changes":
                refuse(3, *words, path)
            else:
                check(one_line(*words, path), shape, f"{words} of a file")
        check(one_line("track", "verify", path), {"version": int, "points": int}, "track verify")
        ktap.equal(one_line("list"), {"version": 1, "list": []}, "an empty list")


@ktap.case
def absent_is_null():
    with container() as path, attached(path) as disk:
        status = one_line("track", "status", disk.node)
        ktap.equal([status[key] for key in ("enabled", "state", "newer_changes",
                                            "most_recent_id", "reason", "unit", "points")],
                   [False, "off", None, None, None, None, 0], "status without tracking")
        done = ctl.run("points", "--json", disk.node)
        ktap.equal(json.loads(done.stdout)["points"], [], "points")
        ktap.check("change tracking is not enabled" in done.stderr, done.stderr)
        ktap.equal(one_line("info", disk.node)["disk"], disk.index, "disk")
    with tracked_container() as path:
        shown = one_line("info", path)
        ktap.equal([shown[key] for key in ("disk", "device", "io", "scan")], [None] * 4,
                   "info of a file")


@ktap.case
def numbers_are_right():
    """The same from the command as from the driver."""
    with tracked_container() as path, attached(path) as disk:
        disk.write(3 * MIB, b"x" * 512)
        shown, info = one_line("info", disk.node), disk.handle.info()
        for key, field in (("size", "virtual_disk_size"), ("block_size", "block_size"),
                           ("logical_sector_size", "logical_sector_size"),
                           ("physical_sector_size", "physical_sector_size")):
            ktap.equal(shown[key], getattr(info, field), key)
        ktap.equal(shown["container"], str(path), "container")
        status, state = one_line("track", "status", disk.node), disk.handle.state()
        ktap.equal((status["unit"], status["most_recent_id"], status["newer_changes"]),
                   (state.unit, str(state.most_recent_id), True), "status")
        changes = one_line("changes", disk.node, "--since", state.most_recent_id)
        ktap.equal(changes["ranges"], [{"offset": 3 * MIB, "length": 16 * KIB, "zero": False}],
                   "ranges")
        ktap.equal((changes["offset"], changes["length"], changes["processed"], changes["size"]),
                   (0, 16 * MIB, 16 * MIB, 16 * MIB), "offset, length, processed, size")
        # A pipe gets bytes, in columns.
        table = ctl.run("changes", disk.node, "--since", state.most_recent_id, "--noheadings")
        ktap.equal(table.stdout.split(), [str(3 * MIB), str(16 * KIB)], "table")


@ktap.case
def full_output_is_an_error():
    """A script that writes to a full disk must not take nothing for the answer."""
    with tracked_container() as path, attached(path) as disk:
        disk.write(0, b"x" * 512)
        point = disk.handle.ids()[0]
        for form in ("--json", "--noheadings"):
            done = images.command("sh", "-c", f"vhdxctl changes {disk.node} --since {point} "
                                              f"{form} 2>&1 >/dev/full; echo $?")
            ktap.check(done.startswith("vhdxctl: ") and done.endswith("\n1\n"), done)


ktap.main()
