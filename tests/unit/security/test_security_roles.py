"""Who may do what: the roles, as DDS will be told."""

from __future__ import annotations

from datetime import datetime

import pytest

from demo_control.bringup.description import BringUp, bringup_names, load_recipe
from demo_control.bundle import default_bundle
from demo_control.configuration import ConfigurationError
from demo_control.security.access import Access, Topics, union
from demo_control.security.permissions import Domains, Permissions, governance
from demo_control.security.roles import driver_roles, find_role, own_roles, roles_of, shared_name

DRIVERS = {"cartpole_driver", "stoch2_driver"}
COMMANDERS = {
    "rt/action": {"layer", "policy_alone"},
    "rt/nominal_action": {"policy"},
    "rt/applied_action": DRIVERS,
    "rt/observation": DRIVERS,
    "rt/clock": DRIVERS,
    "rt/emergency_stop": {"operator"},
    "rt/cmd_vel": {"operator"},
    "rq/resetRequest": {"operator"},
    "rq/armRequest": {"operator"},
    "rq/disarmRequest": {"operator"},
    "rq/emergency_stopRequest": {"operator"},
    "rq/walkRequest": {"operator"},
    "rq/policy_node/change_stateRequest": {"monitor"},
    "rq/demo_layer_node/get_parametersRequest": {"recorder"},
    "rq/demo_layer_node/set_parametersRequest": set(),
    "rq/demo_layer_node/load_bundleRequest": set(),
    "rr/resetReply": DRIVERS,
    "rr/demo_layer_node/set_parametersReply": {"layer"},
    "rt/somebody/elses": set(),
}


def topics(name: str) -> Topics:
    return find_role(name).access.topics()


def single_roles() -> list[str]:
    return [role.name for role in (*own_roles(), *driver_roles())]


@pytest.mark.parametrize("topic", COMMANDERS)
def test_only_those_may_publish_who_must(topic: str) -> None:
    assert {name for name in single_roles() if topics(name).may_publish(topic)} == COMMANDERS[topic]


def test_who_listens_says_nothing_to_the_robot() -> None:
    spoken = {name: set(topics(name).publish) for name in ("recorder", "viewer", "monitor")}
    every = set(Access().topics().publish)

    assert spoken["viewer"] - every == {
        "rt/viewer_node/*", "rr/viewer_node/*Reply", "rt/viewer_node_ears/*", "rr/viewer_node_ears/*Reply",
    }  # fmt: skip
    asked = {topic for topic in spoken["recorder"] - every if topic.startswith("rq/")}
    assert asked == {"rq/*/list_parametersRequest", "rq/*/get_parametersRequest"}
    assert topics("recorder").may_subscribe("rt/anything/at/all")
    assert {topic for topic in spoken["monitor"] if topic.startswith("rq/")} == {"rq/*/change_stateRequest"}


def test_every_node_may_do_what_every_node_does() -> None:
    for name in single_roles():
        for topic in ("ros_discovery_info", "rt/rosout", "rt/parameter_events"):
            assert topics(name).may_publish(topic), (name, topic)
        assert topics(name).may_subscribe("rt/clock")
        node = find_role(name).access.nodes[0]
        assert topics(name).may_publish(f"rr/{node}/get_parametersReply")
        assert topics(name).may_subscribe(f"rq/{node}/get_parametersRequest")


def test_nodes_that_share_a_process_may_do_what_each_may() -> None:
    shared = find_role("stoch2_driver_and_layer_and_policy")

    assert shared.task == "stoch2"
    for topic in ("rt/action", "rt/nominal_action", "rt/observation", "rr/resetReply"):
        assert shared.access.topics().may_publish(topic)
    assert not shared.access.topics().may_publish("rt/emergency_stop")


@pytest.mark.parametrize("name", ["layer_and_nobody", "nobody", "player_node", ""])
def test_unknown_roles_are_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"role '.*' is not known; known: policy, "):
        find_role(name)


def test_only_the_tasks_that_are_asked_for() -> None:
    names = {role.name for role in roles_of(["cartpole"])}

    assert "cartpole_driver_and_layer_and_policy" in names
    assert not any("stoch2" in name for name in names)
    assert {"layer_and_policy", "stoch2_driver_and_policy_alone"} <= {role.name for role in roles_of()}
    with pytest.raises(ConfigurationError, match=r"task 'moon': .* known: cartpole, stoch2"):
        roles_of(["moon"])


@pytest.mark.parametrize("composed", ["none", "policy,layer", "all"])
@pytest.mark.parametrize("use_layer", [True, False])
def test_every_process_of_a_bringup_has_a_role(composed: str, use_layer: bool) -> None:
    made = {role.name for role in roles_of()}
    for name, recipe in ((name, load_recipe(name)) for name in bringup_names() if name != "replay"):
        if not default_bundle({"cartpole_swingup": "cartpole"}.get(name, "stoch2")).is_dir():
            pytest.skip("no bundle is shipped")
        bringup = recipe.make(recipe.arguments(composed=composed, use_layer=use_layer, record="out/never-written"))
        assert isinstance(bringup, BringUp)
        assert {process.enclave for process in bringup.processes} <= made


def test_names_are_checked_and_may_begin_with_a_slash() -> None:
    assert Access(publishes=("/action", "action")).publishes == ("action",)
    assert union([Access(nodes=("a",)), Access(nodes=("b",))]).nodes == ("a", "b")
    assert shared_name(["a", "b"]) == "a_and_b"
    for name in ("", "a b", "<x>", "a//b", "~/own", "a/"):
        with pytest.raises(ConfigurationError, match="expected a ROS name"):
            Access(subscribes=(name,))


def test_permissions_are_read_as_they_were_written(now: datetime) -> None:
    written = Permissions("/demo_control/layer", topics("layer"), Domains(3, 7), now, now.replace(year=now.year + 1))
    read = Permissions.read(b"MIME-Version: 1.0\n\n" + written.document().replace(b"\n", b"\r\n") + b"\n----signature")

    assert set(read.topics.publish) == set(written.topics.publish)
    assert set(read.topics.subscribe) == set(written.topics.subscribe)
    assert (read.enclave, read.domains, read.begins, read.ends) == (
        written.enclave, written.domains, written.begins, written.ends,
    )  # fmt: skip
    for broken in (b"", b"<dds></dds>", b"<dds><permissions/></dds>", written.document().replace(b"<not", b"<no")):
        with pytest.raises(ValueError, match=r"no|expected"):
            Permissions.read(broken)


def test_the_rules_let_nobody_in_without_an_enclave() -> None:
    text = governance(Domains(5, 5)).decode()

    assert "<id>5</id>" in text
    assert "<allow_unauthenticated_participants>false<" in text
    assert "<enable_join_access_control>true<" in text
    assert "<enable_write_access_control>true<" in text
    assert "<enable_read_access_control>true<" in text
    assert ">NONE<" not in text.replace("<data_protection_kind>NONE<", "")  # inside submessages that are encrypted


@pytest.mark.parametrize(("first", "last"), [(-1, 3), (4, 3), (0, 233)])
def test_impossible_domains_are_refused(first: int, last: int) -> None:
    with pytest.raises(ConfigurationError, match=f"domains {first} to {last}: must be between 0 and 232"):
        Domains(first, last)
