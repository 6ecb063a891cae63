"""Recordings: written, read by us and by others, whole after a kill, mended, never believed where they are damaged."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mcap.reader import make_reader
from rosbags.rosbag2 import Reader

from demo_control.bags import recording as recording_module
from demo_control.bags.errors import BagError
from demo_control.bags.info import bag_info
from demo_control.bags.reader import Bag
from demo_control.bags.recording import NOT_WRITTEN, QUEUE_FULL, Recording
from demo_control.bags.repair import repair
from demo_control.bags.writer import BagWriter
from demo_control.bundle import default_bundle

from .recorded_bag import (
    KIND,
    START_NS,
    TOPICS,
    definition_of,
    everything,
    mcap_of,
    messages,
    observation,
    write_observations,
)

pytestmark = pytest.mark.skipif(not default_bundle("cartpole").is_dir(), reason="no bundle of the cart-pole is shipped")


def test_a_whole_bag_is_in_order(whole_bag: Path) -> None:
    info = bag_info(whole_bag)

    assert info["complete"] is True
    assert (info["damage"], info["warnings"], info["missing"], info["gaps"]) == ([], [], {}, {})
    assert (info["robot"], len(info["bundle_sha256"])) == ("cartpole", 1)
    assert {topic["name"] for topic in info["topics"]} == TOPICS
    assert {topic["name"]: topic["messages"] for topic in info["topics"]}["/action"] == 40
    assert info["duration_s"] == pytest.approx(0.8, abs=0.03)


def test_rosbags_and_mcap_read_the_same(whole_bag: Path) -> None:
    ours = everything(whole_bag)
    with Reader(whole_bag) as reader:
        theirs = [(connection.topic, bytes(data)) for connection, _, data in reader.messages()]
        assert reader.message_count == len(ours)
        assert {connection.topic: connection.msgtype for connection in reader.connections}["/observation"] == KIND
    with mcap_of(whole_bag).open("rb") as file:
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

    text = (tmp_path / "bag" / "metadata.yaml").read_text()
    assert "&" not in text
    content = yaml.safe_load(text)["rosbag2_bagfile_information"]
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
        "import sys, time; from pathlib import Path; from unit.recorded_bag import write_observations\n"
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


def test_a_bag_in_order_is_not_touched_by_a_repair(bag_copy: Path) -> None:
    before = {path.name: path.read_bytes() for path in bag_copy.iterdir()}

    assert repair(bag_copy).lost == []
    assert {path.name: path.read_bytes() for path in bag_copy.iterdir()} == before


def test_a_repair_keeps_records_and_the_damaged_file_and_tells_what_was_lost(bag_copy: Path) -> None:
    file = mcap_of(bag_copy)
    file.write_bytes(file.read_bytes()[:-2000])
    (bag_copy / "metadata.yaml").unlink()
    whole = everything(bag_copy)
    done = repair(bag_copy)

    assert done.messages == len(whole) > 0
    assert everything(bag_copy) == whole
    assert any("metadata.yaml is missing" in line for line in done.lost)
    info = bag_info(bag_copy)
    assert any(line.startswith("repaired: ") for line in info["damage"])
    assert info["complete"] is False
    assert (bag_copy / (file.name + ".damaged")).is_file()
    assert repair(bag_copy).lost == []


def test_a_second_repair_leaves_what_the_first_one_left(bag_copy: Path) -> None:
    contents = []
    for _ in range(3):
        file = mcap_of(bag_copy)
        file.write_bytes(file.read_bytes()[:-1000])
        contents.append(file.read_bytes())
        assert repair(bag_copy).lost

    endings = ("", "2", "3")
    assert [(bag_copy / f"run_0.mcap.damaged{ending}").read_bytes() for ending in endings] == contents


def test_a_file_that_cannot_be_read_stays_beside_whatever_its_name(bag_copy: Path) -> None:
    """Of a split bag the first file is unreadable from its first byte on, and has the name of the new one."""
    first = mcap_of(bag_copy)
    second = bag_copy / "run_1.mcap"
    second.write_bytes(first.read_bytes())
    first.write_bytes(b"x" + first.read_bytes()[1:])
    unreadable, whole = first.read_bytes(), everything(second)
    metadata = bag_copy / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("- run_0.mcap", "- run_0.mcap\n  - run_1.mcap", 1))
    done = repair(bag_copy)

    assert any("run_0.mcap: not an MCAP file" in line for line in done.lost)
    assert everything(bag_copy) == whole
    assert (bag_copy / "run_0.mcap.damaged").read_bytes() == unreadable
    assert sorted(path.name for path in bag_copy.iterdir()) == [
        "metadata.yaml", "run_0.mcap", "run_0.mcap.damaged", "run_1.mcap.damaged",
    ]  # fmt: skip


def test_a_repair_holds_a_part_of_the_bag_in_memory(tmp_path: Path) -> None:
    writer, generator = BagWriter(tmp_path / "bag"), np.random.default_rng(0)
    topic = writer.add_topic("/pictures", "std_msgs/msg/String", definition_of("std_msgs/msg/String"))
    for number in range(64):
        writer.write(topic, START_NS + number, generator.bytes(1 << 20), START_NS, number + 1)
        writer.flush()
    writer.abandon()
    tracemalloc.start()
    done = repair(tmp_path / "bag")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert done.messages == 64
    assert peak < 48 << 20
