"""Thumbnails of stored files, as plans: found in the store of derivatives, or made on demand from any
copy."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import BinaryIO

from dashboard.errors import Kind, StowageError
from dashboard.media.derivatives import DerivativeStore, Thumbnail
from dashboard.media.kinds import FileKind
from dashboard.media.recipes import parse_recipe
from dashboard.media.sandbox import MediaError, SandboxError
from dashboard.services.backends.backends import Backends
from dashboard.services.catalogue.catalogue import Catalogue, File, FileFacts
from dashboard.services.files.conditions import Conditions, EntityTag, Outcome, decide
from dashboard.services.files.copies import OpenFile
from dashboard.services.files.file_details import CatalogueRow
from dashboard.services.files.serving import Plan, Representation, Serving
from dashboard.services.files.turns import THUMBNAILS, Turns
from dashboard.storage.errors import StorageError
from dashboard.storage.types import Attributes, ObjectInfo

MAX_SOURCE_BYTES = 512 << 20
MAX_READ_BYTES = 32 << 20
"""Of a video or document that a page may show a picture of, although the whole file has to be read for it."""
_CHUNK_BYTES = 1 << 20


class _OpenThumbnail:
    """An open file of the store, which nobody changes. See ``HasFile``."""

    def __init__(self, found: Thumbnail) -> None:
        self.info = ObjectInfo(found.path.name, found.size)
        self._file = found.path.open("rb")

    def fileno(self) -> int:
        """See ``HasFile``."""
        return self._file.fileno()

    def check_unchanged(self) -> None:
        """See ``HasFile``. A thumbnail may be removed while it is sent, but never changes."""

    def __exit__(self, *_: object) -> None:
        self._file.close()


class Thumbnails:
    """Thread-safe."""

    def __init__(
        self, serving: Serving, store: DerivativeStore, catalogue: Catalogue, backends: Backends
    ) -> None:
        self._serving = serving
        self._catalogue = catalogue
        self._backends = backends
        self._store = store
        self._turns = Turns(THUMBNAILS)

    def plan(
        self, file_id: int, name: str, conditions: Conditions, *, gone: Callable[[], bool] = lambda: False
    ) -> Plan:
        """Decide how to respond with a thumbnail. ``name``: of a recipe, or a size; see ``parse_recipe``.
        ``gone``: whether nobody waits for it any more.

        Makes it if necessary, which takes a second, after those that are being made. Raises ``InvalidInput``
        for an unknown name, ``NOT_FOUND``, ``UNSUPPORTED`` if the file is none of which there are thumbnails,
        ``THROTTLED``, and what ``Serving.plan`` raises.
        """
        recipe = parse_recipe(name, field="name")
        known = self._catalogue.get(file_id)
        sha256, key = self._serving.digest_of(file_id)
        found = self._store.find(sha256, recipe) if sha256 else None
        if found is None:
            with self._turns.turn(gone=gone), self._source(file_id) as (content, computed):
                if sha256 and sha256 != computed:
                    raise StowageError(
                        Kind.CONFLICT,
                        "The file is no longer what the catalogue says it is.",
                        operation="thumbnail",
                        remedy="Count its backend again.",
                    )
                found = self._make(computed, recipe.name, content, key)
            if not sha256:
                self._remember(known, computed)
        return self._plan(found, key, conditions)

    def offers(self, kind: FileKind, known: File | CatalogueRow, name: str) -> bool:
        """Whether a page that shows many files shows this thumbnail: of images, and with their extras of
        videos and PDFs that are small, or whose thumbnail was made before."""
        if kind is FileKind.IMAGE:
            return 0 < known.size <= MAX_SOURCE_BYTES
        needed = {FileKind.VIDEO: "av", FileKind.DOCUMENT: "pypdfium2"}.get(kind, "")
        if not needed or not known.size or not _is_installed(needed):
            return False
        if known.size <= MAX_READ_BYTES:
            return True
        return bool(known.sha256) and self._store.find(known.sha256, parse_recipe(name)) is not None

    def _remember(self, known: File, sha256: str) -> None:
        """Record the checksum of what was read, so that the next thumbnail needs no download: only if the
        object is still what its row said before it was read."""
        try:
            now = self._backends.driver(known.backend).stat(known.key)
        except StorageError:
            return
        if (now.size, now.modified, now.etag or "") == (known.size, known.modified, known.etag):
            facts = FileFacts(known.backend_id, known.key, known.size, sha256=sha256)
            self._catalogue.describe(known, facts)

    def _make(self, sha256: str, recipe: str, content: BinaryIO, key: str) -> Thumbnail:
        @contextmanager
        def open_source() -> Iterator[BinaryIO]:
            content.seek(0)
            yield content

        try:
            return self._store.thumbnail(sha256, parse_recipe(recipe), open_source, name=key)
        except (MediaError, SandboxError) as error:
            reason = error.reason
            if isinstance(error, SandboxError):
                reason = "Thumbnails cannot be made on this machine."
            raise StowageError(
                Kind.UNSUPPORTED, reason, operation="thumbnail", remedy=error.remedy
            ) from error

    @contextmanager
    def _source(self, file_id: int) -> Iterator[tuple[BinaryIO, str]]:
        """The complete file in a temporary one, and its SHA-256."""
        plan = self._serving.plan_by_id(file_id, Conditions())
        try:
            if plan.file.size > MAX_SOURCE_BYTES:
                raise StowageError(
                    Kind.UNSUPPORTED,
                    "The file is too large for a thumbnail.",
                    operation="thumbnail",
                )
            digest = hashlib.sha256()
            with tempfile.TemporaryFile() as copy:
                for chunk in _chunks(plan):
                    digest.update(chunk)
                    copy.write(chunk)
                yield copy, digest.hexdigest()
        finally:
            plan.close()

    def _plan(self, found: Thumbnail, key: str, conditions: Conditions) -> Plan:
        try:
            opened = _OpenThumbnail(found)
        except OSError as error:
            raise StowageError(
                Kind.CONFLICT,
                "The thumbnail was removed a moment ago.",
                operation="thumbnail",
                remedy="Try again.",
                retryable=True,
            ) from error
        tag = EntityTag(found.etag.strip('"'))
        decision = decide(conditions, tag, None, found.size)
        file = Representation(
            key=f"{key}.{found.path.suffix.lstrip('.')}",
            backend="",
            fallback=False,
            size=found.size,
            tag=tag,
            modified=None,
            attributes=Attributes(content_type=found.content_type),
        )
        if decision.outcome in (Outcome.COMPLETE, Outcome.PART) and conditions.method != "HEAD":
            return Plan(decision, file, OpenFile(opened, decision.start, decision.length))
        opened.__exit__()
        return Plan(decision, file)


@cache
def _is_installed(module: str) -> bool:
    """Whether a decoder of an extra is there; only the sandbox loads it."""
    return importlib.util.find_spec(module) is not None


def _chunks(plan: Plan) -> Iterator[bytes]:
    """The content of a plan for a whole file."""
    body = plan.body
    if isinstance(body, OpenFile):
        position = body.start
        while chunk := os.pread(body.reading.fileno(), _CHUNK_BYTES, position):
            position += len(chunk)
            yield chunk
        body.reading.check_unchanged()
    elif body is not None:
        while chunk := body.read(_CHUNK_BYTES):
            yield chunk
