# SPDX-License-Identifier: GPL-2.0-only
"""Manual pages and completion tell of all that is there."""
import errno
import json
import os
import re
import subprocess

from common import (BUILD, ID, USERSPACE, attached, ctl, directory, make_image, make_sidecar,
                    need)
from test_api import declared
from test_options import COMMANDS, WORDS

MAN = USERSPACE / "man"


def page(name):
    return (MAN / name).read_text().replace("\\-", "-").replace('\\&', "")


def options_of(*command):
    return re.findall(r"^  (?:-.,|   ) --([a-z-]+)", ctl(*command, "--help").out, re.M)


def columns_of(command):
    notes = re.search(r"^Columns: ([A-Z ]*[A-Z])", ctl(command, "--help").out, re.M)
    return notes.group(1).split()


def test_commands_and_options():
    text = page("vhdxctl.8")
    for command in COMMANDS:
        assert f".SS {command}\n" in text, command
        for option in options_of(command):
            assert f"--{option}" in text, (command, option)
    for word in WORDS:
        assert f".SS track {word}\n" in text, word
        for option in options_of("track", word):
            assert f"--{option}" in text, (word, option)


def test_examples_are_not_torn():
    """A tab is as wide as nroff has it, which no example means."""
    for path in MAN.glob("*.[0-9]"):
        for example in re.findall(r"^\.nf\n(.*?)^\.fi", path.read_text(), re.M | re.S):
            assert "\t" not in example, path


def test_no_invented_options():
    known = {option for command in COMMANDS for option in options_of(command)}
    known |= {option for word in WORDS for option in options_of("track", word)}
    known |= {"version"}
    for option in re.findall(r"--([a-z-]+)", page("vhdxctl.8")):
        assert option in known, option


def test_columns():
    with attached() as (fake, _):
        fake.write("points.0", "1 0 -\n")
        fake.write("ranges.0", "0 1\n")
        fake.write("allocated.0", "0 1\n")
        for command in ("list", "points", "changes", "allocated"):
            columns = columns_of(command)
            assert ", ".join(columns) in page("vhdxctl.8").replace("\n", " "), command
            since = ["--since", ID] if command == "changes" else []
            disk = [] if command == "list" else ["0"]
            for column in columns:
                assert fake.ctl(command, *disk, *since, "--output", column).lines[0] \
                    .strip() == column


def documented_json():
    """The shapes that the manual page has: {command: keys}, a list being [keys of an item]."""
    section = re.search(r"^\.SH JSON\n\.nf\n(.*?)^\.fi$", page("vhdxctl.8"), re.M | re.S).group(1)
    shapes = {}
    for names, text in re.findall(r"^(\S[^{]*?)\s*(\{[^\n]*(?:\n  [^\n]*)*)", section, re.M):
        # {a, b: [{c}]} as JSON that says {"a": null, "b": [{"c": null}]}
        text = re.sub(r"(\w+)(?=[,}\]])", r'"\1": null', text)
        text = re.sub(r"(\w+):(?= [\[{])", r'"\1":', text)
        for name in re.split(r",\s*", names):
            shapes[name.strip()] = json.loads(text)
    return shapes


def shape_of(value):
    if isinstance(value, dict):
        return {key: shape_of(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape_of(value[0])]
    return None


def test_json_keys():
    """Every command prints the keys that the manual page has, in that order."""
    shapes = documented_json()
    with attached() as (fake, image):
        fake.write("ranges.0", "0 1\n")
        fake.write("allocated.0", "0 1\n")
        found = {"attach": fake.ctl("attach", "--json", make_image(fake.root / "b.vhdx"))}
        found |= {f"track {word}": fake.ctl("track", word, "--json", "0")
                  for word in ("disable", "enable", "status", "reset")}
        for command, *rest in (["list"], ["seal", "0"], ["info", "0"], ["points", "0"],
                               ["forget", "0", ID], ["changes", "0", "--since", ID],
                               ["allocated", "0"], ["detach", "1"]):
            found[command] = fake.ctl(command, "--json", *rest)
        point, = make_sidecar(image, "seal a\n")
        with open(image.parent / "old.raw", "wb") as old:
            old.truncate(1 << 30)
            os.pwrite(old.fileno(), b"x", 5)
        found["verify"] = ctl("verify", "--json", "--base", old.name, "--since", point, image)
        found["track verify"] = fake.ctl("track", "verify", "--json", image)
        found["info of a file"] = ctl("info", "--json", make_image(fake.root / "d.vhdx"))
        found["create"] = ctl("create", "--json", "--size", "1M", fake.root / "e.vhdx")
        found["convert"] = ctl("convert", "--json", fake.root / "e.vhdx", fake.root / "f.vhdx")
        found["check"] = ctl("check", "--json", fake.root / "d.vhdx")
        found["a failure"] = fake.ctl("info", "--json", "7")
        fake.ctl("attach", make_image(fake.root / "c.vhdx")).expect(0)
        fake.fail("DETACH", errno.EIO, "io", times=1)
        found["detach that failed\nfor some"] = fake.ctl("detach", "--json", "--all")
        fake.ctl("attach", image).expect(0)
        found["detach --all"] = fake.ctl("detach", "--json", "--all")
        shapes.pop("detach of several")
        assert set(found) == set(shapes)
        for command, result in found.items():
            assert result.out.count("\n") == 1, command
            assert json.dumps(shape_of(json.loads(result.out))) == \
                json.dumps(shapes[command]), (command, result.out, shapes[command])


DOCUMENTATION = USERSPACE.parent / "Documentation"


def constants():
    """Numbers that the code has, by name."""
    found = {}
    for header in ("uapi/linux/vhdx.h", "kmod/core/rct/timeline.h", "kmod/disk/registry.h",
                   "kmod/core/rct/ondisk.h", "kmod/core/rct/changemap.h"):
        text = (USERSPACE.parent / header).read_text()
        found |= {name: int(value) for name, value in
                  re.findall(r"^#define\s+(VHDX_\w+)\s+(\d+)U?\b", text, re.M)}
        found |= {name: int(value) for name, value in
                  re.findall(r"static_assert\((VHDX_\w+\(struct \w+\)) == (\d+)\)", text)}
    return found


def limits():
    """README's section, a text for each of its words."""
    text = (USERSPACE.parent / "README").read_text()
    section = text.partition("\nLimits\n------\n\n")[2].partition("\n\n\n")[0]
    return {word: " ".join(rest.split()) for word, rest in
            re.findall(r"^(\w+)\t+(.*?)(?=^\S|\Z)", section, re.M | re.S)}


def test_limits():
    """README's numbers are the code's."""
    code, told = constants(), limits()
    assert told["Points"].startswith(f"{code['VHDX_POINTS_MAX']} a disk")
    assert told["Disks"] == (f"{code['VHDX_DISKS_MAX']} attached at once, "
                             f"{code['VHDX_SEAL_MAX']} in one seal.")
    assert f"N up to {code['VHDX_DISKS_MAX'] - 1}." in page("vhdxctl.8")
    assert told["Labels"].startswith(f"{code['VHDX_LABEL_MAX']} bytes of UTF-8")
    assert f"{code['VHDX_UNIT_DEFAULT'] >> 10} KiB, or a power of two from " \
        f"{code['VHDX_UNIT_MIN'] >> 10} KiB to {code['VHDX_UNIT_MAX'] >> 20} MiB" in told["Unit"]
    units = code["VHDX_SIDECAR_BLOCK"] * 8
    assert f"{units} units" in told["Memory"] and f"{units} units" in told["Sidecar"]
    assert f"({units * code['VHDX_UNIT_DEFAULT'] >> 20} MiB of disk" in told["Memory"]
    records = code["VHDX_SIDECAR_RECORDS(struct vhdx_sidecar_point)"]
    assert f"every {records} points" in told["Sidecar"]


def test_discard_is_described_as_it_is():
    """Neither the queue's limits nor the module's code have it, and README says so."""
    sources = "".join(path.read_text() for path in (USERSPACE.parent / "kmod").rglob("*.[ch]"))
    supported = "max_hw_discard_sectors" in sources or "blk_queue_max_discard" in sources
    readme = (USERSPACE.parent / "README").read_text()
    assert supported != ("Discard (TRIM) is refused" in readme)


def test_recovery():
    """Every reason has its row, and every command that is advised exists."""
    text = (DOCUMENTATION / "recovery.rst").read_text()
    table = text.partition("\nBy reason\n")[2].partition("exit with status 3")[0]
    rows = re.findall(r"^``(\w+)`` ", table, re.M)
    uapi = (USERSPACE.parent / "uapi/linux/vhdx.h").read_text()
    reasons = [name.lower() for name in re.findall(r"^#define VHDX_REASON_(\w+)", uapi, re.M)]
    assert sorted(rows) == sorted(set(reasons) - {"none"})
    advised = re.findall(r"``vhdxctl\s+([^`]*)``", text) + \
        re.findall(r"^\tvhdxctl (.*)$", text, re.M)
    assert len(advised) > 15
    for command in advised:
        words = command.split()
        path = words[:2] if words[0] == "track" else words[:1]
        known = options_of(*path)
        assert known, command
        for option in re.findall(r"--([a-z-]+)", command):
            assert option in known, command


def test_consistent_images():
    """The recipe is there, and nobody is told that freezing around the seal is enough."""
    assert (USERSPACE / "examples/backup-frozen").stat().st_mode & 0o111
    for text in ((DOCUMENTATION / "agent-guide.rst").read_text(), page("vhdxctl.8"),
                 (USERSPACE.parent / "README").read_text()):
        text = " ".join(text.split())
        assert "/examples/backup-frozen" in text
        assert re.search(r"around the seal alone (is not enough|gives no consistent image|to)",
                         text) or "alone is not enough" in text
    told = ctl("seal", "--freeze", "0").err
    assert "until the copy is made" in told and "around" not in told


def test_functions():
    text = page("libvhdx.3")
    for name in declared():
        assert name in text, name


def test_ioctls():
    text = page("vhdx.4")
    uapi = (USERSPACE.parent / "uapi/linux/vhdx.h").read_text()
    for name in re.findall(r"#define (VHDX_\w+)\s+_IO\(", uapi):
        assert name in text, name


def section(name, title):
    return page(name).partition(f"\n.SH {title}\n")[2].partition("\n.SH ")[0]


def test_reasons():
    uapi = (USERSPACE.parent / "uapi/linux/vhdx.h").read_text()
    reasons = [name.lower() for name in re.findall(r"^#define VHDX_REASON_(\w+)", uapi, re.M)]
    told = re.findall(r"^\.TP\n\.I (\w+)$", section("vhdx.4", "REASONS"), re.M)
    assert sorted(told) == sorted(reasons)


def test_values():
    """What the command may print for a state, it gets from these places."""
    names = (USERSPACE / "cli/names.c").read_text()
    sysfs = (USERSPACE.parent / "kmod/user/sysfs.c").read_text()
    info = (USERSPACE / "cli/info.c").read_text()
    containers = "".join((USERSPACE.parent / f"kmod/store/container_{kind}.c").read_text()
                         for kind in ("bdev", "file"))
    values = {
        "tracking": re.findall(r'return "(\w+)";', names),
        "kind": re.search(r'\? "(\w+)" : "(\w+)"', names).groups(),
        "io": re.findall(r'"(\w+)"', " ".join(re.findall(r"->io = (.*);", containers))),
        "scan": ["failed:", *re.search(r'\? "(ok)" : "(pending)"', sysfs).groups()],
        "type": [*re.search(r'DISK_FIXED \? "(\w+)" : "(\w+)"', info).groups(),
                 *re.search(r'has_parent\)\n\t\treturn "(\w+)"', info).groups()],
    }
    items = re.split(r"^\.TP\n", section("vhdxctl.8", "VALUES"), flags=re.M)
    told = {re.match(r"\.IR? (\w+)", item).group(1): item for item in items[1:]}
    assert set(told) == {*values, "reason"}
    for name, known in values.items():
        text = told[name].partition("\n.PP\n")[0]
        assert sorted(re.findall(r"^\.BR? ([\w:]+)", text, re.M)) == sorted(known), name


def test_attributes():
    """Files in sysfs: those of the code, in the manual and in the ABI's description."""
    sysfs = (USERSPACE.parent / "kmod/user/sysfs.c").read_text()
    named = r"^(?:static DEVICE_ATTR_RO|(?:JOURNAL_)?STATISTIC)\((\w+)(?:\);|,)"
    attributes = sorted(re.findall(named, sysfs, re.M))
    abi = (DOCUMENTATION / "ABI/testing/sysfs-block-vhdx").read_text()
    assert sorted(re.findall(r"^What:.*/vhdx/(\w+)$", abi, re.M)) == attributes
    parents = (USERSPACE.parent / "kmod/user/sysfs_parents.c").read_text()
    of_parents = sorted(re.findall(r"__ATTR_RO\((\w+)\)", parents))
    assert sorted(re.findall(r"^What:.*/parent<K>/(\w+)$", abi, re.M)) == of_parents
    text, _, told = page("vhdx.4").partition(".SS Files in /sys")[2].partition("\n.S")[0].partition("\n.PP\nA differencing")
    assert all(re.search(rf"\b{name}\b", told) for name in of_parents)
    told = re.findall(r'^\.BR (\w+)|^\.BR.*?", " (\w+)|", " (\w+)', text, re.M)
    assert sorted("".join(names) for names in told) == attributes


def test_parameters():
    """Of the module, with their defaults; and what the library takes from the environment."""
    text = section("vhdx.4", "DESCRIPTION").partition(".SS Module parameters\n")[2]
    sources = "".join(path.read_text() for path in (USERSPACE.parent / "kmod").rglob("*.c"))
    parameters = re.findall(r"^module_param\((\w+),", sources, re.M)
    told = re.findall(r"^\.TP\n\.B (\w+)\n(.*?)(?=^\.TP|\Z)", text, re.M | re.S)
    assert sorted(parameters) == sorted(name for name, _ in told)
    for name, what in told:
        default = re.search(rf" {name} = (\w+);", sources).group(1)
        assert f"default is {default}" in " ".join(what.split()), name
    library = "".join(path.read_text() for path in (USERSPACE / "lib").glob("*.c"))
    for variable in re.findall(r'getenv\("(\w+)"\)', library):
        for name in ("vhdxctl.8", "libvhdx.3"):
            assert variable in section(name, "ENVIRONMENT" if name[-1] == "8" else "DESCRIPTION")


def test_usual_columns():
    with attached() as (fake, _):
        fake.write("points.0", "1 7 -\n")
        text = " ".join(page("vhdxctl.8").split())
        for command, *disk in (["list"], ["points", "0"]):
            usual = fake.ctl(command, *disk).lines[0].split()
            assert re.search(rf"[Tt]he usual (ones|columns): {', '.join(usual)}\.", text), usual


def test_synopsis():
    """It has the arguments that --help has."""
    synopsis = re.sub(r"\\f[BIR]|[\"]", "", section("vhdxctl.8", "SYNOPSIS"))
    for word in WORDS:
        wanted = re.search(r"^Usage: .* (\S+)$", ctl("track", word, "--help").out, re.M).group(1)
        line = next(line for line in synopsis.splitlines()
                    if "track" in line and re.search(rf"\b{word}\b", line))
        assert line.replace(" ", "").endswith(wanted), (word, line)


def test_installed():
    """What the manual says is installed; and it runs from there."""
    with directory() as path:
        subprocess.run(["make", "-s", "-C", USERSPACE, f"O={BUILD}", f"DESTDIR={path}", "install"],
                       check=True, stdout=subprocess.DEVNULL)
        shared = re.findall(r"share/doc/vhdx/\S+[a-z]", page("vhdxctl.8") + page("vhdx.4"))
        assert len(shared) > 2
        for name in (*shared, "share/doc/vhdx/agent-guide.rst", "share/doc/vhdx/sysfs-block-vhdx"):
            assert (path / "usr" / name).is_file(), name
        for name in declared():
            text = (path / f"usr/share/man/man3/{name}.3").read_text()
            told = re.match(r"\.so man3/(\S+)\n", text)
            assert name in section(told.group(1) if told else f"{name}.3", "NAME"), name
        done = subprocess.run([path / "usr/bin/vhdxctl", "help"], check=True, text=True,
                              capture_output=True, env={"LD_LIBRARY_PATH": path / "usr/lib"})
        assert done.stdout == ctl("--help").out


def test_pages_are_well_formed():
    need("man")
    for path in sorted(MAN.iterdir()):
        done = subprocess.run(["man", "--warnings=w", "-l", "-Tutf8", path], text=True,
                              capture_output=True, check=False)
        assert not done.returncode and not done.stderr, (path, done.stderr)


def test_unit():
    need("systemd-analyze")
    with directory() as path:
        # What it runs has to exist where it says.
        text = (BUILD / "vhdx-detach.service").read_text()
        unit = path / "vhdx-detach.service"
        unit.write_text(re.sub(r"=\S*/vhdxctl", f"={BUILD}/vhdxctl", text))
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], text=True,
                              capture_output=True, check=False)
        assert not done.returncode and not done.stderr, done.stderr


COMPLETE = r"""
_init_completion() { COMPREPLY=() cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
	words=("${COMP_WORDS[@]}") cword=$COMP_CWORD; }
_filedir() { COMPREPLY+=(FILES); }
__ltrim_colon_completions() { :; }
. "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
_vhdxctl
printf '%s\n' "${COMPREPLY[@]}"
"""


def complete(fake, *words):
    env = {**fake.env, "PATH": f"{BUILD}:/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", COMPLETE, "bash", USERSPACE / "completion/vhdxctl",
                           *words], env=env, text=True, capture_output=True, check=True)
    assert not done.stderr, done.stderr
    return set(done.stdout.split())


def test_completion():
    with attached() as (fake, _):
        fake.write("points.0", "1 0 -\n")
        assert set(COMMANDS) | {"track"} <= complete(fake, "vhdxctl", "")
        assert complete(fake, "vhdxctl", "de") == {"detach"}
        assert set(WORDS) <= complete(fake, "vhdxctl", "track", "")
        for command in COMMANDS:
            found = complete(fake, "vhdxctl", command, "--")
            assert found == {f"--{option}" for option in options_of(command)}, command
        found = complete(fake, "vhdxctl", "track", "enable", "--")
        assert "--unit" in found
        assert complete(fake, "vhdxctl", "detach", "") == {"/dev/vhdx0"}
        assert "FILES" in complete(fake, "vhdxctl", "attach", "")
        assert "FILES" in complete(fake, "vhdxctl", "info", "")
        assert complete(fake, "vhdxctl", "forget", "0", "") == {ID}
        assert complete(fake, "vhdxctl", "changes", "0", "--since", "") == {ID}
        assert complete(fake, "vhdxctl", "list", "--output", "S") == {"SIZE", "SCAN", "SIDECAR"}
