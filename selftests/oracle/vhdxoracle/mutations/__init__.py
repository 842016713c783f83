# SPDX-License-Identifier: GPL-2.0-only
"""Single faults and legal oddities, each with what attaching the image must do."""

from . import bat, container, differencing, header, log, metadata, oddities, region
from .registry import REGISTER, Expectation, make_base, mutate

__all__ = ["REGISTER", "Expectation", "make_base", "mutate"]
