# SPDX-License-Identifier: GPL-2.0-only
"""An independent reader, writer and checker of VHDX, written from MS-VHDX 8.0.

It is the oracle and the image factory of the tests and shares nothing with the driver.
"""
