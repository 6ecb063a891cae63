"""player_node: plays a recording to live nodes, with /clock, and compares their commands with the recorded ones.

Lifecycle node, activated after those that it plays to. Publishes the recorded topics, those that live nodes publish
themselves under ``/recorded``; ``/clock``; at the end ``run_result``. Subscribes ``action``.
"""

from __future__ import annotations

import importlib
import itertools
import json
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from builtin_interfaces.msg import Time
from demo_msgs.msg import Action, Observation
from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rosgraph_msgs.msg import Clock
from std_msgs.msg import String

from demo_control.bags.definitions import installed_definition, type_hash
from demo_control.bags.errors import BagError
from demo_control.bags.info import RECORDED
from demo_control.bags.layer_log import Key
from demo_control.bags.player import (
    COMMAND,
    OBSERVATION,
    Comparison,
    Player,
    Timed,
    is_latched,
    is_reliable,
    survey,
)
from demo_control.bags.reader import Bag
from demo_control.configuration import ConfigurationError, Settings, setting
from demo_control.nodes.diagnostics import Health
from demo_control.nodes.managed_node import ManagedNode
from demo_control.nodes.messages import nanoseconds, values_of
from demo_control.nodes.quality import CONTROL_PUBLISHER, RECORDING, WITHOUT_EVENTS
from demo_control.nodes.running import run
from demo_control.tasks import load_task

LIVE = (
    "live timing: a plan may be there for another command than on the robot, or an observation be missed, and what "
    "follows differs; 'democtl bag evaluate' answers to the bit"
)
"""What is said of every comparison."""

_SECOND_NS = 1_000_000_000
_CLOCK_PERIOD_S = 0.005
_MEETING_LIMIT_S = 20.0
_LAST_ANSWERS_S = 0.5
_DELIVERY_LIMIT_S = 1.0
_DEPTH = 200
# What a bring-up's figures are made of: published also where the bag has none of it, as somebody waits for it.
_ALWAYS = {"/ground_truth": Observation, "/applied_action": Action}


@dataclass(frozen=True)
class PlayerSettings(Settings):
    """What the player must know."""

    bag: str = setting("", "Folder or file of the recording.")
    task: str = setting("", "Name of the installed task that was recorded.")
    rate: float = setting(1.0, "Speed of playing.", minimum=0.01, maximum=100.0)
    duration_s: float = setting(0.0, "Seconds of the recording to play; 0 for all.", minimum=0.0)
    live: str = setting("/action", "Topics that live nodes publish, separated by commas.")


class PlayerNode(ManagedNode):
    """Plays a recording.

    Args:
        **options: As of rclpy's Node.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - handed through to rclpy
        super().__init__("player_node", **options)
        self._settings = self.parameters.declare(PlayerSettings())
        self.failure = ""
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._played_s = self._latest_s = self._ticked_s = 0.0
        self._skipped: list[str] = []
        self._publishers_of: dict[str, Publisher] = {}
        self._commands: Subscription | None = None

    def configure(self) -> None:
        """Look through the recording, and create the topics."""
        settings = self._settings.value
        task = load_task(settings.task)
        try:
            bag = Bag.open(Path(settings.bag))
            self._player = Player(bag, survey(bag), settings.live.split(","), settings.duration_s)
        except BagError as error:
            raise ConfigurationError(str(error)) from None
        self._bag = bag
        self._comparison = Comparison((task.action_maximum - task.action_minimum) / 2.0)
        self._lock = threading.Lock()
        for topic in self._player.names:
            if (publisher := self._publisher_of(topic)) is not None:
                self._publishers_of[topic] = publisher
        for name, kind in _ALWAYS.items():
            if name not in self._publishers_of:
                self._publishers_of[name] = self._publisher(kind, name, RECORDING)
        self._clock_topic = self._publisher(Clock, "/clock", QoSProfile(depth=10))
        self._result = self._publisher(
            String, "run_result", QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        )
        self._commands = self.create_subscription(Action, "action", self._on_action, RECORDING)

    def activate(self) -> None:
        """Begin to play, as soon as somebody listens."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="player")
        self._thread.start()

    def deactivate(self) -> None:
        """Stop playing."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def cleanup(self) -> None:
        """Remove the topics."""
        if self._commands is not None:
            self.destroy_subscription(self._commands)
            self._commands = None
            for publisher in (self._clock_topic, self._result):
                self.destroy_publisher(publisher)
        for publisher in self._publishers_of.values():
            self.destroy_publisher(publisher)
        self._publishers_of.clear()

    def health(self) -> Health:
        """How far it has come."""
        with self._lock:
            figures = self._comparison.figures()
        values = {"played_s": f"{self._played_s:.3f}", "worst_lateness_ms": f"{1e3 * self._latest_s:.3f}", **figures}
        return Health("ok", f"played {self._played_s:.1f} of {self._player.duration_s:.1f} s", values)

    def _publisher(self, kind: type, name: str, quality: QoSProfile) -> Publisher:
        return self.create_publisher(kind, name, quality, event_callbacks=WITHOUT_EVENTS)

    def _publisher_of(self, topic: str) -> Publisher | None:
        """The publisher of a recorded topic, or None for a type that is not installed here, or is another one here."""
        found, name = self._player.survey, self._player.names[topic]
        kind = found.types[topic]
        try:
            package, _, short = kind.split("/")
            message_type = getattr(importlib.import_module(f"{package}.msg"), short)
            same = type_hash(kind, found.definitions[kind]) == type_hash(kind, installed_definition(kind))
            reason = "" if same else f"{kind} is another type here"
        except (BagError, ImportError, AttributeError, ValueError, OSError) as error:
            reason = str(error)
        if reason:
            self._player.leave_out(topic)
            self._skipped.append(topic)
            self.get_logger().warning(f"{topic} is not played: {reason}")
            return None
        if topic in (OBSERVATION, "/nominal_action"):
            return self._publisher(message_type, name, CONTROL_PUBLISHER)
        offered = found.offered_qos[topic]
        quality = QoSProfile(
            depth=_DEPTH,
            reliability=ReliabilityPolicy.RELIABLE if is_reliable(offered) else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if is_latched(offered) else DurabilityPolicy.VOLATILE,
        )
        return self._publisher(message_type, name, quality)

    def _on_action(self, message: Action) -> None:
        """Take in a live command."""
        key = Key(int(message.observation_sequence), nanoseconds(message.observation_stamp))
        with self._lock:
            self._comparison.live(key, values_of(message))

    def _run(self) -> None:
        """The player's thread: wait, play, tell, end the process."""
        try:
            if self._meet() and self._play():
                self._tell()
        except Exception as error:  # a thread that ends in silence would leave the run waiting
            self.failure = f"{type(error).__name__}: {error}"
            self.get_logger().error(f"playing stopped: {self.failure}")
        if not self._stop.is_set():
            rclpy.try_shutdown(context=self.context)

    def _meet(self) -> bool:
        """Wait until the observations are heard; returns whether to go on."""
        deadline_s = time.monotonic() + _MEETING_LIMIT_S
        while not self._publishers_of[OBSERVATION].get_subscription_count():
            if time.monotonic() > deadline_s:
                raise BagError(f"nobody listens to {OBSERVATION}")
            if self._stop.wait(_CLOCK_PERIOD_S):
                return False
        return True

    def _play(self) -> bool:
        """Publish everything when it is due; returns whether it came to the end."""
        rate, start_ns = self._settings.value.rate, self._player.survey.start_ns
        to_play = self._player.timed()
        # Reading the first ones takes longest.
        first = list(itertools.islice(to_play, 1))
        began_s = time.monotonic()
        self._tick(start_ns)
        for timed in itertools.chain(first, to_play):
            due_s = began_s + (timed.time_ns - start_ns) / _SECOND_NS / rate
            while (left_s := due_s - time.monotonic()) > 0.0:
                if self._stop.wait(min(left_s, _CLOCK_PERIOD_S)):
                    return False
                now_s = time.monotonic()
                if now_s - self._ticked_s >= _CLOCK_PERIOD_S:
                    now_ns = min(start_ns + round((now_s - began_s) * rate * _SECOND_NS), timed.time_ns)
                    # Also where the recording has a gap, who waits for the end must see that it comes nearer.
                    self._played_s = (now_ns - start_ns) / _SECOND_NS
                    self._tick(now_ns)
            self._latest_s = max(self._latest_s, -left_s)
            self._publish(timed)
            self._played_s = (timed.time_ns - start_ns) / _SECOND_NS
        return not self._stop.wait(_LAST_ANSWERS_S)

    def _publish(self, timed: Timed) -> None:
        """Publish one message as it was recorded."""
        topic = timed.heard.topic
        if topic == OBSERVATION:
            self._tick(timed.time_ns)
        self._publishers_of[topic].publish(timed.heard.data)
        if topic == COMMAND:
            key, values = self._player.key_and_values(timed.heard)
            with self._lock:
                self._comparison.recorded(key, values)

    def _tick(self, time_ns: int) -> None:
        """Publish the time; each node pays for each tick, so they are no more than needed."""
        self._ticked_s = time.monotonic()
        self._clock_topic.publish(Clock(clock=Time(sec=time_ns // _SECOND_NS, nanosec=time_ns % _SECOND_NS)))

    def _tell(self) -> None:
        """Say how far the live commands are from the recorded ones, and wait until that is heard."""
        with self._lock:
            figures = self._comparison.figures()
        found = self._player.survey
        notes = [LIVE, "success, return and cost are of the recorded motion"]
        if not found.counts.get("/ground_truth"):
            # Without true states nobody can judge.
            figures = {"success": None, **figures}
            notes[1:] = ["the recording has no true states: the motion is not judged"]
        if found.backwards:
            notes.append(f"the recorded clock goes back {found.backwards} times: there the played one stands still")
        if self._skipped:
            notes.append(f"not played: {', '.join(self._skipped)}")
        notes += [f"recording: {line}" for line in self._bag.damage()]
        result = {
            **figures,
            "duration_s": self._player.duration_s,
            "worst_lateness_ms": 1e3 * self._latest_s,
            "recording_complete": not self._bag.damage() and not found.backwards,
            "notes": notes,
        }
        self._result.publish(String(data=json.dumps(result)))
        share = figures["command_difference_share"]
        told = "no command to compare" if share is None else f"live commands differ by {share:.2%} of half their range"
        self.get_logger().info(
            f"run over after {self._player.duration_s:.2f} s: {told}; the recorded: {RECORDED}{COMMAND}"
        )
        deadline_s = time.monotonic() + _DELIVERY_LIMIT_S
        for publisher in (*self._publishers_of.values(), self._result):
            publisher.wait_for_all_acked(Duration(seconds=max(0.0, deadline_s - time.monotonic())))


def main() -> int:
    """Run the node until the recording is played."""
    nodes: list[PlayerNode] = []

    def make() -> PlayerNode:
        nodes.append(PlayerNode())
        return nodes[0]

    code = run(make)
    return 1 if code == 0 and nodes[0].failure else code


if __name__ == "__main__":
    sys.exit(main())
