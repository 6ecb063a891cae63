"""Quality of service of the topics, in one place.

Control topics (observation, nominal_action, action): publishers are reliable, so that a recorder or monitor may ask
for every message; the nodes on the control path subscribe best effort with a depth of one, because a command that
comes late is worth less than the next observation: nothing is sent again, nothing queues up.
"""

from rclpy.event_handler import PublisherEventCallbacks
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

_PUBLISHER_DEPTH = 200
"""One second at 200 Hz: as long as a reliable recorder may be held up without losing a message."""

_RECORDING_DEPTH = 5000

CONTROL_PUBLISHER = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=_PUBLISHER_DEPTH,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)

CONTROL_SUBSCRIBER = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)

RECORDING = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=_RECORDING_DEPTH,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)
"""For those who must have every message: the driver's ground truth and whoever records."""

DIAGNOSTICS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=10,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)

LATCHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=100,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
"""For what changes seldom: who comes late hears all of it."""

WITHOUT_EVENTS = PublisherEventCallbacks(use_default_callbacks=False)
"""For publishers. By default each watches for subscribers that do not match, which makes every wait for messages longer
(by half, in a driver of a dozen topics); the subscribers say the same."""
