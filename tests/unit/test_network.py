"""Which variables make Fast DDS use sockets, and whose wish goes before ours."""

from __future__ import annotations

import os
from xml.etree import ElementTree

import pytest

from demo_control.configuration import ConfigurationError
from demo_control.network import (
    DOMAIN,
    LOCALHOST_ONLY,
    LOOPBACK,
    NEWER_PROFILE,
    PROFILE,
    RANGE,
    STATIC_PEERS,
    TRANSPORTS,
    is_local,
    prepare_network,
    reach_variables,
    socket_variables,
    uses_sockets,
)

LOCAL = {PROFILE: str(LOOPBACK), RANGE: "SYSTEM_DEFAULT", LOCALHOST_ONLY: ""}
WIDE = {TRANSPORTS: "UDPv4"}
SPACE = {"dds": "http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, WIDE),
        ({RANGE: "SUBNET"}, WIDE),
        ({RANGE: "SYSTEM_DEFAULT"}, WIDE),
        ({RANGE: "SUBNET", STATIC_PEERS: "10.0.0.7"}, WIDE),
        ({RANGE: "LOCALHOST"}, LOCAL),
        ({RANGE: "localhost"}, LOCAL),
        ({LOCALHOST_ONLY: "1"}, LOCAL),
        ({LOCALHOST_ONLY: "1", RANGE: "SUBNET"}, LOCAL),
        ({RANGE: "LOCALHOST", "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}, LOCAL),
        ({RANGE: "LOCALHOST", TRANSPORTS: "UDPv4"}, LOCAL),
        ({RANGE: "LOCALHOST", PROFILE: str(LOOPBACK)}, LOCAL),
    ],
)
def test_an_environment_gets_sockets_with_the_reach_that_it_asks_for(
    environment: dict[str, str], expected: dict[str, str]
) -> None:
    assert socket_variables(environment) == expected
    assert uses_sockets(environment)
    assert is_local({**environment, **expected}) == (expected == LOCAL)


@pytest.mark.parametrize(
    "environment",
    [
        {RANGE: "OFF"},
        {RANGE: "LOCALHOST", STATIC_PEERS: "10.0.0.7"},
        {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"},
        {PROFILE: "/my/profile.xml", RANGE: "LOCALHOST"},
        {NEWER_PROFILE: "/my/profile.xml"},
        {TRANSPORTS: "SHM"},
        {TRANSPORTS: "DEFAULT", RANGE: "LOCALHOST"},
    ],
)
def test_the_users_own_choice_and_other_middleware_are_left_alone(environment: dict[str, str]) -> None:
    assert socket_variables(environment) == {}
    assert not uses_sockets(environment)


def test_a_child_of_a_program_of_ours_finds_everything_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (PROFILE, NEWER_PROFILE, TRANSPORTS, STATIC_PEERS, LOCALHOST_ONLY, "RMW_IMPLEMENTATION"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv(RANGE, "LOCALHOST")
    prepare_network()
    first = dict(os.environ)
    prepare_network()
    assert dict(os.environ) == first
    assert first[PROFILE] == str(LOOPBACK)


def test_nodes_stay_on_this_machine_where_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (PROFILE, NEWER_PROFILE, TRANSPORTS, STATIC_PEERS, LOCALHOST_ONLY, RANGE, "RMW_IMPLEMENTATION"):
        monkeypatch.setenv(name, "")
    prepare_network()
    assert os.environ[PROFILE] == str(LOOPBACK)
    assert is_local(os.environ)


@pytest.mark.parametrize("text", ["abc", "-1", "1.5", "233"])
def test_what_is_no_domain_is_refused_before_it_ends_the_process(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(DOMAIN, text)
    with pytest.raises(ConfigurationError, match=f"^ROS_DOMAIN_ID = '{text}': must be a number between 0 and 232$"):
        prepare_network()


@pytest.mark.parametrize(("text", "number"), [("010", 10), ("00", 0), ("08", 8)])
def test_a_domain_that_ros_reads_as_octal_is_refused(monkeypatch: pytest.MonkeyPatch, text: str, number: int) -> None:
    """rcl takes 010 for 8 and 08 for no number: nodes would be in another domain than ours thinks."""
    monkeypatch.setenv(DOMAIN, text)
    with pytest.raises(ConfigurationError, match=f"^ROS_DOMAIN_ID = '{text}': must be written as {number}; ROS 2"):
        prepare_network()


@pytest.mark.parametrize("said", [{RANGE: "SUBNET"}, {LOCALHOST_ONLY: "0"}, {STATIC_PEERS: "10.0.0.7"}])
def test_they_reach_as_far_as_is_said(said: dict[str, str]) -> None:
    assert reach_variables(said) == {}
    assert socket_variables(said) == WIDE


def test_a_stated_peer_makes_other_computers_reachable() -> None:
    assert not is_local({RANGE: "LOCALHOST", STATIC_PEERS: "10.0.0.7"})


def test_the_profile_knows_no_other_way_than_sockets_of_this_machine() -> None:
    tree = ElementTree.parse(LOOPBACK)
    assert [kind.text for kind in tree.iterfind(".//dds:type", SPACE)] == ["UDPv4"]
    assert {address.text for address in tree.iterfind(".//dds:address", SPACE)} == {"127.0.0.1"}
    builtin = tree.find(".//dds:useBuiltinTransports", SPACE)
    assert builtin is not None
    assert builtin.text == "false"
