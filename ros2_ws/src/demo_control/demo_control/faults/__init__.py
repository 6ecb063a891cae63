"""The fault campaign: faults × phases of a run, on real processes over DDS, judged by an observer of its own.

``table`` says which faults there are, ``judge`` what happened and whether it was safe, ``report`` what it adds up to;
none of them knows ROS, and the judge shares no code with the driver's limits. ``rig`` runs the robot, ``relay_node``
stands between the driver and its controllers, ``disturber`` disturbs from outside.
"""
