"""Decoding other people's files where it can do no harm: one child process for each file, bytes in, bytes
out.

A child has no files, no network, no environment and no secrets, and limited memory, CPU and wall time. On
Linux a filter refuses every system call that decoding does not need. Whatever the child does (crash, hang,
exhaust its memory, answer nonsense) is a ``MediaError`` about that one file, never a failure of the process
that asked.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import Any, NamedTuple

from dashboard.errors import Kind, StowageError
from dashboard.media.decoding.frames import MESSAGE, FrameError, pack_header, read_frame, windows
from dashboard.media.sizes import format_size

_START_SECONDS = 30
_GRACE_SECONDS = 3
_ENDING_SECONDS = 0.5
"""For how much longer than the child may run its answer is waited for."""
_SERVER = Path(__file__).with_name("decoding") / "sandbox_server.py"
_RETRY = "Open it in a program for this kind of file, save it again, and upload that."


@dataclass(frozen=True, slots=True)
class Limits:
    """What one child may use. ``memory``: bytes for decoding. ``cpu_seconds`` and ``seconds``: of CPU and in
    all. ``output``: bytes of all results together."""

    memory: int = 1024 * 1024 * 1024
    cpu_seconds: int = 30
    seconds: float = 60.0
    output: int = 64 * 1024 * 1024


class MediaError(StowageError):
    """A file that cannot be processed.

    ``cause``: ``broken``, ``pixels``, ``unsupported``, ``encrypted``, ``active``, ``animated``,
    ``out_of_memory``, ``time`` or ``crashed``. ``details``: values that belong to it.
    """

    def __init__(self, cause: str, details: Mapping[str, Any] | None = None, *, limits: Limits) -> None:
        reason, remedy = _sentences(cause, details or {}, limits)
        super().__init__(Kind.INVALID, reason, operation="process", remedy=remedy)
        self.cause = cause
        self.details = dict(details or {})


class SandboxError(StowageError):
    """The sandbox itself cannot work on this machine; nothing is known about the file."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            Kind.INTERNAL,
            reason,
            operation="process",
            remedy="The log of the server says more.",
            retryable=True,
        )


def _sentences(cause: str, details: Mapping[str, Any], limits: Limits) -> tuple[str, str]:
    width, height = _int(details.get("width")), _int(details.get("height"))
    what = details.get("what")
    return {
        "pixels": (f"It has {width:,} × {height:,} pixels, which is too many.", "Make it smaller first."),
        "unsupported": ("This server cannot decode files of this type.", "Convert it to a common type."),
        "encrypted": ("It is protected by a password.", "Remove the password and try again."),
        "active": (
            f"It contains {str(what)[:100]}, which a browser would run or load."
            if what
            else "It is active content.",
            "Export it again without scripts and references to other files.",
        ),
        "animated": (
            "It is animated; only its first picture would be left.",
            "Use an image with one picture.",
        ),
        "out_of_memory": (
            f"Decoding it needs more than {format_size(limits.memory)} of memory.",
            "Make it smaller first.",
        ),
        "time": (f"Decoding it took longer than {limits.seconds:g} seconds.", "Make it smaller first."),
        "crashed": ("Decoding it failed in a way that damaged files, and attacks, cause.", _RETRY),
    }.get(cause, ("Its content is damaged or incomplete.", _RETRY))


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0


class Outcome(NamedTuple):
    """What a child answered. A compromised decoder may answer anything: callers check every value."""

    values: dict[str, Any]
    parts: list[bytes]


class Sandbox:
    """Starts children. Thread-safe; ``concurrent`` children run at a time, further calls wait.

    The first call starts a server process without secrets, from which children are forked; it ends with this
    process or with :meth:`close`. ``python``: the interpreter, if ``sys.executable`` is none. ``server``: the
    program of the server process.
    """

    def __init__(
        self, limits: Limits | None = None, *, concurrent: int = 2, python: str = "", server: Path = _SERVER
    ) -> None:
        self.limits = limits or Limits()
        self._python = python or sys.executable
        self._program = server.absolute()
        self._slots = BoundedSemaphore(concurrent)
        self._lock = Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._owner = 0
        self.filtered: bool | None = None
        """Whether the last child had its system calls filtered; None before the first."""

    def run(
        self,
        task: str,
        arguments: Mapping[str, Any],
        parts: Sequence[bytes] = (),
        *,
        file: int | None = None,
        limits: Limits | None = None,
    ) -> Outcome:
        """Run a task of ``tasks.TASKS`` in a child of its own.

        ``parts``: byte strings that it gets. ``file``: a descriptor, open for reading, that it gets as well,
        for content that is too large to be sent. Raises ``MediaError`` about the content, and
        ``SandboxError`` if no child can be started.
        """
        limits = limits or self.limits
        request = {
            "task": task,
            "arguments": dict(arguments),
            "bytes": limits.memory,
            "seconds": limits.cpu_seconds,
        }
        with self._slots, self._start(task, limits.seconds) as job:
            deadline = time.monotonic() + limits.seconds + _GRACE_SECONDS
            try:
                _send(job, [pack_header(request, [len(part) for part in parts]), *parts], file, deadline)
            except TimeoutError as error:
                raise MediaError("time", limits=limits) from error
            except OSError:
                # The child has died; how it ended can still be read.
                pass
            return self._receive(job, limits, deadline)

    def close(self) -> None:
        """End the server and every child. Idempotent; the next call starts it again."""
        with self._lock:
            self._stop()

    def describe(self) -> str:
        """One sentence about how well decoders are confined, from the last child."""
        if self.filtered is None:
            return "Nothing has been decoded yet."
        if self.filtered:
            return "Files are decoded without access to files, network and programs; the kernel enforces it."
        return (
            "Files are decoded in processes of their own with limits on memory, time and files, but this "
            "system cannot filter their system calls."
        )

    def _start(self, task: str, seconds: float) -> socket.socket:
        """A connection to a new child."""
        message = json.dumps({"task": task, "seconds": seconds}).ljust(MESSAGE).encode()
        with self._lock:
            control = self._serve()
            ours, theirs = socket.socketpair()
            with theirs:
                try:
                    socket.send_fds(control, [message], [theirs.fileno()])
                except OSError:
                    # The server has died since: a new one takes its place.
                    self._stop()
                    try:
                        socket.send_fds(self._serve(), [message], [theirs.fileno()])
                    except (OSError, SandboxError) as error:
                        ours.close()
                        raise SandboxError("The process that decodes files cannot be reached.") from error
        return ours

    def _serve(self) -> socket.socket:
        if self._control is not None and self._owner == os.getpid():
            return self._control
        ours, theirs = socket.socketpair()
        folders = json.dumps([os.path.abspath(folder) for folder in sys.path])
        command = [self._python, "-I", "-B", str(self._program), str(theirs.fileno()), folders]
        try:
            with theirs:
                self._server = subprocess.Popen(
                    command,
                    env={"LC_ALL": "C.UTF-8"},
                    cwd="/",
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
        except OSError as error:
            ours.close()
            raise SandboxError("The process that decodes files cannot be started.") from error
        self._control, self._owner = ours, os.getpid()
        ours.settimeout(_START_SECONDS)
        try:
            ready = ours.recv(MESSAGE)
        except OSError:
            ready = b""
        if len(ready) < MESSAGE:
            self._stop()
            raise SandboxError("The process that decodes files does not start.")
        atexit.register(self.close)
        return ours

    def _stop(self) -> None:
        atexit.unregister(self.close)
        if self._control is not None:
            self._control.close()
        if self._server is not None and self._owner == os.getpid():
            # It ends by itself when its socket does; this is for one that hangs.
            self._server.kill()
            self._server.wait()
        self._control = self._server = None

    def _server_ended(self) -> bool:
        """Whether the server has ended, or does in a moment: a child that ends with it may be noticed
        first."""
        server = self._server
        if server is not None:
            try:
                server.wait(_ENDING_SECONDS)
            except subprocess.TimeoutExpired:
                return False
        return True

    def _receive(self, job: socket.socket, limits: Limits, deadline: float) -> Outcome:
        def receive(size: int) -> bytes:
            job.settimeout(max(0.01, deadline - time.monotonic()))
            return job.recv(size)

        try:
            answer, results = read_frame(receive, limit=limits.output)
        except TimeoutError as error:
            raise MediaError("time", limits=limits) from error
        except (OSError, FrameError) as error:
            if self._server_ended():
                # Children end with the server, whatever ended it.
                raise SandboxError("The process that decodes files has ended.") from error
            raise MediaError("crashed", limits=limits) from error
        if "ended" in answer:
            raise MediaError(_cause_of(answer), limits=limits)
        self.filtered = answer.get("filtered") is True
        details = answer.get("details")
        if answer.get("error") == "import":
            raise SandboxError("A module that decodes files is missing.")
        if "error" in answer:
            raise MediaError(
                str(answer["error"]), details if isinstance(details, dict) else {}, limits=limits
            )
        values = answer.get("values")
        if not isinstance(values, dict):
            raise MediaError("crashed", limits=limits)
        return Outcome(values, [bytes(part) for part in results])


def _cause_of(answer: Mapping[str, Any]) -> str:
    """Why a child ended without an answer: its exit code, or the negative number of a signal."""
    if answer.get("late") is True or answer.get("ended") == -signal.SIGXCPU:
        return "time"
    # Nobody else kills it but a kernel that is short of memory.
    return "out_of_memory" if answer.get("ended") == -signal.SIGKILL else "crashed"


def _send(job: socket.socket, blocks: Sequence[bytes], file: int | None, deadline: float) -> None:
    first = True
    for window in windows(blocks):
        rest = window
        while rest:
            job.settimeout(max(0.01, deadline - time.monotonic()))
            if first:
                sent = socket.send_fds(job, [rest], [] if file is None else [file])
                first = False
            else:
                sent = job.send(rest)
            rest = rest[sent:]


_shared: list[Sandbox] = []
_shared_lock = Lock()


def shared_sandbox() -> Sandbox:
    """The sandbox of this process, for callers that have none of their own."""
    with _shared_lock:
        if not _shared:
            _shared.append(Sandbox())
        return _shared[0]


def close_shared_sandbox() -> None:
    """End it, for example after a test. Idempotent."""
    with _shared_lock, suppress(IndexError):
        _shared[0].close()
