"""The environment variables that switch ROS 2's security on (https://docs.ros.org, "Introducing ROS 2 Security")."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

KEYSTORE, ENABLE, STRATEGY = "ROS_SECURITY_KEYSTORE", "ROS_SECURITY_ENABLE", "ROS_SECURITY_STRATEGY"
OVERRIDE = "ROS_SECURITY_ENCLAVE_OVERRIDE"
NAMESPACE = "demo_control"
"""All enclaves of ours are below it."""


def enclave_path(name: str) -> str:
    """What ROS calls an enclave of ours."""
    return f"/{NAMESPACE}/{name}"


def variables(keystore: Path) -> dict[str, str]:
    """Those of a process that must not run unsecured, and whose enclave is named by ``--enclave``."""
    # An empty override is none: one that is inherited would give all processes the same enclave.
    return {KEYSTORE: str(keystore.absolute()), ENABLE: "true", STRATEGY: "Enforce", OVERRIDE: ""}


def is_enabled(environment: Mapping[str, str]) -> bool:
    """Whether ROS is asked for security; ROS knows no other word for it."""
    return environment.get(ENABLE) == "true"
