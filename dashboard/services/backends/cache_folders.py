"""Where cached backends keep their copies: ``instance/cache/<id>-<version>``, one folder per configuration.

An edited backend begins with an empty cache, so that no copy from another place or of another key is found.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from dashboard.storage.checks.wrappers import CACHE_FOLDER, CACHE_READS


class CacheFolders:
    """Thread-safe. Nothing in these folders is ever needed; they may be removed at any time."""

    def __init__(self, root: Path | None) -> None:
        self._root = root

    def told(self, backend_id: int, version: int, *, reads: bool) -> Mapping[str, str]:
        """What a driver is told of its cache. Without ``reads`` it sees what the backend itself holds."""
        if self._root is None:
            return {}
        folder = self._root / f"{backend_id}-{version}"
        return {CACHE_FOLDER: str(folder), CACHE_READS: "true" if reads else "false"}

    def forget(self, backend_id: int) -> None:
        """Remove every copy of a backend's objects. A folder that cannot be removed is left."""
        if self._root is not None:
            for folder in self._root.glob(f"{backend_id}-*"):
                shutil.rmtree(folder, ignore_errors=True)
