#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# vm: on=- full=6.12 takes=10
"""Events of tracefs: each that Documentation/tracing.rst has is seen, and says what happened.

The kernels of User Mode Linux have no tracing.
"""

import contextlib
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
from vhdxtest import ctl, ktap
from vhdxtest.disk import attached
from vhdxtest.images import KIB, MIB, container

TRACING = pathlib.Path("/sys/kernel/tracing")
EVENTS = TRACING / "events/vhdx"
DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "Documentation/tracing.rst"


@contextlib.contextmanager
def traced():
    """A list that holds what was traced, as (event, {field: text}), once the block has ended."""
    found = []
    (TRACING / "trace").write_text("")
    (EVENTS / "enable").write_text("1")
    try:
        yield found
    finally:
        (EVENTS / "enable").write_text("0")
        text = (TRACING / "trace").read_text()
        for event, fields in re.findall(r": (vhdx_\w+): vhdx\d+: (.*)", text):
            words = fields.split()
            found.append((event, dict(word.split("=") for word in words if "=" in word) |
                          {"direction": words[0]}))


def numbers(found, event, *names):
    """The fields of these names, of each such event."""
    return [tuple(int(fields[name]) for name in names) for one, fields in found if one == event]


def words(found, event, name):
    """The field of this name, of each such event."""
    return [fields[name] for one, fields in found if one == event]


@ktap.case
def documented():
    """Those that the kernel has, with their fields."""
    known = {}
    for event, fields in re.findall(r"^``(vhdx_\w+): ([^`]*)``$", DOCUMENT.read_text(), re.M):
        known[event] = set(re.findall(r"(\w+)=", fields))
    there = {path.parent.name: set(re.findall(r" (\w+)=%", path.read_text()))
             for path in EVENTS.glob("*/format")}
    ktap.equal(known, there, "events and their fields")


@ktap.case
def reads_and_writes():
    """A hole, a first write, which begins the session, and one in place."""
    with container() as path, traced() as found:
        with attached(path) as disk:
            disk.read(0, 4 * KIB)
            disk.write(3 * MIB, bytes(4 * KIB))
            disk.write(3 * MIB + 8 * KIB, bytes(8 * KIB))
            disk.read(3 * MIB + 8 * KIB, 8 * KIB)
    slow = [(fields["direction"], fields["why"]) for event, fields in found if event == "vhdx_slow"]
    for one in (("read", "page"), ("write", "session"), ("write", "allocate")):
        ktap.check(one in slow, f"{one} is not in {slow}")
    ((block, where, _),) = numbers(found, "vhdx_allocate", "block", "where", "zeroed")
    ktap.equal(block, 3, "block")
    mapped = [(fields["direction"], fields["kind"]) + tuple(
        int(fields[name]) for name in ("offset", "length", "where"))
              for event, fields in found if event == "vhdx_map"]
    ktap.check(("read", "zero", 0, 4 * KIB, 0) in mapped, f"no read of nothing: {mapped}")
    place = 3 * MIB + 8 * KIB, 8 * KIB, where + 8 * KIB
    for direction in ("write", "read"):
        ktap.check((direction, "data", *place) in mapped, f"no {direction} in place: {mapped}")
    pages = [pages for pages, err in numbers(found, "vhdx_commit", "pages", "err") if not err]
    ktap.check(1 in pages, f"no commit of one page: {pages}")


@ktap.case
def a_point_and_a_question():
    """The steps of a seal; what an answer was made of; and a gap."""
    with container() as path, attached(path, "--track") as disk:
        first, = disk.handle.ids()
        disk.write(0, bytes(4 * KIB))
        with traced() as found:
            point = disk.handle.seal()
            changed = disk.handle.changes(first, point)
            ctl.run("track", "reset", disk.node)
    steps = words(found, "vhdx_seal_step", "step")
    ktap.equal(steps[:5], ["exchanged", "committed", "pending", "renewed", "issued"], "steps")
    ktap.check(len(numbers(found, "vhdx_sidecar_commit", "time", "err")) >= 2,
               "a seal commits the sidecar twice")
    ktap.check((len(changed), 1) in numbers(found, "vhdx_query", "ranges", "leaves"),
               f"{words(found, 'vhdx_query', 'ranges')} ranges")
    ktap.equal(words(found, "vhdx_gap", "reason"), ["6"], "the reason: a reset")


if not (TRACING / "events").is_dir():
    ktap.skip_all("this kernel has no tracing")
ktap.main()
