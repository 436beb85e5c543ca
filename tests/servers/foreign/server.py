"""What servers of other makes share when a test starts them: a folder, a port, an unprivileged user."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import tempfile
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from dashboard.storage.driver import Driver
from dashboard.storage.registry import build, check_options
from dashboard.storage.types import Secret
from tests.servers.processes import ServerProcess, free_ports, wait_until

USER = "ada"
PASSWORD = "secret-not-for-use"

_numbers = count(1)


class ForeignServer:
    """One server. It shows the folder ``files``; each driver works in a folder of its own below that."""

    driver_name: ClassVar[str]
    """The driver that speaks its protocol."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="stowage-interop-"))
        self.files = self.folder / "files"
        (self.port,) = free_ports(1)
        self._process: ServerProcess | None = None

    @classmethod
    def why_not(cls) -> str:
        """Why it cannot be started here; empty when it can."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        try:
            self.files.mkdir()
            command = self.command()
            if runs_as := self.unprivileged():
                give_away(self.folder, runs_as)
                command = [*_as(runs_as), *command]
            self._process = ServerProcess(command, cwd=self.folder, log=self.folder / "server.log")
            wait_until(self._listens, seconds=30, what=f"{type(self).__name__} ready")
        except BaseException:
            self.close()
            raise

    def command(self) -> Sequence[str]:
        """Write the configuration; how the server is started in the foreground."""
        raise NotImplementedError

    def unprivileged(self) -> str:
        """The user it runs as when root starts it; empty for whoever starts it."""
        return ""

    def options(self, folder: str) -> Mapping[str, str]:
        """The driver's options for a folder below ``files``."""
        raise NotImplementedError

    def secrets(self) -> Mapping[str, Secret]:
        """The driver's secrets."""
        return {"password": Secret(PASSWORD)}

    def new_folder(self) -> str:
        """Make an empty folder that the server may write; its name."""
        name = new_name()
        (self.files / name).mkdir()
        if runs_as := self.unprivileged():
            give_away(self.files / name, runs_as)
        return name

    def driver(self, folder: str | None = None, **more: str) -> Driver:
        """A driver for a folder below ``files``; for a new one unless it is given."""
        name = self.driver_name
        options = {**self.options(self.new_folder() if folder is None else folder), **more}
        secrets = dict(self.secrets())
        return build(name, check_options(name, options, secrets), secrets)

    def close(self) -> None:
        """Kill it and throw its folder away. Idempotent."""
        if self._process is not None:
            self._process.stop()
            self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _listens(self) -> bool:
        assert self._process is not None
        self._process.check()
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def new_name() -> str:
    """A name that no other folder has here."""
    return f"place-{next(_numbers)}"


def user_name() -> str:
    """Who started these tests, as the machine calls them."""
    return pwd.getpwuid(os.getuid()).pw_name


UNPRIVILEGED = "daemon"
"""Whom servers run as that root starts. Not ``nobody``: where systemd is asked, that account is locked."""


def stand_in() -> str:
    """The user of servers that root starts; empty when these tests do not run as root."""
    return UNPRIVILEGED if os.getuid() == 0 else ""


def reachable(path: Path) -> bool:
    """Whether everybody can get at this path, as ``UNPRIVILEGED`` has to."""
    return all(each.stat().st_mode & 0o001 for each in [path, *path.parents])


def give_away(path: Path, user: str) -> None:
    """Make a tree another user's."""
    owner = pwd.getpwnam(user)
    for each in [path, *path.rglob("*")]:
        os.chown(each, owner.pw_uid, owner.pw_gid)


def _as(user: str) -> list[str]:
    owner = pwd.getpwnam(user)
    return ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
