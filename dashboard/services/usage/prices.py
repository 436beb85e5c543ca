"""What storage costs a month, from a price table that an administrator edits."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, field, fields
from typing import Any

from sqlalchemy.orm import Session

from dashboard.errors import InvalidInput
from dashboard.models.console import Setting
from dashboard.services.audit import AuditLog
from dashboard.services.database import Database
from dashboard.services.history.history_values import HOUR
from dashboard.services.permissions import Actor, Permission
from dashboard.services.usage.usage_values import BackendUsage, Usage

SETTING = "prices"
GB = 10**9
MAX_PRICE = 1_000.0
MAX_CURRENCY = 8


@dataclass(frozen=True, slots=True)
class Price:
    """Of a GB (10⁹ bytes), stored for a month and downloaded; of 1,000 writes, listings and reads."""

    storage: float
    download: float = 0.0
    writes: float = 0.0
    lists: float = 0.0
    reads: float = 0.0


PRICED = tuple(each.name for each in fields(Price))
ESTIMATED = "November 2026"
ESTIMATES: Mapping[str, Price] = {
    "aws": Price(0.023, 0.09, 0.005, 0.005, 0.0004),
    "b2": Price(0.006, 0.01, 0.0, 0.004, 0.0004),
    "r2": Price(0.015, 0.0, 0.0045, 0.0045, 0.00036),
    "spaces": Price(0.02, 0.01),
    "wasabi": Price(0.0068, 0.0),
    "supabase": Price(0.021, 0.09),
    "hetzner": Price(0.0061, 0.0012),
    "scaleway": Price(0.0157, 0.0108),
    "gcs_interop": Price(0.02, 0.12, 0.005, 0.005, 0.0004),
    "gcs": Price(0.02, 0.12, 0.005, 0.005, 0.0004),
    "azure": Price(0.018, 0.087, 0.0055, 0.0055, 0.0004),
    "vercel_blob": Price(0.023, 0.05, 0.005, 0.005, 0.0004),
}
"""By preset, put together in the month ``ESTIMATED``: rough figures for US regions, first tier, without free
tiers and taxes, in US dollars. They are no quotes."""


@dataclass(frozen=True, slots=True)
class PriceTable:
    """``prices`` by the name of a preset; ``downloads`` is how much of what is stored is downloaded in a
    month, in percent. ``estimated``: nobody has changed it."""

    currency: str = "$"
    downloads: float = 10.0
    prices: Mapping[str, Price] = field(default_factory=lambda: dict(ESTIMATES))
    estimated: bool = True

    def money(self, amount: float) -> str:
        """An amount for people."""
        return f"{self.currency} {amount:,.2f}"


@dataclass(frozen=True, slots=True)
class Cost:
    """A month of one backend: None where there is no price. ``elsewhere``: what the cheapest others would
    cost for the same, as names of presets."""

    backend: str
    bytes: int
    storage: float | None
    download: float | None
    requests: float | None
    elsewhere: tuple[tuple[str, float], ...]

    @property
    def total(self) -> float | None:
        """Storage, downloads and requests together."""
        if self.storage is None or self.download is None or self.requests is None:
            return None
        return self.storage + self.download + self.requests

    @property
    def cheapest(self) -> bool:
        """Whether no other would cost less."""
        total = self.total
        return total is not None and all(other >= total for _, other in self.elsewhere)


class Prices:
    """Thread-safe."""

    def __init__(self, database: Database, audit: AuditLog) -> None:
        self._database = database
        self._audit = audit

    def table(self) -> PriceTable:
        """The prices as they are now."""
        return self._database.kept("prices", self._table, of="main")

    def _table(self) -> PriceTable:
        with self._database.read() as session:
            return _load(session)

    def costs(self, usage: Callable[[], Usage]) -> tuple[Cost, ...]:
        """What a month of each backend costs. ``usage`` reads what is used, of the same databases."""

        def read() -> tuple[Cost, ...]:
            table = self.table()
            return tuple(cost_of(each, table) for each in usage().backends)

        return self._database.kept(("costs", time.time() // HOUR), read)

    def save(
        self, actor: Actor, *, currency: str, downloads: float, prices: Mapping[str, Price | None]
    ) -> PriceTable:
        """Change the prices of these presets; None: it has none. Raises ``InvalidInput`` naming the field."""
        actor.require(Permission.CONFIGURE)
        currency = currency.strip()
        if not currency or len(currency) > MAX_CURRENCY or not currency.isprintable():
            raise InvalidInput("currency", "Give a currency, such as $ or EUR.")
        _check("downloads", downloads, 10_000.0)
        for name, price in prices.items():
            if price is not None:
                for field_name in PRICED:
                    _check(f"{field_name}.{name}", getattr(price, field_name), MAX_PRICE)
        with self._database.write() as session:
            before = _load(session)
            merged = {name: price for name, price in {**before.prices, **prices}.items() if price is not None}
            after = PriceTable(currency, downloads, merged, estimated=False)
            if (before.currency, before.downloads, before.prices) == (currency, downloads, merged):
                return before
            values = {name: astuple(price) for name, price in merged.items()}
            text = json.dumps({"currency": currency, "downloads": downloads, "prices": values})
            session.merge(Setting(key=SETTING, value=text))
            self._audit.record(session, actor, "prices.save", "prices", **_changes(before, after))
            return after

    def restore(self, actor: Actor) -> None:
        """Go back to the estimates."""
        actor.require(Permission.CONFIGURE)
        with self._database.write() as session:
            row = session.get(Setting, SETTING)
            if row is not None:
                session.delete(row)
                self._audit.record(session, actor, "prices.restore", "prices")


def cost_of(usage: BackendUsage, table: PriceTable) -> Cost:
    """What a month of a backend costs, at what it holds now and the requests to it in the last 30 days."""
    own = table.prices.get(usage.preset)
    others = sorted(
        (
            (name, sum(_amounts(usage, price, table)))
            for name, price in table.prices.items()
            if name != usage.preset
        ),
        key=lambda each: each[1],
    )
    storage, download, requests = _amounts(usage, own, table) if own else (None, None, None)
    return Cost(usage.name, usage.bytes or 0, storage, download, requests, tuple(others[:3]) if own else ())


def _amounts(usage: BackendUsage, price: Price, table: PriceTable) -> tuple[float, float, float]:
    traffic, size = usage.traffic, usage.bytes or 0
    # What was read through this console left the backend, however little the table assumes.
    downloaded = max(size * table.downloads / 100, traffic.bytes_read)
    requests = traffic.writes * price.writes + traffic.lists * price.lists + traffic.reads * price.reads
    return size / GB * price.storage, downloaded / GB * price.download, requests / 1000


def _load(session: Session) -> PriceTable:
    row = session.get(Setting, SETTING)
    if row is None or not row.value:
        return PriceTable()
    values: dict[str, Any] = json.loads(row.value)
    prices = {name: Price(*each) for name, each in values["prices"].items()}
    return PriceTable(values["currency"], values["downloads"], prices, estimated=False)


def _check(name: str, value: float, most: float) -> None:
    if not math.isfinite(value) or not 0 <= value <= most:
        raise InvalidInput(name, f"Give a number from 0 to {most:,.0f}.")


def _changes(before: PriceTable, after: PriceTable) -> dict[str, str]:
    pairs = {"currency": (before.currency, after.currency)}
    pairs["downloads"] = (f"{before.downloads:g} %", f"{after.downloads:g} %")
    for name in sorted({*before.prices, *after.prices}):
        pairs[name] = (_text(before.prices.get(name)), _text(after.prices.get(name)))
    changed = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    return {name: new for name, (_, new) in changed.items()} | {
        f"before.{name}": old for name, (old, _) in changed.items()
    }


def _text(price: Price | None) -> str:
    if price is None:
        return "none"
    text = f"{price.storage:g} stored, {price.download:g} downloaded"
    requests = (price.writes, price.lists, price.reads)
    return text + (", {:g}/{:g}/{:g} for writes, lists and reads".format(*requests) if any(requests) else "")
