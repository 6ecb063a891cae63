"""What a faulty wire or sensor does to messages; knows no ROS."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from demo_control.configuration import Settings, setting
from demo_control.tasks import Array

HUGE = 1e30
VALUE_FAULTS = ("", "nan", "inf", "huge", "zero", "stuck", "frozen", "longer", "shorter", "empty")


@dataclass(frozen=True)
class Distortion(Settings):
    """What happens to the messages of one topic."""

    blocked: bool = setting(False, "Nothing gets through.")
    loss: float = setting(0.0, "Share of messages that are lost.", minimum=0.0, maximum=1.0)
    duplication: float = setting(0.0, "Share of messages that come twice.", minimum=0.0, maximum=1.0)
    delay_s: float = setting(0.0, "Time that every message is held back.", minimum=0.0, maximum=10.0)
    jitter_s: float = setting(
        0.0, "Mean of a random time on top, so that messages overtake.", minimum=0.0, maximum=10.0
    )
    values: str = setting("", "What becomes of the numbers.", choices=VALUE_FAULTS)
    stamp_s: float = setting(0.0, "The clock that stamps is wrong by this much.", minimum=-1e7, maximum=1e7)


class Distorter:
    """Distorts one topic's messages.

    Args:
        generator: Draws what is random; its draws do not depend on the settings.
    """

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator
        self._first: Array | None = None
        self.distortion = Distortion()

    def begin(self, distortion: Distortion) -> None:
        """Distort in another way from now on; what is frozen or stuck keeps the next message's values."""
        self.distortion = distortion
        self._first = None

    def delays(self) -> list[float]:
        """When copies of a message that comes now are handed on: seconds from now, one entry per copy."""
        lost, doubled = self._generator.random(2)
        late = self._generator.standard_exponential(2)
        wish = self.distortion
        if wish.blocked or lost < wish.loss:
            return []
        copies = 2 if doubled < wish.duplication else 1
        return [wish.delay_s + wish.jitter_s * float(late[copy]) for copy in range(copies)]

    def values(self, values: Array) -> Array:
        """What becomes of a message's numbers; another array, perhaps of another length."""
        changed = values.copy()
        if self._first is None:
            self._first = values.copy()
        fault = self.distortion.values
        constant = {"nan": math.nan, "inf": math.inf, "huge": HUGE, "zero": 0.0}
        if fault in constant:
            changed[:] = constant[fault]
        elif fault == "stuck":
            changed[:1] = self._first[:1]
        elif fault == "frozen":
            changed = self._first.copy()
        elif fault in ("longer", "shorter", "empty"):
            lengths = {"longer": changed.size + 1, "shorter": max(0, changed.size - 1), "empty": 0}
            changed = np.resize(changed, lengths[fault])
        result: Array = changed
        return result
