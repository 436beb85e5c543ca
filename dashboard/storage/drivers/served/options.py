"""Options that the drivers for file servers share: host, port, folder, connections."""

from __future__ import annotations

from dashboard.errors import InvalidInput
from dashboard.storage.driver_types import Location, Options
from dashboard.storage.drivers.common.locations import normalize_host
from dashboard.storage.net.addresses import host_refusal, parse_ip
from dashboard.storage.options import Option

MAX_CONNECTIONS = 64


def host_option() -> Option:
    """The host."""
    return Option(
        "host",
        "Host",
        required=True,
        placeholder="files.example.com",
        guards_secret=True,
        hint="The server's name or address, without a scheme and without a path.",
    )


def port_option(default: str) -> Option:
    """The port. With an empty ``default``, blank means the protocol's default port."""
    return Option(
        "port",
        "Port",
        default=default,
        guards_secret=True,
        hint="" if default else "Blank for the default port.",
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
    """The maximum number of connections."""
    return Option(
        "connections",
        "Connections",
        default=str(default),
        advanced=True,
        hint="At most this many at once. Fewer if the server refuses some; copying within this backend "
        "takes up to twice as many.",
    )


def parse_host(text: str) -> str:
    """Return a host name or address in one form. Raises ``InvalidInput`` for ``host``."""
    if "://" in text or "/" in text or "@" in text:
        raise InvalidInput(
            "host",
            "The host is a name only, without a scheme, a user or a path.",
            remedy="User, port and folder have their own fields.",
        )
    address = parse_ip(text)
    if address is None and text.count(":") == 1:
        raise InvalidInput("host", "The host contains a port.", remedy="Write the port into its own field.")
    if refusal := host_refusal(text):
        raise InvalidInput("host", refusal)
    return text if address is None else str(address)


def parse_number(field: str, label: str, text: str, maximum: int) -> str:
    """Return a whole number from 1 to ``maximum`` in one form. Raises ``InvalidInput`` naming the field."""
    if not text.isascii() or not text.isdigit() or len(text) > 6 or not 1 <= int(text) <= maximum:
        raise InvalidInput(field, f"{label} must be a number from 1 to {maximum}.")
    return str(int(text))


def parse_root(text: str) -> str:
    """Return a folder in one form, without a trailing slash. Raises ``InvalidInput`` for ``root``."""
    field = "root"
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidInput(field, "The folder's name is not valid text.") from None
    if length > 1024:
        raise InvalidInput(field, "The folder is longer than 1,024 bytes.")
    if any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise InvalidInput(field, "The folder's name contains control characters.")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise InvalidInput(field, "The folder contains “..”.", remedy="Write the path without it.")
    return ("/" if text.startswith("/") else "") + "/".join(parts)


def parse_user(text: str) -> str:
    """Refuse a user name that could break out of a command. Raises ``InvalidInput`` for ``user``."""
    if any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000 for c in text):
        raise InvalidInput("user", "The user name contains control characters.")
    return text


def summary(options: Options) -> str:
    """Return ``folder of user on host``."""
    root = options.get("root") or "home folder"
    return f"{root} of {options.get('user', '')} on {options.get('host', '')}"


def location(options: Options) -> Location:
    """Return the location. It includes the user, because users may see different files, and marks relative
    folders, because only the server knows where they start."""
    root = options.get("root", "")
    server = f"{options.get('user', '')}@{normalize_host(options.get('host', ''))}:{options.get('port', '')}"
    folder = root.strip("/")
    return Location(server if root.startswith("/") else f"{server}~", f"{folder}/" if folder else "")
