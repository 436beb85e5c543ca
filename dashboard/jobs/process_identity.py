"""Which process this is, and whether another is alive, as far as that can be known from here."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

_PROC = Path("/proc")


def this_process() -> str:
    """Identify this process: boot of the machine, namespace of process ids, id and start time."""
    return _identity(os.getpid())


def is_alive(process: str) -> bool | None:
    """Whether the process with this identity is alive. None if that cannot be known from here: it runs or ran
    on another machine or in another container, or this system has no /proc."""
    machine, _, rest = process.rpartition("/")
    number, _, ticks = rest.partition("@")
    if not machine or machine != _machine():
        return None
    return bool(number.isdecimal() and ticks and _start_ticks(int(number)) == ticks)


@cache
def _identity(number: int) -> str:
    # Cached by process id, because a fork inherits the cache.
    return f"{_machine()}/{number}@{_start_ticks(number)}"


@cache
def _machine() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink(_PROC / 'self/ns/pid')}"
    except OSError:
        return ""


def _start_ticks(number: int) -> str:
    """Return a process's start in ticks since boot, because process ids are reused."""
    try:
        text = (_PROC / str(number) / "stat").read_text()
    except OSError:
        return ""
    # The name, in parentheses, may contain anything.
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]
