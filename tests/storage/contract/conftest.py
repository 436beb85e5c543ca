"""Runs the contract suite over the table of drivers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dashboard.storage.driver import Driver
from tests.storage.contract.table import DRIVERS, EXACT, FOREIGN, NOT_ASKED
from tests.storage.objects import REFUSED, Refused


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[pytest.TestReport]:
    """A test that ends with ``Refused`` has passed, and its report says how."""
    report: pytest.TestReport = yield
    if call.when == "call" and call.excinfo is not None and isinstance(call.excinfo.value, Refused):
        report.outcome, report.longrepr = "passed", None
        report.user_properties.append((REFUSED, str(call.excinfo.value)))
    return report


_FOREIGN = [pytest.param(name, marks=pytest.mark.interop) for name in FOREIGN]


@pytest.fixture(params=[*DRIVERS, *_FOREIGN])
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """An empty place of each driver."""
    if reason := NOT_ASKED.get((request.param, request.node.originalname)):
        pytest.skip(reason)
    made = (DRIVERS | FOREIGN)[request.param](request)
    yield made
    made.close()


@pytest.fixture(params=[*EXACT, *_FOREIGN])
def exact_driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """An empty place of each driver on a server that keeps keys as they are."""
    made = (EXACT | FOREIGN)[request.param](request)
    yield made
    made.close()
