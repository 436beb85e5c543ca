"""What the drivers for file servers are told in the same way: host, port, folder, connections."""

from __future__ import annotations

from dashboard.errors import InvalidInput
from dashboard.storage.driver_types import Location, Options
from dashboard.storage.drivers.common.locations import normalize_host
from dashboard.storage.net.addresses import host_refusal, literal
from dashboard.storage.options import Option

MAX_CONNECTIONS = 64


def host_option() -> Option:
    """The server's name."""
    return Option(
        "host",
        "Host",
        required=True,
        placeholder="files.example.com",
        guards_secret=True,
        hint="The server's name or address, without a scheme and without a path.",
    )


def port_option(default: str) -> Option:
    """The server's port; empty for the usual one where ``default`` is."""
    return Option(
        "port",
        "Port",
        default=default,
        guards_secret=True,
        hint="" if default else "Blank for the usual one.",
    )


def root_option() -> Option:
    """The folder on the server."""
    return Option(
        "root",
        "Folder",
        place=True,
        placeholder="/srv/files",
        hint="Everything below it is this backend. A path without “/” in front begins in the folder you "
        "land in after signing in; blank is that folder itself.",
    )


def connections_option(default: int) -> Option:
    """How many connections at once."""
    return Option(
        "connections",
        "Connections",
        default=str(default),
        advanced=True,
        hint="At most this many at once. Fewer if the server refuses some; copying within this backend "
        "takes up to twice as many.",
    )


def parse_host(text: str) -> str:
    """A host name or address. Raises ``InvalidInput`` for ``host``."""
    if "://" in text or "/" in text or "@" in text:
        raise InvalidInput(
            "host",
            "The host is a name only, without a scheme, a user or a path.",
            remedy="User, port and folder have their own fields.",
        )
    address = literal(text)
    if address is None and text.count(":") == 1:
        raise InvalidInput("host", "The host holds a port.", remedy="Write the port into its own field.")
    if refusal := host_refusal(text):
        raise InvalidInput("host", refusal)
    return text if address is None else str(address)


def parse_number(field: str, label: str, text: str, maximum: int) -> str:
    """A whole number from 1. Raises ``InvalidInput`` naming the field."""
    if not text.isascii() or not text.isdigit() or len(text) > 6 or not 1 <= int(text) <= maximum:
        raise InvalidInput(field, f"{label} must be a number from 1 to {maximum}.")
    return str(int(text))


def parse_root(text: str) -> str:
    """A folder in one form: no slash at its end. Raises ``InvalidInput`` for ``root``."""
    field = "root"
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidInput(field, "The folder's name is not valid text.") from None
    if length > 1024:
        raise InvalidInput(field, "The folder is longer than 1,024 bytes.")
    if any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise InvalidInput(field, "The folder's name holds control characters.")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise InvalidInput(field, "The folder holds “..”.", remedy="Write the path without it.")
    return ("/" if text.startswith("/") else "") + "/".join(parts)


def parse_user(text: str) -> str:
    """A user name that cannot break out of a command. Raises ``InvalidInput`` for ``user``."""
    if any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000 for c in text):
        raise InvalidInput("user", "The user name holds control characters.")
    return text


def summary(options: Options) -> str:
    """``folder of user on host``."""
    root = options.get("root") or "home folder"
    return f"{root} of {options.get('user', '')} on {options.get('host', '')}"


def location(options: Options) -> Location:
    """Two users may each see files of their own. Where a relative folder begins, only the server knows."""
    root = options.get("root", "")
    server = f"{options.get('user', '')}@{normalize_host(options.get('host', ''))}:{options.get('port', '')}"
    folder = root.strip("/")
    return Location(server if root.startswith("/") else f"{server}~", f"{folder}/" if folder else "")
