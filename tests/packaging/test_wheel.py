"""The wheel holds everything, and runs from any folder in an environment of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNUSED_AT_START = {"alembic", "azure", "boto3", "botocore", "google", "obstore", "paramiko", "PIL", "urllib3"}
MAX_MODULES_AT_START = 1300
"""Of 1,212 today, 548 of them ours."""
SOURCES = ("dashboard", "templates", "static", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that nothing is written into the checkout."""
    folder = tmp_path_factory.mktemp("build")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist")]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (made,) = (folder / "dist").glob("stowage-*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``stowage`` script in an otherwise empty environment that sees this one's dependencies."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    subprocess.run([*command, "--no-index", str(wheel)], check=True, cwd=folder)
    found = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    # Plain paths: our own .pth files, if there are any, are not followed from there.
    (Path(found.stdout.strip()) / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin" / "stowage"


@contextmanager
def running(
    stowage: Path, home: Path, *, stderr: Path = Path(os.devnull), **environ: str
) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """``stowage run`` with a nearly empty environment, and the lines it says until it is ready."""
    with stderr.open("wb") as errors:
        process = subprocess.Popen(
            [str(stowage), "run", "--port", "0"],
            cwd=home,
            env={"HOME": str(home), "PATH": "/usr/bin:/bin", **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    said = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if "http://" in line:
                break
        yield process, said
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_it_holds_templates_static_files_and_schema_steps_and_nothing_of_an_instance(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("templates", "static"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file():
                assert f"dashboard/{path.relative_to(ROOT)}" in names
    # Found by their folder and not by an import.
    for path in (ROOT / "dashboard" / "models" / "schema").rglob("0*.py"):
        assert str(path.relative_to(ROOT)) in names
    assert not [name for name in names if name.startswith(("tests", "bench", "instance", "templates"))]
    assert not [name for name in names if name.endswith((".pyc", ".db", ".key"))]
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_runs_from_any_folder_and_stops_cleanly(installed: Path, tmp_path: Path) -> None:
    with running(installed, tmp_path) as (process, said):
        assert said, "it said nothing before it ended"
        address = re.search(r"http://\S+", said[-1])
        assert address is not None
        with urllib.request.urlopen(f"{address[0]}/", timeout=120) as answer:
            page = answer.read().decode()
            assert answer.status == 200
            assert "etup code" in page
        sheet = re.search(r'href="(/static/[^"]+\.css[^"]*)"', page)
        assert sheet is not None
        with urllib.request.urlopen(f"{address[0]}{sheet[1]}", timeout=120) as answer:
            assert answer.status == 200
        assert process.stdout is not None
        assert "Setup code:" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    assert (tmp_path / ".local" / "share" / "stowage" / "stowage.db").exists()


def test_a_second_start_loads_little_and_changes_nothing(installed: Path, tmp_path: Path) -> None:
    """What makes it quick; ``make bench-web`` has its time."""
    packages = installed.parents[1] / "lib"
    told, states = tmp_path / "imports", []
    for _ in range(2):
        with running(installed, tmp_path, stderr=told, PYTHONPROFILEIMPORTTIME="1") as (process, said):
            assert "http://" in said[-1]
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 0
        states.append({path: path.stat().st_mtime_ns for path in packages.rglob("dashboard/**/*.pyc")})
    # Of all three processes: SDKs are loaded for the first backend that needs one, Alembic for an upgrade.
    lines = told.read_text(encoding="utf-8", errors="replace").splitlines()
    loaded = {line.rsplit("|", 1)[1].strip() for line in lines if line.startswith("import time:")}
    assert "dashboard.serving" in loaded
    assert "dashboard.web.server" in loaded
    assert not UNUSED_AT_START & {name.partition(".")[0] for name in loaded}
    assert len(loaded) < MAX_MODULES_AT_START, len(loaded)
    assert states[0]
    assert states[0] == states[1], "modules were compiled again"


def test_the_version_is_one(installed: Path) -> None:
    import tomllib

    from dashboard import __version__

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__
    said = subprocess.run([str(installed), "--version"], capture_output=True, text=True, check=True)
    assert __version__ in said.stdout
