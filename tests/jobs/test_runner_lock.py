"""One runner per instance folder, whatever happens to its process."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from dashboard.jobs.lock import RunnerLock
from tests.servers.processes import wait_until

HOLD = """
import sys, time
from pathlib import Path
from dashboard.jobs.lock import RunnerLock
assert RunnerLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
time.sleep(60)
"""


def holding_process(path: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"held\n"
    return process


def test_the_lock_is_exclusive_and_can_be_given_back(tmp_path: Path) -> None:
    first, second = RunnerLock(tmp_path / "runner.lock"), RunnerLock(tmp_path / "runner.lock")
    assert not second.held()
    assert first.acquire()
    assert first.acquire()
    assert not second.acquire()
    assert second.held()
    first.release()
    first.release()
    assert not second.held()
    assert second.acquire()
    second.release()


def test_a_killed_holder_frees_the_lock_at_once(tmp_path: Path) -> None:
    path = tmp_path / "runner.lock"
    lock = RunnerLock(path)
    with holding_process(path) as process:
        assert lock.held()
        assert not lock.acquire()
        assert lock.holder() == process.pid
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_until(lock.acquire, seconds=60, what="lock free")
    lock.release()


def test_the_lock_file_is_private(tmp_path: Path) -> None:
    lock = RunnerLock(tmp_path / "runner.lock")
    assert lock.acquire()
    assert (tmp_path / "runner.lock").stat().st_mode & 0o777 == 0o600
    lock.release()
