"""Settings of a driver on hardware."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from demo_control.configuration import ConfigurationError, Settings, setting
from demo_control.hardware.wiring import Wiring, load_wiring


@dataclass(frozen=True)
class HardwareSettings(Settings):
    """How a driver finds its real robot."""

    wiring: str = setting("", "Wiring file of a real robot (docs/hardware.md); empty drives the simulated one")
    dry_run: bool = setting(False, "Read and compute everything, send nothing to the actuators")
    arm_by_itself: bool = setting(
        False,
        "Switch the actuators on when the first commands arrive, once; otherwise, and later, the service arm does it",
    )

    def load(self, task: str) -> Wiring:
        """The wiring.

        Raises:
            ConfigurationError: It is no good, or a robot's of another task.
        """
        wiring = load_wiring(Path(self.wiring))
        if wiring.task != task:
            raise ConfigurationError(f"{self.wiring}: task = '{wiring.task}': must be '{task}' for this driver")
        return wiring
