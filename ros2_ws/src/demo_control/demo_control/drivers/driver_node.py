"""What the driver nodes of all robots share: ticks, commands, clock, diagnostics, the end of a run.

Subscribes ``action``; publishes ``observation``, ``ground_truth`` (from a simulated robot's release on),
``applied_action``, ``robot_description``, ``run_result`` (at the end), ``/diagnostics`` and, unless it runs in real
time, ``/clock``.
"""

from __future__ import annotations

import json
import time
from abc import abstractmethod
from array import array
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from demo_msgs.msg import Action, Observation
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from std_msgs.msg import String

from demo_control.drivers.core import Command, DriverState, Output
from demo_control.drivers.driver_health import driver_health
from demo_control.drivers.driver_process import run_driver
from demo_control.drivers.hardware_robot import HardwareRobot
from demo_control.drivers.hardware_topics import HardwareTopics
from demo_control.drivers.robot import Robot
from demo_control.drivers.running import Spin
from demo_control.drivers.settings import DriverSettings
from demo_control.drivers.time_line import TimeLine, to_message, waited
from demo_control.nodes.composed import Composition
from demo_control.nodes.control_topic_settings import ControlTopicSettings
from demo_control.nodes.control_topics import ControlPath
from demo_control.nodes.diagnostics import Diagnostics, Health
from demo_control.nodes.loop_figures import LoopFigures
from demo_control.nodes.messages import nanoseconds, values_of
from demo_control.nodes.parameters import Parameters
from demo_control.nodes.quality import RECORDING, WITHOUT_EVENTS
from demo_control.nodes.real_time_process import RealTimeProcess
from demo_control.tasks import Array

RobotT = TypeVar("RobotT", bound=Robot)

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
"""For what is said once and must reach those who come later."""

# Simulated time starts here: a clock at zero means "no time yet" to ROS.
_FIRST_SIMULATED_NS = 1_000_000_000
# With the plant held, lockstep does not wait for nodes that are still starting.
_WAITING_ANSWER_LIMIT_S = 0.1
_COMMAND_DEPTH = 20  # each is looked at, also those that come in a bunch; lost ones are not sent again
_PRIORITY = 45  # above the nodes that answer: the next tick must not wait for their last answer


class DriverNode(Node, Generic[RobotT]):  # type: ignore[misc]  # rclpy has no types
    """A driver node; a loop of :mod:`demo_control.drivers.running` gives it its ticks.

    A subclass declares its parameters with ``self.parameters``, then calls :meth:`drive`.

    Args:
        name: The node's name.
    """

    settings: DriverSettings
    robot: RobotT

    @classmethod
    def run_composed(cls, composition: Composition) -> int:
        """Run with other nodes in the same process; returns the exit code."""
        return run_driver(cls, composition)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.parameters = Parameters(self)
        self.real_time = RealTimeProcess(self, self.parameters, _PRIORITY)
        self._topic_settings = self.parameters.declare(ControlTopicSettings())
        self.tick = 0
        self.answered = -1
        self.observations = 0
        self.missing_answers = 0
        self.time_line = TimeLine(0)
        self._now_ns: Callable[[], int] = lambda: 0
        self._known_state = DriverState.WAITING
        self._is_prepared = False

    def drive(self, settings: DriverSettings, robot: RobotT, description: str) -> None:
        """Take over the robot and create the topics.

        Args:
            settings: Of the driver.
            robot: Held at its start.
            description: URDF of the robot.
        """
        self.settings = settings
        self.robot = robot
        self.period_ns = round(robot.period_s * 1e9)
        self._diagnostics = Diagnostics(self, self._health)
        real_time = self.settings.real_time_factor == 1.0
        self.timing = LoopFigures(robot.period_s, times_overruns=real_time)
        path = ControlPath(self, robot.period_s, self._topic_settings.value, real_time, self._diagnostics.publish)
        self._observation = path.publisher(Observation, "observation")
        self._truth = self.publisher(Observation, "ground_truth", RECORDING)
        self._applied = path.publisher(Action, "applied_action")
        self._result = self.publisher(String, "run_result", LATCHED)
        self._description = self.publisher(String, "robot_description", LATCHED)
        self._description.publish(String(data=description))
        self._clock_topic = self.publisher(Clock, "/clock", 10) if not real_time else None
        self._commands = path.input(Action, "action", self._on_action, _COMMAND_DEPTH)
        self._hardware = HardwareTopics(self, robot) if isinstance(robot, HardwareRobot) else None

    @abstractmethod
    def judge(self, before: Array | None) -> None:
        """Take in the robot's true state after a control period, for the figures of the run.

        Args:
            before: The true observation at its start if the robot was released in it. Shape=(observation_dim,).
        """

    @abstractmethod
    def figures(self) -> Mapping[str, float | bool | None]:
        """The figures of the run so far, ``success`` among them."""

    @abstractmethod
    def told_result(self) -> str:
        """What the end of the run says of the figures, for people."""

    def publish_sensors(self) -> None:
        """Publish what belongs to the observation that was just published."""

    def values(self) -> Mapping[str, object]:
        """More to tell in the diagnostics."""
        return {}

    def publisher(self, kind: type, topic: str, quality: QoSProfile | int) -> Publisher:
        """Create a publisher; there are many, so none watches for events."""
        return self.create_publisher(kind, topic, quality, event_callbacks=WITHOUT_EVENTS)

    def start(self, now_ns: Callable[[], int]) -> None:
        """Begin to observe, with tick 0.

        Args:
            now_ns: The driver's own time since this call, in nanoseconds of simulated time.
        """
        self._now_ns = now_ns
        real_time = self._clock_topic is None
        # Own time runs already, perhaps for milliseconds.
        self.time_line = TimeLine(time.time_ns() - now_ns() if real_time else _FIRST_SIMULATED_NS)
        self._observe()

    @property
    def answer_limit_s(self) -> float:
        """Wall time that lockstep waits for an answer; short while the other nodes are still starting."""
        waiting = self.robot.core.state is DriverState.WAITING
        return _WAITING_ANSWER_LIMIT_S if waiting else self.settings.answer_limit_s

    @property
    def now_ns(self) -> int:
        """The driver's own time at the newest tick."""
        return self.tick * self.period_ns

    def miss_answer(self) -> None:
        """Count an answer that did not come; none is expected before the first command."""
        self.missing_answers += self.robot.core.state is not DriverState.WAITING

    def _on_action(self, message: Action, info: Mapping[str, int | None]) -> None:
        """Hand a command to the robot."""
        sequence, read_ns = int(message.observation_sequence), self._now_ns()
        # A message that is handed on in this process was not received, and simulated time does not go by the clock.
        received_ns = info.get("received_timestamp") if self._clock_topic is None else None
        waited_ns = waited(received_ns, time.time_ns(), self.period_ns)
        now_ns = self.robot.counts_from_ns(read_ns - waited_ns, read_ns)
        # What claims to answer an observation that there has not been must not pass for the answers to come.
        if self.answered < sequence <= self.tick:
            self.answered = sequence
            if not self.robot.held:
                self.timing.add_command((now_ns - sequence * self.period_ns) / 1e9, (read_ns - now_ns) / 1e9)
        command = Command(
            sequence,
            nanoseconds(message.observation_stamp),
            nanoseconds(message.header.stamp),
            message.source,
            values_of(message),
            info["publication_sequence_number"],
        )
        self.robot.deliver(command, now_ns)

    @property
    def lead_ns(self) -> int:
        """So long before the next tick, in the driver's own time, :meth:`prepare` may be called."""
        return self.robot.lead_ns

    @property
    def is_settled(self) -> bool:
        """Whether :meth:`prepare` may be called at once: the command of this period is here."""
        return self.robot.is_settled(self.tick)

    def prepare(self) -> None:
        """Simulate the control period that ends with the next tick, so that its observation is ready in time."""
        self._run_period()
        self._is_prepared = True

    def advance(self, ticks: int, lateness_s: float) -> bool:
        """Simulate control periods, as far as they are not, and publish the observation at the end of the last one.

        Args:
            ticks: Number of periods; beyond 1 they were missed, and their observations are never made.
            lateness_s: By how much the first of them came too late, by the wall clock.

        Returns:
            Whether the run goes on.
        """
        # While the robot is held, the other nodes still load, and nobody waits for an observation.
        if not self.robot.held:
            self.timing.add_tick(lateness_s, ticks - 1)
        for _ in range(ticks):
            if not self._is_prepared:
                self._run_period()
            self._is_prepared = False
            if self.settings.duration_s and self.robot.time_s >= self.settings.duration_s - 1e-9:
                self._finish()
                return False
        if self._clock_topic is None:
            self.time_line.follow(self._now_ns(), time.time_ns(), self._now_ns())
        self._observe()
        self._announce_state()
        return True

    def _run_period(self) -> None:
        """Simulate one control period and publish what happened in it."""
        before = self.robot.true_observation() if self.robot.held else None
        report = self.robot.run_period(self.now_ns)
        if not report.released:
            before = None
        if before is not None:
            self._publish_truth(before)
        self.tick += 1
        for output in report.outputs:
            self._publish_applied(output)
        if self._hardware is not None:
            self._hardware.publish_command()
        if not self.robot.held:
            self.judge(before)
            self._publish_truth(self.robot.true_observation())

    def _observe(self) -> None:
        """Read the sensor and publish, under a new number and stamp."""
        stamp = self.time_line.stamp(self.now_ns)
        self.observations += 1
        self._publish_clock()
        self.robot.core.observed(self.tick, self.now_ns, nanoseconds(stamp))
        self._observation.publish(self._observation_message(self.robot.sense()))
        self.publish_sensors()

    def _publish_clock(self) -> None:
        """Publish simulated time, unless time is real."""
        if self._clock_topic is not None:
            self._clock_topic.publish(Clock(clock=self.time_line.stamp(self.now_ns)))

    def _observation_message(self, values: Array) -> Observation:
        """An Observation of this tick."""
        message = Observation(sequence=self.tick, values=array("d", values.tobytes()))
        message.header.stamp = self.time_line.stamp(self.now_ns)
        return message

    def _publish_truth(self, values: Array) -> None:
        """Publish the true state at this tick, if somebody listens."""
        if self.robot.knows_truth and self._truth.get_subscription_count():
            self._truth.publish(self._observation_message(values))

    def _publish_applied(self, output: Output) -> None:
        """Publish what the actuators really got, if somebody listens."""
        if not self._applied.get_subscription_count():
            return
        message = Action(
            observation_sequence=output.observation_sequence,
            source=output.source,
            values=array("d", output.values.tobytes()),
        )
        message.header.stamp = self.time_line.stamp(output.time_ns)
        message.observation_stamp = to_message(output.observation_stamp_ns)
        self._applied.publish(message)

    def _announce_state(self) -> None:
        """Log and publish a change of state at once."""
        if self._hardware is not None:
            self._hardware.announce()
        core = self.robot.core
        if core.state is self._known_state:
            return
        self._known_state = core.state
        text = f"{core.state.value}: {core.reason}"
        if core.state in (DriverState.STOPPED, DriverState.FAULT):
            self.get_logger().warning(text)
        else:
            self.get_logger().info(text)
        self._diagnostics.publish()

    def _finish(self) -> None:
        """End the run: judge it, say so once, let go of the actuators."""
        fault = self.robot.failure
        self.robot.core.finish("run_over", self.now_ns)
        self._publish_clock()
        self._publish_applied(self.robot.core.output)
        figures = self.figures()
        verdict = "success" if figures["success"] else "no success" + (f" ({fault})" if fault else "")
        self.get_logger().info(f"run over after {self.robot.time_s:.2f} s: {verdict}, {self.told_result()}")
        result = {
            **figures,
            **self.timing.result(),
            "deadlines_missed": self._commands.deadlines_missed,
            **({"notes": [f"fault: {fault}"]} if fault else {}),
        }
        self._result.publish(String(data=json.dumps(result)))
        self._known_state = DriverState.FINISHED
        self._diagnostics.publish()

    def _health(self) -> Health:
        """State, counters and score."""
        counters = {**self._commands.values(), **self.real_time.values(), **self.values()}
        return driver_health(self, self._commands.problem, counters)

    def rest(self, spin: Spin) -> None:
        """Bring the robot to rest, and say so.

        Args:
            spin: Handles what comes meanwhile.
        """

        def announce_and_spin(timeout_s: float) -> None:
            self._announce_state()
            spin(timeout_s)

        self.robot.rest(announce_and_spin)
        self._announce_state()

    def close(self) -> None:
        """Bring the robot to rest, release it and the topics."""
        self.robot.close()
        self.destroy_node()

    def deliver(self, limit_s: float) -> None:
        """Wait until reliable subscribers have what was published, but not for long: some may have died."""
        deadline_s = time.monotonic() + limit_s
        for publisher in self.publishers:
            publisher.wait_for_all_acked(Duration(seconds=max(0.0, deadline_s - time.monotonic())))
