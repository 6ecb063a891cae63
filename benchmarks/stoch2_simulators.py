"""Does Stoch2 walk alike in MuJoCo and in PyBullet, and what do PyBullet's settings do?

    .venv/bin/python benchmarks/stoch2_simulators.py walks      # every ground in both simulators
    .venv/bin/python benchmarks/stoch2_simulators.py pushes     # who stays on the feet
    .venv/bin/python benchmarks/stoch2_simulators.py settings   # steps, rotors and solver in PyBullet

Prints Markdown tables and writes them to docs/experiments/.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import typer

from demo_control.files import write_text_atomically
from stoch2_sim.robots.stoch2.episode import Episode, Push
from stoch2_sim.robots.stoch2.gait import NUM_ACTIONS, TROT, joint_targets
from stoch2_sim.robots.stoch2.geometry import CONTROL_PERIOD_S
from stoch2_sim.robots.stoch2.initial_policy import initial_weights
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.plants import Stoch2Plants
from stoch2_sim.robots.stoch2.pybullet_simulation import PybulletSimulation
from stoch2_sim.robots.stoch2.pybullet_world import BulletPhysics
from stoch2_sim.robots.stoch2.simulation import SIMULATORS, QuadrupedSimulation, make_simulation
from stoch2_sim.simulators.protocol import Array

DOCS = Path(__file__).resolve().parents[1] / "docs" / "experiments"
TICKS = (400, 500, 1000)
SLOPES_DEG = (5.0, 7.0, 9.0, 11.0)
ORIENTATIONS_DEG = (0.0, 30.0, 60.0, 90.0)
SLOPE_FRICTION = 0.42
"""What feet and slopes of the public environment have in effect."""

PUSHES_N = (80.0, 120.0, 140.0, 160.0, 180.0)
PUSH_TICKS = 6
PUSH_PHASES = 8

PHYSICS: dict[str, BulletPhysics] = {
    "as shipped": BulletPhysics(),
    "100 steps": BulletPhysics(substeps=100),
    "50 steps": BulletPhysics(substeps=50),
    "15 steps": BulletPhysics(substeps=15),
    "10 steps": BulletPhysics(substeps=10),
    "no rotors": BulletPhysics(rotor_inertia_kgm2=0.0),
    "no rotors, 100 steps": BulletPhysics(rotor_inertia_kgm2=0.0, substeps=100),
    "rotors twice as heavy": BulletPhysics(rotor_inertia_kgm2=0.002),
    "feet twice as stiff": BulletPhysics(foot_stiffness_n_m=6e4, foot_damping_n_s_m=500.0),
    "feet half as stiff": BulletPhysics(foot_stiffness_n_m=1.5e4, foot_damping_n_s_m=125.0),
    "300 iterations": BulletPhysics(solver_iterations=300),
    "5 iterations": BulletPhysics(solver_iterations=5),
}

app = typer.Typer(help=__doc__, no_args_is_help=True)


@dataclass(frozen=True)
class Walked:
    """How several robots walked. Way is along the first heading, drift to its left, metres.

    Attributes:
        way_m: After each of :data:`TICKS`. Shape=(len(TICKS), num_robots).
        drift_m: At the end. Shape=(num_robots,).
        yaw_deg: Heading at the end. Shape=(num_robots,).
        fallen: Shape=(num_robots,).
        ticks_per_s: Control ticks for each second of processor time, of all robots together.
    """

    way_m: Array
    drift_m: Array
    yaw_deg: Array
    fallen: Array
    ticks_per_s: float


def grounds() -> dict[str, RobotParameters]:
    """Flat ground, and every slope in every direction."""
    cells = {"flat": RobotParameters()}
    for slope in SLOPES_DEG:
        for orientation in ORIENTATIONS_DEG:
            cells[f"{slope:g}°, rising at {orientation:g}°"] = RobotParameters(
                terrain="slope", slope_deg=slope, orientation_deg=orientation, friction=SLOPE_FRICTION
            )
    return cells


def walk(simulator: str, robots: Sequence[RobotParameters], weights: Array) -> Walked:
    """Walk with a linear policy; weights of zero are a constant action.

    Args:
        simulator: One of SIMULATORS.
        robots: All walk at once.
        weights: Shape=(20, 25).
    """
    with closing(Stoch2Plants(simulator, [Episode(robot) for robot in robots])) as plants:
        observations = plants.reset([np.random.default_rng(index) for index in range(len(robots))])
        start = plants.truth.position
        ways, fallen, began = [], plants.failed, time.process_time()
        for tick in range(1, max(TICKS) + 1):
            observations, fallen = plants.step(np.clip(observations @ weights.T, -1.0, 1.0))
            if tick in TICKS:
                ways.append((plants.truth.position - start)[:, 0])
        speed = max(TICKS) * len(robots) / (time.process_time() - began)
        drift, yaw = (plants.truth.position - start)[:, 1], np.degrees(plants.state.angles[:, 2])
    return Walked(np.array(ways), drift, yaw, fallen, speed)


def walks_table(title: str, weights: Array) -> str:
    """Both simulators on all grounds, as a table."""
    cells = grounds()
    walked = {name: walk(name, list(cells.values()), weights) for name in SIMULATORS}
    first, second = (walked[name] for name in SIMULATORS)
    steps = " / ".join(map(str, TICKS))
    lines = [
        f"**{title}**: way after {steps} control ticks, m (drift to the left, m; heading, degrees)",
        "",
        "| ground | MuJoCo | PyBullet | PyBullet / MuJoCo after 1000 |",
        "| --- | --- | --- | --- |",
    ]
    for index, ground in enumerate(cells):
        texts = [_way(one, index) for one in (first, second)]
        ratio = second.way_m[-1, index] / first.way_m[-1, index]
        lines.append(f"| {ground} | {texts[0]} | {texts[1]} | {ratio:.3f} |")
    speeds = ", ".join(f"{name} {one.ticks_per_s:.0f}" for name, one in walked.items())
    return "\n".join([*lines, "", f"Control ticks per second of one core, estimation and gait included: {speeds}."])


def _way(walked: Walked, index: int) -> str:
    """One robot's walk in a cell of a table."""
    ways = " / ".join(f"{way:.2f}" for way in walked.way_m[:, index])
    fell = ", fell" if walked.fallen[index] else ""
    return f"{ways} ({walked.drift_m[index]:+.2f}; {walked.yaw_deg[index]:+.0f}{fell})"


def settings_row(simulation: QuadrupedSimulation) -> tuple[float, float, float, float, float]:
    """The constant action for 500 ticks: way, heading, torque of the knees, error of their rates, ticks per second.

    The error is the measured rates' against the differences of the measured positions.
    """
    simulation.reset(np.zeros(1))
    start, still, action = simulation.truth().position[0], np.zeros((1, 3)), np.zeros((1, NUM_ACTIONS))
    joints, rates, torques = [], [], []
    began = time.process_time()
    for tick in range(500):
        simulation.advance(joint_targets(action, np.array([tick * TROT.phase_step])), still)
        sensors = simulation.sensors()
        joints.append(sensors.joint_positions[0])
        rates.append(sensors.joint_velocities[0])
        torques.append(simulation.truth().joint_torques[0])
    speed = 500 / (time.process_time() - began)
    truth = simulation.truth()
    w, x, y, z = truth.orientation[0]
    yaw = float(np.degrees(np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))))
    differences = np.diff(joints, axis=0) / CONTROL_PERIOD_S
    noise = differences - 0.5 * (np.array(rates)[1:] + np.array(rates)[:-1])
    return (
        float(truth.position[0, 0] - start[0]),
        yaw,
        float(np.sqrt(np.mean(np.square(torques)[..., 2]))),
        float(np.sqrt(np.mean(np.square(noise)[..., 2]))),
        speed,
    )


@app.command()
def walks() -> None:
    """Every ground in both simulators, with a constant action and with the guided initial policy."""
    tables = [
        walks_table("Constant action (all zeros)", np.zeros((NUM_ACTIONS, 25))),
        walks_table("Guided initial policy", initial_weights("mujoco")),
    ]
    _publish("stoch2_simulators_walks.md", "\n\n".join(tables))


def pushed(simulator: str, robot: RobotParameters, weights: Array) -> dict[float, tuple[int, float]]:
    """How many of the robots pushed from the left and right stay on their feet, and how far they roll, rad.

    Each force hits at :data:`PUSH_PHASES` phases of the gait; the walk goes on for 1.5 s. The roll is the mean, over
    the robots that stay up, of each one's largest.
    """
    starts = [240 + TROT.cycle_ticks * phase // PUSH_PHASES for phase in range(PUSH_PHASES)]
    cases = [(force, sign, start) for force in PUSHES_N for sign in (-1.0, 1.0) for start in starts]
    episodes = [
        Episode(robot, pushes=(Push(start, PUSH_TICKS, (0.0, sign * force, 0.0)),)) for force, sign, start in cases
    ]
    with closing(Stoch2Plants(simulator, episodes)) as plants:
        observations = plants.reset([np.random.default_rng(index) for index in range(len(cases))])
        leaned, fallen = np.zeros(len(cases)), plants.failed
        for _ in range(max(starts) + 300):
            observations, fallen = plants.step(np.clip(observations @ weights.T, -1.0, 1.0))
            leaned = np.maximum(leaned, np.abs(plants.state.angles[:, 0]))
    results = {}
    for force in PUSHES_N:
        up = ~fallen & np.array([case[0] == force for case in cases])
        results[force] = (int(up.sum()), float(leaned[up].mean()) if up.any() else float("nan"))
    return results


@app.command()
def pushes() -> None:
    """Lateral pushes of 0.03 s at the trunk, both signs, eight phases of the gait, guided initial policy."""
    weights = initial_weights("mujoco")
    count = 2 * PUSH_PHASES
    lines = [
        f"| ground | push, N | MuJoCo: still up of {count} (largest roll, rad) | PyBullet: the same |",
        "| --- | --- | --- | --- |",
    ]
    uphill = RobotParameters(terrain="slope", slope_deg=9.0, friction=0.6)
    for ground, robot in (("flat", RobotParameters()), ("9° uphill, friction 0.6", uphill)):
        results = [pushed(simulator, robot, weights) for simulator in SIMULATORS]
        for force in PUSHES_N:
            cells = [result[force] for result in results]
            texts = [f"{up} ({roll:.2f})" if up else "0" for up, roll in cells]
            lines.append(f"| {ground} | {force:g} | {texts[0]} | {texts[1]} |")
    _publish("stoch2_simulators_pushes.md", "\n".join(lines))


@app.command()
def settings() -> None:
    """What PyBullet's settings do to the walk."""
    lines = [
        "| PyBullet | flat: way after 500 ticks, m | heading, degrees | torque of the knees, N m rms | "
        "error of their rates, rad/s rms | 9° uphill: way, m | heading | half the mass: way, m | ticks/s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    robots = (
        RobotParameters(),
        RobotParameters(terrain="slope", slope_deg=9.0, friction=SLOPE_FRICTION),
        RobotParameters(mass_scale=0.5),
    )
    for name, physics in PHYSICS.items():
        rows = []
        for robot in robots:
            with closing(PybulletSimulation([robot], physics)) as simulation:
                rows.append(settings_row(simulation))
        lines.append(_settings_line(name, rows))
    rows = []
    for robot in robots:
        with closing(make_simulation("mujoco", [robot])) as simulation:
            rows.append(settings_row(simulation))
    lines.append(_settings_line("(MuJoCo)", rows))
    _publish("stoch2_simulators_settings.md", "\n".join(lines))


def _settings_line(name: str, rows: Sequence[tuple[float, float, float, float, float]]) -> str:
    """A row of the settings' table."""
    flat, slope, light = rows
    return (
        f"| {name} | {flat[0]:.3f} | {flat[1]:+.1f} | {flat[2]:.2f} | {flat[3]:.2f} | {slope[0]:.3f} | "
        f"{slope[1]:+.1f} | {light[0]:.3f} | {flat[4]:.0f} |"
    )


def _publish(name: str, text: str) -> None:
    """Print a table and keep it."""
    typer.echo(text)
    write_text_atomically(DOCS / name, text + "\n")


if __name__ == "__main__":
    app()
