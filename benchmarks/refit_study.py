"""What a refit is worth: a minute of a robot that the model does not know, and what the model and the layer make of it.

    .venv/bin/python benchmarks/refit_study.py run cartpole      # a pole 60 % longer
    .venv/bin/python benchmarks/refit_study.py run stoch2        # 1 kg on its back, weak motors
    .venv/bin/python benchmarks/refit_study.py report

Recordings are made in one process by driver, layer and recorder (recorded_runs.py), faster than real time. One minute
is refitted to, with the command's own defaults; other recordings of the robot judge. Then the layer walks or swings up
with either bundle from the same starts. What is done is kept in --work, so that an interrupted study goes on.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import matplotlib as mpl
import numpy as np
import typer
from bench_support import write_figures
from recorded_runs import RunRequest, run

from demo_control.bags.model_error import ModelError, model_error
from demo_control.bags.motion import Motion, read_motion
from demo_control.bundle import default_bundle, load_bundle
from demo_control.cli.output import error_console, write_json
from demo_control.configuration import Scalar, parse_assignments
from demo_control.layer import LayerSettings
from demo_control.learning.progress import ConsoleReporter
from demo_control.learning.refit import RefitRequest, refit
from demo_control.learning.refit_settings import RefitSettings
from demo_control.statistics import bootstrap_interval, ratio_interval
from demo_control.tasks import Array, Task, load_task

mpl.use("Agg")

DOCS = Path(__file__).resolve().parents[1] / "docs" / "experiments"
BAR = 0.6
"""The error at the horizon, after the refit, must be at most this share of what it was."""
_UNIT_S = 1.0

app = typer.Typer(help=__doc__, no_args_is_help=True)


@dataclass(frozen=True)
class Recorded:
    """Recordings: their seeds and lengths."""

    seeds: Sequence[int]
    seconds: float


@dataclass(frozen=True)
class Case:
    """A robot that the model does not know.

    Attributes:
        task: Name.
        text: What is different.
        robot: The same, by name of the simulation's settings.
        minute: What is refitted to.
        held_out: What judges the model.
        old_robot: Recordings of the nominal robot, which tell what was forgotten.
        closed_loop: Runs with either bundle.
        layers: Settings of the layer in these; each is compared on its own.
    """

    task: str
    text: str
    robot: Mapping[str, Scalar]
    minute: Recorded
    held_out: Recorded
    old_robot: Recorded
    closed_loop: Recorded
    layers: Sequence[Mapping[str, Scalar]] = ({},)


CASES = {
    "cartpole": Case(
        "cartpole", "pole 60 % longer", {"pole_length": 1.6},
        Recorded((0, 1, 2), 20.0), Recorded(range(10, 16), 20.0), Recorded((20, 21, 22), 20.0),
        Recorded(range(100, 130), 20.0),
    ),
    "stoch2": Case(
        "stoch2", "1 kg on its back, motors at 60 % of their strength and 5 N m at most",
        {"payload_kg": 1.0, "motor_strength": 0.6, "torque_limit_nm": 5.0},
        Recorded((0,), 60.0), Recorded((10, 11, 12), 20.0), Recorded((20, 21), 20.0),
        Recorded(range(100, 116), 12.0),
    ),
}  # fmt: skip


@app.command("run")
def run_case(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(CASES)}.")],
    work: Annotated[Path, typer.Option(help="Recordings and bundles.")] = Path("out/refit-study"),
    settings: Annotated[list[str] | None, typer.Option("--set", help="name=value of the refit.")] = None,
) -> None:
    """Record, refit, judge; writes docs/experiments/refit_NAME.json."""
    case, folder = CASES[name], work / name
    task, bundle = load_task(case.task), default_bundle(case.task)
    changed = parse_assignments(settings or [])
    minute = _recorded(case, folder / "minute", case.minute, case.robot, bundle)
    new = folder / "bundle"
    refitted = _refitted(minute, bundle, new, folder / "refit.json", changed)
    held_out = _motions(_recorded(case, folder / "held_out", case.held_out, case.robot, bundle), task, bundle)
    old = _motions(_recorded(case, folder / "old_robot", case.old_robot, {}, bundle), task, bundle)
    report: dict[str, Any] = {
        "task": case.task,
        "text": case.text,
        "robot": dict(case.robot),
        "settings": dict(changed),
        "refit": {key: refitted[key] for key in ("horizon_error_ratio", "interval", "judged_pieces", "lineage")},
        "held_out": _errors(task, bundle, new, held_out),
        "old_robot": _errors(task, bundle, new, old),
    }
    report["closed_loop"] = []
    for number, layer in enumerate(case.layers):
        old_costs, new_costs = (
            _closed_loop(case, layer, directory, folder / f"closed_loop_{which}_{number}.json")
            for which, directory in (("before", bundle), ("after", new))
        )
        compared = {"settings": dict(layer), "before": old_costs, "after": new_costs, **_compared(old_costs, new_costs)}
        report["closed_loop"].append(compared)
    write_json(report, str(DOCS / f"refit_{name}.json"))


def _recorded(case: Case, folder: Path, recorded: Recorded, robot: Mapping[str, Scalar], bundle: Path) -> list[Path]:
    """Recordings, made where they are not there."""
    bags = []
    for seed in recorded.seeds:
        bag, done = folder / f"seed_{seed}", folder / f"seed_{seed}.done"
        if not done.exists():
            if bag.exists():
                for file in bag.iterdir():
                    file.unlink()
            run(RunRequest(case.task, bundle, recorded.seconds, seed, robot), bag)
            done.touch()
            typer.echo(f"recorded {bag}")
        bags.append(bag)
    return bags


def _refitted(
    bags: Sequence[Path], bundle: Path, out: Path, file: Path, settings: Mapping[str, Scalar]
) -> dict[str, Any]:
    """What ``democtl bag refit`` makes and says."""
    if not file.exists():
        request = RefitRequest(tuple(bags), bundle, out, RefitSettings.from_mapping(settings))
        verdict, report = refit(request, ConsoleReporter(error_console()))
        if not verdict.better:
            raise SystemExit("the refitted model is not better on what was held out")
        write_json(report, str(file))
    loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return loaded


def _motions(bags: Sequence[Path], task: Task, bundle: Path) -> list[Motion]:
    return [read_motion(bag, task, bundle) for bag in bags]


def _errors(task: Task, before: Path, after: Path, motions: Sequence[Motion]) -> dict[str, Any]:
    """Errors of both models on some recordings, and their ratio at the horizon."""
    horizon = LayerSettings.for_task(task).horizon
    stretches = [stretch for motion in motions for stretch in motion.stretches]
    old, new = (model_error(task, load_bundle(directory, task), stretches, horizon) for directory in (before, after))
    return {
        "recordings": len(motions), "seconds": sum(motion.seconds for motion in motions),
        "before": old.to_json(), "after": new.to_json(),
        "one_step_ratio": _quotient(new.relative_one_step, old.relative_one_step),
        "horizon_ratio": _quotient(new.relative_horizon, old.relative_horizon),
        "horizon_interval": _interval(new, old),
    }  # fmt: skip


def _quotient(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else one / other


def _interval(new: ModelError, old: ModelError) -> list[float]:
    """95 % of the ratio at the horizon, bootstrap over seconds of the recordings."""
    _, units = np.unique(old.starts_ns // round(_UNIT_S * 1e9), return_inverse=True)
    sums = [np.bincount(units, error.squared_errors).astype(float) for error in (new, old)]
    return [float(np.sqrt(bound)) for bound in ratio_interval(*sums, resamples=4000)]


def _closed_loop(case: Case, layer: Mapping[str, Scalar], bundle: Path, file: Path) -> dict[str, list[float]]:
    """Mean cost and failures of runs, one after the other; what is done is kept."""
    done: dict[str, list[float]] = {"cost": [], "failed": []}
    if file.exists():
        done = json.loads(file.read_text(encoding="utf-8"))
    for seed in case.closed_loop.seeds[len(done["cost"]) :]:
        result = run(RunRequest(case.task, bundle, case.closed_loop.seconds, seed, case.robot, layer=layer))
        done["cost"].append(_cost(load_task(case.task), result.observations, result.true_observations, result.controls))
        done["failed"].append(float(result.failed))
        write_json(done, str(file))
        typer.echo(f"{bundle.name}, seed {seed}: cost {done['cost'][-1]:.4f}" + ", failed" * result.failed)
    return done


def _cost(task: Task, observations: Array, true_observations: Array, controls: Array) -> float:
    """Mean stage cost of a run, all of the task's terms with its weights.

    Of the true states where plans decide on commands. Where they decide on corrections, of what the layer saw at each
    decision: its errors to the moving reference are part of the task.
    """
    problem, ticks = task.planning_problem, task.decision_ticks
    if task.planning is None:
        return float((problem.stage_costs(true_observations, controls) @ problem.cost_weights).mean())
    names = [quantity.name for quantity in task.observation]
    seen = observations[:, [names.index(name) for name in task.planning.observation]]
    rows = np.arange(ticks, len(seen) - ticks, ticks)
    x = np.concatenate([seen[rows], controls[rows]], axis=1)
    costs = problem.stage_costs(x, controls[rows + task.planning.planning_ticks]) @ problem.cost_weights
    return float(costs.mean())


def _compared(before: Mapping[str, list[float]], after: Mapping[str, list[float]]) -> dict[str, Any]:
    """Paired comparison."""
    old, new = np.array(before["cost"]), np.array(after["cost"])
    return {
        "runs": len(old),
        "mean_before": float(old.mean()),
        "mean_after": float(new.mean()),
        "difference": float((new - old).mean()),
        "difference_interval": list(bootstrap_interval(new - old, resamples=10_000)),
        "ratio_interval": list(ratio_interval(new, old, resamples=10_000)),
        "better_in": int((new < old).sum()),
    }


@app.command()
def report() -> None:
    """Write docs/experiments/refit_table.md and refit.png from what the runs left."""
    cases = {name: json.loads((DOCS / f"refit_{name}.json").read_text(encoding="utf-8")) for name in CASES}
    write_json(cases, str(DOCS / "refit.json"))
    for name in CASES:
        (DOCS / f"refit_{name}.json").unlink()
    write_figures(DOCS / "refit.json", _table, _plot)


def _table(cases: Mapping[str, Any]) -> list[str]:
    """Markdown."""
    lines = [
        "| robot | recordings | error one step ahead | at the horizon, before | after | ratio (95 % interval) |",
        "|---|---|---|---|---|---|",
    ]
    for case in cases.values():
        for where, text in (("held_out", case["text"]), ("old_robot", "the nominal robot, after the same refit")):
            errors = case[where]
            low, high = errors["horizon_interval"]
            lines.append(
                f"| {case['task']}: {text} | {errors['recordings']}, {errors['seconds']:.0f} s "
                f"| {errors['before']['relative']['one_step']:.4f} → {errors['after']['relative']['one_step']:.4f} "
                f"| {errors['before']['relative']['horizon']:.3f} | {errors['after']['relative']['horizon']:.3f} "
                f"| **{errors['horizon_ratio']:.3f}** ({low:.3f} to {high:.3f}) |"
            )
    lines += [
        "",
        "| robot | runs | mean cost, before | after | difference (95 % interval) | lower in |",
        "|---|---|---|---|---|---|",
    ]
    for case in cases.values():
        for closed in case["closed_loop"]:
            low, high = closed["difference_interval"]
            failures = " and ".join(f"{int(sum(closed[which]['failed']))}" for which in ("before", "after"))
            changed = "".join(f", {name} {value}" for name, value in closed["settings"].items())
            lines.append(
                f"| {case['task']}: {case['text']}{changed} | {closed['runs']} (failed: {failures}) "
                f"| {closed['mean_before']:.4f} | {closed['mean_after']:.4f} "
                f"| {closed['difference']:.4f} ({low:.4f} to {high:.4f}) | {closed['better_in']} |"
            )
    for case in cases.values():
        errors = case["held_out"]
        horizon_s = errors["before"]["horizon_steps"] * errors["before"]["step_s"]
        lines += [
            "",
            f"**{case['task']}**, root mean square errors on held-out recordings:",
            "",
            f"| | one step, before | after | {horizon_s:.2f} s, before | after |",
            "|---|---|---|---|---|",
        ]
        for old, new in zip(errors["before"]["dimensions"], errors["after"]["dimensions"], strict=True):
            values = [entry[when]["rms"] for when in ("one_step", "horizon") for entry in (old, new)]
            lines.append(f"| {old['name']}, {old['unit']} | " + " | ".join(f"{value:.3g}" for value in values) + " |")
    return lines


def _plot(cases: Mapping[str, Any], path: Path) -> None:
    """Error over the steps ahead, and the costs of the paired runs."""
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of the backend

    figure, axes = plt.subplots(2, len(cases), figsize=(10, 7), layout="constrained")
    for column, case in enumerate(cases.values()):
        top, below = axes[0][column], axes[1][column]
        for where, style, what in (("held_out", "-", "this robot"), ("old_robot", ":", "nominal robot")):
            for which, colour in (("before", "tab:red"), ("after", "tab:blue")):
                values = case[where][which]["by_step"]
                seconds = case[where][which]["step_s"] * np.arange(1, len(values) + 1)
                top.plot(seconds, values, style, color=colour, label=f"{which}, {what}")
        top.set(title=textwrap.fill(f"{case['task']}: {case['text']}", 46), xlabel="seconds ahead", yscale="log")
        top.set_ylabel("error, of that of predicting no change")
        top.grid(alpha=0.3)
        top.legend(fontsize=8)
        for closed, colour in zip(case["closed_loop"], ("tab:blue", "tab:green"), strict=False):
            old, new = (np.array(closed[which]["cost"]) for which in ("before", "after"))
            changed = ", ".join(f"{name} {value}" for name, value in closed["settings"].items()) or "as shipped"
            below.scatter(old, new, s=18, color=colour, label=changed)
        ends = below.get_xlim()
        below.plot(ends, ends, color="grey", linewidth=1)
        below.legend(fontsize=8)
        below.set(xlabel="mean cost of a run, before", ylabel="after, same start", title="closed loop")
        below.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    app()
