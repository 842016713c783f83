# SPDX-License-Identifier: GPL-2.0-only
"""`vhdxctl check`: what it finds, beside what the oracle finds; and what it mends."""
import contextlib
import hashlib
import os
import subprocess
import sys
import uuid

from common import BUILD, TREE, ctl, directory, ktap, make_image, make_sidecar, need, qemu_io

sys.path.append(str(TREE / "selftests/oracle"))

import vhdxoracle  # noqa: E402
from vhdxoracle import corpus, verdicts  # noqa: E402
from vhdxoracle.checker import check, faults  # noqa: E402
from vhdxoracle.edit import Editor  # noqa: E402
from vhdxoracle.findings import WARNING  # noqa: E402
from vhdxoracle.image import Image  # noqa: E402
from vhdxoracle.layout import MIB, PAGE  # noqa: E402
from vhdxoracle.mutations import REGISTER  # noqa: E402

SOUND, MENDED, ERRORS, FAILED = 0, 1, 4, 8
ERRNO = {"bad_type": "EMEDIUMTYPE", "corrupt": "EUCLEAN", "unsupported": "EOPNOTSUPP"}


def run(image, *options):
    """The exit status, and what is told."""
    done = ctl("check", "--json", *options, image)
    return done.code, done.json


def digest(path):
    return hashlib.sha256(path.read_bytes()).digest()


def texts(reply, severity):
    return [one["text"] for one in reply["findings"] if one["severity"] == severity]


def outcome(image):
    """What an attach would make of it, how many errors and warnings check tells, and the verdict."""
    code, reply = run(image)
    if code == FAILED:
        error = reply["error"]
        return ERRNO[error["reason"]], 0, 0, verdicts.refused(error["reason"], error["message"])
    fatal = [one for one in reply["findings"] if one["severity"] == "fatal"]
    assert (code == ERRORS) == (reply["errors"] > 0), reply
    if fatal:
        return ERRNO[fatal[0]["reason"]], 0, 0, verdicts.refused(fatal[0]["reason"], fatal[0]["text"])
    return ("ok", reply["errors"], reply["warnings"],
            verdicts.accepted(texts(reply, "error"), texts(reply, "warning")))


def agreed(found):
    """They are what the table says, which the driver is compared with as well."""
    if os.environ.get("VHDX_VERDICTS") == "write":
        verdicts.write(found)
    wrong = [f"{name}: {said}" for name, text in found.items()
             if (said := verdicts.difference(name, text))]
    assert not wrong, "\n".join(["", *wrong])


def judge_mutation(name, image, found_of):
    """What is wrong with what is said of it: a text, or None. found_of[name]: the verdict."""
    expected = vhdxoracle.mutate(name, image)
    found, errors, warnings, found_of[name] = outcome(image)
    if expected.readable:
        return None if (found, errors) == ("ok", 1) else f"{found} with {errors} errors"
    if found not in expected.attach:
        return f"{found}, not one of {expected.attach}"
    if found != "ok":
        return None
    oracle = check(image)
    if bool(errors) != bool(faults(oracle)):
        return f"{errors} errors, and the oracle has {faults(oracle)}"
    if expected.alloc_refused and not errors:
        return "the driver allocates nothing, and there is no error"
    if not errors and bool(warnings) != any(one.severity == WARNING for one in oracle):
        return f"{warnings} warnings, and the oracle has {oracle}"
    return None


def test_registry():
    """Every mutation is refused, or found, as the driver and the oracle do."""
    wrong, found = [], {}
    with directory() as path:
        for name in REGISTER:
            said = judge_mutation(name, path / "disk.vhdx", found)
            if said:
                wrong.append(f"{name}: {said}")
    assert not wrong, "\n".join(["", *wrong])
    assert len(REGISTER) > 200
    agreed(found)
    left = {name for name in verdicts.load() if not name.startswith(verdicts.CORPUS)} - set(REGISTER)
    assert not left, f"there is a verdict of what is no mutation: {left}"


def test_corpus():
    """What others wrote is sound, or refused as by the driver."""
    found = {}
    with directory() as path:
        for name in corpus.NAMES:
            image = corpus.unpacked(name, path)
            if not image:
                ktap.skip("there is no corpus")
            found[verdicts.CORPUS + name] = outcome(image)[-1]
    agreed(found)


def test_text():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        assert ctl("check", image).expect(0).lines[-1] == f"{image}: sound"
        vhdxoracle.mutate("bat-state-4", image)
        done = ctl("check", image)
        assert done.code == ERRORS and not done.err
        assert done.lines[0].startswith(f"{image}: error: BAT entry 1 at 0x300008 (payload block "
                                        "1): state 4 is reserved")
        assert done.lines[-1] == f"{image}: not sound"


def test_status():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        for wrong, words in ((path / "none", "No such file"), (path / "text", "not a VHDX"),
                             (path, "not a VHDX")):
            (path / "text").write_text("no VHDX")
            done = ctl("check", wrong)
            assert done.code == FAILED and words in done.err and not done.out, done.err
        with qemu_io(image, commands=("write 0 512",)):
            assert ctl("check", image).code == FAILED


def test_many():
    """Of a BAT that is garbage a sample is told; the rest is counted."""
    with directory() as path:
        image = path / "disk.vhdx"
        vhdxoracle.create(image, 1 << 30, block_size=MIB)
        with Editor(image) as edit:
            for block in range(1000):
                edit.put_bat(block, 5)
        code, reply = run(image)
        assert code == ERRORS and len(reply["findings"]) == 101, len(reply["findings"])
        assert texts(reply, "error")[-1].endswith(": 900 more entries of that kind")


def test_space():
    """What nothing uses is told."""
    with directory() as path:
        image = path / "disk.vhdx"
        vhdxoracle.create(image, 16 * MIB, block_size=MIB, gap=5 * MIB, trailing=3 * MIB)
        code, reply = run(image)
        assert code == SOUND and reply["warnings"] == 0
        unused = [text.split()[0] for text in texts(reply, "note")]
        with Image(image) as opened:
            taken = sum(end - start for start, end, _ in opened.structures)
            last = max(end for _, end, _ in opened.structures)
        assert unused == [str(os.stat(image).st_size - last), str(last - taken)], reply


def raw(image):
    with vhdxoracle.open_disk(image) as disk:
        return disk.read(0, disk.size)


@contextlib.contextmanager
def dirty():
    with directory() as path:
        image = path / "disk.vhdx"
        vhdxoracle.create(image, 16 * MIB, block_size=MIB, content=[(3 * MIB, b"old " * 1024)])
        vhdxoracle.dirty(image, [(0, b"new " * 4096), (9 * MIB, b"new " * 1024)],
                         {5: "ZERO"}, stale=2)
        yield path, image


def expect_mended(image, content):
    assert raw(image) == content
    assert not faults(check(image, True), strict=True), check(image, True)
    assert run(image)[0] == SOUND


def headers(image):
    with Image(image) as opened:
        return opened.header


def test_replay():
    """What was logged is in place; whoever knows the disk by its state still does."""
    with dirty() as (_, image):
        content, before, old = raw(image), digest(image), headers(image)
        code, reply = run(image)
        assert code == SOUND and "entries to be replayed" in texts(reply, "note")[0], reply
        assert digest(image) == before
        code, reply = run(image, "--repair")
        assert (code, reply["repaired"]) == (MENDED, "log replayed"), reply
        expect_mended(image, content)
        now = headers(image)
        assert now.data_write_guid == old.data_write_guid and not now.log_guid.int
        assert now.file_write_guid != old.file_write_guid and now.sequence == old.sequence + 4
        before = digest(image)
        assert run(image, "--repair")[0] == SOUND and digest(image) == before


def test_replay_as_qemu_does():
    need("qemu-img")
    with dirty() as (path, image):
        copy = path / "copy"
        copy.write_bytes(image.read_bytes())
        subprocess.run(["qemu-img", "check", "-q", "-r", "all", "-f", "vhdx", copy], check=True,
                       stdout=subprocess.DEVNULL)
        assert ctl("check", "--repair", image).code == MENDED
        assert raw(image) == raw(copy)
        subprocess.run(["qemu-img", "check", "-q", "-f", "vhdx", image], check=True)


SHIM = """
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>
ssize_t pwrite64(int fd, const void *buf, size_t length, off_t at)
{
	static int count;
	if (count++ == atoi(getenv("SHIM_CRASH")))
		_exit(9);
	return syscall(SYS_pwrite64, fd, buf, length, at);
}
"""


def test_crash_in_repair():
    """Killed at any of its writes, it can be done again, and the disk reads the same before."""
    with dirty() as (path, image):
        (path / "shim.c").write_text(SHIM)
        subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-w", "-o",
                        path / "shim.so", path / "shim.c"], check=True)
        content, original = raw(image), image.read_bytes()
        crashes = 0
        while True:
            image.write_bytes(original)
            code = ctl("check", "--repair", image, env={
                "LD_PRELOAD": str(path / "shim.so"), "SHIM_CRASH": str(crashes)}).code
            if code != 9:
                break
            assert raw(image) == content, crashes
            assert ctl("check", "--repair", image).code in (MENDED, SOUND)
            expect_mended(image, content)
            crashes += 1
        assert code == MENDED and crashes > 6, (code, crashes)


def name_log(image, guid):
    with Editor(image) as edit:
        edit.change_headers(log_guid=guid)


def test_window_of_qemu():
    """The header names a log that nobody began to write: nothing was lost, and it is closed."""
    with directory() as path:
        image = path / "disk.vhdx"
        vhdxoracle.create(image, 16 * MIB, block_size=MIB, content=[(MIB, b"x" * MIB)])
        content = raw(image)
        name_log(image, uuid.uuid4())
        before = digest(image)
        assert ctl("info", "--json", image).expect(0).json["log_unwritten"]
        assert "named, and never written: `vhdxctl check --repair` closes it" in ctl("info", image).out
        code, reply = run(image)
        assert code == ERRORS and digest(image) == before
        assert "vhdxctl check --repair" in texts(reply, "error")[0]
        code, reply = run(image, "--repair")
        assert (code, reply["repaired"]) == (MENDED, "log closed"), reply
        expect_mended(image, content)


def test_window_after_other_logs():
    """Entries of earlier logs are no reason to leave it open."""
    with dirty() as (_, image):
        assert ctl("check", "--repair", image).code == MENDED
        content = raw(image)
        name_log(image, uuid.uuid4())
        assert ctl("check", "--repair", image).code == MENDED
        expect_mended(image, content)


def test_log_that_was_written():
    """An entry is there, be it torn: what it says may be in place in part, and is not given up."""
    for damage in (PAGE - 1, 40, 4):
        with dirty() as (_, image):
            header = headers(image)
            raw_file = bytearray(image.read_bytes())
            for at in range(header.log_offset, header.log_offset + header.log_length, PAGE):
                if raw_file[at:at + 4] == b"loge":
                    raw_file[at + damage] ^= 0xff
            image.write_bytes(raw_file)
            if damage == 40:  # it bears another GUID: as if it were an earlier log's
                continue
            before = digest(image)
            code, reply = run(image, "--repair")
            assert (code, reply["repaired"]) == (ERRORS, None), (damage, reply)
            assert digest(image) == before


def test_what_is_damaged_too():
    """A log that can't be trusted with the rest is not touched."""
    with directory() as path:
        image = path / "disk.vhdx"
        vhdxoracle.create(image, 16 * MIB)
        name_log(image, uuid.uuid4())
        with open(image, "r+b") as opened:
            opened.seek(2 * MIB)
            opened.write(b"METADATA")
        before = digest(image)
        assert run(image, "--repair")[0] == ERRORS and digest(image) == before


def chain_of(path):
    """The path of a leaf; the middle and the base beside it."""
    vhdxoracle.create(path / "base.vhdx", 8 * MIB, block_size=MIB)
    vhdxoracle.create(path / "middle.avhdx", parent=path / "base.vhdx", block_size=MIB)
    vhdxoracle.create(path / "leaf.avhdx", parent=path / "middle.avhdx", block_size=MIB)
    return path / "leaf.avhdx"


def test_parents():
    """Each must be what its child was made of; one that is not there is no fault of the file."""
    with directory() as path:
        leaf = chain_of(path)
        code, reply = run(leaf)
        assert code == SOUND and not texts(reply, "note"), reply
        (path / "base.vhdx").rename(path / "moved")
        code, reply = run(leaf)
        assert code == SOUND and reply["errors"] == 0, reply
        note = texts(reply, "note")[-1]
        assert str(path / "middle.avhdx") in note and "--map-path" in note, note
        # What it advises.
        for options in (("--parent", path / "middle.avhdx", "--parent", path / "moved"),
                        ("--map-path", f".\\base.vhdx={path / 'moved'}")):
            code, reply = run(leaf, *options)
            assert code == SOUND and not texts(reply, "note"), (options, reply)
        with Editor(path / "moved") as edit:
            edit.change_headers(data_write_guid=uuid.UUID(int=7))
        (path / "moved").rename(path / "base.vhdx")
        code, reply = run(leaf)
        assert code == ERRORS and reply["errors"] == 1, reply
        fatal = texts(reply, "fatal")[-1]
        assert "base.vhdx is not its parent" in fatal and str(uuid.UUID(int=7)) in fatal, fatal


def test_damaged_parent():
    with directory() as path:
        leaf = chain_of(path)
        vhdxoracle.mutate("metadata-signature", path / "base.vhdx")
        code, reply = run(leaf)
        fatal = texts(reply, "fatal")[-1]
        assert code == ERRORS and "its parent cannot be used" in fatal and "base.vhdx" in fatal
        (path / "middle.avhdx").unlink()
        (path / "leaf.avhdx").rename(path / "middle.avhdx")
        (path / "middle.avhdx").chmod(0o444)
        assert run(path / "middle.avhdx")[0] == ERRORS  # it leads to itself


def test_parents_named_for_nothing():
    with directory() as path:
        image = make_image(path / "disk.vhdx")
        done = ctl("check", "--parent", image, image)
        assert done.code == FAILED and "it has no parent" in done.err, done.err
        assert ctl("check", "--map-path", "x", image).code == 2


def test_sidecar():
    with directory() as path:
        image, other = make_image(path / "disk.vhdx"), make_image(path / "other.vhdx")
        for one in (image, other):
            make_sidecar(one, "seal a\nmark 0 1000000\nseal b\n")
        lrct = path / "disk.vhdx.lrct"
        assert run(image, "--sidecar", lrct)[0] == SOUND
        code, reply = run(other, "--sidecar", lrct)
        assert code == SOUND and "another disk" in texts(reply, "warning")[-1], reply
        data = bytearray(lrct.read_bytes())
        data[-100] ^= 0xff
        for at in range(0, len(data), PAGE):
            data[at + 700] ^= 0xff
        lrct.write_bytes(data)
        code, reply = run(image, "--sidecar", lrct)
        assert code == ERRORS and reply["errors"] >= 1, reply
        assert reply["findings"][-1]["file"] == str(lrct)
        assert ctl("check", "--sidecar", path / "none", image).code == FAILED


def test_read_only_file():
    """Who may only read may check, and not mend."""
    with dirty() as (path, image):
        image.chmod(0o444)
        path.chmod(0o755)
        command = [BUILD / "vhdxctl", "check", image]
        if not os.geteuid():
            command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == SOUND, done.stderr
        done = subprocess.run([*command, "--repair"], capture_output=True, text=True, check=False)
        assert done.returncode == FAILED and "Permission denied" in done.stderr, done.stderr
