"""Parameter files that are shipped, and the text of those that list all settings of something.

``python -m demo_control.config FILE`` writes one of :data:`FILES` to standard output.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from demo_control.configuration import Entry, Settings
from demo_control.layer import LayerSettings
from demo_control.nodes.control_topic_settings import ControlTopicSettings
from demo_control.real_time import RealTimeSettings

_WIDTH = 110
_HOW_TO = """\
# Copy it, keep the lines you change, and hand it over:
# democtl launch … --parameters FILE, or ros2 launch … parameters:=FILE.
"""
_LAYER = f"""\
# All settings of the DeMo Layer with the values that hold where neither the task nor this file says otherwise.
{_HOW_TO}\
# '(in flight)' can also be changed while the node runs: ros2 param set /demo_layer_node NAME VALUE.
"""
_REAL_TIME = f"""\
# What the nodes ask of Linux when they become active in real time, and of their control topics, with their defaults.
# A driver takes the same, under its own name, and has priority 45. The bring-ups set 'scheduling' to 'fifo' unless
# they are called with real_time false.
{_HOW_TO}\
"""


def parameter_file(header: str, nodes: Mapping[str, Sequence[Settings]]) -> str:
    """A ROS parameter file with every setting, its description and what is allowed.

    Args:
        header: Comment on top.
        nodes: The settings by node.
    """
    return header + "\n".join(_section(node, settings) for node, settings in nodes.items())


def _section(node: str, groups: Sequence[Settings]) -> str:
    lines = [f"{node}:", "  ros__parameters:"]
    for settings in groups:
        for entry in settings.entries():
            lines += _lines(entry, getattr(settings, entry.name))
    return "\n".join(lines) + "\n"


def _lines(entry: Entry, value: object) -> list[str]:
    """What the file says of one setting."""
    flight = " (in flight)" if entry.description.in_flight else ""
    text = f"{entry.description.text}{flight} Allowed: {entry.description.allowed()}."
    shown = str(value).lower() if isinstance(value, bool) else value if value != "" else "''"
    return [*(f"    # {line}" for line in textwrap.wrap(text, _WIDTH)), f"    {entry.name}: {shown}"]


def layer_file() -> str:
    """All settings of the layer."""
    return parameter_file(_LAYER, {"demo_layer_node": [LayerSettings()]})


def real_time_file() -> str:
    """All settings of real time."""
    settings = [RealTimeSettings(), ControlTopicSettings()]
    return parameter_file(_REAL_TIME, {"policy_node": settings, "demo_layer_node": settings})


FILES = {"demo_layer.yaml": layer_file, "real_time.yaml": real_time_file}
"""What makes each file that is generated."""
