"""Keeps an instance folder as this version writes it: ``python -m tests.instances.keep 0.2.0``.

With a second argument, the folder of another checkout, as that version writes it. Only its commands are used.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).resolve().parent
PASSWORD = "a long enough pass phrase"
FOLDER = "{folder}"
"""Stands for the folder that holds the instance and its two places."""
ODD = os.fsdecode(b"caf\xe9.txt")


def keep(name: str, checkout: Path) -> None:
    """People, backends, secrets and a migration with one failed object."""
    kept = HERE / name
    kept.mkdir()
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base).resolve()
        _live(folder, checkout)
        for database in ("stowage", "work"):
            text = dumped(folder / "instance" / f"{database}.db").replace(str(folder), FOLDER)
            (kept / f"{database}.sql").write_text(text, encoding="utf-8")
        shutil.copyfile(folder / "instance" / "stowage.key", kept / "key.txt")


def dumped(database: Path) -> str:
    """Everything in a database as statements, its version included."""
    with closing(sqlite3.connect(database)) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        return "\n".join([*connection.iterdump(), f"PRAGMA user_version = {version};\n"])


def put_back(name: str, folder: Path) -> Path:
    """A kept instance in ``folder``, with the files of its migration, of which one is still to be copied."""
    instance = folder / "instance"
    instance.mkdir(mode=0o700)
    for database in ("stowage", "work"):
        text = (HERE / name / f"{database}.sql").read_text(encoding="utf-8").replace(FOLDER, str(folder))
        with closing(sqlite3.connect(instance / f"{database}.db")) as connection:
            connection.executescript(text)
    key = instance / "stowage.key"
    shutil.copyfile(HERE / name / "key.txt", key)
    key.chmod(0o400)
    _write_files(instance / "files", "a.txt", "b.txt", ODD)
    _write_files(folder / "other", "a.txt", ODD)
    return instance


def _write_files(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        (folder / name).write_text(name[0] * 10)
        os.utime(folder / name, (1_700_000_000 + number,) * 2)


def _live(folder: Path, checkout: Path) -> None:
    """What people do with a console, by its commands."""

    def stowage(*arguments: str, typed: str = "", codes: tuple[int, ...] = (0,)) -> str:
        ran = subprocess.run(
            [sys.executable, "-m", "dashboard", "--instance", str(folder / "instance"), *arguments],
            cwd=checkout,
            env={"PATH": os.environ["PATH"], "SECRET": "a secret access key"},
            input=typed,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode in codes, ran.stderr
        return ran.stdout

    stowage("setup", "--username", "ann", "--password-stdin", typed=f"{PASSWORD}\n")
    stowage("user", "add", "bob", "--role", "operator", "--password-stdin", typed=f"{PASSWORD}\n")
    (folder / "other").mkdir()
    stowage("backend", "add", "other", "--preset", "local", "--option", f"root={folder / 'other'}")
    # Nobody listens there: opening a kept folder asks no server.
    options = ("endpoint=http://127.0.0.1:9", "bucket=photos", "access_key_id=AKIDEXAMPLE")
    given = [word for option in options for word in ("--option", option)]
    stowage(
        "backend", "add", "cloud", "--preset", "minio", *given, "--secret", "secret_access_key=env:SECRET"
    )
    _write_files(folder / "instance" / "files", "a.txt", "b.txt", ODD)
    # In the way: this object fails, and is tried again by whoever opens the folder.
    (folder / "other" / "b.txt").write_text("something else")
    stowage("migrate", "local-disk", "other", "--on-conflict", "fail", "--yes", codes=(1,))
    shown = json.loads(stowage("migrations", "list", "--json"))
    assert [each["outcome"] for each in shown["migrations"]] == ["with_errors"], shown


if __name__ == "__main__":
    keep(sys.argv[1], Path(sys.argv[2] if len(sys.argv) > 2 else ".").resolve())
