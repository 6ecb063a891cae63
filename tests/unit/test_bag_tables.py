"""Tables that recordings are kept in: any order, other shapes, more than the memory is meant for, several robots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from demo_control.bags import columns
from demo_control.bags.columns import MOST_NAMES, OTHERS, Names, Rows
from demo_control.bags.errors import BagError
from demo_control.bags.evaluation import Request, evaluate_bag
from demo_control.bags.info import bag_info
from demo_control.bags.layer_log import Key, read_layer_log
from demo_control.bags.layer_tables import Keyed
from demo_control.bags.reader import Bag
from demo_control.bags.recording import Recording
from demo_control.bundle import default_bundle

from .recorded_bag import KIND, RobotRecorder, definition_of, record_cartpole, stamp

needs_cartpole = pytest.mark.skipif(
    not default_bundle("cartpole").is_dir(), reason="no bundle of the cart-pole is shipped"
)


@pytest.mark.parametrize("in_memory", [1 << 20, 200])
def test_rows_come_back_as_they_were_also_from_the_disk(monkeypatch: pytest.MonkeyPatch, in_memory: int) -> None:
    monkeypatch.setattr(columns, "_IN_MEMORY_BYTES", in_memory)
    values = np.random.default_rng(0).normal(size=(3000, 3))
    values[7, 1] = np.inf
    rows = Rows("test")
    for row in values:
        rows.append(row)

    assert len(rows) == 3000
    assert all(np.array_equal(rows.row(index), values[index]) for index in (0, 2999, 1023, 1024, 5))
    np.testing.assert_array_equal(rows.read(900, 2100), values[900:2100])
    np.testing.assert_array_equal(np.concatenate([block for _, block in rows.blocks()]), values)
    np.testing.assert_array_equal(rows.take(np.array([2999, 0, 5])), values[[2999, 0, 5]])
    assert np.isnan(rows.take(np.array([-1, 3]))[0]).all()
    rows.append(values[0])
    np.testing.assert_array_equal(rows.row(3000), values[0])


def test_rows_of_another_length_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows("/topic")
    rows.append(np.ones(2))
    rows.append(np.ones(3))

    assert rows.row(1).shape == (3,)
    assert np.isnan(rows.read(0, 2)[1]).all()
    monkeypatch.setattr(columns, "_MOST_ODD_ROWS", 1)
    with pytest.raises(BagError, match="/topic: messages of 2 and of 5 values"):
        rows.append(np.ones(5))


def test_of_two_vectors_with_one_key_the_last_one_counts_in_any_order() -> None:
    generator = np.random.default_rng(0)
    table, expected = Keyed("test"), dict[Key, float]()
    for value in range(500):
        key = Key(int(generator.integers(60)), int(generator.integers(3)))
        table.append(key, np.array([float(value)]))
        expected[key] = float(value)

    asked = [Key(sequence, stamp) for sequence in range(62) for stamp in range(4)]
    found = {key: values[0] for key in asked if (values := table.get(key)) is not None}
    assert found == expected
    places = table.indices(np.array([k.sequence for k in asked]), np.array([k.stamp_ns for k in asked]))
    at_once = {key: table.rows.row(int(place))[0] for key, place in zip(asked, places, strict=True) if place >= 0}
    assert at_once == expected


def test_texts_without_end_do_not_fill_the_memory() -> None:
    names = Names()
    for number in range(MOST_NAMES + 500):
        names.append(f"source {number}")
    names.append("source 3")

    assert len(names.texts) == MOST_NAMES + 1
    assert (names[0], names[MOST_NAMES + 1], names[MOST_NAMES + 500]) == ("source 0", OTHERS, "source 3")


@needs_cartpole
def test_an_hour_needs_no_more_memory_than_its_columns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Answers are the same to the bit where values are on the disk."""
    bag = record_cartpole(tmp_path / "bag", 120)
    before = evaluate_bag(Request(bag))
    monkeypatch.setattr(columns, "_IN_MEMORY_BYTES", 100)
    after = evaluate_bag(Request(bag))

    assert before["bit_exact"] is after["bit_exact"] is True
    for name in ("metrics", "model_error", "task_metrics", "correction_value", "closeness", "timing", "blocks"):
        assert before[name] == after[name], name


@needs_cartpole
def test_a_robot_in_a_namespace_is_found(tmp_path: Path) -> None:
    bag = record_cartpole(tmp_path / "bag", 20, namespace="/robot1")

    assert bag_info(bag)["robot"] == "cartpole"
    assert evaluate_bag(Request(bag))["bit_exact"] is True
    assert evaluate_bag(Request(bag, namespace="robot1"))["actions"] == 20
    with pytest.raises(BagError, match="namespace '/robot2': nothing was commanded in it; known: /robot1"):
        evaluate_bag(Request(bag, namespace="robot2"))


@needs_cartpole
def test_of_several_robots_one_must_be_named(tmp_path: Path) -> None:
    one = RobotRecorder(tmp_path / "bag", namespace="/left")
    other = RobotRecorder(tmp_path / "other", seed=1)
    other.scribe.recording.close()
    other.scribe.recording, other.scribe._namespace = one.scribe.recording, "/right"
    other.scribe._topics, other.scribe._counts = {}, {}
    for robot in (one, other):
        robot.activate()
    one.run(20)
    other.run(30)
    other.close()

    with pytest.raises(BagError, match="namespaces /left, /right; --namespace names one of them"):
        read_layer_log(Bag.open(tmp_path / "bag"))
    reports = {name: evaluate_bag(Request(tmp_path / "bag", namespace=name)) for name in ("left", "/right")}
    assert {name: report["actions"] for name, report in reports.items()} == {"left": 20, "/right": 30}
    assert all(report["bit_exact"] for report in reports.values())


@pytest.mark.parametrize(
    ("field", "changed"), [("float64[] values", "string values"), ("uint64 sequence", "string sequence")]
)
def test_fields_of_another_kind_are_named(tmp_path: Path, field: str, changed: str) -> None:
    text = definition_of(KIND)
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register({name: fields for name, fields in get_types_from_msg(text.replace(field, changed), KIND).items()
                    if name == KIND})  # fmt: skip
    header = store.types["std_msgs/msg/Header"](stamp=stamp(0), frame_id="")
    said = {"sequence": 0, "values": np.zeros(5), changed.split()[1]: "text"}
    data = bytes(store.serialize_cdr(store.types[KIND](header=header, **said), KIND))
    recording = Recording(tmp_path / "bag", {})
    topic = recording.add_topic("/observation", KIND, text.replace(field, changed), "", "[]")
    recording.put(topic, 1, data, 1, 1)
    recording.close()

    with pytest.raises(BagError, match="/observation: a message has other fields than ours"):
        read_layer_log(Bag.open(tmp_path / "bag"))
