# SPDX-License-Identifier: GPL-2.0-only
"""What the suites in selftests/vhdx share; they begin with

    import pathlib, sys
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
    from vhdxtest import ctl, dio, images, ktap, uapi
    from vhdxtest.device import Control, Handle, call, ioctl
    from vhdxtest.disk import attached, raw_attached

uapi	the structures and numbers of <linux/vhdx.h>
device	each ioctl, as it is and as a method that raises
disk	attached disks: by vhdxctl, or by nothing but the ioctl
ctl	vhdxctl, its exit status and its JSON
dio	aligned direct I/O
images	containers, loop devices, raw copies
filesystem	file systems of a test's own
mapper	device-mapper devices
dm	what dmsetup does, without starting it
faulty	devices and files that fail where and when a test wants
slow	devices that take their time
inject	allocations that fail
ledger	points, and what was written since
slots	pieces of a disk that say what was written last
stamps	content that says which write it is of
log_writes	what a device held at every moment
chronicle	what was done to a disk, event by event
aftermath	what must be true of its files after a power loss
library	libvhdx, asked about files
ktap	KTAP, from selftests/lib; and selftests/oracle can be imported as vhdxoracle
"""

import sys
from pathlib import Path

SELFTESTS = Path(__file__).resolve().parents[3]
sys.path += [str(SELFTESTS / "lib"), str(SELFTESTS / "oracle")]

import ktap  # noqa: E402, F401  pylint: disable=wrong-import-position
