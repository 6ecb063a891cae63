"""The loop of control messages: they come first, nothing else is forgotten, and nothing grows."""

from __future__ import annotations

import ctypes
import gc
import math
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from demo_msgs.msg import Action, Observation
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from demo_control.nodes import control_loop
from demo_control.nodes.control_loop import ControlLoop
from demo_control.nodes.control_topic_settings import ControlTopicSettings
from demo_control.nodes.control_topics import ControlInput, ControlPath
from demo_control.nodes.demo_layer_node import DemoLayerNode
from demo_control.nodes.direct import TOPICS, unguarded
from demo_control.nodes.policy_node import PolicyNode

pytestmark = pytest.mark.ros

PERIOD_S = 0.02
STATE = [0.1, 2.0, -1.0, 0.0, 0.3]


class Pair:
    """A publisher, and a node with a control input that a loop runs."""

    def __init__(self, context: Context, settings: ControlTopicSettings | None = None) -> None:
        self.sender = Node("sender", context=context)
        self.node = Node("receiver", context=context)
        self.heard: list[int] = []
        path = ControlPath(self.node, PERIOD_S, settings or ControlTopicSettings())
        self.input: ControlInput = path.input(Action, "action", lambda m: self.heard.append(m.observation_sequence), 20)
        self.publisher = ControlPath(self.sender, PERIOD_S, ControlTopicSettings()).publisher(Action, "action")
        self.loop = ControlLoop(self.node, context=context)
        deadline = time.monotonic() + 30.0
        while not (self.publisher.get_subscription_count() and self.input._subscription.get_publisher_count()):
            assert time.monotonic() < deadline, "not matched"
            self.loop.spin_once(0.01)

    def send(self, sequence: int) -> None:
        self.publisher.publish(Action(observation_sequence=sequence))

    def spin_until(self, condition: object, timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():  # type: ignore[operator]
            assert time.monotonic() < deadline, "not in time"
            self.loop.spin_once(0.01)

    def close(self) -> None:
        self.loop.close()
        self.sender.destroy_node()
        self.node.destroy_node()


@pytest.fixture
def pair(context: Context) -> Iterator[Pair]:
    pair = Pair(context)
    yield pair
    pair.close()


def test_each_message_is_handled_once_and_in_order(pair: Pair) -> None:
    for number in range(1, 101):
        pair.send(number)
        pair.spin_until(lambda n=number: pair.heard and pair.heard[-1] == n)

    assert pair.heard == list(range(1, 101))


def test_the_rest_waits_until_the_last_message_of_a_period_is_answered(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layer has a nominal action to answer after each observation: nothing may come between."""
    monkeypatch.setattr(control_loop, "_LONGEST_PERIOD_S", math.inf)
    monkeypatch.setattr(control_loop, "_QUIET_S", math.inf)
    told: list[str] = []
    path, other = (ControlPath(each, PERIOD_S, ControlTopicSettings()) for each in (pair.node, pair.sender))
    inputs = [path.input(Action, topic, lambda _, topic=topic: told.append(topic)) for topic in ("first", "last")]
    publishers = [other.publisher(Action, topic) for topic in ("first", "last")]
    pair.loop._gather()
    monkeypatch.setattr(pair.loop, "_housekeeping", lambda _: told.append("rest"))
    pair.spin_until(lambda: all(each._subscription.get_publisher_count() for each in inputs))
    for publisher, topic in zip(publishers, ("first", "last"), strict=True):
        publisher.publish(Action())
        pair.spin_until(lambda topic=topic: topic in told)
    assert told == ["first", "last", "rest"]


def test_the_executor_leaves_control_messages_to_the_loop(pair: Pair) -> None:
    pair.send(1)
    pair.loop._housekeeping(0.05)
    assert pair.heard == []
    pair.spin_until(lambda: pair.heard == [1])


@pytest.mark.parametrize("wait_s", [0.02, 0.0005])
def test_a_driver_without_control_inputs_is_asked_for_services_in_its_waits(context: Context, wait_s: float) -> None:
    """Also where they are short, because it spends most of its period with its devices."""
    node, client_node = Node("driver", context=context), Node("client", context=context)
    node.create_service(Trigger, "answer", lambda _request, response: response)
    client = client_node.create_client(Trigger, "answer")
    loop, other = ControlLoop(node, context=context, is_paced=True), ControlLoop(client_node, context=context)
    try:
        deadline = time.monotonic() + 30.0
        while not client.service_is_ready():
            assert time.monotonic() < deadline, "not matched"
            other.spin_once(0.01)
        answer = client.call_async(Trigger.Request())
        while not answer.done():
            assert time.monotonic() < deadline, "not answered"
            loop.spin_once(wait_s)
            other.spin_once(0.0)
    finally:
        loop.close()
        other.close()
        client_node.destroy_node()
        node.destroy_node()


@pytest.mark.parametrize(("is_composed", "wait_s"), [(False, 0.004), (True, 0.004), (True, 0.001)])
def test_the_emergency_stop_is_listened_for_every_20_ms_where_no_commands_come(
    pair: Pair, context: Context, monkeypatch: pytest.MonkeyPatch, is_composed: bool, wait_s: float
) -> None:
    """With a control input, or without one as the commands come by calls; also where the driver's waits are short."""
    driver = Node("driver", context=context)
    loop = ControlLoop(driver, context=context, is_paced=True) if is_composed else pair.loop
    looks: list[float] = []
    look = loop._housekeeping

    def noted(*arguments: float, **named: float) -> None:
        looks.append(time.monotonic())
        look(*arguments, **named)

    monkeypatch.setattr(loop, "_housekeeping", noted)
    end_s = time.monotonic() + 2.0
    while time.monotonic() < end_s:
        loop.spin_once(wait_s)
    if is_composed:
        loop.close()
    driver.destroy_node()
    # 24 ms where the machine has time; 100 ms without care.
    assert np.median(np.diff(looks)) < 0.05


def test_timers_and_services_run_beside_a_flood_of_control_messages(pair: Pair) -> None:
    ticks: list[float] = []
    pair.node.create_timer(0.02, lambda: ticks.append(time.monotonic()))
    service = pair.node.create_service(Trigger, "answer", lambda _request, response: response)
    client = pair.sender.create_client(Trigger, "answer")
    other = ControlLoop(pair.sender, context=pair.sender.context)
    pair.spin_until(client.service_is_ready)
    answer = client.call_async(Trigger.Request())

    def flooded() -> bool:
        for number in range(60):
            pair.send(number)
        other.spin_once(0.0)
        return answer.done() and len(ticks) >= 10

    pair.spin_until(flooded)
    assert len(pair.heard) > 100
    other.close()
    pair.node.destroy_service(service)


def test_an_input_that_comes_later_is_found_and_one_that_is_closed_is_left_alone(pair: Pair, context: Context) -> None:
    heard: list[int] = []
    more = ControlPath(pair.node, PERIOD_S, ControlTopicSettings()).input(
        Observation, "observation", lambda m: heard.append(m.sequence)
    )
    publisher = ControlPath(pair.sender, PERIOD_S, ControlTopicSettings()).publisher(Observation, "observation")
    pair.spin_until(publisher.get_subscription_count)

    def sent_until_heard() -> bool:
        publisher.publish(Observation(sequence=5))
        return bool(heard)

    pair.spin_until(sent_until_heard)
    more.close()
    pair.loop._housekeeping(0.0)
    pair.send(7)
    pair.spin_until(lambda: pair.heard == [7])


def test_what_a_callback_raises_comes_out_or_goes_to_the_guard(context: Context) -> None:
    node, sender = Node("receiver", context=context), Node("sender", context=context)
    caught: list[tuple[str, str]] = []

    def guard(of: Node, call: object) -> None:
        try:
            call()  # type: ignore[operator]
        except ZeroDivisionError as error:
            caught.append((of.get_name(), str(error)))

    path = ControlPath(node, PERIOD_S, ControlTopicSettings())
    path.input(Action, "action", lambda _message: 1 // 0)
    node.create_timer(0.01, [].pop)
    publisher = ControlPath(sender, PERIOD_S, ControlTopicSettings()).publisher(Action, "action")
    loop = ControlLoop(node, context=context, guard=guard)

    def send_for(seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            publisher.publish(Action())
            loop.spin_once(0.01)

    with pytest.raises(IndexError):
        send_for(20.0)
    assert set(caught) <= {("receiver", "integer division or modulo by zero")}
    loop.close()
    node.destroy_node()
    sender.destroy_node()


def test_without_a_loop_an_executor_runs_the_group(context: Context) -> None:
    node = Node("receiver", context=context)
    heard: list[int] = []
    path = ControlPath(node, PERIOD_S, ControlTopicSettings())
    path.input(Action, "action", lambda m: heard.append(m.observation_sequence))
    publisher = path.publisher(Action, "action")
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    deadline = time.monotonic() + 20.0
    while not heard and time.monotonic() < deadline:
        publisher.publish(Action(observation_sequence=4))
        executor.spin_once(timeout_sec=0.02)
    executor.shutdown()
    node.destroy_node()

    assert heard[0] == 4


class Chain:
    """policy_node and demo_layer_node in one loop, fed by calls: what they do, thousands of times."""

    def __init__(self, context: Context, bundle: Path) -> None:
        parameters = {"task": "cartpole", "bundle_directory": str(bundle), "num_samples": 32, "horizon": 10}
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.layer = DemoLayerNode(context=context, parameter_overrides=overrides)
        self.policy = PolicyNode(context=context, parameter_overrides=overrides[:2])
        TOPICS.offer({"/observation", "/nominal_action"}, unguarded)
        for node in (self.layer, self.policy):
            node.trigger_configure()
            node.trigger_activate()
        self.loop = ControlLoop(self.policy, self.layer, context=context)
        self.sequence = 0

    def run(self, ticks: int) -> None:
        for _ in range(ticks):
            self.sequence += 1
            TOPICS.hand_on("/observation", Observation(sequence=self.sequence, values=STATE))
            self.loop.spin_once(0.0)
            self.loop.tidier.tidy()

    def close(self) -> None:
        self.loop.close()
        TOPICS.offer(set(), unguarded)
        self.policy.destroy_node()
        self.layer.destroy_node()
        gc.enable()
        gc.unfreeze()


@pytest.fixture
def chain(context: Context, bundle_directory: Path) -> Iterator[Chain]:
    chain = Chain(context, bundle_directory)
    yield chain
    chain.close()


_MOST_GROWTH = 15_000
"""Bytes that Python holds more after 1000 cycles; one float kept per cycle would be 24 kB."""
_MOST_NATIVE_GROWTH = 100_000
"""Bytes that malloc has given away more after 1000 cycles: what Python does not see, such as a message that DDS keeps.

The pages of the process would tell less: what was freed before hides a leak, and what settles late looks like one.
"""


def test_memory_does_not_grow_over_many_cycles(chain: Chain) -> None:
    chain.run(600)
    tracemalloc.start(1)
    chain.run(200)
    for _ in range(3):
        # What settles late grows once; what leaks grows in every stretch.
        before, native_before = _traced(), _given_by_malloc()
        chain.run(1000)
        grown, native_grown = _traced() - before, _given_by_malloc() - native_before
        if grown < _MOST_GROWTH and native_grown < _MOST_NATIVE_GROWTH:
            break
    tracemalloc.stop()

    assert np.isfinite(chain.layer._layer.correct(1, np.zeros(1)).values).all()  # type: ignore[union-attr]
    assert chain.layer._layer.counters.commands >= 1800  # type: ignore[union-attr]
    assert grown < _MOST_GROWTH
    assert native_grown < _MOST_NATIVE_GROWTH


def _traced() -> int:
    """Bytes that Python holds, without garbage and without its cache of attributes.

    That keeps up to 4096 names alive, which rclpy makes anew for each field of each message: it fills over minutes.
    """
    gc.collect()
    sys._clear_type_cache()
    return tracemalloc.get_traced_memory()[0]


class _MallocInfo(ctypes.Structure):
    """glibc's struct mallinfo2."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def _given_by_malloc() -> int:
    """Bytes in use by all that calls malloc in this process; needs glibc 2.33 or newer."""
    read = ctypes.CDLL(None).mallinfo2
    read.restype = _MallocInfo
    information = read()
    return int(information.uordblks + information.hblkhd)


def test_a_callback_may_ask_what_is_known_of_a_message_as_with_rclpy(pair: Pair, context: Context) -> None:
    node = Node("informed", context=context)
    over_dds: list[int] = []
    path = ControlPath(node, PERIOD_S, ControlTopicSettings())
    path.input(Action, "action", lambda _message, about: over_dds.append(about["publication_sequence_number"]))
    loop = ControlLoop(node, context=context)
    deadline = time.monotonic() + 20.0
    while len(over_dds) < 2 and time.monotonic() < deadline:
        pair.send(1)
        loop.spin_once(0.02)
    by_call: list[int] = []
    TOPICS.offer({"/observation"}, unguarded)
    path.input(Observation, "observation", lambda _message, about: by_call.append(about["publication_sequence_number"]))
    publisher = path.publisher(Observation, "observation")
    for _ in range(3):
        publisher.publish(Observation())
    TOPICS.offer(set(), unguarded)
    loop.close()
    node.destroy_node()

    assert 0 < over_dds[0] < over_dds[1]
    assert by_call == [1, 2, 3]
