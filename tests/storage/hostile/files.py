"""WebDAV, FTP and SFTP as columns of the table of lies, and the lies that only servers of folders tell."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import count, repeat
from typing import TypeVar
from unittest import mock

from dashboard.storage.driver import Driver
from dashboard.storage.drivers.sftp.protocol import ReplyType, RequestType, Status, string
from dashboard.storage.registry import build, check_options
from dashboard.storage.types import Secret
from tests.servers.hostile.dialects import CONTENT, HTTP_DATE, KEY
from tests.servers.hostile.ftp import FOLDER, FtpScript
from tests.servers.hostile.http import (
    WIRE,
    HostileHttpServer,
    HostileServer,
    Request,
    Said,
    ScriptedResponse,
    endless,
)
from tests.servers.hostile.sftp import (
    FOLDER as FOLDER_MODE,
)
from tests.servers.hostile.sftp import (
    ROOT,
    HostileSftpChannel,
    Packets,
    Respond,
    ScriptedSftpDriver,
    attrs,
    names,
    packet,
    status,
)
from tests.storage.hostile.http import BROKEN_OFF, NOT_STORED

FILE_LIES: Sequence[str] = (
    "listing: no word that it is complete",
    "listing: broken off with an error",
    "listing: cut in a name",
    "listing: a name that is a path",
    "listing: a name that comes twice",
    "listing: a file without a size",
    "listing: folders in a circle",
    "listing: names without end",
    "listing: a name without end",
    "sign-in: a greeting without end",
    "look: the answer to another question",
    "reading: more than was announced",
    "reading: less than was announced",
    "reading: no word that it is complete",
    "write: no word that it arrived",
    "write: less is kept than was sent",
)
"""Lies of servers that know folders, beside those that every driver may be told."""

T = TypeVar("T")

HONEST = "nothing but the truth"
"""In place of a lie, to see that it is the lie that makes the difference."""

_LIKE = {BROKEN_OFF: "listing: broken off with an error"}
"""What a whole migration is told, in place of a single call."""
_LONG = "x" * 200
_CIRCLE = "round" * 50


@contextmanager
def _small() -> Iterator[None]:
    """Folders without end end sooner, and silence is not waited for."""
    with ExitStack() as stack:
        for name, value in {
            "common.walking.RUN_LENGTH": 500,
            "common.walking.MAX_RUNS": 4,
            "ftp.connection.TIMEOUT_SECONDS": 0.3,
        }.items():
            stack.enter_context(mock.patch(f"dashboard.storage.drivers.{name}", value))
        stack.enter_context(mock.patch("dashboard.storage.drivers.common.walking.backoff"))
        yield


# WebDAV. https://www.rfc-editor.org/rfc/rfc4918#section-13

_SIZE = str(len(CONTENT))
_XML = {"Content-Type": "application/xml"}


def _resource(href: str, size: str | None = None) -> str:
    """A file, or a folder where it has no size."""
    told = "<d:resourcetype/>" if size is not None else "<d:resourcetype><d:collection/></d:resourcetype>"
    told += f"<d:getcontentlength>{size}</d:getcontentlength>" if size else ""
    return (
        f"<d:response><d:href>{href}</d:href><d:propstat><d:prop>{told}<d:getlastmodified>{HTTP_DATE}"
        f"</d:getlastmodified></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
    )


def _document(*parts: str) -> bytes:
    return f'<?xml version="1.0"?><d:multistatus xmlns:d="DAV:">{"".join(parts)}</d:multistatus>'.encode()


def _folder(*parts: str) -> ScriptedResponse:
    return ScriptedResponse(207, _XML, _document(_resource("/dav/"), *parts))


def _names_without_end() -> Iterator[bytes]:
    yield b"HTTP/1.1 207 Multi-Status\r\n\r\n"
    yield _document(_resource("/dav/")).removesuffix(b"</d:multistatus>")
    for at in count(0, 200):
        yield "".join(_resource(f"/dav/{_LONG}{each}", "1") for each in range(at, at + 200)).encode()


def _name_without_end() -> Iterator[bytes]:
    yield b"HTTP/1.1 207 Multi-Status\r\n\r\n"
    yield _document(_resource("/dav/")).removesuffix(b"</d:multistatus>") + b"<d:response><d:href>/dav/"
    yield from repeat(b"x" * 65536, 3000)


def _structure(pieces: Iterable[bytes]) -> Iterator[bytes]:
    yield b"HTTP/1.1 207 Multi-Status\r\n\r\n"
    yield _document().removesuffix(b"</d:multistatus>")
    yield from pieces
    yield b"</d:multistatus>"


_ONE = _resource("/dav/x", "1")
_WEBDAV: Mapping[str, Callable[[Request], Said]] = {
    "listing: an error with status 200": lambda request: ScriptedResponse(
        200, _XML, b"<d:error xmlns:d='DAV:'/>"
    ),
    "listing: the answer to another question": lambda request: ScriptedResponse(
        207, _XML, _document(_resource("/b/"))
    ),
    "listing: a web page": lambda request: ScriptedResponse(
        207, {"Content-Type": "text/html"}, b"<html></html>"
    ),
    "listing: nothing at all": lambda request: ScriptedResponse(207, _XML, b""),
    "listing: half a page": lambda request: ScriptedResponse(207, _XML, _folder(_ONE).body[:-100]),
    "listing: mostly structure": lambda request: _structure(endless(b"<a/>")),
    "listing: mostly structure, in few bytes": lambda request: _structure([b"<a/>" * 200_000]),
    "listing: a size below zero": lambda request: _folder(_resource("/dav/x", "-1")),
    "listing: a size beyond all disks": lambda request: _folder(_resource("/dav/x", str(2**63))),
    "listing: no word that it is complete": lambda request: ScriptedResponse(
        207, _XML, _folder(_ONE).body[:-16]
    ),
    "listing: broken off with an error": lambda request: _folder(
        _ONE, "<d:response><d:href>/dav/y</d:href><d:status>HTTP/1.1 500 No</d:status></d:response>"
    ),
    "listing: cut in a name": lambda request: _folder(_ONE, "<d:response><d:href>/dav/nam"),
    "listing: a name that is a path": lambda request: _folder(_resource("/dav/..%2fx", "1")),
    "listing: a name that comes twice": lambda request: _folder(_ONE, _ONE),
    "listing: a file without a size": lambda request: _folder(_resource("/dav/x", "")),
    "listing: folders in a circle": lambda request: ScriptedResponse(
        207, _XML, _document(_resource(request.path), _resource(f"{request.path}{_CIRCLE}/"))
    ),
    "listing: names without end": lambda request: _names_without_end(),
    "listing: a name without end": lambda request: _name_without_end(),
    "look: the answer to another question": lambda request: ScriptedResponse(
        207, _XML, _document(_resource("/dav/other", "1"))
    ),
    "reading: more than was announced": lambda request: ScriptedResponse(body=CONTENT + b"!"),
    "reading: less than was announced": lambda request: ScriptedResponse(body=CONTENT[:-1]),
}
_ABOUT = {
    "sign-in": "listing",
    "listing": "listing",
    "look": "stat",
    "reading": "content",
    "write": "receipt",
}
_EMPTY = ("receipt",)
_NEEDS_BODY = ("no length, and half of it", "half of what was announced")


class WebDAVSubject:
    """See ``Subject``."""

    name = "webdav"

    def telling(self, lie: str) -> AbstractContextManager[Driver] | None:
        """See ``Subject``."""
        asked, _, name = lie.partition(": ")
        about = _ABOUT.get(asked, "listing")
        if lie == NOT_STORED:
            return self._serving("listing", lambda request: _folder())
        said = self._honest if name == HONEST else _WEBDAV.get(_LIKE.get(lie, lie))
        if said is None and name in WIRE and not (about in _EMPTY and name in _NEEDS_BODY):
            said = lambda request: WIRE[name](self._honest(request))  # noqa: E731
        return self._serving(about, said) if said is not None else None

    @contextmanager
    def _serving(self, about: str, said: Callable[[Request], Said]) -> Iterator[Driver]:
        def respond(request: Request) -> Said:
            return said(request) if self._about(request) == about else self._honest(request)

        with _small(), HostileHttpServer(respond) as liar:
            options = {"endpoint": f"{liar.endpoint}/dav", "username": "u"}
            secrets = {"password": Secret("p")}
            yield build("webdav", check_options("webdav", options, secrets), secrets)

    def _about(self, request: Request) -> str:
        if request.method == "PROPFIND":
            return "listing" if request.path.endswith("/") else "stat"
        return {"GET": "content", "PUT": "receipt"}.get(request.method, "")

    def _honest(self, request: Request) -> ScriptedResponse:
        match self._about(request):
            case "listing":
                inside = (
                    [_resource(f"/dav/{KEY}", str(len(CONTENT)))] if request.headers["depth"] == "1" else []
                )
                return ScriptedResponse(207, _XML, _document(_resource("/dav/"), *inside))
            case "stat":
                return ScriptedResponse(207, _XML, _document(_resource(request.path, _SIZE)))
            case "content":
                return ScriptedResponse(headers={"Last-Modified": HTTP_DATE}, body=CONTENT)
        return ScriptedResponse(201)


# FTP. https://www.rfc-editor.org/rfc/rfc3659

_LINE = "type=file;size={};modify=20261121093005; {}\r\n"


def _line(name: str, size: object = 1) -> bytes:
    return _LINE.format(size, name).encode()


def _ftp_names() -> Iterator[bytes]:
    for at in count(0, 200):
        yield b"".join(_line(f"{_LONG}{each}") for each in range(at, at + 200))


def _looked(path: str) -> str:
    told = f"type=file;size={len(CONTENT)};modify=20261121093005;"
    return FOLDER if path == "/" else f"250-Here\r\n {told} {path}\r\n250 End"


def _ftp(data: bytes | Callable[[], Iterator[bytes]] = b"", **more: str) -> Callable[[], FtpScript]:
    return lambda: FtpScript(data=data, **{"MLST": _looked, "RNFR": "350 And to?", **more})


def _slowly(pieces: Iterable[T]) -> Iterator[T]:
    for piece in pieces:
        time.sleep(0.01)
        yield piece


_FTP: Mapping[str, Callable[[], FtpScript]] = {
    "listing: an error with status 200": _ftp(_line("x"), after="200 Fine"),
    "listing: a web page": _ftp(b"<html>\r\n<body>\r\n"),
    "listing: a size below zero": _ftp(_line("x", -1)),
    "listing: a size beyond all disks": _ftp(_line("x", 2**63)),
    "listing: no word that it is complete": _ftp(_line("x"), after=""),
    "listing: broken off with an error": _ftp(_line("x"), after="426 Connection closed"),
    "listing: cut in a name": _ftp(_line("name")[:-4]),
    "listing: a name that is a path": _ftp(_line("../x")),
    "listing: a name that comes twice": _ftp(_line("x") * 2),
    "listing: a file without a size": _ftp(b"type=file; x\r\n"),
    "listing: folders in a circle": _ftp(f"type=dir; {_CIRCLE}\r\n".encode()),
    "listing: names without end": _ftp(_ftp_names),
    "listing: a name without end": _ftp(lambda: repeat(b"type=file;size=1; " + b"x" * 65536, 3000)),
    "sign-in: a greeting without end": lambda: FtpScript(greeting=repeat("220-Welcome" * 100, 100_000)),
    "sign-in: a byte now and then": lambda: FtpScript(greeting=lambda nothing: _slowly(repeat("220-", 2000))),
    "listing: a byte now and then": _ftp(lambda: _slowly(repeat(b"t", 2000))),
    "reading: a byte now and then": _ftp(lambda: _slowly(repeat(b"x", 2000))),
    "look: the answer to another question": _ftp(MLST="250-Here\r\n250 End"),
    "reading: more than was announced": _ftp(CONTENT + b"!"),
    "reading: less than was announced": _ftp(CONTENT[:-1]),
    "reading: no word that it is complete": _ftp(CONTENT, after=""),
    "write: no word that it arrived": _ftp(after=""),
    "write: less is kept than was sent": _ftp(MLST=_looked("/x").replace(f"={len(CONTENT)};", "=1;")),
}


class FtpSubject:
    """See ``Subject``."""

    name = "ftp"

    def telling(self, lie: str) -> AbstractContextManager[Driver] | None:
        """See ``Subject``."""
        if lie.endswith(HONEST):
            return self._serving(_ftp(CONTENT if lie.startswith("reading") else _line(KEY))())
        if lie == NOT_STORED:
            return self._serving(_ftp()())
        lie = _LIKE.get(lie, lie)
        return self._serving(_FTP[lie]()) if lie in _FTP else None

    @contextmanager
    def _serving(self, script: FtpScript) -> Iterator[Driver]:
        with _small(), HostileServer(script) as liar:
            options = {"host": "127.0.0.1", "port": str(liar.port), "user": "u", "tls": "none"}
            yield build("ftp", check_options("ftp", options), {"password": Secret("p")})


# SFTP, version 3


def _told(number: int, body: bytes) -> bytes:
    there = attrs(FOLDER_MODE) if body == string(ROOT) else attrs(size=len(CONTENT))
    return packet(ReplyType.ATTRS, number, there)


def _then(*parts: Respond) -> Mapping[RequestType, Respond]:
    """One answer after the other to READDIR, and again for the next try."""
    turn = count()

    def opened(number: int, body: bytes) -> bytes:
        nonlocal turn
        turn = count()
        return packet(ReplyType.HANDLE, number, string(b"handle"))

    return {
        RequestType.OPENDIR: opened,
        RequestType.READDIR: lambda number, body: parts[next(turn) % len(parts)](number, body),
    }


def _some(number: int, body: bytes) -> Packets:
    return names(number, (b"x", attrs()))


def _end(number: int, body: bytes) -> Packets:
    return status(number, Status.EOF)


def _one(name: bytes, told: bytes) -> Mapping[RequestType, Respond]:
    return _then(lambda number, body: names(number, (name, told)), _end)


def _bytes(data: bytes) -> Iterator[bytes]:
    return (data[at : at + 1] for at in range(len(data)))


def _many(number: int, body: bytes) -> bytes:
    return names(number, *((b"%d-%d-%s" % (number, each, _LONG.encode()), attrs()) for each in range(200)))


def _data(data: bytes) -> Mapping[RequestType, Respond]:
    return {
        RequestType.READ: lambda number, body: packet(ReplyType.DATA, number, string(data)) if data else b""
    }


_SFTP: Mapping[str, Mapping[RequestType, Respond]] = {
    "listing: the answer to another question": _then(_some, lambda number, body: names(number + 1)),
    "listing: an error with status 200": _then(_some, lambda number, body: status(number, Status.OK)),
    "listing: half a page": _then(lambda number, body: names(number, (b"x", attrs()), count=2)),
    "listing: nothing at all": _then(lambda number, body: names(number)),
    "listing: no word that it is complete": _then(_some, lambda number, body: b""),
    "listing: broken off with an error": _then(_some, lambda number, body: status(number, Status.FAILURE)),
    "listing: cut in a name": _then(lambda number, body: names(number, (b"name", attrs()))[:-30]),
    "listing: a name that is a path": _one(b"../x", attrs()),
    "listing: a name that comes twice": _then(_some, _some, _end),
    "listing: a file without a size": _one(b"x", attrs(size=None)),
    "listing: folders in a circle": _one(_CIRCLE.encode(), attrs(FOLDER_MODE)),
    "listing: names without end": _then(_many),
    "listing: a name without end": _then(
        lambda number, body: packet(ReplyType.NAME, number, struct.pack(">II", 1, 1 << 30))
    ),
    "sign-in: a greeting without end": {},
    "look: the answer to another question": {
        RequestType.LSTAT: lambda number, body: packet(ReplyType.HANDLE, number, string(b"handle"))
    },
    "listing: a byte now and then": _then(lambda number, body: _slowly(_bytes(_many(number, body)))),
    "look: a byte now and then": {
        RequestType.LSTAT: lambda number, body: _slowly(_bytes(struct.pack(">I", 100_000) + bytes(100_000)))
    },
    "reading: more than was announced": _data(CONTENT + b"!"),
    "reading: less than was announced": _data(CONTENT[:-1]),
    "reading: no word that it is complete": _data(b""),
    "write: no word that it arrived": {RequestType.CLOSE: lambda number, body: b""},
    "write: less is kept than was sent": {
        RequestType.FSTAT: lambda number, body: packet(ReplyType.ATTRS, number, attrs())
    },
}


class SftpSubject:
    """See ``Subject``. Its lies are told above SSH."""

    name = "sftp"

    def telling(self, lie: str) -> AbstractContextManager[Driver] | None:
        """See ``Subject``."""
        if lie.endswith(HONEST):
            return self._serving({**_one(KEY.encode(), attrs()), **_data(CONTENT)}, None)
        if lie == NOT_STORED:
            return self._serving({}, None)
        lie = _LIKE.get(lie, lie)
        if lie not in _SFTP:
            return None
        greeting = struct.pack(">IB", 1 << 30, ReplyType.VERSION) if "greeting" in lie else None
        return self._serving(_SFTP[lie], greeting)

    @contextmanager
    def _serving(self, script: Mapping[RequestType, Respond], greeting: bytes | None) -> Iterator[Driver]:
        honest: Mapping[RequestType, Respond] = {RequestType.LSTAT: _told, RequestType.FSTAT: _told}
        with _small():
            yield ScriptedSftpDriver(lambda: HostileSftpChannel({**honest, **script}, greeting=greeting))


FILE_SUBJECTS = (WebDAVSubject(), FtpSubject(), SftpSubject())
