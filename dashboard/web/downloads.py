"""Responses that a browser saves as a file."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable

from flask import Flask, Response, current_app

from dashboard.errors import TooMany
from dashboard.storage.naming import content_disposition

_EXTENSION = "stowage.downloads"

MAX_DOWNLOADS = 4
MAX_DOWNLOADS_PER_USER = 2


class Downloads:
    """Limits concurrent downloads, because a slow client occupies a server thread. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: Counter[str] = Counter()

    def start(self, person: str) -> Callable[[], None]:
        """Count a download. Call the returned function when it has ended. Raises kind ``throttled``."""
        with self._lock:
            mine, every = self._running[person], self._running.total()
            if mine >= MAX_DOWNLOADS_PER_USER or every >= MAX_DOWNLOADS:
                raise TooMany(
                    f"{'You have' if mine >= MAX_DOWNLOADS_PER_USER else 'This console has'} "
                    f"{mine if mine >= MAX_DOWNLOADS_PER_USER else every} downloads in progress already.",
                    operation="download",
                    remedy="Wait until one has finished, then try again.",
                    retry_after=10,
                )
            self._running[person] += 1
        finished = threading.Event()

        def finish() -> None:
            with self._lock:
                if not finished.is_set():
                    finished.set()
                    self._running[person] -= 1

        return finish


def install(app: Flask) -> None:
    """Limit this application's downloads."""
    app.extensions[_EXTENSION] = Downloads()


def count_download(person: str) -> Callable[[], None]:
    """Count a download of somebody; see :meth:`Downloads.start`."""
    downloads: Downloads = current_app.extensions[_EXTENSION]
    return downloads.start(person)


def long_download(person: str, body: Iterable[str], name: str, mimetype: str) -> Response:
    """Stream a file for download, within the limits of :class:`Downloads`. Raises kind ``throttled``."""
    finish = count_download(person)
    response = attachment(body, name, mimetype)
    response.call_on_close(finish)
    return response


def attachment(body: str | Iterable[str], name: str, mimetype: str) -> Response:
    """Send a file for download; streamed if ``body`` is an iterable. Never cached."""
    response = Response(body, mimetype=mimetype)
    response.headers["Content-Disposition"] = content_disposition(name)
    return response
