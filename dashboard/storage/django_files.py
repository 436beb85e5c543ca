"""The path that projects have in their settings; the code is in ``integrations/django.py``."""

from dashboard.storage.integrations.django import StowageStorage

__all__ = ["StowageStorage"]
