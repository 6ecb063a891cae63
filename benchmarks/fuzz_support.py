"""What the fuzzers share: their options, and trying many inputs, the same for the same seed."""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections.abc import Callable, Collection

_SHOWN_CHARACTERS = 500


class RuleError(AssertionError):
    """An input was not dealt with as it should; the text says how."""


def read_options(text: str, known: Collection[str]) -> tuple[int, int, list[str]]:
    """Inputs of each kind, seed and kinds of the command line.

    Args:
        text: Of --help.
        known: Names of all kinds.
    """
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", default="", help=f"some alone, separated by commas, of {', '.join(known)}")
    options = parser.parse_args()
    chosen = options.kind.split(",") if options.kind else list(known)
    for name in chosen:
        if name not in known:
            parser.error(f"--kind {name}: must be one of {', '.join(known)}")
    return options.inputs, options.seed, chosen


def try_many(
    name: str, inputs: int, seed: int, try_one: Callable[[random.Random], None], slowest_s: float = math.inf
) -> dict[str, object]:
    """Try many inputs; the first that raises is told, and raises.

    Args:
        name: Of the kind.
        inputs: How many.
        seed: Of all of them.
        try_one: Makes one and tries it.
        slowest_s: Processor time that one may take.

    Raises:
        RuleError: One took longer.
    """
    generator = random.Random(seed)
    began_s, longest_s = time.process_time(), 0.0
    for index in range(inputs):
        before_s = time.process_time()
        try:
            try_one(generator)
        except Exception as error:
            shown = str(error)[:_SHOWN_CHARACTERS]
            print(f"{name}, seed {seed}, input {index}: {type(error).__name__}: {shown}", file=sys.stderr)
            raise
        longest_s = max(longest_s, time.process_time() - before_s)
        if longest_s > slowest_s:
            raise RuleError(f"{name}, seed {seed}, input {index}: took {longest_s:.1f} s")
        if index % 100_000 == 0:
            print(f"{name}: {index} of {inputs}", file=sys.stderr, flush=True)
    return {
        "inputs": inputs,
        "seed": seed,
        "processor_s": round(time.process_time() - began_s, 1),
        "longest_ms": round(1e3 * longest_s, 2),
    }
