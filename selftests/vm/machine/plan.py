# SPDX-License-Identifier: GPL-2.0-only
"""What a machine is made of, whatever runs it."""

import dataclasses
from pathlib import Path

# For every kernel in every machine.
KERNEL_PARAMETERS = " ".join([
    "loglevel=8", "printk.devkmsg=on", "printk.time=1",
    # A hang is a defect.
    "panic=-1", "oops=panic", "hung_task_panic=1",
    # CPUs on a busy host stand still now and then.
    "rcupdate.rcu_cpu_stall_timeout=120",
])


@dataclasses.dataclass
class Disk:
    """A disk of the guest, which finds it by its serial."""

    serial: str
    path: Path
    # What is written goes away with the machine, and others may use the image too.
    private_copy: bool = False
    # What is written outlives the machine, even one that is killed.
    persistent: bool = False
    readonly: bool = False


@dataclasses.dataclass
class Plan:
    """A machine."""

    # Of this run alone, for what the machine keeps on the host.
    directory: Path
    memory: int
    cpus: int
    # Clocks and the time stamp counter count the instructions of the only CPU.
    icount: bool
    disks: list
    # Where the guest's streams come out: descriptors, by name.
    ports: dict
    # The file that the kernel log goes to.
    console: Path
    parameters: str
