"""Signed URLs, index tags and access tiers of blobs."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from dashboard.errors import InvalidInput
from dashboard.storage.drivers.azure.client import AzureClient
from dashboard.storage.drivers.azure.config import check_key
from dashboard.storage.errors import Unsupported
from dashboard.storage.object_powers import SignedUpload
from dashboard.storage.paths import guess_content_type

MAX_SECONDS = 7 * 24 * 3600
TIERS = ("Hot", "Cool", "Cold", "Archive")
"""https://learn.microsoft.com/azure/storage/blobs/access-tiers-overview"""
_TAG = re.compile(r"[A-Za-z0-9 +./:=_-]*")
_MAX_TAGS, _MAX_NAME_CHARACTERS, _MAX_VALUE_CHARACTERS = 10, 128, 256


class AzureLinksAndTagsMixin:
    """``Links``, ``SignsUploads``, ``HoldsTags`` and ``HasTiers`` for a driver that has these parts."""

    _client: AzureClient

    def url(self, key: str) -> str:
        """See ``Links``. Works only if the container is public."""
        return self._client.blob_url(self._check_key(key))

    def temporary_url(self, key: str, *, seconds: int) -> str:
        """See ``Links``. The URL can read this blob and nothing else, for at most seven days. Raises
        ``Unsupported`` if signed in with a SAS token."""
        return self._client.sas_url(self._check_key(key), "r", min(max(seconds, 1), MAX_SECONDS))

    def upload_url(
        self, key: str, *, seconds: int, content_type: str = "", size: int | None = None
    ) -> SignedUpload:
        """See ``SignsUploads``. Azure signs no headers: it accepts any type and length."""
        lifetime = min(max(seconds, 1), MAX_SECONDS)
        url = self._client.sas_url(self._check_key(key), "cw", lifetime)
        headers = {
            "x-ms-blob-type": "BlockBlob",
            "content-type": content_type or guess_content_type(key) or "",
        }
        return SignedUpload("PUT", url, {k: v for k, v in headers.items() if v}, time.time() + lifetime)

    def tags(self, key: str) -> Mapping[str, str]:
        """See ``HoldsTags``."""
        return self._client.tags(self._check_key(key))

    def set_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """See ``HoldsTags``. At most ten, in Latin letters, digits and some punctuation."""
        if len(tags) > _MAX_TAGS:
            raise InvalidInput("tags", f"A blob can have at most {_MAX_TAGS} tags.")
        for name, value in tags.items():
            if not name or len(name) > _MAX_NAME_CHARACTERS or len(value) > _MAX_VALUE_CHARACTERS:
                raise InvalidInput(
                    "tags",
                    f"The name of a tag has 1 to {_MAX_NAME_CHARACTERS} characters, its value at most "
                    f"{_MAX_VALUE_CHARACTERS}.",
                )
            if not _TAG.fullmatch(name + value):
                raise InvalidInput(
                    "tags", f"The tag “{name}” may only contain letters, digits, spaces and + - . / : = _."
                )
        self._client.set_tags(self._check_key(key), tags)

    def tier(self, key: str) -> str:
        """See ``HasTiers``."""
        tier = self._client.tier(self._check_key(key))
        if not tier:
            raise Unsupported("tier", "This account has no access tiers.")
        return tier

    def set_tier(self, key: str, tier: str) -> None:
        """See ``HasTiers``. An archived blob cannot be read until hours after it moves to another tier."""
        if tier not in TIERS:
            raise Unsupported("tier", f"“{tier}” is not an access tier of Azure.")
        self._client.set_tier(self._check_key(key), tier)

    def _check_key(self, key: str) -> str:
        check_key(key, self._client.config.prefix + key)
        return key
