"""Walking the folders of a WebDAV server in UTF-8 byte order.

One folder at a time is asked for and read to its end before anything of it is yielded, so no
connection waits for the caller. What is held is the names of the folders on the way down; a server
sends a folder only as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator

from dashboard.storage.drivers._webdav_errors import elsewhere, place_missing
from dashboard.storage.drivers._webdav_http import Client
from dashboard.storage.drivers._webdav_place import check, is_temporary
from dashboard.storage.drivers._webdav_xml import Resource
from dashboard.storage.errors import InvalidKey, NotFound
from dashboard.storage.paths import key_bytes
from dashboard.storage.types import Entry

Row = tuple[bytes, Resource]
"""Sort key (a folder's ends in a slash) and what it stands for."""


def walk(client: Client, prefix: str, start_after: str, *, anywhere: bool = False) -> Iterator[Entry]:
    """Entries in order, as ``Driver.list`` promises. Raises ``PlaceMissing``. ``anywhere``: also below a
    folder whose name no key can have."""
    base, slash, _ = prefix.rpartition("/")
    top = base + slash
    if not anywhere and (not _may_hold_anything(base) or (slash and not base)):
        require_place(client, "list")
        return
    raw_prefix, after = key_bytes(prefix), key_bytes(start_after)
    stack = [iter(_rows(client, top, raw_prefix, after))]
    folders = [top]
    while stack:
        for name, resource in stack[-1]:
            key = folders[-1] + resource.path[-1]
            if name.endswith(b"/"):
                folders.append(f"{key}/")
                stack.append(iter(_rows(client, folders[-1], raw_prefix, after)))
                break
            yield entry(key, resource)
        else:
            stack.pop()
            folders.pop()


def _rows(client: Client, folder: str, prefix: bytes, after: bytes) -> list[Row]:
    """What of one folder may be listed, in order. A folder that vanished has nothing."""
    rows: list[Row] = []
    path = key_bytes(folder)
    for resource in members(client, folder, "list"):
        name = key_bytes(resource.path[-1])
        full = path + name
        if is_temporary(resource.path[-1]):
            continue
        if resource.folder:
            full += b"/"
            below = full.startswith(prefix) or prefix.startswith(full)
            if below and (full > after or after.startswith(full)):
                rows.append((name + b"/", resource))
        elif full.startswith(prefix) and full > after:
            rows.append((name, resource))
    rows.sort(key=lambda row: row[0])
    return rows


def members(client: Client, folder: str, operation: str) -> Iterator[Resource]:
    """What is directly in a folder (empty, or ending in a slash). Nothing when there is no such folder;
    ``PlaceMissing`` when the place itself is gone."""
    scene = client.scene(operation, folder)
    try:
        found = client.properties(client.place.path(folder), scene, depth="1")
        own = (*client.place.root, *folder.split("/")[:-1])
        for resource in found:
            if resource.path == own:
                continue
            if resource.path[:-1] != own:
                raise elsewhere(scene)
            yield resource
    except NotFound as error:
        if not folder:
            raise place_missing(client.scene(operation)) from error
        require_place(client, operation)


def _may_hold_anything(folder: str) -> bool:
    try:
        if folder:
            check(folder)
    except InvalidKey:
        return False
    return True


def require_place(client: Client, operation: str) -> None:
    """Raise ``PlaceMissing`` unless the folder the driver works in is there."""
    client.look("", client.scene(operation))


def entry(key: str, resource: Resource) -> Entry:
    """What a listing says of a file."""
    return Entry(key, resource.size, resource.modified, plain_etag(resource.etag))


def plain_etag(etag: str) -> str | None:
    """An ETag without quotes; a weak one keeps its mark, since it may not be used in conditions."""
    if etag.startswith("W/"):
        return f"W/{etag[2:].strip(chr(34))}"
    return etag.strip('"') or None
