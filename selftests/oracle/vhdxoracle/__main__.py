# SPDX-License-Identifier: GPL-2.0-only
"""Command line: python3 -m vhdxoracle COMMAND --help"""

import argparse
import sys

from . import arguments, commands
from .findings import VhdxError
from .layout import MIB

_WRITE = "OFFSET:LENGTH:BYTE or OFFSET:@FILE; may be repeated"
_STATE = "BLOCK[-LAST]=STATE, e.g. 3=ZERO or 4-7=UNMAPPED+ (+: with space of its own); may be repeated"


def _changes(parser):
    parser.add_argument("--write", type=arguments.write, action="append", default=[], help=_WRITE)
    parser.add_argument("--state", type=arguments.state, action="append", default=[], help=_STATE)
    parser.add_argument("--seed", type=int, help="make GUIDs and random choices repeatable")


def _readers(add):
    parser = add("info", commands.run_info, "headers, regions, metadata and log as JSON")
    parser.add_argument("image")

    parser = add("map", commands.run_map, "states of the payload blocks as JSON")
    parser.add_argument("image")
    parser.add_argument("--all", action="store_true", help="blocks without an entry too")

    parser = add("log", commands.run_log, "all valid log entries, stale ones too, as JSON")
    parser.add_argument("image")

    parser = add("check", commands.run_check, "strict structural check; exit status 1 if there are faults")
    parser.add_argument("image")
    parser.add_argument("--clean", action="store_true", help="a dirty log is a fault")
    parser.add_argument("--strict", action="store_true", help="warnings are faults")
    parser.add_argument("--json", action="store_true")

    parser = add("raw", commands.run_raw, "the virtual disk's content, through log and parents")
    parser.add_argument("image")
    parser.add_argument("output", nargs="?", help="written sparse")
    parser.add_argument("--parent", action="append", default=[],
                        help="path of the parent, then of its parent ...; default: as the locators say")
    parser.add_argument("--sha256", action="store_true", help="print the content's sha256")
    parser.add_argument("--skip-faulty", action="store_true",
                        help="leave zeros where blocks cannot be read, and name them on stderr")


def _makers(add):
    parser = add("create", commands.run_create, "a clean image of any legal shape")
    parser.add_argument("image")
    parser.add_argument("--size", type=arguments.size)
    parser.add_argument("--kind", choices=("dynamic", "fixed"), default="dynamic")
    parser.add_argument("--parent", help="make a differencing disk of this one")
    parser.add_argument("--raw", help="content: a raw file")
    parser.add_argument("--block-size", type=arguments.size)
    parser.add_argument("--sector-size", type=int, choices=(512, 4096), help="logical; default 512")
    parser.add_argument("--physical-sector-size", type=int, choices=(512, 4096), help="default 4096")
    parser.add_argument("--log-length", type=arguments.size, default=MIB)
    parser.add_argument("--bat-length", type=arguments.size)
    parser.add_argument("--order", default="log,metadata,bat", help="order of the structures in the file")
    for name in ("log", "metadata", "bat"):
        parser.add_argument(f"--{name}-offset", type=arguments.size)
    parser.add_argument("--gap", type=arguments.size, default=0, help="space between them")
    parser.add_argument("--shuffle", action="store_true", help="blocks in random order")
    parser.add_argument("--trailing", type=arguments.size, default=0, help="bytes behind the last block")
    parser.add_argument("--not-required", action="store_true", help="region flags as QEMU writes them")
    _changes(parser)

    parser = add("dirty", commands.run_dirty, "move changes into the log of a clean image, in place")
    parser.add_argument("image")
    parser.add_argument("--group", type=int, default=1, help="changes in one entry; 0: all")
    parser.add_argument("--no-first-empty", action="store_true", help="no empty entry first")
    parser.add_argument("--guid-per-entry", action="store_true", help="as QEMU writes logs")
    parser.add_argument("--applied", type=int, default=0, help="so many entries are applied, before the tail")
    parser.add_argument("--poison", action="store_true", help="... and harmful if replayed all the same")
    parser.add_argument("--torn", choices=("sector", "checksum", "header"), help="a broken last entry")
    parser.add_argument("--stale", type=int, default=0, help="entries of another LogGuid behind the head")
    parser.add_argument("--older", type=int, default=0, help="entries with lower numbers behind the head")
    parser.add_argument("--start", type=arguments.size, default=0, help="offset of the first entry in the log")
    parser.add_argument("--wrap", action="store_true", help="an entry goes around the log's end")
    parser.add_argument("--sequence", type=int, help="number of the first entry; default random")
    parser.add_argument("--zero-pages", action="store_true", help="zero descriptors for zero pages")
    parser.add_argument("--flushed", type=arguments.size, help="FlushedFileOffset of all entries")
    parser.add_argument("--last", type=arguments.size, help="LastFileOffset of all entries")
    _changes(parser)

    parser = add("mutate", commands.run_mutate, "single faults and oddities; prints what attach must do")
    parser.add_argument("name", nargs="?")
    parser.add_argument("output", nargs="?")
    parser.add_argument("--from", dest="source", help="image to start from; default: a suitable one")
    parser.add_argument("--list", action="store_true", help="all mutations as JSON")
    parser.add_argument("--all", metavar="DIR", help="write NAME.vhdx and NAME.json of each to DIR")
    parser.add_argument("--seed", type=int, default=1)


def _judges(add):
    parser = add("compare", commands.run_compare,
                 "ranges in which two raw images differ, as lines OFFSET LENGTH; exit status 1 if any")
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--unit", type=arguments.size, default=1)
    parser.add_argument("--json", action="store_true")

    parser = add("verify", commands.run_verify, "judge an answer to a query; exit status 1 if it is wrong")
    parser.add_argument("answer", nargs="+", help="JSON as `vhdxctl changes --json` prints it; - for stdin; "
                        "several are the pages of one query, in order")
    parser.add_argument("--before", help="raw image at the limit")
    parser.add_argument("--after", help="raw image at the target")
    parser.add_argument("--writes", help="JSON list of [offset, length] of all writes between")
    parser.add_argument("--granularity", type=arguments.size, default=0)
    parser.add_argument("--min-gap", type=arguments.size, default=0)


def main(argv=None):
    parser = argparse.ArgumentParser(prog="vhdxoracle", description="Independent VHDX tool for tests.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name, run, help_text):
        sub = subparsers.add_parser(name, help=help_text, description=help_text)
        sub.set_defaults(run=run)
        return sub

    for group in (_readers, _makers, _judges):
        group(add)
    args = parser.parse_args(argv)
    try:
        return args.run(args)
    except VhdxError as error:
        print(f"vhdxoracle: {error} [{error.errno}]", file=sys.stderr)
    except (OSError, ValueError) as error:
        print(f"vhdxoracle: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
