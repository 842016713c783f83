# SPDX-License-Identifier: GPL-2.0-only
"""The QEMU command line."""

import os
import signal

# Beside those of every machine.
KERNEL_PARAMETERS = ("console=ttyS0 watchdog_thresh=60 tsc=nowatchdog mitigations=off nokaslr "
                     "random.trust_cpu=on")

# It closes its files in order then.
END_SIGNAL = signal.SIGTERM

# All that QEMU can emulate, but for fast string instructions: it goes through those byte by
# byte, and a kernel that believes in them copies and clears at half the speed; and page tables
# of five levels, which make each miss of the emulated TLB dearer, a tenth of everything.
CPU = "max,erms=off,fsrm=off,la57=off"


def environment(plan):
    """What is written to images that are not to change goes to this run's directory."""
    return {**os.environ, "TMPDIR": str(plan.directory)}


def drive(disk):
    """A disk's part of the command line.

    cache=writeback (persistent): QEMU's process can be killed at any time, and
    the file has every write that a completed flush covers. It has most other
    completed writes too, as they are in the host's page cache: a kill is a
    power loss of a disk with a volatile cache that happened to be written back.
    cache=unsafe, for what goes away with the run, leaves out the host's fsync.
    """
    path = str(disk.path).replace(",", ",,")
    return ["-drive", f"if=none,id={disk.serial},file={path},format=raw,discard=unmap,"
                      f"cache={'writeback' if disk.persistent else 'unsafe'},"
                      f"snapshot={'on' if disk.private_copy else 'off'},"
                      f"readonly={'on' if disk.readonly else 'off'}",
            "-device", f"virtio-blk-pci,drive={disk.serial},serial={disk.serial}"]


def port(name, fd):
    """A virtio port called vhdx.name, connected to the socket fd."""
    return ["-chardev", f"socket,id={name},fd={fd}",
            "-device", f"virtserialport,chardev={name},name=vhdx.{name}"]


def cpus(plan):
    """The CPUs, and what their clocks go by."""
    if plan.icount:
        return ["-accel", "tcg,thread=single", "-icount", "shift=0"]
    return ["-accel", "tcg,thread=multi"]


def command_line(kernel, plan):
    """The whole command line."""
    command = [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
        # The machine ends with the kernel.
        "-no-reboot", *cpus(plan), "-cpu", CPU,
        "-m", f"{plan.memory >> 20}M", "-smp", str(plan.cpus), "-nic", "none",
        "-chardev", f"file,id=console,path={str(plan.console).replace(',', ',,')}",
        "-serial", "chardev:console",
        "-kernel", str(kernel.image), "-initrd", str(kernel.initramfs),
        "-append", f"{plan.parameters} {KERNEL_PARAMETERS}",
        "-device", "virtio-serial-pci",
    ]
    for name, fd in plan.ports.items():
        command += port(name, fd)
    for disk in plan.disks:
        command += drive(disk)
    return command
