"""Checks what a person typed against the types of the options, before the driver's own check."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence

from dashboard.errors import InvalidInput
from dashboard.storage.options import Option, OptionType, Preset, SecretForm
from dashboard.storage.types import Secret

_MAX_LENGTH = 16 * 1024


def check_typed(
    preset: Preset,
    known: Sequence[Option],
    options: Mapping[str, str],
    secrets: Mapping[str, Secret],
) -> dict[str, str]:
    """Return a value of its type for every option that is not a secret: as typed, the default, or what the
    preset sets. Raises ``InvalidInput`` naming the option or the secret."""
    by_name = {option.name: option for option in known}
    _refuse_unknown(options, secrets, by_name, preset)
    values: dict[str, str] = {}
    for option in known:
        if not option.secret and option.name not in preset.hidden:
            values[option.name] = _parse_value(option, options.get(option.name, ""))
    for name in sorted(preset.hidden):
        if not by_name[name].secret:
            values[name] = _preset_value(by_name[name], options.get(name, ""), values)
    for option in known:
        if option.secret:
            check_secret(option, secrets.get(option.name))
        given = secrets.get(option.name) if option.secret else values[option.name]
        if not given and option.required_with and option.is_required(values, values):
            raise InvalidInput(option.name, f"“{option.label}” is missing.", remedy=option.hint)
    return values


def _refuse_unknown(
    options: Mapping[str, str], secrets: Mapping[str, Secret], known: Mapping[str, Option], preset: Preset
) -> None:
    for name in (*options, *secrets):
        if name not in known:
            shown = ", ".join(n for n in known if n not in preset.hidden)
            raise InvalidInput(name, f"{preset.label} has no option “{name}”.", remedy=f"Known: {shown}.")
    for name in options:
        if known[name].secret:
            raise InvalidInput(name, f"“{known[name].label}” is a secret and is not given among the options.")
    for name in secrets:
        if not known[name].secret:
            raise InvalidInput(name, f"“{known[name].label}” is not a secret.")


def _parse_value(option: Option, text: str) -> str:
    """Trim one value and check its type."""
    value = text.strip() or option.default
    if not value:
        if option.required:
            raise InvalidInput(option.name, f"“{option.label}” is missing.", remedy=option.hint)
        return "false" if option.type is OptionType.BOOLEAN else ""
    if len(value) > _MAX_LENGTH:
        raise InvalidInput(option.name, f"“{option.label}” is longer than {_MAX_LENGTH:,} characters.")
    if option.type is not OptionType.MULTILINE and any(ord(c) < 32 or ord(c) == 127 for c in value):
        raise InvalidInput(option.name, f"“{option.label}” holds control characters or line breaks.")
    if option.type is OptionType.BOOLEAN:
        return _boolean(option, value)
    if option.type is OptionType.CHOICE and value not in {choice for choice, _ in option.choices}:
        allowed = ", ".join(f"“{choice}”" for choice, _ in option.choices)
        raise InvalidInput(
            option.name, f"“{value}” is not a choice for “{option.label}”.", remedy=f"Choose {allowed}."
        )
    return value


def _boolean(option: Option, value: str) -> str:
    if value.lower() in ("true", "on", "yes", "1"):
        return "true"
    if value.lower() in ("false", "off", "no", "0"):
        return "false"
    raise InvalidInput(option.name, f"“{option.label}” is either “true” or “false”.")


def _preset_value(option: Option, given: str, values: Mapping[str, str]) -> str:
    """Return the preset's value for a hidden option, with its placeholders filled from the visible ones."""
    pattern = option.default
    names = [name for _, name, _, _ in string.Formatter().parse(pattern) if name]
    # Stored options hold the endpoint of *before* an edit; anything else was typed and must not be ignored.
    earlier = "".join(
        re.escape(text) + ("" if name is None else "[A-Za-z0-9.-]*")
        for text, name, _, _ in string.Formatter().parse(pattern)
    )
    if given and not re.fullmatch(earlier, given):
        raise InvalidInput(
            option.name,
            f"“{option.label}” is decided by the provider and cannot be set.",
            remedy="Choose “Any S3-compatible” to set everything yourself.",
        )
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9.-]*", values[name]):
            raise InvalidInput(name, f"“{values[name]}” holds more than letters, digits, dots and hyphens.")
    return pattern.format_map(values)


def check_secret(option: Option, secret: Secret | None) -> None:
    """Raise ``InvalidInput``, without repeating it, for a secret that is missing or not of its form."""
    if not secret:
        if option.required:
            raise InvalidInput(option.name, f"“{option.label}” is missing.", remedy=option.hint)
        return
    plain = secret.reveal()
    machine_made = option.form in (SecretForm.KEY, SecretForm.ADDRESS)
    if not machine_made:
        _check_typed_secret(option, plain)
    elif plain != plain.strip() or any(ord(c) < 32 or ord(c) == 127 for c in plain):
        raise InvalidInput(
            option.name,
            f"“{option.label}” begins or ends with a space, or holds a line break.",
            remedy="Copy it again, without what stands around it.",
        )
    if len(plain) > _MAX_LENGTH or (machine_made and not plain.isascii()):
        raise InvalidInput(
            option.name, f"“{option.label}” does not look like a key.", remedy="Copy it again."
        )


def _check_typed_secret(option: Option, plain: str) -> None:
    lines = "\r\n\t" if option.form is SecretForm.TEXT else ""
    if any((ord(c) < 32 and c not in lines) or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000 for c in plain):
        raise InvalidInput(
            option.name, f"“{option.label}” holds control characters or line breaks.", remedy="Type it again."
        )
