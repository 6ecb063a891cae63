"""Throws broken and hostile texts at everything that reads one: contract.json and each kind of YAML.

    python benchmarks/text_fuzzing.py --inputs 1000000 [--kind contract,wiring,experiment,parameters,metadata]

Every input is a shipped text with characters, lines and values changed. What must hold: it is read, or refused by the
documented exception in one line that can be printed; what is read as a contract can be written and is read back
the same. Same seed, same inputs.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from fuzz_support import RuleError, read_options, try_many

from demo_control.bags.folder import read_metadata
from demo_control.bringup.description import NodeDescription, with_parameters_file
from demo_control.bundle import BundleError
from demo_control.bundle.contract import Contract
from demo_control.configuration import ConfigurationError
from demo_control.experiments.spec import read_experiment
from demo_control.hardware.wiring import load_wiring

_ROOT = Path(__file__).resolve().parents[1]
_SLOWEST_S = 2.0
_LONGEST_MESSAGE = 3000
_CUT_OFF = 0.1
"""Share of the texts chosen for it that are cut off: of such a text nothing else is seen."""
_TOLD = (BundleError, ConfigurationError)

_NUMBERS = ("0", "-1", "1e999", "-1e-400", "9" * 400, "9" * 5000, "18446744073709551616", "0.1", "true", "null", "NaN")
_JSON_VALUES = (
    *_NUMBERS, "Infinity", '""', '"\\ud800"', '"a\\nb"', '"\\u001b[31m"', "[]", "{}", "[1]", '{"a": 1}',
    '{"a": 1, "a": 2}', "[" * 3000 + "]" * 3000, '"' + "x" * 50_000 + '"', "[" + "0," * 30_000 + "0]", "tru",
    '["a", "a"]', "",
)  # fmt: skip
_YAML_VALUES = (
    *_NUMBERS, ".inf", ".nan", "!!int ''", "!!bool maybe", "!!timestamp x", "!!binary x", "2020-99-99", "0x_", "0b_",
    "0x" + "f" * 5000, "1:99:99", "!!python/object/apply:os.system [exit]", "&a [*a]", "&b {c: *b}", "*nothing",
    "? [a, b]", "<<: 1", "{<<: *nothing}", "[1, 2", "{a: 1, a: 2}", '"\\ud800"', '"a\\nb"', "|\n  text", "''", "'",
    "%YAML 3.0", "---", "\t", "~", "[" * 3000 + "]" * 3000, "x" * 50_000, "[" + "0, " * 3000 + "0]",
    "[&l1 [x,x,x,x,x,x,x,x,x], &l2 [*l1,*l1,*l1,*l1,*l1,*l1,*l1,*l1], &l3 [*l2,*l2,*l2,*l2,*l2,*l2,*l2,*l2],"
    " &l4 [*l3,*l3,*l3,*l3,*l3,*l3,*l3,*l3], &l5 [*l4,*l4,*l4,*l4,*l4,*l4,*l4,*l4], [*l5,*l5,*l5,*l5,*l5,*l5,*l5]]",
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A kind of text.

    Attributes:
        texts: Shipped ones, in order.
        values: What may be put in the place of a value.
        read: Reads one.
    """

    texts: list[str]
    values: tuple[str, ...]
    read: Callable[[str], None]


def changed(generator: random.Random, kind: Kind) -> str:
    """A shipped text, changed in a few places."""
    lines = generator.choice(kind.texts).split("\n")
    for _ in range(generator.randrange(1, 4)):
        place = generator.randrange(len(lines))
        line = lines[place]
        match generator.randrange(7):
            case 0 if line:
                letter = generator.randrange(len(line))
                lines[place] = line[:letter] + chr(generator.randrange(300)) + line[letter + 1 :]
            case 1 if len(lines) > 1:
                del lines[place]
            case 2:
                lines.insert(place, generator.choice(lines))
            case 3:
                lines[place] = " " * generator.randrange(8) + line.strip()
            case 4 if generator.random() < _CUT_OFF:
                lines[place:] = [line[: generator.randrange(len(line) + 1)]]
            case _:
                name, colon, value = line.partition(":")
                comma = "," if value.endswith(",") else ""
                lines[place] = f"{name}{colon} {generator.choice(kind.values)}{comma}"
    return "\n".join(lines)


def read_contract(text: str) -> None:
    """Read a contract, and what it is written as."""
    contract = Contract.from_json(text)
    written = contract.to_json()
    written.encode()
    if Contract.from_json(written) != contract:
        raise RuleError("a contract is read back as another one")


def kinds(folder: Path) -> dict[str, Kind]:
    """All kinds of texts.

    Args:
        folder: For the files that are read.
    """
    path = folder / "text.yaml"

    def written(read: Callable[[], object]) -> Callable[[str], None]:
        def try_text(text: str) -> None:
            path.write_bytes(text.encode(errors="surrogatepass"))
            read()

        return try_text

    nodes = tuple(NodeDescription("demo_control", name, name, name) for name in ("driver", "policy", "layer"))
    told: list[str] = []
    parameters = (
        "driver:\n  ros__parameters:\n    robot: real\n    pole_length: 1.2\nlayer:\n  ros__parameters:\n    use: 1\n"
    )
    return {
        "contract": Kind(
            [file.read_text(encoding="utf-8") for file in sorted((_ROOT / "models").glob("*/contract.json"))],
            _JSON_VALUES,
            read_contract,
        ),
        "wiring": Kind(
            [
                text.read_text(encoding="utf-8")
                for text in sorted(files("stoch2_sim").joinpath("wiring").iterdir(), key=str)
                if text.name.endswith(".yaml")
            ],
            _YAML_VALUES,
            written(lambda: load_wiring(path)),
        ),
        "experiment": Kind(
            [file.read_text(encoding="utf-8") for file in sorted((_ROOT / "benchmarks" / "learning").glob("*.yaml"))],
            _YAML_VALUES,
            written(lambda: read_experiment(path)),
        ),
        "parameters": Kind([parameters], _YAML_VALUES, written(lambda: with_parameters_file(nodes, str(path)))),
        "metadata": Kind(
            [_metadata()], _YAML_VALUES, written(lambda: read_metadata(path, told) if not told.clear() else None)
        ),
    }


def _metadata() -> str:
    """A recording's metadata.yaml, with what is looked at."""
    return (
        "rosbag2_bagfile_information:\n  version: 9\n  storage_identifier: mcap\n  duration:\n    nanoseconds: 1000\n"
        "  message_count: 2\n  topics_with_message_count:\n    - topic_metadata:\n        name: /action\n"
        "        offered_qos_profiles:\n          - history: keep_last\n            depth: 1\n      message_count: 2\n"
        '  compression_format: ""\n  compression_mode: ""\n'
        "  relative_file_paths:\n    - bag_0.mcap\n  ros_distro: jazzy\n"
    )


def check(kind: Kind, text: str) -> bool:
    """Look at one input; whether it was read.

    Raises:
        RuleError: It was not dealt with as it should.
    """
    try:
        kind.read(text)
    except _TOLD as error:
        message = str(error)
        message.encode()
        if not message.isprintable() or len(message) > _LONGEST_MESSAGE:
            raise RuleError(f"a message of {len(message)} characters: {message[:300]!r}") from error
        return False
    return True


def run(name: str, kind: Kind, inputs: int, seed: int) -> dict[str, object]:
    """Try many inputs; the first that breaks a rule is told, kept as a file, and ends the run."""
    text, tried, read = "", 0, 0

    def try_one(generator: random.Random) -> None:
        nonlocal text, tried, read
        text, tried = changed(generator, kind), tried + 1
        read += check(kind, text)

    try:
        report = try_many(name, inputs, seed, try_one, _SLOWEST_S)
    except Exception:
        Path(f"{name}-{seed}-{tried - 1}.txt").write_bytes(text.encode(errors="surrogatepass"))
        raise SystemExit(1) from None
    return {**report, "read": read}


def main() -> None:
    """Run all and print the counts as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        known = kinds(Path(folder))
        inputs, seed, chosen = read_options(__doc__, known)
        report = {name: run(name, known[name], inputs, seed) for name in chosen}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
