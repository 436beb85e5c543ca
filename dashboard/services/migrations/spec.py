"""The spec of a migration: check it, store it as JSON, and write it as a command line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from dashboard.errors import InvalidInput
from dashboard.migration.globs import compile_filter
from dashboard.migration.types import AUTOMATIC, MAX_CARRIERS, MAX_WORKERS, OnConflict, Spec, Verify
from dashboard.rates.bandwidth import Bandwidth, parse_objects, print_objects
from dashboard.storage.checks.wrappers import is_read_only
from dashboard.storage.registry import location, noun_of

MAX_PREFIX_BYTES = 1024
"""Bytes of UTF-8: the longest key S3 knows."""

DEFAULT_LIMIT = "default"
"""Typed for a limit: the console's."""
REPLACED_IN = "replaced_in"
"""Beside a stored spec: the folder at the destination in which what is replaced is kept."""
AS_OF = "as_of"
"""Beside a stored spec: the run of a scheduled copy after which the source is read as it was then."""


def check_spec(spec: Spec) -> None:
    """Raise ``InvalidInput``, naming the field, if the spec cannot be carried out."""
    _check_prefix(spec.prefix)
    own_bandwidth(spec.bandwidth_limit)
    own_objects(spec.objects_per_second)
    compile_filter(spec.include, spec.exclude)
    if not (spec.workers == AUTOMATIC or 1 <= spec.workers <= MAX_WORKERS):
        raise InvalidInput("workers", f"Between 1 and {MAX_WORKERS} objects can be copied at once.")
    if not 0 <= spec.carriers <= MAX_CARRIERS:
        raise InvalidInput("carriers", f"Carriers are processes: between 1 and {MAX_CARRIERS} of them.")
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


def own_bandwidth(text: str) -> str:
    """The normal form of a bandwidth limit; empty for the console's. Raises ``InvalidInput``."""
    return "" if text.strip() in ("", DEFAULT_LIMIT) else str(Bandwidth.parse(text))


def own_objects(text: str) -> str:
    """The normal form of a number of objects per second; empty for the console's. Raises ``InvalidInput``."""
    return "" if text.strip() in ("", DEFAULT_LIMIT) else print_objects(parse_objects(text))


def _check_prefix(prefix: str) -> None:
    try:
        size = len(prefix.encode())
    except UnicodeEncodeError:
        raise InvalidInput("prefix", "The prefix is not valid text.") from None
    if size > MAX_PREFIX_BYTES:
        raise InvalidInput("prefix", f"The prefix is longer than {MAX_PREFIX_BYTES} bytes.")
    if any(ord(c) < 32 or ord(c) == 127 for c in prefix):
        raise InvalidInput("prefix", "The prefix holds control characters or line breaks.")


def refuse_overlap(
    source: tuple[str, Mapping[str, str]], destination: tuple[str, Mapping[str, str]], prefix: str
) -> None:
    """Raise ``InvalidInput`` if the migration may read and write the same objects.

    Each side is a driver's name and its options. This check does not use the network, so it does not
    recognize two names of the same server.
    """
    here, there = location(*source), location(*destination)
    if source[0] != destination[0] or here.server != there.server:
        return
    read, written = here.path + prefix, there.path + prefix
    if read == written:
        raise InvalidInput(
            "destination",
            "Source and destination are the same place under two names.",
            remedy="Choose a backend that points somewhere else.",
        )
    if not (read.startswith(written) or written.startswith(read)):
        return
    noun = noun_of(source[0])
    if noun == "folder":
        reason = "One of the two folders lies inside the other, so the copy would contain itself."
        remedy = "Choose folders of which neither contains the other, or give a prefix that keeps them apart."
    else:
        reason = f"Both backends use the same {noun}, and one's folder lies inside the other's."
        remedy = f"Give both backends folders of their own inside the {noun}, or use another {noun}."
    raise InvalidInput("destination", reason, remedy=remedy)


def refuse_read_only(source: Mapping[str, str], destination: Mapping[str, str], spec: Spec) -> None:
    """Raise ``InvalidInput`` if the migration would write to a read-only backend.

    Each side is a backend's options.
    """
    remedy = "Choose another backend, or switch “Read-only” off in its form."
    if is_read_only(destination):
        raise InvalidInput(
            "destination", "The destination is a read-only backend: nothing is written there.", remedy=remedy
        )
    if spec.delete_source and is_read_only(source):
        raise InvalidInput(
            "source",
            "The source is a read-only backend: nothing can be deleted from it.",
            remedy="Copy without deleting from the source, or switch “Read-only” off in its form.",
        )


def to_json(spec: Spec) -> dict[str, Any]:
    """Return the spec as it is stored with its migration."""
    return {
        "prefix": spec.prefix,
        "include": list(spec.include),
        "exclude": list(spec.exclude),
        "on_conflict": spec.on_conflict.value,
        "verify": spec.verify.value,
        "dry_run": spec.dry_run,
        "delete_source": spec.delete_source,
        "workers": spec.workers,
        "carriers": spec.carriers,
        "bandwidth_limit": own_bandwidth(spec.bandwidth_limit),
        "objects_per_second": own_objects(spec.objects_per_second),
    }


def from_json(stored: Mapping[str, Any]) -> Spec:
    """Return the spec from its stored form."""
    return Spec(
        prefix=stored["prefix"],
        include=tuple(stored["include"]),
        exclude=tuple(stored["exclude"]),
        on_conflict=OnConflict(stored["on_conflict"]),
        verify=Verify(stored["verify"]),
        dry_run=stored["dry_run"],
        delete_source=stored["delete_source"],
        workers=stored["workers"],
        carriers=stored.get("carriers", 0),
        bandwidth_limit=stored.get("bandwidth_limit", ""),
        objects_per_second=stored.get("objects_per_second", ""),
    )


def command_line(source: str, destination: str, spec: Spec) -> str:
    """Return the ``stowage migrate`` command for the same migration, quoted for a shell."""
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
    if spec.carriers != default.carriers:
        words += _option("--carriers", str(spec.carriers))
    if spec.bandwidth_limit:
        words += _option("--bandwidth-limit", spec.bandwidth_limit)
    if spec.objects_per_second:
        words += _option("--objects-per-second", spec.objects_per_second)
    if spec.dry_run:
        words.append("--dry-run")
    return shlex.join(words)


def _option(name: str, value: str) -> list[str]:
    # A value that begins with a hyphen would be read as the next option.
    return [f"{name}={value}"] if value.startswith("-") else [name, value]
