"""Makes the local environment in .venv; the Makefile calls it (`make setup`, `make test`, ...).

Only the standard library is used. This file finds a Python that can run the rest, so it keeps to
what every Python 3 since 3.6 understands; the work itself is in `environment_setup`.
"""

import argparse
import os
import subprocess
import sys

SUPPORTED = ((3, 10), (3, 11), (3, 12), (3, 13))
# The newest is not always the best served by wheels: 3.12 is what ROS 2 Jazzy itself uses.
PREFERENCE = ("python3.12", "python3.11", "python3.13", "python3.10")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROBE = """
import sys
print("%d %d" % sys.version_info[:2])
print(getattr(sys, "_base_executable", sys.executable))
"""


def probe(interpreter: str) -> "tuple[tuple[int, ...], str]":
    """Asks an interpreter for its version.

    Args:
        interpreter: Command name or path.

    Returns:
        Version `(major, minor)` and the path of the interpreter itself (not of a virtual
        environment's link to it); both empty where it cannot be run.
    """
    if not interpreter:
        return (), ""
    try:
        answer = subprocess.run(
            [interpreter, "-I", "-S", "-c", PROBE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except OSError:
        return (), ""
    lines = answer.stdout.decode(errors="replace").splitlines()
    if answer.returncode != 0 or len(lines) != 2:  # noqa: PLR2004
        return (), ""
    return tuple(int(part) for part in lines[0].split()), lines[1]


def choose_interpreter(wished: str, existing: str) -> str:
    """Chooses the Python that .venv is made from.

    Args:
        wished: What the user asked for (PYTHON=...); empty: no wish.
        existing: The interpreter .venv was made from; empty: there is no .venv.

    Returns:
        Path of the interpreter.

    Raises:
        ValueError: Nothing suitable; the message says what to do.
    """
    names = ", ".join(".".join(map(str, version)) for version in SUPPORTED)
    if wished:
        version, path = probe(wished)
        if not path:
            raise ValueError(f"PYTHON={wished} cannot be run: name one of Python {names}.")
        if version not in SUPPORTED:
            found = ".".join(map(str, version))
            raise ValueError(
                f"PYTHON={wished} is Python {found}, but the ROS 2 wheels exist for Python {names} "
                "only: name one of these."
            )
        return path
    for candidate in (existing, sys.executable, *PREFERENCE):
        version, path = probe(candidate)
        if version in SUPPORTED:
            return path
    found = ".".join(map(str, sys.version_info[:2]))
    raise ValueError(
        f"Python {found} is not supported and no other was found: install one of Python {names} "
        "with its -venv and -dev packages, or name it: make PYTHON=/path/to/python3 ..."
    )


def interpreter_of(environment: str) -> str:
    """Finds what a virtual environment was made from.

    Args:
        environment: Path of the virtual environment; it need not exist.

    Returns:
        Path of its interpreter; empty if there is none any more.
    """
    path = os.path.join(environment, "bin", "python")
    return os.path.realpath(path) if os.path.exists(path) else ""


def main() -> int:
    """Reads the command line, finds a Python and hands over to `environment_setup`.

    Returns:
        Exit code: 0 if the environment is ready.
    """
    parser = argparse.ArgumentParser(description="Make the local environment in .venv.")
    parser.add_argument("--python", default="", help="the Python to use (default: a supported one)")
    parser.add_argument(
        "--with",
        dest="extras",
        action="append",
        default=[],
        choices=("test", "train"),
        help="also install these extras",
    )
    arguments = parser.parse_args()
    try:
        interpreter = choose_interpreter(arguments.python, interpreter_of(os.path.join(ROOT, ".venv")))
    except ValueError as error:
        sys.stderr.write(f"setup: {error}\n")
        return 1
    if sys.version_info[:2] not in SUPPORTED:
        os.execv(interpreter, [interpreter, *sys.argv, "--python", interpreter])
    from environment_setup.main import set_up  # noqa: PLC0415 - only now is it sure that this Python can read it

    return set_up(ROOT, interpreter, arguments.extras)


if __name__ == "__main__":
    sys.exit(main())
