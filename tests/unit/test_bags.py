"""Recordings: written, read by us and by others, whole after a kill, mended, never believed where they are damaged."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mcap.reader import make_reader
from rosbags.rosbag2 import Reader
from typer.testing import CliRunner

from demo_control.bags import recording as recording_module
from demo_control.bags.errors import BagError
from demo_control.bags.evaluation import Request, evaluate_bag
from demo_control.bags.info import bag_info
from demo_control.bags.reader import Bag
from demo_control.bags.recording import NOT_WRITTEN, QUEUE_FULL, Recording
from demo_control.bags.repair import repair
from demo_control.bags.writer import BagWriter
from demo_control.bundle import default_bundle
from demo_control.cli.main import app

from .recorded_bag import START_NS, CartPoleRecorder, definition_of, messages, observation

pytestmark = pytest.mark.skipif(not default_bundle("cartpole").is_dir(), reason="no bundle of the cart-pole is shipped")

KIND = "demo_msgs/msg/Observation"
TOPICS = {"/observation", "/nominal_action", "/action", "/planner_status", "/layer_state"}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bag of several chunks; tests copy it."""
    folder = tmp_path_factory.mktemp("bags") / "run"
    recorder = CartPoleRecorder(folder)
    recorder.activate()
    for _ in range(4):
        recorder.run(10)
        recorder.scribe.recording.settle()
    return recorder.close()


@pytest.fixture
def bag(original: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "run"
    copy.mkdir()
    for file in original.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


def mcap_of(bag: Path) -> Path:
    return next(bag.glob("*.mcap"))


def everything(bag: Path) -> list[tuple[str, int, bytes]]:
    return [(heard.topic, heard.sequence, heard.data) for heard in Bag.open(bag).messages()]


def write_observations(folder: Path, count: int, **options: Any) -> Recording:  # noqa: ANN401 - of Recording
    recording = Recording(folder, {}, **options)
    topic = recording.add_topic("/observation", KIND, definition_of(KIND), "", "[]")
    for number in range(count):
        data = observation(np.full(5, float(number)))
        recording.put(topic, START_NS + number, data, START_NS + number, number + 1)
    return recording


def test_a_whole_bag_is_in_order(original: Path) -> None:
    info = bag_info(original)

    assert info["complete"] is True
    assert (info["damage"], info["warnings"], info["missing"], info["gaps"]) == ([], [], {}, {})
    assert (info["robot"], len(info["bundle_sha256"])) == ("cartpole", 1)
    assert {topic["name"] for topic in info["topics"]} == TOPICS
    assert {topic["name"]: topic["messages"] for topic in info["topics"]}["/action"] == 40
    assert info["duration_s"] == pytest.approx(0.8, abs=0.03)


def test_rosbags_and_mcap_read_the_same(original: Path) -> None:
    ours = everything(original)
    with Reader(original) as reader:
        theirs = [(connection.topic, bytes(data)) for connection, _, data in reader.messages()]
        assert reader.message_count == len(ours)
        assert {connection.topic: connection.msgtype for connection in reader.connections}["/observation"] == KIND
    with mcap_of(original).open("rb") as file:
        official = make_reader(file, validate_crcs=True)
        by_mcap = [(channel.topic, message.data) for _, channel, message in official.iter_messages()]
        summary = official.get_summary()
    assert sorted(theirs) == sorted(by_mcap) == sorted((topic, data) for topic, _, data in ours)
    assert summary is not None
    assert summary.statistics is not None
    assert summary.statistics.message_count == len(ours)
    assert {schema.encoding for schema in summary.schemas.values()} == {"ros2msg"}


def test_messages_come_back_as_they_went_in(tmp_path: Path) -> None:
    write_observations(tmp_path / "bag", 50).close()
    heard = list(Bag.open(tmp_path / "bag").messages())

    assert [message.sequence for message in heard] == list(range(1, 51))
    assert [message.log_time_ns - START_NS for message in heard] == list(range(50))
    assert heard[7].data == observation(np.full(5, 7.0))


def test_the_metadata_is_what_rosbag2_expects(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / "bag")
    quality = [{"history": "keep_last", "depth": 5, "reliability": "reliable", "durability": "volatile"}]
    hash_ = messages().hash_rihs01(KIND)
    writer.add_topic("/observation", KIND, definition_of(KIND), type_hash=hash_, offered_qos=yaml.safe_dump(quality))
    writer.write(1, START_NS, b"\0\1\0\0", START_NS, 1)
    writer.write(1, START_NS + 5, b"\0\1\0\0", START_NS, 2)
    writer.close()

    content = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert (content["version"], content["storage_identifier"]) == (9, "mcap")
    assert content["duration"] == {"nanoseconds": 5}
    assert content["relative_file_paths"] == ["bag_0.mcap"]
    topic = content["topics_with_message_count"][0]
    assert topic["message_count"] == content["message_count"] == 2
    assert topic["topic_metadata"]["offered_qos_profiles"] == quality
    assert topic["topic_metadata"]["type_description_hash"] == hash_


def test_a_folder_that_holds_something_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    with pytest.raises(BagError, match="not an empty folder"):
        Recording(tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_full_queue_drops_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = recording_module.BagWriter.write
    monkeypatch.setattr(recording_module.BagWriter, "write", lambda *arguments: (time.sleep(0.01), slow(*arguments)))
    recording = write_observations(tmp_path / "bag", 200, queue_bytes=2000)
    recording.close()
    info = bag_info(tmp_path / "bag")

    dropped = info["missing"][f"{QUEUE_FULL}: /observation"]
    assert dropped > 100
    assert info["messages"] == 200 - dropped
    assert info["complete"] is False


def test_a_full_disk_ends_the_recording_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = write_observations(tmp_path / "bag", 100)
    recording.settle()
    write = os.write

    def full(handle: int, data: Any) -> int:  # noqa: ANN401 - any buffer
        write(handle, bytes(data)[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    data = observation(np.zeros(5))
    for number in range(100, 130):
        recording.put(1, START_NS + number, data, START_NS + number, number + 1)
    recording.settle()
    for number in range(130, 150):
        recording.put(1, START_NS + number, data, START_NS + number, number + 1)
    recording.close()
    monkeypatch.undo()

    assert recording.failure == "No space left on device"
    assert sum(recording.missing.values()) == 50
    assert recording.missing[f"{NOT_WRITTEN}: /observation"] == 20
    assert len(everything(tmp_path / "bag")) == 100
    assert bag_info(tmp_path / "bag")["complete"] is False
    assert repair(tmp_path / "bag").messages == 100


def test_a_killed_process_leaves_what_was_flushed(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from unit.test_bags import write_observations\n"
        "recording = write_observations(Path(sys.argv[1]), 100, flush_period_s=0.05); recording.settle()\n"
        "print('flushed', flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parents[1])])}
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "bag")], stdout=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"flushed\n"
    process.kill()
    process.communicate()

    info = bag_info(tmp_path / "bag")
    assert info["messages"] == 100
    assert any("no whole index" in line for line in info["damage"])
    assert any("did not end in order" in line for line in info["warnings"])
    assert repair(tmp_path / "bag").messages == 100
    with Reader(tmp_path / "bag") as reader:
        assert sum(1 for _ in reader.messages()) == 100


def test_a_bag_in_order_is_not_touched_by_a_repair(bag: Path) -> None:
    before = {path.name: path.read_bytes() for path in bag.iterdir()}

    assert repair(bag).lost == []
    assert {path.name: path.read_bytes() for path in bag.iterdir()} == before


def test_a_repair_keeps_records_and_the_damaged_file_and_tells_what_was_lost(bag: Path) -> None:
    file = mcap_of(bag)
    file.write_bytes(file.read_bytes()[:-2000])
    (bag / "metadata.yaml").unlink()
    whole = everything(bag)
    done = repair(bag)

    assert done.messages == len(whole) > 0
    assert everything(bag) == whole
    assert any("metadata.yaml is missing" in line for line in done.lost)
    info = bag_info(bag)
    assert any(line.startswith("repaired: ") for line in info["damage"])
    assert info["complete"] is False
    assert (bag / (file.name + ".damaged")).is_file()
    assert repair(bag).lost == []


def assert_part_of(found: list[tuple[str, int, bytes]], whole: list[tuple[str, int, bytes]]) -> None:
    """Nothing but what was written, in order."""
    rest = iter(whole)
    assert all(message in rest for message in found)


def judge(bag: Path, whole: list[tuple[str, int, bytes]], reference: dict[str, Any]) -> str:
    """Look at a damaged bag in every way: a clear error or a part that is told as one, never something else."""
    try:
        info = bag_info(bag)
    except BagError:
        return "refused"
    found = everything(bag)
    assert_part_of(found, whole)
    if len(found) < len(whole):
        assert info["complete"] is False
        assert info["damage"]
    json.dumps(info, allow_nan=False)
    try:
        report = evaluate_bag(Request(bag))
    except BagError:
        return "not answered"
    json.dumps(report, allow_nan=False)
    assert report["identical_actions"] <= report["actions"] <= reference["actions"]
    assert report["complete"] is (len(found) == len(whole) and not info["damage"])
    if report["bit_exact"]:
        assert report["identical_actions"] == report["actions"] > 0
    return "answered"


def test_truncated_anywhere_it_is_refused_or_told(bag: Path) -> None:
    file, whole, reference = mcap_of(bag), everything(bag), evaluate_bag(Request(bag))
    content = file.read_bytes()
    outcomes = set()
    for length in np.random.default_rng(0).integers(0, len(content), 100):
        file.write_bytes(content[:length])
        outcomes.add(judge(bag, whole, reference))
        if length > 8:
            repaired = repair(bag)
            assert_part_of(everything(bag), whole)
            assert repaired.lost
            for path in bag.glob("*.damaged"):
                path.unlink()
    assert outcomes >= {"answered", "not answered"}


def test_flipped_bits_never_become_numbers(bag: Path) -> None:
    file, whole, reference = mcap_of(bag), everything(bag), evaluate_bag(Request(bag))
    content = file.read_bytes()
    random = np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(content)
        for place in random.integers(0, len(content), random.integers(1, 4)):
            damaged[place] ^= 1 << int(random.integers(8))
        file.write_bytes(damaged)
        judge(bag, whole, reference)


def test_after_a_wrong_length_the_next_chunk_is_found(bag: Path) -> None:
    file, whole = mcap_of(bag), everything(bag)
    content = bytearray(file.read_bytes())
    first = content.find(b"\x04\x00\x00\x00zstd") - 37
    content[first + 5] ^= 0x10
    file.write_bytes(content)
    found = everything(bag)

    assert 0 < len(found) < len(whole)
    assert_part_of(found, whole)
    assert any("are no record" in line for line in bag_info(bag)["damage"])


@pytest.mark.parametrize("text", [None, "", "{", "rosbag2_bagfile_information: 3", "[1, 2]", "\x00", "a: &a [*a]"])
def test_without_usable_metadata_the_files_speak(bag: Path, text: str | None) -> None:
    if text is None:
        (bag / "metadata.yaml").unlink()
    else:
        (bag / "metadata.yaml").write_text(text)

    info = bag_info(bag)
    assert any("metadata.yaml" in line for line in info["damage"])
    assert evaluate_bag(Request(bag))["bit_exact"] is True


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
        (lambda folder: folder.mkdir(), "no .mcap file"),
        (lambda folder: None, "no such bag"),
        (lambda folder: (folder.mkdir(), (folder / "a.mcap").write_bytes(b"")), "not an MCAP file"),
        (lambda folder: (folder.mkdir(), (folder / "a.mcap").write_text("hello, world")), "not an MCAP file"),
        (lambda folder: (folder.mkdir(), (folder / "a.db3").write_text("x")), "sqlite3"),
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


def test_the_policy_alone_is_told(tmp_path: Path, bag: Path) -> None:
    writer = BagWriter(tmp_path / "alone")
    kind = "demo_msgs/msg/Action"
    topic = writer.add_topic("/action", kind, definition_of(kind))
    for heard in Bag.open(bag).messages({"/nominal_action"}):
        writer.write(topic, heard.log_time_ns, heard.data, heard.publish_time_ns)
    writer.close()
    with pytest.raises(BagError, match="the layer did not run"):
        evaluate_bag(Request(tmp_path / "alone"))


def test_two_robots_in_one_recording_are_told(tmp_path: Path, bag: Path) -> None:
    store, kind = messages(), "demo_msgs/msg/LayerState"
    writer = BagWriter(tmp_path / "both")
    numbers: dict[str, int] = {}
    for heard in Bag.open(bag).messages():
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


def test_info_of_several_bags_goes_to_json(bag: Path, tmp_path: Path) -> None:
    foreign = make_foreign(tmp_path / "foreign", {"/number": "std_msgs/msg/Float64"})
    result = CliRunner().invoke(app, ["bag", "info", str(bag), str(foreign), "--json", "-"])

    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert [entry["messages"] for entry in report["bags"]] == [len(everything(bag)), 3]
    assert report["robots"] == ["cartpole"]
    assert "cartpole" in CliRunner().invoke(app, ["bag", "info", str(bag)]).output


def test_evaluate_goes_to_json_and_to_people(bag: Path) -> None:
    result = CliRunner().invoke(app, ["bag", "evaluate", str(bag), "--json", "-"])

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["bit_exact"] is True
    assert "bit for bit the same" in CliRunner().invoke(app, ["bag", "evaluate", str(bag)]).output


def test_a_wrong_clock_in_the_file_is_counted(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / "bag")
    topic = writer.add_topic("/observation", KIND, definition_of(KIND))
    for log_time in (5, 3, 9):
        writer.write(topic, START_NS + log_time, observation(np.zeros(5)), START_NS)
    writer.close()
    info = bag_info(tmp_path / "bag")

    assert info["out_of_order"] == 1
    assert info["duration_s"] == pytest.approx(6e-9)
