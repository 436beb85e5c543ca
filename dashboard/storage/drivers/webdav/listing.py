"""Listing of a WebDAV server in UTF-8 byte order.

Reads each folder to its end before it yields the first entry, so that no connection waits for the caller.
"""

from __future__ import annotations

from collections.abc import Iterator

from dashboard.errors import Kind
from dashboard.storage.drivers.common.walking import (
    MAX_PATH_BYTES,
    UNKNOWN,
    ListingRange,
    ListingRow,
    SkipUnreadable,
    check_name_length,
    retry_listing,
    walk_folders,
)
from dashboard.storage.drivers.webdav.client import WebDavClient
from dashboard.storage.drivers.webdav.config import check_key, is_temporary
from dashboard.storage.drivers.webdav.errors import ERRORS, FOREIGN_PATHS, MISSING_SIZE, status_error
from dashboard.storage.drivers.webdav.xml import Resource
from dashboard.storage.errors import InvalidKey, NotFound, StorageError
from dashboard.storage.net.failures import ErrorContext
from dashboard.storage.paths import key_bytes, key_text
from dashboard.storage.types import Entry

_GONE_STATUSES = (404, 410)
_MAX_ETAG_BYTES = 1024


def walk(
    client: WebDavClient,
    prefix: str,
    start_after: str,
    *,
    unchecked: bool = False,
    skip: SkipUnreadable | None = None,
) -> Iterator[Entry]:
    """Yield entries in order, as ``Driver.list`` promises. Raises ``ContainerMissing``. With ``unchecked``,
    also lists a folder whose name no key can have."""
    base, slash, _ = prefix.rpartition("/")
    if not unchecked and (not _can_contain_keys(base) or (slash and not base)):
        require_root(client, "list")
        return
    requested = ListingRange(key_bytes(prefix), key_bytes(start_after))
    yield from walk_folders(
        lambda path, ordered: retry_listing(lambda: ordered(_rows(client, path, requested))),
        requested.base,
        max_path=MAX_PATH_BYTES,
        skip=skip,
    )


def _rows(client: WebDavClient, path: bytes, requested: ListingRange) -> Iterator[ListingRow]:
    """Yield the rows of one folder; none if it no longer exists."""
    folder = key_text(path)
    for resource in list_folder(client, folder, "list"):
        name = resource.path[-1]
        if is_temporary(name):
            continue
        raw = key_bytes(name)
        check_name_length(raw)
        if resource.folder:
            if requested.overlaps(path + raw + b"/"):
                yield raw + b"/", 0, 0, b""
        elif requested.includes(path + raw):
            size = require_size(resource, client.context("list", folder + name))
            modified = UNKNOWN if resource.modified is None else int(resource.modified) * 10**9
            etag = (strip_etag(resource.etag) or "").encode("utf-8", "replace")
            etag = etag if len(etag) <= _MAX_ETAG_BYTES else b""
            yield raw, size, modified, etag


def list_folder(client: WebDavClient, folder: str, operation: str) -> Iterator[Resource]:
    """Yield the members of a folder (empty, or with a trailing slash); none if it does not exist. Raises
    ``ContainerMissing`` if the root does not exist. The response must include the folder itself, as evidence
    that it describes this folder."""
    context = client.context(operation, folder)
    own = (*client.config.root, *folder.split("/")[:-1])
    itself = False
    try:
        for resource in client.propfind(client.config.path(folder), context, depth="1", attempts=2):
            if resource.host not in ("", client.config.address[0].lower()):
                raise ERRORS.from_row(FOREIGN_PATHS, context)
            if resource.path == own:
                if resource.status != 200:
                    raise status_error(resource.status, context)
                itself = True
            elif resource.path[:-1] != own or not _is_name(resource.path[-1]):
                raise ERRORS.from_row(FOREIGN_PATHS, context)
            elif resource.status == 200:
                yield resource
            elif resource.status not in _GONE_STATUSES:
                raise status_error(resource.status, client.context(operation, folder + resource.path[-1]))
        if not itself:
            raise ERRORS.transport_error("unreadable", context)
    except NotFound:
        require_root(client, operation)
    except StorageError as error:
        # Apache and lighttpd refuse a file name followed by a slash with other statuses.
        odd = error.kind in (Kind.INVALID_KEY, Kind.DENIED)
        if not odd or not folder or not _is_file(client, folder[:-1], operation):
            raise


def _is_file(client: WebDavClient, key: str, operation: str) -> bool:
    try:
        return not client.stat(key, client.context(operation, key)).folder
    except StorageError:
        return False


def _is_name(name: str) -> bool:
    return name not in (".", "..") and "/" not in name and "\0" not in name


def require_size(resource: Resource, context: ErrorContext) -> int:
    """Return the size of a file. Raises if the server omits it, because a read could then not be checked."""
    if resource.size < 0:
        raise ERRORS.from_row(MISSING_SIZE, context)
    return resource.size


def _can_contain_keys(folder: str) -> bool:
    try:
        if folder:
            check_key(folder)
    except InvalidKey:
        return False
    return True


def require_root(client: WebDavClient, operation: str) -> None:
    """Raise ``ContainerMissing`` unless the root folder exists."""
    client.stat("", client.context(operation))


def strip_etag(etag: str) -> str | None:
    """Return an ETag without quotes, or None. A weak one keeps its prefix, because it must not be used in
    conditions."""
    if etag.startswith("W/"):
        return f"W/{etag[2:].strip(chr(34))}"
    return etag.strip('"') or None
