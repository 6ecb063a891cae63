"""``democtl security``: a keystore with an enclave for each role, so that only our nodes command the robot (SROS 2)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from demo_control.cli.output import error_console, one_line_errors, write_json
from demo_control.configuration import ConfigurationError
from demo_control.hardware.wiring import load_wiring
from demo_control.network import LARGEST_DOMAIN, domain_of
from demo_control.security.access import Access
from demo_control.security.checking import EnclaveState, check_authorities, check_enclave
from demo_control.security.environment import default_keystore
from demo_control.security.keystore import Keystore, Origin
from demo_control.security.permissions import Domains
from demo_control.security.roles import Role, roles_of
from demo_control.security.variables import enclave_path

_WILL_NOT_DO = 1
_INTO = typer.Option(
    "--into", help="The keystore; ROS_SECURITY_KEYSTORE or ~/.config/demo_control/keystore by default.",
    show_default=False, metavar="DIR",
)  # fmt: skip
_DAYS = typer.Option(help="How long the enclaves can be used, from now on.", min=1, max=3649)
_JSON = typer.Option("--json", help="Write the result to FILE, '-' for standard output.", metavar="FILE")
_TEXT = "Make and look at a keystore, so that only our nodes command the robot (SROS 2)."

app = typer.Typer(no_args_is_help=True, add_completion=False, help=_TEXT)


@app.callback()
def _security() -> None:
    """Make and look at a keystore, so that only our nodes command the robot (SROS 2)."""


@app.command()
def init(
    into: Annotated[Path | None, _INTO] = None,
    task: Annotated[list[str] | None, typer.Option(help="Whose robots' drivers; all installed by default.")] = None,
    wiring: Annotated[
        list[Path] | None, typer.Option(help="Of a real robot behind ros2_control: its driver may use its topics.")
    ] = None,
    domain: Annotated[
        int | None, typer.Option(help="The only ROS domain; all by default.", min=0, max=LARGEST_DOMAIN)
    ] = None,
    days: Annotated[int, _DAYS] = 365,
) -> None:
    """Make a keystore: authorities, rules, and an enclave with key and permissions for each role."""
    with one_line_errors():
        folder = into or default_keystore(os.environ)
        domains = Domains() if domain is None else Domains(domain, domain)
        roles, valid = roles_of(task or ()), timedelta(days=days)
        keystore = Keystore.create(folder, roles, _now(), valid, domains, _wired(wiring or (), roles))
        _tell(keystore, keystore.names(), "made")
        for line in (
            f"run with it: democtl launch … --security {keystore.folder}",
            f"other commands: export ROS_SECURITY_KEYSTORE={keystore.folder} ROS_SECURITY_ENABLE=true",
            "keep private/ off the robot: it needs enclaves/ alone",
        ):
            error_console().print(line, markup=False, soft_wrap=True)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Of the enclave: a role of ours, or a name of your own.")],
    into: Annotated[Path | None, _INTO] = None,
    role: Annotated[list[str] | None, typer.Option(help="May do what this role may.")] = None,
    node: Annotated[list[str] | None, typer.Option(help="Name of a node in it.")] = None,
    publish: Annotated[list[str] | None, typer.Option(help="A topic that it may publish; * for anything.")] = None,
    subscribe: Annotated[list[str] | None, typer.Option(help="A topic that it may subscribe to.")] = None,
    offer: Annotated[list[str] | None, typer.Option(help="A service that it may offer.")] = None,
    call: Annotated[list[str] | None, typer.Option(help="A service that it may call.")] = None,
    days: Annotated[int, _DAYS] = 365,
) -> None:
    """Add an enclave: of a role that is new, or for a node of your own."""
    with one_line_errors():
        lists = (node, publish, subscribe, offer, call)
        more = Access(*(tuple(names or ()) for names in lists))
        own = more == Access()
        if not own and not role and not more.nodes:
            raise ConfigurationError("--node: must name the enclave's nodes; ROS's services of each are below its name")
        origin = Origin(tuple(role or ([name] if own else [])), more)
        keystore = Keystore(into or default_keystore(os.environ))
        keystore.add(name, origin, _now(), timedelta(days=days))
        _tell(keystore, [name], "added")


@app.command()
def renew(
    names: Annotated[list[str] | None, typer.Argument(help="Of enclaves; all by default.", show_default=False)] = None,
    into: Annotated[Path | None, _INTO] = None,
    days: Annotated[int, _DAYS] = 365,
) -> None:
    """Make enclaves anew: new keys and dates, and the permissions that this version's roles need."""
    with one_line_errors():
        keystore = Keystore(into or default_keystore(os.environ))
        chosen = names or _names(keystore)
        for name in chosen:
            keystore.renew(name, _now(), timedelta(days=days))
        _tell(keystore, chosen, "renewed")


@app.command()
def show(into: Annotated[Path | None, _INTO] = None, json_file: Annotated[str, _JSON] = "") -> None:
    """Show the enclaves, until when they can be used, and what is wrong with them; ends with code 1 if anything is."""
    with one_line_errors():
        keystore = Keystore(into or default_keystore(os.environ))
        domain = domain_of(os.environ)
        states = [check_enclave(keystore, name, _now(), domain) for name in _names(keystore)]
        problems = check_authorities(keystore)
    broken = bool(problems) or any(state.problems for state in states)
    report = {
        "keystore": str(keystore.folder),
        "usable": not broken,
        "problems": problems,
        "enclaves": [
            {**vars(state), "name": enclave_path(state.name), "ends": state.ends and state.ends.isoformat()}
            for state in states
        ],
    }
    if json_file:
        with one_line_errors():
            write_json(report, json_file)
    if json_file != "-":
        error_console().print(_table(keystore, states))
        for problem in problems:
            error_console().print(problem, style="red", markup=False, soft_wrap=True)
    raise typer.Exit(_WILL_NOT_DO if broken else 0)


def _names(keystore: Keystore) -> list[str]:
    names = keystore.names()
    if not names:
        raise ConfigurationError(f"{keystore.folder}: no keystore with enclaves of ours")
    return names


def _wired(files: Iterable[Path], roles: Iterable[Role]) -> dict[str, Access]:
    """What the drivers among some roles need besides, for robots behind ros2_control."""
    more: dict[str, Access] = {}
    for file in files:
        wiring = load_wiring(file)
        drivers = [role.name for role in roles if role.task == wiring.task]
        if not drivers:
            raise ConfigurationError(f"{file}: no driver of task '{wiring.task}' is among the enclaves")
        for bus in wiring.buses:
            if bus.kind != "ros2_control":
                continue
            settings = bus.settings.as_mapping()
            heard = tuple(str(settings[key]) for key in ("joint_states_topic", "imu_topic") if settings[key])
            told = () if settings["command"] == "none" else (str(settings["command_topic"]),)
            for driver in drivers:
                more[driver] = more.get(driver, Access()) | Access((f"{bus.name}_bridge",), told, heard)
    return more


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _tell(keystore: Keystore, names: Iterable[str], what: str) -> None:
    shown = ", ".join(names)
    error_console().print(f"{what} in {keystore.folder}: {shown}", markup=False, soft_wrap=True)


def _table(keystore: Keystore, states: list[EnclaveState]) -> Table:
    """The enclaves for people."""
    table = Table("enclave", "until", "found", title=escape(str(keystore.folder)))
    for state in states:
        found = escape("; ".join((*state.problems, *state.warnings)))
        style = "red" if state.problems else "yellow"
        ends = f"{state.ends:%Y-%m-%d}" if state.ends else "?"
        table.add_row(state.name, ends, f"[{style}]{found}[/{style}]" if found else "in order")
    return table
