"""Backends from a program's configuration: one call, one mapping, one file.

Secrets become :class:`Secret` immediately. A mapping or file may refer to a secret instead of containing it:
``{"file": "/run/secrets/key"}`` or ``{"env": "MEDIA_KEY"}``. The tables of drivers and presets are loaded
with the first backend, so that importing the library stays fast.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from dashboard.errors import InvalidInput
from dashboard.storage.driver import Driver
from dashboard.storage.library.option_names import read_text_file, translate
from dashboard.storage.types import EMPTY, Secret

if TYPE_CHECKING:
    from dashboard.storage.driver_types import DriverType
    from dashboard.storage.options import Preset

Value = str | bool | int | os.PathLike[str] | Secret
"""The accepted types of an option. Numbers and booleans become text."""

_NO_SECRETS: Mapping[str, Secret] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """A configured backend: a preset, or a driver without presets; its options; its secrets. Prints no
    secret."""

    driver: DriverType
    preset: Preset | None
    options: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    secrets: Mapping[str, Secret] = field(default_factory=lambda: _NO_SECRETS)

    @property
    def kind(self) -> str:
        """The preset's name, or that of a driver without presets."""
        return self.preset.name if self.preset is not None else self.driver.name

    def check(self) -> None:
        """Raise ``InvalidInput`` naming an option that cannot be used, or would have no effect without a
        console. Loads no driver."""
        from dashboard.storage.checks.wrappers import refuse_without_console

        refuse_without_console(self._checked(), self.secrets)

    def build(self) -> Driver:
        """Build the driver. No network call. Raises what :meth:`check` raises."""
        from dashboard.storage.registry import build

        self.check()
        return build(self.driver.name, self._checked(), self.secrets)

    def _checked(self) -> Mapping[str, str]:
        """Return all options of the driver."""
        from dashboard.storage.registry import check_options

        if self.preset is not None:
            return check_options(self.preset, self.options, self.secrets)
        # Drivers without a preset, such as “memory”, take no options.
        for name in (*self.options, *self.secrets):
            raise InvalidInput(name, f"“{self.kind}” has no option “{name}”.")
        return {}


def describe_any(kind: str, options: Mapping[str, object]) -> BackendConfig:
    """Like :func:`describe`, for options that may have the names that other storage layers use."""
    from dashboard.storage.registry import PRESETS

    driver = PRESETS[kind].driver if kind in PRESETS else kind
    return describe(*translate(driver, kind, options))


def describe(kind: str, options: Mapping[str, object]) -> BackendConfig:
    """Separate options from secrets. ``kind`` is a preset or a driver. Raises ``InvalidInput``."""
    from dashboard.storage.registry import DRIVERS, PRESETS

    preset = PRESETS.get(kind)
    driver = DRIVERS.get(preset.driver if preset is not None else kind)
    if driver is None:
        known = ", ".join(dict.fromkeys((*PRESETS, *DRIVERS)))
        raise InvalidInput("driver", f"There is no driver or preset “{kind}”.", remedy=f"Known: {known}.")
    hidden = {option.name for option in driver.options if option.secret}
    plain: dict[str, str] = {}
    secrets: dict[str, Secret] = {}
    for name, value in options.items():
        if name in hidden or isinstance(value, Secret):
            secrets[name] = value if isinstance(value, Secret) else Secret(_text(name, value))
        else:
            plain[name] = _text(name, value)
    return BackendConfig(driver, preset, MappingProxyType(plain), MappingProxyType(secrets))


def _text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, os.PathLike) and isinstance(path := os.fspath(value), str):
        return path
    # Not shown: it may be a secret in the wrong clothes.
    raise InvalidInput(name, f"“{name}” is neither text, a number nor true or false.")


def parse_mapping(
    tree: Mapping[str, object], environ: Mapping[str, str]
) -> tuple[str, Mapping[str, BackendConfig]]:
    """Return the default backend's name and every backend of a mapping. Raises ``InvalidInput``.

    The form: ``{"default": "media", "backends": {"media": {"driver": "local", "root": "/srv/media"}}}``;
    ``driver`` names a driver or a preset. ``default`` is the first backend if it is missing. ``{"env":
    NAME}`` is looked up in ``environ``. ``disks`` is another name of ``backends``.
    """
    backends = tree.get("backends", tree.get("disks"))
    if not isinstance(backends, Mapping) or not backends:
        raise InvalidInput("backends", "No backends are described.", remedy="Add a table [backends.media].")
    for name in tree:
        if name not in ("default", "backends", "disks"):
            raise InvalidInput(str(name), f"“{name}” means nothing here.", remedy="Known: default, backends.")
    found = {str(name): _parse_backend(str(name), table, environ) for name, table in backends.items()}
    default = tree.get("default", next(iter(found)))
    if not isinstance(default, str) or default not in found:
        raise InvalidInput(
            "default",
            f"The default “{default}” is none of the backends.",
            remedy=f"Known: {', '.join(found)}.",
        )
    return default, found


def toml(path: str | Path) -> Mapping[str, object]:
    """Parse a TOML file. Raises ``InvalidInput`` if it cannot be read or is not TOML."""
    import tomllib

    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput("path", f"“{path}” cannot be read.", remedy="Check the path.") from error
    except ValueError as error:
        raise InvalidInput("path", f"“{path}” is not a TOML file.", remedy="See https://toml.io.") from error


def _parse_backend(name: str, table: object, environ: Mapping[str, str]) -> BackendConfig:
    if not isinstance(table, Mapping) or not isinstance(table.get("driver"), str):
        raise InvalidInput(
            f"backends.{name}",
            f"“{name}” does not say its driver.",
            remedy='Write driver = "local", or another.',
        )
    options = {
        str(key): _resolve_reference(str(key), value, environ)
        for key, value in table.items()
        if key != "driver"
    }
    return describe_any(table["driver"], options)


def _resolve_reference(name: str, value: object, environ: Mapping[str, str]) -> object:
    if not isinstance(value, Mapping):
        return value
    match dict(value):
        case {"env": str(variable), **rest} if not rest:
            if not environ.get(variable):
                raise InvalidInput(name, f"The environment variable {variable} is empty or not set.")
            return environ[variable]
        case {"file": str(path), **rest} if not rest:
            return read_text_file(name, path)
    raise InvalidInput(name, f"“{name}” is a table.", remedy='A table is {env = "NAME"} or {file = "PATH"}.')
