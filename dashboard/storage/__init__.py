"""Storage backends without a web framework: ``from dashboard.storage import Storage``."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dashboard.storage.library.aio.async_storage import AsyncStorage
    from dashboard.storage.library.backend import Backend
    from dashboard.storage.library.manager import Storage
    from dashboard.storage.types import Attributes, Secret, Visibility

__all__ = ["AsyncStorage", "Attributes", "Backend", "Secret", "Storage", "Visibility"]

_MODULES = {
    "AsyncStorage": "library.aio.async_storage",
    "Attributes": "types",
    "Backend": "library.backend",
    "Secret": "types",
    "Storage": "library.manager",
    "Visibility": "types",
}


def __getattr__(name: str) -> Any:
    """Load what is wanted: programs without an event loop need not load one."""
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
