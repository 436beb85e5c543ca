"""The console as people start it: ``python -m dashboard run`` in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.servers.processes import ServerProcess, free_ports
from tests.servers.s3 import wait_until

ROOT = Path(__file__).resolve().parents[2]
_ADDRESS = re.compile(r"Stowage is at (\S+)")
_CODE = re.compile(r"Setup code: (\S+)")


class Console:
    """A console on an instance folder of its own, with its runner, for as long as a ``with`` block lasts."""

    def __init__(self, instance: Path, **environment: str) -> None:
        self.instance = instance
        self.log = instance.with_name(instance.name + ".log")
        self.port = free_ports(1)[0]
        # Nothing of this machine's own settings may decide a test.
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        self._environment = (
            kept | {"STOWAGE_INSTANCE": str(instance), "PYTHONWARNINGS": "default"} | environment
        )
        self._process: ServerProcess | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it says where it is."""
        self._process = ServerProcess(
            [sys.executable, "-m", "dashboard", "run", "--port", str(self.port)],
            cwd=ROOT,
            log=self.log,
            environment=self._environment,
        )
        wait_until(self._announced, seconds=60, what="the console announced")

    def stop(self) -> None:
        """Ask it to end, as a service manager would. Idempotent."""
        if self._process:
            self._process.terminate(seconds=20)
            self._process = None

    @property
    def address(self) -> str:
        """Where it says it is."""
        found = _ADDRESS.findall(self.log.read_text())
        return str(found[-1])

    @property
    def setup_code(self) -> str:
        """The code it printed last; it comes a line after the address."""
        wait_until(lambda: bool(_CODE.search(self.log.read_text())), seconds=20, what="a setup code")
        return str(_CODE.findall(self.log.read_text())[-1])

    @property
    def pid(self) -> int:
        """The process that serves pages; its runner is a child of it."""
        assert self._process is not None
        return self._process.pid

    def command(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run ``stowage`` with these arguments on the same instance."""
        return subprocess.run(
            [sys.executable, "-m", "dashboard", *arguments],
            cwd=ROOT,
            env=self._environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def _announced(self) -> bool:
        assert self._process is not None
        self._process.check()
        return bool(_ADDRESS.search(self.log.read_text()))
