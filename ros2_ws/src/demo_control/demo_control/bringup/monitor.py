"""A ROS node inside the process that launches: hears everything, and drives the others through their lifecycle."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping

import rclpy
from demo_msgs.msg import Action, Observation, PlannerStatus
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.task import Future
from std_msgs.msg import String

from demo_control.bringup.description import RECORDER, BringUp
from demo_control.bringup.recorder import Recorder
from demo_control.bringup.recording import Recording, make_recording
from demo_control.bringup.result import REFUSED
from demo_control.nodes.messages import seconds_between
from demo_control.nodes.quality import DIAGNOSTICS
from demo_control.security.environment import enclave_arguments
from demo_control.security.roles import MONITOR

CONFIGURE = Transition.TRANSITION_CONFIGURE
ACTIVATE = Transition.TRANSITION_ACTIVATE

_TOPICS = {
    "applied_action": Action,
    "action": Action,
    "nominal_action": Action,
    "planner_status": PlannerStatus,
}
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_LAYER_TOPICS = ("nominal_action", "planner_status")
_CALLED = {"none": (), "policy,layer": ("nominal_action",), "all": ("observation", "nominal_action", "action")}
"""Topics that nobody subscribes to, because who acts on them is in the publisher's process."""
_RECORDED_FROM_THE_START = ("observation", "action")
_RECORDED_OF_THE_LAYER = (*_LAYER_TOPICS, "layer_state")


class Monitor:
    """Records a run. Has its own context, so that it leaves signal handlers and other ROS code alone.

    Args:
        bringup: What is run.
        keeps_all: Whether all messages of the run are kept; see :class:`Recorder`.
    """

    def __init__(self, bringup: BringUp, *, keeps_all: bool = True) -> None:
        self._context = Context()
        rclpy.init(context=self._context, args=enclave_arguments(MONITOR))
        self._node = rclpy.create_node("democtl_monitor", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._names = [self._node.get_name(), *(node.name for node in bringup.nodes)]
        self._figures: dict[str, object] = {}
        self._recorder_name = next((node.name for node in bringup.nodes if node.name == RECORDER), "")
        without = () if bringup.arguments.use_layer else _LAYER_TOPICS
        self._truth_topic = bringup.truth_topic
        topics = {self._truth_topic: Observation, **_TOPICS}
        self._needed = [topic for topic in topics if topic not in without]
        shares = len(bringup.processes) < len(bringup.nodes)
        self._called = _CALLED[bringup.arguments.composed] if shares else ()
        self._recorder = Recorder(self._context, {topic: topics[topic] for topic in self._needed}, keeps_all=keeps_all)
        self._node.create_subscription(String, "run_result", self._on_result, _LATCHED)
        self._played_s = 0.0
        self.health: dict[str, str] = {}
        self.real_time: dict[str, str] = {}
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, DIAGNOSTICS)
        self._clients = {
            node.name: self._node.create_client(ChangeState, f"{node.name}/change_state")
            for node in bringup.nodes
            if node.lifecycle
        }

    def spin(self, timeout_s: float) -> None:
        """Handle what has come; wait for at most ``timeout_s`` for news of the nodes."""
        self._executor.spin_once(timeout_sec=timeout_s)
        self._recorder.take()

    def ready(self, name: str) -> bool:
        """Whether a node offers its lifecycle services."""
        return bool(self._clients[name].service_is_ready())

    def change_state(self, name: str, transition: int) -> Future:
        """Ask a node for a transition; the future's result has ``success``."""
        return self._clients[name].call_async(ChangeState.Request(transition=Transition(id=transition)))

    def unmatched(self) -> list[str]:
        """Topics of the bring-up that no publisher of is heard yet, or that nobody but us listens to."""
        missing = [topic for topic in self._needed if not self._recorder.publishers(topic)]
        listened = ("observation", "action", *(["nominal_action"] if "nominal_action" in self._needed else []))
        missing += [topic for topic in listened if topic not in self._called and not self._listeners(topic)]
        return sorted({*missing, *self._unrecorded()})

    def _unrecorded(self) -> list[str]:
        """Topics that the recorder, if there is one, does not hear yet, and must hear from the start."""
        if not self._recorder_name:
            return []
        of_layer = _RECORDED_OF_THE_LAYER if "planner_status" in self._needed else ()
        topics = (*_RECORDED_FROM_THE_START, *of_layer)
        return [f"{topic} to the recorder" for topic in topics if not self._recorded(topic)]

    def _recorded(self, topic: str) -> bool:
        ears = self._recorder_name + "_ears"
        return any(info.node_name == ears for info in self._node.get_subscriptions_info_by_topic(topic))

    def rivals(self) -> list[str]:
        """Our nodes' names that are taken twice in this ROS domain: another robot of the same kind runs."""
        heard = Counter(self._node.get_node_names())
        return [name for name in self._names if heard[name] > 1]

    def elapsed_s(self) -> float:
        """Time of the run so far, by the stamps of the true states, or as a player tells it."""
        if self._played_s or not self._recorder.count(self._truth_topic):
            return self._played_s
        first, last = (self._recorder.message(self._truth_topic, index) for index in (0, -1))
        return seconds_between(first.header.stamp, last.header.stamp)

    def recording(self) -> Recording:
        """Everything heard."""
        self._recorder.take()
        heard = self._recorder.messages
        return make_recording(
            heard(self._truth_topic),
            heard("nominal_action") or heard("action"),
            heard("action"),
            heard("applied_action"),
            heard("planner_status"),
        )

    def figures(self) -> Mapping[str, object]:
        """What the driver said of the run at its end; empty if nothing."""
        return dict(self._figures)

    def close(self) -> None:
        """Leave the ROS graph."""
        self._executor.shutdown()
        self._recorder.close()
        self._node.destroy_node()
        self._context.try_shutdown()

    def _listeners(self, topic: str) -> int:
        """Subscriptions of others."""
        own = 1 if topic in self._needed else 0
        return int(self._node.count_subscribers(topic)) - own

    def _on_result(self, message: String) -> None:
        try:
            figures = json.loads(message.data)
        except ValueError:
            return
        if isinstance(figures, dict):
            self._figures = figures

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            name = status.name.lstrip("/")
            # Others publish there what they like: a camera's trouble is not this run's.
            if name not in self._names:
                continue
            self.health[name] = status.message
            values = {pair.key: pair.value for pair in status.values}
            self._played_s = _seconds(values.get("played_s", ""), self._played_s)
            if "real_time" in values:
                refused = values.get("real_time_refused", "")
                self.real_time[name] = values["real_time"] + (f"{REFUSED}{refused}" if refused else "")


def _seconds(text: str, otherwise: float) -> float:
    """A finite number, or something else where the text is none."""
    try:
        seconds = float(text)
    except ValueError:
        return otherwise
    return seconds if math.isfinite(seconds) else otherwise
