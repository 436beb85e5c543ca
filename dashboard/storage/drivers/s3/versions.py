"""Older states of objects. https://docs.aws.amazon.com/AmazonS3/latest/userguide/Versioning.html"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import quote
from xml.etree import ElementTree

from dashboard.storage.drivers.s3.client import SignedClient, parsed, unquoted
from dashboard.storage.drivers.s3.listing import (
    PAGE,
    check_marker,
    decoder,
    is_truncated,
    page_of,
    seconds,
    whole_listing,
)
from dashboard.storage.drivers.s3.objects import Objects, S3Reading
from dashboard.storage.drivers.s3.place import Place
from dashboard.storage.net.parsing import Foreign, Pages, size_in, xml_root
from dashboard.storage.object_powers import Version
from dashboard.storage.types import Written


class KeepsS3Versions:
    """``KeepsVersions`` for a driver that has these parts."""

    _place: Place
    _client: SignedClient
    _objects: Objects

    def keeps_versions(self) -> bool:
        """See ``KeepsVersions``.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketVersioning.html"""
        context = self._client.context("versions")
        root = parsed(self._client.send("GET", context, query={"versioning": ""}).body, context)
        return root.findtext("Status") == "Enabled"

    def versions(self, prefix: str = "") -> Iterator[Version]:
        """See ``KeepsVersions``.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html"""
        own, context = self._place.prefix, self._client.context("versions")
        query = {"versions": "", "encoding-type": "url", "max-keys": str(PAGE), "prefix": own + prefix}
        pages = Pages()
        while True:
            states, key, version = page_of(self._client, context, query, lambda body: _page(body, own))
            with whole_listing(context):
                pages.take(
                    [each.key for each in states],
                    f"{key}\0{version}" if key else "",
                    first="\0".join((states[0].key, states[0].id)) if states else "",
                )
            # Some servers list the marks of deletion behind all contents.
            yield from sorted((each for each in states if each.key), key=_newest_first)
            if not key:
                return
            query = {**query, "key-marker": key, "version-id-marker": version}

    def read_version(self, key: str, version: str) -> S3Reading:
        """See ``KeepsVersions``."""
        return self._objects.read_old(key, version)

    def restore_version(self, key: str, version: str) -> Written:
        """See ``KeepsVersions``: a copy onto itself. Objects above 5 GiB are refused as unsupported."""
        context = self._client.context("restore", key)
        full = self._place.prefix + key
        path = quote(f"{self._place.bucket}/{full}", safe="/~")
        headers = {
            "x-amz-copy-source": f"{path}?versionId={quote(version, safe='~')}",
            "x-amz-metadata-directive": "COPY",
            **self._place.source_headers(),
            **self._place.write_headers(),
        }
        self._objects.copy(key, headers, context)
        info = self._objects.head(key).info
        return Written(key, info.size, info.md5 or "", info.etag)


def _newest_first(version: Version) -> tuple[str, bool, float]:
    return version.key, not version.current, -(version.modified or 0.0)


def _page(body: bytes, own: str) -> tuple[list[Version], str, str]:
    """What a page lists, and where the next one begins; no key on the last one. Raises ``Unreadable``."""
    root = xml_root(body)
    if root.tag != "ListVersionsResult":
        raise Foreign("the answer is no listing")
    more, decode = is_truncated(root), decoder(root)
    states = [_version(each, own, decode) for each in root if each.tag in ("Version", "DeleteMarker")]
    key = decode(root.findtext("NextKeyMarker") or "") if more else ""
    check_marker(more, key)
    return states, key, root.findtext("NextVersionIdMarker") or ""


def _version(each: ElementTree.Element, own: str, decode: Callable[[str], str]) -> Version:
    fields = {child.tag: child.text or "" for child in each}
    return Version(
        key=decode(fields.get("Key", "")).removeprefix(own),
        id=fields.get("VersionId", ""),
        size=size_in(fields.get("Size") or 0),
        modified=seconds(fields.get("LastModified")),
        etag=unquoted(fields.get("ETag")),
        current=fields.get("IsLatest") == "true",
        deleted=each.tag == "DeleteMarker",
    )
