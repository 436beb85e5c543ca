"""The text of a settings file (``.env``): read, and edited without touching anything else.

The dialect is what shells, systemd, Docker Compose and python-dotenv agree on: ``NAME=value`` lines,
optionally after ``export``; values plain, in single quotes (literal) or in double quotes (with ``\\\\``,
``\\"``, ``\\$``, ``\\```, ``\\n``, ``\\r`` and ``\\t``); quoted values may have several lines; ``#`` begins a
comment at the beginning of a line or after a blank. Nothing is ever expanded: ``$HOME`` is five characters.
The last of several lines with one name counts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from dashboard.errors import InvalidInput, Kind, StowageError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
MAX_VALUE = 32 * 1024
"""Characters of one value."""

_BOM = "\ufeff"
_ASSIGNMENT = re.compile(r"[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=")
_BLANKS = re.compile(r"[ \t]*")
_NO_VALUE = re.compile(r"[ \t]*\r?$|[ \t]+#")
_AFTER_QUOTE = re.compile(r"(?:[ \t]*|[ \t]+#[^\n]*)\r?(?=\n|\Z)")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "$": "$", "`": "`"}
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=-]*")
"""Means the same to every program, without quotes."""
_LOOSE = re.compile(r"[^\s'\"\\$`#\x00-\x1f\x7f](?:[^'\"\\$`#\x00-\x1f\x7f]*[^\s'\"\\$`#\x00-\x1f\x7f])?")
"""Stays without quotes where its line has none, although a shell would take the second word for a command."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that different programs would read differently, or not at all; ``line`` from 1."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Assignment:
    """One ``NAME=value``: where its lines begin and end in the text, and where its value does."""

    name: str
    value: str
    start: int
    value_start: int
    value_end: int
    end: int


class Document:
    """A settings file's bytes, parsed. Immutable; ``data`` is byte for byte what was parsed."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        # Bytes that are not UTF-8, in a comment for example, survive as lone surrogates.
        self._text = data.decode("utf-8", "surrogateescape")
        self.assignments, self.problems = _parse(self._text)

    @cached_property
    def values(self) -> Mapping[str, str]:
        """Every name with its value; of several lines the last."""
        return {each.name: each.value for each in self.assignments}

    @cached_property
    def duplicates(self) -> tuple[str, ...]:
        """Names that have more than one line."""
        counts = Counter(each.name for each in self.assignments)
        return tuple(sorted(name for name, count in counts.items() if count > 1))

    def edit(self, changes: Mapping[str, str | None]) -> Document:
        """Return the document with some values set, or with all lines of a name removed (None).

        Everything else stays byte for byte: order, comments, blanks, quotes, line ends, a byte order mark,
        and whether the last line ends. A value that is set to what it was changes nothing. The result is
        parsed again and compared before it is returned. Raises ``InvalidInput`` naming the variable, and
        ``CONFLICT`` for a document with problems.
        """
        if self.problems:
            raise StowageError(
                Kind.CONFLICT,
                f"Line {self.problems[0].line} of the settings file {self.problems[0].reason}.",
                operation="edit settings",
                remedy="Correct that line by hand, or put # before it; then try again.",
            )
        text = self._text
        for name, value in changes.items():
            text = _remove(text, name) if value is None else _set(text, name, _checked(name, value))
        edited = Document(text.encode("utf-8", "surrogateescape"))
        expected = {**self.values, **changes}
        if edited.problems or edited.values != {k: v for k, v in expected.items() if v is not None}:
            raise StowageError(
                Kind.INTERNAL,
                "The settings file would not read back as it was meant.",
                operation="edit settings",
            )
        return edited


def _checked(name: str, value: str) -> str:
    if not NAME.fullmatch(name):
        raise InvalidInput(name, "A variable's name has letters, digits and underscores, and no digit first.")
    if len(value) > MAX_VALUE:
        raise InvalidInput(name, f"{name} is too long: a value has at most {MAX_VALUE:,} characters.")
    if _CONTROL.search(value.replace("\r\n", "\n")) or not _is_text(value):
        raise InvalidInput(name, f"{name} holds a character that cannot be written in a settings file.")
    return value


def _is_text(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _set(text: str, name: str, value: str) -> str:
    found = [each for each in _parse(text)[0] if each.name == name]
    if not found:
        return _append(text, f"{name}={_encode(value, '')}")
    last = found[-1]
    if last.value == value:
        return text
    before = text[last.value_start : last.value_end]
    style = before[:1] if before[:1] in ("'", '"') else _BARE if before else ""
    return text[: last.value_start] + _encode(value, style) + text[last.value_end :]


def _append(text: str, line: str) -> str:
    ending = "\r\n" if re.search(r"\r\n[^\n]*\Z", text) else "\n"
    # A file whose last line does not end keeps that habit, so that removing the line restores its bytes.
    if text.removeprefix(_BOM) and not text.endswith("\n"):
        return text + ending + line
    return text + line + ending


def _remove(text: str, name: str) -> str:
    for each in reversed([each for each in _parse(text)[0] if each.name == name]):
        start = each.start
        if each.end == len(text) and not text.endswith("\n"):
            start -= 2 if text[:start].endswith("\r\n") else text[:start].endswith("\n")
        text = text[:start] + text[each.end :]
    return text


_BARE = "bare"


def _encode(value: str, style: str) -> str:
    """A value as text. ``style``: the quote that its line has, which stays so if it can; ``_BARE`` for none;
    empty for a new line."""
    if style in ("", _BARE) and _PLAIN.fullmatch(value):
        return value
    if style == _BARE and _LOOSE.fullmatch(value):
        return value
    if style != '"' and "'" not in value and "\\" not in value:
        return f"'{value}'"
    escaped = re.sub(r'[\\"$`]', r"\\\g<0>", value)
    return f'"{escaped}"'


def _parse(text: str) -> tuple[tuple[Assignment, ...], tuple[Problem, ...]]:
    found: list[Assignment] = []
    problems: list[Problem] = []
    position, line = len(_BOM) if text.startswith(_BOM) else 0, 1
    while position < len(text):
        end = _line_end(text, position)
        outcome: Assignment | str | None = _read_line(text, position, end)
        if isinstance(outcome, Assignment):
            end = outcome.end
            found.append(outcome)
        elif outcome is not None:
            problems.append(Problem(line, outcome))
            if outcome == _UNCLOSED:
                break
        line += text.count("\n", position, end)
        position = end
    return tuple(found), tuple(problems)


_UNCLOSED = "has a quote that is never closed"


def _line_end(text: str, position: int) -> int:
    newline = text.find("\n", position)
    return len(text) if newline < 0 else newline + 1


def _read_line(text: str, start: int, end: int) -> Assignment | str | None:
    """The assignment that begins here, or why there is none, or None for blank lines and comments."""
    match = _ASSIGNMENT.match(text, start, end)
    if match is None:
        rest = text[start:end].strip(" \t\r\n")
        return None if not rest or rest.startswith("#") else "is neither a comment nor NAME=value"
    name, equals = match["name"], match.end()
    if _NO_VALUE.match(text, equals, end) or not text[equals:end].strip(" \t\r\n"):
        return Assignment(name, "", start, equals, equals, end)
    blanks = _BLANKS.match(text, equals, end)
    first = blanks.end() if blanks else equals
    if text[first] in "'\"":
        return _read_quoted(text, start, first, name)
    return _read_plain(text, start, first, end, name)


def _read_plain(text: str, start: int, first: int, end: int, name: str) -> Assignment | str:
    rest = text[first:end].rstrip("\r\n")
    comment = re.search(r"[ \t]#", rest)
    value = (rest[: comment.start()] if comment else rest).rstrip(" \t")
    if value.endswith("\\") and not comment:
        return "ends with a backslash, which joins it with the next line for some programs"
    if "\r" in value:
        return "has a line end inside"
    return Assignment(name, value, start, first, first + len(value), end)


def _read_quoted(text: str, start: int, first: int, name: str) -> Assignment | str:
    if text[first] == "'":
        closing = text.find("'", first + 1)
        if closing < 0:
            return _UNCLOSED
        after, value = closing + 1, text[first + 1 : closing]
    else:
        match = _DOUBLE.match(text, first)
        if match is None:
            return _UNCLOSED
        after = match.end()
        value = _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[0]), match[1])
    rest = _AFTER_QUOTE.match(text, after)
    if rest is None:
        return "has text after the closing quote"
    return Assignment(name, value, start, first, after, _line_end(text, rest.end()))
