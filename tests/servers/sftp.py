"""An SFTP server (asyncssh) in a thread of its own, with users who may do different things and with
faults that a test switches on."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import asyncssh

from dashboard.storage.drivers.sftp.options import fingerprint

T = TypeVar("T")

USER = "keeper"
READER = "reader"
PASSWORD = "pässword-secret-not-for-use"


@dataclass
class SftpFaults:
    """Faults for all users, counted in bytes written or read since they were set."""

    full_after: int | None = None
    drop_after: int | None = None
    stall: bool = False
    bytes: int = 0
    locked: bytes = b""
    """The name of a folder that no user may read."""
    released: asyncio.Event = field(default_factory=asyncio.Event)


class _Files(asyncssh.SFTPServer):
    """One session; the root is the folder of the server."""

    def __init__(self, chan: Any, server: SftpServer) -> None:
        super().__init__(chan, chroot=os.fsencode(server.root))
        self._server = server
        self._reader = chan.get_extra_info("username") == READER
        server.sessions += 1

    def _may_write(self) -> None:
        if self._reader:
            raise asyncssh.SFTPPermissionDenied("Permission denied")

    def open(self, path: bytes, pflags: int, attrs: Any) -> Any:
        if pflags & ~asyncssh.FXF_READ:
            self._may_write()
        return super().open(path, pflags, attrs)

    async def scandir(self, path: bytes) -> AsyncIterator[Any]:
        locked = self._server.faults.locked
        if locked and os.path.basename(path) == locked:
            raise asyncssh.SFTPPermissionDenied("Permission denied")
        async for entry in super().scandir(path):
            yield entry

    async def _fault(self, size: int) -> None:
        faults = self._server.faults
        faults.bytes += size
        if faults.stall:
            await faults.released.wait()
        if faults.drop_after is not None and faults.bytes > faults.drop_after:
            self.channel.get_connection().abort()
        if faults.full_after is not None and faults.bytes > faults.full_after:
            raise OSError(errno.ENOSPC, "No space left on device")

    async def write(self, file_obj: Any, offset: int, data: bytes) -> int:
        await self._fault(len(data))
        return super().write(file_obj, offset, data)  # type: ignore[return-value]

    async def read(self, file_obj: Any, offset: int, size: int) -> bytes:
        if self._server.faults.full_after is None:
            await self._fault(size)
        return super().read(file_obj, offset, size)  # type: ignore[return-value]

    def mkdir(self, path: bytes, attrs: Any) -> Any:
        self._may_write()
        return super().mkdir(path, attrs)

    def remove(self, path: bytes) -> Any:
        self._may_write()
        return super().remove(path)


class _AuthServer(asyncssh.SSHServer):
    """Authentication: both users by password, ``USER`` also by key."""

    def __init__(self, server: SftpServer) -> None:
        self._server = server

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._server.connections.append(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        pass

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return self._server.passwords

    def validate_password(self, username: str, password: str) -> bool:
        self._server.passwords_seen.append(password)
        return username in (USER, READER) and password == PASSWORD

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == USER and key.get_fingerprint() in self._server.accepted


class SftpServer:
    """A server of the folder ``root`` on a free port of 127.0.0.1."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.faults = SftpFaults()
        self.passwords = True
        self.passwords_seen: list[str] = []
        self.accepted: set[str] = set()
        self.sessions = 0
        self.connections: list[asyncssh.SSHServerConnection] = []
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sftp-server", daemon=True)
        self._thread.start()
        self._keys = [asyncssh.generate_private_key(kind) for kind in ("ssh-ed25519", "ecdsa-sha2-nistp256")]
        self._listener: asyncssh.SSHAcceptor | None = None
        self.start()

    @property
    def host_keys(self) -> list[str]:
        """The fingerprints of all host keys, the preferred one first."""
        return [fingerprint(key.public_data) for key in self._keys]

    def accept(self, key: asyncssh.SSHKey) -> None:
        """Accept this key of ``USER``."""
        self.accepted.add(key.get_fingerprint())

    def start(self) -> None:
        """Listen, on the same port as before if there was one."""

        async def listen() -> asyncssh.SSHAcceptor:
            return await asyncssh.create_server(
                lambda: _AuthServer(self),
                "127.0.0.1",
                self.port,
                server_host_keys=self._keys,
                sftp_factory=lambda chan: _Files(chan, self),
                reuse_address=True,
                login_timeout=120,
            )

        self._listener = self.do(listen())
        self.port = self._listener.get_port()

    def new_host_keys(self) -> None:
        """Replace the host keys, as a reinstallation or a man in the middle would."""
        self.stop()
        self._keys = [asyncssh.generate_private_key("ssh-ed25519")]
        self.start()

    def drop_connections(self) -> None:
        """Close every connection."""

        async def cut() -> None:
            for connection in self.connections:
                connection.abort()
            self.connections.clear()

        self.do(cut())

    def stop(self) -> None:
        """Stop listening and close every connection."""
        self.drop_connections()
        if self._listener is not None:
            listener, self._listener = self._listener, None

            async def close() -> None:
                listener.close()
                await listener.wait_closed()

            self.do(close())

    def reset(self) -> None:
        """Remove all faults and delays."""
        old, self.faults = self.faults, SftpFaults()
        self._loop.call_soon_threadsafe(old.released.set)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the server's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def close(self) -> None:
        """Stop the server for good."""
        self.reset()
        self.stop()

        async def finish() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.do(finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
