"""A carrier ends with its runner from the first moment: killed, suspended, or too late to see it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.processes import wait_until

# Only there does the system end a process with its parent.
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux does this")

CHILD = """
import os, signal, sys

class Suspends:
    def find_spec(self, name, *_):
        if name == "dashboard.children":
            os.kill(os.getpid(), signal.SIGSTOP)

sys.meta_path.insert(0, Suspends())
sys.argv = ["stowage", "carrier", str(os.getppid())]
from dashboard.__main__ import main
main()
"""
PARENT = f"""
import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdin=subprocess.PIPE).pid, flush=True)
time.sleep(600)
"""


def _state(pid: int) -> str:
    """One letter as in ``ps``; empty if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_a_carrier_that_is_suspended_while_it_loads_ends_with_its_runner() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        carrier = int(parent.stdout.readline())
        try:
            wait_until(lambda: _state(carrier) == "T", seconds=60, what="the carrier, suspended")
            parent.kill()
            wait_until(lambda: _state(carrier) in ("", "Z"), seconds=60, what="the carrier's end")
        finally:
            parent.kill()
            if _state(carrier):
                os.kill(carrier, signal.SIGKILL)


def test_a_carrier_whose_runner_is_gone_before_it_begins_ends_at_once() -> None:
    # Not this process's child, as far as it knows: its parent was another.
    program = [sys.executable, "-m", "dashboard", "carrier", str(os.getpid() + 1)]
    run = subprocess.run(program, stdin=subprocess.PIPE, capture_output=True, timeout=60, check=False)
    # With the runner it would say which arguments are missing, with code 2.
    assert (run.returncode, run.stdout, run.stderr) == (1, b"", b"")
