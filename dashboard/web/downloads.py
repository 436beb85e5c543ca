"""Responses that a browser saves as a file."""

from __future__ import annotations

import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from urllib.parse import quote

from flask import Flask, Response, current_app

from dashboard.errors import TooMany

_LONGEST_NAME = 150
_EXTENSION = "stowage.downloads"

MOST_AT_ONCE = 4
MOST_PER_PERSON = 2


def content_disposition(name: str) -> str:
    """An attachment header for any name: RFC 6266 with RFC 5987 encoding.

    Werkzeug's builder lets line breaks and lone surrogates through to a header error, so this one is
    ours: whatever the name holds, the result is one line of ASCII.
    """
    clean = "".join(
        "_" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") or c in "/\\" else c for c in name
    )
    clean = clean.strip(" .")[:_LONGEST_NAME] or "download"
    plain = "".join(c if 32 <= ord(c) < 127 and c not in '"\\%' else "_" for c in clean)
    header = f'attachment; filename="{plain}"'
    if plain != clean:
        header += f"; filename*=UTF-8''{quote(clean, safe='')}"
    return header


class Downloads:
    """How many long answers are under way. Each keeps a thread of the web server while its reader is slow."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: Counter[str] = Counter()

    def begin(self, person: str) -> Callable[[], None]:
        """Count one more; call what is returned when it has ended. Raises ``THROTTLED``."""
        with self._lock:
            mine, every = self._running[person], self._running.total()
            if mine >= MOST_PER_PERSON or every >= MOST_AT_ONCE:
                raise TooMany(
                    f"{'You have' if mine >= MOST_PER_PERSON else 'This console has'} "
                    f"{mine if mine >= MOST_PER_PERSON else every} downloads under way already.",
                    operation="download",
                    remedy="Wait until one has finished, then try again.",
                    retry_after=10,
                )
            self._running[person] += 1
        ended = threading.Event()

        def end() -> None:
            with self._lock:
                if not ended.is_set():
                    ended.set()
                    self._running[person] -= 1

        return end


def install(app: Flask) -> None:
    """Count this application's downloads."""
    app.extensions[_EXTENSION] = Downloads()


def long_download(person: str, body: Iterable[str], name: str, mimetype: str) -> Response:
    """A streamed file to save, one of a bounded number at a time. Raises ``THROTTLED``."""
    downloads: Downloads = current_app.extensions[_EXTENSION]
    end = downloads.begin(person)
    response = attachment(body, name, mimetype)
    response.call_on_close(end)
    return response


def attachment(body: str | Iterable[str], name: str, mimetype: str) -> Response:
    """A file to save; streamed when ``body`` is an iterable. Never cached."""
    response = Response(body, mimetype=mimetype)
    response.headers["Content-Disposition"] = content_disposition(name)
    return response
