"""Letting the server in front send local files: ``X-Accel-Redirect`` (nginx) or ``X-Sendfile`` (Apache,
lighttpd).

The file was opened and checked by its driver. What the header names is that open file's own path, and only if
it still leads to the same file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import quote_from_bytes

from dashboard.services.files.copies import OpenFile
from dashboard.web.context import services


def offload_headers(file: OpenFile) -> Mapping[str, str]:
    """Return the header that names a file to the server in front; empty if this console sends it itself."""
    settings = services().settings
    if not settings.accel_redirects and not settings.sendfile_roots:
        return {}
    path = _path_of(file.reading.fileno())
    if path is None:
        return {}
    for root, address in settings.accel_redirects:
        if (rest := _below(path, os.fsencode(root))) is not None:
            # nginx decodes it once, whatever the client's address was.
            return {"X-Accel-Redirect": address.rstrip("/") + "/" + quote_from_bytes(rest, safe="/")}
    for root in settings.sendfile_roots:
        if _below(path, os.fsencode(root)) is not None and _is_header_value(path):
            return {"X-Sendfile": path.decode("latin-1")}
    return {}


def _path_of(descriptor: int) -> bytes | None:
    """The path of an open file (Linux), or None if it has none any more."""
    try:
        path = os.readlink(b"/proc/self/fd/%d" % descriptor)
        opened, found = os.fstat(descriptor), os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return path if (opened.st_dev, opened.st_ino) == (found.st_dev, found.st_ino) else None


def _below(path: bytes, root: bytes) -> bytes | None:
    """The path inside a root, or None."""
    prefix = root.rstrip(b"/") + b"/"
    return path.removeprefix(prefix) if path.startswith(prefix) else None


def _is_header_value(path: bytes) -> bool:
    return all(32 <= byte != 127 for byte in path) and path == path.strip(b" ")
