"""Ways to damage a recording: its bytes, as disks and programs do, and its contents."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from demo_control.bags.reader import Heard

Damage = Callable[[bytearray, np.random.Generator], None]


def _place(content: bytearray, random: np.random.Generator) -> tuple[int, int]:
    """A range, mostly a short one."""
    start = int(random.integers(len(content))) if content else 0
    return start, min(len(content), start + int(2 ** random.uniform(0, 12)))


def cut(content: bytearray, random: np.random.Generator) -> None:
    """Cut the end off."""
    del content[_place(content, random)[0] :]


def flip(content: bytearray, random: np.random.Generator) -> None:
    """Flip some bits."""
    for place in random.integers(0, max(len(content), 1), int(random.integers(1, 9))) if content else ():
        content[place] ^= 1 << int(random.integers(8))


def overwrite(content: bytearray, random: np.random.Generator) -> None:
    """Write anything over a range."""
    start, end = _place(content, random)
    content[start:end] = random.bytes(end - start)


def blank(content: bytearray, random: np.random.Generator) -> None:
    """Write zeros over a range, as a disk may."""
    start, end = _place(content, random)
    content[start:end] = bytes(end - start)


def remove(content: bytearray, random: np.random.Generator) -> None:
    """Take a range out."""
    start, end = _place(content, random)
    del content[start:end]


def repeat(content: bytearray, random: np.random.Generator) -> None:
    """Put a range in a second time, anywhere."""
    start, end = _place(content, random)
    place = _place(content, random)[0]
    content[place:place] = content[start:end]


def exchange(content: bytearray, random: np.random.Generator) -> None:
    """Exchange two pages, as a file system may."""
    pages = len(content) // 512
    if pages > 1:
        a, b = (int(page) * 512 for page in random.integers(pages, size=2))
        content[a : a + 512], content[b : b + 512] = content[b : b + 512], content[a : a + 512]


def number(content: bytearray, random: np.random.Generator) -> None:
    """Write a number that programs do not expect."""
    start = _place(content, random)[0]
    value = int(random.choice([0, 1, 2**31 - 1, 2**32 - 1, 2**63 - 1]))
    content[start : start + 8] = value.to_bytes(8, random.choice(["little", "big"]))[: len(content) - start]


BYTES: tuple[Damage, ...] = (cut, flip, overwrite, blank, remove, repeat, exchange, number)

Oddity = Callable[[list[Heard], np.random.Generator], list[Heard]]


def lose(heard: list[Heard], random: np.random.Generator) -> list[Heard]:
    """Lose messages here and there."""
    return [message for message in heard if random.random() > 0.1]


def mix(heard: list[Heard], random: np.random.Generator) -> list[Heard]:
    """Write them in another order."""
    return [heard[int(index)] for index in random.permutation(len(heard))]


def turn_back(heard: list[Heard], random: np.random.Generator) -> list[Heard]:
    """Let the recorder's clock jump back, or far ahead."""
    start = int(random.integers(len(heard)))
    jump = int(random.choice([-(10**9), -(10**18), 10**18]))
    return heard[:start] + [m._replace(log_time_ns=max(m.log_time_ns + jump, 0)) for m in heard[start:]]


def rename(heard: list[Heard], random: np.random.Generator) -> list[Heard]:
    """Call a topic as another one is called."""
    old, new = random.choice(sorted({message.topic for message in heard}), 2)
    return [message._replace(topic=str(new)) if message.topic == old else message for message in heard]


def spoil(heard: list[Heard], random: np.random.Generator) -> list[Heard]:
    """Change bytes within messages, so that their values are odd, and they may be none."""
    spoilt = []
    for message in heard:
        content = bytearray(message.data)
        if random.random() < 0.1:
            BYTES[int(random.integers(len(BYTES)))](content, random)
        spoilt.append(message._replace(data=bytes(content)))
    return spoilt


def twice(heard: list[Heard], random: np.random.Generator) -> list[Heard]:
    """Record another run of the robot in the same bag."""
    return heard + [m._replace(log_time_ns=m.log_time_ns + int(random.integers(10**10))) for m in heard]


ODDITIES: tuple[Oddity, ...] = (lose, mix, turn_back, rename, spoil, twice)
