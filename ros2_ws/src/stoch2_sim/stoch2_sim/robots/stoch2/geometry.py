"""What Stoch2 measures and weighs, and how its signals are ordered.

Lengths, masses and ranges are those of the public environment StochLab/SlopedTerrainLinearPolicy
(its URDF and its trajectory generator). Two frames are used throughout, SI units:

- body frame: origin in the middle of the trunk, x forward, y left, z up;
- leg frame: one for each leg, x forward from the hip motor's axis, y up and z outward from the
  abduction axis. Outward is to the left on left legs, to the right on right legs.
"""

from __future__ import annotations

import math

import numpy as np

from stoch2_sim.simulators.protocol import Array

LEGS = ("front_right", "front_left", "back_right", "back_left")
JOINTS = ("abduction", "hip", "knee")
JOINT_NAMES = tuple(f"{leg}_{joint}" for leg in LEGS for joint in JOINTS)
NUM_LEGS = len(LEGS)
NUM_JOINTS = len(JOINTS)

CONTROL_PERIOD_S = 0.005
GAIT_FREQUENCY_HZ = 2.5  # of the trot
GRAVITY_MPS2 = 9.81

# --- Trunk. The abduction axes run forward through these points of the body frame.
ABDUCTION_FRONT_X_M = 0.13405
ABDUCTION_BACK_X_M = -0.13675
ABDUCTION_Y_M = 0.11512
ABDUCTION_Z_M = 0.0074
# +1 where outward is to the left. Shape=(4,).
OUTWARD_SIGNS: Array = np.array([-1.0, 1.0, -1.0, 1.0])
# Points of the abduction axes beside the legs, body frame. Shape=(4, 3).
ABDUCTION_ORIGINS_M: Array = np.array(
    [
        [x, sign * ABDUCTION_Y_M, ABDUCTION_Z_M]
        for x, sign in zip([ABDUCTION_FRONT_X_M] * 2 + [ABDUCTION_BACK_X_M] * 2, [-1.0, 1.0, -1.0, 1.0], strict=True)
    ]
)

# --- Five-bar leg. The hip and crank motors sit below the abduction axis, one behind, one ahead of
# it. The public URDF places them 0.0385 m below, the public inverse kinematics calculate with
# 0.035 m; here one robot has one geometry, that of the kinematics, for which policies were made.
MOTOR_DROP_M = 0.035
HIP_MOTOR_X_M = -0.0175
CRANK_MOTOR_X_M = 0.0175
MOTOR_SPACING_M = CRANK_MOTOR_X_M - HIP_MOTOR_X_M
THIGH_M = 0.12
SHANK_M = 0.15015
SHANK_PIN_M = 0.04  # from the elbow to the pin by which the coupler drives the shank
COUPLER_M = 0.15501
CRANK_M = 0.04
# Seen from the elbow the foot lies this angle ahead (counter-clockwise) of the pin.
SHANK_BEND_RAD = 0.2532
# Directions of thigh and crank with both motors at zero, counter-clockwise from forward.
THIGH_ZERO_RAD = -0.75 * math.pi
CRANK_ZERO_RAD = -math.radians(70.0)
FOOT_RADIUS_M = 0.0115

# Ranges of the motors, a little wider than what all actions of the gait can ask for. Shape=(3,).
JOINT_MINIMUM_RAD: Array = np.array([-0.7, -1.0, -0.7])
JOINT_MAXIMUM_RAD: Array = np.array([0.7, 0.8, 1.2])

# --- Masses, kg, as the public environment runs them, and centres of mass, m.
BASE_MASS_KG = 0.1
TRUNK_HALF_MASS_KG = 1.1  # front and back half each
ABDUCTION_MASS_KG = 0.277
THIGH_MASS_KG = 0.0875  # mean of the public robot's four, one of which is lighter by a slip
LINK_MASS_KG = 0.1  # shank with foot, crank, coupler each
LEG_MASS_KG = ABDUCTION_MASS_KG + THIGH_MASS_KG + 3.0 * LINK_MASS_KG
TOTAL_MASS_KG = BASE_MASS_KG + 2.0 * TRUNK_HALF_MASS_KG + NUM_LEGS * LEG_MASS_KG
BASE_CENTRE_M = (0.0, 0.0, -0.0015)
TRUNK_FRONT_CENTRE_M = (0.0509 + 0.0887, 0.0, 0.0197)
TRUNK_BACK_CENTRE_M = (-0.0511 - 0.0886, 0.0, 0.0193)
ABDUCTION_CENTRE_INWARD_M = 0.0327
ABDUCTION_CENTRE_DROP_M = 0.0481
# Along the bars, from the joint nearer to the trunk.
THIGH_CENTRE_M = 0.0542
CRANK_CENTRE_M = 0.0146
COUPLER_CENTRE_M = 0.0775
SHANK_CENTRE_M = (-0.0342, -0.1116)  # in the axes in which the foot is at SHANK_FOOT_M
SHANK_FOOT_M = (-0.040, -0.1446)
# Principal moments of inertia about the centres of mass, kg m². Bullet computed those of the public
# robot from its collision shapes (not from its URDF), so these are what policies were made for. Axes
# are those of the trunk for trunk and abduction link; for the bars the last axis is along the bar.
BASE_INERTIA_KGM2 = (8.7e-5, 8.7e-5, 1.67e-4)
TRUNK_HALF_INERTIA_KGM2 = (4.4e-3, 2.0e-3, 5.1e-3)
ABDUCTION_INERTIA_KGM2 = (3.5e-4, 3.6e-4, 2.9e-4)
THIGH_INERTIA_KGM2 = (1.75e-4, 1.8e-4, 7e-6)
SHANK_INERTIA_KGM2 = (2.4e-4, 2.7e-4, 3.8e-5)  # in the axes of SHANK_CENTRE_M
CRANK_INERTIA_KGM2 = (3.4e-5, 4.0e-5, 7e-6)
COUPLER_INERTIA_KGM2 = (2.5e-4, 2.5e-4, 4e-6)

# --- Shapes, full edges or diameters, m.
TRUNK_BOX_M = (0.12, 0.20, 0.08)
ABDUCTION_BOX_M = (0.074, 0.042, 0.066)
ABDUCTION_BOX_INWARD_M = 0.034  # of its middle, from the abduction axis
ABDUCTION_BOX_DROP_M = 0.031
THIGH_WIDTH_M = 0.022
SHANK_WIDTH_M = 0.020
CRANK_WIDTH_M = 0.022
COUPLER_WIDTH_M = 0.013
BAR_THICKNESS_M = 0.006
# The bars lie side by side, outward of the leg plane by this much.
CRANK_SIDE_M = 0.008

# --- Actuators: the torque follows the joint targets, and is limited.
POSITION_GAIN = 200.0  # N m/rad
VELOCITY_GAIN = 10.0  # N m s/rad
TORQUE_LIMIT_NM = 7.0
ROTOR_INERTIA_KGM2 = 0.005

# --- Stance in which the robot is put down: feet straight below the hip motors.
NEUTRAL_FOOT_HEIGHT_M = -0.244
NEUTRAL_FOOT_M: Array = np.array([0.0, NEUTRAL_FOOT_HEIGHT_M, 0.0])
