"""cartpole_driver as a process over DDS, commanded by a script."""

from __future__ import annotations

import math
import signal
import time
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from demo_msgs.msg import Action
from ros_support import Commander, Peer, StartNode

from demo_control.bringup.process import NodeProcess
from demo_control.nodes.messages import nanoseconds
from demo_control.tasks import Array

pytestmark = pytest.mark.ros

MODULE = "stoch2_sim.drivers.cartpole_driver"
PERIOD_NS = 20_000_000


def swing_up(observation: Array) -> float:
    """A linear policy that swings this plant up from nine in ten starts."""
    gains = np.array([0.456, 0.395, -0.594, 7.255, 0.852])
    return float(10.0 * np.clip(gains @ observation + 0.313, -1.0, 1.0))


@pytest.fixture
def commander(peer: Peer) -> Commander:
    return Commander(peer, "cartpole_driver")


def start_driver(start: StartNode, **parameters: Any) -> NodeProcess:  # noqa: ANN401
    return start(MODULE, parameters=parameters)


def wait_for_end(commander: Commander, process: NodeProcess) -> None:
    commander.peer.wait_until(lambda: process.exit_code is not None, "the driver's end", 60.0)


def test_a_whole_episode_in_lockstep_swings_up_and_says_so(commander: Commander, start: StartNode) -> None:
    process = start_driver(start, duration_s=20.0, real_time_factor=0.0, seed=1)
    commander.meet()
    held = [list(message.values) for message in commander.observations]
    assert all(values == held[0] for values in held)
    assert commander.truth == []
    commander.policy = swing_up
    wait_for_end(commander, process)
    assert process.exit_code == 0, process.last_lines()
    commander.wait_for("state", "finished", "the last diagnostics")
    sequences = [message.sequence for message in commander.truth]
    assert sequences == list(range(sequences[0], sequences[0] + 1001))
    stamps = [nanoseconds(message.header.stamp) for message in commander.truth]
    assert {b - a for a, b in pairwise(stamps)} == {PERIOD_NS}
    assert commander.latest("score.success") == "True", commander.diagnostics[-1]
    assert float(commander.latest("score.duration_s")) == pytest.approx(20.0)
    assert "success" in process.last_lines()[-1]
    # Every command took effect at the instant of the observation that it answers.
    scripted = [action for action in commander.applied if action.source == "script"]
    ages = [nanoseconds(a.header.stamp) - nanoseconds(a.observation_stamp) for a in scripted]
    assert len(scripted) > 990
    assert np.percentile(ages, 99) == 0


def test_lockstep_goes_on_waiting_after_an_answer_to_what_was_never_observed(
    commander: Commander, start: StartNode
) -> None:
    process = start_driver(start, duration_s=4.0, real_time_factor=0.0, seed=1)
    commander.meet()
    garbage = Action(observation_sequence=10**9, source="garbage", values=[0.0] * 7)

    answers: list[float] = []

    def disturbed(observation: Array) -> float:
        answers.append(swing_up(observation))
        if len(answers) == 20:
            commander.publisher.publish(garbage)
        return answers[-1]

    commander.policy = disturbed
    wait_for_end(commander, process)
    assert process.exit_code == 0, process.last_lines()
    commander.wait_for("state", "finished", "the last diagnostics")
    assert commander.latest("rejected_wrong_dimension") == "1"
    scripted = [action for action in commander.applied if action.source == "script"]
    ages = [nanoseconds(a.header.stamp) - nanoseconds(a.observation_stamp) for a in scripted]
    assert len(scripted) > 190
    assert np.percentile(ages, 99) == 0


def test_real_time_keeps_the_beat_and_describes_the_robot(commander: Commander, start: StartNode) -> None:
    start_driver(start, pole_length=1.5)
    commander.meet()
    commander.policy = lambda observation: -observation[1]
    began_s = time.monotonic()
    first = commander.observations[-1]
    commander.peer.wait_until(lambda: commander.observations[-1].sequence >= first.sequence + 100, "100 observations")
    elapsed_s = time.monotonic() - began_s
    assert elapsed_s == pytest.approx(2.0, abs=0.4)
    for earlier, later in pairwise(commander.observations):
        ticks = later.sequence - earlier.sequence
        assert ticks >= 1
        step_ns = nanoseconds(later.header.stamp) - nanoseconds(earlier.header.stamp)
        assert step_ns == ticks * PERIOD_NS
    assert abs(nanoseconds(commander.observations[-1].header.stamp) - time.time_ns()) < 2e9
    assert commander.clock == []
    assert list(commander.joints[-1].name) == ["cart", "pole"]
    commander.peer.wait_until(lambda: commander.descriptions, "robot_description")
    robot = ElementTree.fromstring(commander.descriptions[0])
    rod = robot.find("./link[@name='pole']/visual/geometry/cylinder")
    assert rod is not None
    assert float(rod.attrib["length"]) == 1.5


def test_bad_commands_are_counted_and_never_applied(commander: Commander, start: StartNode) -> None:
    start_driver(start, command_timeout_s=1.0)
    commander.meet()
    commander.policy = lambda _observation: 0.5
    commander.wait_for("state", "running", "the run has started")

    def answer_badly(observation: Array) -> float:
        newest = commander.observations[-1]
        commander.send(newest, [math.nan])
        commander.send(newest, [math.inf])
        commander.send(newest, [7.0, 7.0])
        commander.send(newest, [7.0], observation_sequence=newest.sequence + 1000)
        commander.send(commander.observations[-3], [7.0])
        commander.policy = lambda _observation: 0.5
        return 0.5

    commander.policy = answer_badly
    commander.wait_for("rejected_non_finite", "2", "two that are not finite")
    assert commander.latest("rejected_wrong_dimension") == "1"
    assert commander.latest("rejected_unknown_observation") == "1"
    assert commander.latest("rejected_replayed") == "1"
    newest = commander.observations[-1]
    commander.send(newest, [7.0])
    commander.peer.wait_until(lambda: commander.latest("rejected_second_publisher") == "1", "a second publisher")
    assert commander.latest("state") == "running"
    assert {action.values[0] for action in commander.applied} <= {0.0, 0.5}


def test_silence_stops_the_cart_and_commands_start_it_again(commander: Commander, start: StartNode) -> None:
    start_driver(start)
    commander.meet()
    commander.policy = lambda observation: 10.0 * np.sign(0.4 - observation[0])
    commander.wait_for("state", "running", "the run has started")
    commander.peer.wait_until(lambda: abs(commander.observations[-1].values[1]) > 0.3, "the cart moves")
    commander.policy = None
    commander.wait_for("state", "stopped", "the safe stop")
    commander.peer.wait_until(lambda: abs(commander.observations[-1].values[1]) < 0.1, "the cart rests")
    stops = [action for action in commander.applied if action.source == "driver:command_timeout"]
    last = [action for action in commander.applied if action.source == "script"][-1]
    # The last command may have been held for a few periods; the brake came a timeout after it had taken effect.
    taken = next(a for a in commander.applied if a.observation_sequence == last.observation_sequence)
    assert nanoseconds(stops[0].header.stamp) - nanoseconds(taken.header.stamp) == pytest.approx(100e6, abs=1e3)
    commander.policy = lambda observation: -observation[1]
    commander.wait_for("state", "running", "the recovery")
    assert commander.latest("stops") == "1"


def test_faster_than_real_time_with_a_clock(commander: Commander, start: StartNode) -> None:
    process = start_driver(start, duration_s=10.0, real_time_factor=10.0, simulator="analytic")
    commander.meet()
    commander.policy = lambda observation: -observation[1]
    began_s = time.monotonic()
    wait_for_end(commander, process)
    assert time.monotonic() - began_s < 5.0
    assert process.exit_code == 0, process.last_lines()
    assert commander.clock == sorted(commander.clock)
    assert commander.clock[0] >= 1_000_000_000
    assert len(commander.truth) == 501
    last_ns = nanoseconds(commander.truth[-1].header.stamp)
    commander.peer.wait_until(lambda: commander.clock[-1] == last_ns, "the clock at the end of the run")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_cleanly_and_soon(commander: Commander, start: StartNode, number: signal.Signals) -> None:
    process = start_driver(start)
    commander.meet()
    commander.policy = lambda _observation: 0.0
    commander.wait_for("state", "running", "the run has started")
    began_s = time.monotonic()
    process.send(number)
    wait_for_end(commander, process)
    assert time.monotonic() - began_s < 2.0
    assert process.exit_code == 0, process.last_lines()
    assert not any("Traceback" in line for line in process.last_lines())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"simulator": "gazebo"}, "simulator = 'gazebo': must be one of mujoco, pybullet, analytic"),
        ({"duration_s": "long"}, "duration_s = 'long': expected float, got str"),
        ({"wire_loss": 2.0}, "wire_loss = 2.0: must be between 0 and 1"),
        ({"pole_lenght": 1.2}, "unknown parameter 'pole_lenght'"),
    ],
)
def test_bad_parameters_end_it_with_a_clear_line(start: StartNode, parameters: dict[str, Any], message: str) -> None:
    process = start_driver(start, **parameters)
    assert process.wait(20.0)
    assert process.exit_code == 2
    assert any(message in line for line in process.last_lines()), process.last_lines()
