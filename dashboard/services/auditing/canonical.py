"""The form of an audit row that its code is computed over, and the codes themselves.

A code is HMAC-SHA256 over the row and over the code of the row before, in hexadecimal digits, as in RFC 2104.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Row, Select, String, select, type_coerce

from dashboard.models.console import AuditEntry

VERSION = "stowage audit 1"
GENESIS = ""
"""What the first row follows."""

_C = AuditEntry
ROW_COLUMNS = (
    *(_C.id, _C.at, _C.actor, _C.via, _C.address, _C.action, _C.subject),
    # As text: a row that somebody damaged must not stop the others from being read.
    type_coerce(_C.detail, String).label("detail"),
    *(_C.outcome, _C.chained, _C.previous, _C.mac),
)
ROWS: Select[*tuple[Any, ...]] = select(*ROW_COLUMNS)


@dataclass(frozen=True, slots=True)
class Head:
    """The newest row of the chain, and what retention removed before its first: up to the row ``start_id``,
    whose code was ``start_mac``; ``removed`` counts them."""

    last_id: int = 0
    last_mac: str = GENESIS
    start_id: int = 0
    start_mac: str = GENESIS
    removed: int = 0

    def after(self, entry_id: int, mac: str) -> Head:
        """The head once this row is the newest."""
        return replace(self, last_id=entry_id, last_mac=mac)

    def signature(self, key: bytes) -> str:
        """What only the holder of the key can write beside it."""
        parts = (self.last_id, self.last_mac, self.start_id, self.start_mac, self.removed)
        return sign(key, "head", *parts)


def row_mac(key: bytes, row: Row[Any] | AuditEntry, detail: object) -> str:
    """The code of a row, with the row's own ``previous`` and ``chained``. Raises ``TypeError`` and
    ``ValueError`` for values that no row of ours has."""
    parts = (row.id, row.at, row.actor, row.via, row.address, row.action, row.subject, detail, row.outcome)
    return sign(key, "row", *parts, row.chained, row.previous)


def sign(key: bytes, purpose: str, *parts: object) -> str:
    """A code over the parts, which cannot be taken for one of another purpose."""
    text = json.dumps([VERSION, purpose, *parts], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hmac.digest(key, text.encode(), "sha256").hex()


def same_code(one: object, other: str) -> bool:
    """Compare in constant time; ``one`` may be anything that a database holds."""
    return isinstance(one, str) and hmac.compare_digest(one.encode("utf-8", "replace"), other.encode())


def parse_detail(text: object) -> Any:
    """The detail of a row. Raises ``ValueError`` and ``TypeError`` if it is not JSON."""
    return json.loads(text)  # type: ignore[arg-type]
