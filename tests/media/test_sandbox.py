"""The sandbox: a child that misbehaves is a refused file, and can do no harm meanwhile."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from dashboard.media.decoding.seccomp import SystemCallFilter, allowed_calls
from dashboard.media.sandbox import Limits, MediaError, Sandbox, SandboxError

HERE = Path(__file__).parent
LIMITS = Limits(memory=256 * 1024 * 1024, cpu_seconds=1, seconds=60.0, output=50_000)


@pytest.fixture(scope="module")
def hostile() -> Iterator[Sandbox]:
    sandbox = Sandbox(LIMITS, concurrent=8, server=HERE / "hostile_decoder.py")
    yield sandbox
    sandbox.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux filters system calls")
def test_a_child_can_open_connect_and_start_nothing(hostile: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "made"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        found = hostile.run("attempts", {"path": str(path), "port": port}).values
    assert hostile.filtered is True
    assert "the kernel enforces it" in hostile.describe()
    assert found.pop("environment") in ("LC_ALL", "LC_ALL,LC_CTYPE")
    assert found.pop("trace") == "refused"
    # EPERM from the filter; EMFILE where the limit on descriptors comes first.
    assert {name: result for name, result in found.items() if result not in ("1", "24")} == {}
    assert not path.exists()


@pytest.mark.parametrize(
    ("task", "cause"),
    [
        ("endless", "time"),
        ("asleep", "time"),
        ("greedy", "out_of_memory"),
        ("crashing", "crashed"),
        ("exiting", "crashed"),
        ("shouting", "crashed"),
        ("lying", "crashed"),
        ("nested", "crashed"),
        ("odd", "crashed"),
    ],
)
def test_a_child_that_misbehaves_is_a_refused_file(hostile: Sandbox, task: str, cause: str) -> None:
    limits = replace(LIMITS, seconds=0.3) if task == "asleep" else LIMITS
    with pytest.raises(MediaError) as raised:
        hostile.run(task, {}, limits=limits)
    assert raised.value.cause == cause
    assert raised.value.reason.endswith(".")
    assert not raised.value.retryable
    # The next file is decoded as if nothing had happened.
    with pytest.raises(MediaError):
        hostile.run("exiting", {})


def test_bytes_and_an_open_file_arrive(hostile: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("content")
    large = os.urandom(3_000_000)
    with path.open("rb") as file:
        outcome = hostile.run(
            "reading", {}, [large, b""], file=file.fileno(), limits=Limits(output=4_000_000)
        )
    assert outcome.values == {"file": "content", "parts": [3_000_000, 0]}
    assert outcome.parts == [large]


def test_a_server_that_was_killed_is_started_again(tmp_path: Path) -> None:
    sandbox = Sandbox(LIMITS, server=HERE / "hostile_decoder.py")
    with pytest.raises(MediaError):
        sandbox.run("exiting", {})
    assert sandbox._server is not None
    first = sandbox._server.pid
    os.kill(first, signal.SIGKILL)
    sandbox._server.wait()
    with pytest.raises(MediaError):
        sandbox.run("exiting", {})
    assert sandbox._server.pid != first
    second = sandbox._server
    sandbox.close()
    assert second.returncode is not None
    sandbox.close()


def test_children_end_with_their_server(hostile: Sandbox) -> None:
    sandbox = Sandbox(Limits(cpu_seconds=5, seconds=60), server=HERE / "hostile_decoder.py")
    with pytest.raises(MediaError):
        sandbox.run("exiting", {})
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(sandbox.run, "asleep", {})
        assert sandbox._server is not None
        while not Path(f"/proc/{sandbox._server.pid}/task/{sandbox._server.pid}/children").read_text():
            assert not waiting.done()
        os.kill(sandbox._server.pid, signal.SIGKILL)
        sandbox._server.wait()
        # Nothing is known about the file: it may be tried again.
        with pytest.raises(SandboxError):
            waiting.result(120)
    sandbox.close()


def test_many_files_at_a_time(hostile: Sandbox) -> None:
    def one(number: int) -> str:
        try:
            hostile.run(("crashing", "exiting", "lying", "odd")[number % 4], {})
        except MediaError as error:
            return error.cause
        return "none"

    with ThreadPoolExecutor(12) as threads:
        assert set(threads.map(one, range(60))) == {"crashed"}


def test_an_interpreter_that_is_none_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(SandboxError):
        Sandbox(python=str(tmp_path / "nothing")).run("image", {})
    with pytest.raises(SandboxError):
        Sandbox(python="/bin/true").run("image", {})


@pytest.mark.parametrize(
    ("column", "header"), [(0, "x86_64-linux-gnu/asm/unistd_64.h"), (1, "asm-generic/unistd.h")]
)
def test_the_allowed_system_calls_have_the_numbers_of_the_kernel(column: int, header: str) -> None:
    path = Path("/usr/include") / header
    if not path.exists():
        pytest.skip(f"the kernel's headers are not installed: there is no {path}")
    numbers = dict(re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", path.read_text()))
    allowed = allowed_calls()
    assert len(allowed) > 30
    assert {name: str(each[column]) for name, each in allowed.items()} == {
        name: numbers[name] for name in allowed
    }


def test_a_system_without_a_filter_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert SystemCallFilter().apply() is False
    sandbox = Sandbox()
    assert "Nothing has been decoded" in sandbox.describe()
    sandbox.filtered = False
    assert "cannot filter" in sandbox.describe()
