"""Many blobs deleted with one request, which holds a request for each.
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
        """See ``DeletesMany``: 256 with each request. Where some of them fail, which ones is found out by
        deleting those 256 one after the other."""
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
            # Of the batch's own address, which not every server has.
            raise self._batch_unsupported_error() from error
        except StorageError as error:
            if error.kind is Kind.DENIED:
                # Of the batch; each blob may be another matter.
                raise self._batch_unsupported_error() from error
            raise
        # Azure promises no order and its SDK drops the numbers: what is not true of all is true of nobody.
        outcomes = set(failures) if len(failures) == len(keys) else set()
        if outcomes == {None}:
            return {}
        failure = next(iter(outcomes)) if len(outcomes) == 1 else None
        if failure is not None and failure.status in _SAME_FOR_ALL:
            return {key: translate(failure, self._client.context("delete", key)) for key in keys}
        raise self._batch_unsupported_error()

    def _batch_unsupported_error(self) -> Unsupported:
        return Unsupported("delete", f"{self._config.host} deletes one blob after the other.")
