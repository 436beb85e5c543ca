"""Scanning for viruses by ClamAV's daemon: its INSTREAM command, over a Unix socket or TCP.

clamd says “OK” of what it did not look at: of files above its ``MaxFileSize``, and of everything while it has
no signatures. So a file counts as clean only if clamd has lately found the EICAR test file in as many bytes.
"""

from __future__ import annotations

import re
import select
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock
from typing import BinaryIO, Protocol

from dashboard.errors import InvalidInput
from dashboard.media.sizes import format_size

_CHUNK = 256 * 1024
_MAX_ANSWER = 4096
_PROBE_AGAIN_SECONDS = 600
_MAX_SCANNED = 2 * 1024**3
"""From this size on no clamd looks at a file, whatever its settings."""
_TOO_LARGE = "The file is larger than the virus scanner accepts."
_FOUND = re.compile(r"stream: (.{1,200}) FOUND\Z")
# The harmless file that every scanner is expected to find; spelt in pieces, or it would be found here.
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE" + b"!$H+H*"


class ScanState(StrEnum):
    """What is known after a scan."""

    CLEAN = "clean"
    INFECTED = "infected"
    NOT_SCANNED = "not_scanned"


@dataclass(frozen=True, slots=True)
class ScanResult:
    """``detail``: the signature that was found, or one sentence why the file was not scanned. ``retryable``:
    whether a scan may succeed later, because the scanner was not there or failed."""

    state: ScanState
    detail: str = ""
    retryable: bool = False


class Scanner(Protocol):
    """Something that scans files. Thread-safe."""

    def scan(self, content: BinaryIO, size: int, *, unpacked: int = 0) -> ScanResult:
        """Scan ``size`` bytes from the beginning of ``content``; moves its position. ``unpacked``: how many
        bytes are packed in it, if it is an archive that says so. Never raises because of the scanner or the
        content."""
        ...


def _parse_address(address: str) -> tuple[str, int] | str:
    """Host and port, or the path of a socket."""
    text = address.strip()
    if text.startswith("unix:"):
        text = text.removeprefix("unix:").removeprefix("//")
    if text.startswith("/"):
        return text
    host, colon, port = text.removeprefix("tcp://").rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536 or not host:
        raise InvalidInput(
            "clamd",
            f"“{address}” is not an address of clamd.",
            remedy="Write the path of its socket, or host:port.",
        )
    return host.strip("[]"), int(port)


class ClamdScanner:
    """clamd at an address: ``/run/clamav/clamd.ctl`` or ``host:3310``. Thread-safe; every scan is a
    connection of its own.

    ``connect_seconds``: to connect. ``idle_seconds``: without progress while sending. ``answer_seconds``:
    from the last byte to the answer. Raises ``InvalidInput`` for an address that is none.
    """

    def __init__(
        self,
        address: str,
        *,
        connect_seconds: float = 5.0,
        idle_seconds: float = 30.0,
        answer_seconds: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = _parse_address(address)
        self._connect_seconds = connect_seconds
        self._idle_seconds = idle_seconds
        self._answer_seconds = answer_seconds
        self._clock = clock
        self._lock = Lock()
        self._found_in, self._missed_in = 0, _MAX_SCANNED
        """The most bytes in which it has found the test file, and the fewest in which it has not."""
        self._probed_until = 0.0

    def scan(self, content: BinaryIO, size: int, *, unpacked: int = 0) -> ScanResult:
        """See ``Scanner``. Also not scanned: a file in whose size, packed or unpacked, clamd misses EICAR."""
        needed = max(size, unpacked)
        if (blind := self._blind_to(needed)) is not None:
            return blind
        content.seek(0)
        return self._stream(_chunks(content, size))

    def check(self) -> str:
        """Return an empty text if the scanner works, or one sentence why it does not."""
        result = self._stream([EICAR])
        if result.state is ScanState.INFECTED:
            return ""
        if result.state is ScanState.CLEAN:
            return "The virus scanner does not find the EICAR test file: it has no signatures."
        return result.detail

    def _blind_to(self, size: int) -> ScanResult | None:
        """Why files of ``size`` bytes are not scanned, from whether it finds EICAR in as many; None if they
        are. Asked again after a while."""
        reason = f"The virus scanner does not look at files of {format_size(size)}."
        too_large = ScanResult(ScanState.NOT_SCANNED, reason)
        with self._lock:
            if self._clock() >= self._probed_until:
                self._found_in, self._missed_in = 0, _MAX_SCANNED
                self._probed_until = self._clock() + _PROBE_AGAIN_SECONDS
            # Twice as many bytes first, so that growing files do not cause a probe each.
            for probe in (1 << max(size, 64 * 1024).bit_length(), size):
                if size <= self._found_in:
                    return None
                if size >= self._missed_in:
                    return too_large
                result = self._stream(_zipped_eicar(probe))
                if result.state is ScanState.CLEAN:
                    result = self._stream(_padded_eicar(probe))
                if result.state is ScanState.INFECTED:
                    self._found_in = probe
                elif result.state is ScanState.CLEAN or result.detail == _TOO_LARGE:
                    self._missed_in = min(self._missed_in, probe)
                else:
                    return result
            return None if size <= self._found_in else too_large

    def _stream(self, chunks: Iterable[bytes]) -> ScanResult:
        try:
            with self._connect() as connection:
                complete = self._send(connection, chunks)
                connection.settimeout(self._answer_seconds if complete else self._idle_seconds)
                return _read_answer(connection, complete=complete)
        except OSError as error:
            what = "does not answer in time" if isinstance(error, TimeoutError) else "cannot be reached"
            return ScanResult(ScanState.NOT_SCANNED, f"The virus scanner {what}.", retryable=True)

    def _connect(self) -> socket.socket:
        if isinstance(self._address, tuple):
            return socket.create_connection(self._address, self._connect_seconds)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(self._connect_seconds)
            connection.connect(self._address)
        except OSError:
            connection.close()
            raise
        return connection

    def _send(self, connection: socket.socket, chunks: Iterable[bytes]) -> bool:
        """Whether everything was sent before clamd answered. It stops reading when a limit is exceeded, and
        says so before the connection breaks."""
        connection.settimeout(self._idle_seconds)
        try:
            connection.sendall(b"zINSTREAM\0")
            for chunk in chunks:
                connection.sendall(struct.pack(">I", len(chunk)) + chunk)
            if select.select([connection], [], [], 0)[0]:
                return False
            connection.sendall(b"\0\0\0\0")
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True


def _chunks(content: BinaryIO, size: int) -> Iterator[bytes]:
    left = size
    while left:
        chunk = content.read(min(left, _CHUNK))
        if not chunk:
            # Shorter than it was: what was promised to be scanned is not there.
            raise ConnectionError("the file ended early")
        left -= len(chunk)
        yield chunk


def _padded_eicar(size: int) -> Iterator[bytes]:
    """The test file, and zeros up to ``size`` bytes."""
    yield EICAR
    yield from _zeros(size - len(EICAR))


def _zipped_eicar(size: int) -> Iterator[bytes]:
    """An archive of about ``size`` bytes that holds the test file, stored, and then zeros: found also by
    those whose signatures are checksums of whole files."""
    rest = max(0, size - 300)
    directory, at = b"", 0
    for name, length, crc in ((b"eicar.com", len(EICAR), zlib.crc32(EICAR)), (b"zeros.bin", rest, 0)):
        fields = (20, 0, 0, 0, 0x21, crc, length, length, len(name), 0)
        header = b"PK\3\4" + struct.pack("<5H3L2H", *fields) + name
        directory += b"PK\1\2" + struct.pack("<6H3L5H2L", 20, *fields, 0, 0, 0, 0, at) + name
        yield header
        yield from _zeros(length) if at else (EICAR,)
        at += len(header) + length
    yield directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 2, 2, len(directory), at, 0)


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield bytes(min(count, _CHUNK))
        count -= _CHUNK


def _read_answer(connection: socket.socket, *, complete: bool) -> ScanResult:
    """One line, ended by a zero byte. Only a complete answer to a complete file counts as clean."""
    answer = b""
    ended = False
    with suppress(ConnectionResetError):
        while len(answer) < _MAX_ANSWER and not ended:
            chunk = connection.recv(_MAX_ANSWER)
            answer += chunk
            ended = not chunk or b"\0" in chunk or b"\n" in chunk
    text = re.split(rb"[\0\n]", answer, maxsplit=1)[0].decode("utf-8", "replace")
    if found := _FOUND.match(text):
        signature = "".join(each for each in found[1] if each.isprintable())[:100]
        return ScanResult(ScanState.INFECTED, signature)
    if complete and text == "stream: OK" and answer != b"stream: OK":
        return ScanResult(ScanState.CLEAN)
    if "size limit exceeded" in text:
        return ScanResult(ScanState.NOT_SCANNED, _TOO_LARGE)
    return ScanResult(ScanState.NOT_SCANNED, "The virus scanner did not finish.", retryable=True)
