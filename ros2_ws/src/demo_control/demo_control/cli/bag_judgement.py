"""``democtl bag evaluate`` and ``democtl bag compare``: recordings judged, one by one, many, and against others."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from demo_control.bags.errors import BagError
from demo_control.bags.evaluation import Request, evaluate_bag
from demo_control.bags.many import evaluate_many, find_bags, is_bag
from demo_control.bags.regression import compare as compare_evaluations
from demo_control.bags.summary import slim, summed_up
from demo_control.cli.bag_tables import comparison_table, evaluation_table, summary_table
from demo_control.cli.output import (
    EXIT_USAGE,
    check_destinations,
    episode_progress,
    error_console,
    fail,
    one_line_errors,
    warn,
    write_json,
)
from demo_control.configuration import parse_assignments
from demo_control.files import check_folder

EXIT_WORSE = 1

_BUNDLE = typer.Option(help="Bundle directory; by default the recorded one, where it is found.")
_SETTINGS = typer.Option("--set", help="name=value of the layer; may be given again.", metavar="NAME=VALUE")
_NAMESPACE = typer.Option(help="Of the robot's topics, where several robots are in one recording.", metavar="NAME")
_KEPT = typer.Option(
    "--out", help="Keep every recording's result in this folder: what is in it is not done again.", metavar="FOLDER"
)
_JOBS = typer.Option(min=1, help="Processes for several recordings; by default one per core.")
_JSON = typer.Option("--json", help="Write the result to FILE, '-' for standard output.", metavar="FILE")


@contextmanager
def told() -> Iterator[None]:
    """Turn what is wrong with a recording into one line."""
    with one_line_errors():
        try:
            yield
        except BagError as error:
            fail(str(error))


def evaluate(
    bags: Annotated[list[Path], typer.Argument(help="Recordings, or folders of recordings.", metavar="BAG…")],
    bundle: Annotated[Path | None, _BUNDLE] = None,
    settings: Annotated[list[str] | None, _SETTINGS] = None,
    namespace: Annotated[str | None, _NAMESPACE] = None,
    kept: Annotated[Path | None, _KEPT] = None,
    jobs: Annotated[int | None, _JOBS] = None,
    json_file: Annotated[str, _JSON] = "",
) -> None:
    """Answer the recorded nominal actions again, by the layer's own code, and judge robot, model and corrections.

    With the recorded bundle and settings the same commands come out, bit for bit. With others it is said what would
    have been commanded, where the recorded commands took the robot. Several recordings are evaluated beside each other
    and summed up; one that cannot be evaluated does not end that, and makes the exit code 2.
    """
    with told():
        _check_destinations(json_file, kept)
        chosen = parse_assignments(settings or [])
        if len(bags) == 1 and is_bag(bags[0]) and kept is None:
            report = evaluate_bag(Request(bags[0], bundle, chosen, namespace))
            if json_file != "-":
                error_console().print(evaluation_table(report))
            if json_file:
                write_json(report, json_file)
            return
        requests = [Request(path, bundle, chosen, namespace) for path in find_bags(bags)]
        results, failed = _evaluated(requests, jobs, kept)
        summary = summed_up(results)
        if json_file != "-":
            for robot, sums in summary.items():
                error_console().print(summary_table(robot, sums))
        _tell_failed(failed)
        if json_file:
            write_json({"bags": results, "failed": failed, "summary": summary}, json_file)
    if failed:
        raise typer.Exit(EXIT_USAGE)


def compare(
    baseline: Annotated[Path, typer.Argument(help="A: a recording, or a folder of recordings.", metavar="A")],
    candidate: Annotated[Path, typer.Argument(help="B: what is compared with it.", metavar="B")],
    namespace: Annotated[str | None, _NAMESPACE] = None,
    kept: Annotated[Path | None, _KEPT] = None,
    jobs: Annotated[int | None, _JOBS] = None,
    json_file: Annotated[str, _JSON] = "",
) -> None:
    """Say whether B is worse than A beyond noise: exit code 1 if it is, 0 if not, 2 where that cannot be said.

    Every figure is compared with a 95 % interval of the difference. B is worse where a permutation test, corrected for
    the number of figures, says that this is no chance, and the difference is large enough to matter. It cannot be said
    of recordings that cannot be used, nor where B does not have a figure that decides and that A has.
    """
    with told():
        _check_destinations(json_file, kept)
        sides, failed = [], list[dict[str, str]]()
        # Both are looked for first: evaluating one of them may take hours.
        found = [(path, find_bags([path])) for path in (baseline, candidate)]
        for path, bags in found:
            requests = [Request(bag, namespace=namespace) for bag in bags]
            results, own = _evaluated(requests, jobs, kept)
            failed += own
            if not results:
                reasons = [entry["error"] for entry in own[:1]]
                raise BagError(": ".join([f"{path}: no recording that can be evaluated", *reasons]))
            sides.append(results)
        report = compare_evaluations(sides[0], sides[1])
        if json_file != "-":
            console = error_console()
            console.print(comparison_table(report))
            console.print(_verdict(report), markup=False)
        _tell_failed(failed)
        _tell_unknown(report)
        if report["too_few"]:
            warn(f"too few {report['units']} for a verdict: however much worse B is, it could be chance")
        if json_file:
            write_json({**report, "failed": failed}, json_file)
    if report["worse"]:
        raise typer.Exit(EXIT_WORSE)
    if report["unknown_in_b"] or failed:
        raise typer.Exit(EXIT_USAGE)


def _check_destinations(json_file: str, kept: Path | None) -> None:
    """Refuse what could not be written, before hours of work.

    Raises:
        OSError: The file or the folder could not be.
    """
    check_destinations(json_file)
    if kept is not None:
        check_folder(kept)


def _verdict(report: Mapping[str, object]) -> str:
    if report["worse"]:
        return "B is worse than A"
    # Nothing is as easily no worse as what says nothing.
    return "whether B is worse than A is not known" if report["unknown_in_b"] else "B is not worse than A"


def _evaluated(
    requests: Sequence[Request], jobs: int | None, kept: Path | None
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Results, slim, in the order of the requests, and what could not be evaluated."""
    workers = min(jobs or len(os.sched_getaffinity(0)), len(requests))
    results: dict[Path, dict[str, Any]] = {}
    failed: dict[Path, str] = {}
    with (
        episode_progress("recordings", len(requests)) as progress,
        closing(evaluate_many(requests, workers, kept)) as outcomes,
    ):
        for outcome in outcomes:
            if outcome.result is None:
                failed[outcome.path] = outcome.error
            else:
                results[outcome.path] = slim(outcome.result)
            progress.advance(progress.task_ids[0])
    paths = [request.path for request in requests]
    return (
        [results[path] for path in paths if path in results],
        [{"bag": str(path), "error": failed[path]} for path in paths if path in failed],
    )


def _tell_failed(failed: Sequence[dict[str, str]]) -> None:
    for entry in failed:
        text = f"{entry['bag']}: {entry['error']}"
        error_console().print(text, style="red", markup=False, soft_wrap=True)


def _tell_unknown(report: Mapping[str, Any]) -> None:
    texts = {row["figure"]: row["text"] for row in report["figures"]}
    for side in ("a", "b"):
        missing = "; ".join(texts[name] for name in report[f"unknown_in_{side}"])
        if missing:
            warn(f"{side.upper()} does not say: {missing}")
