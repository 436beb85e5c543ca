"""A folder of a disk that may not be read, also for root, who runs some of these tests."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

LOCKED = "lost+found"


class Locked:
    """While it is there no folder called ``LOCKED`` can be opened, where it is ``below`` another one if
    told; ``tried`` counts who did."""

    def __init__(self, patch: pytest.MonkeyPatch, *, below: Path | None = None) -> None:
        self.tried = 0
        self.code = errno.EACCES
        self._below = below
        self._open = os.open
        self._patch = patch
        patch.setattr(os, "open", self._refuse)

    def release(self) -> None:
        """It may be read again."""
        self._patch.setattr(os, "open", self._open)

    def _refuse(self, path: Any, *rest: Any, **more: Any) -> int:
        if path == LOCKED.encode() and self._is_below(more.get("dir_fd")):
            self.tried += 1
            raise OSError(self.code, os.strerror(self.code))
        return self._open(path, *rest, **more)

    def _is_below(self, folder: int | None) -> bool:
        if self._below is None or folder is None:
            return True
        return Path(os.readlink(f"/proc/self/fd/{folder}")).is_relative_to(self._below)
