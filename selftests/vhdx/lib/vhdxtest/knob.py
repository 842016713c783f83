# SPDX-License-Identifier: GPL-2.0-only
"""Settings of the kernel that are one file below /proc or /sys."""

import contextlib
import pathlib


@contextlib.contextmanager
def turned(path, value):
    """The setting has another value meanwhile."""
    setting = pathlib.Path(path)
    before = setting.read_text(encoding="ascii")
    setting.write_text(value, encoding="ascii")
    try:
        yield
    finally:
        setting.write_text(before, encoding="ascii")
