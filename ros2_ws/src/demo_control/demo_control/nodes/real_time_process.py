"""A node's process in real time: parameters, what Linux granted, and how that is told."""

from __future__ import annotations

import gc

from rclpy.node import Node

from demo_control.nodes.parameters import Parameters
from demo_control.real_time import Outcome, RealTimeSettings, apply, apply_to_background, settle

_without_collection: set[RealTimeProcess] = set()
"""Who in this process asked that Python collects no garbage; it does again when the last of them leaves."""


class RealTimeProcess:
    """What a node that controls asks of its process when it becomes active.

    Args:
        node: Says what is refused.
        parameters: Of the node; the settings are declared there.
        priority: Default of ``scheduling_priority``.
    """

    def __init__(
        self, node: Node, parameters: Parameters, priority: int = RealTimeSettings.scheduling_priority
    ) -> None:
        self._node = node
        self._settings = parameters.declare(RealTimeSettings(scheduling_priority=priority))
        self._outcomes: tuple[Outcome, ...] = ()
        self._is_active = False

    def enter(self, *, is_real: bool = True) -> None:
        """Ask; call it once everything is loaded and warm.

        Args:
            is_real: False in simulated time, where nothing is asked.
        """
        if not is_real:
            settle(collect_garbage=True)
            return
        self._is_active = True
        settings = self._settings.value
        settle(collect_garbage=settings.collect_garbage)
        if not settings.collect_garbage:
            _without_collection.add(self)
        self._outcomes = apply(settings)
        self._tell(self._outcomes)

    def enter_background(self) -> None:
        """Ask for the calling thread, which may be late; it is left alone if the process is not in real time."""
        if self._is_active:
            self._tell(apply_to_background(self._settings.value))

    def leave(self) -> None:
        """Let Python collect its garbage again, if no other node here minds; scheduling and memory stay."""
        if self._is_active:
            self._is_active = False
            _without_collection.discard(self)
            if not _without_collection:
                gc.enable()

    def values(self) -> dict[str, object]:
        """What the process has, and what it was refused, for the diagnostics."""
        if not self._is_active:
            return {}
        granted = [outcome.text for outcome in self._outcomes if not outcome.refusal]
        refused = [f"{outcome.text} ({outcome.refusal})" for outcome in self._outcomes if outcome.refusal]
        return {"real_time": ", ".join(granted) or "nothing asked", "real_time_refused": "; ".join(refused)}

    def _tell(self, outcomes: tuple[Outcome, ...]) -> None:
        for outcome in outcomes:
            if outcome.refusal:
                self._node.get_logger().warning(f"not permitted: {outcome.text}: {outcome.refusal}")
