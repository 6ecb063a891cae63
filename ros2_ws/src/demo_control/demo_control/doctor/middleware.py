"""ROS and DDS: what is installed, whom it reaches, and what it has to work with."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path

from demo_control.configuration import ConfigurationError
from demo_control.doctor.findings import Check, Finding
from demo_control.network import (
    FAST_DDS,
    LOCALHOST_ONLY,
    LOOPBACK,
    NEWER_PROFILE,
    PROFILE,
    RANGE,
    STATIC_PEERS,
    TRANSPORTS,
    claim_of,
    domain_of,
    is_local,
    middleware,
    uses_sockets,
)
from demo_control.security.environment import INSTALL, requested_keystore
from demo_control.security.middleware import Support, ask_for_plugins

Ask = Callable[[Mapping[str, str]], Support]

_DISCOVERY = (RANGE, LOCALHOST_ONLY, STATIC_PEERS)
_LARGEST_DOMAIN = 101
_SHARED_MEMORY = Path("/dev/shm")
_ENOUGH_SHARED_MB = 64
_ENOUGH_BUFFER_KB = 208


class Middleware:
    """Looks at ROS 2 as this Python would use it.

    Args:
        environment: Of the process.
        root: Where /proc is; another folder in tests.
        ask: Asks the middleware whether it has the plugins of DDS Security.
    """

    def __init__(
        self, environment: Mapping[str, str] | None = None, root: Path = Path("/"), ask: Ask = ask_for_plugins
    ) -> None:
        self._environment = os.environ if environment is None else environment
        self._root = root
        self._ask = ask

    def checks(self) -> list[tuple[str, Check]]:
        """All checks by topic."""
        return [
            ("ROS 2", self.installed),
            ("ROS domain", self.domain),
            ("discovery", self.discovery),
            ("transport", self.transport),
            ("sockets", self.sockets),
            ("security", self.security),
        ]

    def installed(self) -> Iterator[Finding]:
        """Whether this Python has ROS 2 and our messages, and with which middleware."""
        missing = [name for name in ("rclpy", "demo_msgs") if find_spec(name) is None]
        if missing:
            text = f"{' and '.join(missing)} cannot be imported: no robot can be launched, only trained and evaluated"
            yield Finding("ROS 2", "warning", text, "make setup, or source a ROS 2 distribution's setup.bash")
            return
        chosen = middleware(self._environment)
        level = "ok" if chosen == FAST_DDS else "warning"
        advice = "" if level == "ok" else f"measured and tested is {FAST_DDS}: unset RMW_IMPLEMENTATION"
        yield Finding("ROS 2", level, f"rclpy and demo_msgs are there, middleware {chosen}", advice)
        profile = self._environment.get(PROFILE) or self._environment.get(NEWER_PROFILE)
        if profile and profile != str(LOOPBACK):
            yield Finding(
                "DDS profile", "warning", f"{profile} changes Fast DDS", "unset it if something behaves oddly"
            )

    def domain(self) -> Iterator[Finding]:
        """The ROS domain, and whether a bring-up of ours runs in it."""
        advice = f"set it to a number between 0 and {_LARGEST_DOMAIN}"
        try:
            domain = domain_of(self._environment)
        except ConfigurationError as error:
            yield Finding("ROS domain", "problem", str(error), advice)
            return
        if domain > _LARGEST_DOMAIN:
            yield Finding("ROS domain", "problem", f"ROS_DOMAIN_ID = {domain} is beyond what every system has", advice)
            return
        with socket.socket(socket.AF_UNIX) as claim:
            try:
                claim.bind(claim_of(domain))
            except OSError:
                advice = "end it, or set ROS_DOMAIN_ID to another number"
                yield Finding("ROS domain", "warning", f"another robot of ours runs in domain {domain}", advice)
                return
        yield Finding("ROS domain", "ok", f"{domain}, no other bring-up of ours in it")

    def discovery(self) -> Iterator[Finding]:
        """Which computers can hear and command the robot."""
        given = {name: self._environment[name] for name in _DISCOVERY if self._environment.get(name)}
        if not given:
            yield Finding("discovery", "ok", "this computer only (nodes of ours ask for LOCALHOST)")
            return
        text = ", ".join(f"{name}={value}" for name, value in given.items())
        if is_local(self._environment):
            yield Finding("discovery", "ok", f"this computer only ({text})")
        else:
            advice = "ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST, or a network of the robot's own"
            yield Finding("discovery", "warning", f"other computers can command the robot ({text})", advice)

    def transport(self) -> Iterator[Finding]:
        """Which way messages take; where it is shared memory, whether that has room."""
        if middleware(self._environment) != FAST_DDS:
            return
        if uses_sockets(self._environment):
            yield Finding("transport", "ok", "sockets only: no program that joins holds up the others")
            return
        advice = f"unset {PROFILE}, {NEWER_PROFILE}, {TRANSPORTS}; docs/real_time.md"
        yield Finding("transport", "warning", "as the environment says: shared memory can hold up commands", advice)
        if not _SHARED_MEMORY.is_dir() or not os.access(_SHARED_MEMORY, os.W_OK):
            text = f"{_SHARED_MEMORY} cannot be written: messages take the way through sockets"
            yield Finding("shared memory", "warning", text, "docker run --ipc=host, or mount a tmpfs there")
            return
        free = shutil.disk_usage(_SHARED_MEMORY).free >> 20
        level = "ok" if free >= _ENOUGH_SHARED_MB else "problem"
        advice = (
            "" if level == "ok" else "docker run --shm-size=1g; or remove /dev/shm/fastrtps_* of programs that died"
        )
        yield Finding("shared memory", level, f"{free} MB free in {_SHARED_MEMORY}", advice)

    def sockets(self) -> Iterator[Finding]:
        """Buffers of the sockets, for who listens from another computer."""
        path = self._root / "proc/sys/net/core/rmem_max"
        size = int(path.read_text(encoding="utf-8")) >> 10
        level = "ok" if size >= _ENOUGH_BUFFER_KB else "warning"
        advice = "" if level == "ok" else "sysctl -w net.core.rmem_max=2097152"
        yield Finding("sockets", level, f"receive buffers of up to {size} KiB", advice)

    def security(self) -> Iterator[Finding]:
        """Whether DDS can be secured here, and the keystore that the environment asks for is in order."""
        if find_spec("rclpy") is None:
            return
        try:
            keystore = requested_keystore("", self._environment)
        except ConfigurationError as error:
            yield Finding("security", "problem", str(error), "docs/security.md")
            return
        found = self._ask(self._environment)
        if found.error:
            level = "problem" if keystore else "ok"
            text = f"{'asked for, and ' if keystore else ''}not available: {found.text}"
            yield Finding("security", level, text, "a middleware with the plugins: docs/security.md")
        else:
            off = "" if keystore else "; not switched on (democtl launch --security)"
            yield Finding("security", "ok", f"the plugins are there: {found.text}{off}")
        if keystore:
            yield from self._keystore(keystore)

    def _keystore(self, folder: Path) -> Iterator[Finding]:
        """Whether all of a keystore's enclaves are in order."""
        try:
            from demo_control.security.checking import check_enclave  # noqa: PLC0415 - an extra
            from demo_control.security.keystore import Keystore  # noqa: PLC0415 - an extra
        except ImportError as error:
            yield Finding("keystore", "problem", f"cannot be looked at without the package '{error.name}'", INSTALL)
            return
        keystore, now = Keystore(folder), datetime.now(timezone.utc)
        names = keystore.names()
        if not names:
            yield Finding("keystore", "problem", f"none in {folder}", f"democtl security init --into {folder}")
            return
        states = [check_enclave(keystore, name, now, domain_of(self._environment)) for name in names]
        for state in states:
            for level, texts in (("problem", state.problems), ("warning", state.warnings)):
                for text in texts:
                    yield Finding("keystore", level, f"enclave '{state.name}': {text}", "democtl security show, renew")
        if not any(state.problems or state.warnings for state in states):
            ends = min(state.ends for state in states if state.ends)
            yield Finding("keystore", "ok", f"{folder}: {len(states)} enclaves, the first ends {ends:%Y-%m-%d}")
