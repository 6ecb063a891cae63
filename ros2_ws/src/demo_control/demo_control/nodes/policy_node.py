"""policy_node: answers each observation with the frozen policy's action.

Subscribes ``observation``, publishes ``nominal_action``; service ``~/load_bundle``.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import numpy as np
from demo_msgs.msg import Action, Observation

from demo_control.bundle import Bundle, load_bundle
from demo_control.nodes.bundle_service import BundleService
from demo_control.nodes.diagnostics import Health
from demo_control.nodes.managed_node import ManagedNode
from demo_control.nodes.messages import answer, values_of
from demo_control.nodes.running import run
from demo_control.nodes.task_settings import TaskSettings
from demo_control.policies import OnnxPolicy
from demo_control.quantities import Array, unusable


class PolicyNode(ManagedNode):
    """Answers each observation with the policy's action; an unusable observation gets no answer and is counted.

    Args:
        **options: As of rclpy's Node.
    """

    control_outputs = ("nominal_action",)

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - handed through to rclpy
        super().__init__("policy_node", **options)
        self._settings = self.parameters.declare(TaskSettings())
        self._counts: Counter[str] = Counter()
        self._service: BundleService | None = None

    def configure(self) -> None:
        """Load the task and the policy, and create the topics."""
        self._task, bundle = self._settings.value.load()
        self._use(bundle)
        self._path = path = self.control_path(self._task.control_period_s)
        self._publisher = path.publisher(Action, "nominal_action")
        self.inputs = [path.input(Observation, "observation", self._on_observation)]
        self._service = BundleService(self, self._swap, lambda: self._bundle.sha256)

    def activate(self) -> None:
        """Count from zero."""
        self._counts.clear()

    def cleanup(self) -> None:
        """Remove the topics."""
        if self._service is not None:
            self._service.close()
            self._service = None
            for control_input in self.inputs:
                control_input.close()
            self.inputs = []
            self._path.remove(self._publisher)

    def health(self) -> Health:
        """Warns once an observation could not be answered."""
        bad = {name: count for name, count in self._counts.items() if name != "answered"}
        text = ", ".join(f"{count} observations {name}" for name, count in sorted(bad.items()))
        values = {"bundle_sha256": self._bundle.sha256, **self._counts}
        return Health("warn", f"not answered: {text}", values) if bad else Health("ok", "active", values)

    def _use(self, bundle: Bundle) -> None:
        """Take over a bundle; the policy has run once before it is asked for the first time."""
        policy = OnnxPolicy(bundle.policy)
        policy.act(np.zeros((1, self._task.observation_dim)))
        # One assignment: the control path sees either the old pair or the new one.
        self._bundle, self._policy = bundle, policy

    def _swap(self, directory: str) -> None:
        """Load and take over another bundle; runs in the service's thread."""
        self._use(load_bundle(directory, self._task))

    def _on_observation(self, message: Observation) -> None:
        """Answer at once."""
        if not self.active:
            return
        values = values_of(message)
        reason = self._task.unusable_observation(values)
        action = np.empty(0) if reason else self._act(values)
        if not reason and unusable(action, self._task.action_dim):
            reason = "non_finite_action"
        self._counts[reason or "answered"] += 1
        if reason:
            told = f": {self._task.told_implausible(values)}" if reason == "implausible" else ""
            self.get_logger().warning(
                f"observation {message.sequence} not answered: {reason}{told}", throttle_duration_sec=1.0
            )
            return
        now = self.get_clock().now().to_msg()
        self._publisher.publish(answer(message.sequence, message.header.stamp, "policy", action, now))

    def _act(self, observation: Array) -> Array:
        """The policy's action for one observation. Shape=(action_dim,)."""
        action: Array = self._policy.act(observation[np.newaxis])[0]
        return action


COMPONENT = PolicyNode


def main() -> int:
    """Run the node."""
    return run(PolicyNode)


if __name__ == "__main__":
    sys.exit(main())
