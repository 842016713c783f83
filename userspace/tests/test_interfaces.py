# SPDX-License-Identifier: GPL-2.0-only
"""The tables of Documentation/interfaces.rst say what the code says."""
import errno
import re

from common import REASONS, TREE, load_library
from test_api import HEADER, declared
from test_docs import options_of
from test_options import COMMANDS

PAGE = (TREE / "Documentation/interfaces.rst").read_text()
UAPI = (TREE / "uapi/linux/vhdx.h").read_text()

library = load_library()


def table(title):
    """The rows of the table below a title, without its heading."""
    text = PAGE.partition(f"\n{title}\n")[2]
    rows = re.search(r"^=+ [ =]*\n.*?\n=+ [ =]*\n(.*?)\n=+ [ =]*$", text, re.M | re.S).group(1)
    edges = [match.start() for match in
             re.finditer("=+", re.search(r"^=+ [ =]*$", text, re.M).group())]
    return [[row[start:end].strip() for start, end in zip(edges, [*edges[1:], None])]
            for row in rows.splitlines()]


def words(cells):
    return re.findall(r"``([^`]*)``", " ".join(cells))


def test_methods():
    """What is named on the right is there."""
    told = words(row[1] for row in table("Methods"))
    functions = {word.removesuffix("()") for word in told if word.endswith("()")}
    ioctls = {word for word in told if word.startswith("VHDX_")}
    commands = {word.split()[1] for word in told if word.startswith("vhdxctl ")}
    assert functions <= {*declared(), "vhdx_job_start"}
    assert ioctls <= set(re.findall(r"#define (VHDX_\w+)\s+_IO\(", UAPI)) and len(ioctls) > 9
    assert commands <= {*COMMANDS, "track"} and len(commands) > 7


def test_parameters():
    """Those of the method, in its order."""
    prototype = re.search(r"^VHDX_API [^\n]*\bvhdx_get_virtual_disk_changes\((.*?)\);", HEADER,
                          re.M | re.S).group(1)
    names = [re.findall(r"\w+", one)[-1] for one in prototype.split(",")]
    told = words(row[1] for row in table("Parameters of GetVirtualDiskChanges"))
    assert told == [name for name in names if name != "range_count"]


def test_return_values():
    """Each code of the method; and each row is what the library makes of it."""
    codes = {int(code) for code in re.findall(r"#define VHDX_CODE_\w+\s+(\d+)U", HEADER)}
    told = set()
    for name, reason, code, what in table("Return values"):
        if code:
            told.add(int(code))
        if not name or name == "--":
            continue
        name, reason = name.strip("`"), reason.strip("`").lower()
        number = {"EOPNOTSUPP": 95}.get(name) or getattr(errno, name)
        reason = REASONS["none" if reason == "--" else reason]
        assert library.vhdx_code_from_errno(-number, reason) == int(code), (name, reason)
        lost = library.vhdx_full_backup_needed(-number, reason)
        assert lost == ("full backup" in what), (name, reason, what)
    assert told == codes


def test_jobs():
    """States and requests have the numbers that Windows has for them."""
    defined = dict(re.findall(r"#define (VHDX_JOB_\w+)\s+(\d+)U", HEADER))
    for theirs, ours in table("Jobs"):
        number = re.search(r" (\d+)(?:,|$)", theirs)
        for name, value in re.findall(r"``(VHDX_JOB_\w+)`` (\d+)", ours):
            assert value == number.group(1) == defined.get(name, value), (theirs, ours)
    names = {re.findall(r"\w+", word)[-1] for word in words(row[1] for row in table("Jobs"))}
    members = {name for name in names if name.islower() and not name.startswith("vhdx_")}
    assert len(members) == 9
    text = re.search(r"^struct vhdx_job_info \{\n(.*?)^\}", HEADER, re.M | re.S)
    if text:  # where libvhdx has the states of a job
        assert members <= set(re.findall(r"\w+", text.group(1)))
        assert set(re.findall(r"``(vhdx_\w+)\(\)``", PAGE)) <= set(declared())
        assert set(defined) - {"VHDX_JOB_TEXT", "VHDX_JOB_OPTIONS_SIZE_VER0"} <= names


def test_requests_of_csi():
    for row in table("Requests of csi"):
        for option in re.findall(r"--([a-z-]+)", row[1]):
            assert option in options_of("changes"), option
    default = re.search(r"#define RESULTS_DEFAULT\s+(\d+)",
                        (TREE / "userspace/cli/csi.c").read_text()).group(1)
    assert f"0: {default}\n" in PAGE
