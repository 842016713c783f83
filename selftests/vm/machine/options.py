# SPDX-License-Identifier: GPL-2.0-only
"""The command line of selftests/vm/run."""

import argparse
import os
import re
import sys

FAILURE = 125

DESCRIPTION = """\
Run COMMAND in a virtual machine that has this tree's module loaded and its
commands on the PATH. What is stale is built first.
"""

EPILOG = """\
In the guest:
  /src            this tree, read-only; COMMAND's working directory
  /in             a private, writable copy of --in DIR
  /out            what is put here is in --out DIR afterwards
  /tmp            16 GiB of ext4
  VHDX_DISK0 ...  the device nodes of the --disk options, in their order
  VHDX_CORPUS     sample images, if the host has them

Exit status:
  COMMAND's own   it ran, and the kernel log is clean (128+N: killed by signal N)
  0               with --kill-after: COMMAND was running when the machine was killed
  124             COMMAND did not end in time
  125             panic, WARN, BUG, oops, lockdep splat, sanitizer report, hung
                  task or stall; memory that the module leaked (debug kernel);
                  lost console or verdict; failure of the runner

uml and uml-lockdep are User Mode Linux, a process of this host, the others run in QEMU.
User Mode Linux runs no 32-bit programs, and a machine of it that is killed leaves disks
to which all was written that the guest was told is written, flushed or not. It has no
overlayfs, and loop devices after `modprobe loop`.

The kernel log is kept as kernel.log in --out DIR, or else below build/vm/log;
with 124 and 125 it is also printed on stderr.

Environment:
  VHDX_CACHE      kernels and guest images, default ~/.cache/vhdx
  VHDX_NO_MODULE  1: build and load nothing
  VHDX_BRIEF      anything: suites do a part of what they do thousands of times
  VHDX_LONG       anything: they do more than otherwise
  VHDX_SEED       a number: what suites leave to chance comes from it
  VHDX_COVERAGE   directory for the module's counters of gcov (debug kernel)
"""


class Parser(argparse.ArgumentParser):
    """Usage errors must not look like an exit status of COMMAND."""

    def error(self, message):
        self.print_usage(sys.stderr)
        print(f"vm: {message}", file=sys.stderr)
        sys.exit(FAILURE)


def size(text):
    """A size such as 512M, in bytes."""
    match = re.fullmatch(r"([0-9]+)([KMGT]?)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size (examples: 512M, 4G)")
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[match[2]]


def memory(text):
    """The guest's memory; a bare number is in MiB, as QEMU has it."""
    value = int(text) << 20 if text.isdecimal() else size(text)
    if value < 1 << 20:
        raise argparse.ArgumentTypeError(f"'{text}' is less than 1 MiB")
    return value


def cpus(text):
    """A number of CPUs."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of CPUs")
    return int(text)


def disk(text):
    """A size for a fresh disk, or the path of an existing raw image."""
    if re.fullmatch(r"[0-9]+[KMGT]?", text) and not os.path.exists(text):
        return size(text)
    if not os.path.exists(text):
        raise argparse.ArgumentTypeError(f"'{text}' is neither a size nor an existing file")
    return os.path.abspath(text)


def directory(text):
    """An existing directory."""
    if not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a directory")
    return os.path.abspath(text)


def seconds(text):
    """A positive duration."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds")
    return value


def parse(arguments):
    """Parses the command line; what is wrong with it ends the program with 125."""
    parser = Parser(prog="run", description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False,
                    usage="%(prog)s [options] -- COMMAND...",
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", default="6.12", metavar="K",
                        help="6.1, 6.12 (default), newest; uml, uml-lockdep, debug, which are "
                             "built; or the PATH of a kernel directory as selftests/vm/kernel "
                             "--root prints it")
    parser.add_argument("--in", dest="input", type=directory, metavar="DIR",
                        help="copy DIR to /in")
    parser.add_argument("--out", dest="output", metavar="DIR",
                        help="copy /out to DIR, which is created")
    parser.add_argument("--mem", type=memory, default="2G", metavar="M",
                        help="memory (default 2G; the debug kernel gets more for itself)")
    parser.add_argument("--smp", type=cpus, default=2, metavar="N",
                        help="CPUs (default 2)")
    parser.add_argument("--icount", action="store_true",
                        help="the guest's clocks count instructions, one a nanosecond, on its "
                             "one CPU (not uml)")
    parser.add_argument("--disk", dest="disks", type=disk, action="append", default=[],
                        metavar="SIZE|FILE",
                        help="a fresh empty disk, or a raw image that keeps what is written")
    parser.add_argument("--timeout", type=seconds, default="600", metavar="S",
                        help="time for COMMAND (default 600)")
    parser.add_argument("--fed", action="store_true",
                        help="lines of standard input are COMMAND's; its time begins anew with "
                             "each")
    parser.add_argument("--kill-after", type=seconds, metavar="S",
                        help="cut the machine's power S seconds after COMMAND started")
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="what to run")
    return parser.parse_args(arguments)
