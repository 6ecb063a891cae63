"""The vendor's own SDK examines the emulated servos over a pseudo-terminal."""

from __future__ import annotations

from collections.abc import Iterator

import dynamixel_sdk as sdk
import pytest

from .conftest import Bench, MakeBench

ADDRESS_TORQUE, ADDRESS_GOAL, ADDRESS_POSITION = 64, 116, 132


class PatientPort(sdk.PortHandler):  # type: ignore[misc] # the SDK has no types
    """Waits longer than a real bus needs: the emulated one shares the processor with other tests."""

    def setPacketTimeout(self, packet_length: int) -> None:  # noqa: N802 - the SDK's name
        super().setPacketTimeout(packet_length)
        self.packet_timeout += 500.0


@pytest.fixture
def port(bench: MakeBench) -> Iterator[tuple[Bench, PatientPort]]:
    one = bench()
    handler = PatientPort(one.port)
    assert handler.openPort()
    assert handler.setBaudRate(1_000_000)
    yield one, handler
    handler.closePort()


def test_it_pings_reads_writes_and_reboots(port: tuple[Bench, PatientPort]) -> None:
    _, handler = port
    packets = sdk.PacketHandler(2.0)
    assert packets.ping(handler, 3) == (1020, sdk.COMM_SUCCESS, 0)
    assert packets.ping(handler, 9)[1] == sdk.COMM_RX_TIMEOUT
    found, result = packets.broadcastPing(handler)
    assert result == sdk.COMM_SUCCESS
    assert found == {3: [1020, 48], 4: [1130, 48]}
    assert packets.write1ByteTxRx(handler, 4, ADDRESS_TORQUE, 1) == (sdk.COMM_SUCCESS, 0)
    assert packets.read1ByteTxRx(handler, 4, ADDRESS_TORQUE) == (1, sdk.COMM_SUCCESS, 0)
    # Read-only, then out of range: the servo's own errors.
    assert packets.write4ByteTxRx(handler, 4, ADDRESS_POSITION, 1) == (sdk.COMM_SUCCESS, sdk.ERRNUM_ACCESS)
    assert packets.write1ByteTxRx(handler, 4, ADDRESS_TORQUE, 7) == (sdk.COMM_SUCCESS, sdk.ERRNUM_DATA_RANGE)
    assert packets.reboot(handler, 4) == (sdk.COMM_SUCCESS, 0)
    assert packets.ping(handler, 4)[1] == sdk.COMM_RX_TIMEOUT  # it restarts


def test_it_writes_and_reads_in_groups(port: tuple[Bench, PatientPort]) -> None:
    bench, handler = port
    packets = sdk.PacketHandler(2.0)
    for servo in (3, 4):
        assert packets.write1ByteTxRx(handler, servo, 11, 5) == (sdk.COMM_SUCCESS, 0)
        assert packets.write1ByteTxRx(handler, servo, ADDRESS_TORQUE, 1) == (sdk.COMM_SUCCESS, 0)
    writer = sdk.GroupSyncWrite(handler, packets, ADDRESS_GOAL, 4)
    for servo, units in ((3, 2048), (4, 2500)):
        assert writer.addParam(servo, list(units.to_bytes(4, "little")))
    assert writer.txPacket() == sdk.COMM_SUCCESS
    reader = sdk.GroupSyncRead(handler, packets, ADDRESS_POSITION, 4)
    fast = sdk.GroupSyncRead(handler, packets, ADDRESS_POSITION, 4)
    for servo in (3, 4):
        assert reader.addParam(servo)
        assert fast.addParam(servo)
    for _ in range(50):
        assert reader.txRxPacket() == sdk.COMM_SUCCESS
        if reader.getData(4, ADDRESS_POSITION, 4) == 2500:
            break
    assert [reader.getData(servo, ADDRESS_POSITION, 4) for servo in (3, 4)] == [2048, 2500]
    assert fast.fastSyncRead() == sdk.COMM_SUCCESS
    assert [fast.getData(servo, ADDRESS_POSITION, 4) for servo in (3, 4)] == [2048, 2500]
    # The elbow is where the goal says, in radians.
    assert bench.plant.positions[1] == pytest.approx((2500 - 2048) * 2 * 3.14159265 / 4096)


def test_it_reads_in_bulk(port: tuple[Bench, PatientPort]) -> None:
    _, handler = port
    packets = sdk.PacketHandler(2.0)
    reader = sdk.GroupBulkRead(handler, packets)
    assert reader.addParam(3, 0, 2)
    assert reader.addParam(4, 144, 2)
    assert reader.txRxPacket() == sdk.COMM_SUCCESS
    assert (reader.getData(3, 0, 2), reader.getData(4, 144, 2)) == (1020, 120)
