"""Parts of pages that are kept for as long as they show the same: rendered again only when a value that they
are made of, or what the viewer's page depends on, is another one. So none of them is ever out of date.

In templates: ``{{ kept_part(macro, "which", value, ...) }}`` for ``{{ macro(value, ...) }}``. The macro may
show nothing that is not among its values or in ``viewer()``; so what depends on the time of the request, such
as “3 min ago”, is handed to it. ``url_for`` of templates keeps addresses in the same way.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from flask import Flask, current_app, g, request
from flask_wtf.csrf import generate_csrf
from jinja2.runtime import Macro
from markupsafe import Markup

from dashboard.services.permissions import Permission
from dashboard.web.context import can, once_a_request
from dashboard.web.language import choice

MAX_CHARACTERS = 8_000_000
"""Of all kept parts together; the one that was not shown for longest is dropped first."""
MAX_ADDRESSES = 4_096
TOKEN = f"token-{secrets.token_hex(16)}"
"""What stands for the token for forms in what is kept. Nobody can write it into a name that is shown."""
_EXTENSION = "stowage.kept_parts"
_FULL = ("_external", "_scheme", "_method")


@dataclass(frozen=True, slots=True)
class _Part:
    kinds: tuple[type, ...]
    values: tuple[object, ...]
    html: str


class KeptParts:
    """Thread-safe. At most ``most`` characters."""

    def __init__(self, most: int = MAX_CHARACTERS) -> None:
        self._most = most
        self._size = 0
        self._lock = threading.Lock()
        self._parts: OrderedDict[Hashable, _Part] = OrderedDict()

    def get(self, key: Hashable, values: tuple[object, ...], build: Callable[[], str]) -> str:
        """Return what ``build`` returned for this key and equal values of the same types, or returns now."""
        # Values that are equal need not look the same: 1 and True, a text and the same text as HTML.
        kinds = tuple(map(type, values))
        with self._lock:
            part = self._parts.get(key)
            if part is not None:
                self._parts.move_to_end(key)
        if part is not None and part.kinds == kinds and part.values == values:
            return part.html
        part = _Part(kinds, values, build())
        with self._lock:
            former = self._parts.pop(key, None)
            self._size += len(part.html) - (len(former.html) if former else 0)
            self._parts[key] = part
            while self._size > self._most:
                self._size -= len(self._parts.popitem(last=False)[1].html)
        return part.html


def install(app: Flask) -> None:
    """Add ``kept_part`` to the templates, and keep the addresses that they ask for."""
    app.extensions[_EXTENSION] = KeptParts()
    app.jinja_env.globals.update(kept_part=_kept_part, url_for=_addresses(app))


def viewer() -> Hashable:
    """Return what a page depends on besides its content: two people for whom it is equal see the same."""
    return once_a_request("viewer", _viewer)


def _viewer() -> Hashable:
    chosen = choice.preferences()
    return (
        tuple(can(permission) for permission in Permission),
        choice.language(),
        choice.zone(),
        # What no zone stands for.
        time.tzname,
        choice.shows_browser_time(),
        chosen.theme,
        request.script_root,
    )


def _kept_part(macro: Macro, which: Hashable, /, *values: object) -> Markup:
    parts: KeptParts = current_app.extensions[_EXTENSION]
    key = (macro.name, which, viewer())
    html = parts.get(key, values, lambda: without_token(macro(*values)))
    return Markup(with_token(html))  # noqa: S704  # what the macro returned


def without_token(html: str) -> str:
    """Put a placeholder where forms have the token of this session."""
    return html.replace(g.csrf_token, TOKEN) if "csrf_token" in g else html


def with_token(html: str) -> str:
    """Put the token of this session where the placeholder is."""
    return html.replace(TOKEN, generate_csrf()) if TOKEN in html else html


def _addresses(app: Flask) -> Callable[..., str]:
    """``url_for`` for templates: an address follows from endpoint, values and where the console is."""

    @lru_cache(MAX_ADDRESSES, typed=True)
    def kept(_script_root: str, endpoint: str, /, **values: Any) -> str:
        return app.url_for(endpoint, **values)

    def url_for(endpoint: str, /, **values: Any) -> str:
        if endpoint.startswith(".") or any(name in values for name in _FULL):
            return app.url_for(endpoint, **values)
        try:
            return kept(request.script_root, endpoint, **values)
        except TypeError:
            # A value of several parts, which no dictionary can look up.
            return app.url_for(endpoint, **values)

    return url_for
