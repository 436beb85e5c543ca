"""A real PostgreSQL server: the machine's own programs, in a temporary folder, on a port of its own."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.servers.processes import ServerProcess, free_ports, wait_until

USER = "stowage"
PASSWORD = "postgresql-password/not for use"
WHERE_DEBIAN_HAS_THEM = "/usr/lib/postgresql/*/bin"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "300",
    # Its data is thrown away.
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "autovacuum": "off",
    "max_wal_size": "256MB",
}


class PostgreSQL:
    """A server that runs until ``stop``; ``start`` again is a restart on the same port with the same data."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._data = folder / "data"
        self._folder = folder
        self._process: ServerProcess | None = None
        [self.port] = free_ports(1)

    def initialize(self) -> None:
        """Make its data folder."""
        password = self._folder / "password"
        password.write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (self._folder, password):
                os.chown(path, *_server_user())
        command = [self._programs / "initdb", "-D", self._data, "-U", USER, "-A", "scram-sha-256"]
        command += ["--pwfile", password, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        run = subprocess.run(self._as_user(command), cwd=self._folder, capture_output=True, text=True)
        if run.returncode:
            raise RuntimeError(f"initdb failed:\n{run.stdout}{run.stderr}")

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [self._programs / "postgres", "-D", self._data, "-p", str(self.port), "-k", self._folder]
        for name, value in SETTINGS.items():
            command += ["-c", f"{name}={value}"]
        log = self._folder / "postgresql.log"
        self._process = ServerProcess(self._as_user(command), cwd=self._folder, log=log)
        wait_until(self._answers, seconds=60, what="PostgreSQL")

    def stop(self) -> None:
        """End it at once, as when the machine loses its power."""
        if self._process is None:
            return
        # Killed, it would leave a piece of shared memory behind.
        os.kill(self._process.pid, signal.SIGQUIT)
        self._process.wait()
        self._process.stop()
        self._process = None

    def url(self, database: str, *, password: str = PASSWORD) -> str:
        """The address of a database, with the password."""
        quoted = password.replace("/", "%2F").replace(" ", "%20")
        return f"postgresql://{USER}:{quoted}@127.0.0.1:{self.port}/{database}"

    def create(self, template: str | None = None) -> str:
        """Make a database and return its name."""
        name = f"t{secrets.token_hex(6)}"
        like = sql.SQL(" TEMPLATE {}").format(sql.Identifier(template)) if template else sql.SQL("")
        self.administer(sql.SQL("CREATE DATABASE {}{}").format(sql.Identifier(name), like))
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whoever uses it."""
        self.administer(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def administer(self, statement: sql.Composable) -> None:
        """Run a statement outside of any transaction."""
        with self.connect("postgres", autocommit=True) as connection:
            connection.execute(statement)

    def connect(self, database: str, *, autocommit: bool = False) -> psycopg.Connection:
        """A bare connection."""
        return psycopg.connect(self.url(database), autocommit=autocommit)

    def _answers(self) -> bool:
        assert self._process is not None
        self._process.check()
        try:
            self.connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def _as_user(self, command: list[str | Path]) -> list[str]:
        words = [str(word) for word in command]
        if os.geteuid() != 0:
            return words
        # It refuses to run as root.
        user, group = _server_user()
        return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", *words]


@contextmanager
def postgresql_server() -> Iterator[PostgreSQL]:
    """A server with nothing in it. Skips where there is none to start."""
    programs = _programs()
    if programs is None or (os.geteuid() == 0 and not shutil.which("setpriv")):
        pytest.skip("no PostgreSQL server on this machine: databases on one are not tried")
    folder = Path(tempfile.mkdtemp(prefix="stowage-postgresql-"))
    server = PostgreSQL(programs, folder)
    try:
        server.initialize()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path | None:
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/").glob(WHERE_DEBIAN_HAS_THEM[1:]))
    return next((each for each in reversed(folders) if (each / "postgres").is_file()), None)


def _server_user() -> tuple[int, int]:
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    return 65534, 65534
