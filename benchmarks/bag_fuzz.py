"""Damages recordings in many ways and looks at each: a clear error or a part that is told as one, never anything else.

    .venv/bin/democtl launch cartpole_swingup --duration 1 --record out/bags/short
    .venv/bin/python benchmarks/bag_fuzz.py out/bags/short --inputs 100000

Every input is a copy of the recording, as MCAP or SQLite, compressed or not, damaged in its bytes, its metadata.yaml or
its contents. All are looked at by ``info``; shares are read as ``evaluate`` does it, repaired, evaluated. Those
that break a rule are kept, and said.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from bag_mutations import BYTES, ODDITIES
from fuzz_support import RuleError
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from demo_control.bags.errors import BagError
from demo_control.bags.evaluation import Request, evaluate_bag
from demo_control.bags.info import bag_info
from demo_control.bags.layer_log import read_layer_log
from demo_control.bags.reader import Bag, Heard
from demo_control.bags.repair import repair
from demo_control.bundle import BundleError
from demo_control.configuration import ConfigurationError
from demo_control.texts import load_yaml

KINDS = ("recorded", "mcap none", "mcap storage", "mcap message", "mcap file", "sqlite3 none", "sqlite3 message",
         "sqlite3 file")  # fmt: skip
"""How an input is stored: as it was recorded (MCAP with checksums), or by rosbags' writer: storage and compression."""

TOPICS = ("/observation", "/nominal_action", "/action", "/planner_status", "/layer_state")
_TOLD = (BagError, BundleError, ConfigurationError)
_SLOWEST_S = 20.0
_TELLING = 1000
_ODD = 0.03
"""Share of inputs with odd contents: these are written anew, which takes longest."""


@dataclass(frozen=True)
class Base:
    """A recording that is in order, in one kind of storage.

    Attributes:
        folder: Of the bag.
        kind: One of ``KINDS``.
        heard: Its messages.
        report: What evaluating it says.
        checked: Whether its messages have checksums.
    """

    folder: Path
    kind: str
    heard: list[Heard]
    report: dict[str, Any]
    checked: bool


def make_base(bag: Path, kind: str, folder: Path) -> Base:
    """Store a recording in another way.

    Args:
        bag: The recording.
        kind: One of ``KINDS``.
        folder: Made.
    """
    heard = [message for message in Bag.open(bag).messages() if message.topic in TOPICS]
    if kind == "recorded":
        shutil.copytree(bag, folder)
        heard = list(Bag.open(bag).messages())
    else:
        write(folder, kind, heard, definitions_of(bag))
    return Base(folder, kind, heard, evaluate_bag(Request(folder)), bool(bag_info(folder)["checksums"]))


def definitions_of(bag: Path) -> dict[str, str]:
    """Definitions of types, by their names."""
    opened = Bag.open(bag)
    list(opened.messages())
    return {channel.type: channel.definition for channel in opened.channels}


def write(folder: Path, kind: str, heard: list[Heard], definitions: dict[str, str]) -> None:
    """Write messages with rosbags' writer."""
    storage, compression = kind.split()
    writer = Writer(folder, version=9, storage_plugin=StoragePlugin[storage.upper()])
    writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    connections: dict[tuple[str, str], Any] = {}
    with writer:
        for message in heard:
            key = (message.topic, message.type)
            if key not in connections:
                connections[key] = writer.add_connection(
                    message.topic, message.type, msgdef=definitions[message.type], rihs01="RIHS01_0"
                )
            writer.write(connections[key], message.log_time_ns, message.data)


@dataclass(frozen=True)
class Input:
    """A damaged copy.

    Attributes:
        folder: Of the bag.
        whole: What it was made from: nothing else may be read where there are checksums.
        true: Whether the messages are those that were recorded.
        what: Kind and damage.
    """

    folder: Path
    whole: Base
    true: bool
    what: str


def make_input(base: Base, folder: Path, random: np.random.Generator, definitions: dict[str, str]) -> Input:
    """Damage a copy of a recording in one way."""
    if base.kind != "recorded" and random.random() < _ODD:
        oddity = ODDITIES[int(random.integers(len(ODDITIES)))]
        write(folder, base.kind, oddity(base.heard, random), definitions)
        return Input(folder, base, False, f"{base.kind}: {oddity.__name__}")
    shutil.copytree(base.folder, folder)
    damage = BYTES[int(random.integers(len(BYTES)))]
    file = folder / "metadata.yaml"
    if random.random() > 0.1:
        file = next(path for path in sorted(folder.iterdir()) if path != file)
    elif random.random() < 0.2:
        file.unlink()
        return Input(folder, base, True, f"{base.kind}: no metadata.yaml")
    content = bytearray(file.read_bytes())
    damage(content, random)
    file.write_bytes(content)
    return Input(folder, base, True, f"{base.kind}: {damage.__name__} {file.name}")


def look(given: Input, *, reads: bool = True, answers: bool = True, mends: bool = True) -> str:
    """Look at an input in every way; returns how it went.

    Args:
        given: The input.
        reads: Whether it is read as for evaluating.
        answers: Whether it is evaluated.
        mends: Whether it is repaired.

    Raises:
        RuleError: A rule was broken; any other exception is a defect, too.
    """
    # Its own time: nothing here waits, and others may hold this process up.
    began_s = time.process_time()
    try:
        info = bag_info(given.folder)
    except BagError:
        outcome = "refused"
    else:
        outcome = "whole" if info["complete"] else "a part"
        _check_info(given, info)
    if reads:
        with contextlib.suppress(BagError):
            read_layer_log(Bag.open(given.folder))
    if answers:
        _evaluate(given)
    if mends:
        _repair(given)
    if time.process_time() - began_s > _SLOWEST_S:
        raise RuleError(f"took {time.process_time() - began_s:.0f} s")
    return outcome


def _check_info(given: Input, info: dict[str, Any]) -> None:
    """Whether what is there is what was written, and what is not is told."""
    json.dumps(info, allow_nan=False)
    if info["complete"] and not info["checksums"]:
        raise RuleError("complete, and nothing was checked")
    if not (given.true and given.whole.checked and info["checksums"]):
        return
    found = [(message.topic, message.log_time_ns, message.data) for message in Bag.open(given.folder).messages()]
    if len(found) != info["messages"]:
        raise RuleError(f"info tells of {info['messages']} messages, {len(found)} are read")
    written = [(message.topic, message.log_time_ns, message.data) for message in given.whole.heard]
    if not set(found) <= set(written):
        raise RuleError("a message that was not written")
    if found != written and info["complete"]:
        raise RuleError(f"{len(found)} messages of {len(written)}, and it is called complete")


def _evaluate(given: Input) -> None:
    """Whether what is said of commands is right, or told as a part."""
    try:
        report = evaluate_bag(Request(given.folder))
    except _TOLD:
        return
    json.dumps(report, allow_nan=False)
    if report["bit_exact"] and not 0 < report["actions"] == report["identical_actions"]:
        raise RuleError("bit_exact without identical actions")
    if report["complete"]:
        if not given.true:
            raise RuleError("an odd recording is called complete")
        for name in ("actions", "identical_actions", "plans", "identical_plans", "metrics"):
            if report[name] != given.whole.report[name]:
                raise RuleError(f"complete, and {name} is {report[name]}")


def _repair(given: Input) -> None:
    """Whether a repair keeps all that could be read, and makes a whole file of it."""
    try:
        before = list(Bag.open(given.folder).messages())
        done = repair(given.folder)
    except BagError:
        return
    after = list(Bag.open(given.folder).messages())
    if [(m.topic, m.log_time_ns, m.data) for m in before] != [(m.topic, m.log_time_ns, m.data) for m in after]:
        raise RuleError("a repair changed messages")
    if done.messages != len(after):
        raise RuleError(f"a repair tells of {done.messages} messages, {len(after)} are there")
    if repair(given.folder).lost:
        raise RuleError("after a repair there is something to repair")
    if done.lost and bag_info(given.folder)["complete"]:
        raise RuleError("a repaired recording is called complete")


def fuzz(
    bag: Path,
    inputs: int,
    seed: int,
    *,
    read: float = 0.5,
    evaluated: float = 0.02,
    repaired: float = 0.2,
    kept: Path | None = None,
) -> Counter[str]:
    """Look at many inputs.

    Args:
        bag: A recording that is in order.
        inputs: How many.
        seed: Of the damage.
        read: Share that is read as for evaluating.
        evaluated: Share that is evaluated, as that takes longest.
        repaired: Share that is repaired.
        kept: Where inputs that break a rule are left.

    Returns:
        Outcomes.

    Raises:
        RuleError: Names the inputs that broke a rule, and how.
    """
    outcomes: Counter[str] = Counter()
    broken: list[str] = []
    definitions = definitions_of(bag)
    # Nine tenths of the inputs have the metadata.yaml of what they were made from; text_fuzzing.py looks at the parser.
    parsed_once = patch("demo_control.bags.folder.load_yaml", lru_cache(maxsize=64)(load_yaml))
    with tempfile.TemporaryDirectory() as scratch, parsed_once:
        bases = [make_base(bag, kind, Path(scratch, f"base {kind}", "bag")) for kind in KINDS]
        for index in range(inputs):
            random = np.random.default_rng((seed, index))
            folder = Path(scratch, "input", "bag")
            given = make_input(bases[index % len(bases)], folder, random, definitions)
            try:
                reads, answers, mends = random.random(3) < (read, evaluated, repaired)
                outcomes[look(given, reads=reads, answers=answers, mends=mends)] += 1
            except Exception as error:
                broken.append(f"seed {seed}, input {index} ({given.what}): {type(error).__name__}: {error}")
                if kept is not None:
                    shutil.copytree(folder, kept / f"{seed}_{index}", dirs_exist_ok=True)
                    (kept / f"{seed}_{index}.txt").write_text(traceback.format_exc())
            shutil.rmtree(folder.parent)
            if (index + 1) % _TELLING == 0 and kept is not None:
                print(f"{index + 1} of {inputs}, {len(broken)} broken", file=sys.stderr, flush=True)
    if broken:
        raise RuleError("\n".join(broken))
    return outcomes


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bag", type=Path, help="a recording that is in order, a short one")
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--read", type=float, default=0.5, help="share that is read as for evaluating")
    parser.add_argument("--evaluated", type=float, default=0.02, help="share that is evaluated")
    parser.add_argument("--repaired", type=float, default=0.2, help="share that is repaired")
    parser.add_argument("--keep", type=Path, default=Path("out", "bag_fuzz"), help="where bad inputs are left")
    given = parser.parse_args()
    try:
        shares = {"read": given.read, "evaluated": given.evaluated, "repaired": given.repaired}
        outcomes = fuzz(given.bag, given.inputs, given.seed, **shares, kept=given.keep)
    except RuleError as error:
        print(f"{error}\nkept in {given.keep}", file=sys.stderr)
        return 1
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"inputs": given.inputs, "seed": given.seed, **outcomes, "memory_mb": round(memory_mb)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
