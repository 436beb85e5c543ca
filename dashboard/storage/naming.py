"""What a stored file is called: a person's file name made safe and unique, in a folder of the day."""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import quote

from dashboard.errors import InvalidInput

_MAX_STEM_LENGTH = 80
_MAX_DOWNLOAD_NAME_LENGTH = 150
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_ENDING = re.compile(r"\.[A-Za-z0-9]{1,11}\Z")


class UniqueKey(str):
    """A key that nobody else can have, because it contains enough random bits.

    It is written only where nothing exists (``create_only``), so it may wait in another backend while its own
    is unavailable: it cannot conflict with anything. Any operation on the text returns a plain ``str``.
    """

    __slots__ = ()


class Naming(Protocol):
    """A policy. Thread-safe."""

    @property
    def unique(self) -> bool:
        """Whether every call returns a key that was never returned before."""
        ...

    def key_for(self, name: str) -> str:
        """Return the key under which a file that a person calls ``name`` is stored. A key that is unique only
        by randomness is a ``UniqueKey``."""
        ...


def safe_name(name: str) -> str:
    """Return a file name of ASCII letters, digits, ``.``, ``-`` and ``_`` that still resembles what the
    person called it. Parent folders and accents are removed; an empty result becomes ``file``. It begins with
    a letter or digit, so it is neither hidden nor an option nor a parent folder, and keeps an ordinary
    extension."""
    last = re.split(r"[/\\]", name)[-1]
    plain = unicodedata.normalize("NFKD", last.replace("ß", "ss")).encode("ascii", "ignore").decode()
    plain = re.sub(r"\.+", ".", _UNSAFE.sub("-", plain)).rstrip("-._")
    found = _ENDING.search(plain)
    # The whole name of a hidden file is no ending.
    ending = found[0] if found is not None and last.rpartition(".")[0].strip("-._ ") else ""
    stem = plain.removesuffix(ending).strip("-._")[:_MAX_STEM_LENGTH].strip("-._")
    return (stem or "file") + ending.lower()


@dataclass(frozen=True, slots=True)
class AsGiven:
    """The name is the key, below a folder; an existing file of that name is replaced."""

    folder: str = ""
    unique: bool = False

    def key_for(self, name: str) -> str:
        """See ``Naming``. Raises ``InvalidInput`` for a name that would leave the folder."""
        parts = name.split("/")
        if not name or any(part in ("", ".", "..") for part in parts):
            raise InvalidInput("name", f"“{name}” is not a path below a folder.", remedy="Write a/b.css.")
        return _join_folder(self.folder, name)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class UniqueNames:
    """A safe form of the name and 64 random bits, below a folder, and with ``dated`` below one of the day
    (UTC): ``uploads/2026/11/21/report-3f9a1c2b7d4e8a60.pdf``. Nobody overwrites or guesses another's."""

    folder: str = ""
    dated: bool = False
    clock: Callable[[], datetime] = _now
    unique: bool = True

    def key_for(self, name: str) -> UniqueKey:
        """See ``Naming``."""
        unique = add_unique_suffix(safe_name(name))
        return UniqueKey(
            _join_folder(self.folder, f"{self.clock():%Y/%m/%d}/{unique}" if self.dated else unique)
        )


def add_unique_suffix(name: str, *, longest: int | None = None) -> UniqueKey:
    """Return the name with 64 random bits before its extension, at most ``longest`` characters long."""
    found = _ENDING.search(name)
    ending = found[0] if found is not None else ""
    stem, random = name.removesuffix(ending), f"-{secrets.token_hex(8)}"
    if longest is not None:
        stem = stem[: max(0, longest - len(random) - len(ending))]
    return UniqueKey(stem + random + ending)


def _join_folder(folder: str, name: str) -> str:
    inner = folder.strip("/")
    return f"{inner}/{name}" if inner else name


def content_disposition(name: str, *, inline: bool = False) -> str:
    """Return the header under which a file with any name is saved or, if ``inline``, shown (RFC 6266, RFC
    8187).

    Werkzeug's own helper raises for line breaks and lone surrogates. This one always returns one line of
    ASCII.
    """
    clean = "".join(
        "_" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") or c in "/\\" else c for c in name
    )
    clean = clean.strip(" .")[:_MAX_DOWNLOAD_NAME_LENGTH] or "download"
    plain = "".join(c if 32 <= ord(c) < 127 and c not in '"\\%' else "_" for c in clean)
    header = f'{"inline" if inline else "attachment"}; filename="{plain}"'
    if plain != clean:
        header += f"; filename*=UTF-8''{quote(clean, safe='')}"
    return header
