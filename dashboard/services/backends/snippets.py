"""How to use a backend from a program, from rclone and from the environment. Never with a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dashboard.services.backends.values import BackendInfo
from dashboard.storage.library.environment_variables import KINDS, VARIABLES, BackendKind
from dashboard.storage.registry import PRESETS, all_options, rclone_remote

PLACEHOLDER = "<your {name}>"

_PLAIN = re.compile(r"[\w@%+=:,./-]*", re.ASCII)
_REMOTE = re.compile(r"[^\w.+@-]", re.ASCII)


def python_snippet(backend: BackendInfo) -> str:
    """A program that stores and reads a file here, with the library."""
    preset, secrets = PRESETS.get(backend.preset), []
    options = {}
    for option in all_options(preset) if preset is not None else ():
        if option.secret and backend.secrets.get(option.name) is not None:
            secrets.append(option.name)
        elif (value := backend.options.get(option.name, "")) and value != option.default:
            options[option.name] = value
    arguments = "".join(f"    {name}={value!r},\n" for name, value in options.items())
    arguments += "".join(f"    {name}=environ[{name.upper()!r}],\n" for name in secrets)
    return (
        ("from os import environ\n\n" if secrets else "")
        + "from dashboard.storage import Storage\n\n"
        + "storage = Storage()\n"
        + f"storage.configure(\n    {backend.name!r},\n    {backend.preset!r},\n{arguments})\n"
        + f"files = storage.backend({backend.name!r})\n"
        + 'files.put("hello.txt", b"Hello")\n'
        + 'print(files.get("hello.txt"))\n'
    )


def rclone_snippet(backend: BackendInfo) -> str:
    """A section of ``rclone.conf``, and the command that lists the backend; empty if rclone does not know
    its kind. What rclone is not told, such as a secret, is in comments."""
    remote = rclone_remote(backend.driver, backend.options)
    if remote is None:
        return ""
    name = _REMOTE.sub("_", backend.name)
    lines = [f"[{name}]"]
    lines += [f"{key} = {_one_line(value)}" for key, value in remote.values.items() if value]
    lines += [f"# {key} = {PLACEHOLDER.format(name=key)}" for key in remote.secrets]
    path = _one_line(remote.path.rstrip("/"))
    target = f"{name}:{path}"
    return "\n".join([*lines, "", f"# rclone lsf {_shell(target)}", ""])


def environment_snippet(backend: BackendInfo) -> str:
    """The variables that ``Storage.from_environment`` reads; empty if none describe such a backend."""
    kind = _kind_of(backend.preset)
    preset = PRESETS.get(backend.preset)
    if kind is None or preset is None:
        return ""
    lines = [f"STORAGE_BACKEND={kind.name if kind.preset == backend.preset else backend.preset}"]
    left = []
    for option in all_options(preset):
        value = backend.options.get(option.name, "")
        variable = _variable(kind, option.name)
        if option.secret:
            if variable and backend.secrets.get(option.name) is not None:
                lines.append(f"# {variable}={PLACEHOLDER.format(name=option.name.replace('_', ' '))}")
        elif value and variable:
            lines.append(f"{variable}={_quoted(value)}")
        elif value and value != option.default:
            left.append(option.name)
    if left:
        lines.append(f"# Not known to the environment: {', '.join(left)}")
    return "\n".join([*lines, ""])


def snippets_of(backend: BackendInfo, command: str) -> Mapping[str, str]:
    """All of them by the words of their tabs; kinds that cannot express the backend are left out."""
    environment = environment_snippet(backend)
    found = {
        "Python": python_snippet(backend),
        "Command line": command,
        "rclone": rclone_snippet(backend),
        "Environment": environment,
    }
    return {name: text for name, text in found.items() if text}


def _kind_of(preset: str) -> BackendKind | None:
    for kind in KINDS:
        if preset in (kind.preset, kind.elsewhere):
            return kind
    described = PRESETS.get(preset)
    fallback = next(kind for kind in KINDS if kind.family == "S3_COMPATIBLE")
    same = described is not None and described.driver == PRESETS[fallback.preset].driver
    return fallback if same else None


def _variable(kind: BackendKind, option: str) -> str:
    for family in kind.families:
        for variable in VARIABLES:
            if variable.family == family and variable.option == option:
                return variable.name
    return ""


def _one_line(value: str) -> str:
    return " ".join(value.split()) if any(ord(c) < 32 for c in value) else value


def _quoted(value: str) -> str:
    value = _one_line(value)
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'


def _shell(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else "'" + value.replace("'", "'\\''") + "'"
