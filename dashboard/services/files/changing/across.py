"""Copying and moving files to another backend: a small migration with its ledger, its proofs and its page."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dashboard.errors import InvalidInput
from dashboard.migration.globs import MAX_PATTERN_LENGTH, MAX_PATTERNS
from dashboard.migration.types import OnConflict, Spec
from dashboard.services.files.changing.moving_objects import OnTaken
from dashboard.services.files.changing.outcomes import check_number
from dashboard.services.migrations.migrations import Migrations
from dashboard.services.permissions import Actor, Permission

_ON_CONFLICT = {
    OnTaken.REFUSE: OnConflict.FAIL,
    OnTaken.REPLACE: OnConflict.SKIP_SAME,
    OnTaken.KEEP_BOTH: OnConflict.KEEP_BOTH,
}
_SPECIAL = re.compile(r"([\\*?\[])")


class AcrossBackends:
    """Thread-safe."""

    def __init__(self, migrations: Migrations) -> None:
        self._migrations = migrations

    def begin(
        self,
        actor: Actor,
        source: str,
        destination: str,
        keys: Sequence[str],
        *,
        move: bool = False,
        on_taken: OnTaken = OnTaken.REFUSE,
    ) -> int:
        """Begin to copy files to another backend, under the same keys; return the migration's id.

        ``keys`` are keys of files, and of folders with a slash at their end. Copying begins as soon as they
        are listed. With ``move`` the originals are deleted once all copies are proven. ``REPLACE`` leaves out
        files that are the same. Raises ``FORBIDDEN``, ``InvalidInput``, and what ``Migrations.create``
        raises.
        """
        actor.require(Permission.WRITE_FILES)
        return self._migrations.create(
            actor, source, destination, spec_for(keys, move=move, on_taken=on_taken), approve=True
        )


def spec_for(keys: Sequence[str], *, move: bool, on_taken: OnTaken) -> Spec:
    """Return the migration of exactly these files and folders. Raises ``InvalidInput`` for keys that no
    migration can be limited to."""
    check_number(keys)
    if len(keys) > MAX_PATTERNS:
        raise InvalidInput(
            "files",
            f"At most {MAX_PATTERNS} files and folders can be sent to another backend at once.",
            remedy="Select the folder that they are in, or start a migration with a prefix.",
        )
    for key in keys:
        if key.startswith("/") or not key.isprintable() or not _is_text(key):
            raise InvalidInput(
                "files",
                f"“{key}” cannot be selected by itself because of the characters in its name.",
                remedy="Choose the folder that it is in.",
            )
    whole = len(keys) == 1 and keys[0].endswith("/")
    patterns = () if whole else tuple(_pattern(key) for key in keys)
    if any(len(pattern) > MAX_PATTERN_LENGTH for pattern in patterns):
        raise InvalidInput("files", "A name is too long.", remedy="Choose the folder that it is in.")
    prefix = keys[0] if whole else _common_folder(keys)
    return Spec(prefix=prefix, include=patterns, on_conflict=_ON_CONFLICT[on_taken], delete_source=move)


def _is_text(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def _pattern(key: str) -> str:
    """Return the glob that matches this key alone, or everything in this folder."""
    exact = _SPECIAL.sub(r"\\\1", key)
    return f"{exact}**" if key.endswith("/") else exact


def _common_folder(keys: Sequence[str]) -> str:
    first, last = min(keys), max(keys)
    length = next((n for n, letter in enumerate(first) if last[n : n + 1] != letter), len(first))
    return first[: first.rfind("/", 0, length) + 1]
