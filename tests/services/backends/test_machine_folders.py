"""Which folders of this machine a backend may be, when it is saved and whenever it is opened."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

import dashboard
from dashboard.errors import InvalidInput, Kind
from dashboard.services.backends.values import Draft
from dashboard.services.services import Services
from dashboard.settings import Settings, SettingsError
from dashboard.storage.driver import Driver
from dashboard.storage.errors import StorageError
from tests.services.composed import add_local, composed
from tests.services.console import ADMIN, ServiceConsole

CALLS: list[Callable[[Driver], object]] = [
    lambda driver: driver.read("stowage.key"),
    lambda driver: driver.stat("stowage.key"),
    lambda driver: list(driver.list()),
    lambda driver: driver.put("new", b"x"),
    lambda driver: driver.put("stowage.key", b"x", create_only=True),
    lambda driver: driver.delete("stowage.db"),
]


def drafted(root: str | Path, name: str = "files") -> Draft:
    return Draft(name, "local", {"root": str(root)}, {})


def refused(call: Callable[[Driver], object], driver: Driver) -> str:
    with pytest.raises(StorageError) as caught:
        call(driver)
    assert caught.value.kind is Kind.DENIED
    assert caught.value.remedy
    return caught.value.reason


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("used_before", [False, True])
def test_a_missing_folder_that_became_a_link_to_the_key_is_not_opened(
    console: ServiceConsole,
    instance: Path,
    tmp_path: Path,
    call: Callable[[Driver], object],
    used_before: bool,
) -> None:
    root = tmp_path / "later"
    console.services.backends.add(ADMIN, drafted(root))
    driver = console.services.backends.driver("files")
    if used_before:
        root.mkdir()
        driver.put("harmless", b"x")
        driver.delete("harmless")
        driver.close()
        root.rmdir()
    before = (instance / "stowage.key").read_bytes()
    root.symlink_to(instance)
    assert "Stowage's own" in refused(call, driver)
    assert (instance / "stowage.key").read_bytes() == before
    assert console.database.on_server or (instance / "stowage.db").exists()


def test_an_instance_moved_to_below_a_root_is_not_entered(tmp_path: Path) -> None:
    instance, root = tmp_path / "instance", tmp_path / "files"
    with composed(instance) as services:
        services.setup.complete(services.setup.issue_code(), "ada", "a few unrelated words")
        add_local(services, "files", root)
        driver = services.backends.driver("files")
        instance.rename(root / "inner")
        # Where it was is where it is looked for.
        instance.symlink_to(root / "inner")
        for key in ("inner/stowage.key", "inner/stowage.db"):
            assert "Stowage's own" in refused(lambda driver, key=key: driver.read(key), driver)
            assert "Stowage's own" in refused(lambda driver, key=key: driver.put(key, b"x"), driver)
        assert "Stowage's own" in refused(lambda driver: list(driver.list("inner/")), driver)


def test_a_second_name_of_the_key_is_not_read(
    console: ServiceConsole, instance: Path, tmp_path: Path
) -> None:
    root = add_local(console.services, "files", tmp_path / "files")
    for name in ("stowage.key",) if console.database.on_server else ("stowage.key", "stowage.db"):
        os.link(instance / name, root / f"copy-of-{name}")
        driver = console.services.backends.driver("files")
        assert "Stowage's own" in refused(lambda driver, name=name: driver.read(f"copy-of-{name}"), driver)
    (root / "a").write_bytes(b"x")
    os.link(root / "a", root / "b")
    assert driver.read("b").read_all() == b"x"


@pytest.mark.parametrize(
    "root",
    [
        "/etc",
        "/etc/cron.d",
        "/usr",
        "/usr/local/bin/files",
        "/var/spool/cron/crontabs",
        os.path.expanduser("~root/.ssh"),
        os.path.expanduser("~/.ssh/files"),
        os.path.expanduser("~"),
        str(Path(dashboard.__file__).parent),
        str(Path(dashboard.__file__).parent / "web"),
        str(Path(dashboard.__file__).parents[1]),
        sys.prefix,
        sysconfig.get_path("purelib"),
    ],
)
def test_what_belongs_to_programs_and_the_system_is_no_backend(console: ServiceConsole, root: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        console.services.backends.add(ADMIN, drafted(root))
    assert caught.value.subject == "root"
    assert caught.value.remedy


def limited(instance: Path, *roots: Path) -> Settings:
    return Settings.from_env({"STOWAGE_LOCAL_ROOTS": os.pathsep.join(map(str, roots))}, instance=instance)


def with_roots(instance: Path, *roots: Path) -> Services:
    from dashboard.app import open_services

    return open_services(limited(instance, *roots))


def test_only_named_folders_may_be_backends(console: ServiceConsole, instance: Path, tmp_path: Path) -> None:
    for name in ("allowed", "other"):
        add_local(console.services, name, tmp_path / name)
    services = with_roots(instance, tmp_path / "allowed")
    try:
        services.backends.driver("allowed").put("a", b"x")
        services.backends.driver("local-disk").put("a", b"x")
        reason = refused(lambda driver: driver.put("a", b"x"), services.backends.driver("other"))
        assert "not in a folder that backends may use" in reason
        assert not (tmp_path / "other" / "a").exists()
        services.backends.add(ADMIN, drafted(tmp_path / "allowed" / "inner", "inner"))
        for outside in (tmp_path / "allowed-not", tmp_path / "elsewhere"):
            with pytest.raises(InvalidInput, match="not in a folder"):
                services.backends.add(ADMIN, drafted(outside, "outside"))
        # A link inside leads outside.
        (tmp_path / "allowed" / "inner").symlink_to(tmp_path / "other")
        assert "not in a folder" in refused(
            lambda driver: driver.put("a", b"x"), services.backends.driver("inner")
        )
    finally:
        services.close()


def test_the_folders_are_whole_paths(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="STOWAGE_LOCAL_ROOTS"):
        Settings.from_env({"STOWAGE_LOCAL_ROOTS": "files"}, instance=tmp_path)
    assert limited(tmp_path, Path("/srv/a"), Path("/srv/b")).local_roots == (Path("/srv/a"), Path("/srv/b"))
