"""WebDAV: file servers on HTTP, Nextcloud and ownCloud among them (RFC 4918).

What such a server cannot store: object attributes are discarded on write, and the server derives the content
type from the name. Keys that are not exactly a path raise ``InvalidKey``. Folders are created as needed and
stay when they become empty. The version of an object is its ETag, or its modification time and size.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Self

from dashboard.errors import Kind
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.common.folder_pages import FolderPagesMixin
from dashboard.storage.drivers.common.walking import SkipUnreadable, collect_names
from dashboard.storage.drivers.webdav.client import REDIRECTS, WebDavClient, is_encoded
from dashboard.storage.drivers.webdav.config import (
    WebDavConfig,
    check_key,
    is_temporary_for,
    key_digests,
    new_temporary,
)
from dashboard.storage.drivers.webdav.errors import ERRORS
from dashboard.storage.drivers.webdav.listing import list_folder, require_size, strip_etag, walk
from dashboard.storage.drivers.webdav.moving import WebDavMovingMixin, same_version
from dashboard.storage.drivers.webdav.streams import WebDavReading
from dashboard.storage.drivers.webdav.writing import WebDavWriting, Writer
from dashboard.storage.drivers.webdav.xml import Resource, http_date
from dashboard.storage.errors import Changed, ContainerMissing, Damaged, NotFound, StorageError, Unsupported
from dashboard.storage.net.failures import ErrorContext
from dashboard.storage.net.http1 import StreamingResponse
from dashboard.storage.net.ranges import check_length, check_range
from dashboard.storage.paths import guess_content_type, key_bytes, key_text
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Secret, Written

_CLOCK_SLACK_SECONDS = 2.0
_COPY_SECONDS = 900.0
"""The server sends nothing while it copies."""


class WebDavDriver(WebDavMovingMixin, FolderPagesMixin):
    """A folder on a WebDAV server. Thread-safe."""

    name = "webdav"
    ordered = True

    def __init__(self, config: WebDavConfig) -> None:
        self._config = config
        self._client = WebDavClient(config)
        self._writer = Writer(self._client)
        self._lists_etags: bool | None = None
        """Whether PROPFIND returns ETags. If not, the ETag of a GET is not a version."""

    @classmethod
    def from_options(cls, options: Mapping[str, str], secrets: Mapping[str, Secret]) -> Self:
        """Build from checked options. No network call."""
        return cls(WebDavConfig.from_options(options, secrets))

    def __repr__(self) -> str:
        return f"WebDavDriver({self._config.display_name})"

    # Driver

    def check_key(self, key: str) -> None:
        """See ``Driver``. Paths without empty, ``.`` or ``..`` parts and without control characters."""
        check_key(key)

    def read(self, key: str, *, if_version: str | None = None) -> WebDavReading:
        """See ``Driver``. Makes the request conditional and checks the response as well."""
        check_key(key)
        context = self._client.context("read", key)
        strong = if_version is not None and not if_version.startswith(("W/", "@"))
        headers = {"if-match": f'"{if_version}"'} if strong else {}
        path = self._config.path(key)
        try:
            try:
                response = self._client.open("GET", path, context, headers=headers, accept=REDIRECTS)
            except Changed:
                # lighttpd lists ETags but never matches them in conditional requests.
                if not same_version(self._stat(key, "read").version, if_version):
                    raise
                response = self._client.open("GET", path, context, accept=REDIRECTS)
        except StorageError as error:
            # Servers respond to a GET of a folder in different ways.
            if error.kind not in (Kind.DENIED, Kind.UNSUPPORTED) or not self._is_folder(key):
                raise
            raise NotFound(key) from error
        try:
            info = self._info_of_response(key, response, context, if_version)
        except BaseException:
            response.close()
            raise
        return WebDavReading(
            info, self._client.response_chunks(response, context), response.close, self._has_changed
        )

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """See ``ReadsRanges``. Checks the object first, because a GET of a folder returns a page. If it has
        no strong ETag and ``if_version`` is given, checks it again afterwards."""
        check_key(key)
        check_range(start, length)
        info = self._stat(key, "read")
        if if_version is not None and not same_version(if_version, info.version):
            raise Changed(key)
        length = min(length, info.size - start)
        if length <= 0:
            return b""
        etag = None if (info.version or "").startswith(("W/", "@")) else info.version
        try:
            part = self._client.read_range(key, start, length, etag)
        except Changed:
            if etag is None or not same_version(self._stat(key, "read").version, info.version):
                raise
            part = self._client.read_range(key, start, length, None)
            etag, if_version = None, info.version
        if (
            if_version is not None
            and etag is None
            and not same_version(self._stat(key, "read").version, if_version)
        ):
            raise Changed(key)
        return check_length(key, part, length)

    def write(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> WebDavWriting:
        """See ``Driver``. With ``size``, a commit after another number of bytes raises ``Damaged``."""
        check_key(key)
        self.forget_listings()
        return WebDavWriting(self._writer, key, size, attributes, create_only)

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """See ``Driver``. ``create_only`` is as atomic as the server's MOVE without overwriting."""
        check_key(key)
        return self.changed(self._writer.put(key, data, attributes, create_only=create_only))

    def stat(self, key: str) -> ObjectInfo:
        """See ``Driver``. A folder is not an object."""
        check_key(key)
        return self._stat(key, "stat")

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        """See ``Driver``. In order. Not a snapshot: each folder is one request."""
        return walk(self._client, prefix, start_after)

    def list_readable(
        self,
        prefix: str = "",
        *,
        start_after: str = "",
        unreadable: Callable[[str, StorageError], None],
        enters: Callable[[str], bool] = lambda folder: True,
    ) -> Iterator[Entry]:
        """See ``ListsReadable``."""
        return walk(self._client, prefix, start_after, skip=SkipUnreadable(unreadable, enters))

    def delete(self, key: str) -> None:
        """See ``Driver``. Never deletes a folder of that name, because that would delete its content."""
        check_key(key)
        context = self._client.context("delete", key)
        try:
            if self._client.stat(key, context).folder:
                return
        except NotFound:
            return
        self.changed(self._client.send("DELETE", self._config.path(key), context, accept=(404,)))

    def sweep(self, keys: Iterable[str], *, since: float) -> int:
        """See ``Driver``. Deletes the temporary files of these keys."""
        folders: dict[str, list[str]] = {}
        for key in keys:
            folder, slash, _ = key.rpartition("/")
            folders.setdefault(folder + slash, []).append(key)
        swept = 0
        for folder, inside in folders.items():
            wanted = key_digests(inside)
            found = list_folder(self._client, folder, "sweep")
            left = (member.path[-1] for member in found if not member.folder)
            for name in collect_names(
                key_bytes(name)
                for name in left
                if is_temporary_for(name, wanted, since - _CLOCK_SLACK_SECONDS)
            ):
                self._writer.delete_temporary(folder + key_text(name))
                swept += 1
        return swept

    def close(self) -> None:
        """See ``Driver``."""
        self._client.close()

    # CopiesWithin

    def can_copy_from(self, source: Driver) -> bool:
        """See ``CopiesWithin``: the same server and user."""
        if not isinstance(source, WebDavDriver):
            return False
        here, there = self._config, source._config
        return (here.server, here.username, here.password) == (there.server, there.username, there.password)

    def copy_from(self, source: Driver, key: str, to: str, *, if_version: str | None = None) -> Written:
        """See ``CopiesWithin``. Sends COPY to a temporary name, then MOVE. The copy is not proven."""
        if not isinstance(source, WebDavDriver) or not self.can_copy_from(source):
            raise Unsupported("copy", "The two backends do not share a server and a user.")
        check_key(to)
        if not self._writer.name_probe.can_move_to(to):
            raise Unsupported("copy", f"{self._config.host} cannot move an object to “{to}”.")
        before = source._stat(key, "copy")
        if if_version is not None and not same_version(before.version, if_version):
            raise Changed(key, operation="copy")
        context = self._client.context("write", to)
        self._writer.make_folders(to, context)
        temporary = new_temporary(to)
        try:
            there, here = source._config.path(key), self._config.path(temporary)
            self._client.transfer("COPY", there, here, context, overwrite=False, idle=_COPY_SECONDS)
            size = require_size(self._client.stat(temporary, context), context)
            if not same_version(source._stat(key, "copy").version, before.version):
                raise Changed(key, operation="copy")
            self._writer.move(temporary, to, context, create_only=False)
        except BaseException:
            self._writer.delete_temporary(temporary)
            raise
        return self.changed(Written(key=to, size=size, md5=""))

    # KeepsFolders

    def make_folder(self, folder: str) -> None:
        """See ``KeepsFolders``."""
        check_key(folder)
        self._writer.make_folder(folder)
        self.forget_listings()

    def folders(self, folder: str) -> Iterator[str]:
        """See ``KeepsFolders``."""
        if folder:
            check_key(folder)
        found = list_folder(self._client, f"{folder}/" if folder else "", "list")
        return map(key_text, collect_names(key_bytes(each.path[-1]) for each in found if each.folder))

    def remove_folder(self, folder: str) -> None:
        """See ``KeepsFolders``. Moves the folder to a temporary name and checks that it is empty before
        deleting it."""
        check_key(folder)
        self._writer.remove_folder(folder)
        self.forget_listings()

    # CreatesBuckets

    def bucket_exists(self) -> bool:
        """See ``CreatesBuckets``. Raises kind ``conflict`` if it is a file."""
        context = self._client.context("list")
        try:
            found = self._client.stat("", context)
        except ContainerMissing:
            return False
        if not found.folder:
            raise StorageError(
                Kind.CONFLICT,
                f"“{self._config.display_name}” is a file.",
                operation="list",
                subject=self._config.display_name,
                remedy="Choose another folder.",
            )
        return True

    def create_bucket(self) -> None:
        """See ``CreatesBuckets``. Creates the folder and its parents."""
        self._create_root(len(self._config.root))

    def _create_root(self, depth: int) -> None:
        context = self._client.context("create bucket")
        path = self._config.path_above(depth)
        answer = self._client.send("MKCOL", path, context, accept=(404, 405, 409) if depth > 1 else (405,))
        if answer.status in (404, 409):
            self._create_root(depth - 1)
            self._client.send("MKCOL", path, context, accept=(405,))

    # Connects

    def address(self) -> tuple[str, int, bool]:
        """See ``Connects``."""
        return (*self._config.address, self._config.tls)

    def authenticate(self) -> None:
        """See ``Connects``. Ignores a missing folder, which is not an authentication error."""
        context = self._client.context("authenticate")
        try:
            self._client.stat("", context, attempts=1, idle=15.0)
        except ContainerMissing:
            return

    # SecuresConnections

    def tls_context(self) -> ssl.SSLContext:
        """See ``SecuresConnections``."""
        return self._client.tls_context()

    # Internals

    def _info_of_response(
        self, key: str, response: StreamingResponse, context: ErrorContext, if_version: str | None
    ) -> ObjectInfo:
        if response.status in REDIRECTS:
            if self._is_folder(key):
                raise NotFound(key)
            raise ERRORS.transport_error("redirect", context)
        headers = response.headers
        length, modified = headers.get("content-length", ""), http_date(headers.get("last-modified", ""))
        etag = headers.get("etag", "")
        if not etag or not length.isdecimal() or self._lists_etags is None:
            # The page of a folder has neither, and some servers list an ETag that they do not send.
            found = self._stat_file(key, "read")
            reported = (int(length) if length.isdecimal() else found.size, modified or found.modified)
            if reported != (found.size, found.modified):
                raise Changed(key)
            length, modified = str(found.size), found.modified
            etag = etag or found.etag
        elif is_encoded(response):
            self._require_as_stored(key, length)
        if not self._lists_etags:
            etag = ""
        resource = Resource(
            path=(),
            folder=False,
            size=int(length),
            modified=modified,
            etag=etag,
            content_type=headers.get("content-type", ""),
        )
        info = _info(key, resource)
        if (
            if_version is not None
            and not same_version(if_version, info.version)
            and if_version != _version_from_stat(resource)
        ):
            raise Changed(key)
        return info

    def _require_as_stored(self, key: str, length: str) -> None:
        """Raise unless the length is that of the stored bytes. Some servers mark “a.gz” as encoded, and
        others compress unasked."""
        size = self._stat(key, "read").size
        if length != str(size):
            raise Damaged(key, f"“{key}” has {size:,} bytes, but the server sent it compressed.")

    def _stat(self, key: str, operation: str) -> ObjectInfo:
        return _info(key, self._stat_file(key, operation))

    def _stat_file(self, key: str, operation: str) -> Resource:
        found = self._client.stat(key, self._client.context(operation, key))
        if found.folder:
            raise NotFound(key, operation=operation)
        self._lists_etags = bool(found.etag)
        require_size(found, self._client.context(operation, key))
        return found

    def _has_changed(self, info: ObjectInfo) -> bool:
        after = _info(info.key, self._stat_file(info.key, "read"))
        current, before = (after.size, after.modified), (info.size, info.modified)
        return current != before and not same_version(after.version, info.version)

    def _is_folder(self, key: str) -> bool:
        try:
            return self._client.stat(key, self._client.context("read", key)).folder
        except StorageError:
            return False


def _info(key: str, resource: Resource) -> ObjectInfo:
    etag = strip_etag(resource.etag)
    kind = resource.content_type.partition(";")[0].strip().lower()
    return ObjectInfo(
        key=key,
        size=resource.size,
        modified=resource.modified,
        etag=etag,
        version=etag or _version_from_stat(resource),
        # nginx reports no content types.
        attributes=Attributes(content_type=kind or guess_content_type(key)),
    )


def _version_from_stat(resource: Resource) -> str:
    return f"@{resource.modified or 0:.0f}-{resource.size}"
