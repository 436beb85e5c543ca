"""What a driver says of itself before anything of it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dashboard.storage.driver import Driver
from dashboard.storage.options import Option, Preset
from dashboard.storage.types import Secret

Check = Callable[[Mapping[str, str], Preset, Sequence[str]], dict[str, str]]
CheckSecrets = Callable[[Mapping[str, str], Mapping[str, Secret]], None]
Factory = Callable[[Mapping[str, str], Mapping[str, Secret]], Driver]


def unchanged(values: Mapping[str, str], preset: Preset, forbidden_roots: Sequence[str]) -> dict[str, str]:
    """The check of a driver whose options need none beyond their types."""
    return dict(values)


@dataclass(frozen=True, slots=True)
class DriverType:
    """A driver by name: where its factory is, what it can be told, and how that is checked.

    ``factory`` is ``package.module:Class.method``, imported when the first backend needs it; it is called
    with the checked options and the secrets, makes no network call and returns a ``Driver``. ``check`` is
    called with every option, typed values already of their types, and returns them normalised, or raises
    ``InvalidInput`` naming the option; it makes no network call either. Its third argument are paths of the
    console itself, which no backend may hold.
    """

    name: str
    factory: str
    options: tuple[Option, ...]
    check: Check = unchanged
    check_secrets: CheckSecrets | None = None
    """Looks at the secrets beside the checked options, where their form can be told."""
    unusable: str = ""
    """Why nothing can be done with it, as a sentence."""
