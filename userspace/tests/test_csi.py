# SPDX-License-Identifier: GPL-2.0-only
"""`--format csi`: the rules of Kubernetes' SnapshotMetadata service."""
import errno
import json
import re
import subprocess

from common import BUILD, ID, REASONS, TREE, attached, ctl, directory, make_image, make_sidecar
from test_interfaces import table

GIB, UNIT = 1 << 30, 16384


def messages(done):
    """The ranges of each message; all of them say how large the volume is."""
    found = [json.loads(line) for line in done.expect(0).lines]
    for message in found:
        assert list(message) == ["block_metadata_type", "volume_capacity_bytes",
                                 "block_metadata"], message
        assert message["block_metadata_type"] == "VARIABLE_LENGTH"
        assert message["volume_capacity_bytes"] == GIB
    return [[(one["byte_offset"], one["size_bytes"]) for one in message["block_metadata"]]
            for message in found]


def status(done, code):
    """What it failed with; the same words are on standard error."""
    assert done.code == code, done.out + done.err
    line, = done.lines
    said = json.loads(line)["error"]
    assert list(said) == ["code", "status", "message"]
    assert done.err == f"vhdxctl: {said['message']}\n"
    return said["code"], said["status"]


def delta(image, since, *options):
    return ctl("changes", image, "--since", since, "--format", "csi", *options)


def test_messages():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        marked = [(n * 4 * UNIT, UNIT) for n in range(1500)]
        point, = make_sidecar(image, "seal a\n" + "".join(f"mark {at} 1\n" for at, _ in marked))
        for most, options in ((1024, ()), (1024, ("--max-results", 0)),
                              (7, ("--max-results", 7)), (5000, ("--max-results", 5000))):
            found = messages(delta(image, point, *options))
            assert [len(one) for one in found[:-1]] == [most] * (len(found) - 1)
            assert 0 < len(found[-1]) <= most and sum(found, []) == marked


def test_resuming():
    """After any message, from where its last range ends: what is told is the rest."""
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        point, = make_sidecar(image, "seal a\n" + "".join(
            f"mark {n * n * 4 * UNIT} {n * UNIT}\n" for n in range(1, 30)))
        whole = messages(delta(image, point, "--max-results", 4))
        for number, message in enumerate(whole):
            at = sum(message[-1])
            rest = messages(delta(image, point, "--max-results", 4, "--offset", at))
            assert sum(rest, []) == sum(whole[number + 1:], [])
        # In the middle of a range: it may begin before that, but has to end behind it.
        start, length = whole[2][1]
        first = messages(delta(image, point, "--offset", start + 5))[0][0]
        assert first[0] <= start + 5 < sum(first) == start + length


def test_nothing():
    """One message, which says how large the volume is; also at the very end of it."""
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        point, = make_sidecar(image, "seal a\n")
        for offset in (0, GIB):
            assert messages(delta(image, point, "--offset", offset)) == [[]]
            assert messages(ctl("allocated", image, "--format", "csi",
                                "--offset", offset)) == [[]]


def test_allocated():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        subprocess.run(["qemu-io", "-f", "vhdx", "-c", "write 100M 4k", "-c", "write 500M 4k",
                        image], check=True, stdout=subprocess.DEVNULL)
        plain = ctl("allocated", image, "--json").expect(0).json["ranges"]
        wanted = [[(one["offset"], one["length"])] for one in plain]
        assert len(wanted) == 2
        assert messages(ctl("allocated", image, "--format", "csi", "--max-results", 1)) == wanted


def test_failures():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        assert status(delta(image, ID), 3) == (9, "FAILED_PRECONDITION")  # not tracked
        point, = make_sidecar(image, "seal a\ngap 3\n")
        assert status(delta(image, point), 3) == (9, "FAILED_PRECONDITION")
        point, = make_sidecar(image, "seal a\n")
        assert status(delta(image, ID), 3) == (5, "NOT_FOUND")
        assert status(delta(image, point, "--target", ID), 3) == (5, "NOT_FOUND")
        assert status(delta(image, "rct:1"), 3) == (3, "INVALID_ARGUMENT")
        assert status(delta(image, point, "--offset", GIB + 1), 1) == (11, "OUT_OF_RANGE")
        assert status(delta(image, point, "--length", GIB + 1), 1) == (11, "OUT_OF_RANGE")
        assert status(delta(image, point, "--granularity", 5000), 1) == (3, "INVALID_ARGUMENT")
        assert status(delta(path / "absent.vhdx", point), 1) == (5, "NOT_FOUND")
        assert status(ctl("allocated", image, "--format", "csi", "--offset", GIB + 1), 1) == \
            (11, "OUT_OF_RANGE")
        assert status(ctl("allocated", path / "absent", "--format", "csi"), 1) == (5, "NOT_FOUND")


def test_every_status():
    """The table of errors is what the command says, row for row."""
    rows = [[cell.replace("``", "") for cell in row] for row in table("Errors of csi")]
    assert len(rows) > 15
    with attached() as (fake, _):
        for name, reason, code, word, _ in rows:
            number = {"EOPNOTSUPP": 95}.get(name) or getattr(errno, name)
            beyond = ("--offset", GIB + 1) if word == "OUT_OF_RANGE" else ()
            fake.fail("CHANGES", number, "none" if reason == "--" else reason.lower(), times=1)
            done = fake.ctl("changes", "0", "--since", ID, "--format", "csi", *beyond)
            assert status(done, done.code) == (int(code), word), (name, reason)
            assert done.code in (1, 3)
    source = (TREE / "userspace/cli/csi.c").read_text()
    assert {word for _, _, _, word, _ in rows} == set(re.findall(r'\{ \d+, "(\w+)" \}', source))
    assert {reason.lower() for _, reason, _, _, _ in rows} - {"--"} <= set(REASONS)


def test_interrupted():
    """^C: it was cancelled, says the status."""
    with attached() as (fake, _):
        fake.write("delay.0", "300")
        fake.write("step.0", str(1 << 20))
        with subprocess.Popen([BUILD / "vhdxctl", "changes", "0", "--since", ID, "--format",
                               "csi"], env={**fake.env, "PATH": "/usr/bin:/bin"}, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            while not fake.calls:
                pass
            process.terminate()
            out, _ = process.communicate(timeout=30)
        assert process.returncode == 1
        assert json.loads(out)["error"]["status"] == "CANCELLED"
