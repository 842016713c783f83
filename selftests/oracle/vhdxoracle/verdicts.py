# SPDX-License-Identifier: GPL-2.0-only
"""What an attach makes of a container, and what vhdxctl check makes of it: the same.

The file selftests/oracle/verdicts has a line for each mutation, and for each container of the
corpus, with a text of one of these kinds. Those who ask the driver and those who ask the library
compare what they find with it, so that neither comes to differ from the other unseen.

    NAME  accepted
    NAME  accepted, no new blocks: STRUCTURE
    NAME  REASON: STRUCTURE
    NAME  read-only; REASON: STRUCTURE          the reason why it is not attached for writing

REASON is the reason of the refusal (VHDX_REASON_* of uapi/linux/vhdx.h), in lower case. STRUCTURE
is what the message names first.
"""

import pathlib
import re

PATH = pathlib.Path(__file__).resolve().parents[1] / "verdicts"
ACCEPTED = "accepted"
CORPUS = "corpus/"
_STRUCTURE = re.compile(r"\b(VHDX|container|header|region table|metadata|parent locator|log|BAT)\b")
_HEAD = """\
# What the driver and vhdxctl check make of each container: see vhdxoracle/verdicts.py.
# VHDX_VERDICTS=write userspace/tests/run check.registry check.corpus writes the library's again.
"""


def structure_of(message):
    """What it names first."""
    found = _STRUCTURE.search(message)
    return found.group() if found else "nothing"


def refused(reason, message):
    """It is not attached."""
    return f"{reason}: {structure_of(message)}"


def read_only(refusal):
    """It is attached, and can't be written."""
    return f"read-only; {refusal}"


def no_new_blocks(message):
    """It is attached, and never gets another block."""
    return f"{ACCEPTED}, no new blocks: {structure_of(message)}"


def accepted(errors, warnings):
    """It is attached. An error of the log keeps it from being written. Errors of the BAT keep it
    from new blocks, and so does what says that."""
    never_begun = [message for message in errors if structure_of(message) == "log"]
    if never_begun:
        return read_only(refused("corrupt", never_begun[0]))
    against = [message for message in errors if structure_of(message) == "BAT"]
    against += [message for message in warnings if "no block can be allocated" in message]
    return no_new_blocks(against[0]) if against else ACCEPTED


def load():
    """{name: text}"""
    lines = [line.split(maxsplit=1) for line in PATH.read_text(encoding="ascii").splitlines()
             if line and not line.startswith("#")]
    return {name: text.strip() for name, text in lines}


def write(found):
    """Puts these into the table, in order of their names."""
    texts = sorted((load() | found).items())
    width = max(len(name) for name, _ in texts) + 2
    PATH.write_text(_HEAD + "".join(f"{name:{width}}{text}\n" for name, text in texts),
                    encoding="ascii")


def difference(name, found):
    """What is wrong with this text for a container: another text, or None."""
    wanted = load().get(name, "no line")
    return None if found == wanted else f"{found}; selftests/oracle/verdicts has {wanted}"
