"""Encryption with a customer-provided key (SSE-C).

https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html. Servers without
SSE-C silently store objects unencrypted. The others report a wrong key in different ways.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from dashboard.errors import Kind
from dashboard.storage.drivers.s3.client import S3Client
from dashboard.storage.drivers.s3.errors import ErrorContext
from dashboard.storage.drivers.s3.upload import MultipartClient
from dashboard.storage.errors import OtherKey, StorageError

_REFUSED = frozenset({Kind.DENIED, Kind.UNSUPPORTED})


class CustomerKey:
    """Checks of the key of one bucket. Sends no requests if there is none. Thread-safe."""

    def __init__(self, client: S3Client, uploads: MultipartClient) -> None:
        self._client = client
        self._multipart = uploads
        self._used = not client.config.customer_key
        self._trial_lock = threading.Lock()

    def require_encryption(self, context: ErrorContext, full_key: str) -> None:
        """Before the first write: raise ``Unsupported`` unless the server encrypts with the key.

        Tests with one part of an upload that is aborted: never stores an unencrypted object, never
        overwrites one.
        """
        if not self._used:
            with self._trial_lock:
                self._test_upload(context, full_key)

    def diagnose_errors(self, context: ErrorContext, full_key: str) -> AbstractContextManager[None]:
        """Raise ``OtherKey`` instead of an error inside that is due to the key."""
        return self._diagnosed(context, full_key) if self._client.config.customer_key else nullcontext()

    @contextmanager
    def _diagnosed(self, context: ErrorContext, full_key: str) -> Iterator[None]:
        try:
            yield
        except StorageError as error:
            # SeaweedFS reports an internal error if it cannot decrypt the source of a copy.
            suspect = _REFUSED | {Kind.UNREACHABLE} if context.operation == "copy" else _REFUSED
            if error.kind not in suspect:
                raise
            why = self._diagnose(context, full_key)
            if why is None:
                raise
            raise why from error

    def _test_upload(self, context: ErrorContext, full_key: str) -> None:
        if self._used:
            # Another thread tested it meanwhile.
            return
        upload_id = self._multipart.create(context, full_key, None)
        try:
            self._multipart.upload_part(context, full_key, upload_id, 1, memoryview(b"?"))
        finally:
            self._multipart.abort(context, full_key, upload_id)
        self._used = True

    def _diagnose(self, context: ErrorContext, full_key: str) -> OtherKey | None:
        refusal = self._head_error(context, full_key, self._client.config.sse_c_headers())
        if refusal is None or refusal.kind not in _REFUSED:
            # The key is right. The object may be archived, or the error concerns the other end of a copy.
            return None
        without = self._head_error(context, full_key, {})
        if without is None:
            return OtherKey(
                context.key,
                f"“{context.key}” was stored without this backend's own key (SSE-C), which cannot read it.",
                operation=context.operation,
                remedy="Read it through a backend without SSE-C, and migrate from there to here.",
            )
        if without.kind is not Kind.UNSUPPORTED:
            return None
        # Servers refuse a request without a key for an object that was stored with one as malformed.
        return OtherKey(
            context.key,
            f"“{context.key}” is encrypted with another key than this backend's own (SSE-C).",
            operation=context.operation,
            remedy="Set up a backend with the key it was stored with; no other key can decrypt it.",
        )

    def _head_error(
        self, context: ErrorContext, full_key: str, headers: dict[str, str]
    ) -> StorageError | None:
        try:
            self._client.send("HEAD", context, key=full_key, headers=headers)
        except StorageError as error:
            return error
        return None
