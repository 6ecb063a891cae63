"""Damaged, foreign and mixed recordings: a clear error, or a part that is told as one; never a wrong number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from demo_control.bags.errors import BagError
from demo_control.bags.evaluation import Request, evaluate_bag
from demo_control.bags.info import bag_info
from demo_control.bags.reader import Bag
from demo_control.bags.repair import repair
from demo_control.bags.writer import BagWriter
from demo_control.bundle import default_bundle
from demo_control.cli.main import app

from .foreign_bag import heard_in, write_with_rosbags
from .recorded_bag import (
    KIND,
    START_NS,
    definition_of,
    everything,
    mcap_of,
    messages,
    observation,
)

pytestmark = pytest.mark.skipif(not default_bundle("cartpole").is_dir(), reason="no bundle of the cart-pole is shipped")


def assert_part_of(found: list[tuple[str, int, bytes]], whole: list[tuple[str, int, bytes]]) -> None:
    """Nothing but what was written, in order."""
    rest = iter(whole)
    assert all(message in rest for message in found)


def judge(bag_copy: Path, whole: list[tuple[str, int, bytes]], reference: dict[str, Any]) -> str:
    """Look at a damaged bag in every way: a clear error or a part that is told as one, never something else."""
    try:
        info = bag_info(bag_copy)
    except BagError:
        return "refused"
    found = everything(bag_copy)
    assert_part_of(found, whole)
    if len(found) < len(whole):
        assert info["complete"] is False
        assert info["damage"]
    json.dumps(info, allow_nan=False)
    try:
        report = evaluate_bag(Request(bag_copy))
    except BagError:
        return "not answered"
    json.dumps(report, allow_nan=False)
    assert report["identical_actions"] <= report["actions"] <= reference["actions"]
    assert report["complete"] is (len(found) == len(whole) and not info["damage"])
    if report["bit_exact"]:
        assert report["identical_actions"] == report["actions"] > 0
    return "answered"


@pytest.fixture(params=["our mcap", "mcap", "sqlite3"])
def some_bag(request: pytest.FixtureRequest, bag_copy: Path, tmp_path: Path) -> Path:
    """Our own recording, and the same as rosbag2 may store it."""
    if request.param == "our mcap":
        return bag_copy
    heard = sorted(heard_in(bag_copy), key=lambda message: message.log_time_ns)
    return write_with_rosbags(tmp_path / "foreign", heard, request.param)


@pytest.mark.timeout(300)  # a hundred evaluations, which plan
def test_truncated_anywhere_it_is_refused_or_told(some_bag: Path) -> None:
    file = next(path for path in some_bag.iterdir() if path.name != "metadata.yaml")
    whole, reference = everything(some_bag), evaluate_bag(Request(some_bag))
    content, metadata = file.read_bytes(), (some_bag / "metadata.yaml").read_bytes()
    outcomes: set[str] = set()
    for length in np.random.default_rng(0).integers(0, len(content), 100):
        file.write_bytes(content[:length])
        outcomes.add(judge(some_bag, whole, reference))
        try:
            repaired = repair(some_bag)
        except BagError:
            pass
        else:
            assert_part_of(everything(some_bag), whole)
            assert repaired.lost
        for path in some_bag.iterdir():
            path.unlink()
        (some_bag / "metadata.yaml").write_bytes(metadata)
    assert "not answered" in outcomes


def test_flipped_bits_never_become_numbers(bag_copy: Path) -> None:
    file, whole, reference = mcap_of(bag_copy), everything(bag_copy), evaluate_bag(Request(bag_copy))
    content = file.read_bytes()
    random = np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(content)
        for place in random.integers(0, len(content), random.integers(1, 4)):
            damaged[place] ^= 1 << int(random.integers(8))
        file.write_bytes(damaged)
        judge(bag_copy, whole, reference)


def test_after_a_wrong_length_the_next_chunk_is_found(bag_copy: Path) -> None:
    file, whole = mcap_of(bag_copy), everything(bag_copy)
    content = bytearray(file.read_bytes())
    first = content.find(b"\x04\x00\x00\x00zstd") - 37
    content[first + 5] ^= 0x10
    file.write_bytes(content)
    found = everything(bag_copy)

    assert 0 < len(found) < len(whole)
    assert_part_of(found, whole)
    assert any("are no record" in line for line in bag_info(bag_copy)["damage"])


@pytest.mark.parametrize("text", [None, "", "{", "rosbag2_bagfile_information: 3", "[1, 2]", "\x00", "a: &a [*a]"])
def test_without_usable_metadata_the_files_speak(bag_copy: Path, text: str | None) -> None:
    if text is None:
        (bag_copy / "metadata.yaml").unlink()
    else:
        (bag_copy / "metadata.yaml").write_text(text)

    info = bag_info(bag_copy)
    assert any("metadata.yaml" in line for line in info["damage"])
    assert evaluate_bag(Request(bag_copy))["bit_exact"] is True


def make_foreign(folder: Path, topics: dict[str, str], count: int = 3) -> Path:
    """A bag whose topics have other types, and messages that are theirs."""
    writer = BagWriter(folder)
    store = messages()
    for topic, kind in topics.items():
        number = writer.add_topic(topic, kind, definition_of(kind))
        values = {"std_msgs/msg/String": {"data": "x"}, "std_msgs/msg/Float64": {"data": 1.0}}[kind]
        data = bytes(store.serialize_cdr(store.types[kind](**values), kind))
        for index in range(count):
            writer.write(number, START_NS + index, data, START_NS)
    writer.close()
    return folder


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda folder: make_foreign(folder, {"/chatter": "std_msgs/msg/String"}), "no message on /action"),
        (lambda folder: make_foreign(folder, {"/action": "std_msgs/msg/String"}), "its type is std_msgs/msg/String"),
        (lambda folder: make_foreign(folder, {}), "no message on /action"),
        (lambda folder: folder.mkdir(), "no .mcap or .db3 file"),
        (lambda folder: None, "no such bag"),
        (lambda folder: (folder.mkdir(), (folder / "a.mcap").write_bytes(b"")), "not an MCAP file"),
        (lambda folder: (folder.mkdir(), (folder / "a.mcap").write_text("hello, world")), "not an MCAP file"),
        (lambda folder: (folder.mkdir(), (folder / "a.db3").write_text("x")), "not an SQLite file"),
    ],
)
def test_what_cannot_be_answered_is_named_in_one_line(
    tmp_path: Path, make: Callable[[Path], object], text: str
) -> None:
    make(tmp_path / "bag")
    result = CliRunner().invoke(app, ["bag", "evaluate", str(tmp_path / "bag")])

    assert result.exit_code == 2
    assert text in " ".join(result.stderr.split())
    assert "Traceback" not in result.output


def test_bytes_that_are_no_message_are_named(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / "bag")
    kind = "demo_msgs/msg/Action"
    writer.write(writer.add_topic("/action", kind, definition_of(kind)), START_NS, b"\0\1\0\0\7", START_NS)
    writer.close()
    with pytest.raises(BagError, match="a message is no demo_msgs/msg/Action"):
        evaluate_bag(Request(tmp_path / "bag"))


def test_a_definition_without_our_fields_is_named(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / "bag")
    writer.write(writer.add_topic("/action", "demo_msgs/msg/Action", "int32 a\n"), START_NS, b"\0" * 8, START_NS)
    writer.close()
    with pytest.raises(BagError, match="type demo_msgs/msg/Action: no field header, "):
        evaluate_bag(Request(tmp_path / "bag"))


def test_the_policy_alone_is_told(tmp_path: Path, bag_copy: Path) -> None:
    writer = BagWriter(tmp_path / "alone")
    kind = "demo_msgs/msg/Action"
    topic = writer.add_topic("/action", kind, definition_of(kind))
    for heard in Bag.open(bag_copy).messages({"/nominal_action"}):
        writer.write(topic, heard.log_time_ns, heard.data, heard.publish_time_ns)
    writer.close()
    with pytest.raises(BagError, match="the layer did not run"):
        evaluate_bag(Request(tmp_path / "alone"))


def test_two_robots_in_one_recording_are_told(tmp_path: Path, bag_copy: Path) -> None:
    store, kind = messages(), "demo_msgs/msg/LayerState"
    writer = BagWriter(tmp_path / "both")
    numbers: dict[str, int] = {}
    for heard in Bag.open(bag_copy).messages():
        if heard.topic not in numbers:
            numbers[heard.topic] = writer.add_topic(heard.topic, heard.type, definition_of(heard.type))
        writer.write(numbers[heard.topic], heard.log_time_ns, heard.data, heard.publish_time_ns)
        if heard.topic == "/layer_state":
            state = store.deserialize_cdr(heard.data, kind)
            state.task = "stoch2"
            data = bytes(store.serialize_cdr(state, kind))
            writer.write(numbers[heard.topic], heard.log_time_ns, data, heard.publish_time_ns)
    writer.close()

    info = bag_info(tmp_path / "both")
    assert info["robot"] is None
    assert info["robots"] == ["cartpole", "stoch2"]
    with pytest.raises(BagError, match="two robots in one recording: cartpole, stoch2"):
        evaluate_bag(Request(tmp_path / "both"))


def test_info_of_several_bags_goes_to_json(bag_copy: Path, tmp_path: Path) -> None:
    foreign = make_foreign(tmp_path / "foreign", {"/number": "std_msgs/msg/Float64"})
    result = CliRunner().invoke(app, ["bag", "info", str(bag_copy), str(foreign), "--json", "-"])

    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert [entry["messages"] for entry in report["bags"]] == [len(everything(bag_copy)), 3]
    assert report["robots"] == ["cartpole"]
    assert "cartpole" in CliRunner().invoke(app, ["bag", "info", str(bag_copy)]).output


def test_evaluate_goes_to_json_and_to_people(bag_copy: Path) -> None:
    result = CliRunner().invoke(app, ["bag", "evaluate", str(bag_copy), "--json", "-"])

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["bit_exact"] is True
    assert "bit for bit the same" in CliRunner().invoke(app, ["bag", "evaluate", str(bag_copy)]).output


def test_a_wrong_clock_in_the_file_is_counted(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / "bag")
    topic = writer.add_topic("/observation", KIND, definition_of(KIND))
    for log_time in (5, 3, 9):
        writer.write(topic, START_NS + log_time, observation(np.zeros(5)), START_NS)
    writer.close()
    info = bag_info(tmp_path / "bag")

    assert info["out_of_order"] == 1
    assert info["duration_s"] == pytest.approx(6e-9)


def test_times_that_ros_has_not_are_told_and_mended(tmp_path: Path) -> None:
    """A bit too many in a time, where nothing has a checksum: found by fuzzing, as a repair that repaired nothing."""
    writer = BagWriter(tmp_path / "bag")
    topic = writer.add_topic("/observation", KIND, definition_of(KIND))
    for log_time in (5, 1 << 63, 9):
        writer.write(topic, START_NS + log_time, observation(np.zeros(5)), START_NS)
    writer.close()
    told = "1 messages with times that no clock of ROS has"

    assert told in bag_info(tmp_path / "bag")["damage"]
    done = repair(tmp_path / "bag")
    assert (done.messages, told in done.lost) == (2, True)
    assert repair(tmp_path / "bag").lost == []
    info = bag_info(tmp_path / "bag")
    assert info["messages"] == 2
    assert info["duration_s"] == pytest.approx(4e-9)
