"""demo_layer_node: corrects each nominal action by the freshest plan.

Subscribes ``nominal_action`` and ``observation``; publishes ``action``, per plan ``planner_status``, and at every
change ``layer_state``; service ``~/load_bundle``. A nominal action is answered at once; the planner runs beside in its
own thread (ONNX Runtime releases the interpreter lock), so a late plan never delays a command.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from builtin_interfaces.msg import Time
from demo_msgs.msg import Action, LayerState, Observation, PlannerStatus

from demo_control.bundle import load_bundle
from demo_control.configuration import ConfigurationError, Settings, setting
from demo_control.layer import COST_WEIGHT_PREFIX, DemoLayer, LayerSettings, PlanReport, TrialEnd
from demo_control.layer import LayerState as State
from demo_control.nodes.bundle_service import BundleService
from demo_control.nodes.diagnostics import Health
from demo_control.nodes.managed_node import ManagedNode
from demo_control.nodes.messages import answer, seconds_between, values_of
from demo_control.nodes.parameters import Declared
from demo_control.nodes.quality import LATCHED, RECORDING, WITHOUT_EVENTS
from demo_control.nodes.running import run
from demo_control.nodes.task_settings import TaskSettings
from demo_control.tasks import Task, load_task


@dataclass(frozen=True)
class LayerNodeSettings(TaskSettings):
    """What the node needs besides the layer's own settings."""

    seed: int = setting(0, "Seed of the planner's samples.", minimum=0)


def cost_weight_settings(task: Task) -> type[Settings]:
    """A settings class with one weight per cost term of a task, named ``cost_weight_<term>``."""
    fields = [
        (
            f"{COST_WEIGHT_PREFIX}{term.name}",
            float,
            setting(term.weight, f"Weight of: {term.text}.", minimum=0.0, in_flight=True),
        )
        for term in task.cost_terms
    ]
    return dataclasses.make_dataclass("CostWeights", fields, bases=(Settings,), frozen=True)


class DemoLayerNode(ManagedNode):
    """The DeMo Layer on ROS.

    Args:
        **options: As of rclpy's Node.
    """

    control_outputs = ("action",)

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - handed through to rclpy
        super().__init__("demo_layer_node", **options)
        self._settings = self.parameters.declare(LayerNodeSettings())
        self._layer_settings = self.parameters.declare(self._task_defaults(), self._on_settings)
        self._cost_weights = self._declare_cost_weights()
        self._layer: DemoLayer | None = None
        self._service: BundleService | None = None
        self._planner: ThreadPoolExecutor | None = None
        self._activations = 0
        self._forget()

    def configure(self) -> None:
        """Load the task and the bundle, compose and warm up the layer, create the topics."""
        self._task, bundle = self._settings.value.load()
        settings, seed = self._layer_settings.value, self._settings.value.seed
        self._layer = DemoLayer(self._task, bundle, settings, seed)
        self.get_logger().info(f"rollouts by {self._layer.engine}")
        if self._cost_weights is not None:
            self._on_cost_weights(self._cost_weights.value)
        self._bundle_in_use, self._directories = bundle.sha256, {bundle.sha256: self._settings.value.directory()}
        self._rollback = ""
        self._path = path = self.control_path(self._task.control_period_s)
        self._action = path.publisher(Action, "action")
        self._status = self.create_publisher(PlannerStatus, "planner_status", RECORDING, event_callbacks=WITHOUT_EVENTS)
        self._state = self.create_publisher(LayerState, "layer_state", LATCHED, event_callbacks=WITHOUT_EVENTS)
        # Ready callbacks run in the order of creation: the observation is in when its nominal action is answered.
        self.inputs = [
            path.input(Observation, "observation", self._on_observation),
            path.input(Action, "nominal_action", self._on_nominal_action),
        ]
        self._service = BundleService(self, self._swap, lambda: self._bundle_in_use)

    def activate(self) -> None:
        """Forget plans and commands, and start the planner's thread."""
        self._forget()
        self._activations += 1
        if self._layer is not None:
            self._publish_state(self._layer.reset())
        self._planner = ThreadPoolExecutor(1, thread_name_prefix="planner", initializer=self.real_time.enter_background)

    def deactivate(self) -> None:
        """Wait for the plan that is being made, and end the planner's thread."""
        if self._planner is not None:
            self._planner.shutdown(wait=True, cancel_futures=True)
            self._planner = None

    def cleanup(self) -> None:
        """Remove the topics and the layer."""
        if self._service is not None:
            self._service.close()
            self._service = None
            for control_input in self.inputs:
                control_input.close()
            self.inputs = []
            self._path.remove(self._action)
            self.destroy_publisher(self._status)
            self.destroy_publisher(self._state)
        self._layer = None

    def health(self) -> Health:
        """Counters; passing a nominal action through is the design's answer to trouble, so it is no error.

        A plan that ends in an exception is one: there is a bug, or no memory.
        """
        assert self._layer is not None
        counters = self._layer.counters
        fallbacks = {f"fallback_{reason}": n for reason, n in dict(counters.fallbacks).items()}
        values = {
            "bundle_sha256": self._bundle_in_use,
            "commands": counters.commands,
            "plans": counters.plans,
            "overruns": counters.overruns,
            "failed_plans": self._failed_plans,
            "prediction_error": _figure(self._layer.prediction_error),
            "bundle_trial": self._layer.trial,
            "bundle_rollback": self._rollback,
            **fallbacks,
        }
        if self._plan_failure:
            return Health("error", f"active, but plans fail: {self._plan_failure}", values)
        if self._rollback:
            return Health("warn", f"active, {self._rollback}", values)
        return Health("ok", "active", values)

    def _task_defaults(self) -> LayerSettings:
        """The settings that measured best for the task; a task that cannot be loaded is told at configure."""
        try:
            return LayerSettings.for_task(load_task(self._settings.value.task))
        except ConfigurationError:
            return LayerSettings()

    def _declare_cost_weights(self) -> Declared[Settings] | None:
        """One parameter per cost term of the task, which may change in flight."""
        try:
            task = load_task(self._settings.value.task)
        except ConfigurationError:
            return None
        return self.parameters.declare(cost_weight_settings(task)(), self._on_cost_weights)

    def _forget(self) -> None:
        """Start as if no message had come."""
        self._observation: Observation | None = None
        self._answered: int | None = None
        self._last_planned: int | None = None
        self._planning: Future[None] | None = None
        self._failed_plans, self._plan_failure = 0, ""

    def _on_settings(self, settings: LayerSettings) -> None:
        """Hand changed parameters to the layer; a plan that is being made is not waited for."""
        if self._layer is not None:
            self._changed(self._layer.update_settings(settings))

    def _on_cost_weights(self, weights: Settings) -> None:
        """Hand changed weights to the layer; a plan that is being made is not waited for."""
        if self._layer is not None:
            values = weights.as_mapping().items()
            by_term = {name.removeprefix(COST_WEIGHT_PREFIX): float(value) for name, value in values}
            self._changed(self._layer.update_cost_weights(by_term))

    def _swap(self, directory: str) -> None:
        """Load and take over another bundle; runs in the service's thread."""
        bundle = load_bundle(directory, self._task)
        if self._layer is not None:
            self._directories[bundle.sha256] = directory
            state = self._layer.swap_bundle(bundle, on_trial=True)
            self._bundle_in_use, self._rollback = bundle.sha256, ""
            self._changed(state)

    def _changed(self, state: State) -> None:
        """Tell a change; before the activation nothing has been answered that it could matter for."""
        if self.active:
            self._publish_state(state)

    def _publish_state(self, state: State) -> None:
        """Tell what the answers depend on from now on."""
        texts = {name: json.dumps(dict(getattr(state, name))) for name in ("settings", "cost_weights")}
        message = LayerState(
            activation=self._activations,
            task=self._task.name,
            bundle_directory=self._directories.get(state.bundle_sha256, ""),
            **{**vars(state), **texts},
        )
        message.header.stamp = self.get_clock().now().to_msg()
        self._state.publish(message)

    def _on_observation(self, message: Observation) -> None:
        """Keep the observation for the planner."""
        if self.active and self._layer is not None:
            self._layer.observed(message.sequence, message.values)
            self._observation = message
            self._plan_if_due()

    def _on_nominal_action(self, message: Action) -> None:
        """Answer at once, then plan for the next one."""
        if not self.active or self._layer is None:
            return
        correction = self._layer.correct(message.observation_sequence, values_of(message))
        if correction.values is not None:
            source = ":".join(part for part in (correction.source, correction.reason) if part)
            now = self.get_clock().now().to_msg()
            stamp = message.observation_stamp
            number = message.observation_sequence
            self._action.publish(answer(number, stamp, source, correction.values, now, correction.plans))
        self._answered = message.observation_sequence
        self._plan_if_due()

    def _plan_if_due(self) -> None:
        """Start a plan once an observation is here and its nominal action is answered."""
        observation, layer = self._observation, self._layer
        if observation is None or layer is None or observation.sequence != self._answered:
            return
        self._observation = None
        # Counted from the last plan, not by the number itself: a lost observation then costs one period of 200 Hz.
        due = self._last_planned is None or (
            not 0 <= observation.sequence - self._last_planned < layer.settings.plan_period_ticks
        )
        if not due or self._planner is None:
            return
        if self._task.unusable_observation(values_of(observation)):
            return
        if self._planning is not None and not self._planning.done():
            # Counted once for each plan that is missing, as the next try comes a period later.
            layer.counters.overruns += 1
            self._last_planned = observation.sequence
            return
        self._last_planned = observation.sequence
        started = self.get_clock().now().to_msg()
        self._planning = self._planner.submit(self._plan, layer, observation, started)

    def _plan(self, layer: DemoLayer, observation: Observation, started: Time) -> None:
        """Plan and publish how it went; runs in the planner's thread, where nobody else would hear of an error."""
        try:
            self._plan_and_tell(layer, observation, started)
            self._plan_failure = ""
        except Exception as error:  # whatever it is: the nominal action passes through, the next plan is tried
            # At the end of the process the context goes first, and nothing can be published any more.
            if not self.context.ok():
                return
            self._failed_plans += 1
            self._plan_failure = f"{type(error).__name__}: {error}"
            self.get_logger().error(
                f"plan from observation {observation.sequence} failed: {self._plan_failure}", throttle_duration_sec=1.0
            )

    def _plan_and_tell(self, layer: DemoLayer, observation: Observation, started: Time) -> None:
        """Plan, publish how it went, and end a bundle's trial that is decided."""
        report = layer.plan(observation.sequence, values_of(observation))
        ready = self.get_clock().now().to_msg()
        self._status.publish(_status(report, layer, observation, started, ready))
        ended = layer.end_trial()
        if ended is not None:
            self._end_trial(ended)

    def _end_trial(self, ended: TrialEnd) -> None:
        """Tell how a swapped bundle did; runs in the planner's thread."""
        tried = f"bundle {ended.sha256[:12]} of '{self._directories.get(ended.sha256, '')}'"
        if ended.state is None:
            self.get_logger().info(f"{tried} stays: {ended.text}")
            return
        self._bundle_in_use = ended.state.bundle_sha256
        self._rollback = f"rolled back from {tried}: {ended.text}"
        self._changed(ended.state)
        self.get_logger().error(self._rollback)


def _status(
    report: PlanReport, layer: DemoLayer, observation: Observation, started: Time, ready: Time
) -> PlannerStatus:
    """The message that tells of one plan."""
    status = PlannerStatus()
    status.header.stamp = ready
    status.observation_sequence = observation.sequence
    status.observation_age_s = seconds_between(observation.header.stamp, started)
    status.plan_age_s = seconds_between(observation.header.stamp, ready)
    status.plan_time_s = report.plan_time_s
    status.num_samples = report.num_samples
    status.horizon = report.horizon
    status.effective_sample_size = report.effective_sample_size
    status.cost_terms = list(report.cost_terms)
    status.nominal_costs = list(report.nominal_costs)
    status.plan_costs = list(report.plan_costs)
    status.nominal_cost = report.nominal_cost
    status.plan_cost = report.plan_cost
    status.predicted_gain = report.predicted_gain
    status.ensemble_disagreement = report.ensemble_disagreement
    status.accepted = report.accepted
    status.rejection_reason = report.rejection_reason
    status.followed_share = report.followed_share
    status.path_length, status.regret, status.realised_cost = report.path_length, report.regret, report.realised_cost
    counters = layer.counters
    status.commands, status.plans = counters.commands, counters.plans
    status.overruns = counters.overruns
    fallbacks = dict(counters.fallbacks)  # one call: the control thread counts on meanwhile
    status.fallback_reasons = list(fallbacks)
    status.fallback_counts = list(fallbacks.values())
    return status


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


COMPONENT = DemoLayerNode


def main() -> int:
    """Run the node."""
    return run(DemoLayerNode)


if __name__ == "__main__":
    sys.exit(main())
