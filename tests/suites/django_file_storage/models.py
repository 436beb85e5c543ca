"""The model of Django's tests with the same fields, over Stowage's storage instead of Django's own."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

from django.core.files.storage import default_storage
from django.db import models

from dashboard.storage.integrations.django import StowageStorage


class OnDisk(StowageStorage):
    """Made as Django's ``FileSystemStorage`` is, for tests that make their own."""

    def __init__(self, location: str = "", base_url: str = "/media/", allow_overwrite: bool = False) -> None:
        super().__init__(
            driver="local",
            root=location or tempfile.mkdtemp(),
            public_url=base_url,
            overwrite=allow_overwrite,
        )
        self.location = location
        self.base_url = base_url if base_url.endswith("/") else f"{base_url}/"

    def path(self, name: str) -> str:
        return f"{self.location}/{name}"


class InMemory(StowageStorage):
    """Made as Django's ``InMemoryStorage`` is."""

    def __init__(self) -> None:
        super().__init__(driver="memory")


class CustomValidNameStorage(OnDisk):
    def get_valid_name(self, name: str) -> str:
        return f"{name}_valid"


temp_storage_location = tempfile.mkdtemp()
temp_storage = OnDisk(location=temp_storage_location)


def callable_storage() -> OnDisk:
    return temp_storage


def callable_default_storage() -> Any:
    return default_storage


class CallableStorage(OnDisk):
    def __call__(self) -> CallableStorage:
        return self


class Storage(models.Model):  # type: ignore[misc]  # Django has no types of its own
    def custom_upload_to(self, filename: str) -> str:
        return "foo"

    def random_upload_to(self, filename: str) -> str:
        return f"{random.randint(100, 999)}/{filename}"

    def pathlib_upload_to(self, filename: str) -> Path:
        return Path("bar") / filename

    normal = models.FileField(storage=temp_storage, upload_to="tests")
    custom = models.FileField(storage=temp_storage, upload_to=custom_upload_to)
    pathlib_callable = models.FileField(storage=temp_storage, upload_to=pathlib_upload_to)
    pathlib_direct = models.FileField(storage=temp_storage, upload_to=Path("bar"))
    random = models.FileField(storage=temp_storage, upload_to=random_upload_to)
    custom_valid_name = models.FileField(
        storage=CustomValidNameStorage(location=temp_storage_location), upload_to=random_upload_to
    )
    storage_callable = models.FileField(storage=callable_storage, upload_to="storage_callable")
    storage_callable_class = models.FileField(storage=CallableStorage, upload_to="storage_callable_class")
    storage_callable_default = models.FileField(
        storage=callable_default_storage, upload_to="storage_callable_default"
    )
    default = models.FileField(storage=temp_storage, upload_to="tests", default="tests/default.txt")
    db_default = models.FileField(storage=temp_storage, upload_to="tests", db_default="tests/db_default.txt")
    empty = models.FileField(storage=temp_storage)
    limited_length = models.FileField(storage=temp_storage, upload_to="tests", max_length=20)
    extended_length = models.FileField(storage=temp_storage, upload_to="tests", max_length=1024)
