"""Writes to Azure: small ones in one request, large ones in blocks. Atomic.

https://learn.microsoft.com/rest/api/storageservices/put-block-list. The service checks the MD5 of each block
as it arrives. A block's name contains that MD5, so the service's list of blocks of the finished blob proves
its content: that is the checksum of a large write. The MD5 of the blob is only what we sent, and proves
nothing.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from dashboard.storage.drivers.azure.client import AzureClient
from dashboard.storage.drivers.common.multipart import (
    ProvenByParts,
    UploadThreads,
    WriteRequest,
    composite_checksum,
    part_size,
)
from dashboard.storage.types import Written

MAX_BLOCKS = 50_000


@dataclass(frozen=True, slots=True)
class Block:
    """An uploaded block: its name, the MD5 of what was sent and the hex MD5 that the service computed."""

    name: str
    sent: bytes
    stored: str | None


class AzureWriting(ProvenByParts[Block]):
    """An open write, see ``Writing``. The service discards uncommitted blocks after a week, or with the next
    write to the key."""

    max_parts = MAX_BLOCKS

    def __init__(self, client: AzureClient, senders: UploadThreads, request: WriteRequest) -> None:
        super().__init__(senders, request, part_size(request.size, MAX_BLOCKS))
        self._client = client
        self._id_prefix = secrets.token_hex(6)
        self._etag = ""

    def _create_upload(self) -> None:
        """Blocks need none."""

    def _send_part(self, number: int, data: memoryview) -> Block:
        md5 = hashlib.md5(data, usedforsecurity=False)
        name = f"{self._id_prefix}{number:05d}{md5.hexdigest()}"
        return Block(name, md5.digest(), self._client.stage(self._key, name, data, md5.digest()))

    def _complete_upload(self, last: memoryview) -> None:
        names = [block.name for block in self._parts]
        md5 = self._md5.digest() if self._md5 is not None else None
        self._etag = self._client.commit(
            self._key, names, md5, self._request.attributes, create_only=self._request.create_only
        )

    def _receipt(self) -> Written:
        committed = self._client.committed(self._key)
        self._check_size(sum(size for _, size in committed))
        stored = [bytes.fromhex(block.stored) for block in self._parts if block.stored]
        same = [name for name, _ in committed] == [block.name for block in self._parts]
        proven = same and len(stored) == len(self._parts)
        return Written(
            key=self._key,
            size=self._size,
            md5=self._md5_hex(),
            etag=self._etag,
            expected_checksum=composite_checksum(block.sent for block in self._parts),
            stored_checksum=composite_checksum(stored) if proven else None,
        )

    def _abort_upload(self) -> None:
        """There is no request for it."""
