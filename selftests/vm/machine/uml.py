# SPDX-License-Identifier: GPL-2.0-only
"""The command line of User Mode Linux: the kernel itself, as a process of the host."""

import os
import signal
from pathlib import Path

from products import BuildError, say

# Beside those of every machine. CPUs need seccomp: without it, there is one. A tick takes 10 ms,
# and what attaches and detaches waits for many grace periods: these begin at once, and look around
# at every tick.
KERNEL_PARAMETERS = ("noreboot seccomp=on uml_dir=. umid=uml con=null con0=null,fd:1 ssl=null "
                     "rcupdate.rcu_expedited=1 rcutree.jiffies_till_first_fqs=0 "
                     "rcutree.jiffies_till_next_fqs=1")

# It has nothing that it would have to write. Asked to end, it would do so as a kernel does that
# crashes.
END_SIGNAL = signal.SIGKILL

# What has a meaning in a disk's description, and what ends an argument of a kernel.
SEPARATORS = ",: \t\n\""
# Where its memory is, which is a file: in memory, not on a disk.
MEMORY = Path("/dev/shm")
# How many disks have a name.
DISKS = 16


def memory_directory(plan):
    """Where the guest's memory is. One that outgrew its file system would die without a word."""
    room = os.statvfs(MEMORY)
    if plan.memory <= room.f_bavail * room.f_frsize:
        return MEMORY
    say(f"{MEMORY} has no room for {plan.memory >> 20} MiB: the machine has its memory on a disk, "
        "and is slow")
    return plan.directory


def environment(plan):
    """Its environment."""
    variables = {name: value for name, value in os.environ.items()
                 if name not in ("TMP", "TEMP", "TMPDIR")}
    return {**variables, "TMPDIR": str(memory_directory(plan))}


def name_here(plan, name, path):
    """A name in the run's directory, which is the machine's, for a file with any name."""
    if not any(separator in str(path) for separator in SEPARATORS):
        return str(path)
    if Path(path).parent == plan.directory:
        return Path(path).name
    link = plan.directory / name
    link.symlink_to(path)
    return name


def drive(plan, number, disk):
    """A disk's argument.

    What the guest writes is in the host's page cache when the guest is told that
    it is done: a killed machine leaves a disk that wrote everything.
    """
    image = name_here(plan, f"{disk.serial}.img", disk.path)
    if disk.private_copy:
        image = f"{disk.serial}.cow,{image}"
    else:
        image += ","
    # Images that others have open too are not locked: QEMU would not take them then.
    flags = ("r" if disk.readonly else "") + ("" if disk.persistent else "c")
    return f"ubd{number}{flags}={image},{disk.serial}"


def command_line(kernel, plan):
    """The whole command line; standard output is the kernel log."""
    if len(plan.disks) > DISKS:
        raise BuildError(f"User Mode Linux has {DISKS} disks; with its own, these are "
                         f"{len(plan.disks)}")
    return [
        str(kernel.image), f"mem={plan.memory >> 20}M", f"ncpus={plan.cpus}",
        f"initrd={name_here(plan, 'initramfs', kernel.initramfs)}",
        *(drive(plan, number, disk) for number, disk in enumerate(plan.disks)),
        # In the order that guest/start has.
        *(f"ssl{number}=fd:{plan.ports[name]}"
          for number, name in enumerate(("stdout", "stderr", "verdict"))),
        *KERNEL_PARAMETERS.split(), *plan.parameters.split(),
    ]
