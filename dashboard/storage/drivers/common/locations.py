"""Which server the options of a backend lead to, and how it is shown to a person."""

from __future__ import annotations

from urllib.parse import urlsplit

from dashboard.storage.driver_types import Location, Options

_DEFAULT_PORTS = {"http": 80, "https": 443}


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
