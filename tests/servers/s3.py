"""The S3 client and the credentials of the test fixtures."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

_numbers = itertools.count(1)


@dataclass(frozen=True)
class KeyPair:
    """A key pair and its permissions in SeaweedFS's terms: Admin, Read, Write, List, Tagging,
    each optionally limited to one bucket as ``Action:bucket``."""

    name: str
    access_key: str
    secret_key: str
    actions: tuple[str, ...] = ("Admin", "Read", "Write", "List", "Tagging")


ADMIN = KeyPair("admin", "STOWAGEADMINKEY00001", "stowage-admin-secret-not-for-use-elsewhere")
READER = KeyPair(
    "reader", "STOWAGEREADERKEY0001", "stowage-reader-secret-not-for-use-elsewhere", ("Read", "List")
)


def client(endpoint: str, identity: KeyPair = ADMIN, region: str = "us-east-1") -> Any:
    """A boto3 client without retries and with short timeouts."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=identity.access_key,
        aws_secret_access_key=identity.secret_key,
        config=Config(
            retries={"total_max_attempts": 1},
            connect_timeout=20,
            read_timeout=60,
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def bucket_name(stem: str = "bucket") -> str:
    """A bucket name that no other test process uses."""
    return f"{stem}-{os.getpid()}-{next(_numbers)}"
