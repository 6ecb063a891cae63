"""``democtl train``: from a seed to an accepted bundle."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from demo_control.cli.output import EXIT_INTERRUPTED, GET_PYTORCH, error_console, fail, one_line_errors
from demo_control.configuration import parse_assignments
from demo_control.experiments.stopping import interrupted_by_sigterm
from demo_control.tasks import load_task

if TYPE_CHECKING:
    from demo_control.learning.pipeline import Outcome

EXIT_REJECTED = 1
"""Exit code of a run whose model failed the closed-loop check."""


def command(
    task: Annotated[str, typer.Argument(help="Name of the task, for example cartpole.")],
    seed: Annotated[int, typer.Option(help="Decides everything random.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the run and the bundle; out/train-TASK-SEED (…-sac-SEED) by default."),
    ] = None,
    stage: Annotated[
        str,
        typer.Option(
            help="'policy' (only the search), 'model' (for the policy found; where plans correct it, also for the "
            "shipped one) or 'all'."
        ),
    ] = "all",
    policy: Annotated[
        str, typer.Option(help="'linear' (augmented random search) or 'sac' (a network, soft actor-critic).")
    ] = "linear",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="group.name=value of a stage; may be given again.", metavar="NAME=VALUE"),
    ] = None,
) -> None:
    """Train policy and model, check them in the closed loop, and write the bundle.

    An interrupted run goes on where it was when the same command is given again.
    """
    if importlib.util.find_spec("torch") is None:
        fail(f"training needs PyTorch, which is not installed here: {GET_PYTORCH}")
    from demo_control.learning.pipeline import train  # noqa: PLC0415 - needs torch
    from demo_control.learning.progress import ConsoleReporter  # noqa: PLC0415
    from demo_control.learning.settings import TrainingSettings  # noqa: PLC0415

    directory = out or Path("out") / "-".join(["train", task, *([] if policy == "linear" else [policy]), str(seed)])
    console = error_console()
    reporter = ConsoleReporter(console)
    with interrupted_by_sigterm(), one_line_errors():
        loaded = load_task(task)
        chosen = TrainingSettings.for_task(loaded, parse_assignments(settings or []))
        try:
            outcome = train(loaded, chosen, seed, directory, reporter, stage, policy)
        except KeyboardInterrupt:
            reporter.close()
            again = shlex.join(["democtl", *sys.argv[1:]])
            console.print(f"Interrupted. To go on: {again}", soft_wrap=True, markup=False)
            raise typer.Exit(EXIT_INTERRUPTED) from None
        finally:
            reporter.close()
    style = None if outcome.accepted else "red"
    console.print(_ending(outcome, directory, stage), style=style, soft_wrap=True, markup=False)
    if not outcome.accepted:
        raise typer.Exit(EXIT_REJECTED)


def _ending(outcome: Outcome, directory: Path, stage: str) -> str:
    """How the run ended, for people."""
    demo, alone = outcome.demo, outcome.policy
    if stage == "policy":
        return f"Policy found: return {outcome.search_return:.1f}. Checkpoints and curves: {directory}"
    if demo is None or alone is None:
        return f"Bundle and card: {outcome.directory}; its closed loop was not checked."
    if outcome.accepted:
        return (
            f"Accepted: {demo.successes} of {demo.episodes} episodes succeed "
            f"(policy alone {alone.successes}). Bundle and card: {outcome.directory}"
        )
    return (
        f"Rejected: {demo.successes} of {demo.episodes} episodes succeed, {outcome.needed} are "
        f"needed; the bundle was not exported (it lies in {outcome.directory} for inspection). "
        f"Look at the curves in {directory / 'curves'}; try more rounds "
        f"(--set collection.rounds=10), longer fits (--set final_fit.steps=10000) or another "
        f"seed, each with another --out."
    )
