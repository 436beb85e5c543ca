"""Which server the options of a backend lead to, how it is shown to a person, and whether it is certainly a
public provider's."""

from __future__ import annotations

import re
from typing import Protocol
from urllib.parse import urlsplit

from dashboard.storage.driver_types import Location, Options
from dashboard.storage.inspection.places import Bucket

_DEFAULT_PORTS = {"http": 80, "https": 443}
_PROVIDERS = (
    ("amazon", r"s3(\.dualstack)?\.[a-z]{2}-[a-z]+-\d\.amazonaws\.com"),
    ("backblaze", r"s3\.[a-z]+-[a-z]+-\d{3}\.backblazeb2\.com"),
    ("cloudflare", r"[0-9a-f]{32}(\.eu|\.fedramp)?\.r2\.cloudflarestorage\.com"),
    ("digitalocean", r"[a-z]{3}\d\.digitaloceanspaces\.com"),
    ("google", r"storage\.googleapis\.com"),
    ("hetzner", r"(fsn|nbg|hel)1\.your-objectstorage\.com"),
    ("scaleway", r"s3\.[a-z]{2}-[a-z]{3}\.scw\.cloud"),
    ("wasabi", r"s3\.[a-z]{2}-[a-z]+-\d\.wasabisys\.com"),
)
_ENDPOINTS = tuple((name, re.compile(f"https://{host}/?")) for name, host in _PROVIDERS)
_ALIAS = re.compile(r"-s3alias|--|[^a-z0-9.-]")
"""In the names of access points, of buckets in other classes, and in ARNs, which lead to another bucket."""


def normalize_host(name: str) -> str:
    """Return a host name in a form in which equal hosts are equal, as far as that is known without a
    lookup."""
    name = name.lower()
    return "127.0.0.1" if name == "localhost" else name


def server_of(endpoint: str) -> str:
    """Return host and port of an endpoint in a form in which equal servers are equal. An empty endpoint is
    the provider's own."""
    parts = urlsplit(endpoint)
    return f"{normalize_host(parts.hostname or '')}:{parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)}"


def host_of(endpoint: str) -> str:
    """Return host and port of an endpoint as they were typed; empty for an empty endpoint."""
    return endpoint.partition("://")[2].partition("/")[0]


def container_on(bucket: str, prefix: str, host: str) -> str:
    """Return ``bucket/folder on host``, without empty parts."""
    place = "/".join(part for part in (bucket, prefix.rstrip("/")) if part)
    return f"{place} on {host}" if host else place


def bucket_summary(options: Options) -> str:
    """Return the summary of a driver with ``bucket``, ``prefix`` and ``endpoint``."""
    host = host_of(options.get("endpoint", ""))
    return container_on(options.get("bucket", ""), options.get("prefix", ""), host)


def bucket_location(options: Options) -> Location:
    """Return the location of a driver with ``bucket``, ``prefix`` and ``endpoint``."""
    path = f"{options.get('bucket', '')}/{options.get('prefix', '')}"
    return Location(server_of(options.get("endpoint", "")), path)


class BucketConfig(Protocol):
    """What the configuration of a driver says about its bucket, and how the server's certificate is
    checked."""

    @property
    def endpoint(self) -> str: ...

    @property
    def bucket(self) -> str: ...

    @property
    def tls_verify(self) -> bool: ...

    @property
    def ca_certificate(self) -> str: ...


def public_bucket(config: BucketConfig) -> Bucket | None:
    """Return the bucket that this configuration leads to; None unless it is certainly a public provider's:
    with another authority, or without verification, the server may be any."""
    name = config.bucket
    if not config.tls_verify or config.ca_certificate or _ALIAS.search(name):
        return None
    return next((Bucket(each, name) for each, host in _ENDPOINTS if host.fullmatch(config.endpoint)), None)
