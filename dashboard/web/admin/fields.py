"""The fields of a backend form, out of the option table; and back from a request to a draft.

A secret goes one way: from the request into a ``Secret``. Nothing here puts one into a field.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass

from werkzeug.datastructures import MultiDict

from dashboard.errors import StowageError
from dashboard.services.backends.service import BackendInfo, Draft
from dashboard.storage.options import Option, OptionType, Preset
from dashboard.storage.registry import PRESETS, driver_type, find_preset, options_of, options_shown
from dashboard.storage.types import Secret
from dashboard.web.numbers import whole
from dashboard.web.resend import SECRET_PREFIX

OPTION_PREFIX = "option."
CLEAR_PREFIX = "clear."
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Pattern:
    """An address that a preset makes of other fields."""

    template: str
    text: str


@dataclass(frozen=True, slots=True)
class Field:
    """One field as the template draws it. ``kept``: the end of the stored secret, or None."""

    option: Option
    id: str
    name: str
    value: str
    kept: str | None
    error: StowageError | None
    pattern: Pattern | None


@dataclass(frozen=True, slots=True)
class Fold:
    """Fields that are rarely needed, behind a title."""

    title: str
    fields: tuple[Field, ...]

    @property
    def used(self) -> bool:
        """Whether something in it is not as usual."""
        return any(
            f.kept or (not f.option.secret and f.value not in ("", f.option.default)) for f in self.fields
        )

    @property
    def unfolded(self) -> bool:
        """Whether it must be open: something in it is wrong or not as usual."""
        return self.used or any(f.error for f in self.fields)

    @property
    def names(self) -> str:
        """What it says it holds."""
        shown = ", ".join(_inside(f.option.label) for f in self.fields[:4])
        return shown + (", …" if len(self.fields) > 4 else "")


@dataclass(frozen=True, slots=True)
class Card:
    """A provider to choose. ``icon``: a symbol of ``static/icons.svg``."""

    name: str
    label: str
    icon: str


@dataclass(frozen=True, slots=True)
class Form:
    """A whole backend form: which provider, what stands in it, what is wrong with it."""

    preset: Preset
    name: str
    existing: str | None
    version: int | None
    fields: tuple[Field, ...]
    error: StowageError | None
    name_error: StowageError | None

    @property
    def plain(self) -> tuple[Field, ...]:
        """The fields everyone fills in."""
        return tuple(f for f in self.fields if not f.option.advanced)

    @property
    def advanced(self) -> Fold:
        """The provider's rare ones."""
        return Fold("Advanced", tuple(f for f in self.fields if f.option.advanced and not f.option.group))

    @property
    def extras(self) -> tuple[Fold, ...]:
        """What Stowage can add to any provider, in the order of the option table."""
        groups = dict.fromkeys(f.option.group for f in self.fields if f.option.group)
        return tuple(Fold(g, tuple(f for f in self.fields if f.option.group == g)) for g in groups)

    @property
    def help_lines(self) -> tuple[str, ...]:
        """“Where do I find these?”, line by line."""
        return tuple(line for line in self.preset.help.splitlines() if line)


def form(
    preset: str,
    *,
    name: str = "",
    values: Mapping[str, str] | None = None,
    backend: BackendInfo | None = None,
    version: int | None = None,
    error: StowageError | None = None,
) -> Form:
    """The form for a provider, filled with what was typed or with what is stored.

    Raises ``InvalidInput`` for an unknown preset.
    """
    chosen, options = find_preset(preset), options_of(preset)
    given = dict(values) if values is not None else dict(backend.options if backend else {})
    filled = {o.name: given.get(o.name, o.default) for o in options if not o.secret}
    pattern = _pattern(chosen, filled)
    at = _last_visible(chosen, options) if pattern else ""
    known = {o.name for o in options}
    fields = tuple(
        Field(
            option=option,
            id=f"{'secret' if option.secret else 'option'}-{option.name}",
            name=(SECRET_PREFIX if option.secret else OPTION_PREFIX) + option.name,
            value="" if option.secret else filled[option.name],
            kept=(backend.secrets.get(option.name) if backend and option.secret else None),
            error=error if error and error.subject == option.name else None,
            pattern=pattern if option.name == at else None,
        )
        for option in options
    )
    return Form(
        preset=chosen,
        name=name or (backend.name if backend else ""),
        existing=backend.name if backend else None,
        version=version if version is not None else (backend.version if backend else None),
        fields=fields,
        error=error if error and error.subject not in known | {"name"} else None,
        name_error=error if error and error.subject == "name" else None,
    )


def typed_options(preset: str, typed: MultiDict[str, str]) -> dict[str, str]:
    """The options in a request, without the secrets; an unticked box is ``false``."""
    found: dict[str, str] = {}
    for option in options_of(preset):
        if option.secret:
            continue
        given = typed.get(OPTION_PREFIX + option.name)
        if option.type is OptionType.BOOLEAN:
            found[option.name] = "true" if given else "false"
        elif given is not None:
            found[option.name] = given
    return found


def draft(typed: MultiDict[str, str]) -> Draft:
    """A backend as typed. Secrets are wrapped here, in the first line that sees them."""
    preset = typed.get("preset", "")
    secrets = {
        option.name: Secret(typed[SECRET_PREFIX + option.name])
        for option in options_of(preset)
        if option.secret and typed.get(SECRET_PREFIX + option.name)
    }
    return Draft(
        name=typed.get("name", "").strip()[:_LONGEST_NAME],
        preset=preset,
        options=typed_options(preset, typed),
        secrets=secrets,
        existing=typed.get("existing") or None,
        version=whole(typed, "version"),
        cleared=frozenset(name.removeprefix(CLEAR_PREFIX) for name in typed if name.startswith(CLEAR_PREFIX)),
    )


def shown_options(backend: BackendInfo) -> tuple[tuple[str, str], ...]:
    """What a backend's page lists: every option that was set, and where its secrets end."""
    rows = []
    for option in options_shown(backend.preset):
        if option.secret:
            ends = backend.secrets.get(option.name)
            if ends is not None and (ends or option.required):
                rows.append((option.label, f"set, ends in …{ends}" if ends else "set"))
            continue
        value = backend.options.get(option.name, "")
        if value and (not option.advanced or value != option.default):
            rows.append((option.label, _worded(option, value)))
    preset = PRESETS.get(backend.preset)
    if preset is not None and "endpoint" in preset.hidden and backend.options.get("endpoint"):
        rows.append(("Endpoint", backend.options["endpoint"]))
    return tuple(rows)


def _inside(label: str) -> str:
    """A label inside a sentence; abbreviations keep their capitals."""
    return label if label[1:2].isupper() else label[:1].lower() + label[1:]


def _worded(option: Option, value: str) -> str:
    if option.type is OptionType.BOOLEAN:
        return "yes" if value == "true" else "no"
    return dict(option.choices).get(value, value)


def providers() -> tuple[Card, ...]:
    """The provider cards, in their order."""
    return tuple(Card(each.name, each.label, driver_type(each.driver).icon) for each in PRESETS.values())


def suggested_name(preset: str, taken: frozenset[str]) -> str:
    """A free name to start with."""
    stem = re.sub(r"[^a-z0-9]+", "-", find_preset(preset).name).strip("-")
    return next(n for n in (stem, *(f"{stem}-{i}" for i in range(2, 1000))) if n not in taken)


def _pattern(preset: Preset, filled: Mapping[str, str]) -> Pattern | None:
    template = preset.defaults.get("endpoint", "")
    if "endpoint" not in preset.hidden or "{" not in template:
        return None
    names = _names(template)
    choices = {o.name for o in options_of(preset.name) if o.type is OptionType.CHOICE}
    text = template.format_map({n: filled.get(n) or ("" if n in choices else "…") for n in names})
    return Pattern(template, text)


def _last_visible(preset: Preset, options: tuple[Option, ...]) -> str:
    """The field under which the address is previewed: the last plain one it is made of."""
    names = _names(preset.defaults.get("endpoint", ""))
    return next((o.name for o in reversed(options) if o.name in names and not o.advanced), "")


def _names(template: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in string.Formatter().parse(template) if name)
