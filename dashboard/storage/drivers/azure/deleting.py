"""Batch deletion: one request that contains a request for each blob.
https://learn.microsoft.com/rest/api/storageservices/blob-batch"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dashboard.errors import Kind
from dashboard.storage.drivers.azure.client import AzureClient
from dashboard.storage.drivers.azure.config import AzureConfig, check_key
from dashboard.storage.drivers.azure.errors import translate
from dashboard.storage.drivers.common.deleting import delete_in_batches
from dashboard.storage.errors import ContainerMissing, StorageError, Unsupported

BATCH_SIZE = 256
_SAME_FOR_ALL = frozenset({403, 409, 429, 500, 503})


class AzureBatchDeleteMixin:
    """``DeletesMany`` for a driver that has these parts."""

    _config: AzureConfig
    _client: AzureClient

    def delete_many(self, keys: Iterable[str]) -> Mapping[str, StorageError]:
        """See ``DeletesMany``. Deletes 256 blobs with each request. If some of them fail, deletes those 256
        one by one to find out which."""
        return delete_in_batches(
            keys,
            batch_size=BATCH_SIZE,
            check=lambda key: check_key(key, self._config.prefix + key),
            delete_batch=self._delete_batch,
            delete_one=self._client.delete,
        )

    def _delete_batch(self, keys: list[str]) -> dict[str, StorageError]:
        try:
            failures = self._client.delete_batch(keys)
        except ContainerMissing as error:
            # The batch URL itself is missing: not every server supports batches.
            raise self._batch_unsupported_error() from error
        except StorageError as error:
            if error.kind is Kind.DENIED:
                # Only the batch was denied; deleting each blob may be allowed.
                raise self._batch_unsupported_error() from error
            raise
        # Azure promises no order and its SDK discards the numbers, so only an outcome of all keys is usable.
        outcomes = set(failures) if len(failures) == len(keys) else set()
        if outcomes == {None}:
            return {}
        failure = next(iter(outcomes)) if len(outcomes) == 1 else None
        if failure is not None and failure.status in _SAME_FOR_ALL:
            return {key: translate(failure, self._client.context("delete", key)) for key in keys}
        raise self._batch_unsupported_error()

    def _batch_unsupported_error(self) -> Unsupported:
        return Unsupported("delete", f"{self._config.host} does not support batch deletion.")
