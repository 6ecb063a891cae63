"""Says it is the layer, commands whatever it can for a while, and tells as JSON what came of it."""

from __future__ import annotations

import json
import os
import sys
import time

import rclpy
from demo_msgs.msg import Action, Observation

from demo_control.nodes.quality import CONTROL_PUBLISHER


def main(seconds: float, arguments: list[str]) -> None:
    rclpy.init(args=arguments)
    node = rclpy.create_node("demo_layer_node")
    publisher = node.create_publisher(Action, "action", CONTROL_PUBLISHER)
    heard: list[Observation] = []
    node.create_subscription(Observation, "observation", heard.append, CONTROL_PUBLISHER)
    sent, matched, end = 0, 0, time.monotonic() + seconds
    while time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.005)
        sent += 1
        stamp = node.get_clock().now().to_msg()
        action = Action(observation_sequence=sent, source="somebody", values=[3.0], observation_stamp=stamp)
        action.header.stamp = stamp
        publisher.publish(action)
        matched = max(matched, publisher.get_subscription_count())
    print(json.dumps({"sent": sent, "matched": matched, "heard": len(heard)}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
