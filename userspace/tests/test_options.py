# SPDX-License-Identifier: GPL-2.0-only
"""Wrong usage is exit 2 and changes nothing; sizes."""
import re

from common import ID, Fake, attached, ctl, directory

COMMANDS = ["attach", "detach", "list", "info", "seal", "points", "forget", "changes", "allocated",
            "verify", "create", "convert", "check"]
WORDS = ["enable", "disable", "status", "reset", "verify"]

WRONG = [
    [],
    ["no-such-command"],
    ["--no-such-option"],
    ["attach"],
    ["attach", "--no-such-option", "x"],
    ["attach", "a", "b"],
    ["attach", "--track", "--no-track", "x"],
    ["attach", "--track", "--read-only", "x"],
    ["attach", "--read-only", "--retire-windows-rct", "x"],
    ["attach", "--unit", "64K", "x"],
    ["attach", "--track", "--unit", "3K", "x"],
    ["attach", "--track", "--unit", "2K", "x"],
    ["attach", "--track", "--unit", "2M", "x"],
    ["attach", "--track", "--unit", "x", "x"],
    ["attach", "--unit"],
    ["attach", "--index", "-1", "x"],
    ["attach", "--index", "one", "x"],
    ["attach", "--index", "99999999999", "x"],
    ["detach"],
    ["detach", "--all", "1"],
    ["list", "0"],
    ["list", "--output", "DEVICE,NONSENSE"],
    ["list", "--output", ""],
    ["info"],
    ["track"],
    ["track", "no-such-word", "0"],
    ["track", "enable"],
    ["track", "enable", "--unit", "5000", "0"],
    ["track", "status", "0", "1"],
    ["seal"],
    ["seal", "--freeze", "0"],
    ["seal", "--label", "x" * 65, "0"],
    ["seal", "--label", "two\nlines", "0"],
    ["seal", "--label", "\udcff", "0"],
    ["points"],
    ["forget", "0"],
    ["changes", "0"],
    ["changes", "--since", ID, "--offset", "-1", "0"],
    ["changes", "--since", ID, "--length", "1X", "0"],
    ["changes", "--since", ID, "--map", "--json", "0"],
    ["changes", "--since", ID],
    ["changes", "--since", ID, "--format", "xml", "0"],
    ["changes", "--since", ID, "--format", "csi", "--json", "0"],
    ["changes", "--since", ID, "--format", "csi", "--map", "0"],
    ["changes", "--since", ID, "--format", "csi", "--summary", "0"],
    ["changes", "--since", ID, "--format", "json", "--map", "0"],
    ["changes", "--since", ID, "--max-results", "5", "0"],
    ["changes", "--since", ID, "--format", "csi", "--output", "OFFSET", "0"],
    ["changes", "--since", ID, "--format", "csi", "--max-results", "-1", "0"],
    ["allocated"],
    ["allocated", "0", "1"],
    ["allocated", "--zeroes", "--min-gap", "1M", "0"],
    ["allocated", "--zeroes", "--format", "csi", "0"],
    ["allocated", "--format", "", "0"],
    ["allocated", "--max-results", "5", "0"],
    ["verify", "0"],
    ["verify", "--since", ID, "0"],
    ["verify", "--base", "x", "0"],
    ["verify", "--base", "", "--since", ID, "0"],
    ["verify", "--base", "x", "--since", ID],
    ["points", "--sidecar", "", "x"],
    ["check"],
    ["check", "a", "b"],
    ["check", "--sidecar", "", "x"],
    ["create"],
    ["create", "x"],
    ["create", "--size", "1G"],
    ["create", "--size", "0", "x"],
    ["create", "--size", "1G", "--type", "thick", "x"],
    ["create", "--size", "1G", "--block-size", "4G", "x"],
    ["create", "--size", "1G", "x", "y"],
    ["convert"],
    ["convert", "x"],
    ["convert", "x", "y", "z"],
    ["convert", "--from", "qcow2", "x", "y"],
    ["convert", "--type", "thick", "x", "y"],
    ["convert", "--sector-size", "4G", "x", "y"],
    ["convert", "--map-path", "=x", "x", "y"],
]

# An option where the value of another one is missing.
SWALLOWED = [
    ["changes", "--since", "--summary", "0"],
    ["changes", "--target", "--json", "--since", ID, "0"],
    ["points", "--sidecar", "--help", "x"],
    ["attach", "--sidecar", "--track", "x"],
    ["seal", "--label", "--json", "0"],
]


def test_swallowed_options():
    with attached() as (fake, _):
        for arguments in SWALLOWED:
            fake.ctl(*arguments).expect(2, f"{arguments[1]} needs a value, and {arguments[2]} is")
        assert not fake.calls
        # Damaged where it was kept, that is something else.
        fake.ctl("changes", "--since", "--x", "0").expect(3, "is not the id", "full backup")
        fake.ctl("seal", "--label=--json", "0").expect(0)
        fake.ctl("seal", "--label", "--nightly--", "0").expect(0)


def test_wrong_usage():
    with directory() as path:
        fake = Fake(path)
        for arguments in WRONG:
            result = fake.ctl(*arguments)
            result.expect(2, "vhdxctl: ")
        assert not fake.calls


def test_zero_is_no_size():
    """What was not given is 0 for the library: whoever gives it is told."""
    for command in (["create", "--size", "0", "x"], ["convert", "--block-size", "0K", "x", "y"],
                    ["create", "--size", "1G", "--log-size", "0", "x"],
                    ["attach", "--unit", "0", "x"], ["track", "enable", "--unit", "0", "x"]):
        option = next(word for word, value in zip(command, command[1:]) if value[0] == "0")
        ctl(*command).expect(2, f"{option}: 0 is no size")


def test_help():
    for command in [[], *([name] for name in COMMANDS), *(["track", word] for word in WORDS),
                    ["track"]]:
        result = ctl(*command, "--help").expect(0)
        assert result.out.startswith("Usage: vhdxctl"), result.out
        assert not result.err


def test_help_has_the_options():
    out = ctl("attach", "--help").out
    assert re.search(r"^ +--tracking-errors continue\|fail\n {35}where changes", out, re.M), out
    for option in ("--read-only", "--track", "--no-track", "--unit", "--sidecar",
                   "--retire-windows-rct", "--index", "--json", "--help"):
        assert option in out, option


def test_version():
    assert ctl("--version").expect(0).out.startswith("vhdxctl ")


def sizes(fake, text):
    return fake.ctl("changes", "--since", ID, "--offset", text, "--length", "0", "--json", "0")


def test_sizes():
    right = {
        "0": 0, "4096": 4096, "4096B": 4096, "1k": 1 << 10, "1K": 1 << 10, "1KiB": 1 << 10,
        "1KB": 1000, "16M": 16 << 20, "16MiB": 16 << 20, "16mb": 16000000, "2G": 2 << 30,
        "3T": 3 << 40, "1P": 1 << 50, "1E": 1 << 60, "1.5M": 3 << 19,
        "0.5K": 512, "1.50K": 1536, "2.25KB": 2250, "1.0": 1, "0.001GB": 1000000, "18446744073709551615": (1 << 64) - 1,
    }
    with attached() as (fake, _):
        for text, value in right.items():
            assert sizes(fake, text).expect(0).json["offset"] == value, text


def test_wrong_sizes():
    with attached() as (fake, _):
        for text in ("", "K", "x", "1.5", "1.3K", "1.K", ".5K", "1.5.5K", "1.-5K", "1,5K", "15.9999999999999999999E",
                     "-1", "+1", " 1", "1 K", "1Ki", "1KiBB", "1KX",
                     "16E", "18446744073709551616", "0x10", "1Q"):
            sizes(fake, text).expect(2, "is not a size")


def test_letters():
    """The habits of lsblk; a letter is the same option everywhere."""
    with attached() as (fake, _):
        fake.write("points.0", "1 0 -\n")
        fake.write("ranges.0", "0 1\n")
        for column, command, *rest in (("device", "list"), ("id", "points", "0"),
                                       ("offset", "changes", "0", "--since", ID)):
            for short, long in ((["-J"], ["--json"]), (["-bn"], ["--bytes", "--noheadings"]),
                                (["-no", column], ["--noheadings", f"--output={column}"])):
                assert fake.ctl(command, *short, *rest).expect(0).out == \
                    fake.ctl(command, *long, *rest).expect(0).out
        assert fake.ctl("detach", "-J", "0").json["disk"] == 0
        fake.ctl("detach", "-b", "0").expect(2, "unknown option -b")
        fake.ctl("list", "-Jx").expect(2, "unknown option -x")
        fake.ctl("list", "-o").expect(2, "needs a value")


def test_more_columns():
    with attached() as (fake, _):
        usual = fake.ctl("list").lines[0].split()
        assert fake.ctl("list", "-o", "+disk,IO").lines[0].split() == [*usual, "DISK", "IO"]
        fake.ctl("list", "-o", "+nonsense").expect(2, "no column")
        fake.ctl("list", "-o", "+").expect(2, "no column")


def test_options_behind_arguments():
    with attached() as (fake, _):
        fake.ctl("changes", "0", "--since", ID, "--length", "0").expect(0)
