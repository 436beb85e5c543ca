"""Test suites that others wrote, word for word, and what they need to run here."""

from __future__ import annotations

import django
from django.conf import settings


def configure() -> None:
    """Settings of a Django project, once per process."""
    if settings.configured:
        return
    settings.configure(
        USE_TZ=True,
        SECRET_KEY="of a project that is never served",
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=["django.contrib.staticfiles", "tests.suites.django_file_storage"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    django.setup()
