"""The bench of planning runs. How fast it is, is not tested."""

from __future__ import annotations

import pytest

pytest.importorskip("psutil", reason="the bench extra is not installed")

from bench.scale.__main__ import ORDERS, carried, carriers_report, report
from bench.scale.carrying import Carried
from bench.scale.planning import measure


def test_every_key_is_planned_in_either_order() -> None:
    rows = {order: measure(2500, order) for order in ORDERS}
    assert [row.found for row in rows.values()] == [2500, 2500]
    text = report(1_000_000, rows)
    assert text[-1].endswith("met: 60 s, 200 MB |") or "missed" in text[-1]


def test_carriers_are_judged_by_the_rate_of_one_and_by_their_memory() -> None:
    rows = {
        1: Carried(200.0, 190.0, 2.0, 10**8),
        2: Carried(381.0, 300.0, 4.0, 2 * 10**8),
        4: Carried(700.0, 600.0, 8.0, 4 * 10**8),
    }
    one, two, four = carriers_report(20, rows)[-3:]
    assert one.startswith("| 1 | 200 | 1.00x |")
    assert two.endswith("| met: 1.9x, 250 MB |")
    assert four.endswith("| missed: **at least 3.6x** |")


@pytest.mark.torture
def test_two_carriers_share_the_work_of_the_bench() -> None:
    done = carried(2, 2)
    assert done.rate > 0
    assert done.peak > 10**7
