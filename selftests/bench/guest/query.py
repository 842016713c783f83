# SPDX-License-Identifier: GPL-2.0-only
"""What a question about changes costs: live, and between two sealed points.

The first question after an attach reads the sidecar, which is cold; the cheapest of the next ones is
warm. Beside it: PAGEMAP_SCAN of as many pages, with the same ones written; a bitmap of QEMU, read
over NBD; and a plain read of as many bytes as a bitmap has.
"""

import contextlib
import subprocess
from pathlib import Path

from measure import command, never_idle, row, skip
from vhdxtest import uapi
from vhdxtest.disk import attached

IMAGES = Path("/in/query")
NOTHING = bytes(uapi.NOW).hex()
PAGES = 2 << 30 >> 14
ROUNDS = 5
SMALL = (("every", "every second unit"), ("many", "20 %, random"), ("few", "1 %, random"),
         ("rare", "0.01 %, random"), ("run", "1 %, in one run"))
PAGEMAP_GOALS = {"many": (">=", 2), "few": (">=", 10)}
QEMU_IMAGES = (("random64G", "1 % of 64G"), ("run64G", "1 % of 64G in a run"),
               ("dense64G", "every second of 64G"), ("1T", "0.01 % of 1T"),
               ("one64T", "one unit of 64T"))
YEAR_GOAL = ("<=", 1.2)
SEALED_GOAL, BITS_GOAL, QEMU_GOAL, ONE_GOAL = (">=", 0.8), (">=", 0.8), (">=", 50), ("<=", 1.2)


def measured(*arguments):
    """(instructions, how many were told)"""
    told = command("/in/changes", *arguments).split()
    return int(told[0]), int(told[1])


def insn(count):
    """In a row."""
    return f"{count / 1e6:.2f}M" if count >= 1e6 else f"{count}"


def costs(name, form="ranges"):
    """({"cold", "warm", "live": instructions}, how many ranges, or bytes of bits)."""
    found = {}
    with attached(IMAGES / f"{name}.vhdx") as disk:
        first, second = (bytes(point).hex() for point in disk.handle.ids())
        found["cold"], count = measured(form, disk.char, first, second, 1)
        found["warm"], again = measured(form, disk.char, first, second, ROUNDS)
        found["live"], live = measured(form, disk.char, second, NOTHING, ROUNDS)
    if not count == again == live:
        raise AssertionError(f"{name}: {count}, {again}, {live}")
    return found, count


def pagemap(name):
    """Instructions; None: this kernel has no PAGEMAP_SCAN."""
    try:
        return measured("pagemap", PAGES, IMAGES / f"{name}.list", ROUNDS)[0]
    except subprocess.CalledProcessError:
        return None


def of_small_disks():
    """Rows for each pattern."""
    for name, what in SMALL:
        found, count = costs(name)
        what = f"{what}, {count} ranges"
        yield row(f"{what}: insn a range, live", found["live"] // count, "-", 0)
        yield row(f"{what}: sealed, warm; live", insn(found["warm"]), insn(found["live"]),
                  found["live"] / found["warm"], SEALED_GOAL if count > 100 else None)
        yield row(f"{what}: sealed, cold; live", insn(found["cold"]), insn(found["live"]),
                  found["live"] / found["cold"])
        beside = pagemap(name)
        if beside:
            yield row(f"{what}: live; PAGEMAP_SCAN", insn(found["live"]), insn(beside),
                      beside / found["live"], PAGEMAP_GOALS.get(name))
        else:
            skip(f"{what}; PAGEMAP_SCAN", "this kernel has none")


def of_large_disks():
    """Rows for each size."""
    for size in ("1T", "16T", "64T"):
        found, count = costs(size)
        what = f"{size}, 0.01 %, {count} ranges"
        yield row(f"{what}: insn a range, live", found["live"] // count, "-", 0)
        yield row(f"{what}: sealed, warm; live", insn(found["warm"]), insn(found["live"]),
                  found["live"] / found["warm"], SEALED_GOAL)
        yield row(f"{what}: sealed, cold; live", insn(found["cold"]), insn(found["live"]),
                  found["live"] / found["cold"])
    small, large = costs("one1T")[0], costs("one64T")[0]
    for kind in ("live", "warm"):
        yield row(f"one unit, {kind}: 64T; 1T", insn(large[kind]), insn(small[kind]),
                  large[kind] / small[kind], ONE_GOAL)
    found, count = costs("usual")
    yield row(f"800 GiB, {count} ranges: warm; 1M insn", insn(found["warm"]), "1M",
              found["warm"] / 1e6)


def of_many_points():
    """Rows: what changed in a year, a point a day, beside as many ranges in one delta. A leaf has
    24 of them there, and five in the other one, whose leaves are four times as many."""
    whole = costs("usual")[0]["warm"]
    with attached(IMAGES / "year.vhdx") as disk:
        points = [bytes(point).hex() for point in disk.handle.ids()]
        cold, count = measured("ranges", disk.char, points[0], points[-1], 1)
        warm, again = measured("ranges", disk.char, points[0], points[-1], ROUNDS)
    if count != again:
        raise AssertionError(f"{count}, {again}")
    what = f"800 GiB, {count} ranges in {len(points) - 1} deltas"
    yield row(f"{what}, warm; in one", insn(warm), insn(whole), warm / whole, YEAR_GOAL)
    yield row(f"{what}, cold; warm", insn(cold), insn(warm), cold / warm)


def of_bits():
    """A row: a bitmap beside a plain copy of as many bytes to user space."""
    found, size = costs("bits", "bits")
    with open("/dev/shm/bits", "wb") as file:
        file.write(b"U" * size)
    beside = measured("copy", "/dev/shm/bits", size, ROUNDS)[0]
    for kind in ("live", "warm"):
        yield row(f"bits, {size} bytes, {kind}; read()", insn(found[kind]), insn(beside),
                  beside / found[kind], BITS_GOAL)


@contextlib.contextmanager
def served(path):
    """A server of an image and its bitmap: the URI."""
    socket = "/tmp/nbd"
    with subprocess.Popen(["qemu-nbd", "-r", "-t", "-f", "qcow2", "-B", "changes", "-k", socket,
                           path]) as server:
        while not Path(socket).exists():
            pass
        yield f"nbd+unix:///?socket={socket}"
        server.terminate()
        server.wait()
        Path(socket).unlink(missing_ok=True)


def of_qemu():
    """Rows: what nbdinfo takes to know all of a bitmap, without what it takes to begin and end.

    The machine has one CPU, whose counter goes on whoever runs: so the client, the server and the
    kernel's sockets between them are all in it, as the ioctl and its caller are in ours. What a
    client has told by QEMU as ranges it may ask us for as ranges or as bits: both are shown.

    To begin and end is as much as for some ten thousand ranges, and not the same each time: so
    there are more of these, and each is measured several times. One unit of 64 TiB is all the way
    and no range.
    """
    for name, what in QEMU_IMAGES:
        found, count = costs(name)
        bits, size = costs(name, "bits")
        with served(IMAGES / f"{name}.qcow2") as uri:
            begin = measured("run", ROUNDS, "nbdinfo", "--size", uri)[0]
            whole = measured("run", 2, "nbdinfo", "--map=qemu:dirty-bitmap:changes",
                             "--totals", uri)[0]
        for kind in ("live", "warm"):
            yield row(f"{what}, {count} ranges, {kind}; NBD", insn(found[kind]),
                      insn(whole - begin), (whole - begin) / found[kind], QEMU_GOAL)
            yield row(f"{what}, {size} bytes of bits, {kind}; NBD", insn(bits[kind]),
                      insn(whole - begin), (whole - begin) / bits[kind])


def rows():
    """All of them."""
    with never_idle():
        for part in (of_small_disks, of_bits, of_many_points, of_qemu, of_large_disks):
            yield from part()
