"""Curves of a training run, each as a PNG file and as a table with the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from demo_control.files import write_atomically
from demo_control.learning.ars import SearchState
from demo_control.learning.fitting import FitReport
from demo_control.learning.model_metrics import ModelMetrics
from demo_control.learning.sac.task_learner import TaskLearner
from demo_control.learning.storage import save_csv
from demo_control.tasks import Array

_DOTS_PER_INCH = 110
_ENTRIES_INSIDE = 8
"""Of a legend; a longer one would hide the curves."""

_COLOURS = 10
"""Of Matplotlib's cycle."""


def plot_search(folder: Path, state: SearchState) -> None:
    """Return of the policy search over its iterations: ``policy_return.png`` and ``.csv``."""
    figure, axes = _figure("Augmented random search", "iteration", "return of an episode")
    axes.plot(state.curve[:, 0], state.curve[:, 1], lw=0.8, alpha=0.6, label="directions, mean (search)")
    axes.plot(state.curve[:, 0], state.curve[:, 2], lw=0.8, alpha=0.6, label="directions, best (search)")
    _evaluations(folder, figure, axes, "iteration", state.evaluations, state.best_return)


def plot_learning(folder: Path, learner: TaskLearner) -> None:
    """Return of the policy while it is learned, over the steps: ``policy_return.png`` and ``.csv``."""
    figure, axes = _figure("Soft actor-critic", "control periods of all plants", "return of an episode")
    axes.plot(learner.curve[:, 0], learner.curve[:, 1], lw=0.8, alpha=0.6, label="exploring, mean of a batch")
    _evaluations(folder, figure, axes, "step", learner.evaluations, learner.best_return)


def _evaluations(folder: Path, figure: Figure, axes: Axes, when: str, evaluations: Array, kept: float) -> None:
    """Add what whole episodes return, (when, mean, deviation) per row, and write plot and table."""
    place, mean, deviation = evaluations.T
    axes.errorbar(place, mean, deviation, fmt="k.-", lw=1, capsize=2, label="policy (full episode)")
    axes.axhline(kept, ls=":", c="k", lw=1, label=f"kept: {kept:.0f}")
    _save(figure, axes, folder / "policy_return.png")
    rows = [(int(i), *map(float, rest)) for i, *rest in evaluations]
    save_csv(folder / "policy_return.csv", (when, "return_mean", "return_deviation"), rows)


def plot_fits(folder: Path, reports: Sequence[FitReport]) -> None:
    """Hold-out error of every fit over its gradient steps: ``model_loss.png`` and ``.csv``."""
    figure, axes = _figure("Fits of the ensemble", "gradient step", "hold-out error (of variance)")
    rows: list[tuple[int, int, float, float]] = []
    for index, report in enumerate(reports):
        steps = [point[0] for point in report.curve]
        errors = [point[2] for point in report.curve]
        # A longer unroll is a harder test, so only fits with the same one compare.
        label = f"fit {index}, {report.unroll_steps} steps unrolled"
        shade = 0.25 + 0.75 * (index + 1) / len(reports)
        axes.semilogy(steps, errors, color="tab:blue", alpha=shade, label=label)
        rows.extend((index, *point) for point in report.curve)
    _save(figure, axes, folder / "model_loss.png")
    save_csv(folder / "model_loss.csv", ("fit", "step", "training_loss", "held_out_error"), rows)


def plot_rounds(folder: Path, rounds: Sequence[Mapping[str, float]]) -> None:
    """Return and successes of the layer in each round: ``rounds.png`` and ``.csv``."""
    figure, axes = _figure("The layer, round by round", "transitions before the round", "return")
    transitions = [entry["transitions"] for entry in rounds]
    axes.errorbar(
        transitions,
        [entry["return_mean"] for entry in rounds],
        [entry["return_deviation"] for entry in rounds],
        fmt="o-", capsize=2, label="return, mean and deviation",
    )  # fmt: skip
    right = axes.twinx()
    share = [entry["successes"] / entry["episodes"] for entry in rounds]
    right.plot(transitions, share, "k^--", label="share of successes")
    right.set_ylim(-0.05, 1.05)
    right.set_ylabel("share of successes (with exploration noise)")
    right.legend(loc="lower right")
    _save(figure, axes, folder / "rounds.png")
    columns = ("transitions", "episodes", "successes", "return_mean", "return_deviation")
    save_csv(folder / "rounds.csv", columns, [[entry[name] for name in columns] for entry in rounds])


def plot_horizon(folder: Path, metrics: ModelMetrics, period_s: float, name: str = "horizon_error") -> None:
    """Prediction error over the horizon: ``<name>.png`` and ``.csv``."""
    figure, axes = _figure("Prediction, unseen episodes", "seconds ahead", "error / error of 'no change'")
    steps = range(1, len(metrics.errors) + 1)
    for index, entry in enumerate(metrics.names):
        relative = metrics.errors[:, index] / metrics.no_change[:, index].clip(min=1e-12)
        style = "-" if index < _COLOURS else "--"
        axes.semilogy([period_s * step for step in steps], relative, style, label=entry)
    _save(figure, axes, folder / f"{name}.png")
    columns = ["step", *metrics.names, *(f"{entry}_no_change" for entry in metrics.names)]
    rows = [
        (step, *map(float, errors), *map(float, still))
        for step, errors, still in zip(steps, metrics.errors, metrics.no_change, strict=True)
    ]
    save_csv(folder / f"{name}.csv", columns, rows)


def _figure(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    return figure, axes


def _save(figure: Figure, axes: Axes, path: Path) -> None:
    if len(axes.get_lines()) > _ENTRIES_INSIDE:
        axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    else:
        axes.legend(fontsize="small")
    write_atomically(path, lambda beside: figure.savefig(beside, dpi=_DOTS_PER_INCH))
