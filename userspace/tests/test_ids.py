# SPDX-License-Identifier: GPL-2.0-only
"""Ids as text: the two forms of ours, and that of Windows."""
import ctypes
import errno

from common import REASONS, PointId, load_library

library = load_library()

REFERENCE = b"rct:00112233-4455-6677-8899-aabbccddeeff:0123456789abcdef"
SNAPSHOT = b"{00112233-4455-6677-8899-aabbccddeeff}"
WINDOWS = b"rctX:5bfde23b:ce75:4303:b54f:6c18394f105c:0000000a"
# The first three fields are little endian.
GUID = bytes.fromhex("33221100554477668899aabbccddeeff")


def parse(text):
    point = PointId()
    return library.vhdx_id_parse(text, ctypes.byref(point)), point


def as_text(point):
    text = ctypes.create_string_buffer(64)
    library.vhdx_id_format(ctypes.byref(point), text)
    return text.value


def test_reference():
    err, point = parse(REFERENCE)
    assert not err
    assert bytes(point.guid) == GUID
    assert point.sequence == 0x0123456789abcdef and point.kind == 1 and not point.reserved
    assert as_text(point) == REFERENCE


def test_snapshot():
    err, point = parse(SNAPSHOT)
    assert not err
    assert bytes(point.guid) == GUID and point.kind == 2 and not point.sequence
    assert as_text(point) == SNAPSHOT


def test_upper_case():
    for text in (REFERENCE, SNAPSHOT, WINDOWS):
        err, point = parse(text.upper())
        assert not err and as_text(point) == text


def test_white_space():
    """As it comes out of a file, or of a table."""
    for text in (REFERENCE, SNAPSHOT, WINDOWS):
        for odd in (text + b"\n", b" " + text + b"\r\n", b"\t\v\f" + text + b" " * 1000):
            err, point = parse(odd)
            assert not err and as_text(point) == text, odd
        assert parse(text[:10] + b" " + text[10:])[0]


def test_bare_guid():
    err, point = parse(SNAPSHOT[1:-1])
    assert not err and as_text(point) == SNAPSHOT


def test_windows():
    err, point = parse(WINDOWS)
    assert not err and point.kind == 3 and point.sequence == 10
    assert as_text(point) == WINDOWS


def test_malformed():
    wrong = [b"", b"rct:", b"now", REFERENCE[:-1], REFERENCE + b"0", REFERENCE.replace(b"-", b":"),
             SNAPSHOT[:-1], SNAPSHOT + b"}", SNAPSHOT[1:], SNAPSHOT[1:-2], REFERENCE.replace(b"c", b"g"), WINDOWS[:-1], WINDOWS + b"0",
             b"rct:" + b"9" * 5000, b"{" * 40]
    for text in wrong:
        err, _ = parse(text)
        assert err == -errno.EINVAL, text
        assert library.vhdx_error_reason() == REASONS["id_malformed"]
        assert library.vhdx_full_backup_needed(err, library.vhdx_error_reason())
        assert b"is not the id of a point" in library.vhdx_error_message()


def test_none():
    point = PointId()
    assert library.vhdx_id_is_none(ctypes.byref(point))
    assert as_text(point) == b""
    point.sequence = 1
    assert not library.vhdx_id_is_none(ctypes.byref(point))


def test_uuid():
    text = ctypes.create_string_buffer(37)
    library.vhdx_uuid_format(GUID, text)
    assert text.value == SNAPSHOT[1:-1]
