"""The HTTP services as rows of the table of lies, and the lies all of them know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import count

from dashboard.storage.driver import Driver
from tests.servers.hostile.dialects import AzureDialect, Dialect, GcsDialect, S3Dialect, VercelDialect
from tests.servers.hostile.http import WIRE, HostileHttpServer, Request, Said, ScriptedResponse

Respond = Callable[[Request], Said]

_WEB_PAGE = ScriptedResponse(headers={"Content-Type": "text/html"}, body=b"<html><body>Welcome</body></html>")
_HEADS = frozenset({"headers without end", "one header without end", "interim answers without end"})
"""Lies for which an answer needs no body."""
_HALVES = frozenset({"no length, and half of it", "half of what was announced"})
"""Lies for which the body must not be empty."""


class Told:
    """One listing, page by page, to one driver."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._numbers = count(1)

    def page(self, *, token: str | None = None, keys: int = 2) -> ScriptedResponse:
        """The next keys in order, and a new token unless one is given."""
        number = next(self._numbers)
        names = [f"{number:06}-{each}" for each in range(keys)]
        return self._dialect.page(names, f"t{number}" if token is None else token)


def _second(page: Callable[[Dialect], ScriptedResponse | None]) -> Callable[[Dialect], Respond | None]:
    """Listings of which every page after the first is this one."""

    def respond_for(dialect: Dialect) -> Respond | None:
        broken, told = page(dialect), Told(dialect)
        if broken is None:
            return None
        return lambda request: broken if dialect.token(request) else told.page()

    return respond_for


def _own(name: str) -> Callable[[Dialect], Respond | None]:
    def page(dialect: Dialect) -> ScriptedResponse | None:
        made = dialect.broken().get(name)
        return made() if made else None

    return _second(page)


def _cut(dialect: Dialect) -> ScriptedResponse:
    whole = dialect.page(["x", "y", "z"], "")
    return ScriptedResponse(headers=whole.headers, body=whole.body[: len(whole.body) * 2 // 3])


def _same_token(dialect: Dialect) -> Respond:
    told = Told(dialect)
    return lambda request: told.page(token="again")


def _earlier_token(dialect: Dialect) -> Respond:
    told, tokens = Told(dialect), iter(range(10**9))
    return lambda request: told.page(token=f"t{next(tokens) % 7}")


def _same_pages(dialect: Dialect) -> Respond:
    """Three pages over and over, with a new token each time."""
    tokens = count(1)

    def respond(request: Request) -> Said:
        number = next(tokens)
        return dialect.page([f"{number % 3}-a", f"{number % 3}-b"], f"t{number}")

    return respond


def _backwards(dialect: Dialect) -> Respond | None:
    numbers = count(1)

    def respond(request: Request) -> Said:
        number = next(numbers)
        return dialect.page([f"{10**6 - number}-a", f"{10**6 - number}-b"], f"t{number}")

    return respond if dialect.ordered else None


def _empty_for_ever(dialect: Dialect) -> Respond:
    told = Told(dialect)
    return lambda request: told.page(keys=0)


_LISTINGS: Mapping[str, Callable[[Dialect], Respond | None]] = {
    **{
        name: _own(name)
        for name in (
            "more follows, but not from where",
            "not said whether more follows",
            "a damaged word for whether more follows",
            "an error with status 200",
            "the answer to another question",
            "mostly structure",
            "mostly structure, in few bytes",
        )
    },
    "a web page": _second(lambda dialect: _WEB_PAGE),
    "nothing at all": _second(lambda dialect: ScriptedResponse()),
    "half a page": _second(_cut),
    "a size below zero": _second(lambda dialect: dialect.page(["x"], "", size="-1")),
    "a size beyond all disks": _second(lambda dialect: dialect.page(["x"], "", size=str(2**63))),
    "a name of five thousand letters": _second(lambda dialect: dialect.page(["x" * 5000], "")),
    "the same token again": _same_token,
    "the token of an earlier page": _earlier_token,
    "the same pages with new tokens": _same_pages,
    "pages that go backwards": _backwards,
    "empty pages without end": _empty_for_ever,
}
LISTINGS: Sequence[str] = tuple(f"listing: {name}" for name in _LISTINGS)
"""What is wrong with every page after the first, or with the order of pages."""

BROKEN_OFF = "migration from there: a listing that breaks off"
NOT_STORED = "migration to there: a receipt for what was not stored"
MIGRATIONS: Sequence[str] = (BROKEN_OFF, NOT_STORED)
"""Lies that only a whole migration could fall for."""

_ABOUT = {
    "sign-in": "listing",
    "listing": "listing",
    "look": "stat",
    "reading": "content",
    "write": "receipt",
}
"""Which request of what is asked of a driver gets the lie in answer."""
WIRE_LIES: Sequence[str] = tuple(f"{asked}: {name}" for name in WIRE for asked in _ABOUT)
"""Every lie about an answer as such, told in answer to everything."""


class HttpSubject:
    """See ``Subject``."""

    def __init__(self, dialect: Dialect) -> None:
        self.name = dialect.name
        self._dialect = dialect

    def telling(self, lie: str) -> AbstractContextManager[Driver] | None:
        """See ``Subject``."""
        asked, _, name = lie.partition(": ")
        if lie == BROKEN_OFF:
            return self._serving("listing", _second(_cut)(self._dialect))
        if lie == NOT_STORED:
            return self._serving("listing", lambda request: self._dialect.page([], ""))
        if lie in LISTINGS:
            said = _LISTINGS[name](self._dialect)
        elif lie in WIRE_LIES:
            said = self._on_the_wire(asked, name)
        else:
            said = None
        return self._serving(_ABOUT[asked], said) if said is not None else None

    def _on_the_wire(self, asked: str, name: str) -> Respond | None:
        about = _ABOUT[asked]
        if about in self._dialect.without_body and name not in _HEADS:
            return None
        if about in self._dialect.empty and name in _HALVES:
            return None
        return lambda request: WIRE[name](self._dialect.answer(request))

    @contextmanager
    def _serving(self, about: str, said: Respond | None) -> Iterator[Driver]:
        dialect = self._dialect
        assert said is not None

        def respond(request: Request) -> Said:
            return said(request) if dialect.about(request) == about else dialect.answer(request)

        with HostileHttpServer(respond) as liar:
            yield dialect.driver(liar.endpoint)


HTTP_SUBJECTS = tuple(map(HttpSubject, (S3Dialect(), GcsDialect(), VercelDialect(), AzureDialect())))
