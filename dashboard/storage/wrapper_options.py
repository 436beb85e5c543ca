"""What every backend can be told, whatever its driver: which wrappers stand around it.

One table, added to the options of each driver. Blank and ``false`` mean: no such wrapper.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets as random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dashboard.errors import InvalidInput
from dashboard.storage.options import Option, OptionType
from dashboard.storage.types import Secret

READ_ONLY = "read_only"
ENCRYPT = "encrypt"
ENCRYPTION_KEY = "encryption_key"
COMPRESS = "compress"
KEY_BYTES = 32
_ENDING = re.compile(r"\*|[a-z0-9_-]{1,16}")

WRAPPER_OPTIONS = (
    Option(
        READ_ONLY,
        "Read-only",
        OptionType.BOOLEAN,
        advanced=True,
        default="false",
        hint="Stowage never writes, changes or deletes anything here.",
    ),
    Option(
        ENCRYPT,
        "Encrypt objects",
        OptionType.BOOLEAN,
        advanced=True,
        default="false",
        place=True,
        hint="Before they leave this machine. Begin with an empty place: what is there already cannot be "
        "read through encryption, and what is written with it not without. Names stay readable.",
    ),
    Option(
        ENCRYPTION_KEY,
        "Encryption key",
        OptionType.SECRET,
        advanced=True,
        seals_objects=True,
        hint="32 bytes in base64. Keep a copy outside Stowage: without this key everything encrypted with it "
        "is lost. It cannot be shown or replaced later.",
    ),
    Option(
        COMPRESS,
        "Compress files ending in",
        advanced=True,
        place=True,
        placeholder="csv json log txt xml",
        hint="They are stored smaller, as zstd; “*” means all. Listing them takes one more request each. "
        "Endings may be added later, not taken away.",
    ),
)


@dataclass(frozen=True, slots=True)
class WrapperType:
    """A wrapper by name: where its factory is, and whether checked options switch it on."""

    name: str
    factory: str
    wanted: Callable[[Mapping[str, str]], bool]


def is_read_only(options: Mapping[str, str]) -> bool:
    """Whether a backend with these stored options refuses every write."""
    return options.get(READ_ONLY) == "true"


def is_encrypted(options: Mapping[str, str]) -> bool:
    """Whether a backend with these stored options encrypts its objects."""
    return options.get(ENCRYPT) == "true"


def endings(text: str) -> frozenset[str]:
    """The endings in a stored option, in small letters and without dots."""
    return frozenset(text.split())


WRAPPERS = (
    WrapperType(
        "encrypted",
        "dashboard.storage.wrappers.encrypted:Encrypted.from_options",
        is_encrypted,
    ),
    WrapperType(
        "compressed",
        "dashboard.storage.wrappers.compressed:Compressed.from_options",
        lambda options: bool(options.get(COMPRESS)),
    ),
    WrapperType(
        "read-only",
        "dashboard.storage.wrappers.read_only:ReadOnly.from_options",
        is_read_only,
    ),
)
"""Innermost first."""


def check_wrappers(options: Mapping[str, str], secrets: Mapping[str, Secret]) -> dict[str, str]:
    """The options with those of the wrappers normalised. Raises ``InvalidInput`` for what cannot be used."""
    checked = dict(options)
    checked[COMPRESS] = _endings(options.get(COMPRESS, ""))
    if secrets.get(ENCRYPTION_KEY):
        encryption_key(secrets[ENCRYPTION_KEY])
    elif is_encrypted(options):
        raise InvalidInput(
            ENCRYPTION_KEY,
            "To encrypt objects a key is needed.",
            remedy="Make a new one beside the field or with: stowage backend new-key. Keep a copy of it.",
        )
    return checked


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
    """Sorted, in small letters, without dots and doubles."""
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


def new_encryption_key() -> Secret:
    """A random key, in the form it is entered in."""
    return Secret(base64.b64encode(random.token_bytes(KEY_BYTES)).decode())


def encryption_key(secret: Secret) -> bytes:
    """The key's bytes. Raises ``InvalidInput``."""
    text = secret.reveal().translate(str.maketrans("-_", "+/"))
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        # Without a cause: its text could hold part of what was typed.
        raise InvalidInput(
            ENCRYPTION_KEY,
            "That is not an encryption key: it has 32 bytes, written as 43 or 44 letters of base64.",
            remedy="Paste the whole key, or make a new one.",
        ) from None
    return key
