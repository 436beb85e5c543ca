"""Options under the names that other storage layers use.

Only names that mean exactly one of ours are translated, and nothing is ignored silently: a value that would
have no effect here is refused with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType

from dashboard.errors import InvalidInput

_S3: Mapping[str, str] = MappingProxyType(
    {
        "key": "access_key_id",
        "access_key": "access_key_id",
        "secret": "secret_access_key",
        "secret_key": "secret_access_key",
        "token": "session_token",
        "endpoint_url": "endpoint",
        "region_name": "region",
        "bucket_name": "bucket",
        "root": "prefix",
    }
)
OPTION_NAMES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "local": MappingProxyType({"url": "public_url"}),
        "s3": _S3,
        "gcs": MappingProxyType({"project_id": "project", "bucket_name": "bucket", "root": "prefix"}),
        "azure": MappingProxyType(
            {
                "account_name": "account",
                "account_key": "credential",
                "connection_string": "credential",
                "sas_token": "credential",
                "root": "prefix",
            }
        ),
        "sftp": MappingProxyType({"username": "user"}),
        "ftp": MappingProxyType({"username": "user"}),
    }
)
"""Driver to: the other name of an option, and ours."""

_MAX_FILE_BYTES = 64 * 1024
KEY_FILES = ("key_file", "credentials_path", "key_file_path")
"""Google's service account key, as the path of its file."""


def translate(driver: str, kind: str, options: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    """Return the preset or driver to use, and the options under our names. ``None`` means not set.

    Raises ``InvalidInput`` for two names of one option, and for a value that has no meaning here.
    """
    names, found = OPTION_NAMES.get(driver, {}), dict[str, object]()
    for given, value in options.items():
        if value is None:
            continue
        name = names.get(given, given)
        if name in found:
            raise InvalidInput(given, f"“{given}” is another name of “{name}”, which is set too.")
        found[name] = value
    _check_visibility(driver, found)
    match driver:
        case "local":
            root = found.get("root")
            if isinstance(root, str | os.PathLike) and os.fspath(root):
                found["root"] = os.path.abspath(os.fspath(root))
        case "s3":
            kind = _s3(kind, found)
        case "gcs":
            for name in KEY_FILES:
                if (path := found.pop(name, None)) is not None:
                    found["credential"] = read_text_file(name, str(path))
    return kind, found


def _s3(kind: str, found: dict[str, object]) -> str:
    url, secure = found.pop("url", None), found.pop("use_ssl", None)
    if url is not None:
        host = str(url).removeprefix("https://").rstrip("/")
        if not str(url).startswith("https://") or "/" in host:
            raise InvalidInput(
                "url",
                "The address of files in a bucket is the domain that serves them, over https.",
                remedy='Write url="https://media.example.com", or leave it out.',
            )
        found["cdn_domain"] = host
    endpoint = found.get("endpoint")
    if isinstance(endpoint, str) and "://" not in endpoint and endpoint:
        found["endpoint"] = f"{'http' if secure is False else 'https'}://{endpoint}"
    # “s3” without an endpoint is Amazon's own; our “s3” is any other server.
    return "aws" if kind == "s3" and not endpoint else kind


def _check_visibility(driver: str, found: dict[str, object]) -> None:
    visibility = found.pop("visibility", None)
    if visibility in (None, "private"):
        return
    if visibility != "public":
        raise InvalidInput("visibility", "The visibility is “public” or “private”.")
    if driver != "local":
        raise InvalidInput(
            "visibility",
            "A bucket does not become public by an option.",
            remedy="Make the bucket public at its provider, or single objects with set_visibility().",
        )


def read_text_file(name: str, path: str) -> str:
    """Return the text of a file that an option names, without the line break at its end. Raises
    ``InvalidInput`` for the option."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(_MAX_FILE_BYTES).rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise InvalidInput(name, f"“{path}” cannot be read as text.", remedy="Check the path.") from error
