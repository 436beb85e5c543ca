"""Files on a server over FTP, with TLS or without. https://www.rfc-editor.org/rfc/rfc959

A write goes to a temporary name and is then renamed. If the server's rename does not replace files, the old
file is renamed to a backup first and is missing for a moment. FTP cannot create a file without replacing one,
so ``create_only`` raises ``Unsupported``. The server's reply is the only evidence of durability. Links that
the server lists as links are not objects. See ``served/driver.py`` for what a file server cannot store.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from dashboard.storage.drivers.ftp.connection import Account, open_connection
from dashboard.storage.drivers.ftp.session import FtpSession
from dashboard.storage.drivers.served.driver import ServedDriver
from dashboard.storage.drivers.served.operations import Session
from dashboard.storage.drivers.served.session_pool import SessionPool
from dashboard.storage.errors import InvalidKey
from dashboard.storage.types import Secret


class FtpDriver(ServedDriver):
    """Objects as files below one folder of an FTP server. Thread-safe."""

    name = "ftp"
    create_only_unsupported = "FTP cannot create a file without replacing an existing one."

    def __init__(self, account: Account, root: str, connections: int) -> None:
        self._account = account
        self._root = root
        pool: SessionPool[Session] = SessionPool(self._connect, connections)
        super().__init__(pool, root or "home folder")

    @classmethod
    def from_options(cls, options: Mapping[str, str], secrets: Mapping[str, Secret]) -> Self:
        """Build from checked options. No network call."""
        account = Account(
            host=options["host"],
            port=int(options["port"]),
            user=options["user"],
            password=secrets.get("password", Secret("")),
            tls=options["tls"],
            tls_verify=options["tls_verify"] == "true",
            ca_certificate=options["ca_certificate"],
            encoding=options["encoding"],
        )
        return cls(account, options["root"], int(options["connections"]))

    def _connect(self) -> FtpSession:
        connection = open_connection(self._account)
        try:
            return FtpSession(connection, self._root)
        except BaseException:
            connection.disconnect()
            raise

    def check_key(self, key: str) -> None:
        """Like every file server, and refuse what would end a command or what servers trim."""
        super().check_key(key)
        if "\r" in key or "\n" in key:
            raise InvalidKey(key, f"FTP cannot transfer “{key}”: the key contains a line break.")
        if key.endswith((" ", "\t")):
            raise InvalidKey(key, f"FTP servers cut off the space at the end of “{key}”.")
        encoding = self._account.encoding
        try:
            raw = key.encode(encoding)
            # Byte 255 starts a Telnet command, and FTP control connections are Telnet.
            exact = raw.decode(encoding) == key and not {0xFF, 0x0A, 0x0D} & set(raw)
        except UnicodeError:
            exact = False
        if not exact:
            raise InvalidKey(key, f"“{key}” cannot be written in the server's encoding, {encoding}.")

    def address(self) -> tuple[str, int, bool]:
        """Host and port. The driver starts TLS itself, explicit or implicit."""
        return self._account.host, self._account.port, False

    def encryption(self) -> str:
        """``TLS``, or an empty string if nothing is encrypted."""
        return "" if self._account.tls == "none" else "TLS"
