"""Which process this is, and whether another is alive, as far as that can be known from here."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
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


def end(process: str) -> None:
    """Kill the process with this identity, but never this one, if it is alive on this machine and this user
    may; even if it is suspended. Returns without waiting for its end."""
    if process == this_process() or not is_alive(process):
        return
    number = int(process.rpartition("/")[2].partition("@")[0])
    with suppress(OSError, AttributeError):
        # Its number may soon be another's; the descriptor stays that of one process.
        handle = os.pidfd_open(number)
        try:
            if is_alive(process):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)


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
