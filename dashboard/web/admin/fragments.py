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
MAX_PER_SECOND = 20.0
"""Requests for parts of pages, above which pages are told to ask less often."""
MAX_SECONDS = 5
PACE_SECONDS = 2.0
"""After which the pace is reconsidered."""
_EXTENSION = "stowage.fragments"
_PACE = "stowage.fragments.pace"


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


class Pace:
    """How often pages may ask for their parts, so that a hundred open pages do not slow down the work that
    they show. Thread-safe. ``clock``: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since, self._requests, self._factor = clock(), 0, 1.0

    def count(self) -> None:
        """A page has asked."""
        with self._lock:
            self._requests += 1
            passed = self._clock() - self._since
            if passed < PACE_SECONDS:
                return
            much = self._requests / passed / MAX_PER_SECOND
            if much > 1.0:
                self._factor = min(float(MAX_SECONDS), self._factor * much)
            elif much < 0.5:
                self._factor = max(1.0, self._factor / 2)
            self._since, self._requests = self._clock(), 0

    def seconds(self, usual: int) -> int:
        """Return after how many seconds a page asks again that usually asks after ``usual``; 0 stays 0."""
        with self._lock:
            return max(usual, min(MAX_SECONDS, round(usual * self._factor)))


def install(app: Flask) -> None:
    """Give fragments an ETag, and send none that the page already shows. After this, others may compress."""
    app.extensions[_EXTENSION], app.extensions[_PACE] = SharedFragments(), Pace()
    app.after_request(_send_if_changed)


def shared(name: str, *parts: Hashable, shows: object, build: Callable[[], str]) -> str:
    """Return a fragment that people with the same rights see alike. ``name`` and ``parts`` say which one it
    is; see ``SharedFragments.get``."""
    fragments: SharedFragments = current_app.extensions[_EXTENSION]
    # The token for forms belongs to one session, not to the one that happened to build the part.
    return with_token(fragments.get((name, *parts, viewer()), shows, lambda: without_token(build())))


def paced(seconds: int) -> int:
    """Return the polling interval for a page that usually asks every ``seconds``; see ``Pace``."""
    pace: Pace = current_app.extensions[_PACE]
    return pace.seconds(seconds)


def _send_if_changed(response: Response) -> Response:
    is_fragment = request.method == "GET" and from_htmx() and response.status_code == 200
    if not is_fragment or response.mimetype != "text/html" or response.is_streamed:
        return response
    current_app.extensions[_PACE].count()
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
