# SPDX-License-Identifier: GPL-2.0-only
"""An independent reader, writer and checker of VHDX, written from MS-VHDX 8.0.

It is the oracle and the image factory of the tests and shares nothing with the driver.
"""

from .builder import create
from .chain import content_sha256, open_disk, write_raw
from .checker import check, faults
from .content import apply_to_raw
from .dirtying import dirty
from .edit import Editor
from .findings import Finding, VhdxError
from .image import Image
from .model import Timeline, check_answer, compare, join, same_answer
from .mutations import REGISTER as MUTATIONS
from .mutations import mutate
from .ranges import RangeSet

__all__ = ["MUTATIONS", "Editor", "Finding", "Image", "RangeSet", "Timeline", "VhdxError",
           "apply_to_raw", "check", "check_answer", "compare", "content_sha256", "create",
           "dirty", "faults", "join", "mutate", "open_disk", "same_answer", "write_raw"]
