"""Incremental parsing of multi-status responses (RFC 4918, section 13).

Uses expat directly: document types are refused as soon as they start, so that no entity is ever declared or
expanded, and only the few requested properties are kept in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import unquote_to_bytes, urlsplit
from xml.parsers import expat

from dashboard.storage.net.parsing import MalformedResponse
from dashboard.storage.paths import key_text

QUERY = (
    b'<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop><resourcetype/><getcontentlength/>'
    b"<getlastmodified/><getetag/><getcontenttype/></prop></propfind>"
)
"""The body of a PROPFIND."""

_MAX_TEXT_BYTES = 64 * 1024
_MAX_RESPONSE_BYTES = 1024 * 1024
"""Bytes of a response within which the next resource must be complete."""
_MAX_DEPTH = 64
_MAX_NAMES = 4096
"""Distinct names of elements, attributes and prefixes in a document, because the parser keeps each."""
_STATUS = re.compile(r"HTTP/[0-9.]{1,3} ([1-5][0-9][0-9])\b")
_SIZE = re.compile(r"[0-9]{1,18}")
_FIELDS = ("DAV: getcontentlength", "DAV: getlastmodified", "DAV: getetag", "DAV: getcontenttype")
_IGNORED = "-"
_ROLES = {
    ("", "DAV: multistatus"): "multistatus",
    ("multistatus", "DAV: response"): "response",
    ("response", "DAV: href"): "href",
    ("response", "DAV: status"): "refusal",
    ("response", "DAV: propstat"): "propstat",
    ("propstat", "DAV: status"): "status",
    ("propstat", "DAV: prop"): "prop",
    ("prop", "DAV: resourcetype"): "type",
    ("type", "DAV: collection"): "collection",
    **{("prop", field): "field" for field in _FIELDS},
}
"""The role of an element, by the role of its parent. All others are ignored."""
_UNKNOWN_SIZE = -1


@dataclass(frozen=True, slots=True)
class Resource:
    """A file or folder: the decoded parts of its path, and its properties."""

    path: tuple[str, ...]
    folder: bool
    size: int = 0
    """Negative if the server omits it."""
    modified: float | None = None
    etag: str = ""
    """As sent, with quotes and the prefix of a weak ETag."""
    content_type: str = ""
    host: str = ""
    """The lowercase host of its address; empty if the address is a path."""
    status: int = 200
    """200, or the error that the server reports in place of the properties."""


def resources(pieces: Iterable[bytes]) -> Iterator[Resource]:
    """Yield every resource of a multi-status document. Raises ``MalformedResponse``."""
    reader = _Reader()
    for piece in pieces:
        reader.feed(piece)
        yield from reader.take_finished()
    reader.end()
    yield from reader.take_finished()


class _Reader:
    """Builds resources from the elements in ``_ROLES`` and ignores all others."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._parser = expat.ParserCreate(namespace_separator=" ", intern=self._names)
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartNamespaceDeclHandler = self._prefix
        self._parser.StartDoctypeDeclHandler = _reject_declaration
        self._parser.EntityDeclHandler = _reject_declaration
        self._prefixes: set[str] = set()
        self._done: list[Resource] = []
        self._unfinished_bytes = 0
        self._text: list[str] = []
        self._length = 0
        self._open = [""]
        self._start_response()
        self._start_propstat()

    def _start_response(self) -> None:
        self._hrefs: list[str] = []
        self._found: dict[str, str] | None = None
        self._refusal = 0

    def _start_propstat(self) -> None:
        self._properties: dict[str, str] = {}
        self._status = 0

    def feed(self, piece: bytes) -> None:
        self._unfinished_bytes += len(piece)
        self._parse(piece, last=False)
        if self._unfinished_bytes > _MAX_RESPONSE_BYTES + len(piece):
            raise MalformedResponse("an endless resource")
        if len(self._names) + len(self._prefixes) > _MAX_NAMES:
            raise MalformedResponse("too many names")

    def end(self) -> None:
        self._parse(b"", last=True)

    def take_finished(self) -> list[Resource]:
        done, self._done = self._done, []
        return done

    def _parse(self, piece: bytes, *, last: bool) -> None:
        try:
            self._parser.Parse(piece, last)
        except (expat.ExpatError, UnicodeError, ValueError) as error:
            raise MalformedResponse(str(error)) from error

    def _prefix(self, prefix: str | None, uri: str) -> None:
        self._prefixes.add(prefix or "")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        role = _ROLES.get((self._open[-1], name), _IGNORED)
        if len(self._open) == 1 and role != "multistatus":
            raise MalformedResponse(f"the document is a {name}")
        self._open.append(role)
        if len(self._open) > _MAX_DEPTH:
            raise MalformedResponse("elements nested too deeply")
        self._text, self._length = [], 0
        if role == "response":
            self._start_response()
        elif role == "propstat":
            self._start_propstat()
        elif role == "collection":
            self._properties[name] = "yes"

    def _characters(self, text: str) -> None:
        self._length += len(text)
        if self._length > _MAX_TEXT_BYTES:
            raise MalformedResponse("an endless text")
        self._text.append(text)

    def _end(self, name: str) -> None:
        role = self._open.pop()
        if role == _IGNORED:
            return
        text = "".join(self._text).strip()
        self._text, self._length = [], 0
        if role == "field":
            self._properties[name] = text
        elif role == "href":
            self._hrefs.append(text)
        elif role == "status":
            self._status = _status(text)
        elif role == "refusal":
            self._refusal = _status(text)
        elif role == "propstat":
            self._end_propstat()
        elif role == "response":
            self._end_response()

    def _end_propstat(self) -> None:
        if self._status == 200:
            self._found = {**(self._found or {}), **self._properties}
        elif self._status != 404:
            # A missing property is normal, but a refused one is an error.
            self._refusal = self._refusal or self._status

    def _end_response(self) -> None:
        self._unfinished_bytes = 0
        if not self._hrefs:
            raise MalformedResponse("a response without address")
        if self._found is not None:
            self._done.append(_resource(self._hrefs[0], self._found))
        elif self._refusal:
            for href in self._hrefs:
                self._done.append(_resource(href, {}, self._refusal))
        else:
            raise MalformedResponse("a response without properties")


def _reject_declaration(*arguments: object) -> None:
    raise MalformedResponse("a document type")


def _status(text: str) -> int:
    found = _STATUS.match(text)
    if found is None:
        raise MalformedResponse("an invalid status")
    return int(found[1])


def _resource(href: str, found: dict[str, str], status: int = 200) -> Resource:
    size = found.get("DAV: getcontentlength", "")
    return Resource(
        path=decoded_path(href),
        folder="DAV: collection" in found,
        size=int(size) if _SIZE.fullmatch(size) else _UNKNOWN_SIZE,
        modified=http_date(found.get("DAV: getlastmodified", "")),
        etag=found.get("DAV: getetag", ""),
        content_type=found.get("DAV: getcontenttype", ""),
        host=_host(href),
        status=status,
    )


def _host(href: str) -> str:
    try:
        return (urlsplit(href).hostname or "") if "//" in href[:9] else ""
    except ValueError as error:
        raise MalformedResponse("an invalid address") from error


def decoded_path(href: str) -> tuple[str, ...]:
    """Return the decoded parts of an address' path. Servers send full URLs or paths."""
    path = href if href.startswith("/") and not href.startswith("//") else urlsplit(href).path
    return tuple(key_text(unquote_to_bytes(part)) for part in path.split("/") if part)


def http_date(text: str) -> float | None:
    """Parse an HTTP date into seconds since the epoch; None if it is not a date."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None
