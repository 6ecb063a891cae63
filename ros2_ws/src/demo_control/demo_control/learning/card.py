"""The model card: README.md of a bundle, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from demo_control.configuration import Scalar
from demo_control.learning.model_metrics import ModelMetrics
from demo_control.learning.stages import Acceptance
from demo_control.tasks import Quantity, Task


def card_text(
    task: Task,
    provenance: Mapping[str, object],
    acceptances: Sequence[Acceptance],
    model: ModelMetrics,
    settings: Mapping[str, Scalar],
) -> str:
    """Markdown of the card.

    Args:
        task: What the bundle is for.
        provenance: As in contract.json.
        acceptances: Closed-loop checks.
        model: Errors on unseen episodes.
        settings: Of the training that differ from their defaults.
    """
    parts = [
        f"# Bundle for {task.name}",
        "A linear policy (`policy.onnx`) and the learned dynamics that the DeMo layer plans with "
        "(`dynamics.onnx`); `contract.json` says what they expect. Made by",
        f"    {provenance['command']}",
        f"from seed {provenance['seed']} and {provenance['transitions']} transitions of simulated "
        "data, most of them of the layer itself.",
        "## Interface",
        _quantities(task),
        f"Control period {task.control_period_s:g} s. Normalisation is inside the graphs.",
        "## Closed loop",
        _acceptances(acceptances),
        "![Return of the policy search](curves/policy_return.png)",
        "![The layer, round by round](curves/rounds.png)",
        "## Model",
        f"Root mean square error on unseen episodes of the layer with noise, one step and "
        f"{len(model.errors)} steps ahead along the recorded actions, beside predicting no change; "
        "share of one-step errors within one and two predicted deviations (of a Gaussian: 68 % and "
        "95 %).",
        _model(model),
        f"Largest difference between the trained ensemble and its graph: {provenance['parity']:.1e}.",
        "![Hold-out error of the fits](curves/model_loss.png)",
        "![Prediction error over the horizon](curves/horizon_error.png)",
        "## How it was made",
        _listing(provenance, settings),
        "## Limits",
        f"{_plants(task)} The closed-loop check is on the nominal plant; what it takes beyond that "
        f"is a matter of measurement: `democtl evaluate {task.name} --set name=value`.",
    ]
    return "\n\n".join(parts) + "\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _quantities(task: Task) -> str:
    def row(kind: str, quantity: Quantity) -> list[str]:
        unit = "" if quantity.unit == "1" else quantity.unit
        return [kind, quantity.name, unit, f"{quantity.minimum:g} … {quantity.maximum:g}"]

    rows = [row("observation", quantity) for quantity in task.observation]
    rows += [row("action", quantity) for quantity in task.action]
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


def _model(model: ModelMetrics) -> str:
    horizon = len(model.errors)
    rows = [
        [
            name,
            f"{model.errors[0, i]:.2g} ({model.no_change[0, i]:.2g})",
            f"{model.errors[-1, i]:.2g} ({model.no_change[-1, i]:.2g})",
            f"{model.within[0, i]:.0%}, {model.within[1, i]:.0%}",
        ]
        for i, name in enumerate(model.names)
    ]
    header = ["entry", "1 step (no change)", f"{horizon} steps (no change)", "within 1σ, 2σ"]
    return _table(header, rows)


def _plants(task: Task) -> str:
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
