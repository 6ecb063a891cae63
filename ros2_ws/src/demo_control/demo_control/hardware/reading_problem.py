"""What a reading of a real robot's bus says that is a fault for any robot: silence, no numbers, a tilt, complaints."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from demo_control.hardware.bus import Reading
from demo_control.hardware.wiring import SafetySettings


def reading_problem(reading: Reading, names: Sequence[str], settings: SafetySettings) -> str:
    """What is wrong with what was read, or ''.

    Args:
        reading: Of all joints.
        names: Of the joints, in the reading's order.
        settings: The limits.
    """
    limit_s = settings.silence_limit_s
    oldest = int(np.argmax(reading.ages_s))
    if reading.ages_s[oldest] > limit_s:
        silent = int((reading.ages_s > limit_s).sum())
        also = f" and {silent - 1} more have" if silent > 1 else " has"
        return f"joint {names[oldest]}{also} been silent for {1e3 * reading.ages_s[oldest]:.0f} ms"
    if not (np.isfinite(reading.positions).all() and np.isfinite(reading.velocities).all()):
        return "a joint's position or velocity is not a number"
    if reading.imu is not None:
        if reading.imu.age_s > limit_s:
            return f"the IMU has been silent for {1e3 * reading.imu.age_s:.0f} ms"
        w, x, y, z = reading.imu.orientation.tolist()
        # Cosine of the angle between the trunk's vertical and the world's.
        upright = w * w - x * x - y * y + z * z
        if not upright > math.cos(math.radians(settings.tilt_limit_deg)):
            return f"tilted by {math.degrees(math.acos(min(1.0, max(-1.0, upright)))):.0f}°"
    return reading.problems[0] if reading.problems else ""
