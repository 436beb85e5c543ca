"""The bench of planning runs. How fast it is, is not tested."""

from __future__ import annotations

import pytest

pytest.importorskip("psutil", reason="the bench extra is not installed")

from bench.scale.__main__ import ORDERS, report
from bench.scale.planning import measure


def test_every_key_is_planned_in_either_order() -> None:
    rows = {order: measure(2500, order) for order in ORDERS}
    assert [row.found for row in rows.values()] == [2500, 2500]
    text = report(1_000_000, rows)
    assert text[-1].endswith("met: 60 s, 200 MB |") or "missed" in text[-1]
