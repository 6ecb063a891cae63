"""The robots: descriptions, physical parameters, kinematics, and what they are judged by."""
