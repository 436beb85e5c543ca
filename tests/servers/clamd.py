"""ClamAV's daemon with one signature, that of the EICAR test file; and a scripted one that answers anything.

``make test`` unpacks the daemon where Debian's packages can be had (see ``.ci/install-clamd``).
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dashboard.media.scan import EICAR, ClamdScanner
from tests.servers.processes import ServerProcess, wait_until

UNPACKED = Path(sys.prefix) / "clamd" / "root"


@contextmanager
def clamd_server(
    folder: Path, *, signature: str = f"Eicar-Test:0:0:{EICAR.hex()}", ending: str = ".ndb", **settings: str
) -> Iterator[str]:
    """The path of its socket. Skips where there is no clamd to start. ``settings``: as in clamd.conf."""
    program = UNPACKED / "usr" / "sbin" / "clamd"
    libraries = [str(path) for path in UNPACKED.glob("usr/lib/*") if path.is_dir()]
    command = ["env", f"LD_LIBRARY_PATH={':'.join(libraries)}", str(program)]
    if not program.exists():
        installed = shutil.which("clamd")
        if installed is None:
            pytest.skip("no clamd here; `make test` unpacks one where apt-get can download it")
        command = [installed]
    (folder / "signatures").mkdir()
    (folder / "signatures" / f"eicar{ending}").write_text(signature + "\n")
    path = folder / "clamd.socket"
    lines = {
        "LocalSocket": str(path),
        "DatabaseDirectory": str(folder / "signatures"),
        "TemporaryDirectory": str(folder),
        "Foreground": "yes",
        "User": "root" if os.getuid() == 0 else os.environ.get("USER", "nobody"),
        **settings,
    }
    configuration = folder / "clamd.conf"
    configuration.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
    server = ServerProcess([*command, "-c", str(configuration)], cwd=folder, log=folder / "clamd.log")
    try:

        def ready() -> bool:
            server.check()
            return path.exists() and ClamdScanner(str(path)).check() == ""

        wait_until(ready, seconds=60, what="clamd")
        yield str(path)
    finally:
        server.stop()


@contextmanager
def scripted_clamd(behave: Callable[[socket.socket], None]) -> Iterator[str]:
    """The address of a server that does ``behave`` with every connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    try:
                        behave(connection)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def scan_stream(connection: socket.socket) -> None:
    """``behave`` of a scanner that knows the EICAR test file and nothing else."""
    with connection.makefile("rb") as sent:
        if sent.read(10) != b"zINSTREAM\0":
            return
        content = b""
        while length := int.from_bytes(sent.read(4), "big"):
            content += sent.read(length)
    found = b"Eicar-Test FOUND" if EICAR in content else b"OK"
    connection.sendall(b"stream: " + found + b"\0")
