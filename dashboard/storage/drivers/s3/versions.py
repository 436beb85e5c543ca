"""Older versions of objects. https://docs.aws.amazon.com/AmazonS3/latest/userguide/Versioning.html"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from xml.etree import ElementTree

from dashboard.storage.drivers.s3.client import S3Client, parse_document, strip_quotes
from dashboard.storage.drivers.s3.config import S3Config
from dashboard.storage.drivers.s3.listing import (
    PAGE_SIZE,
    fetch_page,
    is_truncated,
    key_decoder,
    parse_time,
    require_marker,
    translate_listing_errors,
)
from dashboard.storage.drivers.s3.objects import Objects, S3Reading
from dashboard.storage.net.parsing import PaginationGuard, WrongProtocol, parse_size, parse_xml
from dashboard.storage.object_powers import Version
from dashboard.storage.types import Written


class S3VersionsMixin:
    """``KeepsVersions`` for the driver."""

    _config: S3Config
    _client: S3Client
    _objects: Objects

    def keeps_versions(self) -> bool:
        """See ``KeepsVersions``.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketVersioning.html"""
        context = self._client.context("versions")
        root = parse_document(self._client.send("GET", context, query={"versioning": ""}).body, context)
        return root.findtext("Status") == "Enabled"

    def versions(self, prefix: str = "") -> Iterator[Version]:
        """See ``KeepsVersions``.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html"""
        base, context = self._config.prefix, self._client.context("versions")
        query = {"versions": "", "encoding-type": "url", "max-keys": str(PAGE_SIZE), "prefix": base + prefix}
        pages = PaginationGuard()
        while True:
            states, key, version = fetch_page(
                self._client, context, query, lambda body: _parse_page(body, base)
            )
            with translate_listing_errors(context):
                pages.check_page(
                    [state.key for state in states],
                    f"{key}\0{version}" if key else "",
                    first="\0".join((states[0].key, states[0].id)) if states else "",
                )
            # Some servers list all delete markers after the versions.
            yield from sorted((state for state in states if state.key), key=_newest_first)
            if not key:
                return
            query = {**query, "key-marker": key, "version-id-marker": version}

    def read_version(self, key: str, version: str) -> S3Reading:
        """See ``KeepsVersions``."""
        return self._objects.read_version(key, version)

    def restore_version(self, key: str, version: str) -> Written:
        """See ``KeepsVersions``: copies the version onto the object. ``Unsupported`` above 5 GiB."""
        context = self._client.context("restore", key)
        headers = self._config.copy_source_headers(key, version=version) | self._config.write_headers()
        self._objects.copy(key, headers, context)
        info = self._objects.head(key).info
        return Written(key, info.size, info.md5 or "", info.etag)


def _newest_first(version: Version) -> tuple[str, bool, float]:
    return version.key, not version.current, -(version.modified or 0.0)


def _parse_page(body: bytes, base: str) -> tuple[list[Version], str, str]:
    """Parse a page into versions and the markers of the next page, empty on the last one."""
    root = parse_xml(body)
    if root.tag != "ListVersionsResult":
        raise WrongProtocol("the response is not a listing")
    more, decode = is_truncated(root), key_decoder(root)
    states = [
        _parse_version(element, base, decode)
        for element in root
        if element.tag in ("Version", "DeleteMarker")
    ]
    key = decode(root.findtext("NextKeyMarker") or "") if more else ""
    require_marker(more, key)
    return states, key, root.findtext("NextVersionIdMarker") or ""


def _parse_version(element: ElementTree.Element, base: str, decode: Callable[[str], str]) -> Version:
    fields = {child.tag: child.text or "" for child in element}
    return Version(
        key=decode(fields.get("Key", "")).removeprefix(base),
        id=fields.get("VersionId", ""),
        size=parse_size(fields.get("Size") or 0),
        modified=parse_time(fields.get("LastModified")),
        etag=strip_quotes(fields.get("ETag")),
        current=fields.get("IsLatest") == "true",
        deleted=element.tag == "DeleteMarker",
    )
