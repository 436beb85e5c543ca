"""Atomic writes: PUT to a temporary name, then MOVE.

Whether a MOVE over an existing file is atomic depends on the server: file systems rename, but RFC 4918
(section 9.9.4) lets a server delete first. A MOVE is first tried without overwriting, because over a folder
it would delete everything in it.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from functools import partial
from types import TracebackType
from typing import Self

from dashboard.errors import Kind
from dashboard.storage.driver import SMALL
from dashboard.storage.drivers.common.path_errors import wrong_size_error
from dashboard.storage.drivers.common.walking import collect_names
from dashboard.storage.drivers.webdav.client import WebDavClient
from dashboard.storage.drivers.webdav.config import new_temporary
from dashboard.storage.drivers.webdav.errors import (
    ERRORS,
    FILE_EXISTS,
    FOLDER_EXISTS,
    FOLDER_MISSING,
    STORED_UNDER_OTHER_NAME,
    status_error,
)
from dashboard.storage.drivers.webdav.listing import list_folder, require_root, walk
from dashboard.storage.drivers.webdav.name_probe import NameProbe
from dashboard.storage.drivers.webdav.streams import Upload
from dashboard.storage.drivers.webdav.xml import Resource
from dashboard.storage.errors import ContainerMissing, Damaged, Exists, InvalidKey, NotFound, StorageError
from dashboard.storage.net.failures import ErrorContext
from dashboard.storage.net.http_client import Response
from dashboard.storage.paths import key_bytes, key_text
from dashboard.storage.types import Attributes, Written

_MAX_REMEMBERED_FOLDERS = 20_000
_MAX_MKCOL_ATTEMPTS = 3
_MAX_CLOCK_SKEW_SECONDS = 3600.0
"""Seconds by which a new file may appear older than the one it replaces. Beyond that the clocks are wrong."""


class Writer:
    """What the writes of one client share: known folders and probed names. Thread-safe."""

    def __init__(self, client: WebDavClient) -> None:
        self.client = client
        self.name_probe = NameProbe(client)
        self._lock = threading.Lock()
        self._folders: set[str] = set()

    def put(self, key: str, data: bytes, attributes: Attributes | None, *, create_only: bool) -> Written:
        """Write a complete object. Retries once if a known folder no longer exists."""
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        context = self.client.context("write", key)
        known = self.make_folders(key, context)
        try:
            answer = self._put(key, data, attributes, context, create_only)
        except StorageError as error:
            self.raise_unless_folder_missing(error, key, context)
            if not known:
                raise
            self.make_folders(key, context)
            answer = self._put(key, data, attributes, context, create_only)
        return make_receipt(key, len(data), md5, answer)

    def _put(
        self, key: str, data: bytes, attributes: Attributes | None, context: ErrorContext, create_only: bool
    ) -> Response:
        path = self.client.config.path
        headers = self.headers(attributes)
        if self.writes_in_place(key, create_only):
            self._check_may_replace(key, context, create_only)
            return self.client.send("PUT", path(key), context, headers=headers, body=data)
        temporary = new_temporary(key)
        try:
            send = partial(self.client.send, "PUT", path(temporary), context, body=data)
            answer = send(headers=headers)
            self.move(
                temporary,
                key,
                context,
                create_only=create_only,
                resend_at=lambda when: send(headers={**headers, "date": formatdate(when, usegmt=True)}),
            )
        except BaseException:
            self.delete_temporary(temporary)
            raise
        return answer

    def writes_in_place(self, key: str, create_only: bool) -> bool:
        """Whether small content is PUT to its key without a temporary name: if the server stores a PUT
        atomically, or if no MOVE can create such a name. Raises ``InvalidKey``."""
        return not self.name_probe.can_move_to(key) or (self.client.config.is_nextcloud and not create_only)

    def headers(self, attributes: Attributes | None) -> dict[str, str]:
        """Return the headers of a PUT. ``X-Hash``: https://github.com/nextcloud/server/pull/15313."""
        kind = (attributes.content_type if attributes else None) or "application/octet-stream"
        headers = {"content-type": kind} if kind.isascii() and kind.isprintable() else {}
        if self.client.config.is_nextcloud:
            headers["x-hash"] = "md5"
        return headers

    def raise_unless_folder_missing(self, error: StorageError, key: str, context: ErrorContext) -> None:
        """Raise the error of a failed write, or ``ContainerMissing`` if the root is missing. Returns if only
        a folder is missing, after forgetting it."""
        missing = error.kind in (Kind.CONFLICT, Kind.NOT_FOUND)
        if (
            isinstance(error, Exists | ContainerMissing)
            or not missing
            or error.remedy.startswith("Rename the")
        ):
            raise error
        require_root(self.client, "write")
        self._forget_folders(key)
        if error.kind is Kind.NOT_FOUND and "/" not in key:
            raise error

    def move(
        self,
        temporary: str,
        key: str,
        context: ErrorContext,
        *,
        create_only: bool,
        resend_at: Callable[[float], object] | None = None,
    ) -> None:
        """Rename a finished temporary file to its key. ``resend_at`` uploads it again with a given
        modification time, which nginx stores."""
        for _ in range(3):
            if self._move(temporary, key, context, overwrite=False):
                return
            if create_only:
                raise Exists(key)
            try:
                found = self.client.stat(key, context)
            except NotFound:
                continue
            if found.folder:
                self._clear_empty_folder(key, context)
                continue
            if resend_at and (when := self._distinct_mtime(found, temporary, context)):
                resend_at(when)
            if self._move(temporary, key, context, overwrite=True):
                return
        # The MOVE reports an existing file that stat does not find: the server maps the name elsewhere.
        raise ERRORS.from_row(STORED_UNDER_OTHER_NAME, context)

    def _distinct_mtime(self, old: Resource, temporary: str, context: ErrorContext) -> float | None:
        """Return the modification time a file needs to differ from the one it replaces; None if it differs.
        Without ETags, two files of the same size and second do not."""
        if old.etag or old.modified is None:
            return None
        new = self.client.stat(temporary, context)
        same = new.size == old.size and new.modified is not None
        return (
            old.modified + 1
            if same and 0 <= old.modified - (new.modified or 0) < _MAX_CLOCK_SKEW_SECONDS
            else None
        )

    def _move(self, source: str, to: str, context: ErrorContext, *, overwrite: bool) -> bool:
        path = self.client.config.path
        try:
            done = self.client.transfer("MOVE", path(source), path(to), context, overwrite=overwrite)
        except StorageError as error:
            # If a folder has the name, Apache responds with a redirect and nginx with 409.
            if error.retryable or source.endswith("/") or not self._is_folder(to, context):
                raise
            return False
        if done == "replaced" and not overwrite and not source.endswith("/") and self._is_folder(to, context):
            # lighttpd moves the file into the folder of that name.
            self._move_back(to, source, context)
            return False
        return done != "taken"

    def _is_folder(self, key: str, context: ErrorContext) -> bool:
        with suppress(NotFound):
            return self.client.stat(key, context).folder
        return False

    def _move_back(self, folder: str, source: str, context: ErrorContext) -> None:
        path = self.client.config.path
        inside = f"{folder}/{source.rpartition('/')[2]}"
        if self.client.transfer("MOVE", path(inside), path(source), context, overwrite=False) == "taken":
            raise ERRORS.from_row(FOLDER_EXISTS, context)

    def _check_may_replace(self, key: str, context: ErrorContext, create_only: bool) -> None:
        try:
            found = self.client.stat(key, context)
        except NotFound:
            return
        if found.folder:
            self._clear_empty_folder(key, context)
        elif create_only:
            raise Exists(key)

    def _clear_empty_folder(self, key: str, context: ErrorContext) -> None:
        """Remove an empty folder that has the name of a file. Moves it to a temporary name before deleting
        it, so that nothing written into it meanwhile is deleted. Raises kind ``conflict`` if it is not
        empty."""
        if self._is_not_empty(key):
            raise ERRORS.from_row(FOLDER_EXISTS, context)
        backup = new_temporary(key)
        if not self._move(f"{key}/", f"{backup}/", context, overwrite=False):
            raise ERRORS.from_row(FOLDER_EXISTS, context)
        self._forget_folders(f"{key}/")
        if self._is_not_empty(backup):
            self._move(f"{backup}/", f"{key}/", context, overwrite=False)
            raise ERRORS.from_row(FOLDER_EXISTS, context)
        self.client.send("DELETE", self.client.config.path(f"{backup}/"), context, accept=(404,))

    def _is_not_empty(self, folder: str) -> bool:
        return next(walk(self.client, f"{folder}/", "", unchecked=True), None) is not None

    def delete_temporary(self, temporary: str) -> None:
        """Delete a temporary file. Ignores errors: a later sweep finds it."""
        context = self.client.context("delete", temporary)
        with suppress(StorageError):
            self.client.send(
                "DELETE", self.client.config.path(temporary), context, accept=(404,), attempts=2, idle=10.0
            )

    def make_folders(self, key: str, context: ErrorContext) -> bool:
        """Create the folders of a key. Returns whether they were only remembered to exist."""
        folder = key.rpartition("/")[0]
        with self._lock:
            if not folder or folder in self._folders:
                return bool(folder)
        self._create_folder(folder, context)
        return False

    def make_folder(self, folder: str) -> None:
        """Create a folder and its parents. Raises kind ``conflict`` if a file has the name."""
        context = self.client.context("write", folder)
        self._forget_folders(folder)
        self._create_folder(folder, context)
        if not self.client.stat(folder, context).folder:
            self._forget_folders(folder)
            raise ERRORS.from_row(FILE_EXISTS, context)

    def remove_folder(self, folder: str) -> None:
        """Remove a folder and its subfolders, except those that contain files."""
        context = self.client.context("delete", folder)
        try:
            if not self.client.stat(folder, context).folder:
                return
            self._clear_empty_folder(folder, context)
        except NotFound:
            return
        except StorageError as error:
            if error.kind is not Kind.CONFLICT:
                raise
            inside = list_folder(self.client, f"{folder}/", "delete")
            for name in collect_names(key_bytes(each.path[-1]) for each in inside if each.folder):
                self.remove_folder(f"{folder}/{key_text(name)}")

    def _create_folder(self, folder: str, context: ErrorContext) -> None:
        # 405: it already exists, as a folder or as a file.
        if self._mkcol(folder, context, accept=(404, 405, 409)) in (404, 409):
            above = folder.rpartition("/")[0]
            if not above:
                raise ERRORS.from_row(FOLDER_MISSING, context)
            self._create_folder(above, context)
            self._mkcol(folder, context, accept=(405,))
        with self._lock:
            if len(self._folders) >= _MAX_REMEMBERED_FOLDERS:
                self._folders.clear()
            self._folders.add(folder)

    def _mkcol(self, folder: str, context: ErrorContext, *, accept: tuple[int, ...]) -> int:
        """Send MKCOL and return its status. Apache responds with 403 to one of two concurrent requests for
        the same folder, although the folder exists."""
        path = self.client.config.path(f"{folder}/")
        for _ in range(_MAX_MKCOL_ATTEMPTS):
            answer = self.client.send("MKCOL", path, context, accept=(403, *accept))
            if answer.status != 403:
                return answer.status
            with suppress(NotFound):
                self.client.stat(folder, context)
                return 405
        raise status_error(403, context)

    def _forget_folders(self, key: str) -> None:
        top = key.partition("/")[0]
        with self._lock:
            self._folders = {
                folder for folder in self._folders if folder != top and not folder.startswith(f"{top}/")
            }


class WebDavWriting:
    """An open write. Content of up to 8 MiB is buffered and sent in one request; more is streamed."""

    def __init__(
        self, writer: Writer, key: str, size: int | None, attributes: Attributes | None, create_only: bool
    ) -> None:
        self._writer = writer
        self._key = key
        self._expected = size
        self._attributes = attributes
        self._create_only = create_only
        self._context = writer.client.context("write", key)
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._size = 0
        self._buffered: list[bytes] = []
        self._temporary = ""
        self._upload: Upload | None = None

    def write(self, chunk: bytes) -> None:
        """See ``Writing.write``."""
        if not chunk:
            return
        self._size += len(chunk)
        self._md5.update(chunk)
        if self._expected is not None and self._size > self._expected:
            raise wrong_size_error(self._key, self._expected, self._size)
        if self._upload is None and self._size <= SMALL:
            self._buffered.append(bytes(chunk))
            return
        if self._upload is None:
            self._upload = self._start_upload()
            for buffered in self._buffered:
                self._upload.send(buffered)
            self._buffered = []
        self._upload.send(chunk)

    def commit(self) -> Written:
        """See ``Writing.commit``."""
        if self._expected is not None and self._size != self._expected:
            raise wrong_size_error(self._key, self._expected, self._size)
        if self._upload is None:
            data = b"".join(self._buffered)
            return self._writer.put(self._key, data, self._attributes, create_only=self._create_only)
        answer = self._upload.finish()
        self._upload = None
        self._check_size()
        self._writer.move(self._temporary, self._key, self._context, create_only=self._create_only)
        self._temporary = ""
        return make_receipt(self._key, self._size, self._md5.hexdigest(), answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._upload is not None:
            self._upload.abort()
            self._upload = None
        if self._temporary:
            self._writer.delete_temporary(self._temporary)
            self._temporary = ""

    def _start_upload(self) -> Upload:
        writer, key = self._writer, self._key
        if not writer.name_probe.can_move_to(key):
            reason = f"{self._context.host} cannot store a large object named “{key}” atomically."
            raise InvalidKey(key, reason)
        # A remembered folder may no longer exist, and a streamed body cannot be sent twice.
        writer.make_folders(key, self._context)
        self._temporary = new_temporary(key)
        path = writer.client.config.path(self._temporary)
        return writer.client.start_upload(
            path, self._context, writer.headers(self._attributes), self._expected
        )

    def _check_size(self) -> None:
        stored: Resource = self._writer.client.stat(self._temporary, self._context)
        if stored.size != self._size:
            raise Damaged(
                self._key,
                f"“{self._key}” has {stored.size:,} bytes on the server, but {self._size:,} were sent.",
                operation="write",
            )


def make_receipt(key: str, size: int, md5: str, answer: Response) -> Written:
    """Return what is known of a write. Only Nextcloud reports a checksum of what it received."""
    stored = answer.headers.get("x-hash-md5", "").strip().lower() or None
    return Written(key, size, md5, None, expected_checksum=md5, stored_checksum=stored)
