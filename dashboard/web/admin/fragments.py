"""Parts of pages that a script asks for again and again: built once for everybody who sees the same, and not
sent again while nothing has changed.

Who asks, and whether that person may, is decided before by ``guards``, on every request.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from flask import Flask, Response, current_app, g, request

from dashboard.web.admin.kept_parts import viewer, with_token, without_token
from dashboard.web.context import from_htmx

SHARED_SECONDS = 1.0
"""For which a fragment is shared, if what it shows is still equal."""
MAX_SHARED = 200
TOKEN_SECONDS = 3600.0
"""After which a fragment with forms is sent again although nothing has changed: the token in it ages."""
_EXTENSION = "stowage.fragments"


@dataclass(slots=True)
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    shows: object = None
    at: float = -SHARED_SECONDS
    html: str = ""


class SharedFragments:
    """Fragments that were built within the last second. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()

    def get(self, key: Hashable, shows: object, build: Callable[[], str]) -> str:
        """Return what ``build`` returns, or returned less than ``SHARED_SECONDS`` ago for the same ``key``
        and an equal ``shows``: the value that decides what is seen. One thread builds, others wait for it."""
        entry = self._entry(key)
        with entry.lock:
            now = time.monotonic()
            if now - entry.at < SHARED_SECONDS and entry.shows == shows:
                return entry.html
            html = build()
            entry.shows, entry.at, entry.html = shows, now, html
            return html

    def _entry(self, key: Hashable) -> _Entry:
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            while len(self._entries) > MAX_SHARED:
                self._entries.popitem(last=False)
            return entry


def install(app: Flask) -> None:
    """Give fragments an ETag, and send none that the page already shows. After this, others may compress."""
    app.extensions[_EXTENSION] = SharedFragments()
    app.after_request(_send_if_changed)


def shared(name: str, *parts: Hashable, shows: object, build: Callable[[], str]) -> str:
    """Return a fragment that people with the same rights see alike. ``name`` and ``parts`` say which one it
    is; see ``SharedFragments.get``."""
    fragments: SharedFragments = current_app.extensions[_EXTENSION]
    # The token for forms belongs to one session, not to the one that happened to build the part.
    return with_token(fragments.get((name, *parts, viewer()), shows, lambda: without_token(build())))


def _send_if_changed(response: Response) -> Response:
    is_fragment = request.method == "GET" and from_htmx() and response.status_code == 200
    if not is_fragment or response.mimetype != "text/html" or response.is_streamed:
        return response
    content = response.get_data()
    if "csrf_token" in g:
        # It is another one in every response.
        content = content.replace(g.csrf_token.encode(), b"%d" % (time.time() // TOKEN_SECONDS))
    tag = hashlib.sha256(content).hexdigest()[:32]
    response.set_etag(tag, weak=True)
    if request.if_none_match.contains_weak(tag):
        response.status_code = 304
        response.set_data(b"")
        for name in ("Content-Type", "Content-Length"):
            response.headers.pop(name, None)
    return response
