# SPDX-License-Identifier: GPL-2.0-only
"""What a person sees: a terminal of 80 columns holds every table, and no offset is rounded."""
import fcntl
import os
import pty
import struct
import subprocess
import termios

from common import BUILD, ID, attached, make_image

GIB = 1 << 30


def on_terminal(fake, *arguments, width=80):
    """The lines that appear on a terminal; one that is longer than it is wide is a fault."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 25, width, 0, 0))
    environment = {**os.environ, **fake.env, "LC_ALL": "C.UTF-8"}
    with subprocess.Popen([BUILD / "vhdxctl", *map(str, arguments)], stdout=slave,
                          env=environment) as process:
        os.close(slave)
        text = b""
        try:
            while chunk := os.read(master, 65536):
                text += chunk
        except OSError:  # the other side is closed
            pass
        assert not process.wait(60)
    os.close(master)
    lines = text.decode().splitlines()
    assert max(map(len, lines)) <= width, lines
    return lines


def test_offsets():
    with attached() as (fake, _):
        fake.write("ranges.0", f"{6500001 * 16} {3 << 20}\n{GIB // 2} 65536\n")
        lines = on_terminal(fake, "changes", "0", "--since", ID)
        assert [line.split() for line in lines] == [
            ["OFFSET", "LENGTH"], [str(6500001 * 16), "3M"], [str(GIB // 2), "64K"]]
        rows = on_terminal(fake, "changes", "0", "--since", ID, "--map", "--offset", "100003")
        offsets = [int(line.split()[0]) for line in rows[:16]]
        assert offsets[0] == 100003 and sorted(offsets) == offsets


def test_points():
    with attached() as (fake, _):
        fake.write("points.0", "1 0 -\n")
        assert on_terminal(fake, "points", "0", width=200)[0].split() == [
            "ID", "KIND", "TIME", "GAP", "LABEL"]
        assert on_terminal(fake, "points", "0")[1].startswith(ID)
        fake.write("points.0", f"1 0 -\n2 3 {'a long label ' * 4}\n3 7 short\n")
        lines = on_terminal(fake, "points", "0")
        assert lines[0].split() == ["ID", "GAP", "LABEL"], lines
        text = "\n".join(lines)
        for part in (ID, "changed_offline", "unclean", "short"):
            assert part in text, (part, text)
        assert "".join(line[74:] for line in lines[2:-1]).replace(" ", "") == "alonglabel" * 4
        # Who asks for columns gets them.
        wide = on_terminal(fake, "points", "0", "-o", "+SEQUENCE", width=300)
        assert wide[0].split()[-1] == "SEQUENCE"


def test_list():
    with attached() as (fake, image):
        fake.attribute(0, "reason", "changed_offline")
        long = image.parent / ("d" * 60)
        long.mkdir()
        fake.ctl("attach", make_image(long / "another.vhdx")).expect(0)
        lines = on_terminal(fake, "list")
        assert lines[0].split() == ["DEVICE", "SIZE", "RO", "TRACKING", "REASON", "CONTAINER"]
        at = lines[0].index("CONTAINER")
        assert "".join(line[at:].strip() for line in lines[1:]) == f"{image}{long}/another.vhdx"
