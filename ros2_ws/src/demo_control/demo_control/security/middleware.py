"""Whether the middleware that ROS would use here can encrypt and authenticate: it is asked to, in a process of its own.

    python -m demo_control.security.middleware [ENCLAVE]

creates a node with the environment's security, and prints as JSON what happened.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from demo_control.network import RANGE, prepare_network
from demo_control.security.variables import variables

_LIBRARIES = re.compile(r"(\S*/lib(?:rmw_(?!implementation|dds_common)\w+|fastrtps|fastdds|ddsc)\.so[.\d]*)$")
_FILES_MISSING = "security files"
"""What all middlewares with the plugins say of an empty keystore."""
_ANSWER_LIMIT_S = 60.0
_FAILED = "security was asked for, and there was none"


@dataclass(frozen=True)
class Support:
    """What was found.

    Attributes:
        libraries: The middleware's shared libraries.
        error: Why a secured node cannot be created; '' if it can.
    """

    libraries: tuple[str, ...]
    error: str

    @property
    def text(self) -> str:
        """For people."""
        where = ", ".join(self.libraries) or "no middleware's library was loaded"
        return f"{self.error} ({where})" if self.error else where


def ask_for_plugins(environment: Mapping[str, str]) -> Support:
    """Ask the middleware for a secured node with an empty keystore: with plugins, it is the files that it misses."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "enclaves").mkdir()
        found = ask_for_node(environment, Path(folder), "/")
    return Support(found.libraries, "" if _FILES_MISSING in found.error else found.error or _FAILED)


def ask_for_node(environment: Mapping[str, str], keystore: Path, enclave: str) -> Support:
    """Ask the middleware for a node in an enclave, which it refuses if anything about that is wrong."""
    secured = {**environment, **variables(keystore), RANGE: "LOCALHOST"}
    command = [sys.executable, "-m", __name__, enclave]
    try:
        done = subprocess.run(
            command, env=secured, capture_output=True, text=True, timeout=_ANSWER_LIMIT_S, check=False
        )
        content = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return Support((), f"a secured node was not there after {_ANSWER_LIMIT_S:g} s")
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return Support((), f"a secured node could not be tried (exit code {done.returncode}): {last}")
    return Support(tuple(content["libraries"]), content["error"])


def main() -> None:
    """Create a node, and print what happened."""
    import rclpy  # noqa: PLC0415 - who asks need not have ROS
    from rclpy.impl.implementation_singleton import rclpy_implementation  # noqa: PLC0415 - see above
    from rclpy.parameter import Parameter  # noqa: PLC0415 - see above

    error = ""
    prepare_network()
    try:
        rclpy.init(args=["--ros-args", "--enclave", sys.argv[1]])
        # Without services, which the enclave would have to permit under this node's name.
        plain = [Parameter("start_type_description_service", value=False)]
        rclpy.create_node("security_check", start_parameter_services=False, parameter_overrides=plain).destroy_node()
    except (rclpy_implementation.RCLError, RuntimeError) as failure:
        error = " ".join(str(failure).split(", at ", maxsplit=1)[0].split())
    libraries = _loaded()
    rclpy.try_shutdown()
    sys.stdout.write(json.dumps({"libraries": libraries, "error": error}) + "\n")
    sys.stdout.flush()
    # Fast DDS writes its own words on standard error; what it does while it is taken apart does not matter here.
    os._exit(0)


def _loaded() -> list[str]:
    """The middleware's libraries in this process."""
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    return sorted({found.group(1) for line in lines if (found := _LIBRARIES.search(line))})


if __name__ == "__main__":
    main()
