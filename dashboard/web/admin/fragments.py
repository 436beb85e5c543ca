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

from flask import Flask, Response, current_app, g, request, request_started

from dashboard.web.admin.kept_parts import viewer, with_token, without_token
from dashboard.web.context import from_htmx

SHARED_SECONDS = 1.0
"""For which a fragment is shared, if what it shows is still equal."""
MAX_SHARED = 200
TOKEN_SECONDS = 3600.0
"""After which a fragment with forms is sent again although nothing has changed: the token in it ages."""
PAGE_HEADER = "X-Stowage-Page"
"""A random text that the script of each open page sends with its requests."""
MAX_SHARE = 0.03
"""Of the time of one processor, which open pages may take together."""
MAX_SECONDS = 10
OPEN_SECONDS = 15.0
"""For which a page counts as open after it has asked: longer than pages wait at most."""
MAX_PAGES = 1000
USUAL_COST = 0.003
"""CPU seconds of a request for a live part, until some were measured."""
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
        self._pages: OrderedDict[str, float] = OrderedDict()
        self._cost = USUAL_COST
        self._opened = 0

    def open(self) -> None:
        """A page is opened, and will ask."""
        with self._lock:
            self._opened += 1
            self._see(f"opened-{self._opened}")

    def count(self, page: str, cost: float) -> None:
        """A page has asked, which took ``cost`` seconds of CPU time. ``page``: what tells it from others."""
        with self._lock:
            self._see(page[:64])
            self._cost += (cost - self._cost) / 50

    def _see(self, page: str) -> None:
        now = self._clock()
        self._pages[page] = now
        self._pages.move_to_end(page)
        oldest = next(iter(self._pages))
        while len(self._pages) > MAX_PAGES or now - self._pages[oldest] > OPEN_SECONDS:
            del self._pages[oldest]
            oldest = next(iter(self._pages))

    def seconds(self, usual: int) -> int:
        """Return after how many seconds a page asks again that usually asks after ``usual``; 0 stays 0."""
        with self._lock:
            needed = round(len(self._pages) * self._cost / MAX_SHARE)
        return max(usual, min(MAX_SECONDS, needed)) if usual else 0


def install(app: Flask) -> None:
    """Give fragments an ETag, and send none that the page already shows. After this, others may compress."""
    app.extensions[_EXTENSION], app.extensions[_PACE] = SharedFragments(), Pace()
    request_started.connect(_begin, app)
    app.after_request(_send_if_changed)


def shared(name: str, *parts: Hashable, shows: object, build: Callable[[], str]) -> str:
    """Return a fragment that people with the same rights see alike. ``name`` and ``parts`` say which one it
    is; see ``SharedFragments.get``."""
    fragments: SharedFragments = current_app.extensions[_EXTENSION]
    # The token for forms belongs to one session, not to the one that happened to build the part.
    return with_token(fragments.get((name, *parts, viewer()), shows, lambda: without_token(build())))


def paced(seconds: int) -> int:
    """Return the polling interval for this page, which usually asks every ``seconds``; see ``Pace``."""
    pace: Pace = current_app.extensions[_PACE]
    if seconds and not from_htmx():
        pace.open()
    return pace.seconds(seconds)


def _begin(_app: Flask) -> None:
    g.fragment_began = time.thread_time()


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
    page = request.headers.get(PAGE_HEADER) or str(request.remote_addr)
    current_app.extensions[_PACE].count(page, time.thread_time() - g.fragment_began)
    return response
