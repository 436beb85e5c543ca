"""Drivers of other packages, found through the entry point group ``stowage.drivers``.

A package is imported when its driver is requested, or when all drivers are shown. One that cannot be used is
still listed by name: choosing it, or using a backend with it, shows an error that says why, and everything
else works.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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
    """What an entry point of the group refers to. The entry point, the type and the preset have the same
    name."""

    type: DriverType
    preset: Preset


@cache
def find_driver(name: str) -> DriverType | None:
    """Return the driver that an installed package adds under this name, its preset in its type, or None.
    Never raises: for a driver that cannot be used it returns one that says why and does nothing."""
    found = _entry_points().get(name, ())
    if not found:
        return None
    packages = " and ".join(sorted(_package(entry_point) for entry_point in found))
    if len(found) > 1:
        return _unusable(name, f"Several packages offer a driver “{name}”: {packages}.")
    try:
        loaded = found[0].load()
    # Importing a stranger's code may end in anything.
    except (Exception, SystemExit) as error:  # noqa: BLE001
        _log.warning("the driver %s of the package %s cannot be loaded", name, packages, exc_info=True)
        return _unusable(
            name, f"The driver “{name}” of {packages} cannot be loaded ({type(error).__name__})."
        )
    try:
        problem = _problem(name, loaded)
    except (AttributeError, TypeError):
        problem = "its type and preset are not made as the documentation says"
    if problem:
        return _unusable(name, f"The driver “{name}” of {packages} cannot be used: {problem}.")
    assert isinstance(loaded, OwnDriver)
    return replace(loaded.type, presets=(loaded.preset,))


def names_of_plugins() -> tuple[str, ...]:
    """Return the names of all drivers that installed packages add. Imports none of them."""
    return tuple(sorted(_entry_points()))


@cache
def _entry_points() -> Mapping[str, tuple[EntryPoint, ...]]:
    # Slow to import, and a program that uses only Stowage's own drivers never needs it.
    from importlib.metadata import entry_points

    found: dict[str, tuple[EntryPoint, ...]] = {}
    for entry_point in entry_points(group=GROUP):
        found[entry_point.name] = (*found.get(entry_point.name, ()), entry_point)
    return found


def forget_plugins() -> None:
    """Forget the packages that were found, because some were installed or removed."""
    _entry_points.cache_clear()
    find_driver.cache_clear()


def _package(entry_point: EntryPoint) -> str:
    return (
        f"{entry_point.dist.name} {entry_point.dist.version}"
        if entry_point.dist is not None
        else entry_point.value
    )


def _problem(name: str, loaded: object) -> str:
    """Return what is wrong with the object at an entry point; empty if nothing is."""
    if not isinstance(loaded, OwnDriver):
        return "its entry point does not lead to an OwnDriver"
    options = (*loaded.type.options, *loaded.preset.extra, *WRAPPER_OPTIONS)
    names = [option.name for option in options]
    checks = (
        (
            bool(_NAME.match(name))
            and {loaded.type.name, loaded.preset.name, loaded.preset.driver} == {name},
            "its entry point, type and preset do not have the same name of lowercase letters, digits and “_”",
        ),
        (
            bool(_FACTORY.match(loaded.type.factory)),
            "its factory is not written as “package.module:Class.method”",
        ),
        (
            all(_NAME.match(each) for each in names),
            "an option of it has a name of more than lowercase letters, digits and “_”",
        ),
        (
            len(set(names)) == len(names),
            "two of its options have one name, or that of a wrapper's option",
        ),
    )
    return next((reason for good, reason in checks if not good), "")


def _unusable(name: str, reason: str) -> DriverType:
    preset = Preset(name, f"{name} (cannot be used)", name, f"{reason}\n{REMEDY}")
    return DriverType(name, "", (), unusable=reason, presets=(preset,))


def call_factory(name: str, make: Callable[[], Driver]) -> Driver:
    """Build a driver with another package's factory. Raises ``InvalidInput`` if that fails."""
    try:
        return make()
    except StowageError:
        raise
    # A stranger's code may end in anything.
    except Exception as error:
        _log.warning("the driver %s could not be made", name, exc_info=True)
        reason = f"The driver “{name}” could not be made ({type(error).__name__})."
        raise InvalidInput("driver", reason, remedy=REMEDY) from error


def describe_or(name: str, describe: Callable[[], T], default: T) -> T:
    """Return what another package's driver says about a backend's options, or the default if that fails."""
    try:
        return describe()
    # A stranger's code may end in anything.
    except Exception:  # noqa: BLE001
        _log.warning("the driver %s cannot describe its options", name, exc_info=True)
        return default
