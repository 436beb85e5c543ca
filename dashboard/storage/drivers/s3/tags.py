"""Tags, storage classes and access control lists of objects."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from xml.etree import ElementTree

from dashboard.errors import InvalidInput
from dashboard.storage.drivers.s3.client import S3Client, content_md5_header, parse_document
from dashboard.storage.drivers.s3.config import S3Config
from dashboard.storage.drivers.s3.errors import NotConfigured
from dashboard.storage.drivers.s3.key_rules import to_headers
from dashboard.storage.drivers.s3.objects import Objects
from dashboard.storage.errors import Changed, NotFound, StorageError, Unsupported
from dashboard.storage.types import Attributes, Visibility

TIERS = (
    "STANDARD",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
    "REDUCED_REDUNDANCY",
    "EXPRESS_ONEZONE",
)
"""https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html#API_CopyObject_RequestSyntax"""
_MAX_TAGS, _MAX_NAME, _MAX_VALUE = 10, 128, 256
_ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
_CANNED = {Visibility.PUBLIC: "public-read", Visibility.PRIVATE: "private"}


class S3TagsMixin:
    """``HoldsTags``, ``HasTiers`` and ``SetsAttributes`` for the driver."""

    _config: S3Config
    _client: S3Client
    _objects: Objects

    def tags(self, key: str) -> Mapping[str, str]:
        """See ``HoldsTags``.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectTagging.html"""
        return read_tags(self._client, key)

    def set_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """See ``HoldsTags``: at most 10 tags, with names of 128 and values of 256 characters.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectTagging.html"""
        _check(tags)
        context, full_key = self._client.context("tags", key), self._config.prefix + key
        if not tags:
            self._objects.head(key)
            self._client.send("DELETE", context, key=full_key, query={"tagging": ""})
            return
        root = ElementTree.Element("Tagging")
        listed = ElementTree.SubElement(root, "TagSet")
        for name, value in tags.items():
            item = ElementTree.SubElement(listed, "Tag")
            ElementTree.SubElement(item, "Key").text = name
            ElementTree.SubElement(item, "Value").text = value
        body = ElementTree.tostring(root, encoding="utf-8")
        self._client.send(
            "PUT", context, key=full_key, query={"tagging": ""}, headers=content_md5_header(body), body=body
        )

    def tier(self, key: str) -> str:
        """See ``HasTiers``."""
        return self._objects.head(key).storage_class

    def set_tier(self, key: str, tier: str) -> None:
        """See ``HasTiers``: copies the object onto itself. ``Unsupported`` above 5 GiB; use a lifecycle
        rule for such objects."""
        if tier not in TIERS:
            raise Unsupported("tier", f"“{tier}” is not a storage class of S3.")
        head = self._objects.head(key)
        if head.storage_class == tier:
            return
        headers = {
            **self._config.copy_source_headers(key, etag=head.info.etag or ""),
            **self._config.write_headers(),
            "x-amz-storage-class": tier,
        }
        try:
            self._objects.copy(key, headers, self._client.context("tier", key))
        except NotFound as error:
            raise NotFound(key, operation="tier") from error

    def set_attributes(self, key: str, attributes: Attributes, *, if_version: str | None = None) -> None:
        """See ``SetsAttributes``: copies the object onto itself if it still has its ETag. A write between the
        check and the copy, within one request of the server, is lost. ``Unsupported`` above 5 GiB."""
        head = self._objects.head(key)
        if if_version is not None and head.info.version != if_version:
            raise Changed(key, operation="attributes")
        headers = {
            **self._config.copy_source_headers(key, etag=head.info.etag or ""),
            **self._config.write_headers(),
            **to_headers(attributes),
            "x-amz-metadata-directive": "REPLACE",
            "x-amz-storage-class": head.storage_class,
        }
        with suppress(StorageError):
            # A copy is private again. Servers without access control lists have nothing to keep.
            if visibility(self._client, key, self._config.prefix + key) is Visibility.PUBLIC:
                headers["x-amz-acl"] = _CANNED[Visibility.PUBLIC]
        self._objects.copy(key, headers, self._client.context("attributes", key))


def read_tags(client: S3Client, key: str) -> Mapping[str, str]:
    """Return the tags of an object; ``key`` without the prefix. Raises ``NotFound``."""
    context = client.context("tags", key)
    try:
        response = client.send("GET", context, key=client.config.prefix + key, query={"tagging": ""})
    except NotConfigured:
        return {}
    root = parse_document(response.body, context)
    return {each.findtext("Key") or "": each.findtext("Value") or "" for each in root.iter("Tag")}


def _check(tags: Mapping[str, str]) -> None:
    if len(tags) > _MAX_TAGS:
        raise InvalidInput("tags", f"An object on S3 can have at most {_MAX_TAGS} tags.")
    for name, value in tags.items():
        if not name or len(name) > _MAX_NAME or len(value) > _MAX_VALUE:
            raise InvalidInput(
                "tags",
                f"The name of a tag has 1 to {_MAX_NAME} characters, its value at most {_MAX_VALUE}.",
            )
        if not (name + value).isprintable():
            raise InvalidInput("tags", f"The tag “{name}” contains characters that cannot be displayed.")


def visibility(client: S3Client, key: str, full_key: str) -> Visibility:
    """Return the visibility by the object's grants. Raises ``NotFound``.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html"""
    context = client.context("visibility", key)
    response = client.send("GET", context, key=full_key, query={"acl": ""})
    grants = parse_document(response.body, context).iter("Grant")
    public = any(
        grant.findtext("Grantee/URI") == _ALL_USERS
        and grant.findtext("Permission") in ("READ", "FULL_CONTROL")
        for grant in grants
    )
    return Visibility.PUBLIC if public else Visibility.PRIVATE


def set_visibility(client: S3Client, key: str, full_key: str, visibility: Visibility) -> None:
    """Replace the object's grants. Raises ``NotFound``."""
    context = client.context("set visibility", key)
    client.send("PUT", context, key=full_key, query={"acl": ""}, headers={"x-amz-acl": _CANNED[visibility]})
