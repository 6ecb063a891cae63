"""What this package's drivers may do where DDS is secured; see :mod:`demo_control.security.roles`."""

from demo_control.drivers.walking import Request
from demo_control.security.roles import driver_role

CARTPOLE_DRIVER = driver_role("cartpole_driver", "cartpole", publishes=("joint_states",))
STOCH2_DRIVER = driver_role(
    "stoch2_driver",
    "stoch2",
    publishes=(
        "joint_states", "imu", "odom", "contacts", "ground_truth_odom", "tf", "walking_state", "applied_push",
    ),
    subscribes=("cmd_vel", "push"),
    offers=tuple(request.value for request in Request),
)  # fmt: skip
