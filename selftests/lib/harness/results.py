# SPDX-License-Identifier: GPL-2.0-only
"""Reads a suite's KTAP, and counts its cases."""

import re

RESULT = re.compile(r"( *)(not ok|ok)\b(?: +\d+)?(?: *-)? *([^#]*?) *(?:# *(SKIP|TODO)?\b *(.*))?$",
                    re.IGNORECASE)
PLAN = re.compile(r"( *)1\.\.(\d+)(?: *(# *SKIP)\b *(.*))?", re.IGNORECASE)
# What the unit tests say of cases whose names do not match: it is as if these were not there.
NOT_CHOSEN = "not asked for"


class Level:
    """The cases of one indentation, up to the result that sums them up."""

    def __init__(self):
        self.planned = None
        self.seen = 0
        self.failed = 0


class Results:
    """What a suite has said so far.

    A result line with more indented results before it sums those up and is no
    case of its own, unless it is the only one to tell of a failure.
    """

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        # Names of cases that passed, by indentation; of those that were summed up, with the
        # name of the sum before it: file.case.
        self.names = {}
        self.levels = {}
        # "1..0 # SKIP" was there, or the same without a reason, or cases that were not chosen.
        self.all_skipped = self.none_chosen = False
        self.complaints = []

    def line(self, text):
        """Takes a line; True if it is KTAP, False if it is anything else."""
        match = PLAN.fullmatch(text)
        if match:
            self.level(len(match[1])).planned = int(match[2])
            if match[2] == "0" and not match[1]:
                self.all_skipped = bool(match[3])
                self.none_chosen = not match[3]
            return True
        match = RESULT.match(text)
        if match:
            skipped = (match[4] or "").upper() == "SKIP"
            if skipped and match[5] == NOT_CHOSEN:
                self.none_chosen = True
                self.level(len(match[1])).seen += 1
            else:
                self.result(len(match[1]), match[2] == "ok", skipped, match[3])
            return True
        if text.startswith("Bail out!"):
            self.complain(text)
        return text.lstrip().startswith(("#", "KTAP version"))

    def level(self, indent):
        """The level of an indentation."""
        return self.levels.setdefault(indent, Level())

    def result(self, indent, good, skipped, name):
        """Takes a result."""
        level = self.level(indent)
        level.seen += 1
        level.failed += not good
        deeper = [i for i in self.levels if i > indent]
        if deeper:
            self.names.setdefault(indent, []).extend(
                f"{name}.{case}" for i in deeper for case in self.names.pop(i, ()))
            failed_below = sum(self.levels[i].failed for i in deeper)
            for i in deeper:
                self.check_plan(self.levels.pop(i))
            if good or failed_below:
                return
        if not good:
            self.failed += 1
        elif skipped:
            self.skipped += 1
        else:
            self.passed += 1
            self.names.setdefault(indent, []).append(name)

    def passed_cases(self):
        """The names of all that passed."""
        return {name for names in self.names.values() for name in names}

    def complain(self, text):
        """Notes what is wrong with the suite itself: one failure, however much it is."""
        self.failed += not self.complaints
        self.complaints.append(text)

    def check_plan(self, level):
        """All that was planned must have had a result."""
        if level.planned is None:
            self.complain("there is no plan")
        elif level.planned != level.seen:
            self.complain(f"{level.seen} of {level.planned} cases have a result")

    def finish(self, status):
        """The suite has ended with an exit status, or None if it was lost."""
        if self.all_skipped and not self.levels.get(0, Level()).seen:
            self.skipped += 1
        elif not self.levels:
            self.complain("it printed no KTAP")
        elif self.none_chosen and not self.passed + self.failed + self.skipped:
            self.complain("it has no case with such a name")
        for level in self.levels.values():
            self.check_plan(level)
        self.levels.clear()
        if status is None:
            self.complain("the machine was lost")
        elif status in (124, 137):
            self.complain("it ran out of time")
        elif status not in (0, 4) and not self.failed:
            self.complain(f"it has exit status {status}")
