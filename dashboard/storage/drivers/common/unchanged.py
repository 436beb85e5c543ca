"""Deleting under a condition that the server compares."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from dashboard.storage.errors import Changed, NotFound


def delete_unchanged(delete: Callable[[], None], look: Callable[[], object]) -> None:
    """``delete`` an object under the condition that it is still of some version; a missing one is success.
    Servers say of a missing one that the condition does not hold, so ``look`` tells the two apart."""
    with suppress(NotFound):
        try:
            delete()
        except Changed:
            look()
            raise
