"""The fields of a backend form, made from the option table, and parsing the submitted form into a draft.

Secrets go one way only, from the request into a ``Secret``; nothing here puts one into a field.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass

from werkzeug.datastructures import MultiDict

from dashboard.errors import StowageError
from dashboard.services.backends.backends import BackendInfo, Draft
from dashboard.storage.options import Option, OptionType, Preset
from dashboard.storage.registry import PRESETS, driver_type, find_preset, options_of
from dashboard.storage.types import Secret
from dashboard.web.expired_form import SECRET_PREFIX
from dashboard.web.numbers import parse_integer

OPTION_PREFIX = "option."
CLEAR_PREFIX = "clear."
_MAX_NAME_LENGTH = 200


@dataclass(frozen=True, slots=True)
class EndpointPreview:
    """Preview of an endpoint that a preset builds from other fields."""

    template: str
    text: str


@dataclass(frozen=True, slots=True)
class Field:
    """One field as the template draws it. ``stored_hint``: the end of the stored secret, or None."""

    option: Option
    id: str
    name: str
    value: str
    stored_hint: str | None
    error: StowageError | None
    preview: EndpointPreview | None


@dataclass(frozen=True, slots=True)
class FieldGroup:
    """Rarely needed fields, collapsed under a title."""

    title: str
    fields: tuple[Field, ...]

    @property
    def in_use(self) -> bool:
        """Whether a field in it differs from its default."""
        return any(
            f.stored_hint or (not f.option.secret and f.value not in ("", f.option.default))
            for f in self.fields
        )

    @property
    def is_open(self) -> bool:
        """Whether it is shown expanded: a field in it has an error or differs from its default."""
        return self.in_use or any(f.error for f in self.fields)

    @property
    def names(self) -> str:
        """The labels of its first fields, for the summary."""
        shown = ", ".join(_in_sentence(f.option.label) for f in self.fields[:4])
        return shown + (", …" if len(self.fields) > 4 else "")


@dataclass(frozen=True, slots=True)
class Card:
    """A provider to choose. ``icon``: a symbol of ``static/icons.svg``."""

    name: str
    label: str
    icon: str


@dataclass(frozen=True, slots=True)
class Form:
    """A backend form: its provider, its fields and its errors."""

    preset: Preset
    name: str
    existing: str | None
    version: int | None
    fields: tuple[Field, ...]
    error: StowageError | None
    name_error: StowageError | None

    @property
    def plain(self) -> tuple[Field, ...]:
        """The fields that are always shown."""
        return tuple(f for f in self.fields if not f.option.advanced)

    @property
    def advanced(self) -> FieldGroup:
        """The provider's rarely needed fields."""
        return FieldGroup(
            "Advanced", tuple(f for f in self.fields if f.option.advanced and not f.option.group)
        )

    @property
    def extras(self) -> tuple[FieldGroup, ...]:
        """The options of wrappers, which every provider has, in the order of the option table."""
        groups = dict.fromkeys(f.option.group for f in self.fields if f.option.group)
        return tuple(FieldGroup(g, tuple(f for f in self.fields if f.option.group == g)) for g in groups)

    @property
    def help_lines(self) -> tuple[str, ...]:
        """The lines of “Where do I find these?”."""
        return tuple(line for line in self.preset.help.splitlines() if line)


def form(
    preset: Preset,
    *,
    name: str = "",
    values: Mapping[str, str] | None = None,
    backend: BackendInfo | None = None,
    version: int | None = None,
    error: StowageError | None = None,
) -> Form:
    """Build the form of a provider, filled with what was typed or what is stored."""
    options = options_of(preset)
    submitted = dict(values) if values is not None else dict(backend.options if backend else {})
    filled = {o.name: submitted.get(o.name, o.default) for o in options if not o.secret}
    preview = _endpoint_preview(preset, options, filled)
    preview_field = _preview_field(preset, options) if preview else ""
    known = {o.name for o in options}
    fields = tuple(
        Field(
            option=option,
            id=f"{'secret' if option.secret else 'option'}-{option.name}",
            name=(SECRET_PREFIX if option.secret else OPTION_PREFIX) + option.name,
            value="" if option.secret else filled[option.name],
            stored_hint=(backend.secrets.get(option.name) if backend and option.secret else None),
            error=error if error and error.subject == option.name else None,
            preview=preview if option.name == preview_field else None,
        )
        for option in options
    )
    return Form(
        preset=preset,
        name=name or (backend.name if backend else ""),
        existing=backend.name if backend else None,
        version=version if version is not None else (backend.version if backend else None),
        fields=fields,
        error=error if error and error.subject not in known | {"name"} else None,
        name_error=error if error and error.subject == "name" else None,
    )


def typed_options(preset: Preset, form: MultiDict[str, str]) -> dict[str, str]:
    """Read the options of a request, except secrets; an unchecked box is ``false``."""
    found: dict[str, str] = {}
    for option in options_of(preset):
        if option.secret:
            continue
        submitted = form.get(OPTION_PREFIX + option.name)
        if option.type is OptionType.BOOLEAN:
            found[option.name] = "true" if submitted else "false"
        elif submitted is not None:
            found[option.name] = submitted
    return found


def draft(form: MultiDict[str, str]) -> Draft:
    """Read a draft of a backend. Secrets are wrapped here, by the first code that sees them."""
    preset = find_preset(form.get("preset", ""))
    secrets = {
        option.name: Secret(form[SECRET_PREFIX + option.name])
        for option in options_of(preset)
        if option.secret and form.get(SECRET_PREFIX + option.name)
    }
    return Draft(
        name=form.get("name", "").strip()[:_MAX_NAME_LENGTH],
        preset=preset.name,
        options=typed_options(preset, form),
        secrets=secrets,
        existing=form.get("existing") or None,
        version=parse_integer(form, "version"),
        cleared=frozenset(name.removeprefix(CLEAR_PREFIX) for name in form if name.startswith(CLEAR_PREFIX)),
    )


def shown_options(backend: BackendInfo) -> tuple[tuple[str, str], ...]:
    """Return label and value of every option that is set; of secrets only the last characters.

    Nothing if the driver is no longer installed.
    """
    preset = PRESETS.get(backend.preset)
    if preset is None:
        return ()
    rows = []
    for option in options_of(preset):
        if option.secret:
            ends = backend.secrets.get(option.name)
            if ends is not None and (ends or option.required):
                rows.append((option.label, f"set, ends in …{ends}" if ends else "set"))
            continue
        value = backend.options.get(option.name, "")
        if value and (not option.advanced or value != option.default):
            rows.append((option.label, _display_value(option, value)))
    if "endpoint" in preset.hidden and backend.options.get("endpoint"):
        rows.append(("Endpoint", backend.options["endpoint"]))
    return tuple(rows)


def _in_sentence(label: str) -> str:
    """Lowercase the first letter of a label, unless it is an abbreviation."""
    return label if label[1:2].isupper() else label[:1].lower() + label[1:]


def _display_value(option: Option, value: str) -> str:
    if option.type is OptionType.BOOLEAN:
        return "yes" if value == "true" else "no"
    return dict(option.choices).get(value, value)


def providers() -> tuple[Card, ...]:
    """Return all providers, in the order of their cards."""
    return tuple(Card(each.name, each.label, driver_type(each.driver).icon) for each in PRESETS.values())


def suggested_name(preset: Preset, taken: frozenset[str]) -> str:
    """Suggest a name that is not taken."""
    stem = re.sub(r"[^a-z0-9]+", "-", preset.name).strip("-")
    return next(n for n in (stem, *(f"{stem}-{i}" for i in range(2, 1000))) if n not in taken)


def _endpoint_preview(
    preset: Preset, options: tuple[Option, ...], filled: Mapping[str, str]
) -> EndpointPreview | None:
    template = preset.defaults.get("endpoint", "")
    if "endpoint" not in preset.hidden or "{" not in template:
        return None
    names = _names(template)
    choices = {o.name for o in options if o.type is OptionType.CHOICE}
    text = template.format_map({n: filled.get(n) or ("" if n in choices else "…") for n in names})
    return EndpointPreview(template, text)


def _preview_field(preset: Preset, options: tuple[Option, ...]) -> str:
    """The field below which the endpoint is previewed: the last visible one that it is built from."""
    names = _names(preset.defaults.get("endpoint", ""))
    return next((o.name for o in reversed(options) if o.name in names and not o.advanced), "")


def _names(template: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in string.Formatter().parse(template) if name)
