"""Parameter files that are shipped, and the text of the one that lists all settings of the layer.

``python -m demo_control.config > ros2_ws/src/demo_control/demo_control/config/demo_layer.yaml`` writes it anew.
"""

from __future__ import annotations

import textwrap

from demo_control.configuration import Settings

_WIDTH = 110
_HEADER = """\
# All settings of the DeMo Layer with the values that hold where neither the task nor this file says otherwise.
# Copy it, keep the lines you change, and hand it over:
# democtl launch … --parameters FILE, or ros2 launch … parameters:=FILE.
# '(in flight)' can also be changed while the node runs: ros2 param set /demo_layer_node NAME VALUE.
"""


def parameter_file(node: str, settings: Settings) -> str:
    """A ROS parameter file with every setting, its description and what is allowed."""
    lines = [f"{node}:", "  ros__parameters:"]
    for entry in settings.entries():
        flight = " (in flight)" if entry.description.in_flight else ""
        text = f"{entry.description.text}{flight} Allowed: {entry.description.allowed()}."
        lines += [f"    # {line}" for line in textwrap.wrap(text, _WIDTH)]
        value = getattr(settings, entry.name)
        lines.append(f"    {entry.name}: {str(value).lower() if isinstance(value, bool) else value}")
    return _HEADER + "\n".join(lines) + "\n"
