"""How many control ticks of Stoch2 a second of one core is worth: physics alone, and with all of the control code.

    .venv/bin/python benchmarks/stoch2_speed.py [--simulator pybullet]

A tick is 5 ms of simulated time. "with control" adds estimation with leg odometry, observation, a linear policy, gait
and inverse kinematics, noise and latency: all that a training or evaluation run does for each tick.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import numpy as np
import typer

from stoch2_sim.robots.stoch2.gait import NUM_ACTIONS, TROT, joint_targets
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.plants import make_plants
from stoch2_sim.robots.stoch2.simulation import make_simulation

SENSING = {"ideal_sensing": False, "imu_noise_rad": 0.01, "gyroscope_noise_rad_s": 0.02, "latency_ms": 20.0}


def physics(simulator: str, num_robots: int) -> Callable[[int], None]:
    """Robots that walk with a constant action; the joint targets of a cycle are made beforehand."""
    simulation = make_simulation(simulator, [RobotParameters()] * num_robots)
    simulation.reset(np.zeros(num_robots))
    ticks = range(TROT.cycle_ticks)
    targets = [
        joint_targets(np.zeros((num_robots, NUM_ACTIONS)), np.full(num_robots, tick * TROT.phase_step))
        for tick in ticks
    ]
    forces = np.zeros((num_robots, 3))
    return lambda tick: simulation.advance(targets[tick % TROT.cycle_ticks], forces)


def with_control(simulator: str, num_robots: int) -> Callable[[int], None]:
    """Robots that walk with a linear policy of small weights, through the plants of training and evaluation."""
    plants = make_plants(simulator, num_robots, SENSING)
    generators = [np.random.default_rng(seed) for seed in range(num_robots)]
    observations = plants.reset(generators)
    weights = np.random.default_rng(0).normal(0.0, 0.02, (observations.shape[1], NUM_ACTIONS))

    def step(_tick: int) -> None:
        nonlocal observations
        observations, _failed = plants.step(observations @ weights)

    return step


def ticks_per_second(step: Callable[[int], None], num_robots: int, seconds: float) -> float:
    """Ticks of all robots per second of processor time."""
    start, tick = time.process_time(), 0
    while (spent := time.process_time() - start) < seconds:
        step(tick)
        tick += 1
    return tick * num_robots / spent


def main(
    simulator: Annotated[str, typer.Option(help="mujoco or pybullet.")] = "mujoco",
    seconds: Annotated[float, typer.Option(help="Processor time for each figure.")] = 3.0,
) -> None:
    """Print a table of control ticks per second and core."""
    print(f"{simulator}: control ticks of 5 ms per second of one core")
    print(f"{'robots':>8}{'physics':>12}{'with control':>15}")
    for num_robots in (1, 8, 32):
        rates = [ticks_per_second(make(simulator, num_robots), num_robots, seconds) for make in (physics, with_control)]
        print(f"{num_robots:>8}{rates[0]:>12.0f}{rates[1]:>15.0f}")


if __name__ == "__main__":
    typer.run(main)
