"""The process that starts one child for each file: a program of its own, started by ``sandbox.py``.

It imports every decoder once, so that a child costs a fork and no imports. It holds no secret: its
environment is empty, it never sees a file's bytes, and all it is told is for how long a child may run. A
child reads its request, gives up everything it does not need, decodes, answers, and ends.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

if __name__ == "__main__":
    # Started by its path in Python's isolated mode, which adds no folder of its own.
    sys.path[:0] = [str(Path(__file__).resolve().parents[3])]
    sys.path += [folder for folder in json.loads(sys.argv[2]) if folder not in sys.path]

from dashboard.media.decoding.frames import (
    MESSAGE,
    FrameError,
    TaskError,
    pack_header,
    read_frame,
    write_frame,
)
from dashboard.media.decoding.seccomp import SystemCallFilter
from dashboard.media.decoding.tasks import TASKS, load, preload


@dataclass(slots=True)
class _Child:
    job: socket.socket
    deadline: float
    late: bool = False


class Server:
    """Starts children, ends those that are late, and reports how they ended. One thread."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: dict[int, _Child] = {}
        self._filter = SystemCallFilter()
        self._woken, wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def run(self) -> None:
        """Serve until the other end of the control socket is closed."""
        self._control.sendall(json.dumps({"ready": True}).ljust(MESSAGE).encode())
        while True:
            now = time.monotonic()
            wait = min((each.deadline - now for each in self._children.values()), default=None)
            sources = [self._control.fileno(), self._woken]
            ready = select.select(sources, [], [], wait if wait is None else max(0, wait))[0]
            if self._woken in ready:
                os.read(self._woken, 4096)
            self._reap()
            self._end_late_ones()
            if self._control.fileno() in ready and not self._accept():
                break
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)

    def _accept(self) -> bool:
        message, descriptors, _, _ = socket.recv_fds(self._control, MESSAGE, 1)
        if len(message) < MESSAGE or not descriptors:
            return False
        order = json.loads(message)
        job = socket.socket(fileno=descriptors[0])
        load(order["task"])
        server, pid = os.getpid(), os.fork()
        if pid == 0:
            self._become_child(job, server)
        self._children[pid] = _Child(job, time.monotonic() + order["seconds"])
        return True

    def _become_child(self, job: socket.socket, server: int) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._filter.end_with_parent()
            if os.getppid() != server:
                os._exit(1)  # it has ended already, before the kernel knew
            descriptor = job.detach()
            os.dup2(descriptor, 3)
            os.closerange(4, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
            serve_one(3, self._filter.apply)
        finally:
            os._exit(1)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            child = self._children.pop(pid)
            # Whoever asked is still reading, or has gone: it is never waited for.
            child.job.setblocking(False)
            with suppress(OSError):
                ended = {"ended": os.waitstatus_to_exitcode(status), "late": child.late}
                child.job.send(pack_header(ended, []))
            child.job.close()

    def _end_late_ones(self) -> None:
        now = time.monotonic()
        for pid, child in self._children.items():
            if child.deadline <= now:
                child.late, child.deadline = True, now + 3600
                os.kill(pid, signal.SIGKILL)


def serve_one(descriptor: int, apply_filter: Callable[[], bool]) -> NoReturn:
    """Read a request, lock the process up, answer, and end it."""
    try:
        request, parts, extra = _read_request(descriptor)
        _limit(request["bytes"], request["seconds"])
        filtered = apply_filter()
        try:
            values, results = TASKS[request["task"]](request["arguments"], parts, extra)
            answer: dict[str, Any] = {"values": values, "filtered": filtered}
        except TaskError as error:
            answer, results = {"error": error.kind, "details": error.details, "filtered": filtered}, []
        except ImportError:
            # Not the file's fault: a module that should have been loaded before.
            answer, results = {"error": "import", "filtered": filtered}, []
        except MemoryError:
            answer, results = {"error": "out_of_memory", "filtered": filtered}, []
        except Exception as error:  # noqa: BLE001  # the boundary of a job: a decoder may raise anything
            broken = {"error": "broken", "details": {"type": type(error).__name__}, "filtered": filtered}
            answer, results = broken, []
        write_frame(descriptor, answer, results)
        os._exit(0)
    except (OSError, FrameError, MemoryError, KeyError):
        os._exit(1)


def _read_request(descriptor: int) -> tuple[dict[str, Any], list[bytearray], int | None]:
    """The request, its byte strings, and the open file that came with the first byte, if any."""
    connection = socket.socket(fileno=descriptor)
    extra: list[int] = []

    def receive(size: int) -> bytes:
        if extra:
            return connection.recv(size)
        data, descriptors, _, _ = socket.recv_fds(connection, size, 1)
        extra.extend(descriptors or [-1])
        return data

    request, parts = read_frame(receive, limit=sys.maxsize)
    connection.detach()
    return request, parts, extra[0] if extra[0] >= 0 else None


def _limit(memory: int, seconds: int) -> None:
    """``memory``: bytes beyond what the process has now. ``seconds``: of CPU time."""
    limits = {
        resource.RLIMIT_NOFILE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    with suppress(OSError):
        # Only Linux says how much it is; elsewhere the limit of the address space does not work either.
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limits[resource.RLIMIT_AS] = pages * resource.getpagesize() + memory
    for name, value in limits.items():
        resource.setrlimit(name, (value, value))
    # The first limit ends it with SIGXCPU; SIGKILL comes from a kernel short of memory.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))


def main() -> None:
    """Serve on the inherited control socket."""
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Nobody reads them, and showing one for the first time imports modules.
    warnings.simplefilter("ignore")
    preload()
    Server(control).run()


if __name__ == "__main__":
    main()
