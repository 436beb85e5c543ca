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
from dashboard.storage.checks.wrappers import WRAPPER_OPTIONS
from dashboard.storage.options import Option, OptionType, Preset, SecretForm
from dashboard.storage.registry import PRESETS, find_preset, options_of
from dashboard.storage.types import Secret
from dashboard.web.expired_form import SECRET_PREFIX
from dashboard.web.language import choice
from dashboard.web.language.catalogs import SOURCE
from dashboard.web.language.sentences import translated
from dashboard.web.numbers import parse_integer

OPTION_PREFIX = "option."
CLEAR_PREFIX = "clear."
EXTRAS, EXTRA = "extras", "extra"
"""The switches that a form has for what is no boolean itself; those of them that are on."""
_MAX_NAME_LENGTH = 200
_EXTRAS = {
    "read_only": ("shield", "Nothing is ever written, changed or deleted here. Good for an old archive."),
    "fallback": (
        "layers",
        "Reads that fail or find nothing try the next backend of the fallback order. Writes wait there while "
        "this one is down, and are written back later.",
    ),
    "encrypt": ("lock", "Files are unreadable for the provider. Reading them elsewhere needs the key."),
    "compress": ("zip", "Text and exports get smaller; images and video are left alone."),
    "cache": ("bolt", "Keeps what is read often on this machine's disk, up to a size you choose."),
    "cdn_domain": ("globe", "Links point at your CDN domain instead of the provider."),
}
"""Icon and sentence of what Stowage can add, by the first option of its row."""


@dataclass(frozen=True, slots=True)
class EndpointPreview:
    """Preview of an endpoint that a preset builds from other fields."""

    template: str
    text: str


@dataclass(frozen=True, slots=True)
class Field:
    """One field as the template draws it. ``stored_hint``: the end of the stored secret, or None. ``lost``:
    whether a secret was typed that has to be typed again, because no page sends one back. ``is_off``: whether
    it means nothing together with the other fields."""

    option: Option
    id: str
    name: str
    value: str
    stored_hint: str | None
    error: StowageError | None
    preview: EndpointPreview | None
    lost: bool = False
    is_off: bool = False

    @property
    def in_use(self) -> bool:
        """Whether it differs from its default."""
        return bool(self.stored_hint) or (
            not self.option.secret and self.value not in ("", self.option.default)
        )

    @property
    def is_whole(self) -> bool:
        """Whether it takes the whole width of the form."""
        kind, form = self.option.type, self.option.form
        return kind in (OptionType.BOOLEAN, OptionType.MULTILINE) or (
            self.option.secret and (form is SecretForm.TEXT or self.option.encrypts_objects)
        )


@dataclass(frozen=True, slots=True)
class Extra:
    """Something that Stowage can add: a switch, and the fields that it reveals. Where no option of the driver
    table is the switch, ``marker`` is the one whose group is emptied while it is off."""

    title: str
    icon: str
    sentence: str
    switch: Field | None
    marker: str
    fields: tuple[Field, ...]

    @property
    def is_on(self) -> bool:
        """Whether it is switched on."""
        if self.switch is not None:
            return self.switch.value == "true"
        return any(f.in_use or f.error for f in self.fields)


@dataclass(frozen=True, slots=True)
class FieldGroup:
    """Rarely needed fields, collapsed under a title."""

    fields: tuple[Field, ...]

    @property
    def is_open(self) -> bool:
        """Whether it is shown expanded: a field in it has an error or differs from its default."""
        return any(f.in_use or f.error for f in self.fields)

    @property
    def names(self) -> str:
        """The labels of its first fields, for the summary, in the language of the request."""
        labels = (translated(f.option.label) for f in self.fields[:4])
        # Other languages have capital letters inside a sentence.
        shown = ", ".join(map(_in_sentence, labels) if choice.language() == SOURCE else labels)
        return shown + (", …" if len(self.fields) > 4 else "")


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
    def decider(self) -> Field | None:
        """The choice that decides which of the provider's fields mean anything, such as how to sign in. The
        form asks for it before them."""
        names = {f.option.required_with[0] for f in self._own if f.option.required_with}
        return next((f for f in self._own if f.option.name in names and f.option.choices), None)

    @property
    def plain(self) -> tuple[Field, ...]:
        """The fields that are always shown."""
        return tuple(f for f in self._own if not f.option.advanced and f not in self._asked)

    @property
    def revealed(self) -> tuple[Field, ...]:
        """The fields of which the decider says whether they are shown."""
        return tuple(f for f in self._asked if f is not self.decider)

    @property
    def advanced(self) -> FieldGroup:
        """The provider's rarely needed fields."""
        return FieldGroup(tuple(f for f in self._own if f.option.advanced and f not in self._asked))

    @property
    def extras(self) -> tuple[Extra, ...]:
        """What Stowage can add, which every provider has, in the order of the option table."""
        return extras(tuple(f for f in self.fields if f.option.group))

    @property
    def _own(self) -> tuple[Field, ...]:
        return tuple(f for f in self.fields if not f.option.group)

    @property
    def _asked(self) -> tuple[Field, ...]:
        decider = self.decider
        if decider is None:
            return ()
        name, usual = decider.option.name, decider.option.default
        return decider, *(
            f
            for f in self._own
            if (condition := f.option.shown_with)
            and condition[0] == name
            and (not f.option.advanced or usual not in condition[1])
        )

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
    lost: frozenset[str] = frozenset(),
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
            lost=option.name in lost,
            is_off=not option.applies(filled) and not (error and error.subject == option.name),
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
    off = _switched_off(form)
    for option in options_of(preset):
        if option.secret:
            continue
        if option.group in off:
            found[option.name] = option.default
            continue
        submitted = form.get(OPTION_PREFIX + option.name)
        if option.type is OptionType.BOOLEAN:
            found[option.name] = "true" if submitted else "false"
        elif submitted is not None:
            found[option.name] = submitted
    return found


def _switched_off(form: MultiDict[str, str]) -> frozenset[str]:
    """The groups of extras whose switch is part of the form, and off."""
    markers = set(form.getlist(EXTRAS)) - set(form.getlist(EXTRA))
    return frozenset(option.group for option in WRAPPER_OPTIONS if option.name in markers)


def typed_secrets(form: MultiDict[str, str]) -> frozenset[str]:
    """The names of the secrets in a request."""
    return frozenset(
        name.removeprefix(SECRET_PREFIX) for name in form if name.startswith(SECRET_PREFIX) and form[name]
    )


def field_id(preset: str, subject: str) -> str:
    """The id of the field that an error is about; empty if the form has none for it."""
    if subject == "name":
        return "name"
    known = options_of(PRESETS[preset]) if preset in PRESETS else ()
    option = next((o for o in known if o.name == subject), None)
    return f"{'secret' if option.secret else 'option'}-{subject}" if option else ""


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
            # The hint of a password is empty.
            if ends is not None:
                rows.append((option.label, f"set, ends in …{ends}" if ends else "set"))
            continue
        value = backend.options.get(option.name, "")
        if value and (not option.advanced or value != option.default):
            rows.append((option.label, _display_value(option, value)))
    if "endpoint" in preset.hidden and backend.options.get("endpoint"):
        rows.append(("Endpoint", backend.options["endpoint"]))
    return tuple(rows)


def extras(fields: tuple[Field, ...]) -> tuple[Extra, ...]:
    """Sort the options of wrappers into rows: a boolean is the switch of those after it in its group."""
    rows: list[Extra] = []
    for title in dict.fromkeys(f.option.group for f in fields):
        group = [f for f in fields if f.option.group == title]
        starts = [i for i, f in enumerate(group) if i == 0 or f.option.type is OptionType.BOOLEAN]
        for start, end in zip(starts, [*starts[1:], len(group)], strict=True):
            first, rest = group[start], group[start + 1 : end]
            symbol, sentence = _EXTRAS.get(first.option.name, ("plus", first.option.hint))
            switched = first.option.type is OptionType.BOOLEAN
            rows.append(
                Extra(
                    title=title if len(starts) == 1 else first.option.label,
                    icon=symbol,
                    sentence=sentence,
                    switch=first if switched else None,
                    marker="" if switched else first.option.name,
                    fields=tuple(rest if switched else [first, *rest]),
                )
            )
    return tuple(rows)


def _in_sentence(label: str) -> str:
    """Lowercase the first letter of a label, unless it is an abbreviation."""
    return label if label[1:2].isupper() else label[:1].lower() + label[1:]


def _display_value(option: Option, value: str) -> str:
    if option.type is OptionType.BOOLEAN:
        return "yes" if value == "true" else "no"
    return dict(option.choices).get(value, value)


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
