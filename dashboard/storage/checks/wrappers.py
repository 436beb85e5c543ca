"""Options that every backend has, whatever its driver: its wrappers.

One table, added to the options of each driver. Blank and ``false`` mean: no such wrapper.
"""

from __future__ import annotations

import base64
import re
import secrets as random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from dashboard.errors import InvalidInput
from dashboard.storage.checks.options import KEY_BYTES, encryption_key_bytes
from dashboard.storage.net.addresses import host_refusal
from dashboard.storage.options import Option, OptionType, SecretForm
from dashboard.storage.types import Secret

READ_ONLY = "read_only"
FALLBACK = "fallback"
ENCRYPT = "encrypt"
ENCRYPTION_KEY = "encryption_key"
COMPRESS = "compress"
CACHE = "cache"
CACHE_SIZE = "cache_size"
CACHE_SECONDS = "cache_seconds"
CACHE_REDIS = "cache_redis"
CACHE_FOLDER = "cache_folder"
"""Set by the program that builds the driver, not by a person: where a cache stores its entries."""
CACHE_READS = "cache_reads"
"""Also set by the program: ``false`` for a driver that must see what the backend itself stores."""
CDN_DOMAIN = "cdn_domain"
CDN_PURGE = "cdn_purge"
CDN_ZONE = "cdn_zone"
CDN_KEY_ID = "cdn_key_id"
CDN_SECRET = "cdn_secret"
_ID = re.compile(r"[A-Za-z0-9]{4,128}")
_ENDING = re.compile(r"\*|[a-z0-9_-]{1,16}")

_PURGED = (CDN_PURGE, ("cloudfront", "cloudflare"))
_SAFETY = "Read-only and failover"
_ENCRYPTION = "Encryption"
_COMPRESSION = "Compression"
_COPIES = "Copies for faster reads"
_DELIVERY = "Delivery by a CDN"

WRAPPER_OPTIONS = (
    Option(
        READ_ONLY,
        "Read-only",
        OptionType.BOOLEAN,
        advanced=True,
        group=_SAFETY,
        default="false",
        hint="Stowage never writes, changes or deletes anything here.",
    ),
    Option(
        FALLBACK,
        "Use fallback backends when this one fails",
        OptionType.BOOLEAN,
        advanced=True,
        group=_SAFETY,
        default="false",
        hint="The backends of the fallback order, one after the other: reads that find nothing here look "
        "there, and writes go there while this one is unavailable, to be written back later.",
    ),
    Option(
        ENCRYPT,
        "Encrypt objects",
        OptionType.BOOLEAN,
        advanced=True,
        group=_ENCRYPTION,
        default="false",
        place=True,
        hint="Before they leave this machine. Start with an empty container: existing objects cannot be "
        "read through encryption, and what is written with it not without. Names stay readable.",
    ),
    Option(
        ENCRYPTION_KEY,
        "Encryption key",
        OptionType.SECRET,
        advanced=True,
        group=_ENCRYPTION,
        encrypts_objects=True,
        guarded_by=(),
        hint="32 bytes in base64. Keep a copy outside Stowage: without this key everything encrypted with it "
        "is lost. It cannot be shown or replaced later.",
    ),
    Option(
        COMPRESS,
        "Compress files ending in",
        advanced=True,
        group=_COMPRESSION,
        place=True,
        placeholder="csv json log txt xml",
        hint="They are stored smaller, as zstd; “*” means all. Listing them takes one more request each. "
        "Endings may be added later, not taken away.",
    ),
    Option(
        CACHE,
        "Keep copies of what is read",
        OptionType.BOOLEAN,
        advanced=True,
        group=_COPIES,
        default="false",
        hint="On this machine's disk, in the instance folder. A copy is used while it is the version the "
        "backend has.",
    ),
    Option(
        CACHE_SIZE,
        "Space for copies, in MiB",
        advanced=True,
        group=_COPIES,
        default="1024",
        hint="The least recently used go first. An object above a quarter of it is not kept.",
    ),
    Option(
        CACHE_SECONDS,
        "Cache lifetime (seconds)",
        advanced=True,
        group=_COPIES,
        default="0",
        hint="For this long after the last check, an entry is used without checking the backend for changes. "
        "With 0 it is checked every time.",
    ),
    Option(
        CACHE_REDIS,
        "Redis for copies",
        OptionType.SECRET,
        advanced=True,
        group=_COPIES,
        form=SecretForm.ADDRESS,
        guarded_by=(),
        placeholder="rediss://user:password@cache.example.com:6379/0",
        hint="The address of a Redis server to keep copies in, up to 8 MiB each, instead of this disk.",
    ),
    Option(
        CDN_DOMAIN,
        "CDN domain",
        advanced=True,
        group=_DELIVERY,
        placeholder="cdn.example.com",
        hint="Links to files use it, so the network must be allowed to read this place.",
    ),
    Option(
        CDN_PURGE,
        "When a file changes",
        OptionType.CHOICE,
        advanced=True,
        group=_DELIVERY,
        default="none",
        choices=(
            ("none", "Leave the CDN alone"),
            ("cloudfront", "Purge it at CloudFront"),
            ("cloudflare", "Purge it at Cloudflare"),
        ),
    ),
    Option(
        CDN_ZONE,
        "Distribution or zone ID",
        advanced=True,
        shown_with=_PURGED,
        group=_DELIVERY,
        hint="CloudFront: the distribution's ID. Cloudflare: Zone ID, on the domain's overview page.",
    ),
    Option(
        CDN_KEY_ID,
        "CloudFront access key ID",
        advanced=True,
        shown_with=(CDN_PURGE, ("cloudfront",)),
        group=_DELIVERY,
        hint="Of a user who may cloudfront:CreateInvalidation. Not needed for Cloudflare.",
    ),
    Option(
        CDN_SECRET,
        "CDN key",
        OptionType.SECRET,
        advanced=True,
        group=_DELIVERY,
        guarded_by=(CDN_PURGE,),
        unused_with=(CDN_PURGE, "none"),
        shown_with=_PURGED,
        hint="CloudFront: the secret access key. Cloudflare: an API token with the permission Cache Purge.",
    ),
)


@dataclass(frozen=True, slots=True)
class WrapperType:
    """A wrapper: where its factory is, and whether checked options switch it on."""

    factory: str
    wanted: Callable[[Mapping[str, str], Mapping[str, Secret]], bool]


def is_read_only(options: Mapping[str, str]) -> bool:
    """Whether a backend with these stored options refuses every write."""
    return options.get(READ_ONLY) == "true"


def has_fallback(options: Mapping[str, str]) -> bool:
    """Whether other backends stand in for one with these stored options."""
    return options.get(FALLBACK) == "true"


def is_encrypted(options: Mapping[str, str]) -> bool:
    """Whether a backend with these stored options encrypts its objects."""
    return options.get(ENCRYPT) == "true"


def endings(text: str) -> frozenset[str]:
    """Return the extensions in a stored option, in lowercase and without dots."""
    return frozenset(text.split())


def _keeps_copies(options: Mapping[str, str], secrets: Mapping[str, Secret]) -> bool:
    somewhere = bool(options.get(CACHE_FOLDER) or secrets.get(CACHE_REDIS))
    return options.get(CACHE) == "true" and somewhere


def cache_bytes(options: Mapping[str, str]) -> int:
    """How much a cache on disk may hold."""
    return int(options.get(CACHE_SIZE) or "1024") * 1024 * 1024


WRAPPERS = (
    WrapperType(
        "dashboard.storage.wrappers.cached.driver:Cached.from_options",
        _keeps_copies,
    ),
    WrapperType(
        "dashboard.storage.wrappers.cdn.driver:BehindCdn.from_options",
        lambda options, secrets: bool(options.get(CDN_DOMAIN)),
    ),
    WrapperType(
        "dashboard.storage.wrappers.encrypted.driver:Encrypted.from_options",
        lambda options, secrets: is_encrypted(options),
    ),
    WrapperType(
        "dashboard.storage.wrappers.compressed.driver:Compressed.from_options",
        lambda options, secrets: bool(options.get(COMPRESS)),
    ),
    WrapperType(
        "dashboard.storage.wrappers.read_only:ReadOnly.from_options",
        lambda options, secrets: is_read_only(options),
    ),
)
"""Innermost first."""


def check_wrappers(options: Mapping[str, str], secrets: Mapping[str, Secret]) -> dict[str, str]:
    """Return the options with those of the wrappers normalized. Raises ``InvalidInput``."""
    checked = dict(options)
    checked[COMPRESS] = _endings(options.get(COMPRESS, ""))
    checked[CACHE_SIZE] = _number(options.get(CACHE_SIZE, ""), CACHE_SIZE, 1, 100 * 1024 * 1024)
    checked[CACHE_SECONDS] = _number(options.get(CACHE_SECONDS, ""), CACHE_SECONDS, 0, 86_400)
    if secrets.get(CACHE_REDIS):
        _check_redis(secrets[CACHE_REDIS])
    checked[CDN_DOMAIN] = _domain(options.get(CDN_DOMAIN, ""))
    if options.get(CDN_PURGE, "none") != "none":
        _check_purge(checked, secrets)
    if secrets.get(ENCRYPTION_KEY):
        encryption_key(secrets[ENCRYPTION_KEY])
    elif is_encrypted(options):
        raise InvalidInput(
            ENCRYPTION_KEY,
            "To encrypt objects a key is needed.",
            remedy="Make a new one beside the field or with: stowage backend new-key. Keep a copy of it.",
        )
    return checked


def refuse_without_console(options: Mapping[str, str], secrets: Mapping[str, Secret]) -> None:
    """Raise ``InvalidInput`` for options that need a console, which knows other backends and has a folder."""
    if has_fallback(options):
        raise InvalidInput(
            FALLBACK,
            "Fallback backends work only in a console, which records the writes that wait.",
            remedy="Add the backend to a console, and open it with dashboard.app.open_storage().",
        )
    if options.get(CACHE) == "true" and not secrets.get(CACHE_REDIS):
        raise InvalidInput(
            CACHE,
            "Without a console there is no folder in which copies could be kept.",
            remedy="Name a Redis server in “cache_redis”, or add the backend to a console.",
        )


def refuse_unreadable(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Raise ``InvalidInput`` for a change after which objects that are there could not be read any more."""
    remedy = "Remove the backend here and add it again with other settings: its objects stay where they are."
    if is_encrypted(before) and not is_encrypted(after):
        raise InvalidInput(ENCRYPT, "What is encrypted could not be read without encryption.", remedy=remedy)
    gone = endings(before.get(COMPRESS, "")) - endings(after.get(COMPRESS, ""))
    if gone and "*" not in endings(after.get(COMPRESS, "")):
        raise InvalidInput(
            COMPRESS,
            f"What is compressed already could not be read any more without “{min(gone)}” here.",
            remedy=remedy,
        )


def _endings(text: str) -> str:
    """Return the extensions sorted, in lowercase, without dots and duplicates."""
    found = {
        each.removeprefix("*").removeprefix(".") or each for each in text.lower().replace(",", " ").split()
    }
    for each in found:
        if not _ENDING.fullmatch(each):
            raise InvalidInput(
                COMPRESS,
                f"“{each}” is not the ending of a file's name.",
                remedy="List endings with spaces between them, such as: csv json txt.",
            )
    return " ".join(sorted(found))


def _number(text: str, field: str, least: int, most: int) -> str:
    [option] = [each for each in WRAPPER_OPTIONS if each.name == field]
    text = text.strip() or option.default
    if not (text.isascii() and text.isdecimal()) or len(text) > 12 or not least <= int(text) <= most:
        raise InvalidInput(field, f"“{option.label}” is a whole number from {least:,} to {most:,}.")
    return str(int(text))


def _domain(text: str) -> str:
    """Return a bare host name in lowercase."""
    host = text.lower().removeprefix("https://").removesuffix("/")
    if host and (host_refusal(host) or "." not in host):
        raise InvalidInput(CDN_DOMAIN, "The CDN domain is a host name, such as “cdn.example.com”.")
    return host


def _check_purge(options: Mapping[str, str], secrets: Mapping[str, Secret]) -> None:
    if not options[CDN_DOMAIN]:
        raise InvalidInput(CDN_DOMAIN, "To purge addresses, the CDN's domain must be known.")
    if not _ID.fullmatch(options.get(CDN_ZONE, "")):
        raise InvalidInput(CDN_ZONE, "The distribution or zone ID has letters and digits only.")
    if options[CDN_PURGE] == "cloudfront" and not _ID.fullmatch(options.get(CDN_KEY_ID, "")):
        raise InvalidInput(CDN_KEY_ID, "CloudFront needs an access key ID, of letters and digits.")
    if not secrets.get(CDN_SECRET):
        raise InvalidInput(CDN_SECRET, "To purge addresses a key of the CDN is needed.")


def _check_redis(secret: Secret) -> None:
    try:
        parts = urlsplit(secret.reveal())
        good = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and parts.port != 0
        good = good and not parts.query and not parts.fragment
        refusal = host_refusal(parts.hostname or "") if good else ""
    except ValueError:
        good, refusal = False, ""
    if refusal or not good:
        # Its text may hold a password, so none of it is repeated.
        raise InvalidInput(
            CACHE_REDIS,
            refusal or "That is not the address of a Redis server.",
            remedy="Write redis://host:6379/0, or rediss:// for TLS, with user:password@ before the host.",
        ) from None


def new_encryption_key() -> Secret:
    """A random key, in the form it is entered in."""
    return Secret(base64.b64encode(random.token_bytes(KEY_BYTES)).decode())


def encryption_key(secret: Secret) -> bytes:
    """The key's bytes. Raises ``InvalidInput``."""
    return encryption_key_bytes(ENCRYPTION_KEY, secret)
