"""Security for whoever starts nodes: which keystore is asked for, whether it will do, and what the nodes are told.

Whoever asks for security gets it or an error, never a node without it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path

from demo_control.configuration import ConfigurationError
from demo_control.network import domain_of
from demo_control.processes import environment_variables
from demo_control.security.middleware import ask_for_node
from demo_control.security.roles import MONITOR
from demo_control.security.variables import ENABLE, KEYSTORE, enclave_path, is_enabled, variables

INSTALL = "python -m pip install 'demo-stack[security]'"


def default_keystore(environment: Mapping[str, str]) -> Path:
    """Where a keystore is if nobody says where."""
    given = environment.get(KEYSTORE)
    return Path(given) if given else Path.home() / ".config" / "demo_control" / "keystore"


def requested_keystore(argument: str, environment: Mapping[str, str]) -> Path | None:
    """The keystore that is asked for, None for no security.

    Args:
        argument: A folder; 'true' for that of the environment; '' if the environment decides; 'false' for none.
        environment: Of the process.

    Raises:
        ConfigurationError: The environment asks for security and the argument for none, or in words that ROS ignores.
    """
    enabled = is_enabled(environment)
    if not enabled and environment.get(ENABLE, "") not in ("", "false"):
        raise ConfigurationError(f"{ENABLE} = '{environment[ENABLE]}': must be true or false; ROS takes this for false")
    if argument == "false":
        if enabled:
            raise ConfigurationError(f"security = 'false', and the environment has {ENABLE}=true: unset it")
        return None
    if argument not in ("", "true"):
        return Path(argument).expanduser().absolute()
    return default_keystore(environment).absolute() if argument or enabled else None


def check(keystore: Path, enclaves: Iterable[str], environment: Mapping[str, str]) -> list[str]:
    """Whether processes can run in their enclaves, here and now.

    Args:
        keystore: The folder.
        enclaves: Names of the processes' enclaves; the middleware is asked for a node in the first of them.
        environment: Of the processes.

    Returns:
        What will soon need somebody, in words.

    Raises:
        ConfigurationError: One cannot; in one line, what was found and what to do.
    """
    try:
        from demo_control.security.checking import check_enclave  # noqa: PLC0415 - an extra
        from demo_control.security.keystore import Keystore  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigurationError(f"security needs the Python package '{error.name}': {INSTALL}") from None
    store, now, names = Keystore(keystore), datetime.now(timezone.utc), list(dict.fromkeys(enclaves))
    if not store.enclaves.is_dir():
        raise ConfigurationError(f"security: no keystore in {keystore}: 'democtl security init --into {keystore}'")
    warnings = []
    for name in names:
        state = check_enclave(store, name, now, domain_of(environment))
        if state.problems:
            raise ConfigurationError(f"security: enclave '{name}': {'; '.join(state.problems)}")
        warnings += [f"enclave '{name}': {warning}" for warning in state.warnings]
    middleware = ask_for_node(environment, keystore, enclave_path(names[0]))
    if middleware.error:
        raise ConfigurationError(
            f"security: no secured node can run here: {middleware.text}; docs/security.md says how to get a "
            "middleware that can"
        )
    return warnings


@contextlib.contextmanager
def secured(argument: str, enclaves: Iterable[str]) -> Iterator[list[str]]:
    """Security for this process and those that it starts meanwhile; nothing where none is asked for.

    Args:
        argument: See :func:`requested_keystore`.
        enclaves: Of the processes that will be started, without that of the one that starts and listens.

    Yields:
        What will soon need somebody, in words.

    Raises:
        ConfigurationError: See :func:`requested_keystore` and :func:`check`.
    """
    keystore = requested_keystore(argument, os.environ)
    if keystore is None:
        yield []
        return
    warnings = check(keystore, [MONITOR, *enclaves], os.environ)
    with environment_variables(variables(keystore)):
        yield warnings


def enclave_arguments(enclave: str, environment: Mapping[str, str] | None = None) -> list[str]:
    """The ROS arguments of a process in an enclave of ours; none where the environment asks for no security."""
    if not is_enabled(os.environ if environment is None else environment):
        return []
    return ["--ros-args", "--enclave", enclave_path(enclave)]


def refuse_secured(what: str) -> None:
    """Refuse to do what has no enclave.

    Raises:
        ConfigurationError: The environment asks for security.
    """
    if is_enabled(os.environ):
        raise ConfigurationError(f"security: {what} has no enclave, and {ENABLE}=true: unset it for this command")


def join_secured(enclave: str) -> list[str]:
    """The ROS arguments of a command that joins a running robot, after a check; see :func:`enclave_arguments`.

    Raises:
        ConfigurationError: See :func:`check`.
    """
    keystore = requested_keystore("", os.environ)
    if keystore is not None:
        check(keystore, [enclave], os.environ)
        os.environ.update(variables(keystore))
    return enclave_arguments(enclave)
