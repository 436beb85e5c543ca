"""Storage backends without a web framework: ``from dashboard.storage import Storage``."""

from typing import TYPE_CHECKING, Any

from dashboard.storage.library.backend import Backend
from dashboard.storage.library.manager import Storage
from dashboard.storage.types import Attributes, Secret, Visibility

if TYPE_CHECKING:
    from dashboard.storage.library.aio.async_storage import AsyncStorage

__all__ = ["AsyncStorage", "Attributes", "Backend", "Secret", "Storage", "Visibility"]


def __getattr__(name: str) -> Any:
    """Load ``AsyncStorage`` when it is wanted: programs without an event loop need not load one."""
    if name == "AsyncStorage":
        from dashboard.storage.library.aio.async_storage import AsyncStorage

        return AsyncStorage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
