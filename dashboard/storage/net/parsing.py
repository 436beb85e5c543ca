"""What servers say of themselves, bounded and checked before it is believed.

A document of a few megabytes can be made to fill gigabytes once it is parsed, a listing can end without an
end, lead in a circle or back. What is looked at here holds for every driver; the words of each protocol are
its driver's business.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

from dashboard.storage.types import Entry

MAX_DOCUMENT_BYTES = 8 * 1024 * 1024
"""Bytes of a document: a page of 1,000 keys of 1,024 bytes, each byte written as three, takes about five."""
_MOST_ELEMENTS = 100_000
_MOST_ATTRIBUTES = 100_000
_MOST_MARKS = 500_000
# Without colons in a prefix no part of a document is looked through twice.
_LONG_NAMESPACE = re.compile(rb"xmlns(:[^\s=:<>\"']*)?\s*=\s*(\"[^\"]{100}|'[^']{100})")
_NAMESPACE = re.compile(rb"\sxmlns=(\"[^\"]*\"|'[^']*')")
_SIZE = re.compile(r"[0-9]{1,19}")
_LARGEST = 2**62
_LONGEST_KEY = 4096
_LONGEST_ETAG = 1024
_MOST_EMPTY = 1000
_MOST_KNOWN = 100_000


class MalformedResponse(ValueError):
    """A document that is none, is another one than was asked for, or is too much of one; ``str()`` says why,
    as the end of a sentence."""


class WrongProtocol(MalformedResponse):
    """Nothing of the protocol at all: a web page, half a document."""


def parse_xml(body: bytes) -> ElementTree.Element:
    """Parse a document and return its root, with its own namespace stripped from every tag.

    Document types are refused, so no entity can be declared, let alone expanded. Raises
    ``MalformedResponse``, also if the tree would take more than about 50 MiB of memory.
    """
    if len(body) > MAX_DOCUMENT_BYTES:
        raise MalformedResponse("the answer is too long")
    check_xml_size(body)
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise MalformedResponse("the answer has a document type")
    parser = ElementTree.XMLParser(encoding="utf-8")  # noqa: S314 - no entities, see above
    try:
        parser.feed(_NAMESPACE.sub(b"", body, count=1))
        return parser.close()
    except (ElementTree.ParseError, ValueError) as error:
        raise WrongProtocol("the answer is not XML") from error


def check_xml_size(body: bytes, most: int | None = None) -> None:
    """Raise ``MalformedResponse`` if XML has more elements than ``most``, or anything else that makes a large
    tree of a short document. For documents that another parser reads."""
    # A closing tag goes with every element that is not empty, and makes none of its own.
    elements = body.count(b"<") - body.count(b"</")
    attributes = body.count(b'="') + body.count(b"='")
    # Every tag is kept with the whole name of its namespace.
    if (
        elements > (most or _MOST_ELEMENTS)
        or attributes > _MOST_ATTRIBUTES
        or _LONG_NAMESPACE.search(body) is not None
    ):
        raise MalformedResponse("the answer is too long")


def parse_json_object(body: bytes) -> dict[str, Any]:
    """The JSON object a document holds. Raises ``MalformedResponse``, also for what would take more than some
    50 MiB of memory."""
    marks = len(body) - len(body.translate(None, b'",[{')) if len(body) <= MAX_DOCUMENT_BYTES else 0
    if len(body) > MAX_DOCUMENT_BYTES or marks > _MOST_MARKS:
        raise MalformedResponse("the answer is too long")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WrongProtocol("the answer is not JSON") from error
    if not isinstance(found, dict):
        raise WrongProtocol("the answer is no JSON object")
    return found


def parse_size(value: object) -> int:
    """A number of bytes as a document tells it, as text or as a number. Raises ``MalformedResponse``."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not _SIZE.fullmatch(text) or int(text) > _LARGEST:
        raise MalformedResponse("a size is no number of bytes")
    return int(text)


def parse_entry(key: object, size: object, modified: float | None, etag: object) -> Entry:
    """Build a row of a listing. Raises ``MalformedResponse`` for an impossible key, size or ETag."""
    if not isinstance(key, str) or not 0 < len(key) <= _LONGEST_KEY:
        raise MalformedResponse("a row has no name, or one without end")
    tag = etag if isinstance(etag, str) else ""
    if len(tag) > _LONGEST_ETAG:
        raise MalformedResponse("an ETag does not end")
    return Entry(key, parse_size(size), modified, tag or None)


class PaginationGuard:
    """What the pages of one listing have said so far, to notice one that leads in a circle, back, or nowhere.

    Holds a few megabytes however long the listing is. Used by one thread. Servers differ in what they call
    order: by the bytes of whole keys, or folder by folder; some promise it and have none. A listing is held
    to the order that it has kept itself so far.
    """

    def __init__(self) -> None:
        self._tokens = _Seen()
        self._firsts = _Seen()
        self._last = ""
        self._in_order = True
        self._empty = 0

    def take(self, keys: Sequence[str], token: str, *, first: str = "") -> None:
        """Check the next page: its keys, and the token of the page after it, empty on the last one. ``first``
        identifies its first row if the key alone does not. Raises ``MalformedResponse``."""
        self._empty = 0 if keys else self._empty + 1
        if self._empty > _MOST_EMPTY:
            raise MalformedResponse("its pages are empty and do not end")
        if keys:
            self._check_order(keys)
            if not self._firsts.add(first or keys[0]):
                raise MalformedResponse("a page came again")
        if token and not self._tokens.add(token):
            raise MalformedResponse("its pages lead in a circle")

    def _check_order(self, keys: Sequence[str]) -> None:
        if self._in_order and self._last and not _follows(self._last, keys[0]):
            raise MalformedResponse("it goes backwards")
        self._in_order = self._in_order and all(_follows(a, b) for a, b in pairwise(keys))
        self._last = keys[-1]


class _Seen:
    """Texts that came before: the first ones all, and of those after them enough to notice a circle."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._more = 0
        self._mark = 0

    def add(self, text: str) -> bool:
        """Whether it is new, as far as is known."""
        found = hash(text)
        if found in self._known or (self._more and found == self._mark):
            return False
        if len(self._known) < _MOST_KNOWN:
            self._known.add(found)
            return True
        # Brent's algorithm: who goes in a circle meets a mark that is set anew after 1, 2, 4, 8... steps.
        self._more += 1
        if self._more.bit_count() == 1:
            self._mark = found
        return True


def _follows(before: str, key: str) -> bool:
    return before <= key or before.split("/") <= key.split("/")


def join_chunks(pieces: Iterable[bytes]) -> bytes:
    """All of them, in memory that does not depend on how small they are."""
    several = iter(pieces)
    first = next(several, b"")
    second = next(several, None)
    if second is None:
        return first
    whole = bytearray(first)
    whole += second
    for piece in several:
        whole += piece
    return bytes(whole)
