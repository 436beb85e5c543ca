"""Thumbnails go when the last file with their content is gone."""

from __future__ import annotations

import os
from pathlib import Path

from dashboard.media.pipeline import Derived
from dashboard.media.recipes import RECIPES, ImageFormat
from dashboard.services.catalogue.catalogue import FileFacts
from dashboard.services.files.cleanup.unused_derivatives import UnusedDerivatives
from tests.services.composed import add_local
from tests.services.console import ServiceConsole

SMALL = RECIPES["small"]


def test_thumbnails_go_with_the_last_file_of_their_content(console: ServiceConsole, tmp_path: Path) -> None:
    services = console.services
    add_local(services, "files", tmp_path / "files")
    backend = services.backends.get("files").id
    kept, gone = "a" * 64, "b" * 64
    for key, digest in (("1.jpg", kept), ("2.jpg", gone), ("3.jpg", gone)):
        services.catalogue.record([FileFacts(backend, key, 5, sha256=digest)])
    store = services.derivatives
    for digest in (kept, gone):
        store.keep(digest, Derived(SMALL, ImageFormat.PNG, b"image", 1, 1))
        found = store.find(digest, SMALL)
        assert found is not None
        os.utime(found.path.parent, (0, 0))
    unused = UnusedDerivatives(services.database, store)
    services.catalogue.remove(backend, ["2.jpg"])
    assert unused.sweep() == 0
    services.catalogue.remove(backend, ["3.jpg"])
    assert unused.sweep() == 1
    assert store.find(gone, SMALL) is None
    assert store.find(kept, SMALL) is not None
