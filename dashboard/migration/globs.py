"""Include and exclude globs on whole keys.

``*`` and ``?`` stay within one path segment, ``**`` crosses segments, ``[...]`` is a set of characters
(``[!...]`` its opposite; never a slash). Every other character stands for itself; ``\\`` takes the next
one literally. ``**/`` also matches no folder at all, so ``**/a.jpg`` finds ``a.jpg`` at the top.

Matching walks a set of positions through the key (Thompson, "Regular Expression Search Algorithm",
1968): time grows with ``len(pattern) * len(key)`` whatever the pattern is, where a translated regular
expression could take exponential time on a hostile one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dashboard.errors import InvalidInput

MAX_PATTERN_LENGTH = 1024
"""In characters."""
MAX_PATTERNS = 100
"""For one migration."""

_STAR, _DEEP, _FOLDERS, _INSIDE, _ANY, _SET, _LITERAL = range(7)
_EVERYTHING = frozenset({(_DEEP,), (_FOLDERS, _INSIDE, _STAR), (_FOLDERS, _INSIDE, _DEEP)})
"""Ends of patterns that match everything after a slash."""
# "**/" is two steps: _FOLDERS is at the start of a segment and may be left there, _INSIDE is within one of
# the folders it matches and leads back to _FOLDERS at the next slash.


@dataclass(frozen=True, slots=True)
class _Piece:
    """One step of a compiled pattern: what it is, and the text or set it stands for."""

    sort: int
    text: str = ""
    ranges: tuple[tuple[str, str], ...] = ()
    negated: bool = False

    def accepts(self, character: str) -> bool:
        """Whether this one-character step accepts ``character``."""
        if self.sort == _LITERAL:
            return character == self.text
        if character == "/":
            return False
        if self.sort == _ANY:
            return True
        return any(low <= character <= high for low, high in self.ranges) != self.negated


@dataclass(frozen=True, slots=True)
class Glob:
    """One compiled pattern. Thread-safe."""

    pattern: str
    head: str
    tail: str
    pieces: tuple[_Piece, ...]

    def matches(self, key: str) -> bool:
        """Whether the whole key matches."""
        if len(key) < len(self.head) + len(self.tail):
            return False
        if not (key.startswith(self.head) and key.endswith(self.tail)):
            return False
        middle = key[len(self.head) : len(key) - len(self.tail)]
        if not self.pieces:
            return not middle
        if len(self.pieces) == 1:
            if self.pieces[0].sort == _DEEP:
                return True
            if self.pieces[0].sort == _STAR:
                return "/" not in middle
        return _walk(self.pieces, middle)

    def may_match_below(self, folder: str) -> bool:
        """Whether a key in this folder (it ends in a slash) or further down may match. Never wrongly no."""
        if self.head.startswith(folder):
            return True
        return folder.startswith(self.head) and bool(self._after(folder))

    def matches_all_below(self, folder: str) -> bool:
        """Whether every key in this folder, which ends in a slash, and further down matches. Never wrongly
        yes."""
        if self.tail or not folder.startswith(self.head):
            return False
        return any(
            tuple(piece.sort for piece in self.pieces[position:]) in _EVERYTHING
            for position in self._after(folder)
        )

    def _after(self, folder: str) -> set[int]:
        return _positions_after(self.pieces, folder[len(self.head) :])


def compile_glob(pattern: str, *, field: str = "include") -> Glob:
    """Compile one pattern. Raises ``InvalidInput`` naming ``field`` when it cannot be read."""
    if not pattern:
        raise InvalidInput(field, "A pattern is empty.", remedy="Remove it, or write ** for everything.")
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise InvalidInput(field, f"A pattern is longer than {MAX_PATTERN_LENGTH} characters.")
    if "\x00" in pattern:
        raise InvalidInput(field, "A pattern contains a NUL character, which no key can match.")
    if pattern.startswith("/"):
        raise InvalidInput(
            field,
            f"The pattern “{pattern}” begins with a slash, and keys do not.",
            remedy=f"Write “{pattern.lstrip('/') or '**'}”.",
        )
    pieces = _parse(pattern, field)
    first = next((n for n, p in enumerate(pieces) if p.sort != _LITERAL), len(pieces))
    head = "".join(p.text for p in pieces[:first])
    rest = pieces[first:]
    last = next((n for n, p in enumerate(reversed(rest)) if p.sort != _LITERAL), 0)
    # What follows "**/" starts a segment; only the walk knows where segments start.
    if rest and rest[len(rest) - last - 1].sort == _INSIDE:
        last = 0
    tail = "".join(p.text for p in rest[len(rest) - last :])
    return Glob(pattern, head, tail, tuple(rest[: len(rest) - last]))


@dataclass(frozen=True, slots=True)
class Filter:
    """Which keys belong: one of ``include`` (all when empty) and none of ``exclude``."""

    include: tuple[Glob, ...]
    exclude: tuple[Glob, ...]

    def wants(self, key: str) -> bool:
        """Whether the key belongs to the migration."""
        if self.include and not any(glob.matches(key) for glob in self.include):
            return False
        return not any(glob.matches(key) for glob in self.exclude)

    def enters(self, folder: str) -> bool:
        """Whether a key below this folder, which ends in a slash, may belong."""
        if self.include and not any(glob.may_match_below(folder) for glob in self.include):
            return False
        return not any(glob.matches_all_below(folder) for glob in self.exclude)


def compile_filter(include: Iterable[str], exclude: Iterable[str]) -> Filter:
    """Compile both lists. Raises ``InvalidInput`` with the field ``include`` or ``exclude``."""
    return Filter(_compile_all(include, "include"), _compile_all(exclude, "exclude"))


def _compile_all(patterns: Iterable[str], field: str) -> tuple[Glob, ...]:
    globs = tuple(compile_glob(pattern, field=field) for pattern in patterns)
    if len(globs) > MAX_PATTERNS:
        raise InvalidInput(
            field, f"There are more than {MAX_PATTERNS} patterns.", remedy="Join some with * or **."
        )
    return globs


def _parse(pattern: str, field: str) -> list[_Piece]:
    pieces: list[_Piece] = []
    at = 0
    while at < len(pattern):
        piece, at = _next_piece(pattern, at, field)
        pieces.append(piece)
        if piece.sort == _FOLDERS:
            pieces.append(_Piece(_INSIDE))
    return pieces


def _next_piece(pattern: str, at: int, field: str) -> tuple[_Piece, int]:
    character = pattern[at]
    if character == "*":
        return _parse_stars(pattern, at)
    if character == "?":
        return _Piece(_ANY), at + 1
    if character == "[":
        return _parse_set(pattern, at, field)
    if character == "\\":
        if at + 1 == len(pattern):
            raise InvalidInput(
                field,
                f"The pattern “{pattern}” ends with a lone backslash.",
                remedy="Write \\\\ for a backslash itself.",
            )
        return _Piece(_LITERAL, pattern[at + 1]), at + 2
    return _Piece(_LITERAL, character), at + 1


def _parse_stars(pattern: str, at: int) -> tuple[_Piece, int]:
    end = at
    while end < len(pattern) and pattern[end] == "*":
        end += 1
    if end - at == 1:
        return _Piece(_STAR), end
    if pattern[end : end + 1] == "/" and (at == 0 or pattern[at - 1] == "/"):
        return _Piece(_FOLDERS), end + 1
    return _Piece(_DEEP), end


def _parse_set(pattern: str, at: int, field: str) -> tuple[_Piece, int]:
    start = at + 1
    negated = pattern[start : start + 1] in ("!", "^")
    start += negated
    # A ] directly after the opening bracket stands for itself, as in every shell.
    end = pattern.find("]", start + 1)
    if end < 0:
        raise InvalidInput(
            field,
            f"The pattern “{pattern}” opens a [ that is never closed.",
            remedy="Close it with ], or write \\[ for the bracket itself.",
        )
    ranges: list[tuple[str, str]] = []
    body = pattern[start:end]
    n = 0
    while n < len(body):
        low = high = body[n]
        if body[n + 1 : n + 2] == "-" and n + 2 < len(body):
            high = body[n + 2]
            n += 2
        if low > high:
            raise InvalidInput(
                field,
                f"The pattern “{pattern}” has the backward range “{low}-{high}”.",
                remedy="Swap the ends.",
            )
        ranges.append((low, high))
        n += 1
    return _Piece(_SET, ranges=tuple(ranges), negated=negated), end + 1


def _walk(pieces: tuple[_Piece, ...], text: str) -> bool:
    return len(pieces) in _positions_after(pieces, text)


def _positions_after(pieces: tuple[_Piece, ...], text: str) -> set[int]:
    """Advance all reachable positions together, one character at a time."""
    positions = _with_empty_steps(pieces, {0})
    for character in text:
        positions = _with_empty_steps(pieces, _advance(pieces, positions, character))
        if not positions:
            break
    return positions


def _advance(pieces: tuple[_Piece, ...], positions: set[int], character: str) -> set[int]:
    following: set[int] = set()
    slash = character == "/"
    for position in positions:
        if position == len(pieces):
            continue
        sort = pieces[position].sort
        if sort == _DEEP or (sort == _STAR and not slash):
            following.add(position)
        elif sort == _FOLDERS:
            following.add(position if slash else position + 1)
        elif sort == _INSIDE:
            following.add(position - 1 if slash else position)
        elif sort != _STAR and pieces[position].accepts(character):
            following.add(position + 1)
    return following


def _with_empty_steps(pieces: tuple[_Piece, ...], positions: set[int]) -> set[int]:
    """Add every position that is reachable without consuming a character."""
    waiting = list(positions)
    while waiting:
        position = waiting.pop()
        if position == len(pieces):
            continue
        sort = pieces[position].sort
        step = 1 if sort in (_STAR, _DEEP) else 2 if sort == _FOLDERS else 0
        if step and position + step not in positions:
            positions.add(position + step)
            waiting.append(position + step)
    return positions
