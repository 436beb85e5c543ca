"""Running one client and weighing it: time, CPU and memory of its whole process tree."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE = 0.05
"""Seconds between two looks at the process tree."""


@dataclass(frozen=True)
class Measured:
    """One run. ``wall``, ``cpu`` and ``server_cpu`` in seconds, ``peak`` in bytes.

    ``cpu`` is user and system time of the client's process tree. ``peak`` is the largest sum of resident
    memory over the tree that a sample saw; pages shared between processes count once for each.
    ``switches`` is how often one of the client's threads waited for something (voluntary context switches).
    ``elsewhere`` is CPU time spent meanwhile by everything but the client and the server: the
    noise (and the sampler, about 0.02 s per second). ``flush`` is how long the machine then took to bring
    everything to disk: what a client that does not flush leaves for later.
    """

    wall: float
    cpu: float
    switches: int
    peak: int
    server_cpu: float
    elsewhere: float
    flush: float
    status: int
    stdout: str
    stderr: str


class _Sampler(threading.Thread):
    """Watches a process tree until told to stop."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._root = psutil.Process(pid)
        self._ended = threading.Event()
        self._cpu: dict[psutil.Process, float] = {}
        self.peak = 0

    def run(self) -> None:
        while not self._ended.wait(SAMPLE):
            self._sample()

    def stop(self) -> None:
        """End after the current sample."""
        self._ended.set()
        self.join()

    @property
    def cpu(self) -> float:
        """CPU seconds as last seen of every process of the tree."""
        return sum(self._cpu.values())

    def _sample(self) -> None:
        resident = 0
        try:
            tree = [self._root, *self._root.children(recursive=True)]
        except psutil.Error:
            return
        for process in tree:
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    resident += process.memory_info().rss
            except psutil.Error:
                continue
            self._cpu[process] = times.user + times.system
        self.peak = max(self.peak, resident)


def measure(
    command: Sequence[str], *, env: Mapping[str, str], folder: Path, server: psutil.Process
) -> Measured:
    """Run a command to its end. ``folder`` takes its output; the command sees no other environment."""
    out, err = folder / "stdout", folder / "stderr"
    server_before, machine_before = _cpu_of(server), _busy()
    with out.open("wb") as stdout, err.open("wb") as stderr:
        start = time.perf_counter()
        # wait4, not Popen.wait: its usage covers children that lived shorter than one sample.
        process = subprocess.Popen(
            command, env=dict(env), cwd=folder, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
        )
        sampler = _Sampler(process.pid)
        sampler.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    sampler.stop()
    # A child its parent never waited for is missing from the usage but was sampled.
    cpu = max(usage.ru_utime + usage.ru_stime, sampler.cpu)
    server_cpu = _cpu_of(server) - server_before
    elsewhere = max(0.0, _busy() - machine_before - cpu - server_cpu)
    start = time.perf_counter()
    os.sync()
    return Measured(
        wall=wall,
        cpu=cpu,
        switches=usage.ru_nvcsw,
        peak=sampler.peak,
        server_cpu=server_cpu,
        elsewhere=elsewhere,
        flush=time.perf_counter() - start,
        status=process.returncode,
        stdout=out.read_text(errors="replace"),
        stderr=err.read_text(errors="replace"),
    )


def settle(server: psutil.Process, *, seconds: float = 20.0) -> None:
    """Let the disk and the server finish with the run before, so that the next does not pay for it."""
    os.sync()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = _cpu_of(server)
        time.sleep(0.4)
        if _cpu_of(server) - before < 0.04:
            return


def _cpu_of(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _busy() -> float:
    """CPU seconds this machine has worked so far, over all cores."""
    times = psutil.cpu_times()
    return float(sum(times[:8]) - times.idle - times.iowait)
