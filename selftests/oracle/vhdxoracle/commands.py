# SPDX-License-Identifier: GPL-2.0-only
"""The commands of the command line; each returns its exit status."""

import dataclasses
import json
import os
import sys

from . import describe
from .arguments import merged
from .builder import create
from .chain import content_sha256, open_disk, write_raw
from .checker import check, faults
from .dirtying import dirty
from .image import Image
from .model import check_answer, compare, join
from .mutations import REGISTER, mutate


def _show(data):
    json.dump(data, sys.stdout, indent=1)
    print()


def run_info(args):
    with Image(args.image) as image:
        _show(describe.info(image))
    return 0


def run_map(args):
    with Image(args.image) as image:
        _show(list(describe.block_map(image, args.all)))
    return 0


def run_log(args):
    with Image(args.image) as image:
        _show(list(describe.log_entries(image)))
    return 0


def run_check(args):
    findings = check(args.image, args.clean)
    wrong = faults(findings, args.strict)
    if args.json:
        _show([finding.as_dict() for finding in findings])
    else:
        for finding in findings:
            print(f"{args.image}: {finding}")
        print(f"{args.image}: {len(wrong)} faults")
    return 1 if wrong else 0


def run_raw(args):
    with open_disk(args.image, args.parent) as image:
        if args.sha256:
            print(content_sha256(image))
        if args.output:
            skipped = write_raw(image, args.output, args.skip_faulty)
            for offset, length in skipped:
                print(f"{args.image}: {length} bytes at {offset} cannot be read", file=sys.stderr)
    return 0


def run_create(args):
    offsets = {name: value for name in ("log", "metadata", "bat")
               if (value := getattr(args, f"{name}_offset")) is not None}
    if args.size is None and args.raw is None and args.parent is None:
        raise ValueError("give --size, --raw or --parent")
    size = args.size
    if size is None and args.raw is not None:
        size = os.path.getsize(args.raw)
    create(args.image, size, kind=args.kind, block_size=args.block_size,
           logical_sector=args.sector_size, physical_sector=args.physical_sector_size,
           content=args.raw if args.raw is not None else args.write, states=merged(args.state),
           parent=args.parent, log_length=args.log_length, bat_length=args.bat_length,
           order=args.order.split(","), offsets=offsets, gap=args.gap, shuffle=args.shuffle,
           trailing=args.trailing, required=0 if args.not_required else 1, seed=args.seed)
    return 0


def run_dirty(args):
    dirty(args.image, args.write, merged(args.state), group=args.group,
          first_empty=not args.no_first_empty, guid_per_entry=args.guid_per_entry,
          applied=args.applied, poison=args.poison, torn=args.torn, stale=args.stale,
          older=args.older, start=args.start, wrap=args.wrap, sequence=args.sequence,
          zero_pages=args.zero_pages, flushed=args.flushed, last=args.last, seed=args.seed)
    return 0


def run_mutate(args):
    if args.list:
        _show([{"name": m.name, "attach": m.attach, "structure": m.structure, "base": m.base,
                "note": m.note} for m in REGISTER.values()])
        return 0
    if args.all:
        os.makedirs(args.all, exist_ok=True)
        for name in REGISTER:
            path = os.path.join(args.all, name)
            expectation = mutate(name, path + ".vhdx", seed=args.seed)
            with open(path + ".json", "w", encoding="utf-8") as file:
                json.dump(dataclasses.asdict(expectation), file, indent=1)
        print(len(REGISTER))
        return 0
    if args.name not in REGISTER or not args.output:
        raise ValueError("give the NAME of a mutation (see --list) and an OUTPUT, or --all DIR")
    _show(dataclasses.asdict(mutate(args.name, args.output, args.source, args.seed)))
    return 0


def run_compare(args):
    ranges = compare(args.before, args.after, args.unit)
    if args.json:
        _show([{"offset": o, "length": n} for o, n in ranges.lengths()])
    else:
        for offset, length in ranges.lengths():
            print(offset, length)
    return 1 if ranges else 0


def _load(path):
    if path == "-":
        return json.load(sys.stdin)
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def run_verify(args):
    if (args.before is None) != (args.after is None):
        raise ValueError("--before and --after go together")
    writes = None if args.writes is None else _load(args.writes)
    pages = [_load(path) for path in args.answer]
    join(pages)                    # raises if they don't follow each other
    wrong = [sentence for page in pages for sentence in check_answer(
        page, args.before, args.after, writes, args.granularity, args.min_gap)]
    for sentence in wrong:
        print(sentence)
    return 1 if wrong else 0
