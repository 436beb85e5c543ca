"""Uploads that a browser sends to a bucket by itself, in one request or in parts."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from dashboard.storage.drivers.s3 import listing
from dashboard.storage.drivers.s3.client import S3Client
from dashboard.storage.drivers.s3.config import S3Config
from dashboard.storage.drivers.s3.key_rules import is_path_safe
from dashboard.storage.drivers.s3.upload import MAX_PARTS, MultipartClient, Part
from dashboard.storage.errors import Unsupported
from dashboard.storage.object_powers import SentPart, SignedUpload
from dashboard.storage.types import EMPTY, Attributes


class S3SignedUploadsMixin:
    """``SignsUploads`` and ``SignsParts`` for a driver that has these parts."""

    _config: S3Config
    _client: S3Client
    _multipart: MultipartClient

    def check_key(self, key: str) -> None:
        """See ``Driver``."""
        raise NotImplementedError

    def _before_upload(self, key: str) -> None:
        raise NotImplementedError

    def _commit_guard(self, key: str, create_only: bool) -> AbstractContextManager[bool]:
        raise NotImplementedError

    def upload_url(
        self, key: str, *, seconds: int, content_type: str = "", size: int | None = None
    ) -> SignedUpload:
        """See ``SignsUploads``: valid for at most seven days, with the storage class and encryption of this
        backend. ``Unsupported`` with SSE-C, as browsers must not have the key."""
        self._check_signable(key)
        headers = self._config.write_headers()
        if content_type:
            headers["content-type"] = content_type
        if size is not None:
            headers["content-length"] = str(size)
        return self._signed_put(key, seconds, headers)

    def begin_parts(self, key: str, *, attributes: Attributes | None = None) -> str:
        """See ``SignsParts``. ``Unsupported`` with SSE-C.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html"""
        self._check_signable(key)
        self._before_upload(key)
        context = self._client.context("write", key)
        return self._multipart.create(context, self._config.prefix + key, attributes)

    def part_url(
        self, key: str, upload_id: str, number: int, *, seconds: int, size: int | None = None
    ) -> SignedUpload:
        """See ``SignsParts``. Each part but the last has at least 5 MiB, an upload at most 10,000 parts.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html"""
        self._check_signable(key)
        if not 1 <= number <= MAX_PARTS:
            raise Unsupported("upload url", f"An upload has at most {MAX_PARTS:,} parts.")
        query = {"partNumber": str(number), "uploadId": upload_id}
        headers = {"content-length": str(size)} if size is not None else EMPTY
        return self._signed_put(key, seconds, headers, query)

    def sent_parts(self, key: str, upload_id: str) -> tuple[SentPart, ...]:
        """See ``SignsParts``.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html"""
        self.check_key(key)
        context = self._client.context("list parts", key)
        return tuple(listing.uploaded_parts(self._client, context, self._config.prefix + key, upload_id))

    def finish_parts(
        self, key: str, upload_id: str, parts: Sequence[tuple[int, str]], *, create_only: bool = False
    ) -> str | None:
        """See ``SignsParts``.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html"""
        self.check_key(key)
        context = self._client.context("write", key)
        listed = [Part(number, etag.strip('"'), b"") for number, etag in parts]
        with self._commit_guard(key, create_only) as if_absent:
            return self._multipart.complete(
                context, self._config.prefix + key, upload_id, listed, if_absent=if_absent
            )

    def abort_parts(self, key: str, upload_id: str) -> None:
        """See ``SignsParts``."""
        self.check_key(key)
        self._multipart.abort(self._client.context("write", key), self._config.prefix + key, upload_id)

    def _check_signable(self, key: str) -> None:
        refuse_with_sse_c(self._config, "upload url")
        self.check_key(key)
        if not is_path_safe(self._config.prefix + key):
            raise Unsupported("upload url", f"A browser would change the key “{key}”.")

    def _signed_put(
        self, key: str, seconds: int, headers: Mapping[str, str], query: Mapping[str, str] = EMPTY
    ) -> SignedUpload:
        good_for = self._client.link_seconds(seconds)
        full_key = self._config.prefix + key
        url = self._client.presign(full_key, good_for, method="PUT", headers=headers, query=query)
        return SignedUpload("PUT", url, headers, time.time() + good_for)


def refuse_with_sse_c(config: S3Config, operation: str) -> None:
    """Raise ``Unsupported`` if objects here are encrypted with a key that browsers must not have."""
    if config.customer_key:
        raise Unsupported(
            operation,
            "Objects here can be read only with your own key (SSE-C), which browsers must not have.",
        )
