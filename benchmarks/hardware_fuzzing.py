"""Throws random and broken bytes at everything that reads bytes from a robot.

    python benchmarks/hardware_fuzzing.py --inputs 1000000

What must hold for every input: no exception but the documented one, every byte accounted for, and a good frame after
the input is found. Same seed, same inputs.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable

from fuzz_support import read_options, try_many

from demo_control.hardware.amt21 import decode_position, encode_position
from demo_control.hardware.dynamixel.emulated import EmulatedServos
from demo_control.hardware.dynamixel.frame import HEADER, Instruction, Packet, Parser, encode
from demo_control.hardware.dynamixel.servo import EmulatedServo
from demo_control.hardware.dynamixel.table import MODELS
from demo_control.hardware.vectornav.frame import FRAME_BYTES, FrameParser, Sample, encode_line, encode_sample

_NEW_SERVOS = 0.02
_SERVOS: list[EmulatedServos] = []
_CLOCK = [0.0]
_FLOATS = struct.Struct("10f")
_INSTRUCTIONS = [int(one) for one in Instruction]


def broken(generator: random.Random, frame: bytes) -> bytes:
    """A frame with something wrong: bytes changed, cut off, doubled, or put where they do not belong."""
    data = bytearray(frame)
    kind = generator.randrange(5)
    if kind == 0 and data:
        for _ in range(generator.randrange(1, 5)):
            data[generator.randrange(len(data))] = generator.randrange(256)
    elif kind == 1:
        del data[generator.randrange(len(data) + 1) :]
    elif kind == 2:
        del data[: generator.randrange(len(data) + 1)]
    elif kind == 3:
        place = generator.randrange(len(data) + 1)
        data[place:place] = generator.randbytes(generator.randrange(1, 20))
    else:
        return generator.randbytes(generator.randrange(0, 80))
    return bytes(data)


def packet(generator: random.Random) -> Packet:
    """A random packet, often full of what looks like headers."""
    size = generator.randrange(0, 40)
    parameters = generator.randbytes(size) if generator.random() < 0.7 else (HEADER * 10)[:size]
    return Packet(generator.randrange(255), _INSTRUCTIONS[generator.randrange(14)], 0, parameters)


def dynamixel_parser(generator: random.Random) -> None:
    """A stream of good and broken frames, cut anywhere, and a good frame at its end."""
    parser = Parser(256)
    good = Packet(1, Instruction.STATUS, 0, b"\x01\x02")
    pieces = [broken(generator, encode(packet(generator))) for _ in range(generator.randrange(1, 4))]
    stream = b"".join(pieces)
    cut = generator.randrange(len(stream) + 1)
    found = parser.feed(stream[:cut]) + parser.feed(stream[cut:])
    # Two: a frame that lacks its last byte may find it in the next one's first.
    found += parser.feed(encode(good) * 2) + parser.finish()
    assert found[-1] == good
    assert parser.packets == len(found)
    assert parser.skipped_bytes <= len(stream) + len(encode(good))


def dynamixel_servo(generator: random.Random) -> None:
    """Any instruction, broken or not, to a bus of two servos that a good question follows."""
    if generator.random() < _NEW_SERVOS or not _SERVOS:
        _SERVOS[:] = [EmulatedServos([EmulatedServo(1, MODELS["xm540-w150"]), EmulatedServo(2, MODELS["xm430-w210"])])]
        _CLOCK[0] = 0.0
    bus = _SERVOS[0]
    _CLOCK[0] += 2.0
    one = packet(generator)
    # A command of its own may switch answers off, which is right, or restart it.
    addressed = Packet(generator.choice((1, 2, 254)), one.instruction, 0, one.parameters)
    frame = encode(addressed)
    bus.receive(frame if generator.random() < 0.5 else broken(generator, frame), _CLOCK[0])
    answers = bus.receive(encode(Packet(2, Instruction.PING, 0, b"")), _CLOCK[0] + 1.0)
    ids = [servo.id for servo in bus.servos]
    assert len(answers) == ids.count(2)


def vectornav_parser(generator: random.Random) -> None:
    """A stream of good and broken frames and lines, cut anywhere, and good frames at its end."""
    numbers = _FLOATS.unpack(_FLOATS.pack(*(generator.gauss(0.0, 1.0) for _ in range(10))))
    sample = Sample(generator.randrange(2**62), numbers[:4], numbers[4:7], numbers[7:])
    line = encode_line("VNRRG,01,VN-100")
    pieces = [broken(generator, encode_sample(sample) if generator.random() < 0.7 else line) for _ in range(3)]
    stream = b"".join(pieces)
    parser = FrameParser()
    cut = generator.randrange(len(stream) + 1)
    parser.feed(stream[:cut])
    parser.feed(stream[cut:])
    # At most one beginning of a frame, or of a line, is still open: it swallows no more than its own length.
    last = Sample(7, (0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0), (0.0, 0.0, -9.75))
    found = parser.feed(encode_sample(last) * (256 // FRAME_BYTES + 3))
    assert found[-1] == last


def encoder_answer(generator: random.Random) -> None:
    """Any bytes for an answer: a position within a turn, or nothing."""
    data = generator.randbytes(generator.randrange(0, 5))
    units = decode_position(data)
    assert units is None or encode_position(units) == data


KINDS: dict[str, Callable[[random.Random], None]] = {
    "dynamixel_parser": dynamixel_parser,
    "dynamixel_servo": dynamixel_servo,
    "vectornav_parser": vectornav_parser,
    "encoder_answer": encoder_answer,
}


def main() -> None:
    """Run all and print the counts as JSON."""
    inputs, seed, chosen = read_options(__doc__, KINDS)
    report = {name: try_many(name, inputs, seed, KINDS[name]) for name in chosen}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
