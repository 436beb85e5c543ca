"""Storage backends without a web framework: ``from dashboard.storage import Storage``."""

from dashboard.storage.backend import Backend
from dashboard.storage.manager import Storage
from dashboard.storage.types import Attributes, Secret, Visibility

__all__ = ["Attributes", "Backend", "Secret", "Storage", "Visibility"]
