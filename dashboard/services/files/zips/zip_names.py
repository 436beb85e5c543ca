"""Names of files in a zip: safe to unpack anywhere, and each only once."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

MAX_PART_BYTES = 240
"""Of one part of a name; file systems stop at 255."""
_FORBIDDEN = frozenset('<>:"|?*\\')
"""Characters that names on Windows cannot have; a backslash would be a folder there."""
_JOINERS = "\u200c\u200d"
"""Joined emoji and some scripts need them; other invisible characters can disguise a name."""
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def zip_names(paths: Iterable[str]) -> Sequence[str]:
    """Return a name for each path, in their order: relative, without ``..``, with nothing that a file system
    refuses. Names that some file systems treat as the same get a number, and so does a file whose name is
    also that of a folder."""
    safe = [_safe(path) for path in paths]
    folders = {folder for name in safe for folder in _folders(_folded(name))}
    taken: set[str] = set()
    numbers: dict[str, int] = {}
    return [_free(name, folders, taken, numbers) for name in safe]


def _safe(path: str) -> str:
    parts = [_safe_part(part) for part in path.split("/") if part not in ("", ".")]
    return "/".join(parts) or "_"


def _safe_part(part: str) -> str:
    clean = "".join("_" if _is_bad(character) else character for character in part)
    # Windows drops dots and blanks at the end of a name; “..” is the folder above.
    kept = clean.rstrip(". ")
    clean = kept + "_" * (len(clean) - len(kept))
    if _DEVICES.fullmatch(clean):
        clean = f"_{clean}"
    return _shortened(clean)


def _is_bad(character: str) -> bool:
    if character in _FORBIDDEN:
        return True
    return unicodedata.category(character) in _UNSEEN and character not in _JOINERS


def _shortened(part: str) -> str:
    if len(part.encode()) <= MAX_PART_BYTES:
        return part
    stem, ending = _split(part)
    room = MAX_PART_BYTES - len(ending.encode())
    return stem.encode()[:room].decode("utf-8", "ignore") + ending


def _split(part: str) -> tuple[str, str]:
    stem, dot, ending = part.rpartition(".")
    if not stem or len(ending.encode()) > 20:
        return part, ""
    return stem, dot + ending


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _folders(name: str) -> Iterable[str]:
    end = name.find("/")
    while end >= 0:
        yield name[:end]
        end = name.find("/", end + 1)


def _free(name: str, folders: set[str], taken: set[str], numbers: dict[str, int]) -> str:
    folder, slash, part = name.rpartition("/")
    stem, ending = _split(part)
    base, candidate = _folded(name), name
    while (folded := _folded(candidate)) in taken or folded in folders:
        numbers[base] = numbers.get(base, 1) + 1
        candidate = f"{folder}{slash}{stem} ({numbers[base]}){ending}"
    taken.add(folded)
    return candidate
