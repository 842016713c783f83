# SPDX-License-Identifier: GPL-2.0-only
"""errno and reason as the return values of Windows' GetVirtualDiskChanges."""
import ctypes
import errno

from common import REASONS, load_library

library = load_library()

EUCLEAN = errno.EUCLEAN
EMEDIUMTYPE = errno.EMEDIUMTYPE

TABLE = [
    (0, "none", 0),
    (errno.EINVAL, "argument", 32773),
    (errno.ENODATA, "id_missing", 32775),
    (errno.ESTALE, "changed_offline", 32775),
    (errno.ESTALE, "inconsistent", 32775),
    (errno.ESTALE, "disabled", 32775),
    (errno.ESTALE, "reset", 32775),
    (errno.ESTALE, "unclean", 32775),
    (errno.ESTALE, "tracking_error", 32775),
    (errno.ESTALE, "none", 32768),  # NFS says so of a file of its own
    (errno.ESTALE, "io", 32768),
    (errno.ENODATA, "none", 32768),  # and a read error of a disk may be this
    (errno.ENODATA, "io", 32768),
    (errno.EOPNOTSUPP, "disabled", 32775),
    (errno.EOPNOTSUPP, "unsupported", 32770),
    (errno.EOPNOTSUPP, "none", 32770),
    (EMEDIUMTYPE, "bad_type", 32776),
    (EUCLEAN, "corrupt", 32776),
    (errno.EBUSY, "in_use", 32774),
    (errno.EACCES, "none", 32769),
    (errno.EPERM, "none", 32769),
    (errno.ENOMEM, "none", 32778),
    (errno.ETIMEDOUT, "none", 32772),
    (errno.ENOENT, "none", 32779),
    (errno.ENOTDIR, "none", 32779),
    (errno.ELOOP, "none", 32779),
    (errno.ENAMETOOLONG, "none", 32779),
    (errno.ENODEV, "none", 32777),
    (errno.ECANCELED, "none", 32771),
    (errno.EIO, "io", 32768),
    (errno.EROFS, "read_only", 32768),
    (errno.ENOSPC, "no_space", 32768),
    (errno.EINTR, "none", 32768),
    (9999, "none", 32768),
]


def test_codes():
    for error, reason, code in TABLE:
        for sign in (1, -1):
            got = library.vhdx_code_from_errno(sign * error, REASONS[reason])
            assert got == code, (error, reason, got, code)


def test_full_backup_needed():
    for error, reason, code in TABLE:
        got = library.vhdx_full_backup_needed(-error, REASONS[reason])
        assert got == (code == 32775), (error, reason, got)


# What the table above has as an invalid state is a gap, but for these two.
HRESULTS = {
    (errno.EOPNOTSUPP, "disabled"): 0xc03a002a,
    (errno.EINVAL, "id_malformed"): 0xc03a0029,
    (0, "none"): 0,
    (errno.EINVAL, "argument"): 0x80070057,
    (errno.ENOENT, "none"): 0x80070002,
    (errno.EACCES, "none"): 0x80070005,
    (errno.ENOMEM, "none"): 0x8007000e,
    (errno.EBUSY, "in_use"): 0x80070020,
    (errno.ETIMEDOUT, "none"): 0x800705b4,
    (errno.ECANCELED, "none"): 0x800704c7,
    (errno.EIO, "io"): 0x8007045d,
    (errno.EOPNOTSUPP, "unsupported"): 0x80070032,
    (EUCLEAN, "corrupt"): 0x80070570,
    (9999, "none"): 0x8007001f,
}


def test_hresults():
    for (error, reason), status in HRESULTS.items():
        for sign in (1, -1):
            got = library.vhdx_hresult(sign * error, REASONS[reason])
            assert got == status, (error, reason, hex(got), hex(status))
    for error, reason, code in TABLE:
        got = library.vhdx_hresult(error, REASONS[reason])
        if (error, reason) not in HRESULTS:
            want = 0xc03a0030 if code == 32775 else 0x80070000
            assert got == want if code == 32775 else got & 0xffff0000 == want, (error, hex(got))


def test_reason_names():
    for name, number in REASONS.items():
        assert library.vhdx_reason_name(number).decode() == name
    assert library.vhdx_reason_name(len(REASONS)) == b"unknown"
    assert library.vhdx_reason_name(0xffffffff) == b"unknown"


def test_labels():
    """What the driver would refuse is refused with words, whoever calls."""
    for label in (b"\xff", b"two\nlines", b"x" * 65):
        assert library.vhdx_seal(None, ctypes.c_size_t(1), label, None, None) == -errno.EINVAL
        assert b"the label" in library.vhdx_error_message(), label
