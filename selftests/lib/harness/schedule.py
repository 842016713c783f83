# SPDX-License-Identifier: GPL-2.0-only
"""Runs jobs side by side, as CPUs and memory allow."""

import dataclasses
import threading
import typing
from fractions import Fraction

# For the host itself.
RESERVE = 2 << 30


def available_memory():
    """What can be had now, in bytes."""
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    return 0


@dataclasses.dataclass
class Job:
    """Something to run, and what of the host it takes: of CPUs an exact number, for what is given back
    must be as much as was taken."""

    run: typing.Callable
    cpus: int | Fraction = 1
    memory: int = 0


class Schedule:
    """Begins jobs in their order, each when there is room for it. Leaving waits for all."""

    def __init__(self, cpus):
        self.cpus = cpus
        self.memory = available_memory() - RESERVE
        # Those that have not ended, and of these those that take a part of a CPU.
        self.running = self.working = 0
        self.changed = threading.Condition()
        self.errors = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with self.changed:
            self.changed.wait_for(lambda: not self.running)
        if self.errors:
            raise self.errors[0]

    def _has_room(self, job):
        """A job that is too large for the host runs alone."""
        return not self.working or self.cpus >= job.cpus and self.memory >= job.memory

    def _account(self, job, sign):
        self.running += sign
        self.working += sign * (job.cpus > 0)
        self.cpus -= sign * job.cpus
        self.memory -= sign * job.memory
        self.changed.notify_all()

    def _run(self, job):
        try:
            job.run()
        except BaseException as error:  # pylint: disable=broad-exception-caught
            self.errors.append(error)
        finally:
            with self.changed:
                self._account(job, -1)

    def begin_all(self, jobs):
        """Begins them one after the other, and does not wait for that."""
        def begin():
            for job in jobs:
                self.begin(job)

        # It takes nothing itself, and its end is waited for as that of any other is.
        self._start(Job(begin, cpus=0))

    def _start(self, job):
        with self.changed:
            self._account(job, 1)
        threading.Thread(target=self._run, args=(job,)).start()

    def begin(self, job):
        """Waits until there is room, and starts it."""
        with self.changed:
            self.changed.wait_for(lambda: self._has_room(job))
            self._account(job, 1)
        threading.Thread(target=self._run, args=(job,)).start()
