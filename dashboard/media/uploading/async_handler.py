"""Uploads in a program of one's own, awaited: checked, stored on a backend, with thumbnails.

The work is done in threads, so an event loop is never blocked. Nothing needs a console; where there is one,
``dashboard.app.open_uploads`` also keeps quotas and the catalogue.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from dashboard.media.file_validator import FileRefused
from dashboard.media.pipeline import FileFacts, Pipeline
from dashboard.media.policy import Refusal
from dashboard.media.sandbox import shared_sandbox
from dashboard.media.scan import Scanner
from dashboard.media.uploading.upload_config import UploadConfig
from dashboard.storage import Attributes, Backend, Storage
from dashboard.storage.errors import Unsupported
from dashboard.storage.library.contents import put_unique, received_content, received_name
from dashboard.storage.naming import UniqueNames

_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class UploadResult:
    """A stored file. ``file_path``: its key. ``url``: None if the backend has neither permanent nor signed
    URLs. ``thumbnails``: name of the size to key. ``metadata``: size, checksum, content type, and what the
    content says about itself, such as ``width``."""

    file_path: str
    url: str | None
    thumbnails: Mapping[str, str]
    metadata: Mapping[str, Any]


class UploadHandler:
    """Checks and stores one upload after the other; subclass it to change a step. Thread-safe.

    ``storage`` has the backend that ``config.disk`` names; without it the class ``Storage`` itself is used.
    ``scanner`` is required by ``virus_scan``: every file is refused without one.
    """

    def __init__(
        self,
        config: UploadConfig | None = None,
        *,
        storage: Storage | None = None,
        scanner: Scanner | None = None,
    ) -> None:
        self.config = config or UploadConfig()
        self._storage = storage
        self._scanner = scanner
        self._names = UniqueNames(self.config.upload_path, dated=self.config.organize_by_date)

    @property
    def backend(self) -> Backend:
        """Where files are stored."""
        storage: Any = self._storage or Storage
        return cast(Backend, storage.backend(self.config.disk))

    async def process_file(self, file: object) -> UploadResult:
        """Check a file, store it under a unique name, and return where it is. ``file``: what a web framework
        has received, or an open binary file with a name. Raises :class:`FileRefused`, and ``StorageError``
        if it cannot be stored; nothing is stored then. After a cancellation it may have been stored."""
        facts = await self.validate_file_content(file)
        key = await self.store_with_hash(file, facts)
        thumbnails = await self.store_thumbnails(facts)
        url = await self.generate_url(key)
        return UploadResult(key, url, thumbnails, self.extract_metadata(facts))

    async def validate_file_content(self, file: object) -> FileFacts:
        """Compare name, content and configuration, scan, and decode images in a sandbox. Raises
        :class:`FileRefused`."""
        return await asyncio.to_thread(self._inspect, file)

    async def store_with_hash(self, file: object, facts: FileFacts) -> str:
        """Store the file under a unique name; returns its key. Its SHA-256 is stored as metadata where the
        backend keeps some."""
        attributes = Attributes(content_type=facts.content_type, metadata={"sha256": facts.sha256})
        key, content = self._names.key_for(_name_of(file)), received_content(file)
        content.seek(0)
        await asyncio.to_thread(put_unique, self.backend, key, content, attributes)
        return key

    async def store_thumbnails(self, facts: FileFacts) -> Mapping[str, str]:
        """Store the images that were derived, named by the SHA-256 of the file; returns their keys.
        Idempotent: the same file has the same thumbnails."""
        keys = {}
        for derived in facts.derived:
            folder = "/".join(part for part in (self.config.upload_path.strip("/"), "thumbnails") if part)
            key = f"{folder}/{facts.sha256}/{derived.recipe.key}.{derived.format}"
            attributes = Attributes(content_type=derived.content_type)
            await asyncio.to_thread(self.backend.put, key, derived.data, attributes=attributes)
            keys[derived.recipe.name] = key
        return keys

    async def generate_url(self, key: str) -> str | None:
        """Return the permanent URL, or else one that expires in an hour, or None."""
        for make in (self.backend.url, self.backend.temporary_url):
            try:
                return await asyncio.to_thread(make, key)
            except Unsupported:
                continue
        return None

    async def apply_watermark(
        self, key: str, watermark: str, *, position: str = "bottom-right", opacity: float = 0.7
    ) -> None:
        """Put an image of the backend over a stored one, which it replaces. Raises ``NotFound``, and
        ``StowageError`` for what is no image."""
        from dashboard.media.image_processor import ImageProcessor

        processor = ImageProcessor(self.backend)
        await processor.add_watermark(key, watermark, position, opacity, destination=key)

    def extract_metadata(self, facts: FileFacts) -> Mapping[str, Any]:
        """Return what is known about the file."""
        known = {
            "size": facts.size,
            "sha256": facts.sha256,
            "content_type": facts.content_type,
            "width": facts.width,
            "height": facts.height,
            "duration": facts.duration,
            "pages": facts.pages,
            "taken_at": facts.taken_at,
        }
        return {name: value for name, value in known.items() if value is not None} | dict(facts.details)

    def _inspect(self, file: object) -> FileFacts:
        policy = self.config.policy()
        content = received_content(file)
        pipeline = Pipeline(shared_sandbox(), self._scanner)
        with tempfile.TemporaryFile() as copy:
            # No further than one byte past the limit: nobody fills the disk.
            while copy.tell() <= policy.max_size and (chunk := content.read(_CHUNK)):
                copy.write(chunk)
            found = pipeline.inspect(cast(BinaryIO, copy), _name_of(file), policy)
        content.seek(0)
        if isinstance(found, Refusal):
            raise FileRefused(found)
        return found


def _name_of(file: object) -> str:
    """The client's name of a received file, without folders."""
    return received_name(file).replace("\\", "/").rpartition("/")[2] or "file"
