# SPDX-License-Identifier: GPL-2.0-only
"""Parsing of what the command line takes: sizes, writes, block states."""

import argparse

from .builder import parse_state

_SUFFIXES = {"k": 10, "m": 20, "g": 30, "t": 40}


def size(text):
    """"512", "4K", "1M", "64T", "0x200"; a sum with + as in "1M+512"."""
    try:
        total = 0
        for part in text.split("+"):
            shift = _SUFFIXES.get(part[-1:].lower(), 0)
            total += int(part[:-1] if shift else part, 0) << shift
        return total
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 512, 4K or 1M+512") from error


def write(text):
    """"OFFSET:LENGTH:BYTE" or "OFFSET:@FILE" as (offset, bytes)."""
    try:
        offset, rest = text.split(":", 1)
        if rest.startswith("@"):
            with open(rest[1:], "rb") as file:
                return size(offset), file.read()
        length, byte = rest.split(":")
        return size(offset), bytes([int(byte, 0)]) * size(length)
    except (ValueError, OSError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not OFFSET:LENGTH:BYTE or OFFSET:@FILE ({error})") from error


def state(text):
    """"BLOCK=STATE" or "FIRST-LAST=STATE", STATE with "+" for space of its own."""
    try:
        blocks, name = text.split("=")
        first, _, last = blocks.partition("-")
        parse_state(name.upper())
        return {block: name.upper() for block in range(int(first), int(last or first) + 1)}
    except (ValueError, KeyError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not BLOCK=STATE") from error


def merged(dictionaries):
    result = {}
    for dictionary in dictionaries or ():
        result.update(dictionary)
    return result
