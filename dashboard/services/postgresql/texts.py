"""How texts are stored in PostgreSQL, which takes no NUL and no half of a surrogate pair.

Names of objects may hold both. Such a text is stored as a character that no other begins with, and the
digits of its bytes: so nothing collides, and it comes after all others, as it does in SQLite.
"""

from __future__ import annotations

from typing import Any

from psycopg.adapt import Buffer, Dumper, Loader

ESCAPED = "\U0010ffff"
"""The last character there is. A text that begins with it is stored as digits too."""


class StoredText(str):
    """A text in the form in which it is stored."""

    __slots__ = ()


def register(connection: Any) -> None:
    """Have a connection of psycopg store and return texts so, and numbers without an end as Python's own."""
    adapters = connection.adapters
    adapters.register_dumper(str, _TextDumper)
    adapters.register_dumper(StoredText, _StoredDumper)
    for name in ("text", "varchar", "bpchar"):
        adapters.register_loader(name, _TextLoader)
    adapters.register_loader("numeric", _NumberLoader)


def encode(text: str) -> str:
    """Return the form in which a text is stored."""
    if text.isascii():
        if "\0" not in text:
            return text
    elif "\0" not in text and not text.startswith(ESCAPED):
        try:
            text.encode()
        except UnicodeEncodeError:
            pass
        else:
            return text
    return ESCAPED + text.encode("utf-8", "surrogatepass").hex()


def decode(stored: str) -> str:
    """Return the text that was stored."""
    if not stored.startswith(ESCAPED):
        return stored
    return bytes.fromhex(stored[1:]).decode("utf-8", "surrogatepass")


class _TextDumper(Dumper):
    """Without a type of its own, as psycopg's: the server takes that of the column."""

    def dump(self, obj: str) -> Buffer | None:
        """Return what is sent."""
        return encode(obj).encode()


class _StoredDumper(Dumper):
    def dump(self, obj: StoredText) -> Buffer | None:
        """Return it as it is."""
        return obj.encode()


class _TextLoader(Loader):
    def load(self, data: Buffer) -> str:
        """Return what was stored."""
        return decode(bytes(data).decode())


class _NumberLoader(Loader):
    """Sums of integers: PostgreSQL calls them numeric."""

    def load(self, data: Buffer) -> int | float:
        """Return an integer if it is one."""
        text = bytes(data).decode()
        try:
            return int(text)
        except ValueError:
            return float(text)
