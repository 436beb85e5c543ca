"""Probing of names that servers are known to change, before anything is written under them.

A write sends the new name twice, in the path of the PUT and in the ``Destination`` of the MOVE, and some
servers decode one of them differently: wsgidav cuts a destination at ``?`` and ``;``, Nextcloud composes
decomposed characters. Each unusual character is probed once, on temporary names.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from functools import partial

from dashboard.errors import Kind
from dashboard.storage.drivers.webdav.client import INDEX_PAGES, WebDavClient
from dashboard.storage.drivers.webdav.config import new_temporary
from dashboard.storage.drivers.webdav.errors import (
    ERRORS,
    HIDDEN_NAME,
    INDEX_PAGE_NAME,
    STORED_UNDER_OTHER_NAME,
)
from dashboard.storage.drivers.webdav.listing import list_folder
from dashboard.storage.errors import StorageError, Unsupported

_ORDINARY = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/ ")
_COMMON = "!#$%&'()+,;=@[]^`{}?"
_BOTH_FORMS = "\u00e9e\u0301"
_LEADING_DOT = "./"
"""Represents names that start with a dot."""
_BEYOND = "\U0001f600"
_NOT_ABOUT_THE_NAME = frozenset(
    {
        Kind.BAD_CREDENTIALS,
        Kind.DENIED,
        Kind.FULL,
        Kind.TOO_LARGE,
        Kind.TIMEOUT,
        Kind.THROTTLED,
        Kind.NOT_FOUND,
    }
)


class NameSupport(Enum):
    """How a name can be stored exactly."""

    MOVE = "move"
    PUT = "put"
    NONE = "none"
    UNLISTED = "left out of listings"
    HIDES = "hides its folder"


_ERRORS_BY_SUPPORT = {
    NameSupport.NONE: STORED_UNDER_OTHER_NAME,
    NameSupport.UNLISTED: HIDDEN_NAME,
    NameSupport.HIDES: INDEX_PAGE_NAME,
}


class NameProbe:
    """Probes a server's support for unusual characters when they first occur. Thread-safe."""

    def __init__(self, client: WebDavClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._results: dict[str, NameSupport] = {}

    def can_move_to(self, key: str) -> bool:
        """Whether a MOVE can create this key; if not, a PUT must. Raises ``InvalidKey`` if the server would
        store it under another name or hide it."""
        odd = _unusual_parts(key)
        if not odd:
            return True
        with self._lock:
            if not self._results:
                self._probe_common()
            ways = {self._support_for(each) for each in odd}
        context = self._client.context("write", key)
        for way, refusal in _ERRORS_BY_SUPPORT.items():
            if way in ways:
                raise ERRORS.from_row(refusal, context)
        return NameSupport.PUT not in ways

    def _probe_common(self) -> None:
        """Probe all common characters at once, which is enough for most servers."""
        self._results[_COMMON] = NameSupport.NONE
        with suppress(StorageError):
            self._results[_COMMON] = self._probe(_COMMON)
        if self._results[_COMMON] is NameSupport.MOVE:
            self._results.update(dict.fromkeys(_COMMON, NameSupport.MOVE))

    def _support_for(self, odd: str) -> NameSupport:
        if odd not in self._results:
            self._results[odd] = self._probe(odd)
        return self._results[odd]

    def _probe(self, odd: str) -> NameSupport:
        """Probe in a temporary folder, because an unusual name may break its listing."""
        context, path = self._client.context("write"), self._client.config.path
        folder = new_temporary("a") + "/"
        self._client.send("MKCOL", path(folder), context)
        try:
            return self._probe_page(folder, odd) if odd in INDEX_PAGES else self._probe_name(folder, odd)
        finally:
            with suppress(StorageError):
                self._delete(*(folder + name for name in self._names_in(folder)))
            self._delete(folder)

    def _probe_name(self, folder: str, odd: str) -> NameSupport:
        # Keep spaces and dots at the position where servers change them: " x", "x.", "x?x".
        head, tail = "", f"x{odd}x" if odd[0] not in " ." else f"x{odd}"
        if odd == _LEADING_DOT:
            head, tail = ".", ""
        put, moved = f"{head}put{tail}", f"{head}moved{tail}"
        context, path = self._client.context("write"), self._client.config.path
        try:
            if not self._is_accepted(partial(self._client.send, "PUT", path(folder + put), context)):
                return NameSupport.NONE
            if put not in self._names_or_empty(folder):
                return NameSupport.UNLISTED if odd == _LEADING_DOT else NameSupport.NONE
            source, to = path(folder + put), path(folder + moved)
            move = partial(self._client.transfer, "MOVE", source, to, context, overwrite=False)
            arrived = self._is_accepted(move) and moved in self._names_or_empty(folder)
            return NameSupport.MOVE if arrived else NameSupport.PUT
        finally:
            # Delete by name, because unlisted names would remain.
            self._delete(folder + put, folder + moved)

    def _probe_page(self, folder: str, page: str) -> NameSupport:
        """Check whether a folder that contains this page can still be listed."""
        context = self._client.context("write")
        try:
            self._client.send("PUT", self._client.config.path(folder + page), context)
            return NameSupport.MOVE if self._names_in(folder) == [page] else NameSupport.HIDES
        except Unsupported:
            return NameSupport.HIDES
        finally:
            self._delete(folder + page)

    def _delete(self, *names: str) -> None:
        context, path = self._client.context("write"), self._client.config.path
        for name in names:
            with suppress(StorageError):
                self._client.send("DELETE", path(name), context, accept=(404,))

    def _names_or_empty(self, folder: str) -> list[str]:
        """Return the names in a folder; empty if a name makes the listing unreadable."""
        try:
            return self._names_in(folder)
        except StorageError as error:
            if error.retryable or error.kind in _NOT_ABOUT_THE_NAME:
                raise
            return []

    def _is_accepted(self, request: Callable[[], object]) -> bool:
        """Whether the server accepted the request. Raises errors that are not about the name."""
        try:
            request()
        except StorageError as error:
            if error.kind in _NOT_ABOUT_THE_NAME:
                raise
            return False
        return True

    def _names_in(self, folder: str) -> list[str]:
        return [each.path[-1] for each in list_folder(self._client, folder, "write")]


def _unusual_parts(key: str) -> list[str]:
    """Return what is unusual in a key: characters, kinds of characters, and first or last characters of
    names."""
    odd = sorted({c for c in key if c.isascii()} - _ORDINARY)
    if not key.isascii():
        odd.append(_BOTH_FORMS)
        odd += sorted({c for c in key if not c.isascii() and unicodedata.category(c)[0] in "CZ"})
        odd += [_BEYOND] if any(ord(c) > 0xFFFF for c in key) else []
    names = [name for name in key.split("/") if name]
    odd += sorted({name[-1] for name in names if name[-1] in ". "})
    odd += [_LEADING_DOT] if any(name[0] == "." for name in names) else []
    return odd + [page for page in INDEX_PAGES if page == names[-1]]
