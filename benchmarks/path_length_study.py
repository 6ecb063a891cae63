"""Does the path length of a shift model predict its closed-loop cost?

    .venv/bin/python benchmarks/path_length_study.py [--episodes 25] [--jobs 2]

The theorem on the regret of dynamic mirror descent (thesis, Theorem 3.1) says that a shift model which anticipates
well, so that little is left to be searched, has little regret. Here every shift model meets every step size on the
cart-pole (swing-up) and on Stoch2 (a push of 120 N), everything else as shipped, and the path length per plan is put
beside the cost per control period that the robot really had. Results go to docs/experiments/path_length.{csv,md,png}; a
study that was interrupted goes on with the cells that are missing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure

from demo_control.bundle import default_bundle, load_bundle
from demo_control.configuration import Scalar
from demo_control.files import write_atomically, write_text_atomically
from demo_control.mpc import SHIFT_MODELS
from demo_control.parallel_evaluation import EvaluationRequest, evaluate

DOCS = Path(__file__).resolve().parents[1] / "docs" / "experiments"
STEP_SIZES = (0.3, 0.6, 0.9)
TASKS: Mapping[str, tuple[str, Mapping[str, Scalar], str]] = {
    "cartpole": ("", {}, "swing-up"),
    "stoch2": ("push", {"push_n": 120.0}, "push of 120 N"),
}
"""Per task: scenario, its settings, and what it is called."""
COLOURS = ("#8a8f98", "#1f6fb2", "#c2571a", "#3a8a4d", "#c9a227", "#7b4ea3", "#38a3a5", "#b23a6f")
MARKERS = {0.3: "v", 0.6: "o", 0.9: "^"}
SHUFFLES = 9999
KEYS = ("task", "shift", "step_size")


def measure(task: str, shift: str, step_size: float, episodes: int, jobs: int | None) -> dict[str, str]:
    """One cell: means over episodes, per plan and per control period."""
    scenario, plant, _ = TASKS[task]
    request = EvaluationRequest(
        task, default_bundle(task), "demo", "mujoco", episodes, 100, plant,
        {"shift": shift, "step_size": step_size}, scenario,
    )  # fmt: skip
    report: dict[str, Any] = evaluate(request, jobs=jobs)
    planning = report["planning"]
    plans = np.array(planning["plans"], float)
    paths = np.array(planning["path_length"]) / plans
    costs = np.array(planning["realised_cost"]) / plans
    regrets = np.array([np.nan if value is None else value for value in planning["regret"]], float) / plans
    figures = {
        "path_length": paths.mean(),
        "path_length_error": paths.std(ddof=1) / np.sqrt(len(paths)),
        "cost": costs.mean(),
        "cost_error": costs.std(ddof=1) / np.sqrt(len(costs)),
        "regret": regrets.mean(),
        "success_rate": report["success_rate"],
    }
    return {name: f"{value:.5g}" for name, value in figures.items()}


def load(path: Path, digests: Mapping[str, str], episodes: int) -> dict[tuple[str, ...], dict[str, str]]:
    """The cells measured before with these bundles and this many episodes."""
    if not path.exists():
        return {}
    rows = csv.DictReader(path.open(encoding="utf-8"))
    return {
        tuple(row[key] for key in KEYS): row
        for row in rows
        if row["bundle"] == digests[row["task"]] and row["episodes"] == str(episodes)
    }


def search_distance(row: Mapping[str, str]) -> float:
    """Path length over α: how far from Φ's proposal the samples wanted the plan to be."""
    return float(row["path_length"]) / float(row["step_size"])


def correlation(rows: Sequence[Mapping[str, str]], value: Callable[[Mapping[str, str]], float]) -> str:
    """Spearman's rank correlation of a value and the cost over the cells, and the share of shuffles as strong."""
    values, costs = (np.argsort(np.argsort([of(row) for row in rows])) for of in (value, _cost))
    found = float(np.corrcoef(values, costs)[0, 1])
    generator = np.random.default_rng(0)
    shuffled = [np.corrcoef(generator.permutation(values), costs)[0, 1] for _ in range(SHUFFLES)]
    chance = (1 + int(np.sum(np.abs(shuffled) >= abs(found)))) / (SHUFFLES + 1)
    return f"{found:+.2f} (p = {chance:.1g})"


def _cost(row: Mapping[str, str]) -> float:
    return float(row["cost"])


def _path_length(row: Mapping[str, str]) -> float:
    return float(row["path_length"])


def _of_task(rows: Sequence[Mapping[str, str]], task: str) -> list[Mapping[str, str]]:
    """The rows of one task, cheapest first: figure and table shuffle them alike."""
    return sorted((row for row in rows if row["task"] == task), key=_cost)


def draw(rows: Sequence[Mapping[str, str]], path: Path) -> None:
    """Cost against path length, one panel per task, one colour per shift model, one marker per step size."""
    figure = Figure(figsize=(13.0, 5.4), layout="constrained")
    for axis, (task, (_, _, words)) in zip(figure.subplots(1, len(TASKS)), TASKS.items(), strict=True):
        mine = _of_task(rows, task)
        for row in mine:
            axis.errorbar(
                search_distance(row), float(row["cost"]),
                xerr=float(row["path_length_error"]) / float(row["step_size"]),
                yerr=float(row["cost_error"]), fmt=MARKERS[float(row["step_size"])], markersize=8,
                color=COLOURS[list(SHIFT_MODELS).index(row["shift"])], capsize=2,
            )  # fmt: skip
        axis.set_title(f"{task}, {words}: rank correlation {correlation(mine, search_distance)}")
        axis.set_xlabel("path length per plan / α [half action ranges]")
        axis.set_ylabel("realised stage cost per plan")
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("{x:.2g}")
        axis.grid(alpha=0.3, which="both")
    handles = [
        *(
            axis.plot([], [], "s", color=colour, label=name)[0]
            for name, colour in zip(SHIFT_MODELS, COLOURS, strict=True)
        ),
        *(axis.plot([], [], marker, color="black", label=f"α = {step:g}")[0] for step, marker in MARKERS.items()),
    ]
    figure.legend(handles=handles, loc="outside right upper", fontsize=9)
    write_atomically(path, lambda beside: figure.savefig(beside, dpi=110))


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """One Markdown table per task, cheapest first, and the correlation."""
    parts = []
    for task, (_, _, words) in TASKS.items():
        mine = _of_task(rows, task)
        parts += [
            f"**{task}, {words}**. Rank correlation with the cost: of the path length "
            f"{correlation(mine, _path_length)}, of the path length over α {correlation(mine, search_distance)}.\n",
            "| Φ | α | cost per plan | path length per plan | path length / α | regret per plan | success |",
            "|---|---|---|---|---|---|---|",
            *(
                f"| `{row['shift']}` | {row['step_size']} | {_figure(row, 'cost')} | {_figure(row, 'path_length')} "
                f"| {search_distance(row):.3g} | {float(row['regret']):.3g} "
                f"| {100.0 * float(row['success_rate']):.0f} % |"
                for row in mine
            ),
            "",
        ]
    return "\n".join(parts)


def _figure(row: Mapping[str, str], name: str) -> str:
    """'1.23 ± 0.04'."""
    return f"{float(row[name]):.3g} ± {float(row[name + '_error']):.1g}"


def main(
    episodes: Annotated[int, typer.Option(min=2, help="Episodes per cell.")] = 25,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; default: one per core.")] = None,
) -> None:
    """Measure what is missing, then write table and figure."""
    path = DOCS / "path_length.csv"
    digests = {task: load_bundle(default_bundle(task)).sha256[:12] for task in TASKS}
    done = load(path, digests, episodes)
    cells = [(task, shift, f"{step:g}") for task in TASKS for shift in SHIFT_MODELS for step in STEP_SIZES]
    for number, cell in enumerate(cells, start=1):
        if cell not in done:
            task, shift, step = cell
            labels = dict(zip(KEYS, cell, strict=True))
            figures = measure(task, shift, float(step), episodes, jobs)
            done[cell] = {**labels, **figures, "episodes": str(episodes), "bundle": digests[task]}
            text = io.StringIO()
            writer = csv.DictWriter(text, list(done[cell]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(done[known] for known in cells if known in done)
            write_text_atomically(path, text.getvalue())
        typer.echo(f"[{number}/{len(cells)}] " + ", ".join(f"{key} {value}" for key, value in done[cell].items()))
    rows = [done[cell] for cell in cells]
    write_text_atomically(DOCS / "path_length.md", table(rows))
    draw(rows, DOCS / "path_length.png")


if __name__ == "__main__":
    typer.run(main)
