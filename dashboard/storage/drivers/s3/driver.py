"""Amazon S3 and other servers with its protocol."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Self
from urllib.parse import quote
from xml.etree import ElementTree

from dashboard.errors import Kind
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.common.keys import entries_under
from dashboard.storage.drivers.common.locations import public_bucket
from dashboard.storage.drivers.common.multipart import UploadThreads, WriteRequest
from dashboard.storage.drivers.s3 import listing, tags
from dashboard.storage.drivers.s3.bucket_settings import S3BucketSettingsMixin
from dashboard.storage.drivers.s3.client import ATTEMPTS, S3Client, parse_document
from dashboard.storage.drivers.s3.config import S3Config
from dashboard.storage.drivers.s3.create import ConditionalCreate
from dashboard.storage.drivers.s3.credentials.sign_in import Sts
from dashboard.storage.drivers.s3.deleting import S3BatchDeleteMixin
from dashboard.storage.drivers.s3.errors import ERRORS, ErrorContext
from dashboard.storage.drivers.s3.key_rules import check_key
from dashboard.storage.drivers.s3.objects import Objects, S3Reading
from dashboard.storage.drivers.s3.server_copy import Bucket, ServerCopy
from dashboard.storage.drivers.s3.signed_uploads import S3SignedUploadsMixin, refuse_with_sse_c
from dashboard.storage.drivers.s3.tags import S3TagsMixin
from dashboard.storage.drivers.s3.upload import MultipartClient, S3Writing, UploadTarget
from dashboard.storage.drivers.s3.versions import S3VersionsMixin
from dashboard.storage.errors import Changed, ContainerMissing, OtherKey, StorageError, Unsupported
from dashboard.storage.inspection import places
from dashboard.storage.inspection.powers import FolderListing
from dashboard.storage.net.http_client import IDLE_SECONDS, Response
from dashboard.storage.net.ranges import read_part
from dashboard.storage.net.resuming import PARALLEL_READS
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Secret, Visibility, Written

SIGN_IN_SECONDS = 15.0
"""Timeout of a sign-in; a person is waiting for the page."""
_SLACK = 2.0
"""Seconds by which the server's clock may be behind ours when incomplete uploads are swept."""


class S3Driver(S3VersionsMixin, S3TagsMixin, S3BatchDeleteMixin, S3BucketSettingsMixin, S3SignedUploadsMixin):
    """A bucket, or a part of one: the configured prefix is a plain string before every key. Thread-safe."""

    name = "s3"
    ordered = True

    def __init__(self, config: S3Config) -> None:
        self._config = config
        self._client = S3Client(config)
        self._multipart = MultipartClient(self._client)
        self._senders = UploadThreads("s3-part")
        self._objects = Objects(config, self._client, self._multipart)
        self._creates = ConditionalCreate()
        here = Bucket(self._client, self._objects)
        self._copies = ServerCopy(here, self._multipart, self._senders, self._commit_guard)

    @classmethod
    def from_options(cls, options: Mapping[str, str], secrets: Mapping[str, Secret]) -> Self:
        """Create a driver from checked options. No network call."""
        return cls(S3Config.from_options(options, secrets))

    def __repr__(self) -> str:
        return f"S3Driver({self._config.bucket_url}/{self._config.prefix})"

    @property
    def place(self) -> places.Bucket | None:
        """See ``KnowsPlace``."""
        return public_bucket(self._config)

    # Driver

    def check_key(self, key: str) -> None:
        """See ``Driver``. S3 accepts any text of up to 1024 bytes of UTF-8, including the prefix."""
        check_key(key, self._config.prefix + key)

    def read(self, key: str, *, if_version: str | None = None) -> S3Reading:
        """See ``Driver``. ``version`` is the ETag; the server refuses a read of any other."""
        self.check_key(key)
        return self._objects.read(key, if_version)

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """See ``ReadsRanges``."""
        self.check_key(key)
        return read_part(self.stat, self._objects.read_range, key, (start, length), if_version)

    def write(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> S3Writing:
        """See ``Driver``. Objects of up to one part (8 MiB; 16 MiB without ``size``) take one request."""
        self.check_key(key)
        target = self._upload_target(key, create_only)
        return S3Writing(self._senders, WriteRequest(key, size, attributes, create_only, self.put), target)

    def resume_write(
        self,
        key: str,
        *,
        size: int,
        since: float,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> S3Writing:
        """See ``ResumesWrites``. Parts whose ETag is no MD5, because they are encrypted, are sent again."""
        self.check_key(key)
        target = replace(
            self._upload_target(key, create_only), begun=partial(self.take_up, key, since - _SLACK)
        )
        return S3Writing(self._senders, WriteRequest(key, size, attributes, create_only, self.put), target)

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """See ``Driver``. The receipt compares the content's MD5 with the ETag.

        ``create_only`` is atomic if the server supports If-None-Match, which the first such write detects.
        On other servers the write is preceded by a check.
        """
        self.check_key(key)
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        send = partial(self._objects.put, key, data, attributes)
        if create_only:
            etag = self._creates.put(send, partial(self._objects.exists, key), key, len(data))
        else:
            etag = send(create_only=False)
        return self._objects.make_receipt(key, len(data), md5, etag)

    def stat(self, key: str) -> ObjectInfo:
        """See ``Driver``."""
        self.check_key(key)
        return self._objects.head(key, explain=True).info

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        """See ``Driver``. AWS and most others list by key; SeaweedFS lists folder by folder."""
        base = self._config.prefix
        after = base + start_after if start_after else ""
        context = self._client.context("list")
        yield from entries_under(
            base, listing.entries(self._client, context, base + prefix, start_after=after)
        )

    def list_folder(self, prefix: str, *, cursor: str = "", limit: int) -> FolderListing:
        """See ``ListsFolders``."""
        return listing.list_folder(self._client, self._config.prefix, prefix, cursor=cursor, limit=limit)

    def delete(self, key: str) -> None:
        """See ``Driver``."""
        self.check_key(key)
        self._objects.delete(key)

    def keeps_metadata(self) -> bool:
        """See ``KeepsMetadata``."""
        return True

    def delete_unchanged(self, key: str, version: str) -> None:
        """See ``DeletesUnchanged``. ``version`` is the ETag. Checks the object, then deletes it with
        If-Match, which makes the deletion atomic on servers that support it (AWS does).
        https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html"""
        self.check_key(key)
        self._objects.delete(key, if_etag=version)

    def sweep(self, keys: Iterable[str], *, since: float) -> int:
        """See ``Driver``: aborts incomplete multipart uploads."""
        full_keys = {self._config.prefix + key for key in keys}
        if not full_keys:
            return 0
        context = self._client.context("sweep")
        swept = 0
        try:
            for upload in listing.incomplete_uploads(self._client, context, _common_prefix(full_keys)):
                if upload.key in full_keys and upload.initiated >= int(since) - _SLACK:
                    self._multipart.abort(context, upload.key, upload.upload_id)
                    swept += 1
        except ContainerMissing:
            # rclone reports this for a bucket without incomplete uploads.
            if not self.bucket_exists():
                raise
        return swept

    def close(self) -> None:
        """See ``Driver``."""
        self._senders.close()
        self._client.close()

    # CopiesWithin

    def can_copy_from(self, source: Driver) -> bool:
        """See ``CopiesWithin``: requires the same server and credentials."""
        return isinstance(source, S3Driver) and source._config.copy_scope == self._config.copy_scope

    def copy_from(self, source: Driver, key: str, to: str, *, if_version: str | None = None) -> Written:
        """See ``CopiesWithin``. Above 5 GiB in the parts of the source, or ``Unsupported``, and the caller
        streams."""
        self._require_same_server(source)
        info = source.stat(key)
        if if_version is not None and info.version != if_version:
            raise Changed(key, operation="copy")
        return self.copy_listed(source, Entry(key, info.size, info.modified, info.etag), to)

    def copy_listed(self, source: Driver, entry: Entry, to: str, *, create_only: bool = False) -> Written:
        """See ``CopiesListed``. ``create_only`` is atomic if the server supports If-None-Match with copies,
        which the first such copy detects. On other servers the copy is preceded by a check."""
        other = self._require_same_server(source)
        self.check_key(to)
        return self._copies.copy(Bucket(other._client, other._objects), entry, to, create_only=create_only)

    # ReadsInParallel

    def parallel_reads(self) -> int:
        """See ``ReadsInParallel``."""
        return PARALLEL_READS

    # CreatesBuckets

    def bucket_exists(self) -> bool:
        """See ``CreatesBuckets``."""
        try:
            self._list_one(self._client.context("list"))
        except ContainerMissing:
            return False
        except StorageError as error:
            # If listing is denied, the bucket exists.
            if error.kind is not Kind.DENIED:
                raise
        return True

    def create_bucket(self) -> None:
        """See ``CreatesBuckets``.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html"""
        context = self._client.context("create bucket")
        body = b""
        if self._config.is_aws and self._config.region != "us-east-1":
            root = ElementTree.Element("CreateBucketConfiguration")
            ElementTree.SubElement(root, "LocationConstraint").text = self._config.region
            body = ElementTree.tostring(root)
        try:
            self._client.send("PUT", context, body=body)
        except StorageError as error:
            # If it can be listed, the bucket that exists is the caller's.
            if error.kind is not Kind.CONFLICT or not self._can_list():
                raise

    # Connects

    def address(self) -> tuple[str, int, bool]:
        """See ``Connects``."""
        return (*self._client.server.address, self._client.server.tls)

    def authenticate(self) -> None:
        """See ``Connects``. A missing bucket, or one that the key may not list, is not an error here."""
        try:
            context = self._client.context("authenticate")
            response = self._list_one(context, attempts=1, idle=SIGN_IN_SECONDS)
            # A web server at this address may respond to anything with status 200.
            if parse_document(response.body, context).tag != "ListBucketResult":
                raise ERRORS.transport_error("unreadable", context)
        except StorageError as error:
            if error.kind not in (Kind.NOT_FOUND, Kind.DENIED):
                raise

    # IdentifiesCaller

    def can_identify_caller(self) -> bool:
        """See ``IdentifiesCaller``: Amazon's STS can be asked, others have none or another."""
        return self._config.is_aws

    def caller_identity(self) -> str:
        """See ``IdentifiesCaller``."""
        from dashboard.storage.drivers.s3.credentials.boto import get_caller_identity

        identity = get_caller_identity(self._client.key_source.keys(), Sts(self._config.region))
        return f"{identity.arn} of account {identity.account}."

    # SecuresConnections

    def tls_context(self) -> ssl.SSLContext:
        """See ``SecuresConnections``."""
        return self._client.server.tls_context()

    # Links

    def url(self, key: str) -> str:
        """See ``Links``. Works only if the object is public. ``Unsupported`` with SSE-C."""
        refuse_with_sse_c(self._config, "url")
        self.check_key(key)
        return f"{self._config.bucket_url}/{quote(self._config.prefix + key, safe='/~')}"

    def temporary_url(self, key: str, *, seconds: int) -> str:
        """See ``Links``: a signed GET, valid for at most seven days. ``Unsupported`` with SSE-C."""
        refuse_with_sse_c(self._config, "temporary url")
        self.check_key(key)
        return self._client.presign(self._config.prefix + key, self._client.link_seconds(seconds))

    # SetsVisibility

    def visibility(self, key: str) -> Visibility:
        """See ``SetsVisibility``: by the object's ACL. A bucket policy may allow more."""
        self.check_key(key)
        return tags.visibility(self._client, key, self._config.prefix + key)

    def set_visibility(self, key: str, visibility: Visibility) -> None:
        """See ``SetsVisibility``. ``Unsupported`` if the bucket's ACLs are disabled, as they are on new
        buckets of AWS, and for public objects with SSE-C."""
        if visibility is Visibility.PUBLIC:
            refuse_with_sse_c(self._config, "set visibility")
        self.check_key(key)
        self.stat(key)
        tags.set_visibility(self._client, key, self._config.prefix + key, visibility)

    # OpensWithKey

    def check_one_object(self) -> str:
        """See ``OpensWithKey``: sends a HEAD request for the first object."""
        try:
            entry = next(self.list(), None)
            if entry is None:
                return ""
            self._objects.head(entry.key)
        except OtherKey:
            raise
        except StorageError:
            return ""
        return f"“{entry.key}” can be read{' with your own key' if self._config.customer_key else ''}."

    # Helpers

    def _upload_target(self, key: str, create_only: bool) -> UploadTarget:
        return UploadTarget(
            uploads=self._multipart,
            context=self._client.context("write", key),
            full_key=self._config.prefix + key,
            head=partial(self._objects.head, key),
            before_upload=partial(self._before_upload, key),
            commit_guard=partial(self._commit_guard, key, create_only),
        )

    def _require_same_server(self, source: Driver) -> S3Driver:
        if not isinstance(source, S3Driver) or not self.can_copy_from(source):
            raise Unsupported("copy", "The two backends do not share a server and credentials.")
        return source

    def _before_upload(self, key: str) -> None:
        self._objects.require_encryption(key)
        self._objects.refuse_altered_name(key)

    @contextmanager
    def _commit_guard(self, key: str, create_only: bool) -> Iterator[bool]:
        """Entered around the completion of a multipart upload."""
        with self._objects.verify_stored_name(key):
            yield create_only and self._creates.check_absent(partial(self._objects.exists, key), key)

    def _can_list(self) -> bool:
        try:
            self._list_one(self._client.context("list"))
        except StorageError:
            return False
        return True

    def _list_one(
        self, context: ErrorContext, *, attempts: int = ATTEMPTS, idle: float = IDLE_SECONDS
    ) -> Response:
        query = {"list-type": "2", "max-keys": "1"}
        return self._client.send("GET", context, query=query, attempts=attempts, idle=idle)


def _common_prefix(keys: set[str]) -> str:
    """Return the longest common prefix of the keys."""
    first, last = min(keys), max(keys)
    return next((first[:i] for i, letter in enumerate(first) if last[i : i + 1] != letter), first)
