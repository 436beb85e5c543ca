"""What a person asked for: checked, stored as JSON, and written out as the command that asks the same."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from dashboard.errors import InvalidInput
from dashboard.migration.globs import compile_filter
from dashboard.migration.types import OnConflict, Spec, Verify

MOST_WORKERS = 64
LONGEST_PREFIX = 1024
"""Bytes of UTF-8: the longest key S3 knows."""


def check_spec(spec: Spec) -> None:
    """Raise ``InvalidInput``, naming the field, for anything that cannot be carried out as asked."""
    _check_prefix(spec.prefix)
    compile_filter(spec.include, spec.exclude)
    if not 1 <= spec.workers <= MOST_WORKERS:
        raise InvalidInput("workers", f"Workers are threads: between 1 and {MOST_WORKERS} of them.")
    if spec.delete_source and spec.dry_run:
        raise InvalidInput(
            "delete_source",
            "A dry run changes nothing, so it cannot delete from the source.",
            remedy="Choose one of the two.",
        )
    if spec.delete_source and spec.verify is Verify.SIZE:
        raise InvalidInput(
            "delete_source",
            "Objects are deleted from the source only when the copy is proven by more than its size.",
            remedy="Choose verification by checksum or by full read-back.",
        )


def _check_prefix(prefix: str) -> None:
    try:
        size = len(prefix.encode())
    except UnicodeEncodeError:
        raise InvalidInput("prefix", "The prefix is not valid text.") from None
    if size > LONGEST_PREFIX:
        raise InvalidInput("prefix", f"The prefix is longer than {LONGEST_PREFIX} bytes.")
    if any(ord(c) < 32 or ord(c) == 127 for c in prefix):
        raise InvalidInput("prefix", "The prefix holds control characters or line breaks.")


def to_json(spec: Spec) -> dict[str, Any]:
    """The spec as stored with its migration."""
    return {
        "prefix": spec.prefix,
        "include": list(spec.include),
        "exclude": list(spec.exclude),
        "on_conflict": spec.on_conflict.value,
        "verify": spec.verify.value,
        "dry_run": spec.dry_run,
        "delete_source": spec.delete_source,
        "workers": spec.workers,
    }


def from_json(stored: Mapping[str, Any]) -> Spec:
    """The stored spec as a value."""
    return Spec(
        prefix=stored["prefix"],
        include=tuple(stored["include"]),
        exclude=tuple(stored["exclude"]),
        on_conflict=OnConflict(stored["on_conflict"]),
        verify=Verify(stored["verify"]),
        dry_run=stored["dry_run"],
        delete_source=stored["delete_source"],
        workers=stored["workers"],
    )


def command_line(source: str, destination: str, spec: Spec) -> str:
    """The ``stowage migrate`` line that asks for the same, ready to be pasted into a shell."""
    default = Spec()
    words = ["stowage", "migrate", source, destination]
    if spec.prefix:
        words += _option("--prefix", spec.prefix)
    for pattern in spec.include:
        words += _option("--include", pattern)
    for pattern in spec.exclude:
        words += _option("--exclude", pattern)
    if spec.on_conflict is not default.on_conflict:
        words += _option("--on-conflict", spec.on_conflict.value)
    if spec.verify is not default.verify:
        words += _option("--verify", spec.verify.value)
    if spec.delete_source:
        words.append("--delete-source")
    if spec.workers != default.workers:
        words += _option("--workers", str(spec.workers))
    if spec.dry_run:
        words.append("--dry-run")
    return shlex.join(words)


def _option(name: str, value: str) -> list[str]:
    # A value that begins with a hyphen would be read as the next option.
    return [f"{name}={value}"] if value.startswith("-") else [name, value]
