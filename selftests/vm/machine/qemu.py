# SPDX-License-Identifier: GPL-2.0-only
"""The QEMU command line."""

KERNEL_PARAMETERS = " ".join([
    "console=ttyS0", "loglevel=8", "printk.devkmsg=on", "printk.time=1",
    # The machine ends with the kernel (-no-reboot); a hang is a defect.
    "panic=-1", "oops=panic", "hung_task_panic=1",
    # Emulated CPUs on a busy host stand still now and then.
    "watchdog_thresh=60", "rcupdate.rcu_cpu_stall_timeout=120", "tsc=nowatchdog",
    "mitigations=off", "nokaslr", "random.trust_cpu=on",
])


# All that QEMU can emulate, but for fast string instructions: it goes through those byte by
# byte, and a kernel that believes in them copies and clears at half the speed.
CPU = "max,erms=off,fsrm=off"


class Drive:
    """A disk of the guest, which finds it by its serial.

    cache=writeback (persistent): QEMU's process can be killed at any time, and
    the file has every write that a completed flush covers. It has most other
    completed writes too, as they are in the host's page cache: a kill is a
    power loss of a disk with a volatile cache that happened to be written back.
    cache=unsafe, for what goes away with the run, leaves out the host's fsync.
    """

    def __init__(self, serial, path, *, private_copy=False, persistent=False, readonly=False):
        self.serial = serial
        self.path = path
        self.snapshot = "on" if private_copy else "off"
        self.cache = "writeback" if persistent else "unsafe"
        self.readonly = "on" if readonly else "off"

    def arguments(self):
        """Its part of the command line."""
        path = str(self.path).replace(",", ",,")
        return ["-drive", f"if=none,id={self.serial},file={path},format=raw,discard=unmap,"
                          f"cache={self.cache},snapshot={self.snapshot},"
                          f"readonly={self.readonly}",
                "-device", f"virtio-blk-pci,drive={self.serial},serial={self.serial}"]


def port(name, fd):
    """A virtio port called vhdx.name, connected to the socket fd."""
    return ["-chardev", f"socket,id={name},fd={fd}",
            "-device", f"virtserialport,chardev={name},name=vhdx.{name}"]


def command_line(kernel, memory, cpus, drives, ports, console):
    """The whole command line; ports maps names to socket descriptors."""
    command = [
        # No machine outlives its runner.
        "setpriv", "--pdeathsig", "KILL", "--",
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
        "-no-reboot", "-accel", "tcg,thread=multi", "-cpu", CPU,
        "-m", f"{memory >> 20}M", "-smp", str(cpus), "-nic", "none",
        "-chardev", f"file,id=console,path={str(console).replace(',', ',,')}",
        "-serial", "chardev:console",
        "-kernel", str(kernel.image), "-initrd", str(kernel.initramfs),
        "-append", f"{KERNEL_PARAMETERS} {kernel.parameters}",
        "-device", "virtio-serial-pci",
    ]
    for name, fd in ports.items():
        command += port(name, fd)
    for drive in drives:
        command += drive.arguments()
    return command
