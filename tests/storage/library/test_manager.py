"""``Storage``: where its backends come from, which is the default, and what stands in for one in tests."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dashboard.errors import InvalidInput
from dashboard.storage import Secret, Storage
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.drivers.s3.driver import S3Driver
from dashboard.storage.library.backend import LazyBackend
from dashboard.storage.library.fakes import FakeBackend

S3 = {"endpoint": "https://s3.example.com", "bucket": "my-bucket", "access_key_id": "AK"}


def test_configured_at_run_time(tmp_path: Path) -> None:
    with Storage() as storage:
        media = storage.configure("media", "local", root=str(tmp_path))
        storage.configure("scratch", "memory")
        storage.put("a.txt", "on the default one")
        assert (tmp_path / "a.txt").read_text() == "on the default one"
        assert storage.backend() is storage.backend("media") is media
        storage.disk("scratch").put("b", b"x")
        assert storage.exists("a.txt")
        assert not storage.exists("b")
        with pytest.raises(InvalidInput, match="nowhere"):
            storage.backend("nowhere")


def test_configuring_again_replaces_and_a_mistake_changes_nothing(tmp_path: Path) -> None:
    storage = Storage()
    storage.configure("media", "memory").put("a", b"x")
    for mistake in ({"root": ""}, {"root": str(tmp_path), "colour": "red"}, {"root": object()}):
        with pytest.raises(InvalidInput):
            storage.configure("media", "local", **mistake)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="floppy"):
        storage.configure("media", "floppy")
    with pytest.raises(InvalidInput, match="memory"):
        storage.configure("media", "memory", size="10")
    assert storage.exists("a")
    storage.configure("media", "local", root=str(tmp_path))
    assert not storage.exists("a")


def test_a_secret_is_sealed_from_sight_at_once() -> None:
    storage = Storage()
    for secret in ("very-secret-value", Secret("very-secret-value")):
        made = storage.configure("media", "s3", secret_access_key=secret, path_style=True, **S3)
        assert isinstance(made.driver, S3Driver)
        assert "very-secret-value" not in repr(vars(storage)) + repr(storage._described["media"])
    with pytest.raises(InvalidInput) as caught:
        storage.configure("media", "s3", secret_access_key="very secret\nvalue", **S3)
    assert "very secret" not in str(caught.value)


def test_from_a_mapping_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-a-file\n")
    written = tmp_path / "storage.toml"
    written.write_text(
        f"""
        default = "scratch"
        [backends.media]
        driver = "s3"
        endpoint = "https://s3.example.com"
        bucket = "my-bucket"
        access_key_id = {{env = "KEY_ID"}}
        secret_access_key = {{file = "{tmp_path}/key"}}
        path_style = true
        [backends.scratch]
        driver = "memory"
        """
    )
    storage = Storage.from_toml(written, environ={"KEY_ID": "AK"})
    storage.put("a", b"x")
    assert storage.backend("scratch").get("a") == b"x"
    assert isinstance(storage.backend("media").driver, S3Driver)
    assert "from-a-file" not in repr(vars(storage))


@pytest.mark.parametrize(
    ("tree", "field"),
    [
        ({}, "backends"),
        ({"backends": {}}, "backends"),
        ({"backends": {"a": {"root": "/srv"}}}, "backends.a"),
        ({"backends": {"a": {"driver": "memory"}}, "default": "b"}, "default"),
        ({"backends": {"a": {"driver": "memory"}}, "colour": 1}, "colour"),
        ({"backends": {"a": {"driver": "local", "root": {"env": "NOT_SET"}}}}, "root"),
        ({"backends": {"a": {"driver": "local", "root": {"file": "/not/there"}}}}, "root"),
        ({"backends": {"a": {"driver": "local", "root": {"url": "x"}}}}, "root"),
        ({"backends": {"a": {"driver": "local", "root": ["x"]}}}, "root"),
        ({"backends": {"a": {"driver": "local", "root": ""}}}, "root"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused_at_once(tree: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Storage.from_mapping(tree)
    assert caught.value.subject == field


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("= [")
    for path in (tmp_path / "x.toml", tmp_path / "missing.toml"):
        with pytest.raises(InvalidInput, match=path.name):
            Storage.from_toml(path)


def test_settings_that_change_are_asked_for_before_every_call() -> None:
    drivers = {"media": MemoryDriver()}
    closed = []

    def resolve(name: str) -> Driver:
        if name not in drivers:
            raise InvalidInput("backend", "There is no such backend.")
        return drivers[name]

    storage = Storage(resolve, default=lambda: "media", keep=False, on_close=lambda: closed.append(1))
    media = storage.backend("media")
    media.put("a", b"x")
    drivers["media"] = MemoryDriver()
    assert not media.exists("a")
    assert not storage.exists("a")
    with pytest.raises(InvalidInput):
        storage.backend("other")
    storage.close()
    storage.close()
    assert closed == [1]


def test_a_fake_stands_in_and_the_real_one_is_untouched(tmp_path: Path) -> None:
    storage = Storage()
    storage.configure("media", "local", root=str(tmp_path))
    with storage.fake("media") as fake:
        assert isinstance(fake, FakeBackend)
        storage.put("avatars/ada.png", b"png")
        storage.backend("media").put("b", "text")
        fake.assert_exists("avatars/ada.png", "b")
        fake.assert_exists("b", content="text")
        fake.assert_missing("c")
        fake.assert_count(2)
        fake.assert_count(1, "avatars/")
        with pytest.raises(AssertionError, match="ada"):
            fake.assert_exists("c")
        with pytest.raises(AssertionError, match="something else"):
            fake.assert_exists("b", content="other")
        with pytest.raises(AssertionError, match="has an object"):
            fake.assert_missing("b")
        with pytest.raises(AssertionError, match="2 objects, not 5"):
            fake.assert_count(5)
        with storage.fake() as inner:
            inner.assert_count(0)
        assert storage.exists("b")
    assert list(tmp_path.iterdir()) == []
    assert not storage.exists("b")


def test_a_fake_needs_no_real_one() -> None:
    storage = Storage()
    with storage.fake("anything") as fake:
        storage.backend("anything").put("a", b"x")
        fake.assert_exists("a")
    with pytest.raises(InvalidInput):
        storage.backend("anything")
    with pytest.raises(InvalidInput, match="default"):
        storage.put("a", b"x")


def test_a_backend_is_opened_once_for_many_threads() -> None:
    made: list[Driver] = []

    def resolve(name: str) -> Driver:
        made.append(MemoryDriver())
        return made[-1]

    storage = Storage(resolve)
    ready = threading.Barrier(8)

    def ask() -> None:
        ready.wait()
        storage.backend("media")

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


HEAVY = "flask sqlalchemy click botocore boto3 azure requests paramiko cryptography urllib3 google"


def loaded_by(statement: str) -> set[str]:
    """The modules a fresh interpreter has after the statement, and did not have before."""
    script = f"import sys; before = set(sys.modules)\n{statement}\nprint(*(set(sys.modules) - before))"
    ran = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(ran.stdout.split())


def test_importing_the_library_loads_neither_flask_nor_a_vendors_sdk() -> None:
    loaded = loaded_by("from dashboard.storage import Storage")
    assert "dashboard.storage.library.manager" in loaded
    assert not {name.partition(".")[0] for name in loaded} & set(HEAVY.split())
    own = {name for name in loaded if name.startswith("dashboard.")}
    assert not {name for name in own if name.startswith(("dashboard.storage.drivers.", "dashboard.services"))}
    # What is quick stays quick: the standard library's share is what takes the time.
    assert len(loaded) < 90, sorted(loaded)


def test_a_local_backend_loads_no_vendors_sdk_either(tmp_path: Path) -> None:
    loaded = loaded_by(
        "from dashboard.storage import Storage\n"
        f"Storage().configure('media', 'local', root={str(tmp_path)!r}).put('a', b'x')"
    )
    assert not {name.partition(".")[0] for name in loaded} & set(HEAVY.split())


def test_describing_a_backend_loads_no_vendors_sdk_either() -> None:
    loaded = loaded_by(
        "from dashboard.storage import Storage\n"
        "Storage().configure('media', 's3', endpoint='https://s3.example.com', bucket='my-bucket',"
        " access_key_id='AK', secret_access_key='SK')"
    )
    assert not {name.partition(".")[0] for name in loaded} & set(HEAVY.split())


def test_a_configured_backend_is_made_once_for_many_threads() -> None:
    made: list[Driver] = []
    ready = threading.Barrier(8)

    def make() -> Driver:
        made.append(MemoryDriver())
        return made[-1]

    backend = LazyBackend("media", make)
    backend.close()

    def use() -> None:
        ready.wait()
        backend.put(threading.current_thread().name, b"x")

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(list(backend.list())) == 8


def test_a_fake_takes_effect_at_once_and_until_it_is_restored(tmp_path: Path) -> None:
    storage = Storage()
    before = storage.configure("media", "local", root=str(tmp_path))
    fake = storage.fake("media")
    storage.backend("media").put("a", b"1")
    storage.put("b", b"2")
    # What a module keeps from before its tests run.
    before.put("c", b"3")
    fake.assert_count(3)
    assert list(tmp_path.iterdir()) == []
    inner = storage.fake()
    before.put("d", b"4")
    inner.assert_exists("d")
    fake.restore()
    before.put("e", b"5")
    inner.assert_count(2)
    inner.restore()
    inner.restore()
    before.put("f", b"6")
    assert [entry.key for entry in storage.list()] == ["f"]


def test_closing_ends_every_fake(tmp_path: Path) -> None:
    storage = Storage()
    storage.configure("media", "local", root=str(tmp_path))
    storage.fake()
    storage.close()
    storage.put("a", b"1")
    assert (tmp_path / "a").read_bytes() == b"1"
