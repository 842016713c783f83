# SPDX-License-Identifier: GPL-2.0-only
"""CRC-32C, BAT arithmetic, range sets, the packing of structures."""

import random

import ktap
from vhdxoracle import RangeSet, layout, log
from vhdxoracle.bat import Geometry
from vhdxoracle.crc32c import crc32c, is_sealed, sealed


MIB, TIB = layout.MIB, layout.TIB


def _plain_crc(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_crc32c_known_values(_):
    for data, value in ((b"", 0), (b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA),
                        (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E)):
        ktap.equal(crc32c(data), value, f"crc of {data[:9]!r}")


def test_crc32c_lengths(_):
    """Every length around the fold's limits, and a message in two parts."""
    rng = random.Random(1)
    for length in [*range(90, 230), 1000, 4095, 4096, 4097, 65536]:
        data = rng.randbytes(length)
        ktap.equal(crc32c(data), _plain_crc(data), f"{length} bytes")
        ktap.equal(crc32c(data[length // 3:], crc32c(data[:length // 3])), crc32c(data), "two parts")


def test_crc32c_sealing(_):
    raw = sealed(random.Random(2).randbytes(4096))
    ktap.check(is_sealed(raw), "a sealed page must verify")
    for bit in (0, 31, 32, 63, 64, 32767):
        broken = bytearray(raw)
        broken[bit // 8] ^= 1 << bit % 8
        ktap.check(not is_sealed(broken), f"bit {bit} flipped unnoticed")


def test_chunk_ratio(_):
    for sector, block, ratio in ((512, MIB, 4096), (512, 32 * MIB, 128), (512, 256 * MIB, 16),
                                 (4096, MIB, 32768), (4096, 256 * MIB, 128), (4096, 2 * MIB, 16384)):
        ktap.equal(Geometry(TIB, block, sector).chunk_ratio, ratio, f"{sector}/{block}")


def test_bat_entry_counts(_):
    """From the equations of MS-VHDX 2.5.1, and what Windows writes for a 4 MiB child."""
    block = 32 * MIB
    for blocks, plain, child in ((1, 1, 129), (127, 127, 129), (128, 128, 129), (129, 130, 258),
                                 (256, 257, 258), (257, 259, 387)):
        ktap.equal(Geometry(blocks * block, block, 512).entries, plain, f"{blocks} blocks")
        ktap.equal(Geometry(blocks * block, block, 512, True).entries, child, f"{blocks} of a child")
        ktap.equal(Geometry(blocks * block - 512, block, 512).entries, plain, "a partial last block")
    ktap.equal(Geometry(4 * MIB, 2 * MIB, 512, True).entries, 2049, "4 MiB child of 2 MiB blocks")
    ktap.equal(Geometry(64 * TIB, MIB, 512).entries, (64 << 20) + (64 << 20) // 4096 - 1, "64 TiB")
    ktap.equal(Geometry(0, MIB, 512).entries, 0, "an empty disk")


def test_bat_slots(_):
    """Walking the table by hand: ratio payload entries, then a bitmap's, and so on."""
    for sector, block in ((512, 256 * MIB), (512, 128 * MIB), (4096, 256 * MIB)):
        ratio = (sector << 23) // block
        for blocks in (1, ratio - 1, ratio, ratio + 1, 3 * ratio, 3 * ratio + 1):
            for child in (False, True):
                geometry = Geometry(blocks * block - 4096, block, sector, child)
                wanted, payload, chunk = [], 0, 0
                while payload < blocks or child and len(wanted) < geometry.entries:
                    for _slot in range(ratio):
                        wanted.append(("payload", payload) if payload < blocks else ("padding", len(wanted)))
                        payload += 1
                    wanted.append(("bitmap", chunk))
                    chunk += 1
                wanted = wanted[:geometry.entries]
                ktap.equal([geometry.slot(i) for i in range(geometry.entries)], wanted, str(geometry))
                for index, (kind, number) in enumerate(wanted):
                    if kind == "payload":
                        ktap.equal(geometry.payload_index(number), index, "payload index")
                    elif kind == "bitmap":
                        ktap.equal(geometry.bitmap_index(number), index, "bitmap index")


def test_block_ranges(_):
    geometry = Geometry(5 * MIB + 512, 2 * MIB, 512)
    ktap.equal([geometry.block_range(b) for b in range(3)],
               [(0, 2 * MIB), (2 * MIB, 2 * MIB), (4 * MIB, MIB + 512)], "blocks")


def test_sector_bits(_):
    geometry = Geometry(10 << 40, 32 * MIB, 512, True)
    ktap.equal(geometry.sector_bit(0, 511), 0, "first sector")
    ktap.equal(geometry.sector_bit(1, 512), 65537, "second sector of the second block")
    ktap.equal(geometry.sector_bit(127, 32 * MIB - 1), (1 << 23) - 1, "the chunk's last")
    ktap.equal(geometry.sector_bit(128, 0), 0, "the next chunk's first")


def test_structures_round_trip(_):
    header = layout.Header(7, MIB, 2 * MIB, *(layout.UUID(int=n) for n in (1, 2, 3)))
    raw = header.pack()
    ktap.equal(layout.Header.unpack(raw), header, "header")
    ktap.check(is_sealed(raw), "header checksum")
    regions = [layout.Region(layout.UUID(int=n), n * MIB, MIB, n % 2) for n in range(2047)]
    ktap.equal(layout.unpack_region_table(layout.pack_region_table(regions)), (2047, regions), "regions")
    items = [layout.Item(layout.UUID(int=n), n, 4, n % 8) for n in range(2047)]
    ktap.equal(layout.unpack_metadata_table(layout.pack_metadata_table(items)), (2047, items), "items")


def test_log_entry_round_trip(_):
    rng, guid = random.Random(3), layout.UUID(int=5)
    for count in (0, 1, 125, 126, 127, 254, 255):
        items = [log.Data(4096 * n, rng.randbytes(4096)) if n % 3 else log.Zero(4096 * n, 8192)
                 for n in range(count)]
        raw = log.compose(guid, (9 << 32) + 5, 4096, items, MIB, 2 * MIB)
        ktap.equal(len(raw), log.entry_length(items), "length")
        entry = log.parse(lambda offset, length, raw=raw: raw[offset:offset + length], 0, 2 * MIB, guid)
        ktap.equal(list(entry.descriptors), items, f"{count} descriptors")
        ktap.equal((entry.sequence, entry.tail, entry.flushed_file_offset, entry.last_file_offset),
                   ((9 << 32) + 5, 4096, MIB, 2 * MIB), "header")


def test_range_sets(_):
    """Against sets of integers."""
    rng = random.Random(4)

    def some():
        return [(a, a + rng.randrange(9)) for a in (rng.randrange(60) for _ in range(rng.randrange(7)))]

    def members(ranges):
        return {byte for start, end in ranges for byte in range(start, end)}

    for _ in range(500):
        a, b = RangeSet(some()), RangeSet(some())
        ktap.equal(members(a | b), members(a) | members(b), "union")
        ktap.equal(members(a & b), members(a) & members(b), "intersection")
        ktap.equal(members(a - b), members(a) - members(b), "difference")
        ktap.equal(members(a.widened(8)), {x // 8 * 8 + i for x in members(a) for i in range(8)}, "widened")
        ktap.equal({x for x in range(80) if x in a}, members(a), "contains")
        ktap.equal(a.total(), len(members(a)), "total")
        pairs = list(a | b)
        ktap.check(all(x[1] < y[0] for x, y in zip(pairs, pairs[1:])), "ranges must be coalesced")
