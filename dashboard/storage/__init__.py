"""Storage backends without a web framework: ``from dashboard.storage import Storage``."""

from dashboard.storage.backend import Backend
from dashboard.storage.manager import Storage

__all__ = ["Backend", "Storage"]
