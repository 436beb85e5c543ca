"""The options of the FTP driver, checked without a network call."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence

from dashboard.errors import InvalidInput
from dashboard.storage.checks.options import TLS_OPTIONS, certificates
from dashboard.storage.drivers.served.options import (
    MAX_CONNECTIONS,
    connections_option,
    host_option,
    parse_host,
    parse_number,
    parse_root,
    parse_user,
    port_option,
    root_option,
)
from dashboard.storage.options import Option, OptionType, Preset, SecretForm

FTP_OPTIONS = (
    host_option(),
    Option(
        "tls",
        "Encryption",
        OptionType.CHOICE,
        default="explicit",
        guards_secret=True,
        choices=(
            ("explicit", "TLS (FTPS, explicit)"),
            ("implicit", "TLS from the first byte (FTPS, implicit)"),
            ("none", "None: password and files are sent unencrypted"),
        ),
        hint="Most servers with TLS use explicit TLS.",
    ),
    port_option(""),
    Option("user", "User", required=True),
    Option("password", "Password", OptionType.SECRET, form=SecretForm.PASSWORD),
    root_option(),
    Option(
        "encoding",
        "Encoding of file names",
        advanced=True,
        default="utf-8",
        hint="Old servers may need “latin-1” or “cp1252”.",
    ),
    connections_option(4),
    *TLS_OPTIONS,
)


def check_ftp(values: Mapping[str, str], preset: Preset, forbidden_roots: Sequence[str]) -> dict[str, str]:
    """Normalise FTP options, without a network call. Raises ``InvalidInput`` naming the option."""
    usual = "990" if values["tls"] == "implicit" else "21"
    return {
        **values,
        "host": parse_host(values["host"]),
        "port": parse_number("port", "The port", values["port"] or usual, 65535),
        "user": parse_user(values["user"]),
        "root": parse_root(values["root"]),
        "encoding": _encoding(values["encoding"]),
        "connections": parse_number(
            "connections", "The number of connections", values["connections"], MAX_CONNECTIONS
        ),
        "ca_certificate": certificates(values["ca_certificate"]),
    }


def _encoding(text: str) -> str:
    """Return the name of an encoding that contains ASCII, so that no encoded name can end a command."""
    try:
        name = codecs.lookup(text).name
        plain = "".join(map(chr, range(1, 127)))
        if plain.encode(name) == plain.encode("ascii"):
            return name
    except (LookupError, UnicodeError):
        pass
    raise InvalidInput("encoding", f"“{text}” is not an encoding for file names.", remedy="Try “latin-1”.")
