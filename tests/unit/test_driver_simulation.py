"""Wire, sensor, pacing, and the simulated cart-pole behind the driver core."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo_control.configuration import ConfigurationError, Scalar
from demo_control.drivers.core import Command, DriverState, Output
from demo_control.drivers.imperfections import NoisySensor, Wire
from demo_control.drivers.pacing import Pacer
from stoch2_sim.cartpole import task
from stoch2_sim.drivers.cartpole_settings import CartpoleDriverSettings
from stoch2_sim.drivers.simulated_cartpole import PERIOD_NS, SimulatedCartpole, brake
from stoch2_sim.robots.cartpole.parameters import PlantSettings
from stoch2_sim.robots.cartpole.plants import make_plants
from stoch2_sim.robots.cartpole.simulation import SIMULATORS

MS = 1_000_000


def wire(seed: int = 0, **changes: float) -> Wire[int]:
    """A wire with some imperfections."""
    options = {"delay_s": 0.0, "jitter_s": 0.0, "loss": 0.0, "duplication": 0.0, **changes}
    return Wire(np.random.default_rng(seed), **options)


def test_a_perfect_wire_is_instant_and_keeps_order() -> None:
    line = wire()
    for item in range(5):
        line.send(item, 7)
    assert line.receive(7) == []
    assert line.receive(8) == [(7, item) for item in range(5)]
    assert line.receive(10**12) == []


def test_a_late_wire_delivers_at_the_stated_time() -> None:
    line = wire(delay_s=0.03)
    line.send(1, 5 * MS)
    assert line.receive(35 * MS) == []
    assert line.receive(35 * MS + 1) == [(35 * MS, 1)]


def test_jitter_loss_and_duplication_have_the_stated_rates() -> None:
    line = wire(jitter_s=0.01, loss=0.2, duplication=0.1)
    for item in range(5000):
        line.send(item, 0)
    arrived = line.receive(10**15)
    assert line.lost == pytest.approx(1000, rel=0.1)
    assert line.duplicated == pytest.approx(400, rel=0.15)
    assert len(arrived) == 5000 - line.lost + line.duplicated
    assert np.mean([time for time, _ in arrived]) == pytest.approx(10 * MS, rel=0.1)
    assert [time for time, _ in arrived] == sorted(time for time, _ in arrived)


def test_a_wire_repeats_by_seed_and_loses_the_same_items_at_any_delay() -> None:
    def lost_items(**changes: float) -> set[int]:
        line = wire(seed=3, loss=0.3, **changes)
        for item in range(200):
            line.send(item, item)
        return set(range(200)) - {item for _, item in line.receive(10**15)}

    assert lost_items() == lost_items() == lost_items(delay_s=0.5, jitter_s=0.1)


def test_the_sensor_adds_the_stated_noise() -> None:
    sensor = NoisySensor(np.random.default_rng(0), 0.5)
    readings = np.array([sensor.read(np.arange(5.0)) for _ in range(4000)])
    assert readings.mean(axis=0) == pytest.approx(np.arange(5.0), abs=0.05)
    assert readings.std(axis=0) == pytest.approx([0.5] * 5, rel=0.05)


def test_a_pacer_neither_drifts_nor_bursts() -> None:
    pacer = Pacer(1000, 20 * MS, 1.0)
    assert pacer.advance(1000 + 20 * MS - 1) == 0
    assert pacer.advance(1000 + 20 * MS) == 1
    assert pacer.advance(1000 + 20 * MS) == 0
    assert pacer.advance(1000 + 90 * MS) == 3
    assert pacer.due_ns(5) == 1000 + 100 * MS


@given(st.floats(0.01, 1000.0), st.lists(st.integers(0, 10**9), max_size=30))
def test_a_pacer_counts_every_period_exactly_once(factor: float, steps: list[int]) -> None:
    pacer, now, total = Pacer(0, 20 * MS, factor), 0, 0
    for step in steps:
        now += step
        total += pacer.advance(now)
        assert pacer.tick == total
        assert pacer.due_ns(pacer.tick) <= now + 1
        assert pacer.due_ns(pacer.tick + 1) > now
        assert pacer.advance(pacer.due_ns(pacer.tick)) == 0


Maker = Callable[..., SimulatedCartpole]


@pytest.fixture
def make() -> Iterator[Maker]:
    """Simulated cart-poles that are closed at the end."""
    made: list[SimulatedCartpole] = []

    def build(plant: PlantSettings | None = None, **changes: Scalar) -> SimulatedCartpole:
        settings = CartpoleDriverSettings.from_mapping({"simulator": "analytic", **changes})
        made.append(SimulatedCartpole(task(), settings, plant or PlantSettings()))
        return made[-1]

    yield build
    for robot in made:
        robot.close()


def command(robot: SimulatedCartpole, tick: int, force: float, late_ns: int = 0) -> None:
    """Send a command for the observation of a tick."""
    robot.core.observed(tick, tick * PERIOD_NS, tick)
    robot.wire.send(Command(tick, tick, tick, "test", np.array([force])), tick * PERIOD_NS + late_ns)


def test_the_plant_is_held_until_the_first_valid_command(make: Maker) -> None:
    robot = make()
    start = robot.true_observation()
    for tick in range(5):
        report = robot.run_period(tick * PERIOD_NS)
        assert report.outputs == ()
    robot.wire.send(Command(99, 0, 0, "test", np.ones(1)), 5 * PERIOD_NS)
    robot.run_period(5 * PERIOD_NS)
    np.testing.assert_array_equal(robot.true_observation(), start)
    assert robot.time_s == 0.0
    command(robot, 6, 5.0)
    report = robot.run_period(6 * PERIOD_NS)
    assert report.released
    assert [output.source for output in report.outputs] == ["test"]
    assert robot.time_s == pytest.approx(0.02)
    assert not np.array_equal(robot.true_observation(), start)
    assert not robot.run_period(7 * PERIOD_NS).released


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_commands_in_time_give_the_same_motion_as_the_plants_of_training(make: Maker, simulator: str) -> None:
    if simulator == "pybullet":
        pytest.importorskip("pybullet")
    robot = make(PlantSettings(initial_noise=0.0), simulator=simulator)
    plants = make_plants(simulator, 1, {"initial_noise": 0.0})
    plants.reset([np.random.default_rng(0)])
    for tick in range(60):
        force = float(8 * np.sin(0.2 * tick))
        command(robot, tick, force)
        robot.run_period(tick * PERIOD_NS)
        plants.step(np.array([[force]]))
    np.testing.assert_allclose(robot.true_observation(), plants.true_observations()[0], atol=1e-5)
    plants.close()


@pytest.mark.parametrize("late_ms", [0, 5, 13, 19])
def test_a_command_takes_effect_when_it_arrives(make: Maker, late_ms: int) -> None:
    """A push of 10 N for what is left of the period gives this impulse to a cart whose pole hangs still."""
    robot = make(PlantSettings(initial_noise=0.0, pole_mass=0.05))
    command(robot, 0, 10.0, late_ms * MS)
    robot.run_period(0)
    expected = 10.0 * (20 - late_ms) / 1000 / 1.0
    assert robot.true_observation()[1] == pytest.approx(expected, rel=0.01)


def test_a_period_is_settled_by_a_command_that_will_be_carried_out(make: Maker) -> None:
    robot = make()

    def deliver(tick: int, force: float, source: str, number: int) -> None:
        robot.deliver(Command(tick, tick, tick, source, np.array([force]), number), tick * PERIOD_NS)

    for tick in range(3):
        robot.core.observed(tick, tick * PERIOD_NS, tick)
        assert not robot.is_settled(tick)
        # From the second tick on, a rival answers first.
        for number in range(tick):
            deliver(tick, -5.0, "rival", 1000 + number)
            assert not robot.is_settled(tick)
        deliver(tick, 1.0 + tick, "test", tick)
        assert robot.is_settled(tick)
        report = robot.run_period(tick * PERIOD_NS)
        assert report.outputs[-1].values == [1.0 + tick]


def test_a_command_that_came_before_a_period_was_run_and_was_read_after_it_counts_for_the_next(make: Maker) -> None:
    robot = make()
    command(robot, 0, 1.0)
    robot.run_period(0)
    assert robot.run_period(PERIOD_NS).outputs[-1].values == [1.0]
    robot.core.observed(1, PERIOD_NS, 1)
    came_ns = robot.counts_from_ns(PERIOD_NS + 3 * MS, PERIOD_NS + 18 * MS)
    assert came_ns == PERIOD_NS + 3 * MS
    robot.deliver(Command(1, 1, 1, "test", np.array([2.0])), came_ns)
    output = robot.run_period(2 * PERIOD_NS).outputs[0]
    assert (output.values, output.time_ns) == ([2.0], 2 * PERIOD_NS)


def test_a_period_in_which_the_command_expires_is_not_settled(make: Maker) -> None:
    robot = make(command_timeout_s=0.05)
    robot.core.observed(0, 0, 0)
    robot.deliver(Command(0, 0, 0, "test", np.array([1.0])), 0)
    robot.run_period(0)
    # On a wire with a delay, an answer may be on its way longer than the one in force lasts.
    robot.core.observed(2, 2 * PERIOD_NS, 2)
    robot.deliver(Command(2, 2, 2, "test", np.array([1.0])), 2 * PERIOD_NS)
    assert robot.core.expires_ns == 50 * MS
    assert not robot.is_settled(2)


def test_the_wire_delay_and_whole_ticks_of_delay_add_up(make: Maker) -> None:
    robot = make(PlantSettings(delay_ticks=2), wire_delay_s=0.005)
    command(robot, 0, 1.0)
    reports = [robot.run_period(tick * PERIOD_NS) for tick in range(3)]
    assert [report.outputs for report in reports[:2]] == [(), ()]
    assert reports[2].outputs[0].time_ns == 45 * MS


def test_a_missing_command_brakes_at_the_timeout_and_a_new_one_recovers(make: Maker) -> None:
    robot = make()
    for tick in range(10):
        command(robot, tick, 10.0)
        robot.run_period(tick * PERIOD_NS)
        robot.sense()
    speed = robot.true_observation()[1]
    outputs: list[Output] = []
    for tick in range(10, 40):
        outputs += robot.run_period(tick * PERIOD_NS).outputs
        robot.sense()
    stops = [output for output in outputs if output.source == "driver:command_timeout"]
    assert stops[0].time_ns == 9 * PERIOD_NS + 100 * MS
    assert stops[0].values[0] < -5.0
    assert robot.core.state is DriverState.STOPPED
    assert abs(robot.true_observation()[1]) < 0.1 * speed
    command(robot, 40, 1.0)
    robot.run_period(40 * PERIOD_NS)
    assert robot.core.state is DriverState.RUNNING


def test_a_held_command_is_reported_in_every_period(make: Maker) -> None:
    robot = make()
    command(robot, 0, 3.0)
    reports = [robot.run_period(tick * PERIOD_NS) for tick in range(3)]
    assert [report.outputs[0].values[0] for report in reports] == [3.0, 3.0, 3.0]
    assert [report.outputs[0].time_ns for report in reports] == [0, PERIOD_NS, 2 * PERIOD_NS]


def test_leaving_the_rail_is_a_fault_and_time_goes_on(make: Maker) -> None:
    robot = make()
    for tick in range(150):
        command(robot, tick, 10.0)
        robot.run_period(tick * PERIOD_NS)
    assert robot.core.state is DriverState.FAULT
    assert robot.core.reason == "rail_left"
    assert 2.4 < robot.true_observation()[0] < 2.6
    assert robot.core.output.values == [0.0]
    assert robot.time_s == pytest.approx(3.0)


def test_a_run_repeats_by_seed(make: Maker) -> None:
    def run(seed: int) -> np.ndarray:
        robot = make(PlantSettings(observation_noise=0.01, push_n=5.0), seed=seed, wire_loss=0.2, wire_jitter_s=0.003)
        readings = []
        for tick in range(300):
            command(robot, tick, float(np.sin(tick)))
            robot.run_period(tick * PERIOD_NS)
            readings.append(robot.sense())
        return np.array(readings)

    np.testing.assert_array_equal(run(4), run(4))
    assert not np.allclose(run(4), run(5))


def test_the_brake_opposes_the_velocity_and_then_lets_go() -> None:
    assert brake(np.array([0.0, 1.0, 0.0, 0.0, 0.0]))[0] < 0.0 < brake(np.array([0.0, -1.0, 0.0, 0.0, 0.0]))[0]
    assert brake(np.array([0.0, 0.01, 0.0, 0.0, 0.0]))[0] == 0.0


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="simulator"):
        CartpoleDriverSettings(simulator="gazebo")
    with pytest.raises(ConfigurationError, match="wire_loss"):
        CartpoleDriverSettings(wire_loss=1.5)
