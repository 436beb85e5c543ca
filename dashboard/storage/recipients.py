"""To whom a stored secret may be sent, in one place: for the form that asks for it again, and for sealing.

A recipient is the value of every option that decides which server gets the secret, and how: address, port,
TLS. Providers whose address is made of a region or an account have it worked out among their options.
"""

from __future__ import annotations

from collections.abc import Mapping

from dashboard.storage import registry
from dashboard.storage.options import Option

DRIVER = "driver"
"""Stands among the options for the driver's name: the same host may be spoken to in another way."""


def recipient(driver: str, options: Mapping[str, str], secret: str) -> dict[str, str]:
    """What decides where this secret is sent, by option. All options there are for a driver that is not
    installed, since nobody knows which of them matter."""
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
    """The options because of which a secret bound to one recipient would be sent to another.

    An option that came with a newer version had its default when the secret was bound.
    """
    now = recipient(driver, options, secret)
    kind = registry.DRIVERS.get(driver)
    defaults = {each.name: each.default for each in kind.options} if kind is not None else {}
    return tuple(
        sorted(name for name, value in now.items() if bound_to.get(name, defaults.get(name, "")) != value)
    )


def is_unused(driver: str, options: Mapping[str, str], secret: str) -> bool:
    """Whether a backend with these options has no use for this secret at present."""
    kind = registry.DRIVERS.get(driver)
    every = {each.name: each for each in kind.options} if kind is not None else {}
    if secret not in every or (unused := every[secret].unused_with) is None:
        return False
    other, value = unused
    return options.get(other, every[other].default) == value


def required(driver: str, options: Mapping[str, str]) -> tuple[Option, ...]:
    """The secrets without which a driver cannot be built from these options."""
    kind = registry.DRIVERS.get(driver)
    every = kind.options if kind is not None else ()
    defaults = {each.name: each.default for each in every}
    return tuple(each for each in every if each.secret and each.is_required(options, defaults))
