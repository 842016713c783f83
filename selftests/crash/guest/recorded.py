# SPDX-License-Identifier: GPL-2.0-only
"""A tracked disk, both of whose files are recorded, and what is done to it.

    with recorded(plan) as (container, sidecar, listener):
        listener(0, ["seal"])           the first event

Disk 0 has both files, disk 1 the log, and the next ones are the layers below. The events are
lines of /out/events; the number of each is a mark in the recording.
"""

import contextlib
import json
import os

from vhdxtest import log_writes


@contextlib.contextmanager
def recorded(plan):
    """See the module's text."""
    with open("/out/events", "w", encoding="ascii") as told, log_writes.recorded(
            os.environ["VHDX_DISK0"], os.environ["VHDX_DISK1"], *plan["sizes"]) as recorder:
        def listener(position, event):
            told.write(json.dumps(event) + "\n")
            recorder.acknowledge(position)

        yield *recorder.paths, listener


def below(plan, first=2):
    """Options of vhdxctl attach: layers below the container are this disk and the next ones."""
    return [word for number in range(plan["parents"])
            for word in ("--parent", os.environ[f"VHDX_DISK{first + number}"])]
