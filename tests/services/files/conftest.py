"""A console with people and a local backend, and helpers for uploads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard.services.files.receiving.new_uploads import NewUpload
from dashboard.services.services import Services
from tests.services.composed import composed
from tests.services.console import ADMIN, OPERATOR, PASSWORD


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """All services of a console with the backend “local-disk”."""
    with composed(tmp_path / "instance") as services:
        services.setup.complete(services.setup.issue_code(), ADMIN.name, PASSWORD)
        yield services


def send(services: Services, data: bytes, name: str = "a.txt", **options: str) -> str:
    """Upload all of it; returns the id."""
    upload = services.uploads.create(OPERATOR, NewUpload(name, len(data), **options))
    if data:
        with services.uploads.append(OPERATOR, upload.id, offset=0) as receiver:
            receiver.write(data)
            receiver.finish()
    return upload.id
