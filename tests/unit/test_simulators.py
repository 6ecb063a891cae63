"""The simulators agree with the equations of motion, with each other and with the clock."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from demo_control.configuration import ConfigurationError
from stoch2_sim.robots.cartpole.equations import energy
from stoch2_sim.robots.cartpole.parameters import RAIL_LIMIT_M, PlantParameters, PlantSettings
from stoch2_sim.robots.cartpole.simulation import SIMULATORS, make_simulator
from stoch2_sim.simulators.protocol import Array, Simulator

NOMINAL = PlantParameters()
CHANGED = PlantSettings(pole_mass=1.5, pole_length=1.3, cart_mass=0.8, damping=0.4, pole_damping=0.003).parameters()
# Largest difference from the equations after one second of a violent swing: (metres, radians).
TOLERANCES = {"mujoco": (1e-6, 1e-6), "pybullet": (1e-3, 4e-3), "analytic": (1e-6, 1e-6)}
HAVE_PYBULLET = importlib.util.find_spec("pybullet") is not None
needs_pybullet = pytest.mark.skipif(not HAVE_PYBULLET, reason="PyBullet is not installed")
NAMES = [pytest.param(name, marks=needs_pybullet if name == "pybullet" else ()) for name in SIMULATORS]
Maker = Callable[..., Simulator]


@pytest.fixture
def make() -> Iterator[Maker]:
    """make_simulator whose simulators are closed at the end."""
    made: list[Simulator] = []

    def build(name: str, parameters: PlantParameters = NOMINAL, **options: int) -> Simulator:
        made.append(make_simulator(name, parameters, **options))
        return made[-1]

    yield build
    for simulator in made:
        simulator.close()


def swing(simulator: Simulator, periods: int = 50) -> tuple[Array, Array]:
    """State after a second of changing forces from a hanging start."""
    count = simulator.num_robots
    simulator.reset(np.tile([0.1, 3.0], (count, 1)), np.tile([0.2, -0.3], (count, 1)))
    for period in range(periods):
        force = np.full((count, 1), 8.0 * np.sin(0.1 * period))
        simulator.advance(force, simulator.substeps)
    return simulator.positions(), simulator.velocities()


@pytest.mark.parametrize("name", NAMES)
def test_hundred_periods_are_two_seconds_of_the_engines_time(make: Maker, name: str) -> None:
    simulator = make(name, num_robots=2)
    simulator.reset(np.zeros((2, 2)), np.zeros((2, 2)))
    for _ in range(100):
        simulator.advance(np.zeros((2, 1)), simulator.substeps)
    assert simulator.times_s == pytest.approx([2.0, 2.0], abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_hundred_periods_are_two_seconds_by_motion_alone(make: Maker, name: str) -> None:
    """A cart coasting at 1 m/s is a clock that does not depend on what the engine says."""
    simulator = make(name)
    simulator.reset(np.array([[-1.0, np.pi]]), np.array([[1.0, 0.0]]))
    for _ in range(100):
        simulator.advance(np.zeros((1, 1)), simulator.substeps)
    assert simulator.positions()[0, 0] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("parameters", [NOMINAL, CHANGED], ids=["nominal", "changed"])
@pytest.mark.parametrize("name", NAMES)
def test_every_simulator_agrees_with_the_equations(make: Maker, name: str, parameters: PlantParameters) -> None:
    exact = swing(make("analytic", parameters, substeps=50))
    positions, velocities = swing(make(name, parameters))
    cart, pole = TOLERANCES[name]
    assert positions[0, 0] == pytest.approx(exact[0][0, 0], abs=cart)
    assert positions[0, 1] == pytest.approx(exact[0][0, 1], abs=pole)
    assert velocities[0, 0] == pytest.approx(exact[1][0, 0], abs=5 * cart)
    assert velocities[0, 1] == pytest.approx(exact[1][0, 1], abs=5 * pole)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("end", [-1.0, 1.0])
def test_a_cart_leaves_its_rail_without_bumping_into_anything(make: Maker, name: str, end: float) -> None:
    simulator = make(name)
    simulator.reset(np.array([[end * (RAIL_LIMIT_M - 0.02), np.pi]]), np.array([[end, 0.0]]))
    for _ in range(10):
        simulator.advance(np.zeros((1, 1)), simulator.substeps)
    assert end * simulator.positions()[0, 0] == pytest.approx(RAIL_LIMIT_M + 0.18, abs=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_energy_is_conserved_without_force_and_friction(make: Maker, name: str) -> None:
    simulator = make(name)
    simulator.reset(np.array([[0.0, 0.5]]), np.array([[0.0, 0.0]]))
    before = energy(simulator.positions(), simulator.velocities(), NOMINAL)[0]
    worst = 0.0
    for _ in range(250):
        simulator.advance(np.zeros((1, 1)), simulator.substeps)
        now = energy(simulator.positions(), simulator.velocities(), NOMINAL)[0]
        worst = max(worst, abs(now - before))
    swing_energy = 2 * 0.1 * 9.81 * 0.5
    assert worst < swing_energy * (3e-3 if name == "pybullet" else 1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_friction_takes_energy_away(make: Maker, name: str) -> None:
    parameters = PlantSettings(damping=0.5, pole_damping=0.005).parameters()
    simulator = make(name, parameters)
    simulator.reset(np.array([[0.0, 1.0]]), np.array([[0.0, 0.0]]))
    before = energy(simulator.positions(), simulator.velocities(), parameters)[0]
    for _ in range(100):
        simulator.advance(np.zeros((1, 1)), simulator.substeps)
    assert energy(simulator.positions(), simulator.velocities(), parameters)[0] < before - 0.1


@pytest.mark.parametrize("name", NAMES)
def test_an_external_force_acts_like_the_actuator_until_changed(make: Maker, name: str) -> None:
    pushed, driven = make(name), make(name)
    for simulator in (pushed, driven):
        simulator.reset(np.array([[0.0, np.pi]]), np.zeros((1, 2)))
    pushed.set_external_force("cart", np.array([[5.0, 0.0, 0.0]]))
    pushed.advance(np.zeros((1, 1)), simulator.substeps)
    driven.advance(np.full((1, 1), 5.0), simulator.substeps)
    assert pushed.velocities()[0] == pytest.approx(driven.velocities()[0], abs=1e-9)
    pushed.set_external_force("cart", np.zeros((1, 3)))
    pushed.advance(np.zeros((1, 1)), simulator.substeps)
    driven.advance(np.zeros((1, 1)), simulator.substeps)
    assert pushed.velocities()[0] == pytest.approx(driven.velocities()[0], abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_a_reset_repeats_bit_for_bit_and_forgets_forces(make: Maker, name: str) -> None:
    simulator = make(name)
    first = swing(simulator)
    simulator.set_external_force("cart", np.array([[3.0, 0.0, 0.0]]))
    again = swing(simulator)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert simulator.times_s[0] == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_instances_and_copies_do_not_touch_each_other(make: Maker, name: str) -> None:
    alone = swing(make(name))
    simulator, other = make(name, num_robots=3), make(name)
    other.reset(np.array([[1.0, 1.0]]), np.ones((1, 2)))
    positions, _ = swing(simulator)
    np.testing.assert_array_equal(positions, np.tile(alone[0], (3, 1)))
    np.testing.assert_array_equal(other.positions(), [[1.0, 1.0]])


@pytest.mark.parametrize("name", NAMES)
def test_only_active_copies_move(make: Maker, name: str) -> None:
    simulator = make(name, num_robots=2)
    simulator.reset(np.array([[0.0, 1.0], [0.0, 1.0]]), np.zeros((2, 2)))
    simulator.advance(np.ones((2, 1)), 3, np.array([True, False]))
    assert simulator.positions()[0, 1] != 1.0
    np.testing.assert_array_equal(simulator.positions()[1], [0.0, 1.0])
    assert simulator.times_s[1] == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_a_period_may_be_cut(make: Maker, name: str) -> None:
    whole, cut = make(name), make(name)
    for simulator in (whole, cut):
        simulator.reset(np.array([[0.0, 1.0]]), np.zeros((1, 2)))
    whole.advance(np.ones((1, 1)), whole.substeps)
    cut.advance(np.ones((1, 1)), 1)
    cut.advance(np.ones((1, 1)), 0)
    cut.advance(np.ones((1, 1)), cut.substeps - 1)
    np.testing.assert_allclose(cut.positions(), whole.positions(), atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_bad_use_is_refused(make: Maker, name: str) -> None:
    simulator = make(name, num_robots=2)
    with pytest.raises(ValueError, match=r"efforts have shape \(1, 1\), expected \(2, 1\)"):
        simulator.advance(np.zeros((1, 1)), 1)
    with pytest.raises(ValueError, match="positions have shape"):
        simulator.reset(np.zeros((2, 3)), np.zeros((2, 2)))
    with pytest.raises(ConfigurationError, match="'leg'"):
        simulator.set_external_force("leg", np.zeros((2, 3)))
    with pytest.raises(ConfigurationError, match="num_robots"):
        make_simulator(name, NOMINAL, num_robots=0)
    simulator.close()
    simulator.close()


def test_an_unknown_simulator_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'gazebo': must be one of mujoco, pybullet"):
        make_simulator("gazebo", NOMINAL)


def test_a_missing_pybullet_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pybullet", None)
    with pytest.raises(ConfigurationError, match=r"PyBullet is not installed.*pip install"):
        make_simulator("pybullet", NOMINAL)
