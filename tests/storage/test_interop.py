"""Round trips over servers that nobody here wrote. ``rclone serve`` is always there; the others join under
``make interop``."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.servers import interop
from tests.servers.foreign import ForeignServer
from tests.storage.odd_names import ODD_NAMES
from tests.storage.round_trip import round_trip

EVERY = [pytest.param(name, marks=pytest.mark.interop) for name in interop.SERVERS]


@pytest.fixture
def server(request: pytest.FixtureRequest, foreign_server: Callable[[str], ForeignServer]) -> ForeignServer:
    """The server that the test is about."""
    return foreign_server(request.param)


@pytest.mark.parametrize("server", EVERY, indirect=True)
def test_odd_names_come_back_or_are_refused(server: ForeignServer) -> None:
    driver = server.driver()
    round_trip(driver, ODD_NAMES)
    driver.close()
