"""``python -m bench``: measure, print, keep."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from bench import aims, corpus, report
from bench.floor import ENGINE, LOOP
from bench.network.delay import capacity
from bench.network.links import LINKS, ROUND_TRIP, Certificate, make_certificate
from bench.session import ROUTES, Case, Result, Session, WrongCopy
from bench.tools import TOOLS as PEERS
from tests.servers.seaweedfs import SeaweedFS

TOOLS = (LOOP, ENGINE, *PEERS)
RESULTS = Path(__file__).parent / "results"


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each tool runs each case (3)")
    parser.add_argument("--objects", type=int, default=5000, help="how many small objects (5000)")
    parser.add_argument("--large", type=int, default=4, help="how many large objects (4)")
    parser.add_argument("--large-mib", type=int, default=256, help="MiB of one large object (256)")
    parser.add_argument("--quick", action="store_true", help="one round of little: does it run?")
    parser.add_argument(
        "--only",
        action="append",
        metavar="WORD,...",
        help="only cases that have all these words, of small large, "
        f"{' '.join(ROUTES)} and {' '.join(LINKS)}; may be repeated (--only small,20ms)",
    )
    names = [tool.name for tool in TOOLS]
    parser.add_argument("--tool", action="append", choices=names, help="only this tool (may be repeated)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the report is kept")
    options = parser.parse_args(given)
    known = {"small", "large", *ROUTES, *LINKS}
    for word in (word for each in options.only or () for word in each.split(",")):
        if word not in known:
            parser.error(f"--only does not know “{word}”: choose from {', '.join(sorted(known))}")
    if options.quick:
        options.rounds, options.objects, options.large, options.large_mib = 1, 200, 2, 20
    return options


def main(given: Sequence[str] | None = None) -> int:
    """The program; returns its exit status."""
    options = arguments(given)
    print("starting SeaweedFS ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="stowage-bench-") as folder:
        return _measure(make_certificate(Path(folder)), options)


def _measure(certificate: Certificate, options: argparse.Namespace) -> int:
    with SeaweedFS(tls=(certificate.certificate, certificate.key)) as server:
        try:
            print(measure_on(server, certificate, options))
        except WrongCopy as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
    return 0


def measure_on(server: SeaweedFS, certificate: Certificate, options: argparse.Namespace) -> str:
    """Run a session against a running server, keep its report and return it."""
    every = (corpus.small(options.objects), corpus.large(options.large, options.large_mib * 2**20))
    cases = [Case(each, route, link) for link in LINKS for each in every for route in ROUTES]
    if options.only:
        cases = [case for case in cases if any(map(case.matches, options.only))]
    corpora = [each for each in every if any(case.corpus is each for case in cases)]
    tools = [tool for tool in TOOLS if not options.tool or tool.name in options.tool]
    notes = []
    if any(case.link == "20ms" for case in cases):
        notes.append(f"The delaying proxy alone, on this machine: {capacity(ROUND_TRIP)}.")
    now = datetime.now().astimezone()
    print("making and uploading the sources ...", file=sys.stderr, flush=True)
    with Session(server, corpora, certificate) as session:
        results = session.run(tools, cases, options.rounds, _print)
    lines = report.summarise(results)
    text = report.markdown(lines, corpora, tools, f"{now:%Y-%m-%d %H:%M}", notes)
    text = "\n".join((text, *aims.table(aims.judge(lines))))
    path = report.save(options.results, f"{now:%Y-%m-%d-%H%M%S}", text, lines, results)
    print(f"kept in {path}", file=sys.stderr)
    return text


def _print(result: Result) -> None:
    run = result.measured
    print(
        f"round {result.round}  {result.corpus:5}  {result.route:11}  {result.link:4}  {result.tool:7}  "
        f"{run.wall:6.2f} s  {run.cpu:6.2f} s CPU  {run.switches / 1000:5.1f} k switches  "
        f"{run.peak / 2**20:5.0f} MiB  {run.server_cpu:6.2f} s server CPU  "
        f"{run.elsewhere:5.2f} s elsewhere",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
