# SPDX-License-Identifier: GPL-2.0-only
"""What selftests/run is made of."""
