# SPDX-License-Identifier: GPL-2.0-only
"""selftests/vm/run: one command in one machine, and an exit status to rely on."""

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import images
import klog
import qemu
import uml
from options import FAILURE, parse
from plan import KERNEL_PARAMETERS, Disk, Plan
from products import BUILD, BuildError, Kernel, coverage, install, say
from session import Session

TIMED_OUT = 124
# Lines of a boot's log that are shown.
BOOT_LINES = 60
# The kernel's first message about our module.
MODULE_LOADS = "vhdx: loading"
# A kernel that patches its own code while QEMU's other CPU runs it dies now and then
# (int3 in the scheduler), long before our module: that says nothing about the module.
BOOTS = 3
# The guest's last message before it.
COMMAND_STARTS = "vhdx-vm: COMMAND starts"
# What runs a machine.
MACHINES = {"qemu": qemu, "uml": uml}
# Logs of runs without --out that are kept.
LOGS = 50


@contextlib.contextmanager
def run_directory():
    """A directory for this run's images; also removes those of runners that were killed."""
    base = BUILD / "vm" / "run"
    base.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context(open(base / "lock", "w", encoding="ascii"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        for path in base.glob("*/lock"):
            with open(path, encoding="ascii") as owner, contextlib.suppress(BlockingIOError):
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path.parent, ignore_errors=True)
        directory = Path(tempfile.mkdtemp(dir=base))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        mine = stack.enter_context(open(directory / "lock", "w", encoding="ascii"))
        fcntl.flock(mine, fcntl.LOCK_EX)
        fcntl.flock(lock, fcntl.LOCK_UN)
        yield directory


def disks(options, directory, kernel, job):
    """All disks of the machine."""
    result = [
        Disk("root", kernel.userland, private_copy=True),
        Disk("modules", kernel.modules, private_copy=True),
        Disk("job", job, readonly=True),
        Disk("tmp", images.ext4(directory / "tmp.img", images.TMP_SIZE)),
    ]
    if options.input:
        size = images.allocated(options.input) + images.IN_SLACK
        result.append(Disk("in", images.ext4(directory / "in.img", size, options.input)))
    if options.output or coverage():
        result.append(Disk("out", images.sparse(directory / "out.tar", images.OUT_SIZE)))
    for number, disk in enumerate(options.disks):
        serial = f"disk{number}"
        if isinstance(disk, int):
            result.append(Disk(serial, images.sparse(directory / serial, disk)))
        else:
            result.append(Disk(serial, disk, persistent=True))
    return result


def boot(options, directory):
    """Makes the machine and runs it to its end."""
    kernel = Kernel(options.kernel)
    if options.icount and kernel.machine != "qemu":
        raise BuildError(f"{options.kernel} runs on the host's clock: no --icount")
    token = secrets.token_hex(16)
    (directory / "job/files").mkdir(parents=True)
    has_module = install(kernel, directory / "job/files")
    job = images.job(directory, kernel, options, token, has_module)
    console = directory / "console"
    console.touch()
    machine = MACHINES[kernel.machine]
    session = Session(options, token, console, machine)
    plan = Plan(directory, options.mem + kernel.extra_memory,
                1 if options.icount else options.smp, options.icount,
                disks(options, directory, kernel, job), session.ports(), console,
                f"{KERNEL_PARAMETERS} {kernel.parameters}")
    # Where QEMU says what is wrong; what User Mode Linux says is the kernel log.
    messages = console if kernel.machine == "uml" else directory / "qemu"
    with open(messages, "ab") as file:
        session.run(kernel, plan, file)
    return session


def died_at_boot(directory, session):
    """Did the kernel report a defect of its own, before anything of ours was there?"""
    log = (directory / "console").read_text(encoding="utf-8", errors="replace")
    return (session.verdict.started is None and MODULE_LOADS not in log and
            klog.first_defect(log) is not None)


def unpack_output(directory, target, *members):
    """Unpacks what was in /out."""
    result = subprocess.run(["tar", "-C", target, "-xSf", directory / "out.tar", *members],
                            stderr=subprocess.PIPE, text=True, check=False)
    if result.returncode:
        raise BuildError(f"cannot unpack /out: {result.stderr.strip()}")


def fetch_output(options, directory):
    """Brings back what was in /out, and the counters that the guest put there."""
    if options.output:
        unpack_output(directory, options.output, "--exclude=./.coverage")
    if coverage():
        os.makedirs(coverage(), exist_ok=True)
        unpack_output(directory, tempfile.mkdtemp(dir=coverage()), "--strip-components=2",
                      "./.coverage")


def keep_log(options, directory):
    """Puts the kernel log where its reader finds it; returns path and text."""
    text = (directory / "console").read_text(encoding="utf-8", errors="replace")
    text = text.replace("\r", "")
    if options.output:
        path = Path(options.output) / "kernel.log"
    else:
        logs = BUILD / "vm" / "log"
        logs.mkdir(parents=True, exist_ok=True)
        path = logs / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
        for old in sorted(logs.iterdir())[:-LOGS]:
            old.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")
    return path, text


def judge(options, session, log):
    """The exit status, and what to say about one that is not COMMAND's."""
    # The stacks that were asked for at a timeout are no defect.
    defect = klog.first_defect(log[:session.log_size_at_timeout])
    verdict = session.verdict
    if defect:
        return FAILURE, f"the kernel reported a defect: {defect}"
    if verdict.failure:
        return FAILURE, verdict.failure
    if verdict.started is None:
        return FAILURE, "the machine ended or hung before COMMAND started"
    if session.killed:
        return 0, None
    if session.timed_out:
        return TIMED_OUT, f"COMMAND did not end in {options.timeout:g} s"
    if verdict.status is None:
        return FAILURE, "the machine ended without a verdict"
    if not session.complete:
        return FAILURE, "lost console: the machine's output or kernel log is incomplete"
    return verdict.status, None


def tail_of(log):
    """What came after the boot; if COMMAND was not reached, the last lines."""
    start = log.rfind(COMMAND_STARTS)
    if start >= 0:
        return log[log.rfind("\n", 0, start) + 1:]
    return "".join(log.splitlines(keepends=True)[-BOOT_LINES:])


def messages_of_qemu(directory):
    """What it said, but for its last words."""
    with contextlib.suppress(FileNotFoundError):
        for line in (directory / "qemu").read_text(errors="replace").splitlines():
            if "terminating on signal" not in line:
                yield line


def report(options, directory, session):
    """Keeps the log, says what went wrong, and returns the exit status."""
    path, log = keep_log(options, directory)
    status, reason = judge(options, session, log)
    if reason:
        os.write(2, tail_of(log).encode())
        for line in messages_of_qemu(directory):
            say(line)
        say(f"the whole kernel log is in {path}")
        say(reason)
    return status


def open_standard_streams():
    """Makes sure that 0, 1 and 2 are open, and no socket or file gets their numbers."""
    while os.open(os.devnull, os.O_RDWR) <= 2:
        pass


def keep_input(options):
    """Standard input is COMMAND's alone, or nobody's; a descriptor of it, if it is wanted."""
    mine = os.dup(0) if options.fed else None
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return mine


def main():
    """Runs COMMAND and exits as the contract says."""
    open_standard_streams()
    options = parse(sys.argv[1:])
    options.lines = keep_input(options)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    os.umask(0o022)
    try:
        if options.output:
            os.makedirs(options.output, exist_ok=True)
        for attempt in range(1, BOOTS + 1):
            with run_directory() as directory:
                session = boot(options, directory)
                if attempt < BOOTS and died_at_boot(directory, session):
                    say("the kernel died while it booted, before the module: once more")
                    continue
                if session.verdict.status is not None:
                    fetch_output(options, directory)
                return report(options, directory, session)
    except (BuildError, OSError) as error:
        with contextlib.suppress(OSError):
            say(error)
        return FAILURE


if __name__ == "__main__":
    sys.exit(main())
