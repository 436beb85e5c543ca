"""Whether a migration between two backends can be meant: not into itself, not where nothing is written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from dashboard.errors import InvalidInput
from dashboard.migration.types import Spec
from dashboard.storage.checks.wrappers import WRAPPER_OPTIONS, is_read_only

_SERVERS = frozenset({"ftp", "sftp", "webdav"})
_ADDRESSED = frozenset({"s3", "gcs", "azure", "vercel_blob", "webdav"})
_NOT_A_PLACE = frozenset({"prefix", *(option.name for option in WRAPPER_OPTIONS)})
_DEFAULT_PORTS = {"http": 80, "https": 443}


def refuse_overlap(
    source: tuple[str, Mapping[str, str]], destination: tuple[str, Mapping[str, str]], prefix: str
) -> None:
    """Raise ``InvalidInput`` when what is read and what is written may be the same objects.

    Each side is a driver's name and its options. Only what can be known without the network counts:
    two names of one server are not recognised as one.
    """
    here, there = (place(driver, options) + prefix for driver, options in (source, destination))
    if not (here.startswith(there) or there.startswith(here)):
        return
    if here == there:
        raise InvalidInput(
            "destination",
            "Source and destination are the same place under two names.",
            remedy="Choose a backend that points somewhere else.",
        )
    if source[0] == "local":
        reason = "One of the two folders lies inside the other, so the copy would contain itself."
        remedy = "Choose folders that lie beside each other, or give a prefix that keeps them apart."
    elif source[0] in _SERVERS:
        reason = "One of the two folders on this server lies inside the other."
        remedy = "Choose folders that lie beside each other, or give a prefix that keeps them apart."
    else:
        reason = "Both backends use the same bucket, and one's folder lies inside the other's."
        remedy = "Give both backends folders of their own inside the bucket, or use another bucket."
    raise InvalidInput("destination", reason, remedy=remedy)


def refuse_read_only(source: Mapping[str, str], destination: Mapping[str, str], spec: Spec) -> None:
    """Raise ``InvalidInput`` when the migration would write to a backend that is read-only here.

    Each side is a backend's options.
    """
    remedy = "Choose another backend, or switch “Read-only” off in its form."
    if is_read_only(destination):
        raise InvalidInput(
            "destination", "The destination is a read-only backend: nothing is written there.", remedy=remedy
        )
    if spec.delete_source and is_read_only(source):
        raise InvalidInput(
            "source",
            "The source is a read-only backend: nothing can be deleted from it.",
            remedy="Copy without deleting from the source, or switch “Read-only” off in its form.",
        )


def place(driver: str, options: Mapping[str, str]) -> str:
    """A text that begins with the place's own text exactly when it lies inside that place."""
    if driver == "local":
        root = os.path.realpath(options.get("root", "/"))
        return f"local:{root.rstrip('/')}/"
    if driver in ("ftp", "sftp"):
        return _on_server(driver, options)
    if driver in _ADDRESSED:
        return _at_endpoint(driver, options)
    # Of a driver of another package only this is known: other options are another place.
    told = sorted((name, value) for name, value in options.items() if name not in _NOT_A_PLACE)
    return f"{driver}:{json.dumps(told)}/{options.get('prefix', '')}"


def path(driver: str, options: Mapping[str, str]) -> str:
    """Where a place lies on its server, as far as its options say, without slashes at the ends. Somebody
    who sees more of that server sees its objects under an end of this path."""
    if driver == "local":
        return os.path.realpath(options.get("root", "/")).strip("/")
    if driver in ("ftp", "sftp"):
        return options.get("root", "").strip("/")
    above = options.get("bucket") or options.get("container") or urlsplit(options.get("endpoint", "")).path
    return f"{unquote(above).strip('/')}/{options.get('prefix', '')}".strip("/")


def _at_endpoint(driver: str, options: Mapping[str, str]) -> str:
    parts = urlsplit(options.get("endpoint", ""))
    host = (parts.hostname or "").lower()
    host = "127.0.0.1" if host == "localhost" else host
    server = f"{host}:{parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)}"
    place = {
        # Two users of one address may each see files of their own.
        "webdav": f"{options.get('username', '')}@{server}{parts.path.rstrip('/')}",
        "vercel_blob": f"{server}/{options.get('store', '').lower()}",
        "azure": f"{server}/{options.get('account', '')}/{options.get('container', '')}",
    }.get(driver, f"{server}/{options.get('bucket', '')}")
    return f"{driver}:{place}/{options.get('prefix', '')}"


def _on_server(driver: str, options: Mapping[str, str]) -> str:
    # Where a relative folder begins, only the server knows; two users may each see files of their own.
    host, root = options.get("host", "").lower(), options.get("root", "")
    start = "/" if root.startswith("/") else "~/"
    host = "127.0.0.1" if host == "localhost" else host
    folder = f"{start}{root.strip('/')}/" if root.strip("/") else start
    return f"{driver}:{options.get('user', '')}@{host}:{options.get('port', '')}{folder}"
