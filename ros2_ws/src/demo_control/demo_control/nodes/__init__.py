"""ROS 2 nodes: thin rclpy shells over the middleware-free code.

Parameters, lifecycle, diagnostics and quality of service are shared by all of them, the robots' drivers included.
"""

import os

# One robot, one plan at a time: the numerical libraries' own threads only steal time from the control path.
# They read these variables when they are first imported, which is after this package.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
