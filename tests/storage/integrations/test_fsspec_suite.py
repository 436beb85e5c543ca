"""fsspec's own suite for implementations (``fsspec.tests.abstract``), over a disk, memory and S3."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
from fsspec.tests import abstract
from fsspec.tests.abstract.common import GLOB_EDGE_CASES_TESTS

from dashboard.storage import Storage
from dashboard.storage.integrations.fsspec import StowageFileSystem
from tests.servers.seaweedfs import SeaweedFS

PLACES = ["local", "memory", "s3"]


@pytest.fixture(scope="module")
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StowageFileSystem]:
    """Real folders, folders made of empty objects in memory, and the same on a server."""
    with Storage() as storage:
        if request.param == "s3":
            server: SeaweedFS = request.getfixturevalue("seaweedfs")
            options = {
                "endpoint": server.endpoint,
                "bucket": server.new_bucket("fsspec"),
                "access_key_id": server.admin.access_key,
                "secret_access_key": server.admin.secret_key,
            }
        else:
            options = {"root": str(tmp_path_factory.mktemp("media"))} if request.param == "local" else {}
        storage.configure("media", request.param, **options)
        yield StowageFileSystem(storage=storage, skip_instance_cache=True)


class Fixtures(abstract.AbstractFixtures):  # type: ignore[misc]  # fsspec has no types of its own
    """What the suite asks for."""

    @pytest.fixture
    def fs(self, made: StowageFileSystem) -> StowageFileSystem:
        return made

    @pytest.fixture
    def fs_path(self) -> str:
        return f"media/{uuid.uuid4().hex}"

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return lambda *parts: "/".join(parts)


everywhere = pytest.mark.parametrize("made", PLACES, indirect=True, scope="module")
# What goes between here and a server is the same for every object store, and slow to try.
here = pytest.mark.parametrize("made", PLACES[:2], indirect=True, scope="module")


PATTERNS_FOR_A_SERVER = (
    ("fil?1", False, None),
    ("*", True, 2),
    ("**", False, None),
    ("**/subdir0/nested*", True, 2),
    ("subdir[1-2]", True, None),
)


@here
class TestCopy(abstract.AbstractCopyTests, Fixtures): ...  # type: ignore[misc]


@pytest.mark.parametrize("made", PLACES[2:], indirect=True, scope="module")
class TestCopyOnAServer(abstract.AbstractCopyTests, Fixtures):  # type: ignore[misc]
    """All of it; of the patterns, which are read before a server hears of them, one of each sort."""

    @pytest.mark.parametrize(
        GLOB_EDGE_CASES_TESTS["argnames"],
        [
            pytest.param(*case, marks=() if case[:3] in PATTERNS_FOR_A_SERVER else pytest.mark.torture)
            for case in GLOB_EDGE_CASES_TESTS["argvalues"]
        ],
    )
    def test_copy_glob_edge_cases(  # type: ignore[no-untyped-def]
        self,
        path,
        recursive,
        maxdepth,
        expected,
        fs,
        fs_join,
        fs_glob_edge_cases_files,
        fs_target,
        fs_sanitize_path,
    ) -> None:
        super().test_copy_glob_edge_cases(
            path,
            recursive,
            maxdepth,
            expected,
            fs,
            fs_join,
            fs_glob_edge_cases_files,
            fs_target,
            fs_sanitize_path,
        )


@here
class TestGet(abstract.AbstractGetTests, Fixtures): ...  # type: ignore[misc]


@here
class TestPut(abstract.AbstractPutTests, Fixtures): ...  # type: ignore[misc]


@everywhere
class TestOpen(abstract.AbstractOpenTests, Fixtures): ...  # type: ignore[misc]


@everywhere
class TestPipe(abstract.AbstractPipeTests, Fixtures): ...  # type: ignore[misc]
