"""Older states of objects. https://docs.aws.amazon.com/AmazonS3/latest/userguide/Versioning.html"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote
from xml.etree import ElementTree

from dashboard.storage.drivers._s3_errors import Scene
from dashboard.storage.drivers._s3_http import SignedClient, unquoted
from dashboard.storage.drivers._s3_listing import PAGE, decoder, parsed, seconds, unreadable
from dashboard.storage.drivers._s3_objects import Objects
from dashboard.storage.drivers._s3_place import Place
from dashboard.storage.drivers._s3_reading import S3Reading
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
        scene = self._client.scene("versions")
        root = parsed(self._client.send("GET", scene, query={"versioning": ""}).body, scene)
        return root.findtext("Status") == "Enabled"

    def versions(self, prefix: str = "") -> Iterator[Version]:
        """See ``KeepsVersions``.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html"""
        own, scene = self._place.prefix, self._client.scene("versions")
        query = {"versions": "", "encoding-type": "url", "max-keys": str(PAGE), "prefix": own + prefix}
        while True:
            root = parsed(self._client.send("GET", scene, query=query).body, scene)
            states = [
                _version(each, own, root, scene) for each in root if each.tag in ("Version", "DeleteMarker")
            ]
            # Some servers list the marks of deletion behind all contents.
            yield from sorted((each for each in states if each.key), key=_newest_first)
            marks = {
                "key-marker": decoder(root)(root.findtext("NextKeyMarker") or ""),
                "version-id-marker": root.findtext("NextVersionIdMarker") or "",
            }
            if root.findtext("IsTruncated") != "true" or not marks["key-marker"]:
                return
            if marks.items() <= query.items():
                raise unreadable(scene)
            query = {**query, **marks}

    def read_version(self, key: str, version: str) -> S3Reading:
        """See ``KeepsVersions``."""
        return self._objects.read_old(key, version)

    def restore_version(self, key: str, version: str) -> Written:
        """See ``KeepsVersions``: a copy onto itself. Objects above 5 GiB are refused as unsupported."""
        scene = self._client.scene("restore", key)
        full = self._place.prefix + key
        path = quote(f"{self._place.bucket}/{full}", safe="/~")
        headers = {
            "x-amz-copy-source": f"{path}?versionId={quote(version, safe='~')}",
            "x-amz-metadata-directive": "COPY",
            **self._place.source_headers(),
            **self._place.write_headers(),
        }
        self._objects.copy(key, headers, scene)
        info = self._objects.head(key).info
        return Written(key, info.size, info.md5 or "", info.etag)


def _newest_first(version: Version) -> tuple[str, bool, float]:
    return version.key, not version.current, -(version.modified or 0.0)


def _version(each: ElementTree.Element, own: str, root: ElementTree.Element, scene: Scene) -> Version:
    fields = {child.tag: child.text or "" for child in each}
    try:
        size = int(fields.get("Size") or 0)
    except ValueError as error:
        raise unreadable(scene) from error
    return Version(
        key=decoder(root)(fields.get("Key", "")).removeprefix(own),
        id=fields.get("VersionId", ""),
        size=size,
        modified=seconds(fields.get("LastModified")),
        etag=unquoted(fields.get("ETag")),
        current=fields.get("IsLatest") == "true",
        deleted=each.tag == "DeleteMarker",
    )
