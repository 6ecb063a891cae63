"""What a driver node tells of itself in the diagnostics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from demo_control.drivers.core import DriverState
from demo_control.nodes.diagnostics import Health

if TYPE_CHECKING:
    from demo_control.drivers.driver_node import DriverNode

_LEVELS = {
    DriverState.WAITING: "warn",
    DriverState.RUNNING: "ok",
    DriverState.STOPPED: "error",
    DriverState.FINISHED: "ok",
    DriverState.FAULT: "error",
}


def driver_health(node: DriverNode[Any], problem: str, counters: Mapping[str, object]) -> Health:
    """State, counters and score.

    Args:
        node: The driver.
        problem: What is wrong with the commands' topic, or ''.
        counters: More to tell.
    """
    core = node.robot.core
    publishers = node.count_publishers("action")
    level, message = _LEVELS[core.state], f"{core.state.value}: {core.reason}"
    if node.robot.failure:
        level = "error"
    if publishers > 1:
        level = "warn" if level == "ok" else level
        message = f"{message}; {publishers} nodes publish commands"
    values: dict[str, object] = {
        "state": core.state.value,
        "reason": core.reason,
        "time_s": f"{node.robot.time_s:.3f}",
        "observations": node.observations,
        "missed_ticks": node.timing.missed_ticks,
        "worst_lateness_ms": f"{1e3 * node.timing.tick_lateness.longest_s:.3f}",
        "missing_answers": node.missing_answers,
        "command_publishers": publishers,
        **node.robot.counters(),
        **core.counters(),
        **counters,
    }
    if not node.robot.held:
        values |= {f"score.{name}": value for name, value in node.figures().items()}
    return Health(level, "; ".join(filter(None, (message, problem))), values)
