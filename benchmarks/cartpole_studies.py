"""Closed-loop studies of the shipped cart-pole bundles: which shift model, which step size, how robust, which policy.

    .venv/bin/python benchmarks/cartpole_studies.py shifts        # every shift model × α, learned model
    .venv/bin/python benchmarks/cartpole_studies.py robustness    # other plants, delays, noise, pushes
    .venv/bin/python benchmarks/cartpole_studies.py policies      # linear and network, with and without layer and value

Each cell is one ``democtl evaluate``. Results go to docs/experiments/ as CSV and as a Markdown table; a study that was
interrupted goes on with the cells that are missing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from demo_control.bundle import default_bundle, load_bundle
from demo_control.configuration import Scalar
from demo_control.files import write_text_atomically
from demo_control.mpc import SHIFT_MODELS
from demo_control.parallel_evaluation import EvaluationRequest, evaluate, split_settings

TASK = "cartpole"
DOCS = Path(__file__).resolve().parents[1] / "docs" / "experiments"
STEP_SIZES = (0.3, 0.6, 0.9)
HORIZONS = (
    ({"horizon": 35, "terminal_weight": 20.0}, tuple(SHIFT_MODELS)),
    ({"horizon": 50, "terminal_weight": 1.0}, ("policy",)),
)
"""Horizon and terminal weight, and the shift models tried with it: the shipped combination for all; the longer one,
with which the pure policy shift does best on true dynamics, for that one."""

PLANTS: Mapping[str, Mapping[str, Scalar]] = {
    "nominal": {},
    "delay 1 tick": {"delay_ticks": 1},
    "observation noise 0.01": {"observation_noise": 0.01},
    "pushes of 5 N for 0.1 s": {"push_n": 5.0, "push_s": 0.1},
    "pole length +20 %": {"pole_length": 1.2},
    "pole mass +20 %": {"pole_mass": 1.2},
    "pole mass -20 %": {"pole_mass": 0.8},
    "cart mass +20 %": {"cart_mass": 1.2},
    "cart mass -20 %": {"cart_mass": 0.8},
}
"""What is changed, and how."""

app = typer.Typer(help=__doc__, no_args_is_help=True)


@dataclass(frozen=True)
class Cell:
    """One evaluation of a study: what its row says, how many episodes, its settings, and the shipped bundle."""

    labels: Mapping[str, str]
    episodes: int
    controller: str = "demo"
    simulator: str = "mujoco"
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    bundle: str = TASK


def run_study(name: str, cells: Sequence[Cell], seed: int) -> list[dict[str, str]]:
    """Run the cells that are not in the study's CSV file yet, saving after each."""
    digests = {name: load_bundle(default_bundle(name)).sha256[:12] for name in {cell.bundle for cell in cells}}
    path = DOCS / f"{name}.csv"
    rows = list(csv.DictReader(path.open(encoding="utf-8"))) if path.exists() else []
    keys = [tuple(cell.labels.values()) for cell in cells]
    done = {
        tuple(row[name] for name in cells[0].labels): row
        for row in rows
        if row["bundle"] in digests.values() and row["episodes"] == str(cells[0].episodes)
    }
    for index, (key, cell) in enumerate(zip(keys, cells, strict=True)):
        if key not in done or done[key]["bundle"] != digests[cell.bundle]:
            plant, layer = split_settings(cell.settings)
            request = EvaluationRequest(
                TASK, default_bundle(cell.bundle), cell.controller, cell.simulator, cell.episodes, seed, plant, layer
            )
            done[key] = {**cell.labels, **_figures(evaluate(request)), "bundle": digests[cell.bundle]}
            write_text_atomically(path, _csv([done[known] for known in keys if known in done]))
        typer.echo(f"[{index + 1}/{len(cells)}] " + ", ".join(f"{k} {v}" for k, v in done[key].items()))
    return [done[key] for key in keys]


def _figures(report: Mapping[str, object]) -> dict[str, str]:
    """The columns of a row that are measured."""
    low, high = report["success_interval"]  # type: ignore[misc]
    upright = report.get("time_upright_s_mean")
    return {
        "episodes": str(report["episodes"]),
        "successes": str(report["successes"]),
        "interval_low": f"{low:.3f}",
        "interval_high": f"{high:.3f}",
        "return_mean": f"{report['return_mean']:.1f}",
        "return_std": f"{report['return_std']:.1f}",
        "action_change": f"{report['action_change_mean']:.3f}",
        "time_upright_s": "" if upright is None else f"{upright:.2f}",
    }


def _csv(rows: Sequence[Mapping[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _share(row: Mapping[str, str]) -> str:
    """'49 of 50 (87 to 100 %)'."""
    low, high = (round(100 * float(row[name])) for name in ("interval_low", "interval_high"))
    return f"{row['successes']} of {row['episodes']} ({low} to {high} %)"


def _cell(row: Mapping[str, str]) -> str:
    """Success, return, and roughness of the commands."""
    return f"{_share(row)}; {float(row['return_mean']):.0f}; {row['action_change']}"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


Episodes = Annotated[int, typer.Option(min=1, help="Episodes per cell.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of every cell.")]


@app.command("shifts")
def shift_models(episodes: Episodes = 50, seed: Seed = 100) -> None:
    """Every shift model × step size α × horizon, on the learned model."""
    cells = [
        Cell(
            {"shift": shift, "horizon": str(values["horizon"]), "step_size": str(step_size)},
            episodes,
            settings={"shift": shift, "step_size": step_size, **values},
        )
        for values, shifts in HORIZONS
        for step_size in STEP_SIZES
        for shift in shifts
    ]
    rows = run_study("cartpole_shifts", cells, seed)
    parts = []
    for values, shifts in HORIZONS:
        horizon = str(values["horizon"])
        lines = []
        for shift in shifts:
            mine = [row for row in rows if row["shift"] == shift and row["horizon"] == horizon]
            lines.append([f"`{shift}`", *(_cell(row) for row in mine)])
        head = ["Φ", *(f"α = {step_size:g}" for step_size in STEP_SIZES)]
        title = f"Horizon {horizon} steps, terminal weight {values['terminal_weight']:g}"
        parts.append(f"**{title}**\n\n{_table(head, lines)}")
    write_text_atomically(DOCS / "cartpole_shifts_table.md", "\n".join(parts))


@app.command()
def robustness(episodes: Episodes = 100, seed: Seed = 0) -> None:
    """The shipped settings on plants other than the one the model was trained on."""
    layer = "policy + layer"
    cells = [
        Cell({"plant": "nominal", "controller": "policy alone", "simulator": "mujoco"}, episodes, controller="policy"),
        *(
            Cell({"plant": name, "controller": layer, "simulator": "mujoco"}, episodes, settings=settings)
            for name, settings in PLANTS.items()
        ),
        Cell({"plant": "nominal", "controller": layer, "simulator": "pybullet"}, episodes, simulator="pybullet"),
    ]
    rows = run_study("cartpole_robustness", cells, seed)
    lines = [
        [row["plant"], row["controller"], row["simulator"], _share(row), f"{row['return_mean']} ± {row['return_std']}",
         row["time_upright_s"] or "–"]
        for row in rows
    ]  # fmt: skip
    head = ["plant", "controller", "simulator", "success (95 % interval)", "return", "upright after, s"]
    write_text_atomically(DOCS / "cartpole_robustness_table.md", _table(head, lines))


POLICIES = {"linear": TASK, "SAC": f"{TASK}_sac"}
"""Shipped bundles by the kind of their policy."""

_ALONE, _LAYER = "policy alone", "policy + layer"
_UNUSED, _VALUE_ONLY = "policy + layer, value unused", "policy + layer, value instead of the terminal weight"
_SHORT = 10
"""Steps of a horizon that is too short to see a swing."""


@app.command()
def policies(episodes: Episodes = 30, seed: Seed = 200) -> None:
    """The linear policy and the network, alone and with the layer, and with the network's value behind the plans."""
    unused: Mapping[str, Scalar] = {"value_weight": 0.0}
    only: Mapping[str, Scalar] = {"terminal_weight": 0.0, "discount": 0.99}
    of_policy = {"linear": {_LAYER: {}}, "SAC": {_LAYER: {}, _UNUSED: unused}}
    cells = []

    def add(policy: str, plant: str, controller: str, settings: Mapping[str, Scalar], horizon: int = 35) -> None:
        labels = {"policy": policy, "plant": plant, "controller": controller, "horizon": str(horizon)}
        kind = "policy" if controller == _ALONE else "demo"
        values = {**PLANTS[plant], **settings, **({"horizon": horizon} if kind == "demo" else {})}
        cells.append(Cell(labels, episodes, kind, settings=values, bundle=POLICIES[policy]))

    for policy, controllers in of_policy.items():
        for plant in ("nominal", "pole length +20 %", "pushes of 5 N for 0.1 s"):
            add(policy, plant, _ALONE, {})
            for controller, settings in controllers.items():
                add(policy, plant, controller, settings)
    add("SAC", "nominal", _VALUE_ONLY, only)
    add("SAC", "nominal", _VALUE_ONLY, only, _SHORT)
    add("SAC", "nominal", _UNUSED, unused, _SHORT)
    add("linear", "nominal", _LAYER, {}, _SHORT)
    rows = run_study("cartpole_policies", cells, seed)
    lines = [
        [*(row[name] for name in ("policy", "plant", "controller", "horizon")), _share(row),
         f"{row['return_mean']} ± {row['return_std']}", row["action_change"], row["time_upright_s"] or "–"]
        for row in rows
    ]  # fmt: skip
    head = ["policy", "plant", "controller", "horizon", "success (95 % interval)", "return", "roughness",
            "upright after, s"]  # fmt: skip
    write_text_atomically(DOCS / "cartpole_policies_table.md", _table(head, lines))


if __name__ == "__main__":
    app()
