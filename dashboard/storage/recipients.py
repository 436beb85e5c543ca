"""Which server a stored secret may be sent to.

A recipient is the value of every option that decides which server gets the secret, and how: address, port,
TLS. For providers whose address consists of a region or an account, the address is one of the options too.
"""

from __future__ import annotations

from collections.abc import Mapping

from dashboard.storage import registry
from dashboard.storage.options import Option

DRIVER = "driver"
"""Stands among the options for the driver's name: the same host may be used with another protocol."""


def recipient(driver: str, options: Mapping[str, str], secret: str) -> dict[str, str]:
    """Return the options that decide where this secret is sent. For a driver that is not installed these are
    all options, because nobody knows which of them matter."""
    kind = registry.DRIVERS.get(driver)
    if kind is None:
        return {DRIVER: driver, **options}
    option = next((each for each in kind.options if each.name == secret), None)
    if option is not None and option.guarded_by is not None:
        names = {each.name: each for each in kind.options if each.name in option.guarded_by}
        return {name: options.get(name, each.default) for name, each in names.items()}
    guards = [each for each in kind.options if each.guards_secret]
    return {DRIVER: driver, **{each.name: options.get(each.name, each.default) for each in guards}}


def changed_options(
    bound_to: Mapping[str, str], driver: str, options: Mapping[str, str], secret: str
) -> tuple[str, ...]:
    """Return the options because of which a secret bound to one recipient would be sent to another.

    An option that a newer version added had its default when the secret was bound.
    """
    now = recipient(driver, options, secret)
    kind = registry.DRIVERS.get(driver)
    defaults = {each.name: each.default for each in kind.options} if kind is not None else {}
    return tuple(
        sorted(name for name, value in now.items() if bound_to.get(name, defaults.get(name, "")) != value)
    )


def is_unused(driver: str, options: Mapping[str, str], secret: str) -> bool:
    """Whether a backend with these options does not need this secret at present."""
    kind = registry.DRIVERS.get(driver)
    every = {each.name: each for each in kind.options} if kind is not None else {}
    if secret not in every or (unused := every[secret].unused_with) is None:
        return False
    other, value = unused
    return options.get(other, every[other].default) == value


def required(driver: str, options: Mapping[str, str]) -> tuple[Option, ...]:
    """Return the secrets without which a driver cannot be built from these options."""
    kind = registry.DRIVERS.get(driver)
    every = kind.options if kind is not None else ()
    defaults = {each.name: each.default for each in every}
    return tuple(each for each in every if each.secret and each.is_required(options, defaults))
