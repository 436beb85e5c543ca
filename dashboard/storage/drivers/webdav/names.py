"""Keys that servers are known to bend: looked at before anything is written under them.

The new name travels twice in a write, in the path of the PUT and in the ``Destination`` of the MOVE,
and some servers decode one of them differently: wsgidav cuts a destination at ``?`` and ``;``,
Nextcloud composes decomposed letters. Each unusual letter is tried once, on temporary names.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from functools import partial

from dashboard.errors import Kind
from dashboard.storage.drivers.webdav.client import PAGES, Client
from dashboard.storage.drivers.webdav.errors import DOTS_UNLISTED, ERRORS, HIDES_ITS_FOLDER, OTHER_NAME
from dashboard.storage.drivers.webdav.listing import members
from dashboard.storage.drivers.webdav.place import new_temporary
from dashboard.storage.errors import StorageError, Unsupported

_ORDINARY = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/ ")
_COMMON = "!#$%&'()+,;=@[]^`{}?"
_BOTH_FORMS = "\u00e9e\u0301"
_LEADING_DOT = "./"
"""Stands for a name that begins with a dot."""
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


class Way(Enum):
    """How a name gets onto a server exactly."""

    MOVE = "move"
    PUT = "put"
    NONE = "none"
    UNLISTED = "left out of listings"
    HIDES = "hides its folder"


_REFUSALS = {Way.NONE: OTHER_NAME, Way.UNLISTED: DOTS_UNLISTED, Way.HIDES: HIDES_ITS_FOLDER}


class Names:
    """What a server makes of unusual letters, learnt as they come. Thread-safe."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._known: dict[str, Way] = {}

    def movable(self, key: str) -> bool:
        """Whether a MOVE can lead to this key; if not, a PUT must. Raises ``InvalidKey`` when the
        server stores such a name under another one."""
        odd = _odd(key)
        if not odd:
            return True
        with self._lock:
            if not self._known:
                self._learn_common()
            ways = {self._way(each) for each in odd}
        scene = self._client.scene("write", key)
        for way, refusal in _REFUSALS.items():
            if way in ways:
                raise ERRORS.of(refusal, scene)
        return Way.PUT not in ways

    def _learn_common(self) -> None:
        """One trial settles them all on most servers."""
        self._known[_COMMON] = Way.NONE
        with suppress(StorageError):
            self._known[_COMMON] = self._try(_COMMON)
        if self._known[_COMMON] is Way.MOVE:
            self._known.update(dict.fromkeys(_COMMON, Way.MOVE))

    def _way(self, odd: str) -> Way:
        if odd not in self._known:
            self._known[odd] = self._try(odd)
        return self._known[odd]

    def _try(self, odd: str) -> Way:
        """In a folder of its own, which is thrown away: what is odd may break the listing."""
        scene, path = self._client.scene("write"), self._client.place.path
        folder = new_temporary("a") + "/"
        self._client.send("MKCOL", path(folder), scene)
        try:
            return self._try_page(folder, odd) if odd in PAGES else self._try_name(folder, odd)
        finally:
            with suppress(StorageError):
                self._drop(*(folder + name for name in self._in(folder)))
            self._drop(folder)

    def _try_name(self, folder: str, odd: str) -> Way:
        # Neither in the middle only nor at an end only: " x", "x.", "x?x".
        head, tail = "", f"x{odd}x" if odd[0] not in " ." else f"x{odd}"
        if odd == _LEADING_DOT:
            head, tail = ".", ""
        put, moved = f"{head}put{tail}", f"{head}moved{tail}"
        scene, path = self._client.scene("write"), self._client.place.path
        try:
            if not self._accepted(partial(self._client.send, "PUT", path(folder + put), scene)):
                return Way.NONE
            if put not in self._listed(folder):
                return Way.UNLISTED if odd == _LEADING_DOT else Way.NONE
            source, to = path(folder + put), path(folder + moved)
            move = partial(self._client.transfer, "MOVE", source, to, scene, overwrite=False)
            arrived = self._accepted(move) and moved in self._listed(folder)
            return Way.MOVE if arrived else Way.PUT
        finally:
            # By name: what is not listed would stay.
            self._drop(folder + put, folder + moved)

    def _try_page(self, folder: str, page: str) -> Way:
        """Whether a folder can still be listed with this in it."""
        scene = self._client.scene("write")
        try:
            self._client.send("PUT", self._client.place.path(folder + page), scene)
            return Way.MOVE if self._in(folder) == [page] else Way.HIDES
        except Unsupported:
            return Way.HIDES
        finally:
            self._drop(folder + page)

    def _drop(self, *names: str) -> None:
        scene, path = self._client.scene("write"), self._client.place.path
        for name in names:
            with suppress(StorageError):
                self._client.send("DELETE", path(name), scene, accept=(404,))

    def _listed(self, folder: str) -> list[str]:
        """What is in a folder; nothing where a name in it makes the listing unreadable."""
        try:
            return self._in(folder)
        except StorageError as error:
            if error.retryable or error.kind in _NOT_ABOUT_THE_NAME:
                raise
            return []

    def _accepted(self, request: Callable[[], object]) -> bool:
        """Whether the server took the request; trouble that is not about the name raises."""
        try:
            request()
        except StorageError as error:
            if error.kind in _NOT_ABOUT_THE_NAME:
                raise
            return False
        return True

    def _in(self, folder: str) -> list[str]:
        return [each.path[-1] for each in members(self._client, folder, "write")]


def _odd(key: str) -> list[str]:
    """What is unusual in a key: letters, kinds of letters, and ends of names."""
    odd = sorted({c for c in key if c.isascii()} - _ORDINARY)
    if not key.isascii():
        odd.append(_BOTH_FORMS)
        odd += sorted({c for c in key if not c.isascii() and unicodedata.category(c)[0] in "CZ"})
        odd += [_BEYOND] if any(ord(c) > 0xFFFF for c in key) else []
    names = [name for name in key.split("/") if name]
    odd += sorted({name[-1] for name in names if name[-1] in ". "})
    odd += [_LEADING_DOT] if any(name[0] == "." for name in names) else []
    return odd + [page for page in PAGES if page == names[-1]]
