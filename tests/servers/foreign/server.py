"""What tests with third-party servers share: a folder, a port, an unprivileged user."""

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
    """A server of the folder ``files``. Each driver works in a folder of its own below it."""

    driver_name: ClassVar[str]
    """The driver that speaks its protocol."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="stowage-interop-"))
        self.files = self.folder / "files"
        (self.port,) = free_ports(1)
        self._process: ServerProcess | None = None

    @classmethod
    def why_not(cls) -> str:
        """Return why it cannot be started on this machine; empty if it can."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        try:
            self.files.mkdir()
            command = self.command()
            if runs_as := self.unprivileged():
                change_owner(self.folder, runs_as)
                command = [*_as(runs_as), *command]
            self._process = ServerProcess(command, cwd=self.folder, log=self.folder / "server.log")
            wait_until(self._listens, seconds=60, what=f"{type(self).__name__} ready")
        except BaseException:
            self.close()
            raise

    def command(self) -> Sequence[str]:
        """Write the configuration and return the command that starts the server in the foreground."""
        raise NotImplementedError

    def unprivileged(self) -> str:
        """Return the user to run as if root starts it; empty for the current user."""
        return ""

    def options(self, folder: str) -> Mapping[str, str]:
        """The driver's options for a folder below ``files``."""
        raise NotImplementedError

    def secrets(self) -> Mapping[str, Secret]:
        """The driver's secrets."""
        return {"password": Secret(PASSWORD)}

    def new_folder(self) -> str:
        """Create an empty folder that the server may write to, and return its name."""
        name = new_name()
        (self.files / name).mkdir()
        if runs_as := self.unprivileged():
            change_owner(self.files / name, runs_as)
        return name

    def driver(self, folder: str | None = None, **more: str) -> Driver:
        """Build a driver for a folder below ``files``, by default a new one."""
        name = self.driver_name
        options = {**self.options(self.new_folder() if folder is None else folder), **more}
        secrets = dict(self.secrets())
        return build(name, check_options(name, options, secrets), secrets)

    def close(self) -> None:
        """Kill the server and delete its folder. Idempotent."""
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
    """Return an unused folder name."""
    return f"place-{next(_numbers)}"


def user_name() -> str:
    """Return the name of the current user."""
    return pwd.getpwuid(os.getuid()).pw_name


UNPRIVILEGED = "daemon"
"""The user for servers started by root. Not ``nobody``, because systemd locks that account."""


def unprivileged_user() -> str:
    """Return the user for servers if the tests run as root; otherwise empty."""
    return UNPRIVILEGED if os.getuid() == 0 else ""


def is_accessible_to_all(path: Path) -> bool:
    """Whether every user can access this path, as ``UNPRIVILEGED`` must."""
    return all(each.stat().st_mode & 0o001 for each in [path, *path.parents])


def change_owner(path: Path, user: str) -> None:
    """Change the owner of a tree."""
    owner = pwd.getpwnam(user)
    for each in [path, *path.rglob("*")]:
        os.chown(each, owner.pw_uid, owner.pw_gid)


def _as(user: str) -> list[str]:
    owner = pwd.getpwnam(user)
    return ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
