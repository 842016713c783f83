# SPDX-License-Identifier: GPL-2.0-only
"""Jobs, with whatever goes on at the same time: see jobs.c."""
import os
import subprocess

from common import BUILD, Fake, directory, ktap, make_image


def run(name, kind, disks):
    with directory() as path:
        fake = Fake(path)
        for number in range(disks):
            fake.ctl("attach", make_image(path / f"{number}.vhdx")).expect(0)
            fake.write(f"ranges.{number}", "0 16384\n")
        done = subprocess.run([BUILD / f"tests/jobs-{kind}", name,
                               *(f"/dev/vhdx{number}" for number in range(disks))],
                              env={**os.environ, "FAKE_ROOT": str(fake.root)}, text=True,
                              capture_output=True, timeout=60, check=False)
        assert not done.returncode and not done.stderr, (done.returncode, done.stderr)


for sanitizer in ("threads", "memory"):
    for case, count in {"many": 8, "hanging": 1, "signals": 1, "progress": 1, "bounds": 1,
                        "refused": 1}.items():
        ktap.add(f"jobs.{case}_{sanitizer}", run, case, sanitizer, count)
