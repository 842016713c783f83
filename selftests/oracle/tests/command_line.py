# SPDX-License-Identifier: GPL-2.0-only
"""python3 -m vhdxoracle, as shell tests call it."""

import io
import json
import os
import pathlib
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import ktap
from vhdxoracle import MUTATIONS
from vhdxoracle.__main__ import main

from .support import MIB

_PACKAGE_PARENT = str(pathlib.Path(__file__).resolve().parents[1])


def _oracle(*arguments, status=0):
    """Run a command in this process, which saves a second for each; (stdout, stderr)."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        try:
            got = main([str(argument) for argument in arguments])
        except SystemExit as leaving:      # argparse, after --help or an error
            got = leaving.code
    ktap.equal(got, status, f"status of {arguments} ({out.getvalue()}{err.getvalue()})")
    return out.getvalue(), err.getvalue()


def test_as_a_program(scratch):
    def run(*arguments):
        return subprocess.run([sys.executable, "-m", "vhdxoracle", *arguments], capture_output=True, text=True,
                              check=False, env={**os.environ, "PYTHONPATH": _PACKAGE_PARENT})

    path = str(scratch / "disk.vhdx")
    ktap.equal(run("create", path, "--size", "1M").returncode, 0, "status of create")
    ktap.equal(json.loads(run("info", path).stdout)["size"], MIB, "size")
    ktap.equal(run("info", path + "x").returncode, 1, "status for a file that is not there")


def test_life_of_an_image(scratch):
    path, raw, later = scratch / "disk.vhdx", scratch / "disk.raw", scratch / "later.raw"
    _oracle("create", path, "--size", "64M+512", "--block-size", "1M", "--write", "1M:64K:0x41",
            "--state", "5-7=UNMAPPED+", "--order", "bat,log,metadata", "--seed", 1)
    _oracle("check", "--clean", path)
    info = json.loads(_oracle("info", path)[0])
    ktap.equal((info["size"], info["block_size"], info["type"]), (64 * MIB + 512, MIB, "dynamic"), "info")
    blocks = json.loads(_oracle("map", path)[0])
    ktap.equal([(b["block"], b["state"]) for b in blocks],
               [(1, "FULLY_PRESENT")] + [(n, "UNMAPPED") for n in (5, 6, 7)], "map")
    _oracle("raw", path, raw)
    _oracle("dirty", path, "--write", "9M:16K:7", "--write", "64M:512:8", "--state", "1=ZERO", "--torn", "sector",
            "--stale", 2)
    _oracle("check", path)
    _oracle("check", "--clean", path, status=1)
    ktap.equal(sum(e["replayed"] for e in json.loads(_oracle("log", path)[0])), 4, "entries to replay")
    _oracle("raw", path, later)
    ranges, _ = _oracle("compare", raw, later, "--unit", 16384, status=1)
    ktap.equal(ranges.split(), [str(n) for n in (MIB, 65536, 9 * MIB, 16384, 64 * MIB, 512)], "ranges")
    _oracle("compare", raw, raw)
    answer = {"offset": 0, "length": 64 * MIB + 512, "processed": 64 * MIB + 512, "unit": 16384,
              "ranges": json.loads(_oracle("compare", raw, later, "--unit", "16K", "--json", status=1)[0])}
    (scratch / "answer").write_text(json.dumps(answer))
    (scratch / "writes").write_text(json.dumps([[MIB, 65536], [9 * MIB, 16384], [64 * MIB, 512]]))
    _oracle("verify", scratch / "answer", "--before", raw, "--after", later, "--writes", scratch / "writes")
    pages = [{**answer, "length": 8 * MIB, "processed": 8 * MIB, "ranges": answer["ranges"][:1]},
             {**answer, "offset": 8 * MIB, "length": 56 * MIB + 512, "processed": 56 * MIB + 512,
              "ranges": answer["ranges"][1:]}]
    for number, page in enumerate(pages):
        (scratch / f"page{number}").write_text(json.dumps(page))
    _oracle("verify", scratch / "page0", scratch / "page1", "--before", raw, "--after", later)
    _oracle("verify", scratch / "page1", scratch / "page0", status=1)
    answer["ranges"].pop()
    (scratch / "answer").write_text(json.dumps(answer))
    out, _ = _oracle("verify", scratch / "answer", "--before", raw, "--after", later, status=1)
    ktap.check("no range covers" in out, out)


def test_child(scratch):
    parent, child = scratch / "parent.vhdx", scratch / "child.vhdx"
    _oracle("create", parent, "--size", "8M", "--sector-size", 4096, "--write", "0:1M:1")
    _oracle("create", child, "--parent", parent, "--write", "4K:4K:2")
    sums = [_oracle("raw", "--sha256", *more)[0] for more in ([child], [child, "--parent", parent], [parent])]
    ktap.check(sums[0] == sums[1] != sums[2], f"content {sums}")


def test_mutations(scratch):
    listed = json.loads(_oracle("mutate", "--list")[0])
    ktap.equal([m["name"] for m in listed], list(MUTATIONS), "names")
    out, _ = _oracle("mutate", "bat-state-4", scratch / "bad.vhdx")
    ktap.equal(json.loads(out)["attach"], ["ok"], "attach")
    _, text = _oracle("raw", scratch / "bad.vhdx", scratch / "bad.raw", status=1)
    ktap.check("BAT entry" in text and "EUCLEAN" in text, text)
    _, text = _oracle("raw", "--skip-faulty", scratch / "bad.vhdx", scratch / "bad.raw")
    ktap.check("cannot be read" in text, text)


def test_help_and_misuse(scratch):
    for command in ("info", "map", "log", "check", "raw", "create", "dirty", "mutate", "compare", "verify"):
        ktap.check("usage" in _oracle(command, "--help")[0], command)
    _oracle("create", scratch / "x", "--size", "many", status=2)
    _oracle("create", scratch / "x", status=1)
    _oracle("info", scratch / "absent", status=1)
    _oracle("mutate", "no-such", scratch / "x", status=1)
