"""The options of the Azure driver, checked without loading the vendor's SDK.

One secret field accepts all three kinds of credentials: with two fields, a new SAS token and the old account
key could be saved together, and it would be unclear which is used.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

from dashboard.errors import InvalidInput
from dashboard.storage.checks.options import TLS_OPTIONS, certificates, folder, folder_option, server_url
from dashboard.storage.options import Option, OptionType, Preset
from dashboard.storage.types import Secret

AZURE_OPTIONS = (
    Option(
        "account",
        "Storage account",
        required=True,
        placeholder="mystorageaccount",
        guards_secret=True,
        hint="Its name: 3 to 24 lowercase letters and digits, the first part of the account's address.",
    ),
    Option("container", "Container", required=True, placeholder="media", place=True),
    Option(
        "credential",
        "Account key, SAS token or connection string",
        OptionType.SECRET,
        required=True,
        hint="Paste any of the three; Stowage recognizes which it is.",
    ),
    folder_option("container"),
    Option(
        "access_tier",
        "Access tier",
        OptionType.CHOICE,
        advanced=True,
        default="default",
        choices=(
            ("default", "The account's default"),
            ("Hot", "Hot"),
            ("Cool", "Cool"),
            ("Cold", "Cold"),
        ),
        hint="For every object that Stowage writes. Archive is missing because its objects cannot be read.",
    ),
    Option(
        "endpoint",
        "Endpoint",
        OptionType.URL,
        advanced=True,
        guards_secret=True,
        placeholder="https://mystorageaccount.blob.core.usgovcloudapi.net",
        hint="Blank for public Azure. For other clouds, Azure Stack and Azurite: the blob service's address.",
    ),
    *TLS_OPTIONS,
)

_ACCOUNT = re.compile(r"[a-z0-9]{3,24}\Z")
_CONTAINER = re.compile(r"(\$root|\$web|[a-z0-9](-?[a-z0-9]){2,62})\Z")


def check_azure(values: Mapping[str, str], preset: Preset, forbidden_roots: Sequence[str]) -> dict[str, str]:
    """Check and normalize the options. Raises ``InvalidInput`` that names the option.
    https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
    """
    checked = dict(values)
    if not _ACCOUNT.match(values["account"]):
        raise InvalidInput("account", "A storage account's name has 3 to 24 lowercase letters and digits.")
    if not _CONTAINER.match(values["container"]) or len(values["container"]) > 63:
        raise InvalidInput(
            "container",
            "A container's name has 3 to 63 lowercase letters, digits and single hyphens, "
            "and begins and ends with a letter or digit.",
        )
    if values["endpoint"]:
        checked["endpoint"] = server_url(values["endpoint"], f"/{values['account']}")
    checked["prefix"] = folder(values["prefix"])
    checked["ca_certificate"] = certificates(values["ca_certificate"])
    return checked


@dataclass(frozen=True, slots=True)
class Credential:
    """Exactly one of the two is set."""

    account_key: Secret | None = None
    sas_token: Secret | None = None


def parse_credential(account: str, secret: Secret) -> Credential:
    """Parse an account key, SAS token or connection string. Raises ``InvalidInput`` without repeating it."""
    text = secret.reveal()
    if ";" in text and "=" in text.partition(";")[0]:
        return _from_connection_string(account, text)
    token = text.partition("?")[2] if "?" in text else text
    if "sig" in parse_qs(token):
        return Credential(sas_token=Secret(token))
    return Credential(account_key=_parse_account_key(text))


def check_credential(values: Mapping[str, str], secrets: Mapping[str, Secret]) -> None:
    """Raise ``InvalidInput`` if the secret is none of the three kinds."""
    parse_credential(values["account"], secrets["credential"])


def _from_connection_string(account: str, text: str) -> Credential:
    pairs = (part.partition("=") for part in text.split(";") if part)
    fields = {name.strip().lower(): value.strip() for name, _, value in pairs}
    named = fields.get("accountname", account)
    if named != account:
        raise InvalidInput("account", f"The connection string is for the account “{named}”, not “{account}”.")
    key, token = fields.get("accountkey", ""), fields.get("sharedaccesssignature", "")
    if bool(key) == bool(token):
        raise InvalidInput(
            "credential",
            "The connection string must contain either an account key or a SAS token.",
            remedy="Copy it again from the account's page “Access keys”.",
        )
    return (
        Credential(account_key=_parse_account_key(key))
        if key
        else Credential(sas_token=Secret(token.lstrip("?")))
    )


def _parse_account_key(text: str) -> Secret:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) < 16:
        raise InvalidInput(
            "credential",
            "This is neither an account key, nor a SAS token, nor a connection string.",
            remedy="Copy it again from the account's page “Access keys” or “Shared access signature”.",
        )
    return Secret(text)
