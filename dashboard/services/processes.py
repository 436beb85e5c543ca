"""Which process wrote a row, and whether it is still alive: a killed one says no goodbye."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

_PROC = Path("/proc")


def this_process() -> str:
    """The machine's start, the namespace of process ids, the id, and when the process began."""
    return _described(os.getpid())


def is_alive(process: str) -> bool | None:
    """Whether the process that called itself so is alive. None where that cannot be known from here: it
    runs, or ran, on another machine or in another container, or this system does not say."""
    machine, _, rest = process.rpartition("/")
    number, _, began = rest.partition("@")
    if not machine or machine != _machine():
        return None
    return bool(number.isdecimal() and began and _began(int(number)) == began)


@cache
def _described(number: int) -> str:
    # By process id, because a fork inherits what was cached.
    return f"{_machine()}/{number}@{_began(number)}"


@cache
def _machine() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink(_PROC / 'self/ns/pid')}"
    except OSError:
        return ""


def _began(number: int) -> str:
    """A process's start in ticks since the machine's, which tells two of the same number apart."""
    try:
        text = (_PROC / str(number) / "stat").read_text()
    except OSError:
        return ""
    # The name, in brackets, may hold anything.
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]
