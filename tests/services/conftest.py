"""A fresh console, and one that has been set up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.console import PASSWORD, ServiceConsole, started


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    """The console's folder."""
    return tmp_path / "instance"


@pytest.fixture
def fresh(instance: Path) -> Iterator[ServiceConsole]:
    """A console on its first run, before setup."""
    with started(instance) as console:
        yield console


@pytest.fixture
def console(fresh: ServiceConsole) -> ServiceConsole:
    """A console with the administrator “ada” and the backend “local-disk”."""
    code = fresh.services.setup.issue_code()
    fresh.services.setup.complete(code, "ada", PASSWORD)
    return fresh
