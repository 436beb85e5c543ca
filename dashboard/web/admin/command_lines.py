"""The shell commands shown below a page. They refer to secrets as environment variables, never by value."""

from __future__ import annotations

import shlex

from dashboard.services.backends.backends import BackendInfo
from dashboard.storage.registry import PRESETS, options_of


def add_command(backend: BackendInfo) -> str:
    """Return the command that adds this backend to another console."""
    words = ["stowage", "backend", "add", backend.name, "--preset", backend.preset]
    secrets = []
    preset = PRESETS.get(backend.preset)
    for option in options_of(preset) if preset is not None else ():
        if option.secret:
            # The hint of a password is empty.
            if option.name in backend.secrets:
                secrets += ["--secret", f"{option.name}=env:{option.name.upper()}"]
            continue
        value = backend.options.get(option.name, "")
        if value and value != option.default:
            words += ["--option", f"{option.name}={value}"]
    return shlex.join(words + secrets)


def test_command(name: str) -> str:
    """Return the command that tests a saved backend."""
    return shlex.join(["stowage", "backend", "test", name])
