"""Checks of options that several drivers have. They raise ``InvalidInput`` naming the option."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import urlsplit

from dashboard.errors import InvalidInput
from dashboard.storage.net.addresses import host_refusal, parse_ip
from dashboard.storage.options import Option, OptionType
from dashboard.storage.types import Secret

KEY_BYTES = 32
"""Length of a key that encrypts objects: AES-256."""

TLS_OPTIONS = (
    Option(
        "tls_verify",
        "Check the server's certificate",
        OptionType.BOOLEAN,
        advanced=True,
        default="true",
        guards_secret=True,
        hint="Leave this on. For a private certificate authority, paste its certificate below.",
    ),
    Option(
        "ca_certificate",
        "Certificate authority",
        OptionType.MULTILINE,
        advanced=True,
        guards_secret=True,
        placeholder="-----BEGIN CERTIFICATE-----",
        hint="PEM, for servers whose certificate no public authority signed. Never a private key.",
    ),
)
"""Which certificates a driver that uses TLS trusts."""


def folder_option(noun: str) -> Option:
    """The option for the folder of a bucket, container or store that is used, see :func:`folder`."""
    return Option(
        "prefix",
        f"Folder inside the {noun}",
        advanced=True,
        place=True,
        placeholder="media/",
        hint="Stowage then sees and writes only keys that begin with it.",
    )


def server_url(text: str, allowed_path: str = "") -> str:
    """Return ``scheme://host[:port]`` and, if it was typed, the allowed path; nothing else is accepted."""
    field = "endpoint"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InvalidInput(
            field, "The endpoint is not a URL.", remedy="Write https://host or https://host:port."
        ) from None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise InvalidInput(
            field,
            "The endpoint must begin with https:// or http://.",
            remedy="Write https://host or https://host:port.",
        )
    if parts.username is not None or parts.password is not None:
        raise InvalidInput(
            field, "The endpoint must not hold a user name or password.", remedy="Use the key fields."
        )
    if "?" in text or "#" in text or parts.path.rstrip("/") not in ("", allowed_path):
        raise InvalidInput(
            field,
            "The endpoint must end after the host and port"
            + (f", or with “{allowed_path}”." if allowed_path else "."),
            remedy="What is inside has fields of its own.",
        )
    host = parts.hostname or ""
    if refusal := host_refusal(host):
        raise InvalidInput(field, refusal)
    if port == 0 or (port is None and parts.netloc.endswith(":")):
        raise InvalidInput(field, "The port must be a number from 1 to 65535.")
    address = parse_ip(host)
    shown = host if address is None else f"[{address}]" if address.version == 6 else str(address)
    suffix = f":{port}" if port is not None else ""
    return f"{parts.scheme}://{shown}{suffix}{parts.path.rstrip('/')}"


def folder(text: str) -> str:
    """Return the folder with exactly one slash at its end and none at its beginning; empty for the whole
    container."""
    field = "prefix"
    inner = text.strip("/")
    if not inner:
        return ""
    if len(inner.encode()) > 512:
        raise InvalidInput(field, "The folder is longer than 512 bytes.")
    if any(ord(c) < 32 or ord(c) == 127 for c in inner):
        raise InvalidInput(field, "The folder's name holds control characters.")
    if any(segment in ("", ".", "..") or segment != segment.strip() for segment in inner.split("/")):
        raise InvalidInput(field, "The folder holds “//”, “.”, “..” or spaces at the ends of a name.")
    return inner + "/"


def certificates(pem: str) -> str:
    """Return one or more PEM certificates, without a private key, with normalized line ends."""
    field = "ca_certificate"
    if not pem:
        return ""
    # Slow to load, and most programs never come here.
    import ssl

    if "PRIVATE KEY" in pem:
        raise InvalidInput(field, "That is a private key. Paste only the authority's certificate.")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError, OSError) as error:
        raise InvalidInput(
            field,
            "That is not a PEM certificate.",
            remedy="Paste the whole text from “-----BEGIN CERTIFICATE-----” to “-----END CERTIFICATE-----”.",
        ) from error
    return pem.replace("\r\n", "\n").strip() + "\n"


def encryption_key_bytes(field: str, secret: Secret) -> bytes:
    """Return the bytes of an encryption key from base64 in either alphabet."""
    text = secret.reveal().translate(str.maketrans("-_", "+/"))
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        # Without a cause: its text could hold part of what was typed.
        raise InvalidInput(
            field,
            f"That is not an encryption key: one has {KEY_BYTES} bytes, in 43 or 44 letters of base64.",
            remedy="Paste the whole key, or make a new one.",
        ) from None
    return key
