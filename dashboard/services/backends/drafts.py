"""Checks drafts: turns a filled form into what a driver can be built from, and says what to type again."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from dashboard.errors import InvalidInput
from dashboard.services.backends.values import BackendInfo, Draft, Resolved, Stored
from dashboard.services.sealed_rows import from_text
from dashboard.storage import registry
from dashboard.storage.checks.wrappers import refuse_unreadable
from dashboard.storage.driver_types import DriverType
from dashboard.storage.options import Option, OptionType, Preset
from dashboard.storage.recipients import changed_options, is_unused
from dashboard.storage.registry import MachinePolicy, find_preset
from dashboard.storage.types import Secret

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

SecretOpener = Callable[[Stored, frozenset[str]], Mapping[str, Secret]]
"""Opens the named secrets of a saved backend."""


def check_name(name: str) -> str:
    """A backend's name as stored. Raises ``InvalidInput``."""
    if not NAME.fullmatch(name):
        raise InvalidInput(
            "name",
            "A backend's name has 1 to 63 lowercase letters, digits and hyphens; the first is not a hyphen.",
            remedy="For example: media-archive",
        )
    return name


def options_to_keep(before: BackendInfo, preset: Preset) -> dict[str, str]:
    """The stored options for an edit that names only some; if the preset changes, those that the new one does
    not decide."""
    if preset.name == before.preset:
        return dict(before.options)
    shown = {option.name for option in registry.options_of(preset)}
    return {name: value for name, value in before.options.items() if name in shown}


def resolve(
    draft: Draft, stored: Stored | None, open_secrets: SecretOpener, machine: MachinePolicy
) -> Resolved:
    """Check a draft and complete it with the secrets it leaves blank. No network call.

    Raises ``InvalidInput`` naming the field, also for a saved secret that would be sent to another recipient
    than the one it was entered for: a person who can edit a backend must not learn its secrets that way.
    """
    preset = find_preset(draft.preset)
    if stored is not None and stored.driver != preset.driver:
        raise InvalidInput(
            "preset",
            f"“{stored.name}” cannot become “{preset.label}”: that is another kind of storage.",
            remedy="Add a new backend and migrate to it.",
        )
    _refuse_invalid_unicode(draft.options)
    typed = {name: secret for name, secret in draft.secrets.items() if secret}
    kept = frozenset(stored.tokens) - typed.keys() - draft.cleared if stored is not None else frozenset()
    known = registry.all_options(preset)
    kept &= {option.name for option in known}
    if stored is not None:
        _refuse_changed_encryption_key(stored, known, typed, open_secrets)
        _refuse_dropped_encryption(registry.driver_type(stored.driver), stored.options, draft.options)
    secrets = dict(typed)
    if stored is not None and kept:
        secrets.update(open_secrets(stored, kept))
    options = registry.check_options(preset, draft.options, secrets, forbidden_roots=machine.folders.own)
    for option in known:
        if option.type is OptionType.PATH and options.get(option.name):
            machine.folders.check(option.name, options[option.name])
    machine.check_credentials(preset.driver, options)
    if stored is not None:
        refuse_unreadable(stored.options, options)
    if stored is not None and kept:
        _require_secrets_again(stored, preset, options, kept)
    return Resolved(draft.name, preset, options, secrets, frozenset(typed), stored)


def with_defaults(driver: str, options: Mapping[str, str]) -> dict[str, str]:
    """Return stored options, with defaults for those that a newer version added."""
    kind = registry.DRIVERS.get(driver)
    known = kind.options if kind is not None else ()
    return {option.name: option.default for option in known if not option.secret} | dict(options)


def location_changes(stored: Stored, preset: Preset, options: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the changed options that decide which objects belong to this backend."""
    place = frozenset(option.name for option in registry.all_options(preset) if option.place)
    return _changed(stored, options, place | _guarding(stored, preset))


def changes(stored: Stored, options: Mapping[str, str]) -> tuple[str, ...]:
    """Names of all changed options."""
    return _changed(stored, options, frozenset(stored.options) | frozenset(options))


def _refuse_changed_encryption_key(
    stored: Stored, known: Sequence[Option], typed: Mapping[str, Secret], open_secrets: SecretOpener
) -> None:
    """Refuse a new encryption key: objects are not encrypted again, and nobody could read them any more."""
    sealing = [option for option in known if option.encrypts_objects and option.name in typed]
    for option in sealing:
        if option.name not in stored.tokens:
            continue
        if open_secrets(stored, frozenset({option.name}))[option.name] != typed[option.name]:
            raise InvalidInput(
                option.name,
                f"“{stored.name}” has another “{option.label}” already, and what is encrypted with it could "
                "not be read with a new one.",
                remedy="Leave the field empty; for a new key add a new backend and migrate to it.",
            )


def _refuse_dropped_encryption(kind: DriverType, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    if kind.own_key and kind.uses_own_key(before) and not kind.uses_own_key(after):
        raise InvalidInput(
            kind.own_key[0],
            "What is encrypted with your own key could not be read without it.",
            remedy="Add a new backend without this encryption and migrate to it.",
        )


def _require_secrets_again(
    stored: Stored, preset: Preset, options: Mapping[str, str], kept: frozenset[str]
) -> None:
    known = (*registry.all_options(find_preset(stored.preset)), *registry.all_options(preset))
    labels = {option.name: option.label for option in known}
    for secret in sorted(kept):
        others = changed_options(from_text(stored.sent_to[secret]), stored.driver, options, secret)
        if not others or is_unused(stored.driver, options, secret):
            continue
        # In the words of the form: an account may have been changed, of which the provider makes an address.
        typed = _changed(stored, options, _guarding(stored, preset) | frozenset(others))
        name = (typed or others)[0]
        raise InvalidInput(
            secret,
            f"“{labels.get(name, name)}” decides where this secret is sent and was changed, "
            f"so “{labels.get(secret, secret)}” must be entered again.",
        )


def _refuse_invalid_unicode(options: Mapping[str, str]) -> None:
    for name, value in options.items():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidInput(
                name, "This contains characters that are not text.", remedy="Type it again."
            ) from None


def _guarding(stored: Stored, preset: Preset) -> frozenset[str]:
    return registry.guarding(find_preset(stored.preset)) | registry.guarding(preset)


def _changed(stored: Stored, options: Mapping[str, str], names: frozenset[str]) -> tuple[str, ...]:
    before = with_defaults(stored.driver, stored.options)
    after = with_defaults(stored.driver, options)
    return tuple(name for name in sorted(names) if before.get(name, "") != after.get(name, ""))
