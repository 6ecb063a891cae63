"""The model card of a refitted bundle, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from demo_control.tasks import Task


def refit_card(task: Task, lineage: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    """Markdown of the card.

    Args:
        task: The robot's.
        lineage: Provenance of the new bundle.
        figures: Its metrics.
    """
    before, after = figures["before"], figures["after"]
    low, high = figures["interval"]
    held_out = lineage["held_out"]
    judged = held_out if isinstance(held_out, str) else ", ".join(held_out)
    rows = [
        f"| {old['name']}, {old['unit']} | {_number(old['one_step']['rms'])} | {_number(new['one_step']['rms'])} "
        f"| {_number(old['horizon']['rms'])} | {_number(new['horizon']['rms'])} |"
        for old, new in zip(before["dimensions"], after["dimensions"], strict=True)
    ]
    horizon_s = before["horizon_steps"] * before["step_s"]
    recordings = []
    for entry in lineage["recordings"]:
        recordings.append(f"- `{entry['name']}`: {entry['seconds']:.1f} s, SHA-256 {entry['sha256']}")
        recordings += [f"  - {line}" for line in entry["warnings"]]
    parts = [
        f"# Bundle for {task.name}, refitted",
        "The dynamics of another bundle (`dynamics.onnx`), adapted to the robot that was recorded; the policy is that "
        "bundle's, unchanged. Made by `democtl bag refit` from the bundle with the contract",
        f"    {lineage['parent']['sha256']}",
        "and these recordings:",
        "\n".join(recordings),
        "## On what was held out",
        f"Held out: {judged}. Error {horizon_s:.2f} s ahead along the recorded commands, all dimensions in their "
        f"ranges: {figures['horizon_error_ratio']:.3f} of what it was (95 % interval {low:.3f} to {high:.3f}, "
        f"bootstrap over {figures['judged_pieces']} pieces of time).",
        "\n".join(
            [
                f"| root mean square error | one step, before | after | {horizon_s:.2f} s, before | after |",
                "|---|---|---|---|---|",
                *rows,
            ]
        ),
        "## How it was made",
        f"{lineage['transitions']} transitions of the recordings, {lineage['stopping_transitions']} more to know when "
        f"to stop; against forgetting, what the old model says in {lineage['replayed_transitions']} states of its "
        f"training ({lineage['replayed']}), scaled by what the recordings show. "
        f"{lineage['steps']} gradient steps, seed {lineage['seed']}. Largest difference between the ensemble and its "
        f"graph: {lineage['parity']:.1e}.",
        ", ".join(f"{name} = {value}" for name, value in lineage["settings"].items()) + ".",
        "## Limits",
        "Adapted to one robot as it was recorded: on others, and in motions that the recordings do not show, it may be "
        "worse than the bundle it comes from. The closed loop was not checked.",
    ]
    return "\n\n".join(parts) + "\n"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
