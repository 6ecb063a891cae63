"""What of a recording is played when and under which name; the bring-up that is made of it. Needs no ROS 2."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from demo_control.bags.errors import BagError
from demo_control.bags.layer_log import Key
from demo_control.bags.player import Comparison, Player, is_latched, is_reliable, played_name, survey
from demo_control.bags.reader import Bag
from demo_control.bags.writer import BagWriter
from demo_control.bringup.description import BringUp, load_recipe
from demo_control.bringup.replay import ReplayArguments, make_replay
from demo_control.bundle import Bundle, default_bundle, load_bundle, save_bundle
from demo_control.cli.main import app
from demo_control.configuration import ConfigurationError
from demo_control.tasks import load_task

from .recorded_bag import START_NS, definition_of, messages, record_cartpole, stamp

pytestmark = pytest.mark.skipif(not default_bundle("cartpole").is_dir(), reason="no bundle of the cart-pole is shipped")

OBSERVATION, ACTION = "demo_msgs/msg/Observation", "demo_msgs/msg/Action"
CLOCK, STRING = "rosgraph_msgs/msg/Clock", "std_msgs/msg/String"
LATCHED = yaml.safe_dump([{"durability": "transient_local", "reliability": "reliable", "depth": 1}])


class Writer:
    """Writes messages at times of our own."""

    def __init__(self, folder: Path) -> None:
        self.writer = BagWriter(folder)
        self._topics: dict[str, int] = {}

    def say(
        self,
        topic: str,
        kind: str,
        sent_s: float,
        heard_s: float | None = None,
        qos: str = "",
        **fields: Any,  # noqa: ANN401 - of the type
    ) -> None:
        store = messages()
        if topic not in self._topics:
            self._topics[topic] = self.writer.add_topic(topic, kind, definition_of(kind), offered_qos=qos)
        if kind in (OBSERVATION, ACTION):
            fields["header"] = store.types["std_msgs/msg/Header"](stamp=stamp(at(sent_s)), frame_id="")
        data = bytes(store.serialize_cdr(store.types[kind](**fields), kind))
        self.writer.write(self._topics[topic], at(sent_s if heard_s is None else heard_s), data, at(sent_s))

    def observe(self, sequence: int, sent_s: float, heard_s: float | None = None, size: int = 5) -> None:
        self.say("/observation", OBSERVATION, sent_s, heard_s, sequence=sequence, values=np.zeros(size))

    def act(self, topic: str, sequence: int, sent_s: float, heard_s: float | None = None, size: int = 1) -> None:
        self.say(
            topic, ACTION, sent_s, heard_s, observation_sequence=sequence, observation_stamp=stamp(at(sent_s)),
            source="policy", values=np.full(size, float(sequence)), plans=0,
        )  # fmt: skip

    def tell_time(self, simulated_s: float, sent_s: float) -> None:
        time = messages().types["builtin_interfaces/msg/Time"](
            sec=int(simulated_s), nanosec=round(simulated_s % 1 * 1e9)
        )
        self.say("/clock", CLOCK, sent_s, clock=time)

    def close(self) -> Bag:
        self.writer.close()
        return Bag.open(self.writer.folder)


def at(time_s: float) -> int:
    return START_NS + round(time_s * 1e9)


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    return Writer(tmp_path / "written")


def played(bag: Bag, live: tuple[str, ...] = ("/action",), duration_s: float = 0.0) -> list[tuple[float, str]]:
    """Seconds since the first observation, and topic, of all that is played."""
    player = Player(bag, survey(bag), live, duration_s)
    start_ns = player.survey.start_ns
    return [(round((timed.time_ns - start_ns) / 1e9, 6), timed.heard.topic) for timed in player.timed()]


def test_messages_come_in_the_order_and_at_the_times_of_being_sent(writer: Writer) -> None:
    """A recorder hears bunches, topic by topic."""
    for number in range(3):
        writer.observe(number, 0.1 * number, heard_s=0.3)
    for number in range(3):
        writer.act("/nominal_action", number, 0.1 * number + 0.01, heard_s=0.3)

    assert played(writer.close()) == [
        (0.0, "/observation"), (0.01, "/nominal_action"), (0.1, "/observation"), (0.11, "/nominal_action"),
        (0.2, "/observation"), (0.21, "/nominal_action"),
    ]  # fmt: skip


def test_it_begins_with_the_first_observation_and_what_was_latched_before(writer: Writer) -> None:
    writer.say("/robot_description", STRING, -100.0, qos=LATCHED, data="<robot/>")
    writer.say("/chatter", STRING, -50.0, data="before")
    writer.observe(0, 0.0)
    writer.act("/action", 0, 0.5)
    writer.say("/chatter", STRING, 0.2, data="within")
    writer.say("/chatter", STRING, 99.0, data="long after")

    assert played(writer.close()) == [
        (0.0, "/robot_description"), (0.0, "/observation"), (0.2, "/chatter"), (0.5, "/action"),
    ]  # fmt: skip


def test_a_part_is_played_on_demand(writer: Writer) -> None:
    for number in range(10):
        writer.observe(number, 0.1 * number)
    bag = writer.close()

    assert len(played(bag, duration_s=0.45)) == 5
    assert Player(bag, survey(bag), (), 0.45).duration_s == pytest.approx(0.45)
    assert Player(bag, survey(bag), (), 99.0).duration_s == pytest.approx(0.9)


def test_simulated_time_is_that_of_the_recorded_clock(writer: Writer) -> None:
    """Recorded four times as fast as its own time."""
    for number in range(3):
        writer.tell_time(1.0 + 0.1 * number, sent_s=0.025 * number)
        writer.observe(number, 0.025 * number + 0.001)

    assert played(writer.close()) == [(0.0, "/observation"), (0.1, "/observation"), (0.2, "/observation")]


def test_a_clock_that_goes_back_stands_still_and_is_counted(writer: Writer) -> None:
    for number, simulated_s in enumerate((5.0, 5.1, 3.0, 5.2)):
        writer.tell_time(simulated_s, sent_s=0.1 * number)
        writer.observe(number, 0.1 * number + 0.001)
    bag = writer.close()

    assert [time_s for time_s, _ in played(bag)] == [0.0, 0.1, 0.1, 0.2]
    assert survey(bag).backwards == 1


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        ("/observation", "/observation"), ("/action", "/recorded/action"), ("/nominal_action", "/nominal_action"),
        ("/run_result", "/recorded/run_result"), ("/diagnostics", "/recorded/diagnostics"),
        ("/clock", ""), ("/rosout", ""), ("/parameter_events", ""), ("/recorded/action", ""), ("/imu", "/imu"),
    ],
)  # fmt: skip
def test_what_live_nodes_publish_is_played_under_another_name(topic: str, name: str) -> None:
    assert played_name(topic, ("/action", "/planner_status")) == name


def test_the_publishers_quality_is_known_in_words_and_as_numbers() -> None:
    for offered in (LATCHED, "- history: 1\n  reliability: 1\n  durability: 1\n"):
        assert (is_latched(offered), is_reliable(offered)) == (True, True)
    for offered in ("- reliability: best_effort\n  durability: volatile\n", "- reliability: 2\n  durability: 2\n"):
        assert (is_latched(offered), is_reliable(offered)) == (False, False)
    assert (is_latched(""), is_reliable("")) == (False, True)


def two_robots(writer: Writer) -> None:
    writer.observe(0, 0.0)
    writer.observe(0, 0.1, size=25)


def odd_type(writer: Writer) -> None:
    writer.say("/observation", STRING, 0.0, data="x")


def odd_definition(writer: Writer) -> None:
    writer.writer.write(
        writer.writer.add_topic("/observation", OBSERVATION, "int32 a\n"), START_NS, b"\0" * 8, START_NS
    )


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (lambda writer: None, "no message on /observation"),
        (two_robots, "two robots in one recording: /observation has vectors of 5 and 25 values"),
        (odd_type, "its type is std_msgs/msg/String"),
        (odd_definition, "no field values"),
    ],
)
def test_what_cannot_be_played_is_named(writer: Writer, write: Callable[[Writer], None], text: str) -> None:
    write(writer)
    with pytest.raises(BagError, match=text):
        survey(writer.close())


def test_commands_are_compared_as_they_come() -> None:
    comparison = Comparison(np.array([2.0, 10.0]))
    comparison.recorded(Key(1, 10), np.array([1.0, 1.0]))
    comparison.live(Key(1, 10), np.array([1.0, 4.0]))
    comparison.live(Key(2, 20), np.array([0.5, 0.0]))
    comparison.recorded(Key(2, 20), np.array([0.5, 0.0]))
    comparison.recorded(Key(3, 30), np.zeros(2))
    comparison.live(Key(3, 31), np.zeros(2))
    comparison.live(Key(4, 40), np.array([np.nan, 0.0]))
    figures = comparison.figures()

    assert (figures["recorded_commands"], figures["live_commands"]) == (3, 3)
    assert (figures["compared_commands"], figures["identical_commands"]) == (2, 1)
    assert figures["command_difference_rms"] == pytest.approx([0.0, 3.0 / np.sqrt(2.0)])
    assert figures["command_difference_max"] == [0.0, 3.0]
    assert figures["command_difference_share"] == pytest.approx(0.15)
    json.dumps(figures, allow_nan=False)


def test_commands_that_nobody_answers_do_not_fill_the_memory() -> None:
    comparison = Comparison(np.ones(1))
    for number in range(5000):
        comparison.recorded(Key(number, 0), np.zeros(1))
    assert sum(map(len, comparison._waiting.values())) <= 4096
    assert comparison.figures()["command_difference_rms"] is None


def nodes_of(bringup: BringUp) -> dict[str, Any]:
    return {node.name: node for node in bringup.nodes}


def test_the_bringup_is_made_of_the_recording(whole_bag: Path) -> None:
    bringup = make_replay(ReplayArguments(bag=str(whole_bag), rate=2.0))
    nodes = nodes_of(bringup)

    assert (bringup.name, bringup.task) == ("replay", "cartpole")
    assert list(nodes) == ["demo_layer_node", "player_node"]
    layer = nodes["demo_layer_node"].parameters
    assert (layer["use_sim_time"], layer["seed"], layer["num_samples"], layer["horizon"]) == (True, 0, 32, 8)
    assert layer["bundle_directory"] == str(default_bundle("cartpole").absolute())
    weights = {f"cost_weight_{term.name}": term.weight for term in load_task("cartpole").cost_terms}
    assert {name: layer[name] for name in weights} == weights
    player = nodes["player_node"]
    assert (player.ends_run, player.lifecycle, player.parameters["rate"]) == (True, True, 2.0)
    assert set(str(player.parameters["live"]).split(",")) == {"/action", "/planner_status", "/layer_state"}
    assert bringup.arguments.real_time_factor == 2.0
    assert bringup.arguments.duration == pytest.approx(0.78, abs=0.03)


def test_arguments_come_before_what_was_recorded(whole_bag: Path, tmp_path: Path) -> None:
    arguments = ReplayArguments(
        bag=str(whole_bag),
        policy=True,
        settings="step_size=0.3,horizon=9",
        seed=7,
        record=str(tmp_path / "new"),
        duration=0.5,
    )
    bringup = make_replay(arguments)
    nodes = nodes_of(bringup)

    assert list(nodes) == ["demo_layer_node", "policy_node", "player_node", "recorder_node"]
    layer = nodes["demo_layer_node"].parameters
    assert (layer["step_size"], layer["horizon"], layer["num_samples"], layer["seed"]) == (0.3, 9, 32, 7)
    assert "/nominal_action" in str(nodes["player_node"].parameters["live"])
    assert json.loads(str(nodes["recorder_node"].parameters["arguments"]))["rate"] == 1.0
    assert bringup.arguments.duration == 0.5


def test_the_policy_alone_can_be_played_to(whole_bag: Path) -> None:
    nodes = nodes_of(make_replay(ReplayArguments(bag=str(whole_bag), policy=True, use_layer=False)))

    assert list(nodes) == ["policy_node", "player_node"]
    assert nodes["policy_node"].remappings == {"nominal_action": "action"}


def test_the_player_shares_its_process_with_nobody(whole_bag: Path) -> None:
    bringup = make_replay(ReplayArguments(bag=str(whole_bag), policy=True, composed="policy,layer"))
    assert [process.name for process in bringup.processes] == ["demo_layer_node+policy_node", "player_node"]
    alone = make_replay(ReplayArguments(bag=str(whole_bag), composed="policy,layer"))
    assert alone.processes == alone.nodes
    with pytest.raises(ConfigurationError, match="composed = 'all': player_node needs a process of its own"):
        make_replay(ReplayArguments(bag=str(whole_bag), composed="all"))


def test_a_recording_without_a_layer_needs_a_task_and_a_policy(writer: Writer) -> None:
    writer.observe(0, 0.0)
    writer.act("/action", 0, 0.01)
    bag = str(writer.close().path)
    with pytest.raises(ConfigurationError, match="does not say of which task it is; --task names one"):
        make_replay(ReplayArguments(bag=bag))
    with pytest.raises(ConfigurationError, match="no message on /nominal_action: with --policy true"):
        make_replay(ReplayArguments(bag=bag, task="cartpole"))
    assert make_replay(ReplayArguments(bag=bag, task="cartpole", policy=True)).arguments.seed == 0


def test_the_rate_has_one_name_on_the_command_line() -> None:
    names = [entry.name for entry in load_recipe("replay").arguments.entries()]
    assert "rate" in names
    assert "real_time_factor" not in names


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "bag = '': must name a recording"),
        (["--bag", "nowhere"], "no such bag"),
        (["--bag", "BAG", "--rate", "0"], "--rate: 0.0: must be between 0.01 and 100"),
        (["--bag", "BAG", "--settings", "step_sise=1"], "did you mean 'step_size'?"),
        (["--bag", "BAG", "--task", "stoch2"], "vectors of 5 values; task 'stoch2' has 25"),
        (["--bag", "BAG", "--use-layer", "false"], "no node is left to play to"),
        (["--bag", "BAG", "--bundle", "nowhere"], "nowhere"),
        (["--bag", "CUT"], "no message on /observation"),
    ],
)
def test_what_cannot_be_replayed_is_one_line_before_any_node_starts(
    whole_bag: Path, bag_copy: Path, arguments: list[str], text: str
) -> None:
    file = next(bag_copy.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:300])
    places = {"BAG": str(whole_bag), "CUT": str(bag_copy)}
    result = CliRunner().invoke(app, ["launch", "replay", *(places.get(a, a) for a in arguments)])

    assert result.exit_code == 2
    assert text in " ".join(result.stderr.split())
    assert "Traceback" not in result.output


def test_a_bundle_that_is_not_here_is_named(tmp_path: Path) -> None:
    shipped = load_bundle(default_bundle("cartpole"), load_task("cartpole"))
    contract = dataclasses.replace(shipped.contract, metrics={"made_for": "a test"})
    other = tmp_path / "other"
    save_bundle(Bundle(contract, shipped.policy, shipped.dynamics, shipped.value), other, "For tests.\n")
    bag = record_cartpole(tmp_path / "bag", 5, directory=other)
    assert make_replay(ReplayArguments(bag=str(bag))).arguments.bundle == str(other)

    (other / "policy.onnx").unlink()
    with pytest.raises(ConfigurationError, match=r"bundle .* that was recorded is not here; --bundle names"):
        make_replay(ReplayArguments(bag=str(bag)))
    assert make_replay(ReplayArguments(bag=str(bag), bundle=str(default_bundle("cartpole"))))
