# SPDX-License-Identifier: GPL-2.0-only
"""vhdxctl, as scripts use it."""

import json as json_module
import subprocess

DONE, FAILED, USAGE, FULL_BACKUP = range(4)


def run(*arguments, status=DONE, user=None):
    """Runs vhdxctl; fails unless it exits with status (None: any).

    user        run it as this user, with the user's groups
    """
    command = ["vhdxctl", *map(str, arguments)]
    if user:
        command = ["runuser", "-u", user, "--", *command]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors="replace", check=False)
    if status is not None and done.returncode != status:
        raise AssertionError(f"'{' '.join(command)}' has exit status {done.returncode} "
                             f"instead of {status}\nstdout: {done.stdout}\nstderr: {done.stderr}")
    return done


def line(*arguments):
    """The one line that it prints."""
    output = run(*arguments).stdout
    if output.count("\n") != 1 or not output.endswith("\n"):
        raise AssertionError(f"vhdxctl {arguments} prints {output!r}, not one line")
    return output[:-1]


def json(*arguments, status=DONE, user=None):
    """What it prints with --json."""
    return json_module.loads(run(*arguments, "--json", status=status, user=user).stdout)
