"""Parsing of what servers send, bounded and checked before it is trusted.

A document of a few megabytes can fill gigabytes once it is parsed; a listing can be endless, loop or go
backwards. The checks here hold for every driver; each driver parses the terms of its protocol.
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
"""Enough for a page of 1,000 keys of 1,024 bytes, percent-encoded: about 5 MiB."""
_MAX_ELEMENTS = 100_000
_MAX_ATTRIBUTES = 100_000
_MAX_JSON_TOKENS = 500_000
# A prefix without colons keeps the search linear.
_LONG_NAMESPACE = re.compile(rb"xmlns(:[^\s=:<>\"']*)?\s*=\s*(\"[^\"]{100}|'[^']{100})")
_NAMESPACE = re.compile(rb"\sxmlns=(\"[^\"]*\"|'[^']*')")
_SIZE = re.compile(r"[0-9]{1,19}")
_MAX_SIZE = 2**62
_MAX_KEY_LENGTH = 4096
_MAX_ETAG_LENGTH = 1024
_MAX_EMPTY_PAGES = 1000
_MAX_TOKENS = 100_000


class MalformedResponse(ValueError):
    """A document that is invalid, not the requested one, or too large; ``str()`` is the reason, as the end of
    a sentence."""


class WrongProtocol(MalformedResponse):
    """A response that is not of the protocol at all, such as a web page or half a document."""


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


def check_xml_size(body: bytes, max_elements: int | None = None) -> None:
    """Raise ``MalformedResponse`` if XML has more elements than ``max_elements``, or anything else that makes
    a large tree of a short document. For documents that another parser reads."""
    # A closing tag belongs to an element that is counted already.
    elements = body.count(b"<") - body.count(b"</")
    attributes = body.count(b'="') + body.count(b"='")
    # The parser stores every tag with the full name of its namespace.
    if (
        elements > (max_elements or _MAX_ELEMENTS)
        or attributes > _MAX_ATTRIBUTES
        or _LONG_NAMESPACE.search(body) is not None
    ):
        raise MalformedResponse("the answer is too long")


def parse_json_object(body: bytes) -> dict[str, Any]:
    """Parse a document that is a JSON object. Raises ``MalformedResponse``, also if it would take more than
    about 50 MiB of memory."""
    tokens = len(body) - len(body.translate(None, b'",[{')) if len(body) <= MAX_DOCUMENT_BYTES else 0
    if len(body) > MAX_DOCUMENT_BYTES or tokens > _MAX_JSON_TOKENS:
        raise MalformedResponse("the answer is too long")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WrongProtocol("the answer is not JSON") from error
    if not isinstance(document, dict):
        raise WrongProtocol("the answer is not a JSON object")
    return document


def parse_size(value: object) -> int:
    """Parse a number of bytes, given as text or as a number. Raises ``MalformedResponse``."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not _SIZE.fullmatch(text) or int(text) > _MAX_SIZE:
        raise MalformedResponse("a size is not a number of bytes")
    return int(text)


def parse_entry(key: object, size: object, modified: float | None, etag: object) -> Entry:
    """Build a row of a listing. Raises ``MalformedResponse`` for an impossible key, size or ETag."""
    if not isinstance(key, str) or not 0 < len(key) <= _MAX_KEY_LENGTH:
        raise MalformedResponse("a row has no name, or one that is too long")
    tag = etag if isinstance(etag, str) else ""
    if len(tag) > _MAX_ETAG_LENGTH:
        raise MalformedResponse("an ETag is too long")
    return Entry(key, parse_size(size), modified, tag or None)


class PaginationGuard:
    """Detects a listing whose pages loop, go backwards, or never end.

    Takes at most a few megabytes however long the listing is. Used by one thread. Servers sort by the bytes
    of complete keys, or folder by folder, or not at all, so a listing must keep the order that it has had so
    far.
    """

    def __init__(self) -> None:
        self._tokens = _LoopDetector()
        self._firsts = _LoopDetector()
        self._last = ""
        self._in_order = True
        self._empty_pages = 0

    def check_page(self, keys: Sequence[str], token: str, *, first: str = "") -> None:
        """Check the next page: its keys, and the token of the page after it, empty on the last one. ``first``
        identifies its first row if the key alone does not. Raises ``MalformedResponse``."""
        self._empty_pages = 0 if keys else self._empty_pages + 1
        if self._empty_pages > _MAX_EMPTY_PAGES:
            raise MalformedResponse("its pages are empty and do not end")
        if keys:
            self._check_order(keys)
            if not self._firsts.add(first or keys[0]):
                raise MalformedResponse("a page came again")
        if token and not self._tokens.add(token):
            raise MalformedResponse("its pages lead in a circle")

    def _check_order(self, keys: Sequence[str]) -> None:
        if self._in_order and self._last and not _is_ordered(self._last, keys[0]):
            raise MalformedResponse("it goes backwards")
        self._in_order = self._in_order and all(_is_ordered(a, b) for a, b in pairwise(keys))
        self._last = keys[-1]


class _LoopDetector:
    """Detects a repeated text: remembers the first ones all, and after them enough to notice a loop."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._steps = 0
        self._landmark = 0

    def add(self, text: str) -> bool:
        """Return whether the text is new, as far as is known."""
        digest = hash(text)
        if digest in self._known or (self._steps and digest == self._landmark):
            return False
        if len(self._known) < _MAX_TOKENS:
            self._known.add(digest)
            return True
        # Brent's algorithm: a loop comes back to a landmark that moves after 1, 2, 4, 8... steps.
        self._steps += 1
        if self._steps.bit_count() == 1:
            self._landmark = digest
        return True


def _is_ordered(before: str, key: str) -> bool:
    return before <= key or before.split("/") <= key.split("/")


def join_chunks(chunks: Iterable[bytes]) -> bytes:
    """Join all chunks, in memory that does not depend on how small they are."""
    remaining = iter(chunks)
    first = next(remaining, b"")
    second = next(remaining, None)
    if second is None:
        return first
    joined = bytearray(first)
    joined += second
    for chunk in remaining:
        joined += chunk
    return bytes(joined)
