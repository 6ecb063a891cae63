"""Closed-loop studies of Stoch2: the policy alone beside policy + layer, episode by episode the same.

    .venv/bin/python benchmarks/stoch2_studies.py robust          # or: walk, track, push, slope
    .venv/bin/python benchmarks/stoch2_studies.py all

Each cell is one ``democtl evaluate stoch2``, kept in out/stoch2_studies; a study that was interrupted goes on with the
cells that are missing or belong to another bundle or other settings of the layer. Tables go to
docs/experiments/stoch2_<study>.md, all figures to docs/experiments/stoch2_<study>.json, and what was to be shown,
measured, to docs/experiments/stoch2_targets.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import typer

from demo_control.bundle import default_bundle, load_bundle
from demo_control.configuration import Scalar, parse_assignments
from demo_control.files import write_text_atomically
from demo_control.layer import LayerSettings
from demo_control.parallel_evaluation import EvaluationRequest, evaluate, make_scenario, split_settings
from demo_control.statistics import ratio_interval, root_mean_square, sign_test
from demo_control.tasks import load_task

TASK = "stoch2"
ROOT = Path(__file__).resolve().parents[1]
SENSING: Mapping[str, Mapping[str, Scalar]] = {"realistic": {}, "ideal": {"ideal_sensing": True}}
"""Estimated state with noise and 20 ms latency, as on a robot, and the true state."""
PUSHES: tuple[tuple[float, float], ...] = ((0.0, 80.0), (0.0, 120.0), (0.0, 140.0), (0.0, 160.0), (9.0, 120.0))
"""Inclination in degrees and force in newtons."""

ROUNDS = 4
"""Times that commands and pushes are gone through: one slip in place on a slope doubles the yaw rate error of a round,
and of sixteen pushes of 160 N, eight to fourteen are survived by chance alone."""

REFERENCE_M: Mapping[int, float] = {400: 0.57, 500: 0.72, 1000: 1.49}
"""How far the reference's policy walks on level ground, by control periods."""

Report = dict[str, Any]


@dataclass(frozen=True)
class Check:
    """One thing that is to be shown: where, what, the target, what was measured, and whether that will do."""

    where: str
    what: str
    target: str
    measured: str
    met: bool


@dataclass(frozen=True)
class Study:
    """A study's table, all reports it is made from, and what it is to show."""

    text: str
    reports: Sequence[Report]
    checks: Sequence[Check]


def at_most(where: str, what: str, limit: float, value: float, digits: int = 3) -> Check:
    """Check of an upper limit."""
    return Check(where, what, f"≤ {limit:.{digits}f}", f"{value:.{digits}f}", value <= limit)


def at_least(where: str, what: str, limit: float, value: float, digits: int = 2) -> Check:
    """Check of a lower limit."""
    return Check(where, what, f"≥ {limit:.{digits}f}", f"{value:.{digits}f}", value >= limit)


@dataclass(frozen=True)
class Runner:
    """Runs cells that are not there yet.

    Attributes:
        bundle: Its directory.
        seed: Of every cell.
        episodes: Of every cell, or None for each scenario's own number.
        layer: Settings of the layer that differ from the task's.
    """

    bundle: Path
    seed: int
    episodes: int | None
    layer: Mapping[str, Scalar] = field(default_factory=dict)

    def pair(
        self, scenario: str, simulator: str, settings: Mapping[str, Scalar], rounds: int = 1
    ) -> tuple[Report, Report]:
        """Reports of the policy alone and of policy + layer; ``rounds`` is how often the scenario is gone through."""
        return (
            self.run(scenario, "policy", simulator, settings, rounds),
            self.run(scenario, "demo", simulator, settings, rounds),
        )

    def run(
        self, scenario: str, controller: str, simulator: str, settings: Mapping[str, Scalar], rounds: int = 1
    ) -> Report:
        """The report of one cell."""
        task = load_task(TASK)
        chosen = make_scenario(task, scenario, settings)
        assert chosen is not None
        request = EvaluationRequest(
            TASK, self.bundle, controller, simulator, self.episodes or rounds * chosen.num_episodes, self.seed,
            settings, self.layer if controller == "demo" else {}, scenario,
        )  # fmt: skip
        told = [f"{name}={value}" for name, value in settings.items()]
        if self.bundle != default_bundle(TASK):
            told.append(self.bundle.name)
        path = ROOT / "out" / "stoch2_studies" / ("-".join([scenario, controller, simulator, *told]) + ".json")
        identity = {
            "digest": load_bundle(self.bundle).sha256, "episodes": request.episodes, "seed": self.seed,
            "settings": {**chosen.settings.as_mapping(), **request.layer},
            "layer_settings": LayerSettings.for_task(task, request.layer).as_mapping() if controller == "demo" else {},
            "cost_weights": {term.name: term.weight for term in task.cost_terms} if controller == "demo" else {},
        }  # fmt: skip
        if path.exists():
            known = cast("Report", json.loads(path.read_text(encoding="utf-8")))
            if all(known.get(name) == value for name, value in identity.items()):
                typer.echo(f"known: {path.stem}")
                return known
        typer.echo(f"running: {path.stem}, {request.episodes} episodes")
        # Results are shared: where the bundle lay on this machine is nobody's business.
        report: Report = {**evaluate(request), **identity, "bundle": Path(self.bundle).name}
        write_text_atomically(path, json.dumps(report, allow_nan=False) + "\n")
        return report


def figures_of(report: Report, name: str) -> np.ndarray:
    """One figure of the episodes that have it."""
    return np.array([each[name] for each in report["episode_figures"] if name in each])


def creeps_of(report: Report) -> np.ndarray:
    """How fast the robot creeps when it turns in place, for each command."""
    return np.array([cell["creep_m_s_mean"] for cell in report["cells"] if "creep_m_s_mean" in cell])


def success(report: Report) -> str:
    """'49 of 50 (87 to 100 %)'."""
    low, high = (round(100 * share) for share in report["success_interval"])
    return f"{report['successes']} of {report['episodes']} ({low} to {high} %)"


def paired(policy: Report, layer: Report) -> dict[str, object]:
    """Who fell where the other did not, and how likely that is by chance."""
    verdicts = [
        (bool(first["success"]), bool(second["success"]))
        for first, second in zip(policy["episode_figures"], layer["episode_figures"], strict=True)
    ]
    policy_only, layer_only = verdicts.count((False, True)), verdicts.count((True, False))
    return {"policy_only_fell": policy_only, "layer_only_fell": layer_only, "p": sign_test(policy_only, layer_only)}


def ratio(policy: Report, layer: Report, name: str) -> str:
    """Layer's mean of a figure over the policy's, with its interval where both have it in all episodes."""
    first, second = figures_of(policy, name), figures_of(layer, name)
    if not first.size or not second.size or first.mean() == 0.0:
        return "–"
    text = f"{second.mean() / first.mean():.2f}"
    if len(first) == len(second) == policy["episodes"]:
        low, high = ratio_interval(second, first)
        text += f" ({low:.2f} to {high:.2f})"
    return text


def mean_ratio(policy: Report, layer: Report, name: str) -> float:
    """Layer's mean of a figure over the policy's, of the episodes that have it; infinite where none has."""
    first, second = figures_of(policy, name), figures_of(layer, name)
    return float(second.mean() / first.mean()) if first.size and second.size and first.mean() else math.inf


def number(report: Report, name: str, digits: int = 3) -> str:
    """A figure of a report, or a dash."""
    value = report.get(name)
    return "–" if value is None else f"{value:.{digits}f}"


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def walk(runner: Runner) -> Study:
    """Calm walking: what the layer costs where there is nothing to gain, and how far the policy walks."""
    lines, reports, checks = [], [], []
    for simulator in ("mujoco", "pybullet"):
        for sensing, settings in SENSING.items():
            policy, layer = runner.pair("walk", simulator, settings)
            reports += [policy, layer]
            lines.append([
                simulator, sensing, success(policy), success(layer),
                *(number(policy, f"distance_{steps}_steps_m_mean", 2) for steps in (400, 500, 1000)),
                number(layer, "distance_1000_steps_m_mean", 2),
                number(policy, "recovery_cost_mean", 2), number(layer, "recovery_cost_mean", 2),
                ratio(policy, layer, "recovery_cost"),
            ])  # fmt: skip
            where = f"walk, {simulator}, {sensing}"
            checks += [
                at_least(
                    where, f"policy's way in {steps} steps, m", 0.85 * way, policy[f"distance_{steps}_steps_m_mean"]
                )
                for steps, way in REFERENCE_M.items()
            ]
            checks.append(at_most(where, "cost, layer / policy", 1.05, mean_ratio(policy, layer, "recovery_cost")))
    head = ["simulator", "sensing", "no fall, policy", "layer", "policy: m after 400", "500", "1000 steps",
            "layer: 1000", "cost per 1.5 s, policy", "layer", "layer / policy"]  # fmt: skip
    return Study(table(head, lines), reports, checks)


def track(runner: Runner) -> Study:
    """Fifteen commands, on level ground and on slopes."""
    lines, reports, checks, cells = [], [], [], ""
    for sensing, settings in SENSING.items():
        layers = []
        for ground in ("flat", "slope"):
            policy, layer = runner.pair("track", "mujoco", {**settings, "terrain": ground}, ROUNDS)
            reports += [policy, layer]
            layers.append(layer)
            ratios = figures_of(layer, "speed_ratio")
            creeps = creeps_of(layer)
            lines.append([
                sensing, ground, f"{policy['falls']} / {layer['falls']}",
                number(policy, "speed_error_rms"), number(layer, "speed_error_rms"),
                number(policy, "yaw_rate_error_rms"), number(layer, "yaw_rate_error_rms"),
                f"{ratios.mean():.3f} ({ratios.min():.2f} to {ratios.max():.2f})",
                f"{creeps.max():.3f}", number(layer, "lateral_drift_m_mean"),
            ])  # fmt: skip
            if sensing == "realistic":
                cells += f"\n**Each command, {ground}, realistic sensing, layer**\n\n{_track_cells(layer)}"
        checks += _track_checks(f"track, {sensing}", layers)
    head = ["sensing", "ground", "falls, policy / layer", "speed error m/s, policy", "layer",
            "yaw rate error rad/s, policy", "layer", "speed / command, layer (cells)", "creep turning in place m/s",
            "off the line after 10 s m, layer"]  # fmt: skip
    return Study(table(head, lines) + cells, reports, checks)


def _track_checks(where: str, layers: Sequence[Report]) -> list[Check]:
    """What is to be shown over all commands and both grounds."""
    together = {
        name: np.concatenate([figures_of(report, name) for report in layers])
        for name in ("speed_error_rms", "yaw_rate_error_rms", "speed_ratio")
    }
    creep = max(creeps_of(report).max() for report in layers)
    speed, yaw_rate = (root_mean_square(together[name]) for name in ("speed_error_rms", "yaw_rate_error_rms"))
    return [
        at_most(where, "speed error rms, m/s", 0.03, float(speed)),
        at_most(where, "yaw rate error rms, rad/s", 0.03, float(yaw_rate)),
        at_most(where, "mean speed off the command", 0.03, abs(float(together["speed_ratio"].mean()) - 1.0)),
        at_most(where, "creep turning in place, m/s", 0.04, float(creep)),
        at_most(where, "falls", 0, sum(report["falls"] for report in layers), 0),
    ]


def _track_cells(report: Report) -> str:
    names = ("speed_error_rms", "yaw_rate_error_rms", "speed_m_s_mean", "yaw_rate_rad_s_mean", "side_speed_error_rms")
    lines = [[cell["cell"], str(cell["falls"]), *(number(cell, name) for name in names)] for cell in report["cells"]]
    return table(["command", "falls", "speed error", "yaw rate error", "speed", "yaw rate", "side speed"], lines)


def push(runner: Runner) -> Study:
    """Pushes from the side."""
    lines, reports, checks = [], [], []
    for sensing, settings in SENSING.items():
        for slope, force in PUSHES:
            policy, layer = runner.pair("push", "mujoco", {**settings, "slope_deg": slope, "push_n": force}, ROUNDS)
            reports += [policy, layer]
            lines.append([
                sensing, f"{slope:g}°", f"{force:g} N", success(policy), success(layer),
                f"{number(policy, 'recovery_cost_mean', 0)} → {number(layer, 'recovery_cost_mean', 0)}",
                ratio(policy, layer, "recovery_cost"),
                f"{number(policy, 'settle_time_s_mean', 2)} → {number(layer, 'settle_time_s_mean', 2)}",
                ratio(policy, layer, "settle_time_s"),
                f"{number(policy, 'lateral_drift_m_mean')} → {number(layer, 'lateral_drift_m_mean')}",
            ])  # fmt: skip
            if slope == 0.0:
                checks += _push_checks(f"push {force:g} N, {sensing}", force, policy, layer)
    head = ["sensing", "slope", "push", "no fall, policy", "layer", "cost", "ratio", "settled after s", "ratio",
            "off the line at the end m"]  # fmt: skip
    return Study(table(head, lines), reports, checks)


def _push_checks(where: str, force: float, policy: Report, layer: Report) -> list[Check]:
    """What is to be shown of one force on level ground."""
    if force == 160.0:
        return [at_least(where, "layer: share without a fall", 0.75, layer["success_rate"])]
    if force != 120.0:
        return []
    drift, allowed = (float(figures_of(report, "lateral_drift_m").mean()) for report in (layer, policy))
    return [
        at_most(where, "cost, layer / policy", 0.6, mean_ratio(policy, layer, "recovery_cost"), 2),
        at_most(where, "settling time, layer / policy", 0.6, mean_ratio(policy, layer, "settle_time_s"), 2),
        at_most(where, "off the line at the end, m", allowed, drift),
    ]


def slope(runner: Runner) -> Study:
    """The policy alone on a grid of slopes, in both simulators."""
    parts, reports, checks = [], [], []
    for simulator in ("mujoco", "pybullet"):
        report = runner.run("slope", "policy", simulator, SENSING["ideal"])
        reports.append(report)
        names = [f"distance_{steps}_steps_m_mean" for steps in (400, 500, 1000)]
        lines = [
            [cell["cell"], "yes" if cell["falls"] else "no", *(number(cell, name, 2) for name in names),
             number(cell, "lateral_drift_m_mean", 2)]
            for cell in report["cells"]
        ]  # fmt: skip
        head = ["slope", "falls", "m after 400", "500", "1000 steps", "off the line m"]
        parts.append(f"**{simulator}**\n\n{table(head, lines)}")
        slowest = min(float(cell["distance_m_mean"]) for cell in report["cells"])
        checks.append(at_most(f"slope, {simulator}", "policy: falls", 0, report["falls"], 0))
        checks.append(at_least(f"slope, {simulator}", "policy: shortest way in 1000 steps, m", 1.0, slowest))
    return Study("\n".join(parts), reports, checks)


def robust(runner: Runner) -> Study:
    """Slope, friction, payload, torque limit and pushes at random."""
    lines, reports, checks = [], [], []
    for simulator, share in (("mujoco", 0.97), ("pybullet", 0.92)):
        for sensing, settings in SENSING.items():
            policy, layer = runner.pair("robust", simulator, settings)
            reports += [policy, layer]
            test = paired(policy, layer)
            lines.append([
                simulator, sensing, success(policy), success(layer),
                f"{test['policy_only_fell']} / {test['layer_only_fell']}", f"{test['p']:.2g}",
                f"{policy['strict_success_mean']:.0%} → {layer['strict_success_mean']:.0%}",
                f"{number(policy, 'recovery_cost_mean', 0)} → {number(layer, 'recovery_cost_mean', 0)}",
                ratio(policy, layer, "recovery_cost"),
            ])  # fmt: skip
            where = f"robust, {simulator}, {sensing}"
            checks.append(at_least(where, "layer: share without a fall", share, layer["success_rate"]))
            better = layer["successes"] > policy["successes"]
            chance = cast("float", test["p"])
            checks.append(
                Check(where, "better than the policy (p)", "≤ 0.05", f"{chance:.2g}", better and chance <= 0.05)
            )
    head = ["simulator", "sensing", "no fall, policy", "layer", "only policy fell / only layer", "p (sign test)",
            "far, straight and upright", "cost", "ratio"]  # fmt: skip
    return Study(table(head, lines), reports, checks)


STUDIES: Mapping[str, Callable[[Runner], Study]] = {
    "walk": walk,
    "track": track,
    "push": push,
    "slope": slope,
    "robust": robust,
}


def main(
    study: Annotated[str, typer.Argument(help=f"all, {', '.join(STUDIES)}")],
    episodes: Annotated[int | None, typer.Option(min=1, help="Episodes per cell; the scenario's own.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every cell.")] = 0,
    bundle: Annotated[Path | None, typer.Option(help="Bundle directory; the shipped one.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for tables and figures.")] = ROOT / "docs" / "experiments",
    settings: Annotated[list[str] | None, typer.Option("--set", help="name=value of the layer.")] = None,
) -> None:
    """Run a study, or all."""
    if study != "all" and study not in STUDIES:
        raise typer.BadParameter(f"'{study}': must be all or one of {', '.join(STUDIES)}")
    plant, layer = split_settings(parse_assignments(settings or []))
    if plant:
        raise typer.BadParameter(f"{', '.join(plant)}: no settings of the layer")
    runner = Runner(bundle or default_bundle(TASK), seed, episodes, layer)
    checks: list[Check] = []
    for name in STUDIES if study == "all" else (study,):
        result = STUDIES[name](runner)
        checks += result.checks
        write_text_atomically(out / f"stoch2_{name}.md", result.text)
        kept = [{key: value for key, value in each.items() if key != "episode_figures"} for each in result.reports]
        write_text_atomically(out / f"stoch2_{name}.json", json.dumps(kept, indent=1, allow_nan=False) + "\n")
        typer.echo(f"\n{name}\n\n{result.text}")
    lines = [[check.where, check.what, check.target, check.measured, "yes" if check.met else "no"] for check in checks]
    text = table(["where", "what", "target", "measured", "met"], lines)
    if study == "all":
        write_text_atomically(out / "stoch2_targets.md", text)
    typer.echo(text)


if __name__ == "__main__":
    typer.run(main)
