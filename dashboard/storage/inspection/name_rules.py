"""What a container does with names: which it treats as the same, and which it changes or hides.

Servers do not report this. Some fold upper and lower case, or the two spellings of an accented letter; some
replace control characters, cut off dots and spaces, or hide dotfiles from their listings. A few test objects
with such names, and one listing of them, show it.
"""

from __future__ import annotations

import json
import time
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal

from dashboard.errors import Kind
from dashboard.storage.driver import Driver, KeepsFolders
from dashboard.storage.errors import ContainerMissing, InvalidKey, NotFound, StorageError
from dashboard.storage.inspection.listing import MARKER_CONTENT, new_marker_name
from dashboard.storage.net.at_once import call_at_once, calls_at_once

LISTING_LAG_SECONDS = 1.0
"""After this time a listing that is incomplete is requested once more."""

_PLAIN = "plain"
_LAST = "last"
"""The name that is written last, which every container keeps: a listing that shows it is not behind."""
_CASES = "case", "CASE"
_NFC, _NFD = "\u00e9", "e\u0301"


@dataclass(frozen=True, slots=True)
class _UnusualName:
    """A kind of name that not every server keeps. ``example`` is tried; ``has`` tests each part of a key
    between slashes."""

    sort: str
    what: str
    example: str
    has: Callable[[str], bool]


_UNUSUAL_NAMES = {
    odd.sort: odd
    for odd in (
        _UnusualName(
            "control", "control characters", "a\x01b", lambda p: any(c < " " or c == "\x7f" for c in p)
        ),
        _UnusualName("backslash", "a backslash", "a\\b", lambda p: "\\" in p),
        _UnusualName(
            "windows", 'one of : * ? " < > |', 'a:*?"<>|b', lambda p: not set(':*?"<>|').isdisjoint(p)
        ),
        _UnusualName("last-dot", "a dot at the end", "dot.", lambda p: p.endswith(".")),
        _UnusualName("last-space", "a space at the end", "space ", lambda p: p.endswith(" ")),
        _UnusualName("first-dot", "a dot at the beginning", ".dot", lambda p: p.startswith(".")),
        _UnusualName("composed", "accented letters as one sign", "\u00fc", lambda p: not _is(p, "NFD")),
        _UnusualName("decomposed", "accents as signs of their own", "o\u0308", lambda p: not _is(p, "NFC")),
    )
}
_HIDDEN = _UNUSUAL_NAMES["first-dot"]


@dataclass(frozen=True, slots=True)
class NameRules:
    """Which names a container treats as the same, and which it does not keep.

    ``ignores_case``: “A” and “a” are the same name; ``ignores_normalization``: so are both spellings of “é”.
    ``altered``: sorts of names that are not listed as they were written. By default every name is kept.
    """

    ignores_case: bool = False
    ignores_normalization: bool = False
    altered: tuple[str, ...] = ()

    @property
    def folds(self) -> bool:
        """Whether different names can be the same."""
        return self.ignores_case or self.ignores_normalization

    def normalize(self, name: str) -> str:
        """Return a text that is equal for all names that are the same; for folders as well as for complete
        keys."""
        if self.ignores_normalization and not name.isascii():
            name = unicodedata.normalize("NFC", name)
        if self.ignores_case:
            name = name.lower() if name.isascii() else "".join(map(_fold_case, name))
        return name

    def refusal(self, key: str) -> str:
        """Return a sentence that says why the container does not keep this key; empty if it does, as far as
        is known."""
        for sort in self.altered:
            odd = _UNUSUAL_NAMES.get(sort)
            if odd is not None and any(map(odd.has, key.split("/"))):
                return f"The place does not keep a name that has {odd.what}: it changes or hides it."
        return ""

    def check(self, key: str) -> None:
        """Raise ``InvalidKey`` for a key that would not be kept."""
        if self.altered and (reason := self.refusal(key)):
            raise InvalidKey(key, reason)

    def findings(self) -> tuple[str, ...]:
        """Return sentences about the container; none if it keeps every name."""
        sentences = []
        if self.ignores_case:
            sentences.append("Names that differ only in case are the same here.")
        if self.ignores_normalization:
            sentences.append("Both spellings of an accented letter are the same here.")
        altered = [_UNUSUAL_NAMES[sort].what for sort in self.altered if sort in _UNUSUAL_NAMES]
        if altered:
            sentences.append(f"Names are changed or hidden if they have {', or '.join(altered)}.")
        if _HIDDEN.sort in self.altered:
            sentences.append("Names with a leading dot are not listed, so they are not copied from here.")
        return tuple(sentences)

    def to_json(self) -> str:
        """Return the rules in the form in which they are stored."""
        return json.dumps([self.ignores_case, self.ignores_normalization, list(self.altered)])

    @classmethod
    def from_json(cls, text: str) -> NameRules:
        """The inverse of :meth:`to_json`."""
        ignores_case, ignores_normalization, altered = json.loads(text)
        return cls(bool(ignores_case), bool(ignores_normalization), tuple(altered))


def probe_name_rules(driver: Driver) -> NameRules:
    """Find out the rules of a container with test objects, which are removed again.

    Names that it refuses with an error need no rule. Makes several calls at once, as many as the driver
    accepts connections. Raises ``StorageError`` if nothing can be written, listed or deleted.
    """
    return _NameProbe(driver).rules()


class _NameProbe:
    """One run of ``probe_name_rules``, in a folder of its own, whose name is a marker's."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._at_once = calls_at_once(driver)
        self._folder = new_marker_name(0, time.time()) + "/"
        self._tried: set[str] = set()
        self._kept: set[str] = set()
        self._refused: set[str] = set()
        self._taken: set[str] = set()
        self._listed: set[str] = set()

    def rules(self) -> NameRules:
        try:
            self._put(_PLAIN)
            # Where nothing can be deleted, no more is written.
            self._driver.delete(self._folder + _PLAIN)
            self._tried.clear()
            self._kept.clear()
            self._write_all()
            self._write(_LAST)
            self._look()
            altered = self._kept - self._listed | self._refused
            return NameRules(
                self._one(*_CASES),
                self._one(_NFC, _NFD),
                tuple(odd.sort for odd in _UNUSUAL_NAMES.values() if odd.example in altered),
            )
        finally:
            self._tidy()

    def _write_all(self) -> None:
        """Write the names at once. What fails beside others says nothing about a name, as a server may break
        off all connections for one of them: it is written once more, alone."""
        groups = [_CASES, (_NFC, _NFD), *((odd.example,) for odd in _UNUSUAL_NAMES.values())]
        failed: set[tuple[str, ...]] = set()

        def write(group: tuple[str, ...]) -> None:
            try:
                self._write_group(group, self._put, self._exists)
            except ContainerMissing:
                raise
            except StorageError:
                failed.add(group)

        call_at_once([partial(write, group) for group in groups], self._at_once)
        for group in groups:
            if group in failed:
                self._write_group(group, self._write, self._answers)

    def _write_group(
        self, group: tuple[str, ...], write: Callable[[str], None], exists: Callable[[str], bool]
    ) -> None:
        """Write a name, or a pair: the second only if it does not exist once the first does. Called again,
        it goes on where it failed."""
        if group[0] not in self._kept:
            write(group[0])
        for second in group[1:]:
            # Once it was tried it may exist because of that.
            if second not in self._tried and exists(second):
                self._taken.add(second)
            else:
                write(second)

    def _put(self, name: str) -> None:
        key = self._folder + name
        self._driver.check_key(key)
        self._tried.add(name)
        _retry_once(lambda: self._driver.put(key, MARKER_CONTENT))
        self._kept.add(name)

    def _write(self, name: str) -> None:
        """Write a name, and note what becomes of it."""
        try:
            self._put(name)
        except ContainerMissing:
            raise
        except StorageError as error:
            # Of an odd name any error is a refusal: some servers break off for what they do not like.
            if error.kind is Kind.CONFLICT:
                self._taken.add(name)
            elif name == _HIDDEN.example and isinstance(error, InvalidKey):
                # The driver has found out what the server does; people must learn about existing names.
                self._refused.add(name)

    def _exists(self, name: str) -> bool:
        """Whether an object exists under a name that was not written. Raises any other answer."""
        try:
            _retry_once(lambda: self._driver.stat(self._folder + name))
        except NotFound:
            return False
        return True

    def _answers(self, name: str) -> bool:
        """The same; any other answer is a no."""
        try:
            return self._exists(name)
        except ContainerMissing:
            raise
        except StorageError:
            return False

    def _look(self) -> None:
        try:
            self._list()
        except ContainerMissing:
            raise
        except StorageError:
            # Some servers take a control character and then break their own listing by it.
            control = _UNUSUAL_NAMES["control"].example
            if control not in self._kept:
                raise
            self._driver.delete(self._folder + control)
            self._list()

    def _list(self) -> None:
        for wait in (0.0, LISTING_LAG_SECONDS):
            time.sleep(wait)
            self._listed = {entry.key.removeprefix(self._folder) for entry in self._driver.list(self._folder)}
            if self._kept <= self._listed or _LAST in self._listed:
                return

    def _one(self, first: str, second: str) -> bool:
        """Whether two names are the same: the second existed when only the first was written, or the
        container does not list both."""
        if first not in self._kept:
            return False
        return second in self._taken or (second in self._kept and not {first, second} <= self._listed)

    def _tidy(self) -> None:
        names = sorted(self._tried | self._listed)
        call_at_once([partial(self._delete, name) for name in names], self._at_once)
        if isinstance(self._driver, KeepsFolders):
            with suppress(StorageError):
                self._driver.remove_folder(self._folder.rstrip("/"))

    def _delete(self, name: str) -> None:
        with suppress(StorageError):
            self._driver.delete(self._folder + name)


def _retry_once(call: Callable[[], object]) -> None:
    """Call again after a retryable error."""
    try:
        call()
    except StorageError as error:
        if not error.retryable:
            raise
        call()


def _is(text: str, form: Literal["NFC", "NFD"]) -> bool:
    return text.isascii() or unicodedata.normalize(form, text) == text


def _fold_case(char: str) -> str:
    """Fold case as servers do: one character for one character."""
    large = char.upper()
    small = (large if len(large) == 1 else char).lower()
    return small if len(small) == 1 else char
