"""``stowage run``: binds the port, and supervises the web server and the runner.

It loads neither the web framework nor the database, so that it starts fast.
"""

from __future__ import annotations

import errno
import json
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from dashboard.children import FAILED, GREETING, READY, command
from dashboard.errors import Kind, StowageError
from dashboard.jobs.child import Supervisor
from dashboard.jobs.stop_signal import StopSignal
from dashboard.services import logs
from dashboard.settings import Settings

PACKAGE = Path(__file__).resolve().parent
MAX_OPEN_FILES = 4096
"""Open files for the web server and the runner, as far as the system allows."""


class _StartReport:
    """What the web server reports about its first start."""

    def __init__(self) -> None:
        self.decided = threading.Event()
        self.greeting: list[str] = []
        self.failure: StowageError | None = None

    def read_line(self, line: str) -> None:
        """Process one line of its output."""
        if line == READY:
            self.decided.set()
        elif line.startswith(GREETING):
            self.greeting.append(line.removeprefix(GREETING))
        elif line.startswith(FAILED):
            fields = json.loads(line.removeprefix(FAILED))
            self.failure = StowageError(Kind(fields.pop("kind")), fields.pop("reason"), **fields)
            self.decided.set()
        else:
            _relay(line)


def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Do everything ``stowage run`` does; return after SIGTERM or SIGINT. Call it on the main thread.

    ``announce`` is called with each line for a person (the address, the setup code). Raises
    ``StowageError``, for example if the port is in use.
    A child that dies is started again. The listening sockets belong to this process, so new connections
    wait meanwhile.
    """
    logs.configure(settings.log_level)
    sockets = _listen(settings)
    _raise_file_limit()
    report = _StartReport()
    numbers = [each.fileno() for each in sockets]
    bound = ("--sockets", ",".join(map(str, numbers)))
    web = Supervisor(
        report.read_line,
        # Greeting creates a new setup code, so only the first start greets.
        command=lambda: command("web", settings, *bound, *(() if report.decided.is_set() else ("--greet",))),
        cwd=PACKAGE.parent,
        name="web server",
        pass_fds=numbers,
    )
    runner = Supervisor(_relay, command=command("runner", settings, "--supervised"), cwd=PACKAGE.parent)
    stop = StopSignal(signal.SIGTERM, signal.SIGINT)
    try:
        web.start()
        if _wait_for_start(web, report, stop):
            runner.start()
            for line in report.greeting:
                announce(line)
            stop.wait()
    finally:
        # Both at once, so that stopping takes as long as the slower one.
        other = threading.Thread(target=runner.stop)
        other.start()
        web.stop()
        other.join()
        for each in sockets:
            each.close()


def _listen(settings: Settings) -> list[socket.socket]:
    """Return sockets that listen on every address of the host's name."""
    port, sockets = settings.port, list[socket.socket]()
    try:
        found = socket.getaddrinfo(settings.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in dict.fromkeys(found):
            try:
                sockets.append(_bind(family, address[0], port))
            except OSError as error:
                # "localhost" may have an IPv6 address on a machine that has no IPv6.
                if not sockets or error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
            port = sockets[0].getsockname()[1]
    except OSError as error:
        for each in sockets:
            each.close()
        raise _listen_error(settings, error) from error
    return sockets


def _bind(family: int, host: str | int, port: int) -> socket.socket:
    return socket.create_server((str(host), port), family=family, backlog=1024)


def _wait_for_start(web: Supervisor, report: _StartReport, stop: StopSignal) -> bool:
    """Return true once the web server is ready, false if the start was interrupted."""
    while not report.decided.is_set():
        if stop.wait(0.05):
            return False
        # A child that was killed is started again; one that gave up would give up again.
        if (web.last_exit or 0) > 0:
            raise StowageError(
                Kind.INTERNAL,
                "The web server did not start.",
                operation="serve",
                remedy="The lines above say why.",
            )
    if report.failure is not None:
        raise report.failure
    return True


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _listen_error(settings: Settings, error: OSError) -> StowageError:
    where = f"{settings.host} port {settings.port}"
    if error.errno == errno.EADDRINUSE:
        reason, remedy = "is in use by another program", "Stop that program, or choose another with --port."
    elif error.errno == errno.EACCES:
        reason, remedy = "may not be used by this user", "Choose a port above 1023 with --port."
    else:
        reason, remedy = "is not an address of this machine", "Try --host 127.0.0.1, or 0.0.0.0 for all."
    return StowageError(Kind.CONFLICT, f"{where} {reason}.", operation="listen", subject=where, remedy=remedy)


def _relay(line: str) -> None:
    # Not through logging: the child's lines have their own times. Panics of native code come raw.
    print(logs.redact(line), file=sys.stderr, flush=True)  # noqa: T201
