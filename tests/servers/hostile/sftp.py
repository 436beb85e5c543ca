"""An SFTP server without SSH, which replies to requests as a script says."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping

from dashboard.storage.drivers.sftp.driver import SftpDriver
from dashboard.storage.drivers.sftp.protocol import ReplyType, RequestType, SftpProtocol, Status, string
from dashboard.storage.drivers.sftp.session import SftpSession
from dashboard.storage.registry import check_options
from dashboard.storage.types import Secret

FILE, FOLDER = 0o100644, 0o040755
ROOT = b"/home"
Packets = bytes | Iterable[bytes]
"""Encoded packets; see ``packet``."""
Respond = Callable[[int, bytes], Packets]
"""A function from the number and body of a request to packets."""


def packet(kind: int, number: int, body: bytes = b"") -> bytes:
    """Encode a packet."""
    return struct.pack(">IBI", len(body) + 5, kind, number) + body


def status(number: int, code: int, text: bytes = b"") -> bytes:
    """Encode a status."""
    return packet(ReplyType.STATUS, number, struct.pack(">I", code) + string(text) + string(b""))


def attrs(mode: int = FILE, size: int | None = 1, modified: int = 1795248900) -> bytes:
    """Encode the attributes of a file; without a size if it is None."""
    if size is None:
        return struct.pack(">IIII", 4 | 8, mode, modified, modified)
    return struct.pack(">IQIII", 1 | 4 | 8, size, mode, modified, modified)


def names(number: int, *found: tuple[bytes, bytes], count: int | None = None) -> bytes:
    """Encode a part of a listing; ``count`` is the announced number of names."""
    body = b"".join(string(name) + string(b"") + encoded for name, encoded in found)
    return packet(ReplyType.NAME, number, struct.pack(">I", len(found) if count is None else count) + body)


class HostileSftpChannel:
    """A :class:`Channel`. Simulates an empty folder and a file of ten bytes, unless the script differs."""

    def __init__(self, script: Mapping[RequestType, Respond], *, greeting: bytes | None = None) -> None:
        self._script = script
        self._received = b""
        self._pending: deque[Iterator[bytes]] = deque()
        self._greeting = greeting
        self.sent = 0
        self.asked: list[int] = []

    def sendall(self, data: bytes, /) -> None:
        """From the client."""
        self._received += data
        while len(self._received) >= 4:
            (length,) = struct.unpack(">I", self._received[:4])
            whole, self._received = self._received[4 : 4 + length], self._received[4 + length :]
            kind, number = struct.unpack(">BI", whole[:5])
            self.asked.append(kind)
            reply = self._respond(kind, number, whole[5:])
            self._pending.append(iter([reply] if isinstance(reply, bytes) else reply))

    def recv(self, nbytes: int, /) -> bytes:
        """To the client. Empty, as if closed, if no reply is pending."""
        while self._pending:
            piece = next(self._pending[0], None)
            if piece is not None:
                self.sent += len(piece)
                return piece
            self._pending.popleft()
        return b""

    def _respond(self, kind: int, number: int, body: bytes) -> Packets:
        if kind == RequestType.INIT:
            return self._greeting or struct.pack(">IBI", 5, ReplyType.VERSION, 3)
        request = RequestType(kind)
        if request in self._script:
            return self._script[request](number, body)
        return self._honest(request, number, body)

    def _honest(self, request: RequestType, number: int, body: bytes) -> bytes:
        match request:
            case RequestType.REALPATH:
                return names(number, (ROOT, attrs(FOLDER)))
            case RequestType.LSTAT | RequestType.FSTAT:
                encoded = attrs(FOLDER) if body == string(ROOT) else attrs(size=10)
                return packet(ReplyType.ATTRS, number, encoded)
            case RequestType.OPEN | RequestType.OPENDIR:
                return packet(ReplyType.HANDLE, number, string(b"handle"))
            case RequestType.READDIR:
                return status(number, Status.EOF)
            case _:
                return status(number, Status.OK)


class ScriptedSftpDriver(SftpDriver):
    """An SFTP driver connected to such a server."""

    def __init__(self, channel: Callable[[], HostileSftpChannel]) -> None:
        self._channel = channel
        options = check_options("sftp", {"host": "liar", "user": "u", "host_key": "SHA256:" + "A" * 43})
        driver = SftpDriver.from_options(options, {"password": Secret("p")})
        super().__init__(driver._account, "", 4)

    def _connect(self) -> SftpSession:
        protocol = SftpProtocol(self._channel(), "liar")
        return SftpSession(protocol, "", is_active=lambda: True, disconnect=lambda: None)
