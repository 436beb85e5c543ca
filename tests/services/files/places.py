"""Backends of a test console."""

from __future__ import annotations

from pathlib import Path

from dashboard.services.backends.values import Draft
from dashboard.storage.types import Secret
from tests.servers.moto import MotoS3
from tests.services.console import ADMIN, ServiceConsole


def add_local(console: ServiceConsole, parent: Path, name: str, **options: str) -> Path:
    """Add a folder below ``parent`` as a backend, and return it."""
    root = parent / name
    root.mkdir()
    console.services.backends.add(ADMIN, Draft(name, "local", {"root": str(root), **options}, {}))
    return root


def add_s3(console: ServiceConsole, server: MotoS3, name: str, *, versions: bool = False) -> str:
    """Add a new bucket as a backend, and return the bucket's name."""
    bucket = server.new_bucket(name)
    options = {"endpoint": server.endpoint, "bucket": bucket, "access_key_id": server.admin.access_key}
    secrets = {"secret_access_key": Secret(server.admin.secret_key)}
    if versions:
        enabled = {"Status": "Enabled"}
        server.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration=enabled)
    console.services.backends.add(ADMIN, Draft(name, "s3", {**options, "sse": "none"}, secrets))
    return bucket
