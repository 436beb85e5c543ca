"""The processes of carriers: how they are started and ended, and how many there may be."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence

from dashboard.migration.types import Spec
from dashboard.services.migrations.carrying.machine import cores, memory
from dashboard.services.migrations.spec import AS_OF, REPLACED_IN
from dashboard.settings import Settings
from dashboard.storage.driver import Driver, LimitsConnections

log = logging.getLogger(__name__)

MIN_WORKERS = 4
"""Objects at once below which a carrier of its own is not worth it."""
MAX_DEFAULT = 8
MEMORY_EACH = 128 * 1024 * 1024
"""Bytes that one process may need; by default all of them take at most a quarter of the machine's memory."""
KILL_SECONDS = 5.0


def default_carriers() -> int:
    """One for each core that this process may use, as far as the memory allows."""
    return max(1, min(cores(), MAX_DEFAULT, memory() // 4 // MEMORY_EACH))


def carriers_for(wanted: int, spec: Spec, stored: dict[str, object], ends: tuple[Driver, Driver]) -> int:
    """Return how many carriers a migration may have, of those that are wanted. Copies that keep what they
    replace, and backends with a limited number of connections, have one: there the order of two writes, or
    who has which connection, is known in one process only."""
    if spec.dry_run or stored.get(AS_OF) or stored.get(REPLACED_IN):
        return 1
    if any(isinstance(end, LimitsConnections) for end in ends):
        return 1
    return max(1, min(wanted, spec.workers // MIN_WORKERS))


class CarrierProcess:
    """A process that carries for a run. Its standard input is a pipe from this process, so that it ends when
    this one does, for whatever reason; what it prints is passed on."""

    def __init__(self, command: Sequence[str]) -> None:
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        threading.Thread(target=self._relay, name="carrier-log", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def poll(self) -> int | None:
        """See ``Process.poll``."""
        code = self._child.poll()
        if code is not None:
            self._close_pipe()
        return code

    def terminate(self) -> None:
        """See ``Process.terminate``."""
        self._child.terminate()

    def kill(self) -> bool:
        """See ``Process.kill``."""
        self._child.kill()
        try:
            self._child.wait(KILL_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        self._close_pipe()
        return True

    def _close_pipe(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()

    def _relay(self) -> None:
        assert self._child.stdout is not None
        with self._child.stdout:
            for line in self._child.stdout:
                sys.stderr.write(line.decode("utf-8", "replace"))


def carrier_command(
    settings: Settings, migration_id: int, fence: int, number: int, carriers: int
) -> tuple[str, ...]:
    """Return the command of a carrier. It reads its other settings, and opens secrets, by itself."""
    return (
        *(sys.executable, "-m", "dashboard", "carrier", str(os.getpid())),
        *("--instance", str(settings.instance), "--key-file", str(settings.key_file)),
        *("--migration", str(migration_id), "--fence", str(fence), "--number", str(number)),
        *("--carriers", str(carriers)),
    )
