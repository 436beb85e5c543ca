"""Writes that are seen whole or not at all: PUT under a temporary name, then MOVE.

How whole a MOVE over an existing file is, the server decides: file systems rename, but RFC 4918
(section 9.9.4) lets a server delete first. A MOVE is first tried without overwriting, because over a
folder it would delete everything in it.
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
from dashboard.storage.drivers.common.walking import gather
from dashboard.storage.drivers.webdav.client import Client
from dashboard.storage.drivers.webdav.errors import (
    ERRORS,
    FILE_IN_THE_WAY,
    FOLDER_IN_THE_WAY,
    NO_FOLDER,
    OTHER_NAME,
    translate,
)
from dashboard.storage.drivers.webdav.listing import members, require_place, walk
from dashboard.storage.drivers.webdav.names import Names
from dashboard.storage.drivers.webdav.place import new_temporary
from dashboard.storage.drivers.webdav.streams import Upload
from dashboard.storage.drivers.webdav.xml import Resource
from dashboard.storage.errors import ContainerMissing, Damaged, Exists, InvalidKey, NotFound, StorageError
from dashboard.storage.net.failures import Scene
from dashboard.storage.net.server import Answer
from dashboard.storage.paths import key_bytes, key_text
from dashboard.storage.types import Attributes, Written

_REMEMBERED = 20_000
_TRIES = 3
_FUTURE = 3600.0
"""Seconds a new file may be older than the one it replaces before the clocks are not believed."""


class Writer:
    """What the writes of one place share: the folders known to be there, what names do. Thread-safe."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.names = Names(client)
        self._lock = threading.Lock()
        self._folders: set[str] = set()

    def put(self, key: str, data: bytes, attributes: Attributes | None, *, create_only: bool) -> Written:
        """A whole object. Tried once more when a folder that was there has vanished."""
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        scene = self.client.scene("write", key)
        known = self.make_folders(key, scene)
        try:
            answer = self._put(key, data, attributes, scene, create_only)
        except StorageError as error:
            self.explain(error, key, scene)
            if not known:
                raise
            self.make_folders(key, scene)
            answer = self._put(key, data, attributes, scene, create_only)
        return receipt(key, len(data), md5, answer)

    def _put(
        self, key: str, data: bytes, attributes: Attributes | None, scene: Scene, create_only: bool
    ) -> Answer:
        path = self.client.place.path
        headers = self.headers(attributes)
        if self.straight(key, create_only):
            self._may_replace(key, scene, create_only)
            return self.client.send("PUT", path(key), scene, headers=headers, body=data)
        temporary = new_temporary(key)
        try:
            send = partial(self.client.send, "PUT", path(temporary), scene, body=data)
            answer = send(headers=headers)
            self.move(
                temporary,
                key,
                scene,
                create_only=create_only,
                later=lambda when: send(headers={**headers, "date": formatdate(when, usegmt=True)}),
            )
        except BaseException:
            self.drop(temporary)
            raise
        return answer

    def straight(self, key: str, create_only: bool) -> bool:
        """Whether small content goes to its key without a detour: where the server stores a PUT whole
        or not at all, and where no MOVE can lead to such a name. Raises ``InvalidKey``."""
        return not self.names.movable(key) or (self.client.place.nextcloud and not create_only)

    def headers(self, attributes: Attributes | None) -> dict[str, str]:
        """What goes with the bytes. https://github.com/nextcloud/server/pull/15313 for ``X-Hash``."""
        kind = (attributes.content_type if attributes else None) or "application/octet-stream"
        headers = {"content-type": kind} if kind.isascii() and kind.isprintable() else {}
        if self.client.place.nextcloud:
            headers["x-hash"] = "md5"
        return headers

    def explain(self, error: StorageError, key: str, scene: Scene) -> None:
        """After a failed write: raise it, or ``ContainerMissing`` in its stead; return when a folder is
        missing, which is then no longer remembered."""
        missing = error.kind in (Kind.CONFLICT, Kind.NOT_FOUND)
        if (
            isinstance(error, Exists | ContainerMissing)
            or not missing
            or error.remedy.startswith("Rename the")
        ):
            raise error
        require_place(self.client, "write")
        self._forget(key)
        if error.kind is Kind.NOT_FOUND and "/" not in key:
            raise error

    def move(
        self,
        temporary: str,
        key: str,
        scene: Scene,
        *,
        create_only: bool,
        later: Callable[[float], object] | None = None,
    ) -> None:
        """Give the finished bytes their name. ``later`` sends them again as of a time, which nginx keeps."""
        for _ in range(3):
            if self._moved(temporary, key, scene, overwrite=False):
                return
            if create_only:
                raise Exists(key)
            try:
                found = self.client.look(key, scene)
            except NotFound:
                continue
            if found.folder:
                self._clear(key, scene)
                continue
            if later and (when := self._told_apart_at(found, temporary, scene)):
                later(when)
            if self._moved(temporary, key, scene, overwrite=True):
                return
        # The server says there is something, and there is nothing: it looks elsewhere.
        raise ERRORS.of(OTHER_NAME, scene)

    def _told_apart_at(self, old: Resource, temporary: str, scene: Scene) -> float | None:
        """The time a file needs so that it can be told from the one it replaces; None where it can be.
        Without ETags, two of one size and second cannot."""
        if old.etag or old.modified is None:
            return None
        new = self.client.look(temporary, scene)
        same = new.size == old.size and new.modified is not None
        return old.modified + 1 if same and 0 <= old.modified - (new.modified or 0) < _FUTURE else None

    def _moved(self, source: str, to: str, scene: Scene, *, overwrite: bool) -> bool:
        path = self.client.place.path
        try:
            done = self.client.transfer("MOVE", path(source), path(to), scene, overwrite=overwrite)
        except StorageError as error:
            # Apache answers with a redirect, nginx with 409, where a folder has the name.
            if error.retryable or source.endswith("/") or not self._is_folder(to, scene):
                raise
            return False
        if done == "replaced" and not overwrite and not source.endswith("/") and self._is_folder(to, scene):
            # lighttpd moves it into the folder of that name.
            self._bring_back(to, source, scene)
            return False
        return done != "taken"

    def _is_folder(self, key: str, scene: Scene) -> bool:
        with suppress(NotFound):
            return self.client.look(key, scene).folder
        return False

    def _bring_back(self, folder: str, source: str, scene: Scene) -> None:
        path = self.client.place.path
        inside = f"{folder}/{source.rpartition('/')[2]}"
        if self.client.transfer("MOVE", path(inside), path(source), scene, overwrite=False) == "taken":
            raise ERRORS.of(FOLDER_IN_THE_WAY, scene)

    def _may_replace(self, key: str, scene: Scene, create_only: bool) -> None:
        try:
            found = self.client.look(key, scene)
        except NotFound:
            return
        if found.folder:
            self._clear(key, scene)
        elif create_only:
            raise Exists(key)

    def _clear(self, key: str, scene: Scene) -> None:
        """Make way for a file where a folder is, if nothing is in it. It is moved aside before it is
        deleted, so that nothing written into it meanwhile is deleted with it."""
        if self._holds_anything(key):
            raise ERRORS.of(FOLDER_IN_THE_WAY, scene)
        aside = new_temporary(key)
        if not self._moved(f"{key}/", f"{aside}/", scene, overwrite=False):
            raise ERRORS.of(FOLDER_IN_THE_WAY, scene)
        self._forget(f"{key}/")
        if self._holds_anything(aside):
            self._moved(f"{aside}/", f"{key}/", scene, overwrite=False)
            raise ERRORS.of(FOLDER_IN_THE_WAY, scene)
        self.client.send("DELETE", self.client.place.path(f"{aside}/"), scene, accept=(404,))

    def _holds_anything(self, folder: str) -> bool:
        return next(walk(self.client, f"{folder}/", "", anywhere=True), None) is not None

    def drop(self, temporary: str) -> None:
        """Remove an unfinished write, as far as the server lets us."""
        scene = self.client.scene("delete", temporary)
        with suppress(StorageError):
            self.client.send(
                "DELETE", self.client.place.path(temporary), scene, accept=(404,), attempts=2, idle=10.0
            )

    def make_folders(self, key: str, scene: Scene) -> bool:
        """See to it that the folders of a key are there; whether that was only remembered."""
        folder = key.rpartition("/")[0]
        with self._lock:
            if not folder or folder in self._folders:
                return bool(folder)
        self._make(folder, scene)
        return False

    def make_folder(self, folder: str) -> None:
        """Make a folder and those above it. Raises kind ``conflict`` where a file has the name."""
        scene = self.client.scene("write", folder)
        self._forget(folder)
        self._make(folder, scene)
        if not self.client.look(folder, scene).folder:
            self._forget(folder)
            raise ERRORS.of(FILE_IN_THE_WAY, scene)

    def remove_folder(self, folder: str) -> None:
        """Remove a folder and those below it as far as nothing is in them."""
        scene = self.client.scene("delete", folder)
        try:
            if not self.client.look(folder, scene).folder:
                return
            self._clear(folder, scene)
        except NotFound:
            return
        except StorageError as error:
            if error.kind is not Kind.CONFLICT:
                raise
            inside = members(self.client, f"{folder}/", "delete")
            for name in gather(key_bytes(each.path[-1]) for each in inside if each.folder):
                self.remove_folder(f"{folder}/{key_text(name)}")

    def _make(self, folder: str, scene: Scene) -> None:
        # 405: it is there already, as a folder or as a file.
        if self._ask_for(folder, scene, accept=(404, 405, 409)) in (404, 409):
            above = folder.rpartition("/")[0]
            if not above:
                raise ERRORS.of(NO_FOLDER, scene)
            self._make(above, scene)
            self._ask_for(folder, scene, accept=(405,))
        with self._lock:
            if len(self._folders) >= _REMEMBERED:
                self._folders.clear()
            self._folders.add(folder)

    def _ask_for(self, folder: str, scene: Scene, *, accept: tuple[int, ...]) -> int:
        """MKCOL; its status. Apache answers 403 to one of two that make the same folder at once, which is no
        refusal: the folder is there."""
        path = self.client.place.path(f"{folder}/")
        for _ in range(_TRIES):
            answer = self.client.send("MKCOL", path, scene, accept=(403, *accept))
            if answer.status != 403:
                return answer.status
            with suppress(NotFound):
                self.client.look(folder, scene)
                return 405
        raise translate(403, scene)

    def _forget(self, key: str) -> None:
        top = key.partition("/")[0]
        with self._lock:
            self._folders = {each for each in self._folders if each != top and not each.startswith(f"{top}/")}


class WebDAVWriting:
    """An open write. Up to 8 MiB are kept and sent in one request, more are streamed."""

    def __init__(
        self, writer: Writer, key: str, size: int | None, attributes: Attributes | None, create_only: bool
    ) -> None:
        self._writer = writer
        self._key = key
        self._expected = size
        self._attributes = attributes
        self._create_only = create_only
        self._scene = writer.client.scene("write", key)
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._size = 0
        self._kept: list[bytes] = []
        self._temporary = ""
        self._upload: Upload | None = None

    def write(self, chunk: bytes) -> None:
        """See ``Writing.write``."""
        if not chunk:
            return
        self._size += len(chunk)
        self._md5.update(chunk)
        if self._expected is not None and self._size > self._expected:
            raise self._wrong_size()
        if self._upload is None and self._size <= SMALL:
            self._kept.append(bytes(chunk))
            return
        if self._upload is None:
            self._upload = self._begin()
            for kept in self._kept:
                self._upload.send(kept)
            self._kept = []
        self._upload.send(chunk)

    def commit(self) -> Written:
        """See ``Writing.commit``."""
        if self._expected is not None and self._size != self._expected:
            raise self._wrong_size()
        if self._upload is None:
            data = b"".join(self._kept)
            return self._writer.put(self._key, data, self._attributes, create_only=self._create_only)
        answer = self._upload.finish()
        self._upload = None
        self._check_size()
        self._writer.move(self._temporary, self._key, self._scene, create_only=self._create_only)
        self._temporary = ""
        return receipt(self._key, self._size, self._md5.hexdigest(), answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._upload is not None:
            self._upload.break_off()
            self._upload = None
        if self._temporary:
            self._writer.drop(self._temporary)
            self._temporary = ""

    def _begin(self) -> Upload:
        writer, key = self._writer, self._key
        if not writer.names.movable(key):
            reason = f"{self._scene.host} cannot be given a large object named “{key}” as a whole."
            raise InvalidKey(key, reason)
        # The folder may have gone since it was made; a stream cannot be sent twice to find out.
        writer.make_folders(key, self._scene)
        self._temporary = new_temporary(key)
        path = writer.client.place.path(self._temporary)
        return writer.client.upload(path, self._scene, writer.headers(self._attributes), self._expected)

    def _check_size(self) -> None:
        stored: Resource = self._writer.client.look(self._temporary, self._scene)
        if stored.size != self._size:
            raise Damaged(
                self._key,
                f"“{self._key}” has {stored.size:,} bytes on the server, but {self._size:,} were sent.",
                operation="write",
            )

    def _wrong_size(self) -> StorageError:
        return Damaged(
            self._key,
            f"“{self._key}” was to have {self._expected:,} bytes, but {self._size:,} came.",
            operation="write",
        )


def receipt(key: str, size: int, md5: str, answer: Answer) -> Written:
    """What is known of a write. Only Nextcloud says what it received."""
    stored = answer.headers.get("x-hash-md5", "").strip().lower() or None
    return Written(key, size, md5, None, expected_checksum=md5, stored_checksum=stored)
