"""The equivalent shell line under an action. Secrets are named by where they come from, never shown."""

from __future__ import annotations

import shlex

from dashboard.services.backends.service import BackendInfo
from dashboard.storage.registry import options_shown


def add_command(backend: BackendInfo) -> str:
    """The line that makes this backend on another console."""
    words = ["stowage", "backend", "add", backend.name, "--preset", backend.preset]
    secrets = []
    for option in options_shown(backend.preset):
        if option.secret:
            if backend.secrets.get(option.name):
                secrets += ["--secret", f"{option.name}=env:{option.name.upper()}"]
            continue
        value = backend.options.get(option.name, "")
        if value and value != option.default:
            words += ["--option", f"{option.name}={value}"]
    return shlex.join(words + secrets)


def test_command(name: str) -> str:
    """The line that tests a saved backend."""
    return shlex.join(["stowage", "backend", "test", name])
