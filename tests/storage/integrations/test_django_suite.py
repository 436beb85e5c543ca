"""Django's own tests of its file storages, over Stowage's: on a disk and in memory.

A test that asks for what only files on a disk have is left out by name, with the reason. Left out whole
are the classes about permissions, settings, a live server, and the race of two uploads: it looks into the
folder itself, where ``.stowage-tmp`` is, and test_django.py has one of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.suites import configure

configure()

from django.core.files.storage import FileSystemStorage, InMemoryStorage  # noqa: E402
from django.db import connection  # noqa: E402
from django.test.utils import setup_test_environment, teardown_test_environment  # noqa: E402

from tests.suites.django_file_storage import memory_suite, suite  # noqa: E402
from tests.suites.django_file_storage.models import (  # noqa: E402
    InMemory,
    OnDisk,
    Storage,
    temp_storage_location,
)

OWN_TIMES = "a backend tells when an object was modified, not when it was made or read"
OF_THE_DISK = "it replaces functions of os that only Django's storage calls"
SETTINGS = "Stowage's options come from its own configuration, not from these settings"

ON_DISK: Mapping[str, str] = {
    "test_empty_location": SETTINGS,
    "test_setting_changed": SETTINGS,
    "test_base_url": SETTINGS,
    "test_file_get_accessed_time": OWN_TIMES,
    "test_file_get_accessed_time_timezone": OWN_TIMES,
    "test_file_get_created_time": OWN_TIMES,
    "test_file_get_created_time_timezone": OWN_TIMES,
    "test_file_get_modified_time": "it compares with the local time of the file's path, without a time zone",
    "test_file_url": "a name that a disk cannot hold has no address either, and more characters are escaped",
    "test_makedirs_race_handling": OF_THE_DISK,
    "test_remove_race_handling": OF_THE_DISK,
    "test_delete_deletes_directories": "the name of a directory deletes nothing",
}
OVERWRITING = {**ON_DISK, "test_file_save_broken_symlink": "nothing is written through a symbolic link"}
IN_MEMORY: Mapping[str, str] = {
    "test_removing_temporary_file_after_save": "an upload's file goes when the upload is closed",
    "test_delete": "the name of a directory deletes nothing",
    "test_file_node_cannot_have_children": "an object store can hold “a” and “a/b” at once",
    "test_url": "objects in memory have no address",
    "test_url_with_none_filename": "objects in memory have no address",
}


def without(reasons: Mapping[str, str], cases: type[Any]) -> dict[str, None]:
    """What takes the tests that do not apply out of a class; each must be there to be taken out."""
    assert all(reasons.values())
    missing = [name for name in reasons if not hasattr(cases, name)]
    assert not missing, f"Django has no tests {missing} any longer"
    return dict.fromkeys(reasons)


@pytest.fixture(scope="module", autouse=True)
def project() -> Iterator[None]:
    """The table of the tests' model, and Stowage's storages where the tests make Django's own."""
    setup_test_environment()
    with connection.schema_editor() as editor:
        editor.create_model(Storage)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suite, "FileSystemStorage", OnDisk)
        patch.setattr(memory_suite, "InMemoryStorage", InMemory)
        yield
    connection.close()
    teardown_test_environment()


@pytest.fixture(autouse=True)
def folder(project: None) -> None:
    """Django's storage makes the folder it keeps files in. Stowage leaves that to people, because a folder
    that is not there may be a share that is not mounted."""
    Path(temp_storage_location).mkdir(exist_ok=True)


class TestOnDisk(suite.FileStorageTests):  # type: ignore[misc]
    storage_class = OnDisk
    vars().update(without(ON_DISK, suite.FileStorageTests))


class TestOverwriting(suite.OverwritingStorageTests):  # type: ignore[misc]
    storage_class = OnDisk
    vars().update(without(OVERWRITING, suite.OverwritingStorageTests))


class TestFields(suite.FileFieldStorageTests): ...  # type: ignore[misc]


class TestCallables(suite.FieldCallableFileStorageTests): ...  # type: ignore[misc]


class TestNames(suite.FileStoragePathParsing): ...  # type: ignore[misc]


class TestContents(suite.ContentFileStorageTestCase): ...  # type: ignore[misc]


class TestInMemory(memory_suite.MemoryStorageIOTests):  # type: ignore[misc]
    vars().update(without(IN_MEMORY, memory_suite.MemoryStorageIOTests))


def test_djangos_own_storages_are_out_of_the_way() -> None:
    assert suite.FileSystemStorage is OnDisk is not FileSystemStorage
    assert memory_suite.InMemoryStorage is InMemory is not InMemoryStorage
