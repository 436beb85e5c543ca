"""The SSH File Transfer Protocol, version 3, over an open channel. Requests may be pipelined.

https://datatracker.ietf.org/doc/html/draft-ietf-secsh-filexfer-02 and, for the extensions,
https://github.com/openssh/openssh-portable/blob/master/PROTOCOL

paramiko's own client is not used because it ignores the replies to pipelined writes, so that a full disk
passes for success, reads ahead without bounds, and aborts a listing at the first name that is not UTF-8.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from dashboard.errors import Kind
from dashboard.storage.errors import StorageError
from dashboard.storage.net.timeouts import LowSpeedLimit, TooSlow

TIMEOUT_SECONDS = 60.0
"""How long the server may take to send the next bytes of a reply."""
_MAX_PACKET_BYTES = 1 << 20
"""A longer packet means that the other side does not speak SFTP."""
_RECEIVE_BYTES = 1 << 18


class RequestType(IntEnum):
    """Types of the packets we send."""

    INIT = 1
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    SETSTAT = 9
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    REALPATH = 16
    RENAME = 18
    EXTENDED = 200


class ReplyType(IntEnum):
    """Types of the packets we receive."""

    VERSION = 2
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 201


_EXPECTED_REPLIES = {
    RequestType.OPEN: {ReplyType.HANDLE},
    RequestType.READ: {ReplyType.DATA},
    RequestType.LSTAT: {ReplyType.ATTRS},
    RequestType.FSTAT: {ReplyType.ATTRS},
    RequestType.OPENDIR: {ReplyType.HANDLE},
    RequestType.READDIR: {ReplyType.NAME},
    RequestType.REALPATH: {ReplyType.NAME},
    RequestType.EXTENDED: {ReplyType.EXTENDED, ReplyType.STATUS},
}
"""The replies to each request, apart from a status that reports an error. Others get a status only."""
_STATUS_ONLY = {ReplyType.STATUS}


class Status(IntEnum):
    """Status codes. Those above 8 are from newer protocol versions."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    NO_CONNECTION = 6
    CONNECTION_LOST = 7
    UNSUPPORTED = 8
    NO_SUCH_PATH = 10
    EXISTS = 11
    READ_ONLY = 12
    NO_SPACE = 14
    QUOTA = 15


class StatusError(Exception):
    """A reply with a status other than OK. Never leaves the driver."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


class Channel(Protocol):
    """The byte stream below. Raises ``OSError``, including ``TimeoutError``."""

    def sendall(self, data: bytes, /) -> None: ...

    def recv(self, nbytes: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Attrs:
    """The attributes of a file; None for those that the server omits."""

    size: int | None
    mode: int | None
    modified: int | None


class FieldReader:
    """Reads the fields of a reply one after the other. Raises ``struct.error`` at its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def more(self) -> bool:
        """Whether fields remain."""
        return self._at < len(self._data)

    def number(self) -> int:
        """Read a 32-bit integer."""
        self._at += 4
        return int(struct.unpack_from(">I", self._data, self._at - 4)[0])

    def large(self) -> int:
        """Read a 64-bit integer."""
        self._at += 8
        return int(struct.unpack_from(">Q", self._data, self._at - 8)[0])

    def string(self) -> bytes:
        """Read a string: its length and its bytes."""
        length = self.number()
        start, self._at = self._at, self._at + length
        if self._at > len(self._data):
            raise struct.error("a string ends after its packet")
        return self._data[start : self._at]

    def attrs(self) -> Attrs:
        """Read file attributes (section 5 of the draft)."""
        flags = self.number()
        size = self.large() if flags & 1 else None
        if flags & 2:
            self.large()
        mode = self.number() if flags & 4 else None
        modified = None
        if flags & 8:
            self.number()
            modified = self.number()
        if flags & 0x80000000:
            for _ in range(2 * self.number()):
                self.string()
        return Attrs(size, mode, modified)


def _clamp_limit(limit: int) -> int:
    """Return the bytes to transfer in one request, from the server's limit (0: no limit)."""
    return max(1024, min(limit or 1 << 18, (1 << 18) - 1024))


def string(data: bytes) -> bytes:
    """Encode bytes as a string field: their length and the bytes."""
    return struct.pack(">I", len(data)) + data


class SftpProtocol:
    """Requests and their replies. Not thread-safe. ``broken`` after any error that leaves the stream in an
    unknown state."""

    def __init__(self, channel: Channel, host: str) -> None:
        self._channel = channel
        self._host = host
        self._buffer = bytearray()
        self._next = 0
        self.low_speed = LowSpeedLimit()
        self._awaited: dict[int, RequestType] = {}
        self._replies: dict[int, tuple[int, FieldReader]] = {}
        self._discarded: set[int] = set()
        self.broken = False
        try:
            self.extensions = self._negotiate()
            self.read_size, self.write_size = self._limits()
        except struct.error as error:
            raise self.protocol_error() from error

    def send(self, what: RequestType, *parts: bytes) -> int:
        """Send a request and return its number, for :meth:`receive` or :meth:`discard`."""
        self._next = (self._next + 1) & 0xFFFFFFFF
        self._send_packet(b"".join([struct.pack(">BI", what, self._next), *parts]))
        self._awaited[self._next] = what
        return self._next

    def receive(self, request: int) -> tuple[int, FieldReader]:
        """Return the type and fields of the reply to a request. Raises ``StatusError`` if it is a status
        other than OK, and ``StorageError`` if it does not fit the request."""
        try:
            while request not in self._replies:
                self._receive_reply()
            kind, body = self._replies.pop(request)
            if kind == ReplyType.STATUS and (code := body.number()) != Status.OK:
                del self._awaited[request]
                raise StatusError(code, body.string().decode("utf-8", "replace") if body.more else "")
        except struct.error as error:
            raise self.protocol_error() from error
        if kind not in _EXPECTED_REPLIES.get(self._awaited.pop(request), _STATUS_ONLY):
            raise self.protocol_error()
        return kind, body

    def _receive_reply(self) -> None:
        kind, body = self._receive_packet()
        number = body.number()
        if number in self._discarded:
            self._discarded.discard(number)
        elif number in self._awaited and number not in self._replies:
            self._replies[number] = (kind, body)
        else:
            raise self.protocol_error()

    def call(self, what: RequestType, *parts: bytes) -> FieldReader:
        """Send a request and return the fields of its reply."""
        self.low_speed.reset()
        return self.receive(self.send(what, *parts))[1]

    def discard(self, request: int) -> None:
        """Ignore the reply to a request when it arrives."""
        if self._replies.pop(request, None) is None:
            self._discarded.add(request)
        self._awaited.pop(request, None)

    def connection_lost(self, error: BaseException | None = None) -> StorageError:
        """Mark the connection as broken and return the error."""
        self.broken = True
        if isinstance(error, TooSlow):
            kind, what = Kind.TIMEOUT, "responded too slowly"
        elif isinstance(error, TimeoutError):
            kind, what = Kind.TIMEOUT, f"did not respond for {TIMEOUT_SECONDS:.0f} seconds"
        else:
            kind, what = Kind.UNREACHABLE, "closed the connection unexpectedly"
        return StorageError(
            kind,
            f"“{self._host}” {what}.",
            operation="connect",
            subject=self._host,
            remedy="Check the server and the network, then try again.",
        )

    def protocol_error(self) -> StorageError:
        """Mark the connection as broken, because a reply does not fit its request, and return the error."""
        self.broken = True
        return StorageError(
            Kind.UNREACHABLE,
            f"“{self._host}” violates the SFTP protocol: a reply does not fit its request.",
            operation="connect",
            subject=self._host,
            remedy="Try again; if it keeps happening, ask the server's administrator.",
        )

    def _negotiate(self) -> dict[bytes, bytes]:
        self._send_packet(struct.pack(">BI", RequestType.INIT, 3))
        kind, body = self._receive_packet()
        if kind != ReplyType.VERSION:
            raise self._not_sftp_error()
        body.number()
        found = {}
        while body.more:
            name = body.string()
            found[name] = body.string()
        return found

    def _limits(self) -> tuple[int, int]:
        """Return the read and write limits of one request: the server's, or what every server accepts."""
        if b"limits@openssh.com" not in self.extensions:
            return 32768, 32768
        try:
            body = self.call(RequestType.EXTENDED, string(b"limits@openssh.com"))
        except StatusError:
            return 32768, 32768
        body.large()
        read, write = body.large(), body.large()
        return _clamp_limit(read), _clamp_limit(write)

    def _send_packet(self, data: bytes) -> None:
        try:
            self._channel.sendall(struct.pack(">I", len(data)) + data)
        except (OSError, EOFError) as error:
            raise self.connection_lost(error) from error

    def _receive_packet(self) -> tuple[int, FieldReader]:
        (length,) = struct.unpack(">I", self._receive_exactly(4))
        if not 1 <= length <= _MAX_PACKET_BYTES:
            raise self._not_sftp_error()
        data = self._receive_exactly(length)
        return data[0], FieldReader(data[1:])

    def _receive_exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            try:
                data = self.low_speed.receive(self._channel.recv, _RECEIVE_BYTES)
            except (OSError, EOFError) as error:
                raise self.connection_lost(error) from error
            if not data:
                raise self.connection_lost()
            self._buffer += data
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _not_sftp_error(self) -> StorageError:
        self.broken = True
        return StorageError(
            Kind.UNREACHABLE,
            f"“{self._host}” sent something that is not SFTP.",
            operation="connect",
            subject=self._host,
            remedy="Check the shell startup files on the server for commands that print text.",
            retryable=False,
        )
