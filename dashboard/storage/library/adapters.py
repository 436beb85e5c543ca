"""Backends under the class names and parameters that other storage layers have.

Each is a :class:`Backend` and does nothing that a configured backend does not: it only translates names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.errors import InvalidInput
from dashboard.storage.checks.wrappers import (
    CACHE,
    CACHE_REDIS,
    CACHE_SECONDS,
    CDN_DOMAIN,
    CDN_KEY_ID,
    CDN_PURGE,
    CDN_SECRET,
    CDN_ZONE,
    ENCRYPT,
    ENCRYPTION_KEY,
    check_wrappers,
)
from dashboard.storage.errors import Unsupported
from dashboard.storage.library.backend import Backend, LazyBackend
from dashboard.storage.library.configuring import Value, describe_any
from dashboard.storage.library.contents import Content
from dashboard.storage.object_powers import SignsParts
from dashboard.storage.powers import PARTS, unsupported_error
from dashboard.storage.types import Attributes, Secret, Written

_HEADERS = ("content-type", "cache-control", "content-disposition", "content-encoding", "content-language")


class _Configured(LazyBackend):
    """A backend from a driver's options. Raises ``InvalidInput`` at once; connects with the first call."""

    def __init__(self, kind: str, options: Mapping[str, Value | None]) -> None:
        described = describe_any(kind, options)
        described.check()
        super().__init__(kind, described.build)


class LocalFilesystemAdapter(_Configured):
    """A folder of this machine."""

    def __init__(self, root: str, *, url: str | None = None, **options: Value | None) -> None:
        super().__init__("local", {"root": root, "url": url, **options})


class S3FilesystemAdapter(_Configured):
    """A bucket at Amazon, or with ``endpoint_url`` at another server that speaks S3."""

    def __init__(
        self,
        bucket: str,
        *,
        region: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        endpoint_url: str | None = None,
        use_ssl: bool | None = None,
        **options: Value | None,
    ) -> None:
        given: dict[str, Value | None] = {
            "bucket": bucket,
            "region": region,
            "access_key": access_key,
            "secret_key": secret_key,
            "endpoint_url": endpoint_url,
            "use_ssl": use_ssl,
        }
        super().__init__("s3", {**given, **options})

    def get_presigned_url(self, key: str, expires_in: int = 3600, method: str = "GET") -> str:
        """Return a signed URL that expires after ``expires_in`` seconds. ``method`` is GET or PUT; others
        raise ``Unsupported``."""
        match method.upper():
            case "GET":
                return self.temporary_url(key, seconds=expires_in)
            case "PUT":
                return self.upload_url(key, seconds=expires_in).url
        raise Unsupported("sign", f"A link for {method} is not made: sign GET or PUT.")

    def create_multipart_upload(self, key: str, *, content_type: str | None = None) -> PartsUpload:
        """Begin an upload in parts that a browser sends by itself; returns its id. It is not visible and
        costs storage until it is completed or aborted."""
        attributes = Attributes(content_type=content_type)
        return PartsUpload(self._parts().begin_parts(key, attributes=attributes), key)

    def generate_presigned_post_urls(
        self, upload: PartsUpload, num_parts: int, expires_in: int = 3600
    ) -> Sequence[str]:
        """Return a URL for each part, to be sent with PUT; each but the last has at least 5 MiB. The response
        to a part has the ETag that :meth:`complete_multipart_upload` needs."""
        if not 1 <= num_parts <= 10_000:
            raise InvalidInput("num_parts", "An upload has 1 to 10,000 parts.")
        sign = self._parts().part_url
        return [
            sign(upload.key, upload, number, seconds=expires_in).url for number in range(1, num_parts + 1)
        ]

    def complete_multipart_upload(
        self, upload: PartsUpload, parts: Sequence[Mapping[str, Any] | tuple[int, str]]
    ) -> None:
        """Make the object visible. ``parts``: ``{"PartNumber": 1, "ETag": "..."}`` or ``(1, "...")`` for
        each. Raises ``StorageError`` if one is missing or differs."""
        pairs = [
            (int(part["PartNumber"]), str(part["ETag"])) if isinstance(part, Mapping) else part
            for part in parts
        ]
        self._parts().finish_parts(upload.key, upload, sorted(pairs))

    def abort_multipart_upload(self, upload: PartsUpload) -> None:
        """Discard the parts. Idempotent."""
        self._parts().abort_parts(upload.key, upload)

    def _parts(self) -> SignsParts:
        driver = self.driver
        if not isinstance(driver, SignsParts):
            raise unsupported_error(driver, PARTS, "upload in parts")
        return driver


class PartsUpload(str):
    """The id of an upload in parts; it knows its key."""

    key: str

    def __new__(cls, upload_id: str, key: str) -> PartsUpload:
        """Return the id."""
        made = super().__new__(cls, upload_id)
        made.key = key
        return made


class GoogleCloudStorageAdapter(_Configured):
    """A bucket at Google Cloud Storage. ``credentials_path``: the file of a service account key."""

    def __init__(
        self,
        bucket: str,
        *,
        project_id: str | None = None,
        credentials_path: str | None = None,
        **options: Value | None,
    ) -> None:
        given: dict[str, Value | None] = {
            "bucket": bucket,
            "project_id": project_id,
            "credentials_path": credentials_path,
        }
        super().__init__("gcs", {**given, **options})

    def put_with_metadata(self, key: str, content: Content, metadata: Mapping[str, str]) -> Written:
        """Store an object with headers and metadata. Names of HTTP headers, such as ``cache-control``, become
        headers; all others are metadata."""
        lowered = {name.lower(): value for name, value in metadata.items()}
        headers = {name.replace("-", "_"): lowered[name] for name in _HEADERS if name in lowered}
        own = {name: value for name, value in metadata.items() if name.lower() not in _HEADERS}
        return self.put(key, content, attributes=Attributes(**headers, metadata=own))


class AzureBlobStorageAdapter(_Configured):
    """A container at Azure Blob Storage."""

    def __init__(self, account_name: str, account_key: str, container: str, **options: Value | None) -> None:
        given: dict[str, Value | None] = {
            "account_name": account_name,
            "account_key": account_key,
            "container": container,
        }
        super().__init__("azure", {**given, **options})

    def put_with_tier(self, key: str, content: Content, tier: str) -> Written:
        """Store an object, then move it to an access tier. Not atomic: if the second step fails, the object
        is stored in the container's own tier."""
        written = self.put(key, content)
        self.set_tier(key, tier)
        return written


class _Wrapped(Backend):
    """A wrapper around another backend, which keeps its own name and is closed by its owner."""

    def __init__(
        self, base: Backend, options: Mapping[str, str], secrets: Mapping[str, Secret], **internal: str
    ) -> None:
        from dashboard.storage.registry import wrap

        checked = check_wrappers(options, secrets)
        super().__init__(base.name, wrap(base.driver, {**checked, **internal}, secrets))

    def close(self) -> None:
        """Does nothing: the connections belong to the other backend."""


class EncryptedFilesystemAdapter(_Wrapped):
    """Encrypts objects before they leave this machine. ``encryption_key``: 32 bytes as base64 or hex, or as
    bytes; keep it, nothing can be read without it."""

    def __init__(self, base_adapter: Backend, encryption_key: str | bytes | Secret) -> None:
        import base64

        if isinstance(encryption_key, bytes):
            encryption_key = base64.b64encode(encryption_key).decode()
        key = encryption_key if isinstance(encryption_key, Secret) else Secret(encryption_key)
        super().__init__(base_adapter, {ENCRYPT: "true"}, {ENCRYPTION_KEY: key})


class CachedFilesystemAdapter(_Wrapped):
    """Keeps copies for faster reads and answers from them for ``cache_ttl`` seconds: in a Redis at
    ``redis_url``, or in a folder (``cache_driver="file"``, ``cache_folder``)."""

    def __init__(
        self,
        base_adapter: Backend,
        cache_driver: str = "file",
        cache_ttl: int = 0,
        *,
        redis_url: str = "redis://localhost:6379/0",
        cache_folder: str = "",
    ) -> None:
        options = {CACHE: "true", CACHE_SECONDS: str(cache_ttl)}
        match cache_driver:
            case "redis":
                super().__init__(base_adapter, options, {CACHE_REDIS: Secret(redis_url)})
            case "file":
                if not cache_folder:
                    raise InvalidInput("cache_folder", "Say in which folder the copies are kept.")
                super().__init__(base_adapter, options, {}, cache_folder=cache_folder)
            case _:
                raise InvalidInput("cache_driver", f"There is no cache “{cache_driver}”: redis or file.")


class CDNFilesystemAdapter(_Wrapped):
    """Addresses of a content delivery network, which is told of changes if ``auto_invalidate`` and its key
    are given (see ``cdn_purge`` in docs/backends.md)."""

    def __init__(
        self,
        base_adapter: Backend,
        cdn_url: str,
        auto_invalidate: bool = False,
        *,
        provider: str = "none",
        zone: str = "",
        key_id: str = "",
        secret: str = "",
    ) -> None:
        if auto_invalidate and (provider == "none" or not secret):
            raise InvalidInput(
                "auto_invalidate",
                "A network is told of changes only with its key.",
                remedy='Add provider="cloudflare", zone and secret, or leave auto_invalidate out.',
            )
        options = {
            CDN_DOMAIN: cdn_url.removeprefix("https://").rstrip("/"),
            CDN_PURGE: provider if auto_invalidate else "none",
            CDN_ZONE: zone,
            CDN_KEY_ID: key_id,
        }
        super().__init__(base_adapter, options, {CDN_SECRET: Secret(secret)} if secret else {})
