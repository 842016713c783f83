#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What gcc says of the stack that the module takes: stack.py BUILD-DIRECTORY

It was built with -fcallgraph-info=su. No function calls itself, directly or through others, but for
those that are known to end; and no frame is large. Calls through pointers are not seen: a room calls
a higher one by these only, and a lower one through a table of what that is able to do.
"""

import re
import sys
from pathlib import Path

# They go down the stack of disks that lie on disks, which is at most DEPTH_MAX high (disk.c).
ENDING = {"is_above", "depth_of"}
FRAME_MAX = 768

_NODE = re.compile(r'^node: \{ title: "([^"]+)" label: "[^"]*?\\n(\d+) bytes', re.M)
_EDGE = re.compile(r'^edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"', re.M)


def name_of(title):
    """Without its file, and without what gcc made of it."""
    return title.rpartition(":")[2].partition(".")[0]


def graph(directory):
    """({function: bytes of its frame}, {function: those that it calls})"""
    frames, calls = {}, {}
    for path in Path(directory).rglob("*.ci"):
        text = path.read_text()
        frames |= {title: int(size) for title, size in _NODE.findall(text)}
        for caller, callee in _EDGE.findall(text):
            calls.setdefault(caller, set()).add(callee)
    return frames, calls


def on_a_cycle(frames, calls):
    """Functions that call themselves, in the end."""
    found = set()
    for start in frames:
        seen, left = set(), list(calls.get(start, ()))
        while left:
            one = left.pop()
            if one not in seen and one in frames:
                seen.add(one)
                left += calls.get(one, ())
        if start in seen:
            found.add(name_of(start))
    return found


def deepest(start, frames, calls):
    """(bytes, functions) of the longest way down from one. There are no cycles."""
    below = max((deepest(one, frames, calls) for one in calls.get(start, ())
                 if one in frames and name_of(one) not in ENDING), default=(0, []))
    return frames[start] + below[0], [name_of(start), *below[1]]


def main(directory):
    """Prints what it is; whether nothing is wrong."""
    frames, calls = graph(directory)
    if len(frames) < 500:
        print(f"only {len(frames)} functions: was it built with -fcallgraph-info=su?")
        return False
    cycles = on_a_cycle(frames, calls) - ENDING
    large = {name_of(title): size for title, size in frames.items() if size > FRAME_MAX}
    for name in sorted(cycles):
        print(f"{name}() calls itself")
    for name, size in sorted(large.items()):
        print(f"{name}() takes {size} bytes of the stack, more than {FRAME_MAX}")
    if not cycles:
        size, way = max(deepest(start, frames, calls) for start in frames)
        print(f"the longest way down takes {size} bytes: {' '.join(way)}")
        size, way = deepest("vhdx_submit_bio", frames, calls)
        print(f"from submit_bio it is {size}: {' '.join(way)}")
    return not cycles and not large


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1]) else 1)
