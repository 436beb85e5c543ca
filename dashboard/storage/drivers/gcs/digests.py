"""The checksums that Google Cloud Storage keeps of objects. Only this file uses google-crc32c."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

import google_crc32c

from dashboard.storage.drivers.common.reading import CheckedReading
from dashboard.storage.errors import Damaged
from dashboard.storage.net.http_client import ResponseBody
from dashboard.storage.types import ObjectInfo


class Crc32c:
    """A running CRC-32C (RFC 3720, appendix B.4). Used by one thread."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview) -> None:
        """Add bytes."""
        self._value = google_crc32c.extend(self._value, bytes(data))

    def text(self) -> str:
        """Google's form: four bytes, big-endian, in base64."""
        return base64.b64encode(self._value.to_bytes(4, "big")).decode()


def md5_text(digest: bytes) -> str:
    """Google's form of an MD5."""
    return base64.b64encode(digest).decode()


def md5_hex(text: str) -> str | None:
    """Convert Google's MD5 to hex; None if there is none."""
    try:
        return base64.b64decode(text, validate=True).hex() or None
    except binascii.Error:
        return None


class GcsReading(CheckedReading):
    """An open read of one generation. Compares the content with Google's ``crc32c`` at the end."""

    def __init__(self, info: ObjectInfo, crc32c: str | None, body: ResponseBody | None) -> None:
        chunks = body.chunks() if body is not None else iter(())
        super().__init__(info, chunks, body.close if body is not None else None)
        self._crc32c = crc32c

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading.chunks``."""
        crc = Crc32c()
        for chunk in super().chunks():
            crc.update(chunk)
            yield chunk
        if crc.text() != self._crc32c:
            key = self.info.key
            raise Damaged(key, f"“{key}” was damaged in transit: its checksum differs.")
