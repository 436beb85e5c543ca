"""What a browser loads: static files under names that change with their content, compressed pages, the icons.

Nothing has to be built: files are compressed once, in memory, when they are first asked for.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import mimetypes
import secrets
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, request, url_for
from markupsafe import Markup

from dashboard.web.context import once_a_request

FINGERPRINT_LENGTH = 12
MIN_COMPRESSED_BYTES = 1_000
"""Smaller responses gain nothing."""
_PAGE_LEVEL = 5
_MAX_PADDING = 100
"""Bytes of random length in a compressed page, so that its size does not tell what is in it (BREACH)."""
_STATIC_HEADERS = "stowage.fingerprinted"


class _Asset:
    """A static file in memory: as it is and, if that is smaller, compressed. Thread-safe."""

    def __init__(self, name: str, content: bytes) -> None:
        self.content = content
        self.digest = hashlib.sha256(content).hexdigest()
        self.mimetype = mimetypes.guess_type(name)[0] or "application/octet-stream"
        stem, dot, ending = name.rpartition(".")
        self.fingerprinted = f"{stem}.{self.digest[:FINGERPRINT_LENGTH]}{dot}{ending}" if dot else name
        self._lock = threading.Lock()
        self._compressed: bytes | None = None

    def compressed(self) -> bytes:
        with self._lock:
            if self._compressed is None:
                self._compressed = gzip.compress(self.content, mtime=0)
            return self._compressed


def install(app: Flask) -> None:
    """Serve static files under fingerprinted names, compress pages, and add ``icon`` to every template."""
    folder = Path(app.static_folder or "")
    assets = {
        path.relative_to(folder).as_posix(): _Asset(path.relative_to(folder).as_posix(), path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }
    fingerprinted = {asset.fingerprinted: asset for asset in assets.values()}

    @app.url_defaults
    def name_by_content(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "static" and (asset := assets.get(values.get("filename", ""))):
            values["filename"] = asset.fingerprinted

    def static(filename: str) -> Response:
        asset = fingerprinted.get(filename) or assets.get(filename)
        if asset is None:
            abort(404)
        response = _file(asset)
        setattr(response, _STATIC_HEADERS, filename in fingerprinted)
        return response

    static_view = app.view_functions["static"]
    static.__dict__.update(static_view.__dict__)
    app.view_functions["static"] = static
    app.after_request(_compress_page)
    app.jinja_env.globals["icon"] = icon


def is_fingerprinted(response: Response) -> bool:
    """Return whether this is under a name that changes with its content."""
    return bool(getattr(response, _STATIC_HEADERS, False))


def keep_forever(response: Response) -> None:
    """Say that this response is under an address that changes with its content, so that it is cached like a
    static file."""
    setattr(response, _STATIC_HEADERS, True)


def icon(name: str) -> Markup:
    """Return an icon of the sprite. It is hidden from screen readers: the text next to it says the same."""
    return _icon(once_a_request("sprite", _sprite), name)


def _sprite() -> str:
    return url_for("static", filename="icons.svg")


@lru_cache(1_024)
def _icon(sprite: str, name: str) -> Markup:
    return Markup(
        '<svg class="icon" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>'
    ).format(sprite, name)


def _file(asset: _Asset) -> Response:
    body, tag = asset.content, asset.digest[:32]
    compress = _takes_gzip() and len(body) >= MIN_COMPRESSED_BYTES
    if compress:
        body, tag = asset.compressed(), f"{tag}-gzip"
    response = Response(body, mimetype=asset.mimetype)
    if compress:
        response.headers["Content-Encoding"] = "gzip"
    response.vary.add("Accept-Encoding")
    response.set_etag(tag)
    response.make_conditional(request)
    return response


def _compress_page(response: Response) -> Response:
    """Compress pages and fragments. Nothing that is streamed or that a view has encoded itself."""
    if response.mimetype != "text/html" or response.is_streamed or response.direct_passthrough:
        return response
    if "Content-Encoding" in response.headers or response.status_code == 206:
        return response
    response.vary.add("Accept-Encoding")
    body = response.get_data()
    if _takes_gzip() and len(body) >= MIN_COMPRESSED_BYTES:
        packed = io.BytesIO()
        # The header's file name is the padding, as in Django's own middleware.
        padding = "a" * secrets.randbelow(_MAX_PADDING)
        with gzip.GzipFile(padding, "wb", _PAGE_LEVEL, packed, mtime=0) as writer:
            writer.write(body)
        response.set_data(packed.getvalue())
        response.headers["Content-Encoding"] = "gzip"
    return response


def _takes_gzip() -> bool:
    return request.accept_encodings.quality("gzip") > 0
