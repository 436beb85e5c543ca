"""Providers: which kinds of backends there are, and the options that each takes."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.errors import Kind, StowageError
from dashboard.services.permissions import Permission
from dashboard.storage.options import Option, OptionType, Preset
from dashboard.storage.registry import PRESETS, options_of
from dashboard.web.api.routes import Resource

resource = Resource("Providers", "Kinds of backends, and the options that each takes.")


@dataclass(frozen=True, slots=True)
class ProviderSummary:
    """A provider; `name` is the `preset` of a backend."""

    name: str
    label: str
    driver: str


@dataclass(frozen=True, slots=True)
class ProviderList:
    """Every provider, in the order of the form."""

    providers: tuple[ProviderSummary, ...]


@dataclass(frozen=True, slots=True)
class OptionChoice:
    """A value that an option may have."""

    value: str
    label: str


@dataclass(frozen=True, slots=True)
class ProviderOption:
    """An option, or a secret, of a backend. `required_with`: another option and its value with which this
    one is required."""

    name: str
    label: str
    type: OptionType
    secret: bool
    required: bool
    required_with: tuple[str, ...]
    default: str
    choices: tuple[OptionChoice, ...]
    hint: str
    placeholder: str


@dataclass(frozen=True, slots=True)
class ProviderDetails:
    """A provider and its options."""

    name: str
    label: str
    driver: str
    help: str
    options: tuple[ProviderOption, ...]


@resource.route("GET", "/providers", Permission.VIEW, returns=ProviderList)
def index() -> ProviderList:
    """List the providers."""
    return ProviderList(
        tuple(ProviderSummary(each.name, each.label, each.driver) for each in PRESETS.values())
    )


@resource.route("GET", "/providers/<name>", Permission.VIEW, returns=ProviderDetails)
def show(name: str) -> ProviderDetails:
    """Return one provider and its options."""
    preset: Preset | None = PRESETS.get(name)
    if preset is None:
        raise StowageError(
            Kind.NOT_FOUND,
            "There is no provider of this name.",
            operation="provider",
            subject=name[:64],
            remedy=f"Known: {', '.join(PRESETS)}.",
        )
    options = tuple(_option(each) for each in options_of(preset))
    return ProviderDetails(preset.name, preset.label, preset.driver, preset.help, options)


def _option(option: Option) -> ProviderOption:
    return ProviderOption(
        name=option.name,
        label=option.label,
        type=option.type,
        secret=option.secret,
        required=option.required,
        required_with=option.required_with or (),
        default=option.default,
        choices=tuple(OptionChoice(value, label) for value, label in option.choices),
        hint=option.hint,
        placeholder=option.placeholder,
    )
