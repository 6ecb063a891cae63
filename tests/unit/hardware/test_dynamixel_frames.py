"""Frames of Dynamixel protocol 2.0: published examples, any packet, any noise."""

from __future__ import annotations

import numpy as np
import pytest
from dynamixel_sdk import Protocol2PacketHandler
from hypothesis import given
from hypothesis import strategies as st

from demo_control.hardware.dynamixel.frame import (
    BROADCAST_ID,
    HEADER,
    Instruction,
    Packet,
    Parser,
    crc16,
    encode,
)

PACKETS = st.builds(
    Packet,
    id=st.integers(0, 254),
    instruction=st.sampled_from([int(one) for one in Instruction]),
    error=st.just(0),
    parameters=st.one_of(
        st.binary(max_size=60),
        # Full of headers, so that there is something to stuff.
        st.lists(st.sampled_from([b"\xff", b"\xff\xff\xfd", b"\xfd", b"\x00", HEADER]), max_size=12).map(b"".join),
    ),
)


def test_the_manuals_examples() -> None:
    # e-Manual, Protocol 2.0: a ping of servo 1, and a write of 512 to the goal position of servo 1.
    ping = encode(Packet(1, Instruction.PING, 0, b""))
    assert ping == bytes.fromhex("FFFFFD00 01 0300 01 194E")
    write = encode(Packet(1, Instruction.WRITE, 0, bytes.fromhex("7400 00020000")))
    assert write == bytes.fromhex("FFFFFD00 01 0900 03 7400 00020000 CA89")


@given(st.binary(max_size=200))
def test_the_checksum_is_the_vendors(data: bytes) -> None:
    assert crc16(data) == Protocol2PacketHandler().updateCRC(0, list(data), len(data))


@given(st.lists(PACKETS, max_size=5), st.integers(1, 20))
def test_packets_come_back_however_the_bytes_are_cut(packets: list[Packet], size: int) -> None:
    stream = b"".join(map(encode, packets))
    parser = Parser()
    found = [p for start in range(0, len(stream), size) for p in parser.feed(stream[start : start + size])]
    assert found == packets
    assert (parser.corrupt, parser.skipped_bytes) == (0, 0)


@given(PACKETS)
def test_no_header_hides_inside_a_frame(packet: Packet) -> None:
    frame = encode(packet)
    # The checksum is not stuffed: it may complete a header by chance, which the parser survives.
    assert HEADER[:3] not in frame[4:-2].replace(HEADER[:3] + b"\xfd", b"")


@given(st.lists(PACKETS, min_size=1, max_size=4), st.binary(max_size=40).filter(lambda noise: HEADER[:1] not in noise))
def test_noise_between_packets_costs_no_packet(packets: list[Packet], noise: bytes) -> None:
    parser = Parser()
    stream = noise + b"".join(encode(packet) + noise for packet in packets)
    assert parser.feed(stream) + parser.finish() == packets
    assert parser.skipped_bytes == (len(packets) + 1) * len(noise)


@given(PACKETS, PACKETS, st.data())
def test_a_broken_frame_costs_itself_alone(broken: Packet, good: Packet, data: st.DataObject) -> None:
    frame = bytearray(encode(broken))
    place = data.draw(st.integers(0, len(frame) - 1))
    frame[place] ^= data.draw(st.integers(1, 255))
    parser = Parser(largest_length=200)
    found = parser.feed(bytes(frame) + encode(good)) + parser.finish()
    # One wrong byte never passes a 16-bit checksum; what its length swallows is found when nothing more comes.
    assert found[-1:] == [good]
    assert broken not in found[:-1]


@given(st.binary(max_size=300))
def test_anything_is_survived_and_all_bytes_are_accounted_for(noise: bytes) -> None:
    parser = Parser()
    packets = parser.feed(noise) + parser.finish()
    assert len(noise) == parser.skipped_bytes + sum(len(encode(packet)) for packet in packets)


def test_a_length_that_cannot_be_is_not_waited_for() -> None:
    parser = Parser(largest_length=64)
    long = HEADER + bytes([1, 0xFF, 0x7F, 0x55])
    good = Packet(7, Instruction.STATUS, 0, b"\x01")
    assert parser.feed(long + encode(good)) == [good]


def test_a_status_packet_without_an_error_byte_is_none() -> None:
    frame = HEADER + bytes([1, 3, 0, 0x55])
    parser = Parser()
    assert parser.feed(frame + crc16(frame).to_bytes(2, "little")) == []
    assert parser.corrupt == 1


def test_a_frame_that_swallows_another_one_is_none() -> None:
    good = Packet(1, Instruction.STATUS, 0, b"\x01\x02")
    # A broken length that reaches over the next frame, with a checksum that fits.
    inner = encode(good)
    frame = HEADER + bytes([9]) + (len(inner) + 3).to_bytes(2, "little") + bytes([Instruction.WRITE]) + inner
    parser = Parser()
    assert parser.feed(frame + crc16(frame).to_bytes(2, "little")) == [good]


def test_random_noise_is_never_taken_for_many_packets() -> None:
    generator = np.random.default_rng(1)
    parser = Parser()
    # Headers everywhere, and everything else at random: each has one chance in 65 536.
    noise = b"".join(HEADER + generator.bytes(12) for _ in range(3000))
    assert len(parser.feed(noise)) < 5


@pytest.mark.parametrize("identifier", [1, BROADCAST_ID])
def test_ids_are_kept(identifier: int) -> None:
    assert Parser().feed(encode(Packet(identifier, Instruction.PING, 0, b"")))[0].id == identifier
