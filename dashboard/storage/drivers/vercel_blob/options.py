"""The options of the Vercel Blob driver."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from dashboard.errors import InvalidInput
from dashboard.storage.checks.options import folder, folder_option, server_url
from dashboard.storage.options import Option, OptionType, Preset
from dashboard.storage.types import Secret

API_PATH = "/api/blob"

VERCEL_OPTIONS = (
    Option(
        "store",
        "Store ID",
        required=True,
        placeholder="store_AbCdEfGhIjKlMnOp",
        guards_secret=True,
        hint="On the page of the store under Storage, Settings.",
    ),
    Option(
        "token",
        "Read-write token",
        OptionType.SECRET,
        required=True,
        placeholder="vercel_blob_rw_…",
        hint="BLOB_READ_WRITE_TOKEN of a project that the store is connected to.",
    ),
    Option(
        "access",
        "Access of the store",
        OptionType.CHOICE,
        required=True,
        default="public",
        choices=(("public", "Public"), ("private", "Private")),
        hint="As chosen when the store was created. Anyone with the URL of a public blob can read it.",
    ),
    folder_option("store"),
    Option(
        "endpoint",
        "Endpoint",
        OptionType.URL,
        advanced=True,
        guards_secret=True,
        placeholder="https://vercel.com/api/blob",
        hint="Blank for Vercel itself. For a compatible server, the URL of its API and blobs.",
    ),
)

_STORE = re.compile(r"[A-Za-z0-9]{1,63}\Z")
_TOKEN = re.compile(r"vercel_blob_rw_([A-Za-z0-9]{1,63})_[A-Za-z0-9]{8,256}\Z")


def check_vercel(values: Mapping[str, str], preset: Preset, forbidden_roots: Sequence[str]) -> dict[str, str]:
    """Check and normalize the options. Raises ``InvalidInput`` that names the option."""
    checked = dict(values)
    checked["store"] = values["store"].removeprefix("store_")
    if not _STORE.match(checked["store"]):
        raise InvalidInput("store", "A store's ID is “store_” followed by letters and digits.")
    if values["endpoint"]:
        checked["endpoint"] = server_url(values["endpoint"], API_PATH)
    checked["prefix"] = folder(values["prefix"])
    return checked


def check_token(values: Mapping[str, str], secrets: Mapping[str, Secret]) -> None:
    """Raise ``InvalidInput`` if this is not a read-write token of the store."""
    store = store_of(secrets["token"])
    if store.lower() != values["store"].lower():
        raise InvalidInput(
            "store",
            f"The token is for the store “store_{store}”, not “store_{values['store']}”.",
            remedy="Copy both from the same store.",
        )


def store_of(token: Secret) -> str:
    """The store a read-write token belongs to. Raises ``InvalidInput`` without repeating the token."""
    match = _TOKEN.match(token.reveal())
    if match is None:
        raise InvalidInput(
            "token",
            "This is not a read-write token of a Vercel Blob store.",
            remedy="Copy BLOB_READ_WRITE_TOKEN from the project's environment variables. It begins with "
            "“vercel_blob_rw_”.",
        )
    return match.group(1)
