"""A task's bring-up with the relay in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from demo_control.bringup.description import BringUp, NodeDescription, bringup_names, load_recipe
from demo_control.bundle import BundleError
from demo_control.configuration import ConfigurationError

RELAY = "fault_relay"


def bringup_of(task: str, seed: int, bundle: Path) -> BringUp:
    """The installed bring-up that runs a task, for as long as one likes.

    Raises:
        ConfigurationError: No bring-up runs it.
    """
    for name in bringup_names():
        try:
            recipe = load_recipe(name)
            bringup = recipe.make(recipe.arguments(duration=3600.0, seed=seed, bundle=str(bundle)))
        except (ConfigurationError, BundleError, TypeError):
            continue  # of another task, broken, or one that needs more, as a player does
        if isinstance(bringup, BringUp) and bringup.task == task:
            return bringup
    raise ConfigurationError(f"task '{task}': no installed bring-up runs it")


def with_relay(bringup: BringUp, period_s: float, pushed: bool, push_n: float) -> BringUp:
    """The bring-up with the relay between the driver and the others, and with pushes where they are a parameter."""
    nodes = []
    for node in bringup.nodes:
        if node.ends_run:
            parameters = {**node.parameters, **({"push_n": push_n} if pushed else {})}
            nodes.append(replace(node, parameters=parameters))
        else:
            nodes.append(replace(node, remappings={"observation": "seen/observation", "action": "sent/action"}))
    relay = NodeDescription(
        package="demo_control",
        executable=RELAY,
        module="demo_control.faults.relay_node",
        name=RELAY,
        parameters={"period_s": period_s, "seed": bringup.arguments.seed},
    )
    return replace(bringup, nodes=(*nodes, relay))
