"""The model card: README.md of a bundle, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from demo_control.configuration import Scalar
from demo_control.learning.model_metrics import ModelMetrics
from demo_control.learning.stages import Acceptance
from demo_control.tasks import Quantity, Task

UNSEEN_EPISODES = "model"
UNSEEN_SETTINGS = "model_unseen_settings"
"""Names of the data that a model is measured on, in contract.json."""

_TITLES = {UNSEEN_EPISODES: "Unseen episodes", UNSEEN_SETTINGS: "Unseen terrains and settings"}


_VALUE = ", and its value, the planner's terminal cost (`value.onnx`)"


def card_text(
    task: Task,
    provenance: Mapping[str, Any],
    acceptances: Sequence[Acceptance],
    models: Mapping[str, ModelMetrics],
    settings: Mapping[str, Scalar],
    has_value: bool = False,
) -> str:
    """Markdown of the card.

    Args:
        task: What the bundle is for.
        provenance: As in contract.json.
        acceptances: Closed-loop checks; none if there were none.
        models: Errors of the model, by name of the data.
        settings: Of the training that differ from their defaults.
        has_value: Whether there is a value.onnx.
    """
    linear = "iterations" in provenance["policy"] or provenance["policy"]["return"] is None
    corrects = task.planning is not None
    parts = [
        f"# Bundle for {task.name}",
        f"{'A linear policy' if linear else 'A policy network'} (`policy.onnx`) and the learned dynamics that the DeMo "
        f"layer plans with (`dynamics.onnx`){_VALUE if has_value else ''}; `contract.json` says what they expect. "
        "Made by",
        f"    {provenance['command']}",
        f"from seed {provenance['seed']} and {provenance['transitions']} transitions of simulated data, "
        + ("of the policy with random corrections." if corrects else "most of them of the layer itself."),
        "## Interface",
        _quantities(task.observation, task.action),
        f"Control period {task.control_period_s:g} s. Normalisation is inside the graphs.",
        *_planning(task),
        "## Policy",
        *_policy(provenance["policy"]),
        f"![Return of the policy {'search' if linear else 'while it learns'}](curves/policy_return.png)",
        "## Model",
        "Root mean square error of each member along the recorded actions, beside predicting no change; share of "
        "one-step errors within one and two predicted deviations (of a Gaussian: 68 % and 95 %).",
    ]
    for name, model in models.items():
        period_s = task.planning_problem.control_period_s
        parts += [
            f"### {_TITLES[name]}",
            f"{model.stretches} stretches.",
            _errors(model, period_s),
            _calibration(model),
        ]
    parts += [
        f"Largest difference between the trained ensemble and its graph: {provenance['parity']:.1e}.",
        "![Hold-out error of the fits](curves/model_loss.png)",
        "![Prediction error over the horizon](curves/horizon_error.png)",
    ]
    if corrects:
        parts.append("![The same on unseen terrains and settings](curves/horizon_error_unseen.png)")
    if acceptances:
        parts += ["## Closed loop", _acceptances(acceptances)]
    if not corrects:
        parts.append("![The layer, round by round](curves/rounds.png)")
    parts += ["## How it was made", _listing(provenance, settings), "## Limits", _limits(task, bool(acceptances))]
    return "\n\n".join(parts) + "\n"


def _planning(task: Task) -> list[str]:
    """What plans decide on, where it is not the action itself."""
    if task.planning is None:
        return []
    problem = task.planning_problem
    return [
        f"Plans decide on corrections c, each held for {task.planning.decision_ticks} control periods and "
        f"applied to the policy's action by '{task.planning.correct.name[:60]}'. The model is that of the policy with "
        "corrections: what it works on, with the correction in force before (`…_before`), and c:",
        _quantities(problem.observation, problem.action),
    ]


def _policy(policy: Mapping[str, Any]) -> list[str]:
    """How the policy was found."""
    if policy["return"] is None:
        return ["Where the policy comes from is not known."]
    method = "Augmented random search" if "iterations" in policy else "Soft actor-critic"
    done = f"{policy['iterations']} iterations" if "iterations" in policy else f"{policy['steps']} steps"
    text = (
        f"{method}, {done}, seed {policy['seed']}, `{policy['command']}`; "
        f"return in its evaluation {policy['return']:.1f}."
    )
    if not policy["returns"]:
        return [text]
    return [text, _table(["evaluated on", "return"], [[name, f"{v:.0f}"] for name, v in policy["returns"].items()])]


def _limits(task: Task, checked: bool) -> str:
    measure = f"a matter of measurement: `democtl evaluate {task.name} --set name=value`."
    if checked:
        return f"{_plants(task)} The closed-loop check is on the nominal plant; what it takes beyond that is {measure}"
    return f"{_plants(task)} What policy and layer take is {measure}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _quantities(observation: Sequence[Quantity], action: Sequence[Quantity]) -> str:
    def row(kind: str, quantity: Quantity) -> list[str]:
        unit = "" if quantity.unit == "1" else quantity.unit
        return [kind, quantity.name, unit, f"{quantity.minimum:g} … {quantity.maximum:g}"]

    rows = [row("observation", quantity) for quantity in observation]
    rows += [row("action", quantity) for quantity in action]
    return _table(["", "name", "unit", "range"], rows)


def _acceptances(acceptances: Sequence[Acceptance]) -> str:
    names = {"policy": "policy alone", "demo": "policy + DeMo layer"}
    rows = [
        [
            names[a.controller],
            a.simulator,
            f"{a.successes} of {a.episodes}",
            f"{a.return_mean:.0f} ± {a.return_deviation:.0f}",
        ]
        for a in acceptances
    ]
    return _table(["controller", "simulator", "successes", "return"], rows)


def _errors(model: ModelMetrics, period_s: float) -> str:
    horizon = len(model.errors)
    rows = [
        [name, *(f"{model.errors[step, i]:.2g} ({model.no_change[step, i]:.2g})" for step in (0, -1))]
        for i, name in enumerate(model.names)
    ]
    header = ["entry", *(f"{steps} × {period_s:g} s (no change)" for steps in (1, horizon))]
    return _table(header, rows)


def _calibration(model: ModelMetrics) -> str:
    rows = [[name, f"{model.within[0, i]:.0%}", f"{model.within[1, i]:.0%}"] for i, name in enumerate(model.outputs)]
    return _table(["learned", "within 1σ", "within 2σ"], rows)


def _plants(task: Task) -> str:
    if task.model_training is not None:
        return "The data come from simulated plants with varied terrain, robot, sensing, commands and pushes."
    if not task.training_plants:
        return "The data come from the nominal plant in simulation."
    variations = "; ".join(
        ", ".join(f"{name}={value}" for name, value in variation.items()) or "nominal"
        for variation in task.training_plants
    )
    return f"The data come in equal parts from simulated plants with: {variations}."


def _listing(provenance: Mapping[str, object], settings: Mapping[str, Scalar]) -> str:
    versions = provenance["versions"]
    assert isinstance(versions, Mapping)
    lines = [
        f"- source: {provenance['git_revision'] or 'not from a git work tree'}",
        "- versions: " + ", ".join(f"{name} {number}" for name, number in versions.items()),
        f"- SHA-256 of the training data: `{provenance['data_sha256']}`",
        "- settings other than the defaults: "
        + (", ".join(f"`{name}={value}`" for name, value in settings.items()) or "none"),
    ]
    return "\n".join(lines)
