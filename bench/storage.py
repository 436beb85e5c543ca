"""``python -m bench.storage``: every driver beside its vendor's SDK or the plain library, on one server."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from bench import storage_report
from bench.sites import SERVERS, Site, site_of
from bench.storage_report import Result
from bench.storage_work import ClientError, Load, Worker, clients_of

RESULTS = Path(__file__).parent / "results"
MANY, SOME = 100_000, 5_000
"""Keys to list where a listing is the point, and elsewhere."""
LISTED = ("local", "s3")


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.storage", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each client runs each case (3)")
    parser.add_argument("--objects", type=int, default=500, help="how many small objects of 16 KiB (500)")
    parser.add_argument("--large-mib", type=int, default=64, help="MiB of the one large object (64)")
    parser.add_argument(
        "--keys",
        type=int,
        default=MANY,
        help=f"keys to list on {' and '.join(LISTED)} ({MANY}); elsewhere at most {SOME}",
    )
    parser.add_argument("--driver", action="append", choices=SERVERS, help="only this one (may be repeated)")
    parser.add_argument("--quick", action="store_true", help="one round of little: does it run?")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the report is kept")
    options = parser.parse_args(given)
    if options.quick:
        options.rounds, options.objects, options.large_mib, options.keys = 1, 40, 4, 300
    return options


def main(given: Sequence[str] | None = None) -> int:
    """The program; returns its exit status."""
    options = arguments(given)
    try:
        print(measure(options))
    except ClientError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def measure(options: argparse.Namespace) -> str:
    """Run every driver asked for, keep the report and return it."""
    now = datetime.now().astimezone()
    results: list[Result] = []
    drivers = options.driver or list(SERVERS)
    for driver in drivers:
        missing = _why_not(driver)
        if missing:
            _print(f"{driver} is left out: {missing}")
            continue
        keys = options.keys if driver in LISTED else min(options.keys, SOME)
        load = Load(options.objects, options.large_mib << 20, keys)
        _print(f"starting {SERVERS[driver]} for {driver} ...")
        with site_of(driver) as site:
            results += measure_on(site, load, options.rounds)
    text = storage_report.markdown(results, options, f"{now:%Y-%m-%d %H:%M}")
    path = storage_report.save(options.results, f"{now:%Y-%m-%d-%H%M%S}-storage", text, results)
    _print(f"kept in {path}")
    return text


def measure_on(site: Site, load: Load, rounds: int) -> list[Result]:
    """All cases at one place: transfers, then listings, the clients in turn."""
    makers = clients_of(site.driver)
    results: list[Result] = []
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(make, site, load)) for make in makers]
        for number in range(rounds):
            for case in ("put small", "get small", "put large", "get large"):
                for place in _turns(len(makers), number):
                    folder = f"round-{number}-{place}"
                    if case == "put small":
                        workers[place].prepare(folder)
                    timed = workers[place].do(case, folder)
                    results.append(
                        _print_result(Result(site.driver, case, makers[place].name, number, timed))
                    )
            if number == 0:
                # What one wrote the next one reads, or the times of both mean nothing.
                for place, worker in enumerate(workers):
                    worker.check(f"round-0-{(place + 1) % len(makers)}")
        _print(f"making {load.keys:,} keys to list ...")
        workers[-1].fill()
    for number in range(rounds):
        for place in _turns(len(makers), number):
            # A fresh process, so that memory which earlier work left behind hides nothing.
            with Worker(makers[place], site, load) as worker:
                timed = worker.do("list", "keys")
            results.append(_print_result(Result(site.driver, "list", makers[place].name, number, timed)))
    return results


def _turns(clients: int, number: int) -> list[int]:
    """Who begins changes by the round."""
    return [(number + place) % clients for place in range(clients)]


def _why_not(driver: str) -> str:
    if driver != "azure":
        return ""
    from tests.servers.azurite import why_not

    return why_not()


def _print_result(result: Result) -> Result:
    run = result.timed
    _print(
        f"round {result.round + 1}  {result.driver:11}  {result.case:9}  {result.client:18}  "
        f"{run.wall:7.3f} s  {run.cpu:7.3f} s CPU"
        + (f"  {run.growth / 2**20:6.1f} MiB more" if result.case == "list" else "")
    )
    return result


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
