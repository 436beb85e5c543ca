"""Multi-status answers (RFC 4918, section 13), read as they arrive.

Straight on expat: document types are refused as soon as they begin, so no entity is ever declared, let
alone expanded, and nothing is built of a document but the few properties asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import unquote_to_bytes, urlsplit
from xml.parsers import expat

from dashboard.storage.paths import key_text

QUERY = (
    b'<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop><resourcetype/><getcontentlength/>'
    b"<getlastmodified/><getetag/><getcontenttype/></prop></propfind>"
)
"""The body of a PROPFIND."""

_LONGEST_TEXT = 64 * 1024
_FIELDS = frozenset({"DAV: getcontentlength", "DAV: getlastmodified", "DAV: getetag", "DAV: getcontenttype"})


class Unreadable(Exception):
    """The answer is no multi-status document."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One file or folder: the decoded parts of its path, and its properties."""

    path: tuple[str, ...]
    folder: bool
    size: int = 0
    modified: float | None = None
    etag: str = ""
    """As sent: quotes and weakness mark included."""
    content_type: str = ""


def resources(pieces: Iterable[bytes]) -> Iterator[Resource]:
    """Every resource of a multi-status document. Raises ``Unreadable``."""
    reader = _Reader()
    for piece in pieces:
        reader.feed(piece)
        yield from reader.taken()
    reader.end()
    yield from reader.taken()


class _Reader:
    def __init__(self) -> None:
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._finish
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = _refuse
        self._parser.EntityDeclHandler = _refuse
        self._done: list[Resource] = []
        self._text: list[str] = []
        self._length = 0
        self._seen_root = False
        self._href = ""
        self._response: dict[str, str] = {}
        self._properties: dict[str, str] = {}
        self._status = ""

    def feed(self, piece: bytes) -> None:
        self._parse(piece, last=False)

    def end(self) -> None:
        self._parse(b"", last=True)

    def taken(self) -> list[Resource]:
        done, self._done = self._done, []
        return done

    def _parse(self, piece: bytes, *, last: bool) -> None:
        try:
            self._parser.Parse(piece, last)
        except (expat.ExpatError, UnicodeError, ValueError) as error:
            raise Unreadable(str(error)) from error

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._seen_root:
            if name != "DAV: multistatus":
                raise Unreadable(f"the document is a {name}")
            self._seen_root = True
        self._text, self._length = [], 0
        if name == "DAV: response":
            self._href, self._response = "", {}
        elif name == "DAV: propstat":
            self._properties, self._status = {}, ""
        elif name == "DAV: collection":
            self._properties[name] = "yes"

    def _characters(self, text: str) -> None:
        self._length += len(text)
        if self._length > _LONGEST_TEXT:
            raise Unreadable("an endless text")
        self._text.append(text)

    def _finish(self, name: str) -> None:
        text = "".join(self._text).strip()
        self._text, self._length = [], 0
        if name == "DAV: href" and not self._href:
            self._href = text
        elif name == "DAV: status":
            self._status = text
        elif name in _FIELDS:
            self._properties[name] = text
        elif name == "DAV: propstat" and " 200" in self._status:
            self._response.update(self._properties)
        elif name == "DAV: response":
            self._done.append(_resource(self._href, self._response))


def _refuse(*arguments: object) -> None:
    raise Unreadable("a document type")


def _resource(href: str, found: dict[str, str]) -> Resource:
    if not href:
        raise Unreadable("a response without address")
    size = found.get("DAV: getcontentlength", "")
    return Resource(
        path=decoded_path(href),
        folder="DAV: collection" in found,
        size=int(size) if size.isdecimal() else 0,
        modified=http_date(found.get("DAV: getlastmodified", "")),
        etag=found.get("DAV: getetag", ""),
        content_type=found.get("DAV: getcontenttype", ""),
    )


def decoded_path(href: str) -> tuple[str, ...]:
    """The parts of an address' path, decoded; whole addresses and bare paths are both in use."""
    path = href if href.startswith("/") and not href.startswith("//") else urlsplit(href).path
    return tuple(key_text(unquote_to_bytes(part)) for part in path.split("/") if part)


def http_date(text: str) -> float | None:
    """Seconds since the epoch, None for what is no date."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None
