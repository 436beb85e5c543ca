"""What every backend can be told, whatever its driver: which wrappers stand around it.

One table, added to the options of each driver. Blank and ``false`` mean: no such wrapper.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dashboard.storage.options import Option, OptionType

READ_ONLY = "read_only"

WRAPPER_OPTIONS = (
    Option(
        READ_ONLY,
        "Read-only",
        OptionType.BOOLEAN,
        advanced=True,
        default="false",
        hint="Stowage never writes, changes or deletes anything here.",
    ),
)


def is_read_only(options: Mapping[str, str]) -> bool:
    """Whether a backend with these stored options refuses every write."""
    return options.get(READ_ONLY) == "true"


@dataclass(frozen=True, slots=True)
class WrapperType:
    """A wrapper by name: where its factory is, and whether checked options switch it on."""

    name: str
    factory: str
    wanted: Callable[[Mapping[str, str]], bool]


WRAPPERS = (
    WrapperType(
        "read-only",
        "dashboard.storage.wrappers.read_only:ReadOnly.from_options",
        is_read_only,
    ),
)
"""Innermost first."""
