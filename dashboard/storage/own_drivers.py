"""Drivers of other packages, found by the entry point group ``stowage.drivers``.

A package is imported when its driver is asked for, or when all drivers are shown. One that cannot be used is
still there by name: whoever chooses it, or has a backend on it, is told why, and everything else works.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from dashboard.errors import InvalidInput, StowageError
from dashboard.storage.checks.wrappers import WRAPPER_OPTIONS
from dashboard.storage.driver import Driver
from dashboard.storage.driver_types import DriverType
from dashboard.storage.options import Preset

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "stowage.drivers"

_NAME = re.compile(r"[a-z][a-z0-9_]{1,40}\Z")
_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*\Z")
REMEDY = "Repair or remove the package; the log has the details."
_log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OwnDriver:
    """What an entry point of the group leads to. The entry point, the type and the preset have one name."""

    type: DriverType
    preset: Preset


class Extended(Mapping[str, T]):
    """What Stowage itself has by name, and after that what installed packages add. Its own always wins."""

    def __init__(self, built_in: Mapping[str, T], of: Callable[[OwnDriver], T]) -> None:
        self.built_in = built_in
        self._of = of

    def __getitem__(self, name: str) -> T:
        if name in self.built_in:
            return self.built_in[name]
        found = find(name)
        if found is None:
            raise KeyError(name)
        return self._of(found)

    def __iter__(self) -> Iterator[str]:
        yield from self.built_in
        yield from (name for name in sorted(_offers()) if name not in self.built_in)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@cache
def find(name: str) -> OwnDriver | None:
    """The driver that an installed package offers under this name; None where there is none. Never raises:
    in place of one that cannot be used stands one that says why and does nothing."""
    offers = _offers().get(name, ())
    if not offers:
        return None
    packages = " and ".join(sorted(_package(offer) for offer in offers))
    if len(offers) > 1:
        return _broken(name, f"Several packages offer a driver “{name}”: {packages}.")
    try:
        loaded = offers[0].load()
    # Importing a stranger's code may end in anything.
    except (Exception, SystemExit) as error:  # noqa: BLE001
        _log.warning("the driver %s of the package %s cannot be loaded", name, packages, exc_info=True)
        return _broken(name, f"The driver “{name}” of {packages} cannot be loaded ({type(error).__name__}).")
    try:
        problem = _problem(name, loaded)
    except (AttributeError, TypeError):
        problem = "its type and preset are not made as the documentation says"
    if problem:
        return _broken(name, f"The driver “{name}” of {packages} cannot be used: {problem}.")
    assert isinstance(loaded, OwnDriver)
    return loaded


@cache
def _offers() -> Mapping[str, tuple[EntryPoint, ...]]:
    # Slow to import, and a program that uses only Stowage's own drivers never needs it.
    from importlib.metadata import entry_points

    found: dict[str, tuple[EntryPoint, ...]] = {}
    for offer in entry_points(group=GROUP):
        found[offer.name] = (*found.get(offer.name, ()), offer)
    return found


def look_again() -> None:
    """Forget what was found: packages have come or gone."""
    _offers.cache_clear()
    find.cache_clear()


def _package(offer: EntryPoint) -> str:
    return f"{offer.dist.name} {offer.dist.version}" if offer.dist is not None else offer.value


def _problem(name: str, loaded: object) -> str:
    """What is wrong with what an entry point led to; empty when nothing is."""
    if not isinstance(loaded, OwnDriver):
        return "its entry point does not lead to an OwnDriver"
    options = (*loaded.type.options, *loaded.preset.extra, *WRAPPER_OPTIONS)
    names = [option.name for option in options]
    checks = (
        (
            bool(_NAME.match(name))
            and {loaded.type.name, loaded.preset.name, loaded.preset.driver} == {name},
            "its entry point, type and preset do not have one name of small letters, digits and “_”",
        ),
        (
            bool(_FACTORY.match(loaded.type.factory)),
            "its factory is not written as “package.module:Class.method”",
        ),
        (
            all(_NAME.match(each) for each in names),
            "an option of it has a name of more than small letters, digits and “_”",
        ),
        (
            len(set(names)) == len(names),
            "two of its options have one name, or that of a wrapper's option",
        ),
    )
    return next((reason for good, reason in checks if not good), "")


def _broken(name: str, reason: str) -> OwnDriver:
    help_text = f"{reason}\n{REMEDY}"
    return OwnDriver(
        DriverType(name, "", (), unusable=reason), Preset(name, f"{name} (cannot be used)", name, help_text)
    )


def built(name: str, make: Callable[[], Driver]) -> Driver:
    """The driver that another package's factory makes. Raises ``InvalidInput`` when that fails."""
    try:
        return make()
    except StowageError:
        raise
    # A stranger's code may end in anything.
    except Exception as error:
        _log.warning("the driver %s could not be made", name, exc_info=True)
        reason = f"The driver “{name}” could not be made ({type(error).__name__})."
        raise InvalidInput("driver", reason, remedy=REMEDY) from error
