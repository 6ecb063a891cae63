"""How far messages reach and which way they take: this machine unless more is asked for, by sockets.

Fast DDS's shared memory holds up those who publish, for up to a third of a second, when another program joins
(https://github.com/eProsima/Fast-DDS/issues/6535): a robot then stops for want of commands. Messages of control are
small, and sockets carry them as fast (docs/real_time.md).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from demo_control.configuration import ConfigurationError

DOMAIN = "ROS_DOMAIN_ID"
RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
LOCALHOST_ONLY = "ROS_LOCALHOST_ONLY"
STATIC_PEERS = "ROS_STATIC_PEERS"
PROFILE = "FASTRTPS_DEFAULT_PROFILES_FILE"
NEWER_PROFILE = "FASTDDS_DEFAULT_PROFILES_FILE"
TRANSPORTS = "FASTDDS_BUILTIN_TRANSPORTS"

FAST_DDS = "rmw_fastrtps_cpp"
"""The middleware that ROS 2 takes by itself."""

LARGEST_DOMAIN = 232
"""A larger one has no ports; Fast DDS ends the process that asks for it."""

LOOPBACK = Path(__file__).with_name("loopback.xml")
"""Fast DDS's profile for programs of this machine only."""

_SOCKETS = "UDPv4"
# The variables by which a user chooses the way, each with the value that is ours.
_CHOICES = {PROFILE: str(LOOPBACK), NEWER_PROFILE: "", TRANSPORTS: _SOCKETS}


def domain_of(environment: Mapping[str, str]) -> int:
    """The ROS domain.

    Raises:
        ConfigurationError: It is none.
    """
    text = environment.get(DOMAIN) or "0"
    if not text.isdecimal() or int(text) > LARGEST_DOMAIN:
        raise ConfigurationError(f"{DOMAIN} = '{text}': must be a number between 0 and {LARGEST_DOMAIN}")
    if text != str(int(text)):
        # ROS 2 reads it as C does: 010 is its domain 8.
        raise ConfigurationError(f"{DOMAIN} = '{text}': must be written as {int(text)}; ROS 2 reads it as octal")
    return int(text)


def claim_of(domain: int) -> str:
    """Address of the Unix socket that a bring-up of ours holds while it runs in a domain on this machine."""
    return f"\0demo_control/ros_domain/{domain}"


def middleware(environment: Mapping[str, str]) -> str:
    """Name of the middleware that ROS 2 takes in an environment."""
    return environment.get("RMW_IMPLEMENTATION") or FAST_DDS


def is_local(environment: Mapping[str, str]) -> bool:
    """Whether an environment keeps messages on this machine, for ROS 2."""
    named = environment.get(RANGE, "").upper() in {"LOCALHOST", "OFF"} or environment.get(LOCALHOST_ONLY) == "1"
    return (named or environment.get(PROFILE) == str(LOOPBACK)) and not environment.get(STATIC_PEERS)


def reach_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variable that keeps nodes on this machine; none where an environment says how far they reach.

    Without it, two people who try the demonstration in one network would steer each other's cart-poles.
    """
    is_said = any(environment.get(variable) for variable in (RANGE, LOCALHOST_ONLY, STATIC_PEERS))
    return {} if is_said else {RANGE: "LOCALHOST"}


def socket_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that make Fast DDS use sockets only, with the reach that an environment asks for.

    Empty where the user has chosen the way himself, where the middleware is another, and for a range LOCALHOST with
    static peers, for which ROS takes its own transports.
    """
    is_chosen = any(environment.get(name, "") not in {"", ours} for name, ours in _CHOICES.items())
    if is_chosen or middleware(environment) != FAST_DDS:
        return {}
    reach = "LOCALHOST" if environment.get(LOCALHOST_ONLY) == "1" else environment.get(RANGE, "").upper()
    if reach == "LOCALHOST" and not environment.get(STATIC_PEERS):
        # To a profile ROS adds shared memory for LOCALHOST, and nothing for SYSTEM_DEFAULT.
        return {PROFILE: str(LOOPBACK), RANGE: "SYSTEM_DEFAULT", LOCALHOST_ONLY: ""}
    if reach in {"LOCALHOST", "OFF"} or environment.get(PROFILE):
        return {}
    return {TRANSPORTS: _SOCKETS}


def uses_sockets(environment: Mapping[str, str]) -> bool:
    """Whether a node that is started in an environment takes the way through sockets only."""
    return bool(socket_variables(environment)) or environment.get(PROFILE) == str(LOOPBACK)


def prepare_network() -> None:
    """Keep this program and its children to this machine and to sockets where nothing else is asked for.

    Call before rclpy.init.

    Raises:
        ConfigurationError: The environment names a ROS domain that is none.
    """
    domain_of(os.environ)
    os.environ.update(reach_variables(os.environ))
    os.environ.update(socket_variables(os.environ))
