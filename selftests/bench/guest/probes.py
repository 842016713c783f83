# SPDX-License-Identifier: GPL-2.0-only
"""When functions of the kernel were called, and when they returned: kprobes through tracefs.

    with probes.of(close="p vhdx:vhdx_gate_close", grace="r synchronize_rcu_expedited") as found:
        ...
        found()         [("close", seconds), ...] of this task, since it was asked before
        found("close")  the same of the tasks in which that has happened
"""

import contextlib
import os
import pathlib
import re

from vhdxtest.knob import turned

_TRACING = pathlib.Path("/sys/kernel/tracing")
_LINE = re.compile(r"-(\d+) +\[.* (\d+\.\d+): (\w+): \(")


def _events(by=None):
    text = (_TRACING / "trace").read_text()
    (_TRACING / "trace").write_text("")
    events = _LINE.findall(text)
    tasks = {task for task, _, name in events if name == by} if by else {str(os.getpid())}
    return [(name, float(seconds)) for task, seconds, name in events if task in tasks]


@contextlib.contextmanager
def of(**functions):
    """A function that tells what happened; p: a call, r: a return."""
    control = _TRACING / "kprobe_events"
    control.write_text("".join(f"{place.split()[0]}:bench/{name} {place.split()[1]}\n"
                               for name, place in functions.items()))
    try:
        with turned(_TRACING / "events/bench/enable", "1"):
            _events()
            yield _events
    finally:
        control.write_text("")
