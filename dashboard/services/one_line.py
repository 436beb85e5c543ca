"""Text from outside as one line: a key or a server's sentence can hold line breaks and escape sequences."""

from __future__ import annotations

import re

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def printable(text: str) -> str:
    """``text`` as a terminal or a log may safely have it: whatever does not print is escaped, line breaks
    too, so that a key cannot pass for a line of ours."""
    safe = "".join(c if c.isprintable() else _escaped(c) for c in text)
    return safe.encode("utf-8", "backslashreplace").decode()


def without_controls(text: str) -> str:
    """``text`` as a file of lines may have it: control characters and line breaks are escaped, everything
    else, such as joined emoji, stays."""
    safe = _CONTROLS.sub(lambda match: _escaped(match[0]), text)
    return safe.encode("utf-8", "backslashreplace").decode()


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
