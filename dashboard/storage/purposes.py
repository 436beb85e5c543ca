"""The path that programs have written down; the code is in ``library/purposes.py``."""

from dashboard.storage.library.purposes import PrivateFiles, PublicMedia, StaticFiles

__all__ = ["PrivateFiles", "PublicMedia", "StaticFiles"]
