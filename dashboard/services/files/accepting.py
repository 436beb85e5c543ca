"""Uploads as a library: a program hands over a file that it has received, and gets it checked and stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Self

from dashboard.errors import Kind, StowageError
from dashboard.media.policy import UploadPolicy
from dashboard.services.catalogue.catalogue import Catalogue
from dashboard.services.files.receiving.new_uploads import NewUpload
from dashboard.services.files.receiving.quarantine import CHUNK_BYTES
from dashboard.services.files.receiving.upload_handler import UploadHandler, UploadRefused
from dashboard.services.files.receiving.upload_rows import UploadInfo, UploadState
from dashboard.services.files.uploads import Uploads
from dashboard.services.permissions import Actor, Role

__all__ = ["AcceptedFile", "UploadDoor", "UploadHandler", "UploadRefused"]


@dataclass(frozen=True, slots=True)
class AcceptedFile:
    """A stored file. ``id``: in the catalogue. ``size`` in bytes, ``width`` and ``height`` in pixels."""

    id: int
    backend: str
    key: str
    size: int
    sha256: str
    content_type: str
    width: int | None
    height: int | None


class UploadDoor:
    """What :func:`dashboard.app.open_uploads` returns. Thread-safe. Close it when done; it can be a context
    manager."""

    def __init__(self, uploads: Uploads, catalogue: Catalogue, close: Callable[[], None]) -> None:
        self._uploads = uploads
        self._catalogue = catalogue
        self._close = close

    def accept(
        self,
        name: str,
        stream: BinaryIO | Iterable[bytes],
        *,
        policy: str | UploadPolicy = "",
        backend: str = "",
        folder: str = "",
        owner: str = "program",
        handler: UploadHandler | None = None,
    ) -> AcceptedFile:
        """Check a file by a policy and store it; return where it is. Blocks until then.

        ``name``: the client's name for it, which is made safe. ``stream``: an open binary file, read from
        where it is to its end, or chunks. ``policy``: a name or a value, by default the default policy.
        ``backend``: a name, by default the active one. ``owner``: whose quota it counts towards.
        ``handler``: checks, names and processing of your own.

        Raises ``StowageError`` with a sentence for the user, and stores nothing then: kinds ``over_limit``,
        ``wrong_type``, ``refused``, ``conflict`` (the name is taken) and ``full``, or what the backend
        raised. A program that is killed while it waits may find the file stored; never half of it, nor one
        that was not checked.
        """
        actor = Actor(owner[:64], Role.OPERATOR, "library")
        rules, named = (None, policy) if isinstance(policy, str) else (policy, "")
        new = NewUpload(name, None, backend=backend, folder=folder, policy=named, method="library")
        upload = self._uploads.receive(actor, new, _chunks(stream), rules=rules)
        try:
            ended = self._uploads.process(upload.id, handler or UploadHandler(), rules=rules)
        except BaseException:
            self._discard(actor, upload)
            raise
        if ended is None or ended.state is not UploadState.DONE or ended.file_id is None:
            self._discard(actor, upload)
            raise (ended.error if ended is not None and ended.error else _unfinished_error())
        file = self._catalogue.get(ended.file_id)
        return AcceptedFile(
            id=file.id,
            backend=file.backend,
            key=file.key,
            size=file.size,
            sha256=file.sha256,
            content_type=file.content_type,
            width=file.width,
            height=file.height,
        )

    def close(self) -> None:
        """Free connections. Idempotent."""
        self._close()

    def _discard(self, actor: Actor, upload: UploadInfo) -> None:
        """Leave nothing; what cannot be removed now, the sweep removes."""
        now = self._uploads.get(actor, upload.id)
        if now.state.final:
            self._uploads.terminate(actor, upload.id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _chunks(stream: BinaryIO | Iterable[bytes]) -> Iterator[bytes]:
    read = getattr(stream, "read", None)
    if read is None:
        yield from stream
        return
    while chunk := read(CHUNK_BYTES):
        yield chunk


def _unfinished_error() -> StowageError:
    return StowageError(
        Kind.INTERNAL,
        "The file could not be stored.",
        operation="upload",
        remedy="Send it again; the log of the console may have details.",
    )
