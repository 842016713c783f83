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


def raw_from_terminal(fake, *arguments, width=80, **outputs):
    """All that is written to a terminal; outputs: what else goes there, or elsewhere."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 25, width, 0, 0))
    environment = {**os.environ, **fake.env, "LC_ALL": "C.UTF-8"}
    outputs = {name: slave if where is None else where for name, where in outputs.items()}
    with subprocess.Popen([BUILD / "vhdxctl", *map(str, arguments)], env=environment,
                          **outputs) as process:
        os.close(slave)
        text = b""
        try:
            while chunk := os.read(master, 65536):
                text += chunk
        except OSError:  # the other side is closed
            pass
        assert not process.wait(60)
    os.close(master)
    return text.decode()


def on_terminal(fake, *arguments, width=80):
    """The lines that appear on a terminal; one that is longer than it is wide is a fault."""
    lines = raw_from_terminal(fake, *arguments, width=width, stdout=None).splitlines()
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


def test_bar():
    """What takes long has one, on standard error, that is gone in the end."""
    with attached() as (fake, _):
        fake.write("ranges.0", "0 65536\n")
        for delay, step in ((0, GIB // 8), (150, GIB // 8)):
            fake.write("delay.0", str(delay))
            fake.write("step.0", str(step))
            for options in ((), ("--json",), ("--summary",), ("--format", "csi")):
                text = raw_from_terminal(fake, "changes", "0", "--since", ID, *options,
                                         stdout=subprocess.DEVNULL, stderr=None)
                if not delay:
                    assert not text, text
                    continue
                bars = text.split("\r")[1:]
                assert bars.pop() == "\x1b[K" and 0 < len(bars) < 9, repr(text)
                assert all(bar.startswith("changes [") and len(bar) <= 80 for bar in bars), bars
                assert "of 1.0G" in bars[0]
        # Nobody looks on.
        done = fake.ctl("changes", "0", "--since", ID).expect(0)
        assert not done.err and len(done.lines) == 2


def test_map_is_plain():
    """As wide as the terminal, and without colours anywhere."""
    with attached() as (fake, _):
        fake.write("ranges.0", f"0 1\n{GIB // 2} {GIB // 4}\n")
        for width in (60, 80, 200):
            lines = on_terminal(fake, "changes", "0", "--since", ID, "--map", width=width)
            assert max(map(len, lines[:16])) == width - 1 or width == 200, (width, lines)
            assert not any("\x1b" in line for line in lines)
