"""Which engine makes the rollouts of a bundle, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from demo_control.bundle import Bundle
from demo_control.configuration import ConfigurationError
from demo_control.rollout.engine import RolloutEngine, RolloutShape
from demo_control.rollout.native import KernelError, NativeEngine, UnsupportedGraphError
from demo_control.rollout.onnx_engine import OnnxEngine
from demo_control.tasks import Task

ENGINES = ("auto", "native", "onnx")
"""Values of the setting ``engine``; 'auto' is native where it can be, and onnx elsewhere."""


@dataclass(frozen=True)
class EngineChoice:
    """Builds the engines of one planner.

    Attributes:
        name: 'native' or 'onnx'.
        reason: Why it is this one, for logs.
        make: Builds the engine for one kind of rollouts.
    """

    name: str
    reason: str
    make: Callable[[RolloutShape], RolloutEngine]

    def __str__(self) -> str:
        """For logs."""
        return f"{self.name}: {self.reason}"


def choose_engine(task: Task, bundle: Bundle, engine: str = "auto", threads: int = 0) -> EngineChoice:
    """Choose the engine for a bundle's rollouts.

    Args:
        task: The planning problem.
        bundle: Policy, dynamics and value.
        engine: One of :data:`ENGINES`.
        threads: At most that many share a long plan; 0 for one per core.

    Raises:
        ConfigurationError: An unknown engine, or 'native' where it cannot be.
    """
    if engine not in ENGINES:
        raise ConfigurationError(f"engine = '{engine}': must be one of {', '.join(ENGINES)}")

    def make_onnx(shape: RolloutShape) -> RolloutEngine:
        return OnnxEngine(task, bundle, shape, threads)

    def make_native(shape: RolloutShape) -> RolloutEngine:
        return NativeEngine(task, bundle, shape, threads)

    if engine == "onnx":
        return EngineChoice("onnx", "as set", make_onnx)
    try:
        # A short horizon has the same operators as a long one.
        tried = NativeEngine(
            task, bundle, RolloutShape(1, average_members=False, with_policy=True, with_trajectory=True), threads
        )
    except (KernelError, UnsupportedGraphError) as error:
        if engine == "native":
            raise ConfigurationError(f"engine = 'native': {error}") from None
        return EngineChoice("onnx", f"native is not possible: {error}", make_onnx)
    return EngineChoice("native", f"compiled kernel for {tried.variant}", make_native)
