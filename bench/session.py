"""One measuring session: every case, every tool, round after round, interleaved."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.corpus import Corpus
from bench.locations import Bucket, Folder, Location
from bench.measure import Measured, measure, settle
from bench.network.links import ONCE, Certificate, Link, open_link
from bench.tools import Tool
from tests.servers.s3 import bucket_name
from tests.servers.seaweedfs import SeaweedFS

ROUTES: dict[str, str] = {
    "local-s3": "local → S3",
    "s3-s3": "S3 → S3, same server and keys (each tool's default: a server-side copy where it has one)",
    "s3-s3-apart": "S3 → S3, other endpoint name and keys (bytes move through the client)",
    "s3-local": "S3 → local",
}


@dataclass(frozen=True)
class Case:
    """What is copied, from where to where, over which link."""

    corpus: Corpus
    route: str
    link: str

    def matches(self, words: str) -> bool:
        """Whether each of these words, separated by commas, names the objects, the route or the link."""
        return set(words.split(",")) <= {self.corpus.name, self.route, self.link}


@dataclass(frozen=True)
class Result:
    """One timed run, already checked against the destination."""

    corpus: str
    route: str
    link: str
    tool: str
    round: int
    measured: Measured


class WrongCopy(RuntimeError):
    """A tool ended and the destination is not what it should be."""


class Session:
    """Sources in place, ready to run cases. Use as a context manager."""

    def __init__(self, server: SeaweedFS, corpora: Sequence[Corpus], certificate: Certificate) -> None:
        self._server = server
        self._certificate = certificate
        self._corpora = corpora
        self._process = _server_process(server)
        self._folder = Path(tempfile.mkdtemp(prefix="stowage-bench-"))
        self._other = server.add_identity("bench-other", *server.admin.actions)
        self._sources: dict[str, str] = {}

    def __enter__(self) -> Session:
        for corpus in self._corpora:
            folder = self._folder / corpus.name
            corpus.write(folder)
            self._sources[corpus.name] = self._server.new_bucket(f"source-{corpus.name}")
            corpus.upload(folder, self._server.client(), self._sources[corpus.name])
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        for name in self._sources.values():
            self._server.client().delete_bucket(Bucket=name)

    def run(
        self, tools: Sequence[Tool], cases: Sequence[Case], rounds: int, on_result: Callable[[Result], None]
    ) -> list[Result]:
        """Every tool in turn on every case, ``rounds`` times; the tool that begins changes by the round."""
        results = []
        for number in range(rounds):
            first = number % len(tools)
            for case in cases:
                if number and case.link in ONCE:
                    continue
                with open_link(case.link, self._server, self._certificate) as link:
                    for tool in (*tools[first:], *tools[:first]):
                        result = self._once(tool, case, link, number + 1)
                        if result:
                            results.append(result)
                            on_result(result)
        return results

    def _once(self, tool: Tool, case: Case, link: Link, number: int) -> Result | None:
        corpus, route = case.corpus, case.route
        with self._endpoints(corpus, route, link) as (source, destination):
            if not tool.can(source, destination):
                return None
            scratch = Path(tempfile.mkdtemp(dir=self._folder))
            run = tool.prepare(source, destination, scratch)
            settle(self._process)
            measured = measure(run.command, env=run.env, folder=scratch, server=self._process)
            where = f"{tool.name}, {corpus.name} objects, {route}, {link.name}"
            if measured.status:
                raise WrongCopy(f"{where}: exit status {measured.status}\n{measured.stderr[-2000:]}")
            wrong = tool.complaint(measured, len(corpus.sizes), corpus.total)
            if wrong:
                raise WrongCopy(f"{where}: its own account is {wrong}")
            if destination.contents() != corpus.sizes:
                raise WrongCopy(f"{where}: the destination does not hold exactly the source's objects")
            return Result(corpus.name, route, link.name, tool.name, number, measured)

    @contextmanager
    def _endpoints(self, corpus: Corpus, route: str, link: Link) -> Iterator[tuple[Location, Location]]:
        """Source and fresh destination of a case. The destination is gone afterwards."""
        server = self._server
        there = (link.authority, server.endpoint)
        source: Location = Folder(self._folder / corpus.name)
        if route != "local-s3":
            source = Bucket(self._sources[corpus.name], link.endpoint, server.admin, *there)
        if route == "s3-local":
            # Left until the session ends: for some seconds after thousands of files were deleted, ext4
            # makes new ones at three times the CPU time, and the next tool would pay for it.
            yield source, Folder(Path(tempfile.mkdtemp(prefix="destination-", dir=self._folder)))
            return
        bucket = self._fresh_bucket()
        try:
            if route == "s3-s3-apart":
                endpoint = link.endpoint.replace("127.0.0.1", "localhost")
                yield source, Bucket(bucket, endpoint, self._other, *there)
            else:
                yield source, Bucket(bucket, link.endpoint, server.admin, *there)
        finally:
            server.client().delete_bucket(Bucket=bucket)

    def _fresh_bucket(self) -> str:
        name, s3 = bucket_name("destination"), self._server.client()
        s3.create_bucket(Bucket=name)
        # SeaweedFS makes a bucket's volumes on its first write, 0 to 1 s that would be anybody's.
        s3.put_object(Bucket=name, Key="first", Body=b"makes the volumes")
        s3.delete_object(Bucket=name, Key="first")
        return name


def _server_process(server: SeaweedFS) -> psutil.Process:
    port = f"-s3.port={server.endpoint.rpartition(':')[2]}"
    return next(each for each in psutil.Process().children() if port in each.cmdline())
