"""A serial port with deadlines; pyserial opens and configures it."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable

from demo_control.hardware.bus import BusError
from demo_control.tasks import Array

_LARGEST_READ = 4096
_WRITE_LIMIT_S = 0.1


class SerialPort:
    """An open serial port that no other program has.

    Args:
        path: For example /dev/ttyUSB0.
        baud_rate: Bits per second.

    Raises:
        BusError: pyserial is missing, or the port is, is taken, or refuses the rate.
    """

    def __init__(self, path: str, baud_rate: int) -> None:
        try:
            import serial  # noqa: PLC0415 - an extra that simulated robots do not need
        except ImportError:
            raise BusError("serial ports need pyserial: pip install 'demo-stack[hardware]'") from None
        self.path = path
        try:
            self._serial = serial.Serial(path, baud_rate, timeout=0.0, write_timeout=_WRITE_LIMIT_S, exclusive=True)
        except (serial.SerialException, ValueError, OSError) as error:
            raise BusError(f"port {path}: cannot be opened ({_reason(error)})") from None
        _ask_for_low_latency(self._serial)
        self._descriptor = self._serial.fileno()

    def write(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            BusError: The port is gone.
        """
        deadline_s = time.monotonic() + _WRITE_LIMIT_S
        try:
            while data:
                _, ready, _ = select.select([], [self._descriptor], [], max(0.0, deadline_s - time.monotonic()))
                if not ready:
                    raise BusError(f"port {self.path}: takes no more bytes")
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            raise BusError(f"port {self.path}: lost while writing ({_reason(error)})") from None

    def read(self, deadline_s: float) -> bytes:
        """What has come; waits for the first byte until a time of the monotonic clock.

        Raises:
            BusError: The port is gone.
        """
        wait_s = deadline_s - time.monotonic()
        try:
            ready, _, _ = select.select([self._descriptor], [], [], max(0.0, wait_s))
            if not ready:
                return b""
            data = os.read(self._descriptor, _LARGEST_READ)
        except OSError as error:
            raise BusError(f"port {self.path}: lost while reading ({_reason(error)})") from None
        if not data:
            raise BusError(f"port {self.path}: closed at the other end")
        return data

    def drain(self) -> bytes:
        """All that has come, without waiting."""
        data = b""
        while chunk := self.read(0.0):
            data += chunk
        return data

    def read_until(self, is_enough: Callable[[bytes], bool], deadline_s: float) -> bytes:
        """Gather bytes until they are enough or the time is over."""
        data = b""
        while not is_enough(data) and (chunk := self.read(deadline_s)):
            data += chunk
        return data

    def close(self) -> None:
        """Let go of the port; never raises."""
        with contextlib.suppress(OSError):
            self._serial.close()


class SerialSensor:
    """What buses share that only measure, over one serial port; see :class:`~demo_control.hardware.bus.Bus`.

    Args:
        name: Of the bus.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._port: SerialPort | None = None

    def write(self, values: Array) -> Array:
        """Nothing to command."""
        return values

    def stop(self) -> None:
        """Nothing to stop."""

    def disconnect(self) -> None:
        """Close the port."""
        if self._port is not None:
            self._port.close()
        self._port = None

    def _connected(self) -> SerialPort:
        if self._port is None:
            raise BusError(f"{self._name}: not connected")
        return self._port


def _ask_for_low_latency(port: object) -> None:
    """USB adapters gather bytes for 16 ms unless told otherwise; what is no such adapter refuses."""
    with contextlib.suppress(AttributeError, ValueError, OSError):
        port.set_low_latency_mode(True)  # type: ignore[attr-defined] # pyserial, on Linux


def _reason(error: Exception) -> str:
    """The part of an error that says what is wrong."""
    number = getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) else str(error)
