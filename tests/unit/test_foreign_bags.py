"""Bags that others recorded: what rosbag2 wrote in all its versions is read, and nothing is left lying about."""

from __future__ import annotations

import contextlib
import gc
import os
import re
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from typer.testing import CliRunner

from demo_control.bags import unpacking
from demo_control.bags.definitions import known_definition
from demo_control.bags.errors import BagError
from demo_control.bags.evaluation import Request, evaluate_bag
from demo_control.bags.info import bag_info
from demo_control.bags.reader import Bag, Heard
from demo_control.bags.repair import repair
from demo_control.bundle import default_bundle
from demo_control.cli.main import app

from .foreign_bag import heard_in, write_old, write_tables, write_with_rosbags
from .recorded_bag import START_NS

pytestmark = pytest.mark.skipif(not default_bundle("cartpole").is_dir(), reason="no bundle of the cart-pole is shipped")


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where files are unpacked to; looked at by the tests."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def heard(whole_bag: Path) -> list[Heard]:
    """What was recorded, in the order of being heard."""
    return sorted(heard_in(whole_bag), key=lambda message: message.log_time_ns)


def contents(bag: Path | Bag) -> list[tuple[str, str, int, bytes]]:
    opened = bag if isinstance(bag, Bag) else Bag.open(bag)
    return [(message.topic, message.type, message.log_time_ns, message.data) for message in opened.messages()]


def expected(heard: list[Heard]) -> list[tuple[str, str, int, bytes]]:
    return [(message.topic, message.type, message.log_time_ns, message.data) for message in heard]


@pytest.mark.parametrize("compression", ["none", "file", "message"])
@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_all_storages_and_compressions_of_another_writer_are_read(
    tmp_path: Path, heard: list[Heard], storage: str, compression: str, scratch: Path
) -> None:
    bag = write_with_rosbags(tmp_path / "bag", heard, storage, compression)

    assert contents(bag) == expected(heard)
    report = evaluate_bag(Request(bag))
    assert report["identical_actions"] == report["actions"] == 40
    assert bag_info(bag)["robot"] == "cartpole"
    gc.collect()
    assert list(scratch.iterdir()) == []


def test_mcap_compressed_by_chunks_is_read(tmp_path: Path, heard: list[Heard]) -> None:
    assert contents(write_with_rosbags(tmp_path / "bag", heard, "mcap", "storage")) == expected(heard)


@pytest.mark.parametrize("version", range(1, 10))
@pytest.mark.parametrize("compression", ["", "FILE", "MESSAGE"])
def test_all_versions_of_the_metadata_are_read(
    tmp_path: Path, heard: list[Heard], version: int, compression: str
) -> None:
    if compression and version < 3:
        pytest.skip("before version 3 nothing was compressed")
    bag = write_old(tmp_path / "bag", heard, version, compression, files=3)

    info = bag_info(bag)
    assert contents(bag) == expected(heard)
    assert (info["messages"], info["checksums"], info["complete"]) == (len(heard), False, False)
    assert all(line.endswith("without checksums: wrong bits would go unnoticed") for line in info["damage"])


def test_a_newer_version_is_read_as_far_as_it_is_known(tmp_path: Path, heard: list[Heard]) -> None:
    bag = write_old(tmp_path / "bag", heard, 10)

    assert contents(bag) == expected(heard)
    assert "metadata.yaml has version 10, newer than 9: read as far as known" in bag_info(bag)["damage"]


def test_without_metadata_split_files_come_in_their_order(tmp_path: Path, heard: list[Heard]) -> None:
    bag = write_old(tmp_path / "bag", heard, 4, "FILE", files=12)
    (bag / "metadata.yaml").unlink()

    assert contents(bag) == expected(heard)


def test_a_file_of_a_split_bag_can_be_looked_at_alone(tmp_path: Path, heard: list[Heard]) -> None:
    bag = write_old(tmp_path / "bag", heard, 5, "FILE", files=2)

    assert contents(bag / "bag_1.db3.zstd") == expected(heard)[-(len(heard) // 2) :]


def test_messages_that_threads_compressed_come_in_the_order_of_being_heard(tmp_path: Path, heard: list[Heard]) -> None:
    times = [message._replace(log_time_ns=START_NS + number) for number, message in enumerate(heard)]
    mixed = [message for start in range(0, len(times), 8) for message in reversed(times[start : start + 8])]
    bag = write_old(tmp_path / "bag", mixed, 4, "MESSAGE")

    assert contents(bag) == expected(times)


def test_types_without_definitions_are_those_of_the_distribution(tmp_path: Path) -> None:
    humble, jazzy = (known_definition("sensor_msgs/msg/Imu", name) for name in ("humble", "jazzy"))
    assert "float64[9] orientation_covariance" in humble
    assert "MSG: std_msgs/Header" in humble
    assert known_definition("sensor_msgs/msg/Imu", "unheard_of") == jazzy
    assert known_definition("nobody_msgs/msg/Nothing") == ""


def test_what_an_unknown_distribution_recorded_is_understood(
    tmp_path: Path, heard: list[Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite files before Iron have no definitions: of our own messages there are those that are installed."""
    bag = write_old(tmp_path / "bag", heard, 8, distribution="humble")
    report = evaluate_bag(Request(bag))

    assert report["identical_actions"] == report["actions"] == 40


def test_a_repair_makes_a_bag_with_index_and_checksums(tmp_path: Path, heard: list[Heard]) -> None:
    bag = write_old(tmp_path / "bag", heard, 4, files=2)
    (bag / "metadata.yaml").unlink()
    done = repair(bag)

    assert done.messages == len(heard)
    assert contents(bag) == expected(heard)
    assert sorted(path.name for path in bag.iterdir()) == [
        "bag_0.db3.damaged", "bag_0.mcap", "bag_1.db3.damaged", "metadata.yaml",
    ]  # fmt: skip
    assert bag_info(bag)["checksums"] is True


@pytest.mark.parametrize("offered", ["\0", "[", "3", "- &a [*a]"])
def test_a_repair_does_not_need_the_quality_of_service(tmp_path: Path, heard: list[Heard], offered: str) -> None:
    bag = write_old(tmp_path / "bag", heard, 4)
    connection = sqlite3.connect(bag / "bag_0.db3")
    connection.execute("UPDATE topics SET offered_qos_profiles = ?", (offered,))
    connection.commit()
    connection.close()
    (bag / "metadata.yaml").unlink()

    assert repair(bag).messages == len(heard)
    assert contents(bag) == expected(heard)


def test_damaged_pages_read_the_same_each_time(tmp_path: Path, heard: list[Heard]) -> None:
    """SQLite reads more or less of damaged pages by what it remembers of them."""
    folder = write_with_rosbags(tmp_path / "bag", heard, "sqlite3", "file")
    (packed,) = folder.glob("*.zstd")
    whole = zstandard.ZstdDecompressor().decompress(packed.read_bytes(), max_output_size=1 << 26)
    for seed in range(450):
        content = bytearray(whole)
        random = np.random.default_rng(seed)
        for _ in range(2):
            one, other = (slice(512 * place, 512 * (place + 1)) for place in random.integers(len(whole) // 512, size=2))
            content[one], content[other] = content[other], content[one]
        packed.write_bytes(zstandard.ZstdCompressor().compress(bytes(content)))
        with contextlib.suppress(BagError):
            bag = Bag.open(folder)
            first = contents(bag)
            assert [contents(bag), contents(bag)] == [first, first], seed


def test_an_sqlite_bag_in_order_is_not_touched_by_a_repair(tmp_path: Path, heard: list[Heard]) -> None:
    bag = write_old(tmp_path / "bag", heard, 4)
    before = {path.name: path.read_bytes() for path in bag.iterdir()}

    assert repair(bag).lost == []
    assert {path.name: path.read_bytes() for path in bag.iterdir()} == before


def test_what_a_killed_recorder_left_in_a_write_ahead_log_is_read(tmp_path: Path, heard: list[Heard]) -> None:
    source = write_tables(tmp_path / "live.db3", heard[:50])
    connection = sqlite3.connect(source)
    connection.execute("PRAGMA journal_mode = WAL")
    for message in heard[50:60]:
        connection.execute(
            "INSERT INTO messages (topic_id, timestamp, data) VALUES (1, ?, ?)", (message.log_time_ns, message.data)
        )
    connection.commit()
    bag = tmp_path / "bag"
    bag.mkdir()
    for ending in ("", "-wal"):
        shutil.copy(f"{source}{ending}", bag / f"bag_0.db3{ending}")
    connection.close()
    before = sorted(path.name for path in bag.iterdir())

    assert [data for *_, data in contents(bag)] == [message.data for message in heard[:60]]
    assert any("bag_0.db3-wal lies beside and was read" in line for line in bag_info(bag)["damage"])
    assert sorted(path.name for path in bag.iterdir()) == before


def test_unreadable_pages_are_stepped_over(tmp_path: Path, heard: list[Heard]) -> None:
    bag = write_old(tmp_path / "bag", heard, 4)
    file = bag / "bag_0.db3"
    content = bytearray(file.read_bytes())
    pages = [place for place in range(4096, len(content), 4096) if content[place] == 0x0D]
    content[pages[len(pages) // 2]] = 0x77
    file.write_bytes(content)
    opened = Bag.open(bag)
    found = contents(opened)

    rest = iter(expected(heard))
    assert 0 < len(found) < len(heard)
    assert all(message in rest for message in found)
    assert found[-1] == expected(heard)[-1]
    missing = len(heard) - len(found)
    assert any(f"{missing} messages are missing" in line for line in opened.damage())
    assert any("and again from message" in line for line in opened.damage())


@pytest.mark.parametrize("kind", ["sqlite3", "mcap"])
def test_a_compressed_file_that_is_cut_short_gives_what_comes_before(
    tmp_path: Path, heard: list[Heard], kind: str
) -> None:
    bag = write_with_rosbags(tmp_path / "bag", heard * 200, kind, "file")
    file = next(bag.glob("*.zstd"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    opened = Bag.open(bag)
    found = contents(opened)

    assert found == expected(heard * 200)[: len(found)]
    assert 0 < len(found) < 200 * len(heard)
    assert any("cut short" in line for line in opened.damage())


def test_of_a_compressed_file_and_the_same_one_unpacked_one_is_read(tmp_path: Path, heard: list[Heard]) -> None:
    bag = write_old(tmp_path / "bag", heard, 4, "FILE")
    packed = bag / "bag_0.db3.zstd"
    (bag / "bag_0.db3").write_bytes(zstandard.ZstdDecompressor().decompress(packed.read_bytes()))
    packed.write_bytes(packed.read_bytes()[:100])

    assert contents(bag) == expected(heard)
    assert "bag_0.db3.zstd is not read: bag_0.db3 is there, too" in bag_info(bag)["damage"]


def test_a_compressed_message_that_is_damaged_is_left_out_and_counted(tmp_path: Path, heard: list[Heard]) -> None:
    odd = [heard[0], Heard("/observation", heard[0].type, 0, START_NS, START_NS, unpacking.MAGIC + b"\xff" * 9)]
    bag = write_old(tmp_path / "bag", odd, 4)

    assert contents(bag) == expected(heard[:1])
    assert "1 compressed messages cannot be unpacked" in bag_info(bag)["damage"]


def test_a_full_disk_is_one_line(tmp_path: Path, heard: list[Heard], monkeypatch: pytest.MonkeyPatch) -> None:
    bag = write_old(tmp_path / "bag", heard, 4, "FILE")
    monkeypatch.setattr(unpacking, "_SPARE_BYTES", 1 << 60)
    with pytest.raises(BagError, match=r"no space left to unpack it in .* names another folder"):
        Bag.open(bag)


def test_where_files_need_names_they_are_removed(
    tmp_path: Path, heard: list[Heard], monkeypatch: pytest.MonkeyPatch, scratch: Path
) -> None:
    open_file = os.open

    def without_nameless_files(path: Any, flags: int, *arguments: Any, **options: Any) -> int:  # noqa: ANN401
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(95, "Operation not supported")
        return open_file(path, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", without_nameless_files)
    bag = write_old(tmp_path / "bag", heard, 4, "FILE")
    assert contents(bag) == expected(heard)
    gc.collect()
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("statements", "text"),
    [
        (["CREATE TABLE other(id INTEGER)"], "no recording of rosbag2 (no table 'topics')"),
        (["CREATE TABLE topics(id INTEGER)", "CREATE TABLE messages(id INTEGER)"], "its topics cannot be read"),
        (["CREATE TABLE topics(id INTEGER)", "CREATE VIEW messages AS SELECT 1 AS id"], "(no table 'messages')"),
    ],
)
def test_another_database_is_named_in_one_line(tmp_path: Path, statements: list[str], text: str) -> None:
    connection = sqlite3.connect(tmp_path / "other.db3")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    result = CliRunner().invoke(app, ["bag", "info", str(tmp_path / "other.db3")])

    assert result.exit_code == 2
    assert text in " ".join(result.stderr.split())


def test_rows_of_wrong_types_are_counted_and_left_out(tmp_path: Path, heard: list[Heard]) -> None:
    bag = write_old(tmp_path / "bag", heard, 4)
    connection = sqlite3.connect(bag / "bag_0.db3")
    for values in [(1, "noon", b"x"), (1, 5, "text"), (1, -5, b"x"), (99, 5, b"x"), ("one", 5, b"x")]:
        connection.execute("INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)", values)
    connection.commit()
    connection.close()
    opened = Bag.open(bag)

    assert contents(opened) == expected(heard)
    assert any("3 messages are no messages" in line for line in opened.damage())
    assert any("2 messages of topics whose names are lost" in line for line in opened.damage())


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("message_definitions", "definitions of types cannot be read (a length beyond all memory)"),
        ("topics", "its topics cannot be read (a length beyond all memory)"),
    ],
)
def test_lengths_that_ask_for_all_memory_are_told(
    tmp_path: Path, heard: list[Heard], monkeypatch: pytest.MonkeyPatch, table: str, text: str
) -> None:
    """A wrong bit in a length: SQLite has no memory for it, and Python no words. Found by fuzzing."""
    bag = write_with_rosbags(tmp_path / "bag", heard, "sqlite3")

    class Forgetful(sqlite3.Connection):
        def execute(self, query: str, *arguments: Any) -> sqlite3.Cursor:  # noqa: ANN401 - as it comes
            if f"FROM {table}" in query:
                raise MemoryError
            return super().execute(query, *arguments)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *given, **named: connect(*given, factory=Forgetful, **named))
    if table == "topics":
        with pytest.raises(BagError, match=re.escape(text)):
            Bag.open(bag)
    else:
        assert text in bag_info(bag)["damage"]


def test_uncompressed_chunks_are_found_again_by_the_index(tmp_path: Path, heard: list[Heard]) -> None:
    """rosbag2 compresses nothing by default; what a chunk begins with is then no mark to search for."""
    bag = write_with_rosbags(tmp_path / "bag", heard * 100, "mcap")
    file = next(bag.glob("*.mcap"))
    content = bytearray(file.read_bytes())
    header_bytes = int.from_bytes(content[9:17], "little")
    chunk = 17 + header_bytes
    assert content[chunk] == 0x06
    content[chunk + 5] ^= 0x40
    file.write_bytes(content)
    opened = Bag.open(bag)
    found = contents(opened)

    assert 0 < len(found) < len(heard) * 100
    assert found == expected(heard * 100)[-len(found) :]
    assert any("are no record" in line for line in opened.damage())
