# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the oracle itself, against other programs, known content and brute force."""
