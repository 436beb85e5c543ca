"""What may be typed for a channel, checked field by field."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.headerregistry import Address
from types import MappingProxyType
from urllib.parse import urlsplit

from dashboard.errors import InvalidInput
from dashboard.services.backends.drafts import NAME
from dashboard.services.notifications.notification_values import (
    EVERY,
    ChannelDraft,
    ChannelKind,
    EventKind,
)
from dashboard.storage.net.addresses import host_refusal
from dashboard.storage.types import Secret

MAX_URL, MAX_SECRET, MAX_AUTHORITY, MAX_RECIPIENTS = 2048, 1024, 64 * 1024, 20
MIN_SIGNING_KEY = 16

SECURITY = MappingProxyType({"starttls": "STARTTLS", "tls": "TLS from the start", "none": "No encryption"})
"""How the connection to a mail server is encrypted, and in words."""
PORTS = MappingProxyType({"starttls": 587, "tls": 465, "none": 25})

OPTIONS: Mapping[ChannelKind, frozenset[str]] = MappingProxyType(
    {
        ChannelKind.WEBHOOK: frozenset({"origin", "authority"}),
        ChannelKind.SLACK: frozenset({"origin", "authority"}),
        ChannelKind.EMAIL: frozenset({"host", "port", "security", "username", "from", "to", "authority"}),
    }
)
SECRETS: Mapping[ChannelKind, tuple[str, ...]] = MappingProxyType(
    {
        ChannelKind.WEBHOOK: ("url", "secret"),
        ChannelKind.SLACK: ("url",),
        ChannelKind.EMAIL: ("password",),
    }
)

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}\Z")
_TARGET = re.compile(r"[\x21-\x7e]+\Z")


@dataclass(frozen=True, slots=True)
class KeptSecret:
    """A secret of the saved channel, and where it may be sent."""

    sent_to: str
    value: Secret


@dataclass(frozen=True, slots=True)
class Resolved:
    """A draft that passed: complete options, and every secret, typed now or kept."""

    kind: ChannelKind
    options: Mapping[str, str]
    secrets: Mapping[str, Secret]


def check_name(name: str) -> None:
    """Raise ``InvalidInput`` unless it can be the name of a channel."""
    if not NAME.fullmatch(name):
        raise InvalidInput(
            "name",
            "A name has lower-case letters, digits and hyphens, at most 63, and no hyphen at its beginning.",
        )


def check_timing(draft: ChannelDraft) -> None:
    """Raise ``InvalidInput`` for a draft that is told nothing, or at intervals there are none of."""
    if not draft.events:
        raise InvalidInput("events", "Choose at least one event.")
    if EventKind.TEST in draft.events:
        raise InvalidInput("events", "Only a test sends the event “test”.")
    if draft.every not in EVERY:
        raise InvalidInput("every", "Messages can be 60, 900, 3600 or 86400 seconds apart.")


def resolve(draft: ChannelDraft, kept: Mapping[str, KeptSecret]) -> Resolved:
    """Check a draft's options and secrets; of those ``kept`` by the saved channel it takes the ones that are
    still sent to the same place. Raises ``InvalidInput`` naming the field."""
    allowed = OPTIONS[draft.kind] - {"origin"}
    for name in (*draft.options, *draft.secrets):
        if name not in allowed and name not in SECRETS[draft.kind]:
            raise InvalidInput(name, f"A channel of this kind has no “{name}”.")
    typed = {name: value for name, value in draft.secrets.items() if value}
    authority = _authority(draft.options.get("authority", ""))
    if draft.kind is ChannelKind.EMAIL:
        options, secrets = _resolve_mail(draft.options, typed, kept)
    else:
        secrets = {**{name: each.value for name, each in kept.items()}, **typed}
        if "url" not in secrets:
            raise InvalidInput("url", "Enter the address that messages are sent to.")
        options = {"origin": origin_of(secrets["url"])}
        if draft.kind is ChannelKind.WEBHOOK and "secret" in secrets:
            _check_signing_key(secrets["secret"])
    return Resolved(draft.kind, {**options, "authority": authority}, secrets)


def _resolve_mail(
    typed_options: Mapping[str, str], typed: Mapping[str, Secret], kept: Mapping[str, KeptSecret]
) -> tuple[dict[str, str], dict[str, Secret]]:
    options = _mail_options(typed_options)
    if not options["username"]:
        if "password" in typed:
            raise InvalidInput("username", "A password goes with a user name.", remedy="Enter it as well.")
        return options, {}
    password, old = typed.get("password"), kept.get("password")
    if password is None and old and old.sent_to == recipient_of(ChannelKind.EMAIL, options, "password"):
        password = old.value
    if password is None:
        remedy = "It was entered for another server or user; it is not sent to this one." if old else ""
        raise InvalidInput("password", "Enter the password of this user.", remedy=remedy)
    _check_password(options, password)
    return options, {"password": password}


def recipient_of(kind: ChannelKind, options: Mapping[str, str], name: str) -> str:
    """Where a secret may be sent: it is bound to that, and has to be typed again for another place."""
    if kind is ChannelKind.EMAIL and name == "password":
        # In that order and form since the first version: stored values are bound to this text.
        return f"{options['security']}://{options['username']}@{options['host']}:{options['port']}"
    return ""


def origin_of(url: Secret) -> str:
    """The part of an address that may be shown: scheme, host and port. Raises ``InvalidInput``."""
    text = url.reveal()
    if len(text) > MAX_URL:
        raise InvalidInput("url", f"This address is longer than {MAX_URL} characters.")
    if not _TARGET.match(text):
        raise InvalidInput("url", "An address has no spaces and only ASCII characters.")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise InvalidInput("url", "This is not an address.", remedy="Copy it once more.") from None
    if parts.scheme not in ("https", "http"):
        raise InvalidInput("url", "The address begins with https:// or http://.")
    if parts.username is not None or parts.password is not None:
        raise InvalidInput("url", "An address with a user name or password in it is not used.")
    if parts.fragment:
        raise InvalidInput("url", "A part after “#” is never sent.", remedy="Leave it out.")
    if refusal := host_refusal(host):
        raise InvalidInput("url", refusal)
    named = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{named}" + (f":{port}" if port is not None else "")


def recipients(text: str) -> tuple[str, ...]:
    """The addresses in a field: separated by commas, semicolons or line breaks. Raises ``InvalidInput``."""
    found = tuple(dict.fromkeys(part.strip() for part in re.split(r"[,;\n]", text) if part.strip()))
    if not found:
        raise InvalidInput("to", "Enter at least one address.")
    if len(found) > MAX_RECIPIENTS:
        raise InvalidInput("to", f"At most {MAX_RECIPIENTS} addresses; use a mailing list for more.")
    for each in found:
        _check_address("to", each)
    return found


def _mail_options(typed: Mapping[str, str]) -> dict[str, str]:
    security = typed.get("security", "starttls")
    if security not in SECURITY:
        raise InvalidInput("security", "The encryption is starttls, tls or none.")
    host = typed.get("host", "").strip()
    if refusal := host_refusal(host):
        raise InvalidInput("host", refusal)
    port = typed.get("port", "").strip() or str(PORTS[security])
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65_536):
        raise InvalidInput("port", "A port is a number from 1 to 65535.")
    sender = typed.get("from", "").strip()
    _check_address("from", sender)
    username = typed.get("username", "").strip()
    if len(username) > 254 or not username.isprintable():
        raise InvalidInput("username", "A user name is at most 254 printable characters.")
    return {
        "host": host,
        "port": str(int(port)),
        "security": security,
        "username": username,
        "from": sender,
        "to": ", ".join(recipients(typed.get("to", ""))),
    }


def _check_address(field: str, text: str) -> None:
    domain = text.rpartition("@")[2]
    bad = not _ADDRESS.match(text) or bool(host_refusal(domain)) or ".." in text
    if not bad:
        try:
            Address(addr_spec=text)
        except (ValueError, IndexError):
            bad = True
    if bad:
        shown = text if text.isprintable() and len(text) < 100 else "This"
        raise InvalidInput(
            field, f"{shown or 'This'} is not an e-mail address.", remedy="For example ops@example.com."
        )


def _check_password(options: Mapping[str, str], password: Secret) -> None:
    if len(password.reveal()) > MAX_SECRET:
        raise InvalidInput("password", f"A password has at most {MAX_SECRET} characters.")
    if options["security"] == "none":
        raise InvalidInput(
            "security",
            "A password is never sent without encryption.",
            remedy="Choose STARTTLS or TLS, or leave the user name empty.",
        )


def _check_signing_key(secret: Secret) -> None:
    text = secret.reveal()
    if not MIN_SIGNING_KEY <= len(text) <= MAX_SECRET or not text.isascii() or not text.isprintable():
        raise InvalidInput(
            "secret",
            f"A signing key has {MIN_SIGNING_KEY} to {MAX_SECRET} printable ASCII characters.",
            remedy="Leave it empty to have one made.",
        )


def _authority(text: str) -> str:
    pem = text.strip()
    if not pem:
        return ""
    if len(pem) > MAX_AUTHORITY:
        raise InvalidInput("authority", "This is too long for a certificate.")
    try:
        ssl.create_default_context().load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError):
        raise InvalidInput(
            "authority",
            "This is not a certificate in PEM form.",
            remedy="It begins with -----BEGIN CERTIFICATE-----.",
        ) from None
    return pem
