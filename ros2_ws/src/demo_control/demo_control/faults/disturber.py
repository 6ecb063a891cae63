"""Disturbs a running robot from a process of its own: ``disturber KIND SETTINGS-AS-JSON PARENT``."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from demo_control.faults.judge import RIVAL
from demo_control.network import domain_of
from demo_control.processes import end_with_parent

_JUNK_RATE_HZ = 10_000.0
_MEMORY_MB = 1024
_BUNCH_S = 0.01


def hogs(_settings: Mapping[str, Any]) -> None:
    """Keep every core busy."""
    parent = os.getpid()
    for _ in os.sched_getaffinity(0):
        multiprocessing.get_context("fork").Process(target=_hog, args=(parent,)).start()
    _ready()


def _hog(parent: int) -> None:
    end_with_parent(parent)
    while True:
        pass


def memory(_settings: Mapping[str, Any]) -> None:
    """Fill memory, and touch it again and again."""
    blocks = [np.ones(1 << 20, dtype=np.uint8) for _ in range(_MEMORY_MB)]
    _ready()
    while True:
        for block in blocks:
            block[:: os.sysconf("SC_PAGE_SIZE")] += 1


def junk(settings: Mapping[str, Any]) -> None:
    """Publish nonsense at 10 kHz, or as fast as this machine can."""
    from demo_msgs.msg import Action, Observation  # noqa: PLC0415 - the others need no ROS

    kind = {"action": Action, "observation": Observation}[settings["topic"]]
    node = _node()
    publisher = _publisher(node, kind, settings["topic"], settings)
    generator = np.random.default_rng(settings.get("seed", 0))
    messages = []
    for values in (np.array([]), np.full(3, np.nan), generator.standard_normal(1) * 1e6, np.zeros(500)):
        message = kind(values=values.tolist())
        name = "sequence" if kind is Observation else "observation_sequence"
        setattr(message, name, int(generator.integers(1 << 62)))
        messages.append(message)
    _ready()
    began_s, sent = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - began_s) * _JUNK_RATE_HZ)
        for _ in range(min(due - sent, int(_JUNK_RATE_HZ * _BUNCH_S))):
            publisher.publish(messages[sent % len(messages)])
            sent += 1
        # What this machine cannot send is left out, not caught up with.
        sent = max(sent, due - 1)
        time.sleep(0.001)


def rival(settings: Mapping[str, Any]) -> None:
    """Answer every observation on ``action``, as a second layer would, with the largest action there is."""
    import rclpy  # noqa: PLC0415 - the others need no ROS
    from demo_msgs.msg import Action, Observation  # noqa: PLC0415

    node = _node()
    publisher = _publisher(node, Action, "action", settings)

    def answer(message: Observation) -> None:
        action = Action(observation_sequence=message.sequence, source=RIVAL, values=settings["values"])
        action.observation_stamp = message.header.stamp
        action.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(action)

    node.create_subscription(Observation, "observation", answer, 1)
    _ready()
    rclpy.spin(node)


def parameters(settings: Mapping[str, Any]) -> None:
    """Set a node's parameters without pause: sound values, wrong types, out of range, unknown names."""
    import rclpy  # noqa: PLC0415 - the others need no ROS
    from rcl_interfaces.srv import SetParameters  # noqa: PLC0415
    from rclpy.parameter import Parameter  # noqa: PLC0415

    node = _node()
    client = node.create_client(SetParameters, f"/{settings['node']}/set_parameters")
    client.wait_for_service()
    _ready()
    tried = [("step_size", 0.5), ("step_size", -1.0), ("step_size", "much"), ("temperature", float("nan")), ("no", 1)]
    waiting = []
    while True:
        for name, value in tried:
            request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
            waiting.append(client.call_async(request))
        deadline_s = time.monotonic() + 0.2
        while not all(answer.done() for answer in waiting) and time.monotonic() < deadline_s:
            rclpy.spin_once(node, timeout_sec=0.01)
        waiting.clear()


def _ready() -> None:
    """Tell the campaign that the disturbance begins."""
    print("ready", flush=True)


def _node() -> Any:  # noqa: ANN401 - rclpy has no types
    import rclpy  # noqa: PLC0415 - the others need no ROS

    rclpy.init(args=[])
    return rclpy.create_node("disturber")


def _publisher(node: Any, kind: type, topic: str, settings: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """One that keeps the control topics' promises, or none."""
    from demo_control.nodes.control_topic_settings import ControlTopicSettings  # noqa: PLC0415
    from demo_control.nodes.control_topics import ControlPath  # noqa: PLC0415

    if settings.get("deadline", True):
        return ControlPath(node, settings["period_s"], ControlTopicSettings()).publisher(kind, topic)
    return node.create_publisher(kind, topic, 10)


KINDS: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
    "hogs": hogs,
    "memory": memory,
    "junk": junk,
    "rival": rival,
    "parameters": parameters,
}


def main() -> None:
    """Disturb until it is killed."""
    end_with_parent(int(sys.argv[3]))
    settings = json.loads(sys.argv[2])
    if settings.get("other_domain"):
        os.environ["ROS_DOMAIN_ID"] = str((domain_of(os.environ) + 1) % 102)
    KINDS[sys.argv[1]](settings)


if __name__ == "__main__":
    main()
