"""The options of the SFTP driver, checked without loading paramiko."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence

from dashboard.errors import InvalidInput
from dashboard.storage.drivers.served.options import (
    MAX_CONNECTIONS,
    connections_option,
    host_option,
    parse_host,
    parse_number,
    parse_root,
    parse_user,
    port_option,
    root_option,
)
from dashboard.storage.options import Option, OptionType, Preset, SecretForm

SFTP_OPTIONS = (
    host_option(),
    port_option("22"),
    Option("user", "User", required=True),
    Option(
        "password",
        "Password",
        OptionType.SECRET,
        form=SecretForm.PASSWORD,
        hint="Blank if you sign in with a private key.",
    ),
    Option(
        "private_key",
        "Private key",
        OptionType.SECRET,
        form=SecretForm.TEXT,
        placeholder="-----BEGIN OPENSSH PRIVATE KEY-----",
        hint="The complete file, from the first dashes to the last.",
    ),
    Option(
        "passphrase",
        "Passphrase",
        OptionType.SECRET,
        form=SecretForm.PASSWORD,
        hint="The passphrase of the private key, if it has one.",
    ),
    Option(
        "host_key",
        "Host key",
        guards_secret=True,
        placeholder="SHA256:…",
        hint="The server's fingerprint. Leave it blank and test the connection: the test shows the one the "
        "server offers, and nothing secret is sent before you have entered it here.",
    ),
    root_option(),
    connections_option(8),
)

_FINGERPRINT = re.compile(r"SHA256:([A-Za-z0-9+/]{43})=?(?![A-Za-z0-9+/=])")
_PUBLIC_KEY = re.compile(r"(?:ssh|ecdsa|sk)-[a-z0-9@.-]+\s+(AAAA[A-Za-z0-9+/]{20,}={0,2})")


def check_sftp(values: Mapping[str, str], preset: Preset, forbidden_roots: Sequence[str]) -> dict[str, str]:
    """Normalise SFTP options, without a network call. Raises ``InvalidInput`` naming the option."""
    return {
        **values,
        "host": parse_host(values["host"]),
        "port": parse_number("port", "The port", values["port"], 65535),
        "user": parse_user(values["user"]),
        "root": parse_root(values["root"]),
        "host_key": _host_key(values["host_key"]),
        "connections": parse_number(
            "connections", "The number of connections", values["connections"], MAX_CONNECTIONS
        ),
    }


def fingerprint(public_key: bytes) -> str:
    """Return the ``SHA256:…`` fingerprint of a public key (SSH wire format), as ``ssh-keygen -l`` prints
    it."""
    digest = base64.b64encode(hashlib.sha256(public_key).digest()).decode().rstrip("=")
    return f"SHA256:{digest}"


def _host_key(text: str) -> str:
    """Return space-separated fingerprints from the output of ssh-keygen or ssh-keyscan."""
    if not text:
        return ""
    found = [f"SHA256:{digest}" for digest in _FINGERPRINT.findall(text)]
    for encoded in _PUBLIC_KEY.findall(text):
        try:
            found.append(fingerprint(base64.b64decode(encoded, validate=True)))
        except binascii.Error:
            continue
    if not found:
        raise InvalidInput(
            "host_key",
            "This is not the fingerprint of a host key. A fingerprint is “SHA256:” and 43 characters.",
            remedy="Leave it blank and test the connection to see the server's.",
        )
    return " ".join(dict.fromkeys(found))
