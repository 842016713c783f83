# SPDX-License-Identifier: GPL-2.0-only
"""Allocations and requests that fail, by the kernel's fault injection.

    for number, result in inject.sweep(call):   call() with its first allocation failing, then
        ...                                     its second one, until there is none left
    with inject.failing(percent):               allocations of the module's workers, at random
    with inject.failing_below(function):        all that one of the kernel's functions makes
    with inject.failing_pages(order):           all of memory that lies side by side
    with inject.failing_requests(device, percent):      what is sent to a block device

Only allocations below the module's own code are meant, but for failing_below(): somebody of it
must be among the callers, at most depth of them up. See Documentation/fault-injection in the kernel.
"""

import contextlib
import itertools
import os
import pathlib

import ktap

from . import knob

_DEBUG = pathlib.Path("/sys/kernel/debug")
_KINDS = ("failslab", "fail_page_alloc")
# All that the kernel records; and what is not far below the module's own code.
DEPTH = 32
NEAR = 12
_MOST = 4000
# In a brief run too.
_CHANCE = ktap.chance()
_EACH = 8


def _symbols():
    """[(address, name, module or "")] of all code, in order."""
    with open("/proc/kallsyms", encoding="ascii") as symbols:
        rows = [line.split() for line in symbols]
    return sorted((int(row[0], 16), row[2], "".join(row[3:]).strip("[]")) for row in rows
                  if row[1] in "tT")


def _text(module="vhdx"):
    """(first, end) of a module's code."""
    code = [address for address, _, whose in _symbols() if whose == module]
    return code[0], code[-1] + 4096


def _text_of(function):
    """(first, end) of a function of the kernel's."""
    symbols = _symbols()
    first, = (address for address, name, _ in symbols if name == function)
    return first, next(address for address, _, _ in symbols if address > first)


def _set(kinds=_KINDS, **values):
    for kind in kinds:
        for name, value in values.items():
            path = _DEBUG / kind / name.replace("_", "-")
            if path.exists():
                path.write_text(f"{value}\n", encoding="ascii")


def require():
    """Skips the suite where the kernel can't."""
    if not (_DEBUG / "failslab/require-start").exists() or \
            not os.path.exists("/proc/thread-self/fail-nth"):
        ktap.skip_all("the kernel has no fault injection")
    # fail-nth is for each kind of fault: a copy from or to user space, which is the first of
    # most calls, is to have nobody of these addresses among its callers.
    _set(("fail_usercopy",), require_start=1, require_end=2, stacktrace_depth=DEPTH)
    first, end = _text()
    _set(probability=0, verbose=0, times=-1, ignore_gfp_wait="N", ignore_gfp_highmem="Y",
         min_order=0, task_filter="N", require_start=hex(first), require_end=hex(end))


def sweep(call, depth=NEAR, first=1, most=_MOST, task="thread-self"):
    """Yields (number, what call() returned), the last time with nothing injected: number 0.

    call() is to be one system call, as far as Python lets it. A brief run has every eighth
    of a call that makes many allocations, another time others.

    task    whose allocations: a process id, if not the caller's
    """
    def numbers():
        yield from range(first, first + _EACH)
        step = 8 if ktap.BRIEF else 1
        yield from itertools.count(first + _EACH + _CHANCE.randrange(step), step)

    _set(stacktrace_depth=depth)
    fd = os.open(f"/proc/{task}/fail-nth", os.O_RDWR | os.O_CLOEXEC)
    try:
        for number in numbers():
            ktap.check(number < most, f"{number} allocations, and no end")
            os.pwrite(fd, b"%d" % number, 0)
            result = call()
            left = int(os.pread(fd, 16, 0))
            os.pwrite(fd, b"0", 0)
            yield (0 if left else number), result
            if left:
                ktap.diag(f"{number - first} allocations")
                return
    finally:
        os.close(fd)


@contextlib.contextmanager
def failing(percent, depth=DEPTH):
    """One in so many allocations fails, whoever makes it."""
    _set(stacktrace_depth=depth, interval=1, times=-1, probability=percent)
    try:
        yield
    finally:
        _set(probability=0)


@contextlib.contextmanager
def failing_below(function):
    """Whatever this function of the kernel's allocates fails, whoever calls it."""
    for (first, end), percent in ((_text_of(function), 100), (_text(), 0)):
        _set(probability=0)
        _set(stacktrace_depth=DEPTH, interval=1, times=-1, require_start=hex(first),
             require_end=hex(end), probability=percent)
        if percent:
            yield


@contextlib.contextmanager
def calls_of(module, *devices):
    """Meanwhile sweep() is about all that this module calls, and what it sends to these devices."""
    switches = [f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/make-it-fail"
                for number in (os.stat(device).st_rdev for device in devices)]
    kinds = (*_KINDS, "fail_make_request")
    first, end = _text(module)
    _set(kinds, verbose=0, require_start=hex(first), require_end=hex(end))
    try:
        with contextlib.ExitStack() as stack:
            for switch in switches:
                stack.enter_context(knob.turned(switch, "1"))
            yield
    finally:
        first, end = _text()
        _set(kinds, require_start=hex(first), require_end=hex(end))


@contextlib.contextmanager
def failing_pages(order):
    """There are no pages of so many bits, or more, that lie side by side."""
    _set(("fail_page_alloc",), min_order=order, stacktrace_depth=DEPTH, interval=1, times=-1,
         probability=100)
    try:
        yield
    finally:
        _set(("fail_page_alloc",), min_order=0, probability=0)


@contextlib.contextmanager
def failing_requests(device, percent):
    """One in so many requests to a block device fails, whoever sends it."""
    number = os.stat(device).st_rdev
    switch = f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/make-it-fail"
    _set(("fail_make_request",), verbose=0, interval=1, times=-1, probability=percent)
    try:
        with knob.turned(switch, "1"):
            yield
    finally:
        _set(("fail_make_request",), probability=0)
