"""Which migrations are refused before they begin: from a place into itself, or into a read-only backend."""

from __future__ import annotations

from collections.abc import Mapping

from dashboard.errors import InvalidInput
from dashboard.migration.types import Spec
from dashboard.storage.checks.wrappers import is_read_only
from dashboard.storage.registry import location, noun_of


def refuse_overlap(
    source: tuple[str, Mapping[str, str]], destination: tuple[str, Mapping[str, str]], prefix: str
) -> None:
    """Raise ``InvalidInput`` when what is read and what is written may be the same objects.

    Each side is a driver's name and its options. Only what can be known without the network counts:
    two names of one server are not recognised as one.
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
        remedy = "Choose folders that lie beside each other, or give a prefix that keeps them apart."
    else:
        reason = f"Both backends use the same {noun}, and one's folder lies inside the other's."
        remedy = f"Give both backends folders of their own inside the {noun}, or use another {noun}."
    raise InvalidInput("destination", reason, remedy=remedy)


def refuse_read_only(source: Mapping[str, str], destination: Mapping[str, str], spec: Spec) -> None:
    """Raise ``InvalidInput`` when the migration would write to a backend that is read-only here.

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
