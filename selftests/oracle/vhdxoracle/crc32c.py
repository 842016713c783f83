# SPDX-License-Identifier: GPL-2.0-only
"""CRC-32C (Castagnoli), reflected, as VHDX, iSCSI and ext4 use it.

A table walk costs about 0.1 us a byte in Python, which is too slow for 64 KiB
region tables by the thousand.  A long message is therefore first folded as one
big integer: the polynomial A*x^h + B has the same remainder as A*(x^h mod P) + B,
and multiplying A by a 32-bit constant is at most 32 shifts and XORs that run at
memory speed.  Halving the length each time leaves a short rest for the table.
"""

from functools import lru_cache

_POLY = 0x82F63B78  # x^32 is implied; bit 31 is x^0
_SHORT = 96  # bytes; below this the table wins


def _make_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_POLY if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _make_table()


def _times(a, b):
    """a*b mod P, both reflected (bit 31 is x^0)."""
    product = 0
    for bit in range(31, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = (b >> 1) ^ (_POLY if b & 1 else 0)
    return product


@lru_cache(maxsize=None)
def _power_shifts(exponent):
    """The set bits of x^exponent mod P, reflected, as shift counts."""
    result, square = 1 << 31, 1 << 30  # x^0 and x^1
    while exponent:
        if exponent & 1:
            result = _times(result, square)
        square = _times(square, square)
        exponent >>= 1
    return tuple(bit for bit in range(32) if result >> bit & 1)


def _fold(message, length):
    """Shorten a message, an int of length*8 reflected bits, to _SHORT bytes."""
    while length > _SHORT:
        rest = (length + 1) // 2 + 4
        head_bits = (length - rest) * 8
        head = message & ((1 << head_bits) - 1)
        message >>= head_bits
        # The product has head_bits + 31 bits; its last one is x^0, as message's is.
        align = rest * 8 - head_bits - 31
        for shift in _power_shifts(rest * 8):
            message ^= head << (shift + align)
        length = rest
    return message, length


def crc32c(data, crc=0):
    """CRC-32C of data; crc continues an earlier call's result."""
    crc ^= 0xFFFFFFFF
    if len(data) > _SHORT:
        message = int.from_bytes(data, "little") ^ crc
        message, length = _fold(message, len(data))
        data, crc = message.to_bytes(length, "little"), 0
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def sealed(data, offset=4):
    """data with the CRC-32C of itself (that field zero) stored at offset."""
    blank = bytearray(data)
    blank[offset:offset + 4] = bytes(4)
    blank[offset:offset + 4] = crc32c(blank).to_bytes(4, "little")
    return bytes(blank)


def is_sealed(data, offset=4):
    """True if the CRC-32C stored at offset is that of data."""
    blank = bytearray(data)
    blank[offset:offset + 4] = bytes(4)
    return crc32c(blank) == int.from_bytes(data[offset:offset + 4], "little")
