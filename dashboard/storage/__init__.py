"""Storage backends without a web framework: ``from dashboard.storage import Storage``."""

from dashboard.storage.library.backend import Backend
from dashboard.storage.library.manager import Storage
from dashboard.storage.types import Attributes, Secret, Visibility

__all__ = ["Attributes", "Backend", "Secret", "Storage", "Visibility"]
