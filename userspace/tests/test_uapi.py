# SPDX-License-Identifier: GPL-2.0-only
"""The contract is described: each field with its unit, each ioctl, each error."""
import errno
import re

from common import REASONS, TREE

HEADER = (TREE / "uapi/linux/vhdx.h").read_text()
PAGE = (TREE / "Documentation/uapi.rst").read_text()

ERRNOS = {*errno.errorcode.values(), "EOPNOTSUPP"}

# An array's elements, and what another structure describes, are measured in what is said there.
UNITS = r"\bbytes?\b|sizeof|nanoseconds|milliseconds|in whole units|the sum of|_SIZE_VER0|" \
    r"as (?:there|in struct)"


def structures():
    """{name: (fields in order, {field: text}, the whole comment)}"""
    found = {}
    for name, comment, body in re.findall(
            r"/\*\*\n \* struct (\w+) - (.*?)\*/\nstruct \1 \{\n(.*?)^\}", HEADER, re.S | re.M):
        fields = re.findall(r"(\w+)(?:\[[^;]*\])*;", body)
        told = {field: " ".join(text.replace("\n *", " ").split()) for field, text in
                re.findall(r"^ \* @(\w+):(.*?)(?=^ \* @|^ \*$|\Z)", comment, re.S | re.M)}
        found[name] = fields, told, comment
    return found


def table(title):
    """The rows below a title: a row goes on where its first cell is empty."""
    text = PAGE.partition(f"\n{title}\n=")[2]
    edge = re.search(r"^=+ [ =]+$", text, re.M).group()
    rows = text.split(f"\n{edge}\n")[2].splitlines()
    starts = [match.start() for match in re.finditer("=+", edge)]
    cells = [[row[start:end].strip() for start, end in zip(starts, [*starts[1:], None])]
             for row in rows]
    joined = []
    for row in cells:
        if row[0]:
            joined.append(row)
        else:
            joined[-1] = [f"{old} {new}".strip() for old, new in zip(joined[-1], row)]
    return joined


def test_fields():
    """Every structure has a comment, with every field in its order."""
    declared = re.findall(r"^struct (\w+) \{", HEADER, re.M)
    found = structures()
    assert declared == list(found)
    for name, (fields, told, _) in found.items():
        assert list(told) == fields, (name, fields, list(told))
        assert all(told.values()), name


def test_units():
    """Whoever reads of a quantity need not guess what it counts."""
    quantity = r"_ns$|_ms$|_bytes$|byte_|size$|^unit$|gap$|^granularity$|_used$|_limit$"
    found = 0
    for name, (_, told, _) in structures().items():
        for field, text in told.items():
            if re.search(quantity, field):
                assert re.search(UNITS, text), (name, field, text)
                found += 1
    assert found > 40


def test_ioctls():
    """The table of ioctls is the header's."""
    numbers = dict(re.findall(r"#define (VHDX_\w+)\s+_IO\(VHDX_IOCTL_MAGIC, (0x\w+)\)", HEADER))
    sizes = dict(re.findall(r"#define VHDX_(\w+)_SIZE_VER0\s+(\d+)U", HEADER))
    writes = set(re.findall(r"#define (VHDX_\w+)\s+_IO\(.*\)\s+/\* \(w\) \*/", HEADER))
    rows = table("Ioctls")
    assert {row[0].strip("`"): row[1] for row in rows} == numbers
    found = structures()
    for ioctl, _, device, needs, structure, size in rows:
        ioctl, structure = ioctl.strip("`"), structure.strip("`")
        assert f"struct {structure} - argument of {ioctl}\n" in HEADER, ioctl
        assert sizes[structure.removeprefix("vhdx_").upper()] == size, ioctl
        assert device == ("/dev/vhdxcN" if int(numbers[ioctl], 16) >= 0x20 else
                          "/dev/vhdx-control"), ioctl
        if device == "/dev/vhdxcN":
            assert (needs == "write") == (ioctl in writes), ioctl
        else:
            assert (needs == "root") == ("CAP_SYS_ADMIN" in found[structure][2]), ioctl


def test_errors():
    """The errors of each ioctl are those that the header has, and reasons are known."""
    found = structures()
    for ioctl, _, _, _, structure, _ in table("Ioctls"):
        rows = table(f"Errors of {ioctl.strip('`')}")
        told = {row[0].strip("`") for row in rows}
        comment = found[structure.strip("`")][2]
        named = {word for word in re.findall(r"\bE[A-Z0-9]+\b", comment) if word in ERRNOS}
        assert told == named, (ioctl, told ^ named)
        for _, reason, when in rows:
            assert when, ioctl
            if reason not in ("--", "any gap's"):
                assert reason.strip("`").lower() in REASONS, reason


def test_rules():
    """What holds for all of them stands at the head of the header."""
    head = HEADER.partition("*/\n#ifndef")[0]
    for row in table("Errors of all of them"):
        assert row[0].strip("`") in head or row[0] == "``EBADF``", row
