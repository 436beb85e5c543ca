"""Headers and metadata of a stored blob, changed in place.

https://learn.microsoft.com/rest/api/storageservices/set-blob-metadata and set-blob-properties
"""

from __future__ import annotations

from azure.core import MatchConditions
from azure.storage.blob import ContentSettings

from dashboard.errors import InvalidInput
from dashboard.storage.drivers.azure.client import ATTRIBUTES, AzureClient
from dashboard.storage.drivers.azure.config import check_key, encode_metadata, header_value_or_none
from dashboard.storage.drivers.azure.wire import translate_errors
from dashboard.storage.errors import Changed, StorageError
from dashboard.storage.types import Attributes, ObjectInfo


class AzureAttributesMixin:
    """``SetsAttributes`` for a driver that has these parts."""

    _client: AzureClient

    def set_attributes(self, key: str, attributes: Attributes, *, if_version: str | None = None) -> None:
        """See ``SetsAttributes``. Two requests, each only if the blob is still what the one before has left:
        if the second fails, the error says that the first has happened. Repeated, it completes."""
        check_key(key, self._client.config.prefix + key)
        for name in ATTRIBUTES:
            if getattr(attributes, name) and header_value_or_none(attributes, name) is None:
                raise InvalidInput(name, f"Azure cannot store this as {name.replace('_', '-')}.")
        before = self._client.head(key, "attributes")
        if if_version is not None and before.version != if_version:
            raise Changed(key, operation="attributes")
        changed = dict(before.attributes.metadata) != dict(attributes.metadata)
        now = self._set_metadata(before, attributes) if changed else before
        if all(getattr(now.attributes, name) == getattr(attributes, name) for name in ATTRIBUTES):
            return
        try:
            self._set_headers(now, attributes)
        except StorageError as error:
            if not changed:
                raise
            raise StorageError(
                error.kind,
                f"The metadata were changed, but not the headers: {error.reason}",
                operation="attributes",
                subject=key,
                remedy=error.remedy,
            ) from error

    def _set_metadata(self, before: ObjectInfo, attributes: Attributes) -> ObjectInfo:
        key = before.key
        try:
            with translate_errors(self._client.context("attributes", key)):
                self._client.blob(key).set_blob_metadata(
                    encode_metadata(attributes.metadata),
                    etag=f'"{before.etag}"',
                    match_condition=MatchConditions.IfNotModified,
                )
        except Changed:
            # An earlier attempt may have done it, and only its response was lost.
            now = self._client.head(key, "attributes")
            if not _same_content(now, before) or now.attributes.metadata != attributes.metadata:
                raise
            return now
        return self._client.head(key, "attributes")

    def _set_headers(self, before: ObjectInfo, attributes: Attributes) -> None:
        key = before.key
        # What is not named is removed, the MD5 of the content too.
        settings = ContentSettings(
            **{name: header_value_or_none(attributes, name) for name in ATTRIBUTES},
            content_md5=bytearray.fromhex(before.md5) if before.md5 else None,
        )
        try:
            with translate_errors(self._client.context("attributes", key)):
                self._client.blob(key).set_http_headers(
                    settings, etag=f'"{before.etag}"', match_condition=MatchConditions.IfNotModified
                )
        except Changed:
            now = self._client.head(key, "attributes")
            if not _same_content(now, before) or now.attributes != attributes:
                raise


def _same_content(now: ObjectInfo, before: ObjectInfo) -> bool:
    """Whether a change of the attributes alone explains another ETag, as far as Azure says."""
    return now.size == before.size and now.md5 is not None and now.md5 == before.md5
