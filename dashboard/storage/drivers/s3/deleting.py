"""Deletion of many objects with one request.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from xml.etree import ElementTree

from dashboard.storage.drivers.common.deleting import delete_in_batches
from dashboard.storage.drivers.s3.client import S3Client, content_md5_header, parse_document
from dashboard.storage.drivers.s3.config import S3Config
from dashboard.storage.drivers.s3.errors import ERRORS, RequestFailure, translate
from dashboard.storage.drivers.s3.key_rules import check_key
from dashboard.storage.drivers.s3.objects import Objects
from dashboard.storage.errors import StorageError

BATCH_SIZE = 1000
_STATUS = {"AccessDenied": 403, "InternalError": 500, "ServiceUnavailable": 503, "SlowDown": 503}


class S3BatchDeleteMixin:
    """``DeletesMany`` for the driver."""

    _config: S3Config
    _client: S3Client
    _objects: Objects

    def delete_many(self, keys: Iterable[str]) -> Mapping[str, StorageError]:
        """See ``DeletesMany``: up to 1,000 objects with each request."""
        return delete_in_batches(
            keys,
            batch_size=BATCH_SIZE,
            check=lambda key: check_key(key, self._config.prefix + key),
            delete_batch=self._delete_batch,
            delete_one=self._objects.delete,
            fits=_fits_in_xml,
        )

    def _delete_batch(self, keys: list[str]) -> dict[str, StorageError]:
        root = ElementTree.Element("Delete")
        ElementTree.SubElement(root, "Quiet").text = "true"
        for key in keys:
            item = ElementTree.SubElement(root, "Object")
            ElementTree.SubElement(item, "Key").text = self._config.prefix + key
        body = ElementTree.tostring(root, encoding="utf-8")
        headers = {"content-type": "application/xml", **content_md5_header(body)}
        context = self._client.context("delete")
        response = self._client.send("POST", context, query={"delete": ""}, headers=headers, body=body)
        result = parse_document(response.body, context)
        if result.tag != "DeleteResult":
            raise ERRORS.transport_error("unreadable", context)
        failed = {}
        for error in result.iterfind("Error"):
            key = (error.findtext("Key") or "").removeprefix(self._config.prefix)
            code = error.findtext("Code") or ""
            if code != "NoSuchKey":
                failed[key] = translate(
                    RequestFailure(_STATUS.get(code, 400), code), self._client.context("delete", key)
                )
        return failed


def _fits_in_xml(key: str) -> bool:
    """Whether XML 1.0 can represent the key: it has no control characters, and parsers change line ends."""
    return not any(c < " " or c in "\x7f\x85\u2028\ufffe\uffff" for c in key)
