"""Stowage: one console for every place your files live."""

__version__ = "0.1.0"
