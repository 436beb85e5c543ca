"""What the machine has for carriers: processor cores, memory, and whether one more process would help."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

WINDOW_SECONDS = 1.0
"""For how long the machine is watched before a process is started."""
OWN_CORES = 0.7
"""Processor time per second from which on this process is held up by it: one interpreter uses hardly more
than a core."""
IDLE_CORES = 0.5
"""Cores without work that a further process needs."""
_PROC, _GROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def cores(proc: Path = _PROC, groups: Path = _GROUPS) -> int:
    """How many processor cores this process may use: those of the machine, less what its container or service
    may not have."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for text in _limits("cpu.max", proc, groups):
        quota, _, period = text.partition(" ")
        if quota.isdecimal() and period.isdecimal() and int(period):
            found = min(found, math.ceil(int(quota) / int(period)))
    return max(1, found)


def memory(proc: Path = _PROC, groups: Path = _GROUPS) -> int:
    """How many bytes of memory this process may use; 0 if that is not known."""
    try:
        found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0
    limits = [int(text) for text in _limits("memory.max", proc, groups) if text.isdecimal()]
    return min([found, *limits])


def _limits(name: str, proc: Path, groups: Path) -> Iterator[str]:
    """Yield a limit of the control group of this process, and of each above it.

    https://docs.kernel.org/admin-guide/cgroup-v2.html"""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    own = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), None)
    if own is None or ".." in own:
        return
    group = groups / own.strip("/")
    for folder in (group, *group.parents):
        # The topmost has no limits.
        with suppress(OSError):
            yield (folder / name).read_text().strip()
        if folder == groups:
            return


def idle_seconds(proc: Path = _PROC) -> float | None:
    """Processor time in seconds, of all cores together, in which the machine had nothing to do since it
    started. None where the system does not say (proc_stat(5))."""
    try:
        with (proc / "stat").open() as stat:
            fields = stat.readline().split()
        return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


class Headroom:
    """Whether one more process would make copying faster: this one needs all of a core, and another core has
    nothing to do. Used by one thread.

    ``cpu`` and ``idle`` return the processor time in seconds of this process, and that which nobody used.
    """

    def __init__(
        self,
        cpu: Callable[[], float] = time.process_time,
        idle: Callable[[], float | None] = idle_seconds,
    ) -> None:
        self._cpu = cpu
        self._idle = idle
        self._samples: deque[tuple[float, float, float]] = deque()

    def is_there(self, now: float) -> bool:
        """Look again, at ``now`` in monotonic seconds. False until there was time to watch, and where the
        system does not say what is idle."""
        idle = self._idle()
        if idle is None:
            return False
        self._samples.append((now, self._cpu(), idle))
        # The last one that is old enough stays.
        while len(self._samples) > 1 and now - self._samples[1][0] >= WINDOW_SECONDS:
            self._samples.popleft()
        (began, cpu, earlier), (_, used, _) = self._samples[0], self._samples[-1]
        passed = now - began
        if passed < WINDOW_SECONDS:
            return False
        return (used - cpu) / passed >= OWN_CORES and (idle - earlier) / passed >= IDLE_CORES

    def restart(self) -> None:
        """A process was started: watch anew what is left."""
        self._samples.clear()
