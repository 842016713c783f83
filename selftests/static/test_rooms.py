#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The rooms of kmod know only those below them: what they include, call, and name the type of.

What a lower room tells a higher one goes through a pointer to a function that it was handed.
"""

import os
import re
import sys
from pathlib import Path

SELFTESTS = Path(__file__).resolve().parents[1]
TREE = Path(os.environ.get("VHDX_STATIC_TREE") or SELFTESTS.parent)
KMOD = TREE / "kmod"

sys.path.insert(0, str(SELFTESTS / "lib"))

import ktap  # noqa: E402

# From the bottom up. What lies in kmod itself is compat.h.
ROOMS = ("core", "core/vhdx", "core/rct", "core/offline", "", "store", "layer", "track", "disk", "points", "user")
# Of these, what is in libvhdx alone.
NOT_BUILT = ("", "core/offline")

# Arrows that still run up, as "file > file: what". None may come; one that is gone goes here too.
KNOWN = """
""".strip().splitlines()

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
_STRING = re.compile(r'"(?:\\.|[^"\\\n])*"')
_INCLUDE = re.compile(r'^#include "([^"]+)"', re.M)
# A function or a variable that others can name.
_DEFINITION = re.compile(r"^(?!static\b|extern\b|typedef\b)(?:\w+[ \t*]+)+(\w+)"
                         r"(?:\([^;{}]*\)\s*\{|(?:\[\w*\])* =)", re.M)
# A type, where it is defined and where it is named.
_TYPE = re.compile(r"^((?:struct|enum|union) \w+) \{", re.M)
_NAMED_TYPE = re.compile(r"\b(?:struct|enum|union) \w+")
# A name, but for those of types and fields.
_NAME = re.compile(r"(?<!struct )(?<!enum )(?<!union )(?<!->)(?<![.\w])[a-z_]\w+")


def sources():
    """(path below kmod, text without comments) of all that the module is built from."""
    for path in sorted(KMOD.rglob("*.[ch]")):
        name = path.relative_to(KMOD)
        if name.parts[0] not in ("compat", "generated", "include") and not name.stem.endswith("_user"):
            yield name, _COMMENT.sub(" ", path.read_text())


def level(name):
    """How high the room is that a file is in."""
    room = name.parent.as_posix()
    return ROOMS.index("" if room == "." else room)


def included(name, what):
    """The file that is included, or None: not of kmod."""
    for path in ((KMOD / name).parent / what, KMOD / what):
        path = Path(os.path.normpath(path))
        if path.exists() and path.is_relative_to(KMOD):
            return path.relative_to(KMOD)
    return None


def includes():
    """(file, file, "#include") of each include within kmod."""
    for name, text in sources():
        for what in _INCLUDE.findall(text):
            other = included(name, what)
            if other:
                yield name, other, "#include"


def calls():
    """(file, file, name) of each use of something that is defined in another file."""
    texts = [(name, _STRING.sub('""', text)) for name, text in sources()]
    owners = {what: name for name, text in texts if name.suffix == ".c"
              for what in _DEFINITION.findall(text)}
    for name, text in texts:
        # A header declares what is its own.
        if name.suffix == ".h":
            text = re.sub(r"^(?!static\b)\w[^;{}]*\([^;{}]*\);|^extern [^;]*;", "", text,
                          flags=re.M)
        for what in sorted(set(_NAME.findall(text))):
            if owners.get(what, name) != name:
                yield name, owners[what], what


def types():
    """(file, file, type) of each mention of a type that is defined in another file."""
    texts = list(sources())
    owners = {what: name for name, text in texts if name.suffix == ".h"
              for what in _TYPE.findall(text)}
    for name, text in texts:
        for what in sorted(set(_NAMED_TYPE.findall(text))):
            if owners.get(what, name) != name:
                yield name, owners[what], what


def upward(arrows):
    """Those that run up, as in KNOWN."""
    return [f"{name} > {other}: {what}" for name, other, what in arrows
            if level(other) > level(name)]


def no_arrow_up(kind):
    """But for the known ones, and each of these is there."""
    arrows = list(KINDS[kind]())
    ktap.check(len(arrows) > 100, f"only {len(arrows)} arrows were found")
    found = set(upward(arrows))
    known = {arrow for arrow in KNOWN if kind_of(arrow) == kind}
    faults = [f"runs up: {arrow}" for arrow in sorted(found - known)]
    faults += [f"is gone, and is to leave the list: {arrow}" for arrow in sorted(known - found)]
    ktap.check(not faults, "\n".join(["", *faults]))


def kbuild_in_order():
    """Objects are listed room by room, from the bottom up."""
    text = (TREE / "Kbuild").read_text()
    listed = re.findall(r"call room,([\w/]+)|addprefix kmod/([\w/]+)/", text)
    rooms = [one or other for one, other in listed]
    ktap.equal(rooms, [room for room in ROOMS if room not in NOT_BUILT],
               "the order of the rooms")


KINDS = {"includes": includes, "calls": calls, "types": types}


def kind_of(arrow):
    """Which of KINDS finds it."""
    what = arrow.partition(": ")[2]
    return "includes" if what == "#include" else "types" if " " in what else "calls"


for one in KINDS:
    ktap.add(one, no_arrow_up, one)
ktap.add("kbuild_in_order", kbuild_in_order)
ktap.main()
