"""Files on a server over SFTP.

Writes are atomic with ``posix-rename@openssh.com``, which OpenSSH and most others support. Without it an
existing object is renamed to a backup first and is missing for a moment. ``create_only`` needs
``hardlink@openssh.com`` and raises ``Unsupported`` without it. Files are synced to the server's disk if it
supports ``fsync@openssh.com``. See ``served/driver.py`` for what a file server cannot store.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from dashboard.storage.drivers.served.driver import ServedDriver
from dashboard.storage.drivers.served.operations import Session
from dashboard.storage.drivers.served.session_pool import SessionPool
from dashboard.storage.drivers.sftp import ssh
from dashboard.storage.drivers.sftp.moving import SftpMovingMixin
from dashboard.storage.drivers.sftp.protocol import SftpProtocol
from dashboard.storage.drivers.sftp.session import SftpSession
from dashboard.storage.types import Secret

_NONE = Secret("")


class SftpDriver(SftpMovingMixin, ServedDriver):
    """Objects as files below one folder of an SFTP server. Thread-safe."""

    name = "sftp"
    create_only_unsupported = (
        "This server cannot create a file without replacing an existing one (no hardlink@openssh.com)."
    )

    def __init__(self, account: ssh.Account, root: str, connections: int) -> None:
        self._account = account
        self._root = root
        pool: SessionPool[Session] = SessionPool(self._connect, connections)
        super().__init__(pool, root or "home folder")

    @classmethod
    def from_options(cls, options: Mapping[str, str], secrets: Mapping[str, Secret]) -> Self:
        """Build from checked options. No network call."""
        account = ssh.Account(
            host=options["host"],
            port=int(options["port"]),
            user=options["user"],
            password=secrets.get("password", _NONE),
            private_key=ssh.PrivateKey(secrets.get("private_key", _NONE), secrets.get("passphrase", _NONE)),
            host_keys=tuple(options["host_key"].split()),
        )
        return cls(account, options["root"], int(options["connections"]))

    def _connect(self) -> SftpSession:
        connection = ssh.open_connection(self._account)
        try:
            protocol = SftpProtocol(connection.channel, self._account.host)
            return SftpSession(
                protocol, self._root, is_active=connection.is_active, disconnect=connection.disconnect
            )
        except BaseException:
            connection.disconnect()
            raise

    def address(self) -> tuple[str, int, bool]:
        """Host and port. SSH encrypts the connection itself."""
        return self._account.host, self._account.port, False

    def encryption(self) -> str:
        """Always ``SSH``."""
        return "SSH"
