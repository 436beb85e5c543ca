"""Responses that a browser saves as a file."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from urllib.parse import quote

from flask import Response

_LONGEST_NAME = 150


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


def attachment(body: str | Iterable[str], name: str, mimetype: str) -> Response:
    """A file to save; streamed when ``body`` is an iterable. Never cached."""
    response = Response(body, mimetype=mimetype)
    response.headers["Content-Disposition"] = content_disposition(name)
    return response
