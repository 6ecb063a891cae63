"""What the lifecycle nodes share: transitions that say why they fail, and diagnostics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from demo_control.bundle import BundleError
from demo_control.configuration import ConfigurationError
from demo_control.nodes.control_topic_settings import ControlTopicSettings
from demo_control.nodes.control_topics import ControlInput, ControlPath
from demo_control.nodes.diagnostics import Diagnostics, Health
from demo_control.nodes.parameters import Parameters
from demo_control.nodes.real_time_process import RealTimeProcess
from demo_control.nodes.running import RosError


class ManagedNode(LifecycleNode):  # type: ignore[misc] # rclpy has no types
    """A lifecycle node whose transitions never raise and always tell.

    A subclass declares its parameters in the constructor and overrides :meth:`configure`, :meth:`activate`,
    :meth:`deactivate`, :meth:`cleanup` and :meth:`health`. configure and activate may raise ConfigurationError or
    BundleError: the transition then fails, the reason is logged, and the node stays in the state it was in.

    Args:
        name: The node's name.
        **options: As of rclpy's Node.
    """

    def __init__(self, name: str, **options: Any) -> None:  # noqa: ANN401 - handed through to rclpy
        super().__init__(name, **options)
        self.active = False
        self._configured = False
        self._problem = ""
        self.parameters = Parameters(self)
        self.real_time = RealTimeProcess(self, self.parameters)
        self.inputs: list[ControlInput] = []
        self._topic_settings = self.parameters.declare(ControlTopicSettings())
        self._refuse_impossible_transitions()
        self._diagnostics = Diagnostics(self, self._overall_health)

    @property
    def in_simulated_time(self) -> bool:
        """Whether the node follows /clock."""
        return bool(self.get_parameter("use_sim_time").value)

    def control_path(self, period_s: float) -> ControlPath:
        """How the node's control topics are made; what listens to them belongs into :attr:`inputs`.

        Args:
            period_s: Control period.
        """
        settings, real_time = self._topic_settings.value, not self.in_simulated_time
        return ControlPath(self, period_s, settings, real_time, self._diagnostics.publish)

    def configure(self) -> None:
        """Load everything and create the topics."""

    def activate(self) -> None:
        """Forget the past; messages are handled from now on."""

    def deactivate(self) -> None:
        """Messages are no longer handled; end threads."""

    def cleanup(self) -> None:
        """Release what :meth:`configure` took."""

    def health(self) -> Health:
        """How the active node fares."""
        return Health("ok", "active")

    def on_configure(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Check all parameters, then configure."""

        def configure() -> None:
            self.parameters.check()
            self.configure()

        result = self._attempt("configure", configure)
        self._configured = result == TransitionCallbackReturn.SUCCESS
        if not self._configured:
            self.cleanup()
        return self._told(result)

    def on_activate(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Activate."""
        result = self._attempt("activate", self.activate)
        if result == TransitionCallbackReturn.SUCCESS:
            self.real_time.enter(is_real=not self.in_simulated_time)
            self.active = True
        return self._told(result)

    def on_deactivate(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Deactivate."""
        self.active = False
        self.real_time.leave()
        return self._told(self._attempt("deactivate", self.deactivate))

    def on_cleanup(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Clean up."""
        self._configured = False
        return self._told(self._attempt("cleanup", self.cleanup))

    def on_shutdown(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Deactivate and clean up, from any state."""
        return self._attempt("shutdown", self._release)

    def on_error(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured."""
        return self._attempt("recover", self._release)

    def destroy_node(self) -> None:
        """End threads before the topics they publish on go away, and leave ROS."""
        self._release()
        super().destroy_node()
        # rclpy 7.1 forgets its state machine, which keeps the node in ROS: Fast DDS would then be taken apart while
        # the process exits, beneath its own threads, and now and then crash or hang.
        self._state_machine.destroy_when_not_in_use()

    def _release(self) -> None:
        """Deactivate and clean up what there is."""
        if self.active:
            self.active = False
            self.real_time.leave()
            self.deactivate()
        if self._configured:
            self._configured = False
            self.cleanup()

    def _told(self, result: TransitionCallbackReturn) -> TransitionCallbackReturn:
        """Publish the new state at once, not only at the next full second."""
        self._diagnostics.publish()
        return result

    def _attempt(self, name: str, step: Callable[[], None]) -> TransitionCallbackReturn:
        """Run one step of a transition; a failure is logged, line by line."""
        try:
            step()
        except (ConfigurationError, BundleError) as error:
            self._problem = str(error)
        except Exception as error:  # rclpy would swallow it and leave no trace of the reason
            self._problem = f"{type(error).__name__}: {error}"
        else:
            self._problem = ""
            self.get_logger().info(f"{name}: done")
            return TransitionCallbackReturn.SUCCESS
        for line in self._problem.splitlines():
            self.get_logger().error(f"cannot {name}: {line}")
        return TransitionCallbackReturn.FAILURE

    def _overall_health(self) -> Health:
        """The health in any state."""
        if self._problem:
            return Health("error", self._problem)
        if not self.active:
            return Health("ok", "inactive" if self._configured else "unconfigured")
        health = self.health()
        values = {**health.values, **self.real_time.values()}
        for control_input in self.inputs:
            values |= control_input.values()
        problem = "; ".join(filter(None, (control_input.problem for control_input in self.inputs)))
        return Health("warn", problem, values) if problem else Health(health.level, health.message, values)

    def _refuse_impossible_transitions(self) -> None:
        """Answer a request for a transition that the state does not have; rclpy 7.1 raises out of spin instead."""
        service = self._service_change_state
        change_state = service.callback

        def refuse_or_change(request: Any, response: Any) -> Any:  # noqa: ANN401 - rclpy has no types
            try:
                return change_state(request, response)
            except RosError as error:
                self.get_logger().warning(f"refused a transition: {error}")
                response.success = False
                return response

        service.callback = refuse_or_change
