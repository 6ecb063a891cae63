"""Recordings damaged in many ways, shortly (``benchmarks/bag_fuzz.py`` does it for hours), and any bytes."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import yaml
from bag_fuzz import KINDS, fuzz
from hypothesis import given, settings
from hypothesis import strategies as st

from demo_control.bags.container import MAGIC as MCAP_MAGIC
from demo_control.bags.database import MAGIC as SQLITE_MAGIC
from demo_control.bags.errors import BagError
from demo_control.bags.folder import read_metadata
from demo_control.bags.info import bag_info
from demo_control.bags.repair import repair
from demo_control.bags.unpacking import MAGIC as ZSTD_MAGIC
from demo_control.bundle import default_bundle

from .recorded_bag import RobotRecorder


@pytest.mark.skipif(not default_bundle("cartpole").is_dir(), reason="no bundle of the cart-pole is shipped")
def test_whatever_is_damaged_is_refused_or_told(tmp_path: Path) -> None:
    recorder = RobotRecorder(tmp_path / "bag")
    recorder.activate()
    for _ in range(3):
        recorder.run(4)
        recorder.scribe.recording.settle()
    outcomes = fuzz(recorder.close(), 12 * len(KINDS), seed=1, read=0.5, evaluated=0.1, repaired=0.2)

    assert sum(outcomes.values()) == 12 * len(KINDS)
    assert set(outcomes) >= {"refused", "a part"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any")


NAMES = ["a.mcap", "a.db3", "a.mcap.zstd", "a.db3.zstd", "a_0.mcap"]
HEADS = [b"", MCAP_MAGIC, SQLITE_MAGIC, ZSTD_MAGIC]


@settings(max_examples=100)
@given(
    name=st.sampled_from(NAMES), head=st.sampled_from(HEADS), rest=st.binary(max_size=300), text=st.binary(max_size=99)
)
def test_any_bytes_are_a_bag_or_a_clear_error(folder: Path, name: str, head: bytes, rest: bytes, text: bytes) -> None:
    for path in folder.iterdir():
        path.unlink()
    (folder / name).write_bytes(head + rest)
    (folder / "metadata.yaml").write_bytes(b"rosbag2_bagfile_information:" + text)
    with contextlib.suppress(BagError):
        assert bag_info(folder)["messages"] == 0
        assert repair(folder).messages == 0


NODES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60)
@given(version=NODES, files=NODES, count=NODES, mode=NODES)
def test_any_metadata_is_understood_or_told(
    folder: Path, version: object, files: object, count: object, mode: object
) -> None:
    content = {"version": version, "relative_file_paths": files, "message_count": count, "compression_mode": mode}
    (folder / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": content}))
    notes: list[str] = []
    told = read_metadata(folder / "metadata.yaml", notes)

    assert notes or (told.messages == count and isinstance(version, int))
