"""The settings by which one simulated Stoch2, and the ground under it, differ from the nominal one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from demo_control.configuration import ConfigurationError, Settings, setting
from stoch2_sim.robots.stoch2.geometry import TORQUE_LIMIT_NM

TERRAINS = ("flat", "slope", "stairs", "rough")


@dataclass(frozen=True)
class RobotParameters(Settings):
    """One robot and its ground; the defaults are the nominal robot on flat ground."""

    terrain: str = setting("flat", "Kind of ground", choices=TERRAINS)
    slope_deg: float = setting(
        0.0,
        "Inclination of the ground of terrain 'slope'; positive is uphill at orientation 0",
        minimum=-30.0,
        maximum=30.0,
    )
    orientation_deg: float = setting(
        0.0,
        "Direction in which the ground rises, counter-clockwise from the world's x axis; the robot starts along x",
        minimum=-180.0,
        maximum=180.0,
    )
    friction: float = setting(
        0.6, "Effective friction between foot and ground (the product of both in Bullet)", minimum=0.05, maximum=3.0
    )
    stair_rise_m: float = setting(0.03, "Height of a step of terrain 'stairs'", minimum=-0.1, maximum=0.1)
    stair_run_m: float = setting(0.2, "Depth of a step of terrain 'stairs'", minimum=0.05, maximum=2.0)
    roughness_m: float = setting(
        0.03, "Largest difference in height of terrain 'rough', lowest to highest", minimum=0.0, maximum=0.2
    )
    terrain_seed: int = setting(0, "Seed of terrain 'rough'", minimum=0, maximum=2**31 - 1)
    payload_kg: float = setting(0.0, "Extra mass on the trunk", minimum=0.0, maximum=5.0)
    payload_x_m: float = setting(
        0.0, "Where the extra mass sits, forward of the trunk's middle", minimum=-0.3, maximum=0.3
    )
    payload_y_m: float = setting(
        0.0, "Where the extra mass sits, left of the trunk's middle", minimum=-0.2, maximum=0.2
    )
    payload_z_m: float = setting(0.06, "Where the extra mass sits, above the trunk's origin", minimum=-0.2, maximum=0.3)
    mass_scale: float = setting(1.0, "Factor on all masses and inertias of the robot", minimum=0.3, maximum=3.0)
    torque_limit_nm: float = setting(TORQUE_LIMIT_NM, "Largest torque of a motor", minimum=0.5, maximum=50.0)
    motor_strength: float = setting(
        1.0, "Factor on the torque that the joint controller asks for", minimum=0.1, maximum=2.0
    )


def inclined(robot: RobotParameters) -> RobotParameters:
    """The robot on the ground that is meant: an inclination makes flat ground a slope.

    Args:
        robot: As it was asked for.

    Raises:
        ConfigurationError: An inclination of stairs or rough ground.
    """
    if robot.slope_deg == 0.0 or robot.terrain == "slope":
        return robot
    if robot.terrain != "flat":
        raise ConfigurationError(f"slope_deg = {robot.slope_deg:g}: must be 0 on terrain '{robot.terrain}'")
    return replace(robot, terrain="slope")
