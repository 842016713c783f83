# SPDX-License-Identifier: GPL-2.0-only
"""All mutations: this reader and the checker do what each of them expects."""

import random

import ktap
from vhdxoracle import MUTATIONS, VhdxError, check, faults, mutate, open_disk

from vhdxoracle.crc32c import sealed

from .support import MIB


def _outcome(path):
    try:
        with open_disk(path) as image:
            return "ok", list(image.faulty_ranges()), str(image.report.findings)
    except VhdxError as error:
        return error.errno, [], str(error)


def _content(path):
    with open_disk(path) as image:
        return image.read(0, image.size)


def _judge(name, path, base_content):
    mutation = MUTATIONS[name]
    expectation = mutate(name, path)
    outcome, eio, text = _outcome(path)
    ktap.check(outcome in mutation.attach, f"{name}: {outcome}, wanted {mutation.attach}: {text}")
    if outcome != "ok":
        ktap.check(any(word in text for word in mutation.structure),
                   f"{name}: {text} names none of {mutation.structure}")
        return
    wrong = faults(check(path)) if mutation.base == "dynamic" else []
    if mutation.attach == ("ok",) and mutation.base == "dynamic":
        ktap.equal(bool(wrong), mutation.alloc_refused, f"{name}: faults {wrong[:2]}")
    ktap.equal(eio, expectation.eio, f"{name}: unreadable ranges")
    ktap.check(not eio or mutation.alloc_refused, f"{name}: unreadable blocks, but allocation goes on")
    if not eio and mutation.same_content and mutation.base == "dynamic":
        ktap.check(_content(path) == base_content, f"{name}: another content")


def test_mutations(scratch):
    path = str(scratch / "disk.vhdx")
    mutate("log-length-zero-clean", path)
    base_content = _content(path)
    for name in MUTATIONS:
        _judge(name, path, base_content)


def test_random_damage(scratch):
    """Whatever the bytes, an error of ours or none; never another exception, never a hang."""
    path, rng = scratch / "disk.vhdx", random.Random(6)
    for source in ("log-dirty", "child-valid"):
        mutate(source, str(path))
        good = path.read_bytes()[:4 * MIB]
        places = [(64 << 10, 4096), (128 << 10, 4096), (192 << 10, 65536), (256 << 10, 65536),
                  (MIB, None), (2 * MIB, None), (2 * MIB + 65536, None), (3 * MIB, None)]
        for _ in range(100):
            raw = bytearray(good)
            for start, sealed_length in rng.sample(places, 2):
                at = start + rng.choice((0, 8, 16, 64, 4096)) + rng.randrange(64)
                raw[at:at + 4] = rng.choice((rng.randbytes(4), bytes(4), b"\xff" * 4, b"\0\0\x10\0"))
                if sealed_length:
                    raw[start:start + sealed_length] = sealed(raw[start:start + sealed_length])
            with open(path, "r+b") as file:
                file.write(raw)
            outcome, _, _ = _outcome(str(path))
            ktap.check(outcome in ("ok", "EUCLEAN", "EMEDIUMTYPE", "EOPNOTSUPP"), outcome)
            check(path)


def test_mutation_of_a_given_image(scratch):
    """From an image of one's own; it stays as it was."""
    source, path = scratch / "source.vhdx", str(scratch / "disk.vhdx")
    mutate("creator-empty", str(source))
    before = source.read_bytes()
    expectation = mutate("bat-into-log", path, str(source))
    ktap.equal(len(expectation.eio), 1, "unreadable blocks")
    ktap.check(source.read_bytes() == before, "the source was changed")


def test_log_mutations_differ(scratch):
    """Each log that must be replayed has an effect, else it tests nothing."""
    path = str(scratch / "disk.vhdx")
    mutate("creator-empty", path)
    clean = _content(path)
    for name, mutation in MUTATIONS.items():
        if name.startswith("log-") and mutation.attach == ("ok",) and not mutation.same_content:
            mutate(name, path)
            ktap.check(_content(path) != clean, f"{name} leaves the content as it was")
