"""What this machine will hold, and what to change on it: `democtl doctor`.

Each module looks at one side; all return findings. Nothing here needs ROS, changes anything, or fails on a machine
that lacks something: that is a finding.
"""

from demo_control.doctor.findings import LEVELS, Finding, worst_level

__all__ = ["LEVELS", "Finding", "worst_level"]
