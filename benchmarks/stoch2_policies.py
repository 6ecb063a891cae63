"""Stoch2's shipped policies side by side: the linear one and the one of soft actor-critic, alone and with the layer.

    .venv/bin/python benchmarks/stoch2_policies.py

The cells are those of benchmarks/stoch2_studies.py, 'robust' and 'track' with realistic sensing in MuJoCo; each is one
``democtl evaluate stoch2 --bundle …``, kept in out/stoch2_studies. Episode by episode robots, grounds, commands and
pushes are the same for every bundle. The table goes to docs/experiments/stoch2_policies.md, all figures to
docs/experiments/stoch2_policies.json.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer
from stoch2_studies import ROOT, ROUNDS, TASK, Report, Runner, number, paired, success, table

from demo_control.bundle import default_bundle
from demo_control.files import write_text_atomically

POLICIES = {"linear": TASK, "SAC": f"{TASK}_sac"}
"""Shipped bundles by the kind of their policy."""

CONTROLLERS = {"alone": "policy", "with the layer": "demo"}


def main(
    episodes: Annotated[int | None, typer.Option(min=1, help="Episodes per cell; the scenario's own.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every cell.")] = 0,
) -> None:
    """Run what is missing, and write the table."""
    robust: dict[tuple[str, str], Report] = {}
    lines, kept = [], []
    for policy, bundle in POLICIES.items():
        runner = Runner(default_bundle(bundle), seed, episodes)
        for controller, kind in CONTROLLERS.items():
            fallen = robust[policy, controller] = runner.run("robust", kind, "mujoco", {})
            tracks = [runner.run("track", kind, "mujoco", {"terrain": ground}, ROUNDS) for ground in ("flat", "slope")]
            kept += [fallen, *tracks]
            lines.append([
                policy, controller, success(fallen), number(fallen, "recovery_cost_mean", 0),
                number(fallen, "distance_m_mean", 2),
                *(number(report, name) for report in tracks for name in ("speed_error_rms", "yaw_rate_error_rms")),
                " / ".join(str(report["falls"]) for report in tracks),
            ])  # fmt: skip
    head = ["policy", "", "robust: no fall", "cost", "way in 2.5 s m", "track, flat: speed error m/s",
            "yaw rate error rad/s", "track, slopes: speed error m/s", "yaw rate error rad/s",
            "falls, flat / slopes"]  # fmt: skip
    text = table(head, lines)
    for controller in CONTROLLERS:
        test = paired(*(robust[policy, controller] for policy in POLICIES))
        text += (
            f"\n'robust', {controller}: in {test['policy_only_fell']} episodes only the linear one falls, in "
            f"{test['layer_only_fell']} only the one of soft actor-critic (sign test, p = {test['p']:.2g}).\n"
        )
    folder = ROOT / "docs" / "experiments"
    write_text_atomically(folder / "stoch2_policies.md", text)
    figures = [{key: value for key, value in each.items() if key != "episode_figures"} for each in kept]
    write_text_atomically(folder / "stoch2_policies.json", json.dumps(figures, indent=1, allow_nan=False) + "\n")
    typer.echo(text)


if __name__ == "__main__":
    typer.run(main)
