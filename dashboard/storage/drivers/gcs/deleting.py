"""Batch deletion: one request that contains a request for each object.
https://cloud.google.com/storage/docs/batch"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from email.message import Message
from email.parser import BytesParser

from dashboard.errors import Kind
from dashboard.storage.drivers.common.deleting import delete_in_batches
from dashboard.storage.drivers.gcs.client import ATTEMPTS, GcsClient, parse_failure
from dashboard.storage.drivers.gcs.config import GcsConfig, check_key
from dashboard.storage.drivers.gcs.errors import ERRORS, ErrorContext, translate
from dashboard.storage.drivers.gcs.objects import Objects
from dashboard.storage.errors import ContainerMissing, NotFound, StorageError, Unsupported
from dashboard.storage.net.http_client import Response
from dashboard.storage.net.retries import retry

BATCH_SIZE = 100
_MAX_RESPONSE_BYTES = 1024 * 1024
_MAX_PARTS = 1000
"""Limits for the response to a batch."""
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])\b")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_CONTENT_ID = re.compile(r"<?response-[0-9a-f]{32}\+([0-9]{1,3})>?\Z")


class GcsBatchDeleteMixin:
    """``DeletesMany`` for a driver that has these parts."""

    _config: GcsConfig
    _client: GcsClient
    _objects: Objects

    def delete_many(self, keys: Iterable[str]) -> Mapping[str, StorageError]:
        """See ``DeletesMany``. Deletes 100 objects with each request."""
        return delete_in_batches(
            keys,
            batch_size=BATCH_SIZE,
            check=lambda key: check_key(key, self._config.prefix + key),
            delete_batch=self._delete_batch,
            delete_one=self._objects.delete,
        )

    def _delete_batch(self, keys: list[str]) -> dict[str, StorageError]:
        context = self._client.context("delete")
        responses = self._parse_batch(retry(lambda: self._send_batch(keys, context), ATTEMPTS), context)
        failed: dict[str, StorageError] = {}
        for number, key in enumerate(keys):
            # Responses come in any order, and some may be missing.
            response = responses.get(number, Response(503, {}, b""))
            if response.status < 300:
                continue
            error = translate(parse_failure(response), self._client.context("delete", key))
            if isinstance(error, ContainerMissing):
                raise error
            if error.kind is Kind.BAD_CREDENTIALS:
                # The token may have been revoked; a single request fetches another one.
                raise _batch_unsupported_error(context) from error
            if not isinstance(error, NotFound):
                failed[key] = error
        return failed

    def _send_batch(self, keys: list[str], context: ErrorContext) -> Response:
        boundary = secrets.token_hex(16)
        parts = [
            f"--{boundary}\r\ncontent-type: application/http\r\ncontent-id: <{boundary}+{number}>\r\n\r\n"
            f"DELETE {self._objects.target(key)} HTTP/1.1\r\n\r\n"
            for number, key in enumerate(keys)
        ]
        body = "\r\n".join([*parts, f"--{boundary}--\r\n"]).encode()
        headers = {"content-type": f"multipart/mixed; boundary={boundary}"}
        try:
            return self._client.request("POST", "/batch/storage/v1", context, headers=headers, body=body)
        except ContainerMissing as error:
            # The batch URL itself is missing: this server supports only the rest of the protocol.
            raise _batch_unsupported_error(context) from error

    def _parse_batch(self, response: Response, context: ErrorContext) -> dict[int, Response]:
        """Split a batch response into responses by the number of the request."""
        head = b"content-type: " + response.headers.get("content-type", "").encode() + b"\r\n\r\n"
        with ERRORS.translate_parse_errors(context):
            if len(response.body) > _MAX_RESPONSE_BYTES or response.body.count(b"\n--") > _MAX_PARTS:
                raise ValueError("too many responses")
            message = BytesParser().parsebytes(head + response.body)
            if not message.is_multipart():
                raise ValueError("not a multipart response")
            parts = (part for part in message.walk() if part.get_content_type() == "application/http")
            return dict(map(_parse_part, parts))


def _parse_part(part: Message) -> tuple[int, Response]:
    number, body = _CONTENT_ID.match(str(part.get("content-id", ""))), part.get_payload(decode=True)
    if number is None or not isinstance(body, bytes):
        raise ValueError("not a response")
    status = _STATUS_LINE.match(body)
    if status is None:
        raise ValueError("no status")
    return int(number[1]), Response(int(status[1]), {}, _BLANK_LINE.split(body, maxsplit=1)[-1])


def _batch_unsupported_error(context: ErrorContext) -> Unsupported:
    return Unsupported("delete", f"{context.host} does not support batch deletion.")
