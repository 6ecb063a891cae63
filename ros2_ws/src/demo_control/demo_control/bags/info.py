"""What is in a recording, for people and for JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from demo_control.bags.definitions import Decoder
from demo_control.bags.errors import BagError
from demo_control.bags.metadata import END_RECORD, PARAMETERS_RECORD, START_RECORD
from demo_control.bags.reader import Bag, Heard

STATE_TOPIC = "/layer_state"
STATE_TYPE = "demo_msgs/msg/LayerState"
RECORDED = "/recorded"
"""Before what a replay repeats of topics that live nodes publish themselves: what is in there commands no robot."""


def bag_info(path: Path) -> dict[str, object]:
    """Topics, counts, duration, robot, bundle, drops and damage of one bag, ready for JSON.

    Counts are of the messages that are there and whole; what the file's index claims is not used.

    Args:
        path: Folder, or file.

    Raises:
        BagError: No recording.
    """
    bag = Bag.open(path)
    counts: Counter[tuple[str, str]] = Counter()
    gaps: Counter[str] = Counter()
    states: list[Heard] = []
    start_ns, end_ns, backwards, newest_ns = 2**63 - 1, 0, 0, 0
    last: dict[str, int] = {}
    for heard in bag.messages():
        counts[heard.topic, heard.type] += 1
        start_ns, end_ns = min(start_ns, heard.log_time_ns), max(end_ns, heard.log_time_ns)
        backwards += heard.log_time_ns < newest_ns
        newest_ns = max(newest_ns, heard.log_time_ns)
        gaps[heard.topic] += gap(last.get(heard.topic, 0), heard.sequence)
        last[heard.topic] = heard.sequence
        if heard.topic.endswith(STATE_TOPIC) and heard.type == STATE_TYPE:
            states.append(heard)
    warnings = []
    if not counts:
        warnings.append("no message")
    seconds = (end_ns - start_ns) / 1e9 if counts else 0.0
    robots, bundles = _robots(bag, states, warnings)
    if len(robots) > 1:
        warnings.append(f"several robots in one recording: {', '.join(robots)}")
    ended = END_RECORD in bag.records
    if START_RECORD in bag.records and not ended:
        warnings.append("the recorder did not end in order: what it may have dropped is not known")
    missing = bag.missing()
    return {
        "bag": str(path),
        "robot": robots[0] if len(robots) == 1 else None,
        "robots": robots,
        "bundle_sha256": bundles,
        "duration_s": seconds,
        "start_ns": start_ns if counts else None,
        "bytes": sum(container.path.stat().st_size for container in bag.containers),
        "messages": sum(counts.values()),
        "topics": [
            {"name": topic, "type": kind, "messages": count, "rate_hz": count / seconds if seconds else None}
            for (topic, kind), count in sorted(counts.items())
        ],
        "empty_topics": sorted({channel.topic for channel in bag.channels} - {topic for topic, _ in counts}),
        "out_of_order": backwards,
        "missing": missing,
        "gaps": {topic: count for topic, count in sorted(gaps.items()) if count},
        "recorder": {name: bag.records[name] for name in (START_RECORD, END_RECORD) if name in bag.records},
        "complete": not bag.damage() and not missing and (ended or START_RECORD not in bag.records),
        "checksums": all(container.checked for container in bag.containers),
        "damage": bag.damage(),
        "warnings": warnings,
    }


def gap(before: int, sequence: int) -> int:
    """Messages missing between two that a publisher counted; none where it does not count, or began anew."""
    return sequence - before - 1 if before and sequence > before else 0


def _robots(bag: Bag, states: list[Heard], warnings: list[str]) -> tuple[list[str], list[str]]:
    """Tasks and bundles that the layer told of, or that the recorder noted."""
    robots: dict[str, None] = {}
    bundles: dict[str, None] = {}
    definition = next(
        (c.definition for c in bag.channels if c.topic.endswith(STATE_TOPIC) and c.type == STATE_TYPE), ""
    )
    try:
        decoder = Decoder([(STATE_TYPE, definition)]) if states else None
        for state in states:
            assert decoder is not None
            message = decoder.decode(state.data, STATE_TYPE)
            robots[str(message.task)] = None
            bundles[str(message.bundle_sha256)] = None
    except (BagError, AttributeError) as error:
        warnings.append(f"{STATE_TOPIC}: {error}")
    for name, record in bag.records.items():
        if not name.startswith(PARAMETERS_RECORD):
            continue
        if digest := record.get("bundle_sha256"):
            bundles[digest] = None
        if task := _parameters_of(record).get("task"):
            robots[str(task)] = None
    return list(robots), list(bundles)


def _parameters_of(record: Mapping[str, str]) -> dict[str, object]:
    """A node's parameters by name, from its metadata record."""
    try:
        parameters = json.loads(record.get("parameters", ""))
    except ValueError:
        return {}
    return parameters if isinstance(parameters, dict) else {}
