"""What a node asks of its control topics; knows no rclpy, so that it can be documented without."""

from __future__ import annotations

from dataclasses import dataclass

from demo_control.configuration import Settings, setting


@dataclass(frozen=True)
class ControlTopicSettings(Settings):
    """What a node asks of its control topics."""

    deadline_periods: float = setting(
        2.0,
        "Control periods within which the next message must come; a miss is counted and told. 0 for no deadline.",
        minimum=0.0,
        maximum=1000.0,
    )
    lifespan_s: float = setting(
        0.1, "A message that is older is never delivered. 0 for no limit.", minimum=0.0, maximum=60.0
    )
