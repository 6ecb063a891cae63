"""How well Stoch2 knows its own motion: errors of attitude, velocity, height and ground, by terrain, gait and noise.

    .venv/bin/python benchmarks/stoch2_estimation.py

Robots walk for 5 s with constant actions, which do not depend on the estimates; the same recorded measurements are then
given to the estimators with more and more noise. The table goes to docs/experiments/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from demo_control.files import write_text_atomically
from stoch2_sim.robots.stoch2.attitude import wrapped
from stoch2_sim.robots.stoch2.episode import Episode, Push, SensingParameters
from stoch2_sim.robots.stoch2.estimation import BodyEstimator, EstimationSettings
from stoch2_sim.robots.stoch2.gait import ACTION_GROUPS, joint_targets
from stoch2_sim.robots.stoch2.observation import BodyState
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.plants import Stoch2Plants
from stoch2_sim.robots.stoch2.sensing import NoisySensors
from stoch2_sim.robots.stoch2.simulation import SIMULATORS, Sensors
from stoch2_sim.simulators.protocol import Array, Mask

DOCS = Path(__file__).resolve().parents[1] / "docs" / "experiments"
NUM_TICKS = 1000
FIRST_TICK = 200
SIGNS = {"left_right": (-1.0, 1.0, -1.0, 1.0), "diagonal": (1.0, -1.0, -1.0, 1.0)}


@dataclass(frozen=True)
class Case:
    """One walk: what the action holds (by group, or by group and pattern over the legs), ground and push."""

    name: str
    action: Mapping[str, float]
    robot: RobotParameters = RobotParameters()  # noqa: RUF009 - immutable
    push_n: float = 0.0

    def actions(self) -> Array:
        """The constant action. Shape=(20,)."""
        groups = np.zeros((len(ACTION_GROUPS), 4))
        for name, value in self.action.items():
            group, _, pattern = name.partition("/")
            groups[ACTION_GROUPS.index(group)] += value * np.array(SIGNS.get(pattern, (1.0,) * 4))
        return groups.ravel()


def slope(degrees: float, direction: float = 0.0, friction: float = 0.6) -> RobotParameters:
    """Sloped ground."""
    return RobotParameters(terrain="slope", slope_deg=degrees, orientation_deg=direction, friction=friction)


UPHILL = {"step_length": 0.3, "y_shift": -1.0, "x_shift": -1.0}
CASES = (
    Case("flat, short steps", {"step_length": -0.5}),
    Case("flat", {}),
    Case("flat, long steps", {"step_length": 0.5}),
    Case("flat, turning while walking", {"step_length/left_right": 0.5}),
    Case("flat, turning in place", {"step_length": -1.0, "step_length/left_right": 0.7}),
    Case("flat, 1 kg of payload", {"step_length": 0.3}, RobotParameters(payload_kg=1.0)),
    Case("flat, friction 0.42", {"step_length": 0.3}, RobotParameters(friction=0.42)),
    Case("flat, push of 120 N", {}, push_n=120.0),
    Case("5° uphill", UPHILL, slope(5.0)),
    Case("9° uphill", UPHILL, slope(9.0)),
    Case("9° uphill, friction 0.42 (slips)", UPHILL, slope(9.0, friction=0.42)),
    Case("9° rising to the left", {"step_length": 0.3, "z_shift": 1.0}, slope(9.0, 90.0)),
    Case("7° downhill", {"step_length": 0.3, "x_shift": 0.5}, slope(-7.0)),
    Case("rough, 20 mm", {"step_length": 0.3}, RobotParameters(terrain="rough", roughness_m=0.02)),
)

IMU = SensingParameters(imu_noise_rad=0.02, gyroscope_noise_rad_s=0.05, accelerometer_noise_m_s2=0.2)
SENSING = {
    "exact": SensingParameters(),
    "0.02 rad": IMU,
    "0.04 rad": replace(IMU, imu_noise_rad=0.04),
    "0.02 rad, no foot sensors": replace(IMU, foot_sensors=False),
}
"""White noise of the IMU's angles (with 0.05 rad/s and 0.2 m/s² of the other two), and the feet."""


@dataclass(frozen=True)
class Recording:
    """What was measured and what was true, by tick."""

    sensors: Sequence[Sensors]
    targets: Sequence[Array]
    phases: Sequence[Array]
    states: Sequence[BodyState]
    failed: Mask


def record(simulator: str, progress: Callable[[], None]) -> Recording:
    """Walk all cases."""
    pushes = [(Push(500, 6, (0.0, case.push_n, 0.0)),) if case.push_n else () for case in CASES]
    episodes = [Episode(case.robot, pushes=push) for case, push in zip(CASES, pushes, strict=True)]
    plants = Stoch2Plants(simulator, episodes)
    plants.reset([np.random.default_rng(index) for index in range(len(CASES))])
    actions = np.array([case.actions() for case in CASES])
    sensors, targets, phases, states = [], [], [], []
    for _ in range(NUM_TICKS):
        targets.append(joint_targets(actions, plants.control.phases))
        plants.step(actions)
        sensors.append(plants.simulation.sensors())
        phases.append(plants.control.phases)
        states.append(plants.state)
        progress()
    failed = plants.failed
    plants.close()
    return Recording(sensors, targets, phases, states, failed)


def estimates(recording: Recording, sensing: SensingParameters) -> list[BodyState]:
    """What the estimators make of the measurements with noise."""
    count = len(CASES)
    noise = NoisySensors([sensing] * count)
    noise.reset([np.random.default_rng([1, index]) for index in range(count)])
    estimator = BodyEstimator([sensing.instruments] * count, EstimationSettings())
    estimator.reset(recording.states[0].position, recording.states[0].angles[:, 2])
    ticks = zip(recording.sensors, recording.targets, recording.phases, strict=True)
    return [estimator.update(noise.read(measured), targets, phases) for measured, targets, phases in ticks]


def column(states: Sequence[BodyState]) -> dict[str, Array]:
    """All states after the start by entry. Shape=(num_ticks, num_cases, ...)."""
    return {
        entry.name: np.array([getattr(state, entry.name) for state in states[FIRST_TICK:]])
        for entry in fields(BodyState)
    }


def rows(simulator: str, noise: str, true: Mapping[str, Array], seen: Mapping[str, Array]) -> list[list[str]]:
    """One row of the table for each case."""
    errors: dict[str, Any] = {name: seen[name] - true[name] for name in true}
    errors["angles"] = wrapped(errors["angles"])
    result = []
    for index, case in enumerate(CASES):
        rms = {name: np.sqrt((error[:, index] ** 2).mean(axis=0)) for name, error in errors.items()}
        speed = true["velocity"][:, index, 0].mean()
        bias = errors["velocity"][:, index, 0].mean()
        share = f"{100.0 * bias / speed:+.1f} %" if abs(speed) > 0.1 else "–"
        velocity, angles, support = rms["velocity"] * 1e3, rms["angles"] * 1e3, rms["support"] * 1e3
        result.append(
            [simulator, noise, case.name, f"{speed:.3f}", f"{bias * 1e3:+.1f} ({share})"]
            + [f"{velocity[axis]:.0f}" for axis in range(3)]
            + [f"{rms['height'] * 1e3:.1f}", f"{angles[:2].max():.1f}", f"{angles[2]:.1f}", f"{support.max():.1f}"]
        )
    return result


HEADER = (
    "simulator", "IMU noise", "walk", "speed m/s", "bias mm/s", "rms forward mm/s", "lateral", "vertical",
    "height mm", "roll, pitch mrad", "yaw", "ground mrad",
)  # fmt: skip


def main(simulators: Annotated[str, typer.Option(help="Names, separated by commas.")] = ",".join(SIMULATORS)) -> None:
    """Measure, and write docs/experiments/stoch2_estimation_table.md."""
    table: list[list[str]] = []
    for simulator in simulators.split(","):
        with typer.progressbar(length=NUM_TICKS, label=f"walking in {simulator}") as bar:
            recording = record(simulator, lambda: bar.update(1))
        true = column(recording.states)
        for noise, sensing in SENSING.items():
            table += rows(simulator, noise, true, column(estimates(recording, sensing)))
        fallen = [case.name for case, failed in zip(CASES, recording.failed, strict=True) if failed]
        typer.echo(f"{simulator}: fallen: {', '.join(fallen) or 'none'}")
    lines = ["| " + " | ".join(line) + " |" for line in (HEADER, ["---"] * len(HEADER), *table)]
    write_text_atomically(DOCS / "stoch2_estimation_table.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    typer.run(main)
