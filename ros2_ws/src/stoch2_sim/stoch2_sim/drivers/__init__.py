"""Driver nodes, and their parts that know no ROS: what stands between commands and a robot's actuators."""
